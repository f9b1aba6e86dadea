/**
 * Outgoing messages. A message that relies on something not yet durable is held until the batch that makes it durable
 * is persisted. Held messages are dropped when the term changes, because they belong to the previous term.
 */
import type { Envelope, NodeId, OutgoingMessage } from './types.js';

interface HeldMessage extends Envelope {
  /** The message is sent when this batch is persisted. */
  readonly batch: number;
}

/**
 * How far an acknowledgement reaches: a later one of the same type implies an earlier one. Undefined for other
 * messages.
 */
function reachOf(message: OutgoingMessage): number | undefined {
  if (message.type === 'heartbeatReply') return message.round;
  return message.type === 'appendReply' && message.accepted ? message.matchIndex : undefined;
}

export class Outbox {
  #ready: Envelope[] = [];
  #held: HeldMessage[] = [];
  #persistedBatch = 0;

  get isEmpty(): boolean {
    return this.#ready.length === 0;
  }

  send(to: NodeId, message: OutgoingMessage): void {
    this.#ready.push({ to, message });
  }

  /** Sends once the batch is persisted; at once if it already is. */
  sendAfter(batch: number, to: NodeId, message: OutgoingMessage): void {
    if (batch <= this.#persistedBatch) this.send(to, message);
    else if (!this.#isImplied(batch, to, message)) this.#held.push({ batch, to, message });
  }

  /**
   * Of several acknowledgements that wait for one batch only the farthest is kept, so that a slow disk does not pile
   * them up.
   */
  #isImplied(batch: number, to: NodeId, message: OutgoingMessage): boolean {
    const reach = reachOf(message);
    if (reach === undefined) return false;
    const at = this.#held.findLastIndex(
      (held) =>
        held.batch === batch &&
        held.to === to &&
        held.message.type === message.type &&
        reachOf(held.message) !== undefined,
    );
    const held = this.#held[at];
    if (held === undefined) return false;
    if (reach > (reachOf(held.message) ?? 0)) this.#held[at] = { batch, to, message };
    return true;
  }

  /** Releases the messages held for this batch and earlier ones. Returns those addressed to `self`. */
  persisted(batch: number, self: NodeId): OutgoingMessage[] {
    this.#persistedBatch = Math.max(this.#persistedBatch, batch);
    const own: OutgoingMessage[] = [];
    const still: HeldMessage[] = [];
    for (const held of this.#held) {
      if (held.batch > batch) still.push(held);
      else if (held.to === self) own.push(held.message);
      else this.send(held.to, held.message);
    }
    this.#held = still;
    return own;
  }

  dropHeld(): void {
    this.#held = [];
  }

  take(): Envelope[] {
    const ready = this.#ready;
    this.#ready = [];
    return ready;
  }
}
