/**
 * Writes the bodies of messages one after the other into a shared block, so that many small messages cost one
 * allocation. Byte strings of `REFERENCE_BYTES` and more are not copied. A body with such a string has several chunks.
 */
import { RaftreeError } from '../env/errors.js';

const BLOCK_BYTES = 64 * 1024;
/** A byte string of this length or more is not copied. It must not change until it is sent. */
export const REFERENCE_BYTES = 8 * 1024;
const LONE_SURROGATE = /\p{Surrogate}/u;

export class ByteWriter {
  #block: Buffer = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  /** Where the current chunk begins. */
  #start = 0;
  #at = 0;
  #chunks: Uint8Array[] = [];

  /** The first chunk begins with so many free bytes: what precedes the body may be written there. */
  begin(freeBytes = 0): void {
    this.#chunks = [];
    this.#start = this.#at;
    this.#reserve(freeBytes);
    this.#at += freeBytes;
  }

  /** The chunks written since `begin`. The writer does not change them afterwards. */
  finish(): Uint8Array[] {
    this.#cut();
    const chunks = this.#chunks;
    this.#chunks = [];
    return chunks;
  }

  u8(value: number): void {
    this.#reserve(1);
    this.#block[this.#at++] = value;
  }

  u32(value: number): void {
    if (!(value >= 0 && value <= 0xffff_ffff && Number.isInteger(value))) throw outOfRange('u32', value);
    this.#reserve(4);
    this.#bigEndian(value);
  }

  u53(value: number): void {
    if (!(value >= 0 && Number.isSafeInteger(value))) throw outOfRange('u53', value);
    this.#reserve(8);
    this.#bigEndian(value > 0xffff_ffff ? Math.floor(value / 2 ** 32) : 0);
    this.#bigEndian(value);
  }

  /** The lower 32 bits. */
  #bigEndian(value: number): void {
    const block = this.#block;
    const at = this.#at;
    const low = value >>> 0;
    block[at] = low >>> 24;
    block[at + 1] = low >>> 16;
    block[at + 2] = low >>> 8;
    block[at + 3] = low;
    this.#at = at + 4;
  }

  bytes(value: Uint8Array): void {
    this.u32(value.length);
    this.encoded(value);
  }

  /** Bytes that are encoded already. */
  encoded(value: Uint8Array): void {
    if (value.length >= REFERENCE_BYTES) {
      this.#cut();
      this.#chunks.push(value);
      return;
    }
    this.#reserve(value.length);
    this.#block.set(value, this.#at);
    this.#at += value.length;
  }

  string(value: string): void {
    if (LONE_SURROGATE.test(value)) {
      throw new RaftreeError('UNENCODABLE', 'a string with half a surrogate pair has no UTF-8');
    }
    if (value.length * 3 >= REFERENCE_BYTES) {
      this.bytes(Buffer.from(value, 'utf8'));
      return;
    }
    this.#reserve(4 + value.length * 3);
    const length = this.#block.write(value, this.#at + 4, 'utf8');
    this.#block.writeUInt32BE(length, this.#at);
    this.#at += 4 + length;
  }

  #reserve(sizeBytes: number): void {
    if (this.#at + sizeBytes <= this.#block.length) return;
    const written = this.#block.subarray(this.#start, this.#at);
    this.#block = Buffer.allocUnsafeSlow(Math.max(BLOCK_BYTES, 2 * (written.length + sizeBytes)));
    this.#block.set(written, 0);
    this.#start = 0;
    this.#at = written.length;
  }

  #cut(): void {
    if (this.#at > this.#start) this.#chunks.push(this.#block.subarray(this.#start, this.#at));
    this.#start = this.#at;
  }
}

export function outOfRange(kind: string, value: unknown): RaftreeError {
  return new RaftreeError('UNENCODABLE', `${String(value)} is no ${kind}`);
}
