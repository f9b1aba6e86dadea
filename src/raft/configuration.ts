/**
 * Who belongs to a group, and how that changes: joint consensus (Raft, section 6) with the single-server change
 * (dissertation, section 4.1) as its simple case, and learners, which receive the log and count for nothing.
 *
 *     simple    one voter more or less; learners as you like
 *     joint     any change: between entering and leaving, both the old and the new voters must agree
 *
 * A voter that is to become a learner waits in `learnersNext` until the joint configuration is left: until then its
 * vote counts among the old voters. The rules are those of etcd's confchange package, and its cases are our tests.
 */
import { RaftreeError } from '../env/errors.js';
import type { NodeId } from './types.js';

/** Lists are ordered and without repetition. */
export interface Configuration {
  /** Index of the entry that made it; 0 for the first one, which is in no entry. */
  readonly index: number;
  readonly voters: readonly NodeId[];
  /** The old voters of a joint configuration; empty otherwise. */
  readonly outgoing: readonly NodeId[];
  readonly learners: readonly NodeId[];
  /** Old voters that become learners when the joint configuration is left. */
  readonly learnersNext: readonly NodeId[];
  /** A joint configuration that the leader leaves by itself as soon as it is applied. */
  readonly autoLeave: boolean;
  /** What the host wants to know of each member (how to reach it); the core passes it on. */
  readonly notes: Readonly<Record<NodeId, string>>;
}

export type MemberChange =
  | { readonly type: 'addVoter'; readonly node: NodeId; readonly note?: string }
  | { readonly type: 'addLearner'; readonly node: NodeId; readonly note?: string }
  | { readonly type: 'remove'; readonly node: NodeId };

/** How a change is to be made: `auto` takes the simple way where it is allowed, else the joint one, left by itself. */
export type Transition = 'auto' | 'joint' | 'jointExplicit';

export interface ConfigurationChange {
  /** None: leave the joint configuration. */
  readonly changes: readonly MemberChange[];
  readonly transition: Transition;
}

export function configurationOf(
  voters: readonly NodeId[],
  notes: Readonly<Record<NodeId, string>> = {},
): Configuration {
  return {
    index: 0,
    voters: ordered(voters),
    outgoing: [],
    learners: [],
    learnersNext: [],
    autoLeave: false,
    notes,
  };
}

export function isJoint(configuration: Configuration): boolean {
  return configuration.outgoing.length > 0;
}

export function isVoter(configuration: Configuration, node: NodeId): boolean {
  return configuration.voters.includes(node) || configuration.outgoing.includes(node);
}

/** Everybody who receives the log, ordered. */
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

/** Throws `CONFIGURATION_CHANGE` if the changes are not allowed without a joint configuration. */
export function changeSimply(configuration: Configuration, changes: readonly MemberChange[]): Configuration {
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
  changes: readonly MemberChange[],
): Configuration {
  if (isJoint(configuration)) throw refused('config is already joint');
  if (configuration.voters.length === 0) throw refused("can't make a zero-voter config joint");
  return checked({ ...apply({ ...configuration, outgoing: configuration.voters }, changes), autoLeave });
}

/** Throws `CONFIGURATION_CHANGE`. */
export function leaveJoint(configuration: Configuration): Configuration {
  if (!isJoint(configuration)) throw refused("can't leave a non-joint config");
  const { learners, learnersNext } = configuration;
  return withNotesOfMembers({
    ...configuration,
    outgoing: [],
    learners: ordered([...learners, ...learnersNext]),
    learnersNext: [],
    autoLeave: false,
  });
}

/**
 * Without `index`, which the entry's place decides: the configuration that a change leads to. Throws
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

function apply(configuration: Configuration, changes: readonly MemberChange[]): Configuration {
  const voters = new Set(configuration.voters);
  const learners = new Set(configuration.learners);
  const learnersNext = new Set(configuration.learnersNext);
  const notes: Record<NodeId, string> = { ...configuration.notes };
  for (const item of changes) {
    const { type, node } = item;
    if (node === 0) continue;
    if (item.type !== 'remove' && item.note !== undefined) notes[node] = item.note;
    voters.delete(node);
    learners.delete(node);
    learnersNext.delete(node);
    if (type === 'addVoter') voters.add(node);
    else if (type === 'addLearner' && configuration.outgoing.includes(node)) learnersNext.add(node);
    else if (type === 'addLearner') learners.add(node);
  }
  return withNotesOfMembers({
    ...configuration,
    voters: ordered(voters),
    learners: ordered(learners),
    learnersNext: ordered(learnersNext),
    notes,
  });
}

function withNotesOfMembers(configuration: Configuration): Configuration {
  const notes: Record<NodeId, string> = {};
  for (const id of membersOf(configuration)) {
    const note = configuration.notes[id];
    if (note !== undefined) notes[id] = note;
  }
  return { ...configuration, notes };
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
