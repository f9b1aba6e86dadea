/**
 * Recognises a block with exactly one entry by its first bytes (format: `block-builder.ts`). So a large value can be
 * copied from table to table without decompression, and its key can be read without the value.
 */
import { SEQUENCE_BYTES } from './block-builder.js';

/** One restart offset and the restart count follow the entry. */
const RESTARTS_BYTES = 8;

export class SingleEntryBlock {
  /** The block's first bytes. */
  readonly start: Buffer;
  keyStart = 0;
  keyBytes = 0;
  valueBytes = 0;
  sequence = 0;
  deleted = false;
  #at = 0;

  /** Lengths, sequence and key must lie within this many bytes. */
  constructor(startBytes: number) {
    this.start = Buffer.alloc(startBytes);
  }

  /** Decodes `start` of a block of this size; false if the block holds more entries, or the key is too long. */
  read(blockBytes: number): boolean {
    const bytes = this.start;
    this.#at = 0;
    const shared = this.#varint();
    const keyBytes = this.#varint();
    const tag = this.#varint();
    const at = this.#at;
    this.keyStart = at + SEQUENCE_BYTES;
    this.keyBytes = keyBytes;
    this.deleted = tag === 0;
    this.valueBytes = tag === 0 ? 0 : tag - 1;
    const keyEnd = this.keyStart + keyBytes;
    if (shared !== 0 || keyEnd > bytes.length) return false;
    const high = bytes.readUIntLE(at + 4, 3);
    this.sequence = high * 2 ** 32 + bytes.readUInt32LE(at);
    return high < 2 ** 21 && keyEnd + this.valueBytes + RESTARTS_BYTES === blockBytes;
  }

  /** A view. */
  get key(): Buffer {
    return this.start.subarray(this.keyStart, this.keyStart + this.keyBytes);
  }

  #varint(): number {
    let value = 0;
    for (let shift = 0; shift <= 28; shift += 7) {
      const byte = this.start[this.#at++] as number;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
    return Number.NaN;
  }
}
