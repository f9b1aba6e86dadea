/**
 * What a request to change members means for the configuration in force: the changes, the nodes that must be reached or
 * catch up before, and whether a quorum that is heard and holds the log remains. Pure.
 */
import type { RequestedChange } from '../doors/ports.js';
import { RaftreeError, refused } from '../env/errors.js';
import {
  applyChange,
  type Configuration,
  isJoint,
  isVoter,
  leaveJoint,
  type NodeChange,
} from '../raft/configuration.js';
import { majorityOf } from '../raft/quorum.js';
import type { NodeId } from '../raft/types.js';
import {
  addressProblem,
  encodeMemberContext,
  type Member,
  membersIn,
  sharedAddress,
} from './member-context.js';

export interface MemberPlan {
  /** Empty if the members are already as requested. */
  readonly changes: readonly NodeChange[];
  /** The configuration after all changes. */
  readonly result: Configuration;
  /** New members, and members with a new peer address. */
  readonly toReach: readonly { readonly node: NodeId; readonly peer: string }[];
  /** Learners that become voters. */
  readonly promoted: readonly NodeId[];
}

/**
 * `listed` are the nodes of node.json. `storeIdOf` returns the store id of a node if it is known now.
 * Throws `ALREADY_MEMBER`, `NOT_A_MEMBER`, `CHANGE_INVALID` or `INVALID_REQUEST`: not committed.
 */
export function planChanges(
  configuration: Configuration,
  requested: readonly RequestedChange[],
  listed: readonly Member[],
  storeIdOf: (node: NodeId) => string | undefined,
): MemberPlan {
  const members = new Map(membersIn(configuration, listed).map((member) => [member.id, member]));
  const changes: NodeChange[] = [];
  const toReach: { node: NodeId; peer: string }[] = [];
  const promoted: NodeId[] = [];
  const seen = new Set<NodeId>();
  for (const { type, nodeId: node, clientAddress, peerAddress } of requested) {
    if (node === 0) throw refused('INVALID_REQUEST', '0 is no node');
    if (seen.has(node)) throw refused('INVALID_REQUEST', `node ${node} is to be changed twice at once`);
    seen.add(node);
    const present = members.get(node);
    const isNew = type === 'addVoter' || type === 'addLearner';
    if (!present && !isNew) throw refused('NOT_A_MEMBER', `node ${node} is no member`);
    if (type === 'remove') {
      members.delete(node);
      changes.push({ type, node });
      continue;
    }
    const wantsVoter = type === 'addVoter' || type === 'promote';
    const wasVoter = isVoter(configuration, node);
    const member: Member = {
      id: node,
      client: clientAddress || (present?.client ?? ''),
      peer: peerAddress || (present?.peer ?? ''),
      storeId: present?.storeId ?? storeIdOf(node),
    };
    const isMoved = !present || present.client !== member.client || present.peer !== member.peer;
    if (present && isNew && (isMoved || wasVoter !== wantsVoter))
      throw isThere(present, wasVoter, wantsVoter);
    // A member that was added while it was not connected gets its store id when an operator names it again later.
    const isNoted = isNew || present?.storeId === member.storeId;
    if (present && !isMoved && isNoted && (type === 'update' || wasVoter === wantsVoter)) continue;
    if (isMoved) checkAddresses(member);
    if (isMoved && present?.peer !== member.peer) toReach.push({ node, peer: member.peer });
    if (present && type === 'promote') promoted.push(node);
    members.set(node, member);
    const becomesVoter = type === 'update' ? wasVoter : wantsVoter;
    const context = encodeMemberContext(member);
    changes.push({ type: becomesVoter ? 'addVoter' : 'addLearner', node, context });
  }
  const shared = changes.length > 0 ? sharedAddress([...members.values()]) : undefined;
  if (shared !== undefined) throw refused('CHANGE_INVALID', shared);
  return { changes, result: resultOf(configuration, changes), toReach, promoted };
}

/**
 * What the change would risk: no majority of the voters before it, or after it, is fit now. Undefined if both are. The
 * voters before it agree on the change. `faultOf` says what is wrong with a node, as in `node 3 is …`.
 */
export function quorumProblem(
  before: Configuration,
  after: Configuration,
  faultOf: (node: NodeId) => string | undefined,
): string | undefined {
  for (const [voters, which] of [
    [before.voters, 'the present voters'],
    [after.voters, 'the voters that there would be'],
  ] as const) {
    const faults = voters.flatMap((node) => {
      const fault = faultOf(node);
      return fault === undefined ? [] : [{ node, fault }];
    });
    const needed = majorityOf(voters.length);
    if (voters.length - faults.length >= needed) continue;
    const fit = voters.filter((node) => faults.every((each) => each.node !== node));
    return (
      `of ${which} (${names(voters)}) ${needed} must be heard and hold the log, but only ${names(fit)} ` +
      `${fit.length === 1 ? 'does' : 'do'}: ${faults.map(({ node, fault }) => `node ${node} is ${fault}`).join(', ')}`
    );
  }
  return undefined;
}

function names(nodes: readonly NodeId[]): string {
  if (nodes.length === 0) return 'none';
  return `${nodes.length === 1 ? 'node' : 'nodes'} ${nodes.join(', ')}`;
}

function resultOf(configuration: Configuration, changes: readonly NodeChange[]): Configuration {
  if (changes.length === 0) return configuration;
  try {
    const next = applyChange(configuration, { changes, transition: 'auto' });
    return isJoint(next) ? leaveJoint(next) : next;
  } catch (error) {
    if (!(error instanceof RaftreeError)) throw error;
    throw refused('CHANGE_INVALID', `the present membership does not allow that: ${error.message}`);
  }
}

function checkAddresses({ id, client, peer }: Member): void {
  if (client === '' || peer === '')
    throw refused(
      'CHANGE_INVALID',
      `node ${id} is no member: a new one needs its client and its peer address`,
    );
  for (const address of [client, peer]) {
    const problem = addressProblem(address);
    if (problem !== undefined) throw refused('INVALID_REQUEST', problem);
  }
}

function isThere(present: Member, isVoter: boolean, wantsVoter: boolean): RaftreeError {
  const { id, client, peer } = present;
  const command =
    isVoter === wantsVoter
      ? `member update ${id} --client … --peer …`
      : `member ${wantsVoter ? 'promote' : 'demote'} ${id}`;
  return refused(
    'ALREADY_MEMBER',
    `node ${id} is a ${isVoter ? 'voter' : 'learner'} already, with clients at ${client} and peers at ${peer}; ` +
      `to change that: raftree ${command}`,
  );
}
