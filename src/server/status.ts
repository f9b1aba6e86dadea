/** The status of a node: the answer to `status`, and a line in the log when its role changes. */
import { type Address, formatAddress, type Logger, parseAddress } from '../env/env.js';
import { errorCode, type RaftreeError } from '../env/errors.js';
import type { OutboundOf } from '../protocol/messages.js';
import type { RoleStatus } from '../raft/types.js';
import type { NodeConfig } from './config.js';
import type { KvGroup } from './kv-group.js';
import type { MemberView } from './member-view.js';
import type { Peers } from './peers.js';
import { VERSION } from './version.js';

export interface StatusParts {
  readonly config: NodeConfig;
  readonly membership: Pick<MemberView, 'find' | 'members' | 'removedBy'>;
  readonly peers: Pick<Peers, 'isHeard' | 'isConnected' | 'heardMsAgo' | 'problemOf'>;
  /** Undefined before the birth of the cluster. */
  readonly group: KvGroup | undefined;
  readonly store: {
    readonly groups: readonly { readonly id: number; readonly failure: RaftreeError | undefined }[];
    readonly quietGroups: number;
    readonly logSyncs: number;
  };
  readonly peerAddress: Address | undefined;
}

export function statusReply(parts: StatusParts, requestId: number): OutboundOf<'statusReply'> {
  const { config, membership, peers, group, store } = parts;
  const replica = group?.replica;
  const role = replica?.role ?? 'follower';
  const leader = replica?.leader ?? 0;
  const matches = new Map(replica?.peers().map((peer) => [peer.id, peer.matchIndex]));
  const {
    voters = [],
    outgoing = [],
    learners = [],
    learnersNext = [],
    index = 0,
  } = replica?.configuration ?? {};
  return {
    type: 'statusReply',
    requestId,
    nodeId: config.nodeId,
    clusterId: config.clusterId,
    role,
    term: replica?.term ?? 0,
    leaderId: leader,
    leaderAddress: membership.find(leader)?.client ?? '',
    peerAddress: ownPeerAddress(parts),
    commitIndex: replica?.commitIndex ?? 0,
    appliedIndex: replica?.appliedIndex ?? 0,
    lastIndex: replica?.lastIndex ?? 0,
    durableIndex: replica?.durableIndex ?? 0,
    keysApproximate: group?.stateMachine.approximateKeys() ?? 0,
    keysWithDeadline: group?.stateMachine.keysWithDeadline ?? 0,
    timeMs: group?.stateMachine.timeMs ?? 0,
    version: VERSION,
    peers: membership.members
      .filter((member) => member.id !== config.nodeId)
      .map((member) => ({
        nodeId: member.id,
        clientAddress: member.client,
        peerAddress: member.peer,
        matchIndex: matches.get(member.id) ?? 0,
        // A leader hears its members all the time. The others only know whether they are connected.
        reachable: role === 'leader' ? peers.isHeard(member.id) : peers.isConnected(member.id),
        heardMsAgo: peers.heardMsAgo(member.id),
        problem: peers.problemOf(member.id),
      })),
    voters: [...voters],
    outgoing: [...outgoing],
    learners: [...learners, ...learnersNext],
    configurationIndex: index,
    removedBy: membership.removedBy,
    groups: store.groups.length,
    quietGroups: store.quietGroups,
    failedGroups: store.groups.flatMap(({ id, failure }) =>
      failure ? [{ group: id, code: codeOf(failure), message: failure.message }] : [],
    ),
    logSyncs: store.logSyncs,
  };
}

/** Of what made the replica fail. */
function codeOf(failure: RaftreeError): string {
  return errorCode(failure.cause) ?? failure.code;
}

/** The address that others use. If its port is 0, the real port is put in. */
function ownPeerAddress({ config, membership, peerAddress }: StatusParts): string {
  const told = membership.find(config.nodeId)?.peer ?? '';
  if (!peerAddress || !told.endsWith(':0')) return told;
  return formatAddress({ ...parseAddress(told), port: peerAddress.port });
}

export interface NodeReady {
  readonly nodeId: number;
  readonly role: string;
  readonly leader: number;
  readonly client: string;
  readonly peer: string;
}

/** Logs each change of role, term and leader once, and calls `onReady` when a leader is known for the first time. */
export class RoleReport {
  readonly #nodeId: number;
  readonly #logger: Logger;
  readonly #onReady: (ready: NodeReady) => void;
  #addresses: { readonly client: Address; readonly peer: Address } | undefined;
  #lastShown = '';
  #isReady = false;

  constructor(nodeId: number, logger: Logger, onReady: (ready: NodeReady) => void = () => {}) {
    this.#nodeId = nodeId;
    this.#logger = logger;
    this.#onReady = onReady;
  }

  /** The node listens. Nothing is reported before. */
  listening(addresses: { readonly client: Address; readonly peer: Address }, status: RoleStatus): void {
    this.#addresses = addresses;
    this.statusChanged(status);
  }

  statusChanged({ role, term, leader }: RoleStatus): void {
    if (!this.#addresses) return;
    const shown = `${role} ${term} ${leader}`;
    if (shown === this.#lastShown) return;
    this.#lastShown = shown;
    this.#logger.info({ role, term, leader }, 'role');
    if (this.#isReady || leader === 0) return;
    this.#isReady = true;
    const { client, peer } = this.#addresses;
    this.#onReady({
      ...{ nodeId: this.#nodeId, role, leader },
      client: formatAddress(client),
      peer: formatAddress(peer),
    });
  }
}
