import { learners, twoChanges } from './company.js';
import { damagedLeader } from './damaged-leader.js';
import { earlyAcknowledgement, earlyRead, lateRepetition } from './early-answers.js';
import { earlyOwnEntries } from './early-own-entries.js';
import { joinUnderLoad } from './join-under-load.js';
import { lateLease } from './late-lease.js';
import { oldTermEntry } from './old-term-entry.js';
import { piledSnapshots } from './piled-snapshots.js';
import { secondVote } from './second-vote.js';
import { soloVote } from './solo-vote.js';
import type { Schedule } from './stage.js';

export const SCHEDULES: readonly Schedule[] = [
  oldTermEntry,
  secondVote,
  soloVote,
  twoChanges,
  learners,
  lateLease,
  earlyAcknowledgement,
  earlyRead,
  earlyOwnEntries,
  lateRepetition,
  damagedLeader,
  piledSnapshots,
  joinUnderLoad,
];

/** Throws if there is none of that name. */
export function scheduleOf(name: string): Schedule {
  const schedule = SCHEDULES.find((one) => one.name === name);
  if (!schedule) throw new Error(`--schedule is one of ${SCHEDULES.map((one) => one.name).join(', ')}`);
  return schedule;
}
