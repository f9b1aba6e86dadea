/**
 * Which replica is meant in a message. A replica has an id of its own for its stay on a node: a tablet that comes back
 * to a node is another replica, and has forgotten what the earlier one had promised. The configuration of a tablet has
 * the ids of its members, as their contexts.
 *
 * The group number in a message between two replicas of a tablet is the higher one of their ids. Ids are given in order
 * and once, to tablets and replicas together, so the number says which tablet is meant and who the two are:
 *
 *     - It is the id of this replica: the other one is older than this one. Two stays of the other node cannot both be
 *       meant: when the later one was made, the earlier one was gone; and this one was made later still.
 *     - It is higher: it is the id of the other one.
 *     - It is lower: the message was for an earlier replica here. It is dropped.
 *
 * A message of a replica that is older than the one in the configuration here is dropped too: it may be an
 * acknowledgement of what is gone. One that is newer counts: this node may not have heard yet that it was added
 * (raft/senders.ts, rule 5). Without ids (the map, parts of an earlier version) the number is the group's.
 *
 * The first members of a cluster of one tablet have no ids in its log, since it kept no map. In messages all of them
 * have the tablet's own number, which is lower than any id: each is the first replica that its node ever had of it.
 */
import { replicaIdIn } from '../placement/replica-context.js';
import type { Configuration } from '../raft/configuration.js';
import { isAnswer } from '../raft/senders.js';
import type { ReplicaMessage } from '../replica/snapshot-messages.js';

/** A replica, by its id. */
export interface Owner {
  readonly tablet: number;
  readonly node: number;
}

export class ReplicaIds {
  /** Of the replica on this node; 0: none, or it has no id. */
  readonly #own: (tablet: number) => number;
  /** What the map says of a replica id. */
  readonly #inMap: (replicaId: number) => Owner | undefined;
  /** By tablet, then by node: as in the configuration in force here. */
  readonly #members = new Map<number, ReadonlyMap<number, number>>();
  /** By tablet, then by node: newer ones, which have sent something. */
  readonly #heard = new Map<number, Map<number, number>>();
  readonly #owners = new Map<number, Owner>();

  constructor(own: (tablet: number) => number, inMap: (replicaId: number) => Owner | undefined) {
    this.#own = own;
    this.#inMap = inMap;
  }

  configurationChanged(tablet: number, { contexts }: Configuration): void {
    // The parts of a tablet that an earlier version split have no ids: the contexts are those of that tablet.
    if (this.#own(tablet) === 0) return;
    const members = new Map<number, number>();
    for (const [key, context] of Object.entries(contexts)) {
      const [node, replicaId] = [Number(key), replicaIdIn(context)];
      if (replicaId === 0) continue;
      members.set(node, replicaId);
      this.#owners.set(replicaId, { tablet, node });
    }
    this.#members.set(tablet, members);
  }

  /** The replica of a tablet is not here any more. */
  forget(tablet: number): void {
    this.#members.delete(tablet);
    this.#heard.delete(tablet);
    for (const [replicaId, owner] of this.#owners)
      if (owner.tablet === tablet) this.#owners.delete(replicaId);
  }

  /** Whose a number is, if it is the id of a replica and not that of a tablet. */
  ownerOf(number: number): Owner | undefined {
    return this.#owners.get(number) ?? this.#inMap(number);
  }

  /** In the configuration in force here; 0: none is. */
  of(tablet: number, node: number): number {
    return this.#members.get(tablet)?.get(node) ?? 0;
  }

  /** The group number in a message of the replica here. */
  numberFor(tablet: number, to: number, type: ReplicaMessage['type']): number {
    const own = this.#own(tablet);
    if (own === 0) return tablet;
    const heard = isAnswer(type) ? (this.#heard.get(tablet)?.get(to) ?? 0) : 0;
    return Math.max(own, this.of(tablet, to), heard);
  }

  /** The tablet whose replica here a message is for; undefined: it is for none. */
  tabletOf(from: number, number: number): number | undefined {
    const owner = this.ownerOf(number);
    if (!owner) {
      const own = this.#own(number);
      // Two first replicas; unless the other one is gone, and its node has a later one.
      const areFirst = own === number && this.of(number, from) === 0;
      return own === 0 || areFirst ? number : undefined;
    }
    const { tablet, node } = owner;
    const own = this.#own(tablet);
    const known = this.of(tablet, from);
    if (own === 0 || number < own || number < known) return undefined;
    if (number === own) return tablet;
    if (node !== from) return undefined;
    const heard = this.#heard.get(tablet) ?? new Map<number, number>();
    this.#heard.set(tablet, heard.set(from, number));
    return tablet;
  }
}
