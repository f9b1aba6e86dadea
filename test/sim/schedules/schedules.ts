import type { Schedule } from '../../../src/sim/stage.js';
import { leaseAfterTransfer, otherTimeouts, restartInLease } from './broken-promises.js';
import { evenHalves, learners, twoChanges } from './company.js';
import { damagedLeader } from './damaged-leader.js';
import { earlyAcknowledgement, earlyLease, earlyRead, lateRepetition } from './early-answers.js';
import { earlyOwnEntries } from './early-own-entries.js';
import { deadLinks, narrowLinks } from './hard-links.js';
import { joinUnderLoad } from './join-under-load.js';
import { lastOfLease, slowAnswers } from './last-of-lease.js';
import { lateLease } from './late-lease.js';
import { lateReadReply } from './late-read-reply.js';
import { LIARS } from './liars.js';
import { longerLog } from './longer-log.js';
import { lostVoters } from './lost-voters.js';
import { MERGE_WINDOWS } from './merge-windows.js';
import { MISTAKES } from './mistakes.js';
import { disloyal, oldOffer, oldRound } from './old-orders.js';
import { oldTermEntry } from './old-term-entry.js';
import { largeChunks, loweredLimits, raisedLeader } from './other-limits.js';
import { piledSnapshots } from './piled-snapshots.js';
import { quietLeaderLost, quietRestart } from './quiet-groups.js';
import { removedVoter, removedVoterTwice } from './removed-voter.js';
import { replacedChange } from './replaced-change.js';
import { secondVote } from './second-vote.js';
import { shortStall } from './short-stall.js';
import { crashWithPendingChange, promotedUnapplied } from './unapplied-changes.js';
import { hangingDisk, unheardLeader } from './useless-leaders.js';
import { voteBeforeDurable } from './vote-before-durable.js';
import { foreignNode, lostLog } from './wrong-folders.js';

/** Without mistakes of operators, and without strangers. */
export const WINDOWS: readonly Schedule[] = [
  oldTermEntry,
  longerLog,
  secondVote,
  twoChanges,
  learners,
  evenHalves,
  replacedChange,
  lateLease,
  lastOfLease,
  slowAnswers,
  oldOffer,
  disloyal,
  oldRound,
  earlyAcknowledgement,
  earlyRead,
  earlyLease,
  earlyOwnEntries,
  lateRepetition,
  damagedLeader,
  piledSnapshots,
  removedVoter,
  removedVoterTwice,
  restartInLease,
  otherTimeouts,
  leaseAfterTransfer,
  lateReadReply,
  promotedUnapplied,
  crashWithPendingChange,
  voteBeforeDurable,
  shortStall,
  quietLeaderLost,
  quietRestart,
  hangingDisk,
  unheardLeader,
  foreignNode,
  lostLog,
  joinUnderLoad,
  deadLinks,
  narrowLinks,
  loweredLimits,
  raisedLeader,
  largeChunks,
  lostVoters,
];

export const SCHEDULES: readonly Schedule[] = [...WINDOWS, ...MERGE_WINDOWS, ...MISTAKES, ...LIARS];

/** Throws if there is none of that name. */
export function scheduleOf(name: string): Schedule {
  const schedule = SCHEDULES.find((one) => one.name === name);
  if (!schedule) throw new Error(`--schedule is one of ${SCHEDULES.map((one) => one.name).join(', ')}`);
  return schedule;
}
