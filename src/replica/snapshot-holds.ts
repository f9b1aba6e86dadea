/**
 * Entries that the log keeps for members that are sent a snapshot: all after the snapshot's last entry, from its
 * creation until the member has caught up. Without them the snapshot would be useless when it arrives.
 */
import type { NodeId, PeerStatus } from '../raft/types.js';

export class SnapshotHolds {
  /** By member: it needs the log after this entry. */
  readonly #indexes = new Map<NodeId, number>();

  get isEmpty(): boolean {
    return this.#indexes.size === 0;
  }

  /** The member is sent a snapshot of this entry. */
  hold(node: NodeId, index: number): void {
    this.#indexes.set(node, index);
  }

  release(node: NodeId): void {
    this.#indexes.delete(node);
  }

  /**
   * Releases members that have caught up (they hold the log up to `caughtUpIndex`), that were silent since
   * `heardSinceMs`, or that are no members any more (`peers` is empty if this node does not lead). Returns the last
   * entry that no remaining member needs. Undefined if none remains.
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

  /** The log is cut up to this entry. Releases and returns the members that needed more. */
  cutThrough(index: number): NodeId[] {
    const lost = [...this.#indexes].filter(([, held]) => held < index).map(([node]) => node);
    for (const node of lost) this.#indexes.delete(node);
    return lost;
  }
}
