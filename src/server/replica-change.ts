/**
 * Changes the members of a tablet, at its leader, one step for each call:
 *
 *     the new replica becomes a learner  -->  it has caught up  -->  one joint change promotes it and removes the other
 *
 * Every step is judged by the newest configuration in the log and tied to it, so a step that is ordered twice, or late,
 * is done once or not at all. A leader that is to be removed hands over first.
 */
import { RaftreeError } from '../env/errors.js';
import type { PlacedReplica } from '../placement/placement.js';
import { replicaContext, replicaIdIn } from '../placement/replica-context.js';
import {
  type Configuration,
  isJoint,
  isMember,
  isVoter,
  membersOf,
  type NodeChange,
} from '../raft/configuration.js';
import { majorityOf } from '../raft/quorum.js';
import type { Replica } from '../replica/replica.js';

export type ChangingReplica = Pick<
  Replica<unknown>,
  | 'role'
  | 'leader'
  | 'lastIndex'
  | 'configuration'
  | 'settledConfiguration'
  | 'hasPendingChange'
  | 'matchIndexOf'
  | 'changeConfiguration'
  | 'transferLeadership'
>;

export interface ReplicaChange {
  readonly add?: PlacedReplica | undefined;
  readonly remove?: PlacedReplica | undefined;
  /** If the new replica is no voter yet, it is not to become one: it leaves again. */
  readonly givesUp?: boolean | undefined;
}

export type ChangeProgress =
  /** Ask this node: it leads; 0: none is known. */
  | { readonly state: 'notLeader'; readonly leader: number }
  /** A step was taken, or is under way. */
  | { readonly state: 'underWay' }
  /** The members are so, and a quorum of them knows it durably. */
  | {
      readonly state: 'done';
      readonly confIndex: number;
      readonly replicas: readonly (PlacedReplica & { readonly role: 'voter' | 'learner' })[];
    };

export interface ChangeParts {
  readonly nodeId: number;
  readonly replica: ChangingReplica;
  /** Of a member whose context has no id, because it was there before the map; 0: it has none. */
  readonly firstIdOf: (node: number) => number;
  /** A Raft message of the node came within an election timeout. */
  readonly isHeard: (node: number) => boolean;
  /** The tablet is a part of one that was split, and this member may not have it yet. */
  readonly lacks: (node: number) => boolean;
  /** Resolves with whether it became true within an election timeout. */
  readonly waitFor: (condition: () => boolean) => Promise<boolean>;
}

/** Rejects with `QUORUM_AT_RISK`, `ORDER_OUTDATED`, `CHANGE_PENDING`, or as the replica does. */
export async function stepTowards(
  { add, remove, givesUp = false }: ReplicaChange,
  { nodeId, replica, firstIdOf, isHeard, lacks, waitFor }: ChangeParts,
): Promise<ChangeProgress> {
  const idIn = (members: Configuration, node: number) =>
    replicaIdIn(members.contexts[node]) || (isMember(members, node) ? firstIdOf(node) : 0);
  const { role, leader, configuration, hasPendingChange } = replica;
  if (role !== 'leader') return { state: 'notLeader', leader };
  const underWay = { state: 'underWay' } as const;
  if (hasPendingChange || isJoint(configuration)) return underWay;
  const has = (wanted: PlacedReplica | undefined) =>
    wanted !== undefined && idIn(configuration, wanted.node) === wanted.replicaId;
  const leaves = has(remove);
  const isAdded = !add || (has(add) && isVoter(configuration, add.node));
  if (givesUp && !isAdded && has(add)) {
    await change(replica, [{ type: 'remove', node: add.node }]);
    return underWay;
  }
  if ((isAdded && !leaves) || (givesUp && !isAdded)) {
    if (replica.settledConfiguration < configuration.index) return underWay;
    return { state: 'done', confIndex: configuration.index, replicas: replicasIn(configuration, idIn) };
  }
  // Whoever lacks it gets it from the tablet that was split, which does not stay with those that leave.
  const lacking = membersOf(configuration).filter(
    (node) => node !== add?.node && !(leaves && node === remove?.node) && lacks(node),
  );
  if (lacking.length > 0)
    throw new RaftreeError('CHANGE_PENDING', `node ${lacking[0]} does not have this part of the tablet yet`, {
      info: { outcome: 'notCommitted' },
    });
  if (add && !has(add)) {
    if (membersOf(configuration).includes(add.node))
      throw new RaftreeError('ORDER_OUTDATED', `node ${add.node} has another replica of this tablet`, {
        info: { outcome: 'notCommitted' },
      });
    await change(replica, [{ type: 'addLearner', node: add.node, context: replicaContext(add.replicaId) }]);
    return underWay;
  }
  // All that the log held when it was asked: under load it is always some entries behind.
  const { lastIndex } = replica;
  if (add && !isAdded && !(await waitFor(() => replica.matchIndexOf(add.node) >= lastIndex))) return underWay;
  if (replica.role !== 'leader' || replica.configuration !== configuration) return underWay;
  const voters = configuration.voters.filter((voter) => !leaves || voter !== remove?.node);
  if (add && !voters.includes(add.node)) voters.push(add.node);
  const heard = voters.filter((voter) => voter === nodeId || isHeard(voter));
  if (heard.length < majorityOf(voters.length))
    throw new RaftreeError(
      'QUORUM_AT_RISK',
      `of the voters ${voters.join(', ')} only ${heard.length} are heard`,
      {
        info: { outcome: 'notCommitted' },
      },
    );
  if (leaves && remove?.node === nodeId) {
    const successor = configuration.voters.find((voter) => voter !== nodeId && isHeard(voter));
    if (successor !== undefined) {
      await replica.transferLeadership(successor);
      return underWay;
    }
    // The only voter: the new one must be there before it can take over.
    if (add && !isAdded) {
      await change(replica, [promotion(add)]);
      return underWay;
    }
  }
  const changes: NodeChange[] = [];
  if (add && !isAdded) changes.push(promotion(add));
  if (leaves && remove) changes.push({ type: 'remove', node: remove.node });
  await change(replica, changes);
  return underWay;
}

function promotion({ node, replicaId }: PlacedReplica): NodeChange {
  return { type: 'addVoter', node, context: replicaContext(replicaId) };
}

async function change(replica: ChangingReplica, changes: readonly NodeChange[]): Promise<void> {
  await replica.changeConfiguration({ changes, transition: 'auto' }, replica.configuration.index);
}

function replicasIn(
  configuration: Configuration,
  idIn: (configuration: Configuration, node: number) => number,
) {
  return membersOf(configuration).map((node) => ({
    ...{ node, replicaId: idIn(configuration, node) },
    role: isVoter(configuration, node) ? ('voter' as const) : ('learner' as const),
  }));
}
