/**
 * The members of the cluster as this node sees them: where they are reached, whether this node is one, and what it
 * remembers of them. The configuration in the Raft log decides; the nodes of node.json count while that is empty.
 */
import type { Logger } from '../env/env.js';
import { errorMessage } from '../env/errors.js';
import { type Configuration, configurationOf, membersOf } from '../raft/configuration.js';
import type { Replica } from '../replica/replica.js';
import type { NodeIdentity } from './identity.js';
import type { KnownPeers } from './known-peers.js';
import { decodeMemberContext, type Member, membersIn } from './member-context.js';
import type { PeerAnnouncement } from './peer-connection.js';
import type { PeerTarget } from './peers.js';

/** The replica of the group whose members are the cluster's. */
export type MemberReplica = Pick<
  Replica<unknown>,
  'role' | 'leader' | 'lastIndex' | 'commitIndex' | 'configuration' | 'matchIndexOf'
>;

/** Connections with the other nodes. */
export interface MemberConnections {
  setMembers(members: readonly PeerTarget[]): void;
  /** Sends this node's announcement again: it has changed. */
  announce(): void;
}

/** A tablet of this node. */
export interface MemberTablet {
  readonly tablet: { readonly id: number };
  readonly group: { readonly replica: MemberReplica };
}

export interface MemberViewParts {
  readonly identity: NodeIdentity;
  /** The nodes of node.json. */
  readonly listed: readonly Member[];
  readonly logger: Logger;
  readonly known: KnownPeers;
  /** Undefined before the group is open. */
  readonly replica: () => MemberReplica | undefined;
  readonly tablets: () => readonly MemberTablet[];
  /** The replica of a tablet on a node; 0: it has no id. */
  readonly replicaIdOf: (tablet: number, node: number) => number;
  /** Replicas that were here: nobody expects anything of them. */
  readonly removedReplicas: () => readonly number[];
  readonly connections: () => MemberConnections | undefined;
}

export class MemberView {
  readonly #parts: MemberViewParts;
  /** Ids in the configuration in force. */
  #inForce: readonly number[] = [];
  /** The newest configuration that a member has announced. */
  #announced: { readonly index: number; readonly members: readonly number[] } = { index: 0, members: [] };

  constructor(parts: MemberViewParts) {
    this.#parts = parts;
  }

  get members(): readonly Member[] {
    const { replica, listed } = this.#parts;
    const { configuration } = replica() ?? {};
    return configuration ? membersIn(configuration, listed) : listed;
  }

  /** A member, or a node of node.json. */
  find(node: number): Member | undefined {
    return [...this.members, ...this.#parts.listed].find(({ id }) => id === node);
  }

  /** What this node announces of the configuration in force here. */
  get announcement(): Pick<PeerAnnouncement, 'configurationIndex' | 'members' | 'isMember' | 'logs'> {
    const { configuration = configurationOf([]) } = this.#parts.replica() ?? {};
    const { nodeId, storeId } = this.#parts.identity;
    const members = membersOf(configuration);
    return {
      configurationIndex: configuration.index,
      members,
      isMember:
        members.includes(nodeId) && decodeMemberContext(configuration.contexts[nodeId]).storeId === storeId,
      logs: [
        ...this.#parts.tablets().map(({ tablet, group }) => ({
          tablet: this.#logOf(tablet.id, nodeId),
          lastIndex: group.replica.lastIndex,
        })),
        ...this.#parts
          .removedReplicas()
          .map((replicaId) => ({ tablet: replicaId, lastIndex: Number.MAX_SAFE_INTEGER })),
      ],
    };
  }

  configurationChanged(configuration: Configuration): void {
    const { logger, listed, known, connections } = this.#parts;
    const { voters, outgoing, learners } = configuration;
    logger.info({ voters, outgoing, learners }, 'members');
    const members = membersIn(configuration, listed);
    // A removed node may be added again with another data folder.
    const gone = this.#inForce.filter((id) => !members.some((member) => member.id === id));
    this.#inForce = members.map(({ id }) => id);
    known.follow(configuration.index, members);
    if (gone.length > 0) this.#forget(gone);
    this.dial();
    connections()?.announce();
    if (this.removedBy > 0) this.#warnOfRemoval();
  }

  /**
   * A node of this cluster announced the configuration in force there. What a member announces counts: a removed node
   * may never get the entry that removed it.
   */
  heard(from: number, { configurationIndex, members }: PeerAnnouncement): void {
    if (!this.#inForce.includes(from) || configurationIndex <= this.#announced.index) return;
    const wasRemoved = this.removedBy > 0;
    this.#announced = { index: configurationIndex, members };
    if (!wasRemoved && this.removedBy > 0) this.#warnOfRemoval();
  }

  /** Index of the configuration that removed this node; 0 if it is a member, or never was one. */
  get removedBy(): number {
    const { replica, identity } = this.#parts;
    const present = replica();
    if (!present || present.lastIndex === 0) return 0;
    const { index } = present.configuration;
    const newest =
      this.#announced.index > index ? this.#announced : { index, members: membersOf(present.configuration) };
    return newest.members.length > 0 && !newest.members.includes(identity.nodeId) ? newest.index : 0;
  }

  /** Why this node answers stale reads only: it was removed, and no leader is known. Undefined otherwise. */
  get removal(): string | undefined {
    const isLed = (this.#parts.replica()?.leader ?? 0) > 0;
    return isLed || this.removedBy === 0 ? undefined : removedMessage(this.removedBy);
  }

  /** Connects to all members. One that is not found where the log says may still be where node.json has it. */
  dial(): void {
    const { listed, connections } = this.#parts;
    const targets = this.members.map(({ id, peer }) => {
      const inFile = listed.find((node) => node.id === id)?.peer ?? '';
      return { id, addresses: [...new Set([peer, inFile])].filter((address) => address !== '') };
    });
    connections()?.setMembers(targets);
  }

  /**
   * Remembers up to which committed entry of a tablet a member has acknowledged: its log there must never end before
   * that.
   */
  acknowledgedBy(node: number, { tablet, group: { replica } }: MemberTablet): void {
    const matchIndex = replica.role === 'leader' ? replica.matchIndexOf(node) : 0;
    if (matchIndex > 0)
      this.#parts.known.holds(node, this.#logOf(tablet.id, node), Math.min(matchIndex, replica.commitIndex));
  }

  /** The number under which nodes remember the log of a replica: its id, or its group's if it has none. */
  #logOf(tablet: number, node: number): number {
    return this.#parts.replicaIdOf(tablet, node) || tablet;
  }

  #warnOfRemoval(): void {
    this.#parts.logger.warn({ configuration: this.removedBy }, removedMessage(this.removedBy));
  }

  #forget(nodes: readonly number[]): void {
    try {
      this.#parts.known.forget(nodes);
    } catch (error) {
      this.#parts.logger.warn({}, `peers.json could not be written: ${errorMessage(error)}`);
    }
  }
}

function removedMessage(configurationIndex: number): string {
  return (
    `this node was removed from the cluster (configuration ${configurationIndex}): it takes no requests; ` +
    'ask the members; stop it, or add it again with `raftree member add`'
  );
}
