/**
 * Faults to be found: each is a change of the compiled core, and the scenario that brings it to light. A place that is
 * not found any more is an error, so that a mutation cannot quietly stop to be one.
 */
export interface Patch {
  /** Below dist/src/raft. */
  readonly file: string;
  /** It stands at exactly one place. */
  readonly find: string;
  readonly replace: string;
}

export interface Mutation {
  readonly name: string;
  readonly scenario: string;
  readonly patches: readonly Patch[];
  /** Another core that must be as good: nothing is to be found. */
  readonly isLawful?: boolean;
}

const mutation = (name: string, scenario: string, ...patches: readonly Patch[]): Mutation => ({
  name,
  scenario,
  patches,
});

/**
 * Lawful, for a hint may name any earlier place. Our own leaders find at once where a log begins to differ, and send
 * from there on, so that nothing uncommitted survives the first append that is accepted.
 */
const CAUTIOUS_HINTS: Patch = {
  file: 'raft.js',
  find: 'this.#local.log.lastNotAfter(message.previousIndex, message.previousTerm)',
  replace: '{ index: this.#local.commit, term: this.#local.log.termAt(this.#local.commit) }',
};

/** Whoever is no voter, as far as it has applied, compares candidates with its commit only. */
const VOTES_BY_COMMIT: Patch = {
  file: 'election.js',
  find: 'const upToDate = log.isUpToDate(message.lastIndex, message.lastTerm);',
  replace: `const { configuration, id, commit } = this.#local;
        const through = isVoter(configuration, id) ? log.lastIndex : commit;
        const throughTerm = log.termAt(through);
        const upToDate = message.lastTerm > throughTerm || (message.lastTerm === throughTerm && message.lastIndex >= through);`,
};

/** What the one who answers a vote request knows to be committed is not heard. */
const TELLS_NOTHING: Patch = {
  file: 'raft.js',
  find: 'this.#local.commitTo(message.commitIndex);\n        if (this.#election.count',
  replace: 'void 0;\n        if (this.#election.count',
};

export const MUTATIONS: readonly Mutation[] = [
  mutation('a removed voter votes by its commit', 'removal', VOTES_BY_COMMIT),
  mutation('a demoted voter votes by its commit', 'demotion', VOTES_BY_COMMIT),
  mutation(
    'a removed voter votes by its commit, two crashes',
    'removalTwoCrashes',
    VOTES_BY_COMMIT,
    TELLS_NOTHING,
  ),
  mutation('a change that is not applied makes no voter', 'promotedUnapplied', VOTES_BY_COMMIT),
  mutation('only what is applied is written as committed', 'pendingChange', {
    file: 'local-state.js',
    find: 'vote: this.#vote, commit: this.#commit }',
    replace: 'vote: this.#vote, commit: Math.min(this.#commit, this.#applied) }',
  }),
  mutation(
    'the own vote counts before it is durable',
    'learner',
    {
      file: 'election.js',
      find: 'this.#votes = new Map();\n        this.#restartTimer(nowMs);\n        this.#requestVotes(false',
      replace:
        'this.#votes = new Map([[id, true]]);\n        this.#restartTimer(nowMs);\n        this.#requestVotes(false',
    },
    {
      file: 'raft.js',
      find: 'this.#election.stand(nowMs, force);',
      replace: 'this.#election.stand(nowMs, force); this.#tally(nowMs);',
    },
  ),
  mutation(
    'an append commits what lies beyond it',
    'shortAppends',
    {
      file: 'raft.js',
      find: 'local.commitTo(Math.min(message.commitIndex, index))',
      replace: 'local.commitTo(Math.min(message.commitIndex, local.log.lastIndex))',
    },
    CAUTIOUS_HINTS,
  ),
  { ...mutation('cautious hints', 'shortAppends', CAUTIOUS_HINTS), isLawful: true },
  mutation('alone by what is applied', 'growth', {
    file: 'membership.js',
    find: 'for (const { index, change } of this.#pending) {\n            if (!isOnlyVoter',
    replace: 'for (const { index, change } of []) {\n            if (!isOnlyVoter',
  }),
  mutation('read ids begin anew with every process', 'followerRead', {
    file: 'follower-reads.js',
    find: 'Math.floor(random() * FIRST_WIRE_IDS)',
    replace: '1',
  }),
  mutation('a lease counts with the own timeout only', 'timeouts', {
    file: 'leadership.js',
    find: 'Math.min(electionTimeoutMinMs, this.replication.leastPromisedMs())',
    replace: 'electionTimeoutMinMs',
  }),
  mutation('what was promised before a restart is forgotten', 'promises', {
    file: 'election.js',
    find: 'Math.max(options.electionTimeoutMaxMs, promisedMs)',
    replace: 'options.electionTimeoutMaxMs',
  }),
  mutation('loyalty ends with the term', 'leaseOverRestart', {
    file: 'election.js',
    find: `nowMs - this.#lastLeaderContactMs < this.#options.electionTimeoutMinMs;`,
    replace:
      'this.#leader !== NOBODY && nowMs - this.#lastLeaderContactMs < this.#options.electionTimeoutMinMs;',
  }),
  mutation('a lease is longer by the drift', 'leaseOverRestart', {
    file: 'leadership.js',
    find: '(1 - maxClockDrift)',
    replace: '(1 + maxClockDrift)',
  }),
  mutation('a lease counts from the answer', 'leaseOverRestart', {
    file: 'read-index.js',
    find: 'this.#quorumSentMs = atMs;',
    replace: 'this.#quorumSentMs = this.#sent.at(-1)?.atMs ?? atMs;',
  }),
  mutation('a restarted node is not silent', 'leaseOverRestart', {
    file: 'election.js',
    find: 'const silentMs = restarted && !alone ?',
    replace: 'const silentMs = false ?',
  }),
  mutation('a lease survives an attempted transfer', 'lease', {
    file: 'leadership.js',
    find: '!this.#transfer.attempted &&',
    replace: '',
  }),
  mutation('a leader that leaves keeps its lease', 'leaverWithLease', {
    file: 'leadership.js',
    find: 'if (this.#isLeaving || membership.lastPendingIndex > applied)',
    replace: 'if (false)',
  }),
  mutation('a read does not confirm leadership', 'lease', {
    file: 'leadership.js',
    find: "method === 'lease' && this.#hasLease(nowMs)",
    replace: 'true',
  }),
  mutation('two votes in one term', 'votes', {
    file: 'election.js',
    find: '(vote === from || (vote === NOBODY && this.#leader === NOBODY))',
    replace: 'true',
  }),
  mutation('the vote is forgotten on restart', 'votes', {
    file: 'local-state.js',
    find: 'this.#vote = state.hardState.vote;',
    replace: 'this.#vote = 0;',
  }),
  mutation('votes leave before they are durable', 'votes', {
    file: 'local-state.js',
    find: 'this.outbox.sendAfter(this.stability.termBatch, to, message);',
    replace:
      'if (to === this.id) this.outbox.sendAfter(this.stability.termBatch, to, message); else this.outbox.send(to, message);',
  }),
  mutation('entries are acknowledged before they are durable', 'replication', {
    file: 'local-state.js',
    find: 'this.outbox.sendAfter(this.stability.batchFor(this.#hasUnsaved()), to, message)',
    replace: 'this.sendForTerm(to, message)',
  }),
  mutation('the leader counts its own entries before they are durable', 'replication', {
    file: 'replication.js',
    find: 'this.reachedByQuorum(stability.stableIndex, (progress) => progress.match)',
    replace: 'this.reachedByQuorum(log.lastIndex, (progress) => progress.match)',
  }),
  mutation('whoever asks is up to date', 'replication', {
    file: 'election.js',
    find: 'const upToDate = log.isUpToDate(message.lastIndex, message.lastTerm);',
    replace: 'const upToDate = true;',
  }),
  mutation('an entry of an old term is committed by counting', 'oldTerm', {
    file: 'replication.js',
    find: ' && log.termAt(reached) === term)',
    replace: ')',
  }),
  mutation('an append truncates what it matches', 'overtaken', {
    file: 'raft.js',
    find: 'if (present === entry.term)\n                continue;',
    replace: '',
  }),
  mutation('a read index before the leader’s first commit', 'reads', {
    file: 'leadership.js',
    find: 'if (this.#reads.hasArrived && this.#local.commit >= this.replication.termStart)',
    replace: 'if (this.#reads.hasArrived)',
  }),
  mutation('any round confirms a read', 'reads', {
    file: 'read-index.js',
    find: 'while ((this.#waiting[count]?.round ?? Number.POSITIVE_INFINITY) <= answeredRound)',
    replace: 'while (count < this.#waiting.length && answeredRound > 0)',
  }),
  mutation('two changes of members at once', 'twoChanges', {
    file: 'leadership.js',
    find: "if (this.hasPendingChange)\n            return this.#refused('changePending');",
    replace: '',
  }),
  mutation('nobody waits for a committed change before it campaigns', 'pendingChange', {
    file: 'election.js',
    find: ' &&\n            !membership.hasPending(applied, commit)',
    replace: '',
  }),
  mutation('nobody waits for what was committed before a restart', 'pendingChange', {
    file: 'election.js',
    find: 'applied >= this.#restartCommit &&\n            !membership.hasPending(applied, commit)',
    replace: 'true',
  }),
  mutation('the new half of a joint configuration commits alone', 'joint', {
    file: 'quorum.js',
    find: 'Math.min(reachedByMajority(configuration.voters, reached), reachedByMajority(configuration.outgoing, reached))',
    replace: 'reachedByMajority(configuration.voters, reached)',
  }),
  mutation('the new half of a joint configuration elects alone', 'joint', {
    file: 'quorum.js',
    find: "if (incoming === outgoing)\n        return incoming;\n    return incoming === 'lost' || outgoing === 'lost' ? 'lost' : 'pending';",
    replace: 'return incoming;',
  }),
  mutation('a removed node does not answer', 'leaderLeavesTwo', {
    file: 'election.js',
    find: 'if (nowMs < this.#silentUntilMs)\n            return false;',
    replace:
      'if (nowMs < this.#silentUntilMs || !isVoter(this.#local.configuration, this.#local.id)) return false;',
  }),
  mutation('an answer does not tell what is committed', 'leaderLeavesTwo', TELLS_NOTHING),
];
