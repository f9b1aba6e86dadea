/**
 * Bugs that others have shipped, or that we might, planted into the compiled code of a child process. `src` knows nothing
 * of them; a place that is not found any more is an error, so that a bug cannot quietly stop being planted.
 */
import type { FaultName } from '../fault-names.js';
import type { Profile } from '../setting.js';

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
  readonly profile: Profile;
  /** Those that bring it to light soonest. */
  readonly faults: readonly FaultName[];
  /** It is caught within so many seeds, from `firstSeed` on. */
  readonly withinSeeds: number;
  readonly firstSeed: number;
  /** Too rare to be looked for in every test run: `withinSeeds` is then how far to look, and not every one was found yet. */
  readonly isSlow: boolean;
}

/** A restarted node keeps silent for an election timeout, which hides what it has forgotten: for bugs behind that. */
const NO_SILENCE: Patch = {
  file: 'raft/election.js',
  find: String.raw`this\.#silentUntilMs = restarted && !alone \? nowMs \+ options\.electionTimeoutMaxMs : nowMs;`,
  replace: 'this.#silentUntilMs = nowMs;',
};

const POWER: readonly FaultName[] = ['powerCut', 'powerCutOfSome', 'isolateLeader', 'slowDisk'];
const RESTARTS: readonly FaultName[] = ['killBetweenOperations', 'kill', 'killLeader', 'slowLinks'];
const LOST_VOTES: readonly FaultName[] = [
  'powerCutOfSome',
  'powerCut',
  'killBetweenOperations',
  'slowDisk',
  'slowLinks',
];
const DIVERGENCE: readonly FaultName[] = ['cutNewLeaders', 'killLeader', 'kill'];
const ELECTIONS: readonly FaultName[] = ['killLeader', 'isolateLeader', 'slowLinks', 'powerCutOfSome'];
const STALE_LEADERS: readonly FaultName[] = ['pauseLeader', 'isolateLeader', 'pause'];
const MESSAGES: readonly FaultName[] = ['messageFaults', 'cutClient', 'isolateLeader', 'slowLinks'];

const bug = (
  name: string,
  faults: readonly FaultName[],
  withinSeeds: number,
  ...patches: readonly Patch[]
): PlantedBug => ({ name, profile: 'all', faults, withinSeeds, firstSeed: 1, isSlow: false, patches });

const slowBug = (...given: Parameters<typeof bug>): PlantedBug => ({ ...bug(...given), isSlow: true });

const memberBug = (...given: Parameters<typeof bug>): PlantedBug => ({
  ...slowBug(...given),
  profile: 'members',
});

export const PLANTED_BUGS: readonly PlantedBug[] = [
  slowBug(
    'an entry of an old term is committed by counting',
    DIVERGENCE,
    400,
    {
      file: 'raft/replication.js',
      find: String.raw` && log\.termAt\(reached\) === term\)`,
      replace: ')',
    },
    // Entry by entry, or the one that opens the leader's term always comes along.
    { file: 'server/node.js', find: 'maxAppendBytes: MIB', replace: 'maxAppendBytes: 1' },
  ),
  bug('a follower acknowledges what is not durable', POWER, 100, {
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
  slowBug(
    'term and vote are forgotten on restart',
    RESTARTS,
    100,
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
    NO_SILENCE,
  ),
  slowBug(
    'messages of a term leave before it is durable',
    LOST_VOTES,
    100,
    {
      file: 'raft/local-state.js',
      find: String.raw`this\.outbox\.sendAfter\(this\.stability\.termBatch, to, message\);`,
      replace:
        'if (to === this.id) this.outbox.sendAfter(this.stability.termBatch, to, message); else this.outbox.send(to, message);',
    },
    NO_SILENCE,
  ),
  bug('a read does not confirm leadership', STALE_LEADERS, 60, {
    file: 'raft/leadership.js',
    find: String.raw`level === 'lease' && this\.#hasLease\(nowMs\)`,
    replace: 'true',
  }),
  slowBug('a lease is not given up', ['pauseLeader'], 100, {
    file: 'raft/leadership.js',
    find: String.raw`nowMs < this\.#reads\.quorumSentMs \+ electionTimeoutMinMs \* \(1 - maxClockDrift\)`,
    replace: 'true',
  }),
  bug('entries are applied twice after a restart', POWER, 40, {
    file: 'kv/kv-state-machine.js',
    find: String.raw`applied \? decodeApplied\(applied\)\.last : emptyAt`,
    replace: 'applied ? Math.max(emptyAt, decodeApplied(applied).last - 1) : emptyAt',
  }),
  bug('an append truncates what it matches', MESSAGES, 60, {
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
  memberBug('the acknowledgement of a learner counts', ELECTIONS, 100, {
    file: 'raft/quorum.js',
    find: String.raw`Math\.min\(reachedByMajority\(configuration\.voters, reached\)`,
    replace: 'Math.min(reachedByMajority([...configuration.voters, ...configuration.learners], reached)',
  }),
  memberBug('two changes of members at once', ELECTIONS, 200, {
    file: 'raft/leadership.js',
    find: String.raw`if \(pending\)\s+return this\.#refused\('changePending'\);`,
    replace: '',
  }),
  bug('a read index before the leader’s first commit', ELECTIONS, 100, {
    file: 'raft/leadership.js',
    find: String.raw`if \(this\.#reads\.hasArrived && this\.#local\.commit >= this\.replication\.termStart\)`,
    replace: 'if (this.#reads.hasArrived)',
  }),
];
