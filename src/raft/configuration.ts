/**
 * The members of a group and how they change: joint consensus (Raft paper, section 6), the single-server change
 * (dissertation, section 4.1) as its simple case, and learners. A learner receives the log but has no vote.
 *
 *     simple    adds or removes at most one voter, and any number of learners
 *     joint     any change: until the joint configuration is left, both the old and the new voters must agree
 *
 * A voter that becomes a learner waits in `learnersNext` until the joint configuration is left: until then it votes as
 * one of the old voters. The rules are those of etcd's confchange package; its test cases are among our tests.
 */
import { RaftreeError } from '../env/errors.js';
import type { NodeId } from './types.js';

/** Lists are ordered and have no duplicates. */
export interface Configuration {
  /** Index of the entry that made this configuration; 0 for the first configuration, which no entry made. */
  readonly index: number;
  readonly voters: readonly NodeId[];
  /** The old voters of a joint configuration; empty otherwise. */
  readonly outgoing: readonly NodeId[];
  readonly learners: readonly NodeId[];
  /** Old voters that become learners when the joint configuration is left. */
  readonly learnersNext: readonly NodeId[];
  /** Whether the leader leaves this joint configuration by itself, as soon as it is applied. */
  readonly autoLeave: boolean;
  /** What the host stores for each member (its addresses). The core only passes it on. */
  readonly contexts: Readonly<Record<NodeId, string>>;
}

export type NodeChange =
  | { readonly type: 'addVoter'; readonly node: NodeId; readonly context?: string }
  | { readonly type: 'addLearner'; readonly node: NodeId; readonly context?: string }
  | { readonly type: 'remove'; readonly node: NodeId };

/**
 * How a change is made. `auto`: one `NodeChange` the simple way, several by a joint configuration that the leader
 * leaves by itself. `joint` and `jointExplicit`: a joint configuration, which is left by the leader itself or by a
 * further change.
 */
export type Transition = 'auto' | 'joint' | 'jointExplicit';

export interface ConfigurationChange {
  /** No changes: leave the joint configuration. */
  readonly changes: readonly NodeChange[];
  readonly transition: Transition;
}

export function configurationOf(
  voters: readonly NodeId[],
  contexts: Readonly<Record<NodeId, string>> = {},
): Configuration {
  return {
    index: 0,
    voters: ordered(voters),
    outgoing: [],
    learners: [],
    learnersNext: [],
    autoLeave: false,
    contexts,
  };
}

export function isJoint(configuration: Configuration): boolean {
  return configuration.outgoing.length > 0;
}

export function isVoter(configuration: Configuration, node: NodeId): boolean {
  return configuration.voters.includes(node) || configuration.outgoing.includes(node);
}

/** All nodes that receive the log, ordered. */
export function membersOf(configuration: Configuration): readonly NodeId[] {
  const { voters, outgoing, learners, learnersNext } = configuration;
  return ordered([...voters, ...outgoing, ...learners, ...learnersNext]);
}

export function isMember(configuration: Configuration, node: NodeId): boolean {
  const { voters, outgoing, learners, learnersNext } = configuration;
  return [voters, outgoing, learners, learnersNext].some((list) => list.includes(node));
}

export function isLearner(configuration: Configuration, node: NodeId): boolean {
  return configuration.learners.includes(node);
}

/** Throws `CONFIGURATION_CHANGE` if the changes need a joint configuration. */
export function changeSimply(configuration: Configuration, changes: readonly NodeChange[]): Configuration {
  if (isJoint(configuration)) throw refused("can't apply simple config change in joint config");
  const next = checked(apply(configuration, changes));
  const before = new Set(configuration.voters);
  const after = new Set(next.voters);
  const changed =
    [...before].filter((id) => !after.has(id)).length + [...after].filter((id) => !before.has(id)).length;
  if (changed > 1) throw refused('more than one voter changed without entering joint config');
  return next;
}

/** Throws `CONFIGURATION_CHANGE`. */
export function enterJoint(
  configuration: Configuration,
  autoLeave: boolean,
  changes: readonly NodeChange[],
): Configuration {
  if (isJoint(configuration)) throw refused('config is already joint');
  if (configuration.voters.length === 0) throw refused("can't make a zero-voter config joint");
  return checked({ ...apply({ ...configuration, outgoing: configuration.voters }, changes), autoLeave });
}

/** Throws `CONFIGURATION_CHANGE`. */
export function leaveJoint(configuration: Configuration): Configuration {
  if (!isJoint(configuration)) throw refused("can't leave a non-joint config");
  const { learners, learnersNext } = configuration;
  return withContextsOfMembers({
    ...configuration,
    outgoing: [],
    learners: ordered([...learners, ...learnersNext]),
    learnersNext: [],
    autoLeave: false,
  });
}

/**
 * The configuration that a change leads to. Its `index` is not set: that is the index of the change's entry. Throws
 * `CONFIGURATION_CHANGE`.
 */
export function applyChange(
  configuration: Configuration,
  { changes, transition }: ConfigurationChange,
): Configuration {
  if (changes.length === 0) return leaveJoint(configuration);
  if (transition === 'auto' && changes.length === 1) return changeSimply(configuration, changes);
  return enterJoint(configuration, transition !== 'jointExplicit', changes);
}

function apply(configuration: Configuration, changes: readonly NodeChange[]): Configuration {
  const voters = new Set(configuration.voters);
  const learners = new Set(configuration.learners);
  const learnersNext = new Set(configuration.learnersNext);
  const contexts: Record<NodeId, string> = { ...configuration.contexts };
  for (const item of changes) {
    const { type, node } = item;
    if (node === 0) continue;
    if (item.type !== 'remove' && item.context !== undefined) contexts[node] = item.context;
    voters.delete(node);
    learners.delete(node);
    learnersNext.delete(node);
    if (type === 'addVoter') voters.add(node);
    else if (type === 'addLearner' && configuration.outgoing.includes(node)) learnersNext.add(node);
    else if (type === 'addLearner') learners.add(node);
  }
  return withContextsOfMembers({
    ...configuration,
    voters: ordered(voters),
    learners: ordered(learners),
    learnersNext: ordered(learnersNext),
    contexts,
  });
}

function withContextsOfMembers(configuration: Configuration): Configuration {
  const contexts: Record<NodeId, string> = {};
  for (const id of membersOf(configuration)) {
    const context = configuration.contexts[id];
    if (context !== undefined) contexts[id] = context;
  }
  return { ...configuration, contexts };
}

function checked(configuration: Configuration): Configuration {
  if (configuration.voters.length === 0) throw refused('removed all voters');
  return configuration;
}

function ordered(ids: Iterable<NodeId>): readonly NodeId[] {
  return [...new Set(ids)].sort((a, b) => a - b);
}

function refused(reason: string): RaftreeError {
  return new RaftreeError('CONFIGURATION_CHANGE', reason);
}
