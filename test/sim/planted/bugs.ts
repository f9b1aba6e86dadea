/**
 * Bugs that others have shipped, or that we might, planted into the compiled code of a child process. `src` knows nothing
 * of them; a place that is not found any more is an error, so that a bug cannot quietly stop being planted.
 */
import type { FaultName } from '../fault-names.js';

export interface Patch {
  /** Below dist/src. */
  readonly file: string;
  /** A regular expression; it matches at exactly one place. */
  readonly find: string;
  readonly replace: string;
}

export interface PlantedBug {
  readonly name: string;
  readonly patches: readonly Patch[];
  /** The random faults that bring it to light soonest. */
  readonly faults: readonly FaultName[];
  /** Or the schedule (../schedules) that leads to it, for what random faults hardly ever meet. */
  readonly schedule: string | undefined;
  /** It is caught within so many seeds, from 1 on. */
  readonly withinSeeds: number;
}

const POWER: readonly FaultName[] = ['powerCut', 'powerCutOfSome', 'isolateLeader', 'slowDisk'];
const ELECTIONS: readonly FaultName[] = ['killLeader', 'isolateLeader', 'slowLinks', 'powerCutOfSome'];
const MESSAGES: readonly FaultName[] = ['messageFaults', 'cutClient', 'isolateLeader', 'slowLinks'];

const bug = (
  name: string,
  faults: readonly FaultName[],
  withinSeeds: number,
  ...patches: readonly Patch[]
): PlantedBug => ({ name, faults, schedule: undefined, withinSeeds, patches });

const rareBug = (
  name: string,
  schedule: string,
  withinSeeds: number,
  ...patches: readonly Patch[]
): PlantedBug => ({ name, faults: [], schedule, withinSeeds, patches });

/** As it was once: and who answers did not say what is committed. */
const VOUCHES_FOR_COMMIT: readonly Patch[] = [
  {
    file: 'raft/election.js',
    find: String.raw`log\.isUpToDate\(message\.lastIndex, message\.lastTerm\)`,
    replace:
      '((through, own) => message.lastTerm > own || (message.lastTerm === own && message.lastIndex >= through))' +
      '(...((at) => [at, log.termAt(at) ?? 0])(isVoter(this.#local.configuration, this.#local.id) ? log.lastIndex : this.#local.commit))',
  },
  {
    file: 'raft/raft.js',
    find: String.raw`!this\.#leadership && log\.termAt\(message\.commitIndex\) === message\.commitTerm`,
    replace: 'false',
  },
];

export const PLANTED_BUGS: readonly PlantedBug[] = [
  rareBug('an entry of an old term is committed by counting', 'oldTermEntry', 3, {
    file: 'raft/replication.js',
    find: String.raw` && log\.termAt\(reached\) === term\)`,
    replace: ')',
  }),
  rareBug('a follower acknowledges what is not durable', 'earlyAcknowledgement', 3, {
    file: 'raft/local-state.js',
    find: String.raw`this\.outbox\.sendAfter\(this\.stability\.batchFor\(this\.#hasUnsaved\(\)\), to, message\)`,
    replace: 'this.outbox.send(to, message)',
  }),
  bug('the Raft log is not synced', POWER, 40, {
    file: 'raft-log/raft-log.js',
    find: String.raw`append\(payload, true\)`,
    replace: 'append(payload, false)',
  }),
  bug('two votes in one term', ELECTIONS, 40, {
    file: 'raft/election.js',
    find: String.raw`\(vote === from \|\| \(vote === NOBODY && this\.#leader === NOBODY\)\)`,
    replace: 'true',
  }),
  rareBug(
    'term and vote are forgotten on restart',
    'secondVote',
    3,
    {
      file: 'raft/local-state.js',
      find: String.raw`this\.#vote = state\.hardState\.vote;`,
      replace: 'this.#vote = 0;',
    },
    {
      file: 'raft/local-state.js',
      find: String.raw`this\.#term = state\.hardState\.term;`,
      replace: 'this.#term = this.log.lastTerm;',
    },
  ),
  rareBug('messages of a term leave before it is durable', 'secondVote', 3, {
    file: 'raft/local-state.js',
    find: String.raw`this\.outbox\.sendAfter\(this\.stability\.termBatch, to, message\);`,
    replace:
      'if (to === this.id) this.outbox.sendAfter(this.stability.termBatch, to, message); else this.outbox.send(to, message);',
  }),
  rareBug('a read does not confirm leadership', 'lateLease', 5, {
    file: 'raft/leadership.js',
    find: String.raw`level === 'lease' && this\.#hasLease\(nowMs\)`,
    replace: 'true',
  }),
  rareBug('a lease is not given up', 'lateLease', 5, {
    file: 'raft/leadership.js',
    find: String.raw`nowMs < this\.#reads\.quorumSentMs \+ electionTimeoutMinMs \* \(1 - maxClockDrift\)`,
    replace: 'true',
  }),
  bug('entries are applied twice after a restart', POWER, 40, {
    file: 'kv/kv-state-machine.js',
    find: String.raw`applied \? decodeApplied\(applied\)\.last : emptyAt`,
    replace: 'applied ? Math.max(emptyAt, decodeApplied(applied).last - 1) : emptyAt',
  }),
  rareBug('an append truncates what it matches', 'lateRepetition', 5, {
    file: 'raft/raft.js',
    find: String.raw`if \(present === entry\.term\)\s+continue;`,
    replace: '',
  }),
  bug('a repeated write is applied again', MESSAGES, 40, {
    file: 'kv/sessions.js',
    find: String.raw`slot\?\.sequence === sequence`,
    replace: 'false',
  }),
  bug('a snapshot comes without the sessions', MESSAGES, 60, {
    file: 'kv/kv-state-machine.js',
    find: String.raw`this\.#load\(0\);\s+await before\.close\(\);`,
    replace:
      'const kept = this.#sessions.restore; this.#sessions.restore = () => {}; this.#load(0); this.#sessions.restore = kept; await before.close();',
  }),
  rareBug('the acknowledgement of a learner counts', 'learners', 3, {
    file: 'raft/quorum.js',
    find: String.raw`Math\.min\(reachedByMajority\(configuration\.voters, reached\)`,
    replace: 'Math.min(reachedByMajority([...configuration.voters, ...configuration.learners], reached)',
  }),
  rareBug('two changes of members at once', 'twoChanges', 3, {
    file: 'raft/leadership.js',
    find: String.raw`if \(pending\)\s+return this\.#refused\('changePending'\);`,
    replace: '',
  }),
  rareBug(
    'a removed voter vouches only for what it knows to be committed',
    'removedVoter',
    3,
    ...VOUCHES_FOR_COMMIT,
  ),
  rareBug('the same, after a first crash', 'removedVoterTwice', 10, ...VOUCHES_FOR_COMMIT),
  rareBug(
    'who does not know that it has a vote vouches for less',
    'promotedUnapplied',
    3,
    ...VOUCHES_FOR_COMMIT,
  ),
  rareBug('whether a node is alone is judged without the changes in its log', 'restartInLease', 3, {
    file: 'raft/election.js',
    find: String.raw`local\.membership\.isAlone\(options\.id\)`,
    replace: 'local.configuration.voters.length === 1 && local.configuration.voters[0] === options.id',
  }),
  rareBug('a lease does not heed what others promise', 'otherTimeouts', 5, {
    file: 'raft/leadership.js',
    find: String.raw`this\.replication\.leastPromisedMs\(\)`,
    replace: 'Infinity',
  }),
  rareBug('what was promised is forgotten with a restart', 'otherTimeouts', 5, {
    file: 'server/node.js',
    find: String.raw`const promisedMs = this\.#promise\(identity\);`,
    replace: 'const promisedMs = 0;',
  }),
  rareBug('a lease after leadership was offered', 'leaseAfterTransfer', 3, {
    file: 'raft/leadership.js',
    find: String.raw`!this\.#transfer\.attempted &&`,
    replace: '',
  }),
  rareBug('ids of reads begin anew with each process', 'lateReadReply', 5, {
    file: 'raft/follower-reads.js',
    find: String.raw`Math\.floor\(random\(\) \* FIRST_WIRE_IDS\)`,
    replace: '1',
  }),
  rareBug('of what is known to be committed only what is applied is kept', 'crashWithPendingChange', 3, {
    file: 'raft/local-state.js',
    find: String.raw`vote: this\.#vote, commit: this\.#commit \}`,
    replace: 'vote: this.#vote, commit: Math.min(this.#commit, this.#applied) }',
  }),
  rareBug(
    'the own vote counts before it is durable',
    'voteBeforeDurable',
    5,
    {
      file: 'raft/election.js',
      find: String.raw`this\.#setRole\('candidate'\);\s+this\.#votes = new Map\(\);`,
      replace: "this.#setRole('candidate'); this.#votes = new Map([[id, true]]);",
    },
    {
      file: 'raft/raft.js',
      find: String.raw`this\.#election\.stand\(nowMs, force\);`,
      replace: 'this.#election.stand(nowMs, force); this.#tally(nowMs);',
    },
  ),
  rareBug('a late tick judges the others', 'shortStall', 3, {
    file: 'raft/raft.js',
    find: 'const isLate = .*;',
    replace: 'const isLate = false;',
  }),
  rareBug('a read index before the leader’s first commit', 'earlyRead', 10, {
    file: 'raft/leadership.js',
    find: String.raw`if \(this\.#reads\.hasArrived && this\.#local\.commit >= this\.replication\.termStart\)`,
    replace: 'if (this.#reads.hasArrived)',
  }),
];
