/** What an eavesdropper between the nodes records: the beginnings of streams, with their hellos. */
import type { NetworkEvent } from '../world/network.js';

interface Stream {
  readonly from: string;
  readonly to: string;
  readonly chunks: Buffer[];
  sizeBytes: number;
}

const MAX_STREAMS = 24;
const MAX_STREAM_BYTES = 32 * 1024;
const IS_NODE = /^n\d+$/;

export class Overheard {
  /** The newest last. */
  readonly #streams = new Map<number, Stream>();

  heard({ from, to, bytes, stream }: NetworkEvent): void {
    if (!bytes || stream === undefined || !IS_NODE.test(from) || !IS_NODE.test(to)) return;
    let known = this.#streams.get(stream);
    if (!known) {
      known = { from, to, chunks: [], sizeBytes: 0 };
      this.#streams.set(stream, known);
      const [oldest] = this.#streams.keys();
      if (oldest !== undefined && this.#streams.size > MAX_STREAMS) this.#streams.delete(oldest);
    }
    if (known.sizeBytes + bytes.length > MAX_STREAM_BYTES) return;
    known.chunks.push(bytes);
    known.sizeBytes += bytes.length;
  }

  get streams(): readonly { readonly from: string; readonly to: string; readonly bytes: Buffer }[] {
    return [...this.#streams.values()].map(({ from, to, chunks }) => ({
      from,
      to,
      bytes: Buffer.concat(chunks),
    }));
  }
}
