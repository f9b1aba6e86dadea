/** Faults to be found: each is a change of the compiled core, and the scenario that brings it to light. */
export interface Patch {
  /** Below dist/src/raft. */
  readonly file: string;
  /** It stands at exactly one place. */
  readonly find: string;
  readonly replace: string;
}

export interface Mutation {
  readonly name: string;
  readonly patches: readonly Patch[];
  readonly scenario: string;
}

export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'unappliedChangesForgotten',
    patches: [
      {
        file: 'membership.js',
        find: 'for (const { change } of this.#pending) {\n            configuration = changedBy(configuration, change);\n            if (isVoter',
        replace: 'for (const { change } of []) {\n            if (isVoter',
      },
    ],
    scenario: 'promotedUnapplied',
  },
  {
    name: 'persistedCommitOnlyApplied',
    patches: [
      {
        file: 'local-state.js',
        find: 'vote: this.#vote, commit: this.#commit }',
        replace: 'vote: this.#vote, commit: Math.min(this.#commit, this.#applied) }',
      },
    ],
    scenario: 'pendingChange',
  },
  {
    name: 'ownVoteBeforeDurable',
    patches: [
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
    ],
    scenario: 'learner',
  },
  {
    name: 'shortAppendCommitsAll',
    patches: [
      {
        file: 'raft.js',
        find: 'local.commitTo(Math.min(message.commitIndex, index))',
        replace: 'local.commitTo(Math.min(message.commitIndex, local.log.lastIndex))',
      },
    ],
    scenario: 'replication',
  },
];
