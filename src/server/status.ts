/** The status of a node: the answer to `status`, and a line in the log when its role changes. */
import { type Address, formatAddress, type Logger, parseAddress } from '../env/env.js';
import { errorCode, type RaftreeError } from '../env/errors.js';
import { FIRST_TABLET } from '../placement/placement.js';
import type { OutboundOf } from '../protocol/messages.js';
import type { RoleStatus } from '../raft/types.js';
import type { NodeConfig } from './config.js';
import type { MemberView } from './member-view.js';
import type { Peers } from './peers.js';
import type { TabletSet } from './tablet-set.js';
import { VERSION } from './version.js';

export interface StatusParts {
  readonly config: NodeConfig;
  readonly membership: Pick<MemberView, 'find' | 'members' | 'removedBy'>;
  readonly peers: Pick<Peers, 'isHeard' | 'isConnected' | 'heardMsAgo' | 'problemOf'>;
  readonly tablets: Pick<TabletSet, 'all' | 'clusterGroup' | 'get'>;
  readonly store: {
    readonly groups: readonly { readonly id: number; readonly failure: RaftreeError | undefined }[];
    readonly quietGroups: number;
    readonly logSyncs: number;
  };
  readonly peerAddress: Address | undefined;
}

/** Of tablet 0: what is about one group is of the cluster's, what is counted of all. Undefined: it is not here. */
export function statusReply(
  parts: StatusParts,
  requestId: number,
  tablet = 0,
): OutboundOf<'statusReply'> | undefined {
  const { config, membership, peers, tablets, store } = parts;
  const group = tablet === 0 ? tablets.clusterGroup : tablets.get(tablet)?.group;
  if (tablet !== 0 && !group) return undefined;
  const counted = (tablet === 0 ? tablets.all.map((each) => each.group) : [group]).flatMap(
    (each) => each?.stateMachine ?? [],
  );
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
    keysApproximate: counted.reduce((sum, machine) => sum + machine.approximateKeys(), 0),
    keysWithDeadline: counted.reduce((sum, machine) => sum + machine.keysWithDeadline, 0),
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
    tablets: tablets.all.length,
    leads: tablets.all.filter((each) => each.group.replica.role === 'leader').length,
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

/**
 * Logs each change of role, term and leader in a tablet once, and calls `onReady` when leaders of all tablets are known
 * for the first time.
 */
export interface RoleReportParts {
  readonly nodeId: number;
  readonly logger: Logger;
  readonly tablets: Pick<TabletSet, 'all' | 'clusterGroup' | 'placement' | 'isOpen' | 'leaderless'>;
}

export class RoleReport {
  readonly #nodeId: number;
  readonly #logger: Logger;
  readonly #tablets: RoleReportParts['tablets'];
  readonly #onReady: (ready: NodeReady) => void;
  #addresses: { readonly client: Address; readonly peer: Address } | undefined;
  readonly #lastShown = new Map<number, string>();
  #isReady = false;

  constructor({ nodeId, logger, tablets }: RoleReportParts, onReady: (ready: NodeReady) => void = () => {}) {
    this.#nodeId = nodeId;
    this.#logger = logger;
    this.#tablets = tablets;
    this.#onReady = onReady;
  }

  /** The node listens. Nothing is reported before. */
  listening(addresses: { readonly client: Address; readonly peer: Address }): void {
    this.#addresses = addresses;
    this.refresh();
    if (this.#tablets.all.length === 0)
      this.statusChanged(FIRST_TABLET, { role: 'follower', term: 0, leader: 0 });
  }

  /** Tablets were opened. */
  refresh(): void {
    for (const { tablet, group } of this.#tablets.all) {
      const { role, term, leader } = group.replica;
      this.statusChanged(tablet.id, { role, term, leader });
    }
  }

  statusChanged(tablet: number, { role, term, leader }: RoleStatus): void {
    if (!this.#addresses) return;
    const shown = `${role} ${term} ${leader}`;
    if (shown !== this.#lastShown.get(tablet)) {
      this.#lastShown.set(tablet, shown);
      const isOnly = tablet === FIRST_TABLET && (this.#tablets.placement?.tablets ?? 1) === 1;
      this.#logger.info(isOnly ? { role, term, leader } : { tablet, role, term, leader }, 'role');
    }
    const first = this.#tablets.clusterGroup;
    if (this.#isReady || !first || !this.#tablets.isOpen || this.#tablets.leaderless.length > 0) return;
    if (this.#tablets.all.length === 0 && first.replica.leader === 0) return;
    this.#isReady = true;
    const { client, peer } = this.#addresses;
    this.#onReady({
      ...{ nodeId: this.#nodeId, role: first.replica.role, leader: first.replica.leader },
      client: formatAddress(client),
      peer: formatAddress(peer),
    });
  }
}
