/**
 * What the log keeps for members that are given a snapshot: everything after its last entry. From the moment when it is
 * made until they have caught up with the log; else it would be of no use by the time it is there.
 */
import type { NodeId, PeerStatus } from '../raft/types.js';

export class SnapshotHolds {
  /** Each needs the log after this entry. */
  readonly #indexes = new Map<NodeId, number>();

  get isEmpty(): boolean {
    return this.#indexes.size === 0;
  }

  /** Of a snapshot of this entry. */
  hold(node: NodeId, index: number): void {
    this.#indexes.set(node, index);
  }

  release(node: NodeId): void {
    this.#indexes.delete(node);
  }

  /**
   * Lets go of those that have caught up (they hold the log up to `caughtUpIndex`), that were not heard from since that
   * time, or that are no members any more (a node that does not lead has none). Returns the last entry that none of the
   * others needs; undefined if there are none.
   */
  review(peers: readonly PeerStatus[], caughtUpIndex: number, heardSinceMs: number): number | undefined {
    for (const [node, index] of this.#indexes) {
      const peer = peers.find(({ id }) => id === node);
      const isThere = peer?.state === 'replicate' && peer.matchIndex >= caughtUpIndex;
      if (!peer || isThere || peer.lastHeardMs < heardSinceMs) this.#indexes.delete(node);
      else this.#indexes.set(node, Math.max(index, peer.matchIndex));
    }
    return this.isEmpty ? undefined : Math.min(...this.#indexes.values());
  }

  /** The log is cut up to this entry. Returns those that need more, and lets go of them. */
  cutThrough(index: number): NodeId[] {
    const lost = [...this.#indexes].filter(([, held]) => held < index).map(([node]) => node);
    for (const node of lost) this.#indexes.delete(node);
    return lost;
  }
}
