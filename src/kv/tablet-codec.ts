/**
 * Tablets in records of the state and in entries of the log:
 *
 *     tablet   id u32 | generation u32 | start bytes u32 | start | has end u8 | end bytes u32 | end
 *
 * Integers are little-endian.
 */
import type { Tablet } from '../placement/placement.js';
import { readUint53 } from '../record/record.js';

export function encodeTablet({ id, generation, start, end }: Tablet): Buffer {
  const numbers = Buffer.alloc(12);
  numbers.writeUInt32LE(id, 0);
  numbers.writeUInt32LE(generation, 4);
  numbers.writeUInt32LE(start.length, 8);
  const bound = Buffer.alloc(5);
  bound[0] = end ? 1 : 0;
  bound.writeUInt32LE(end?.length ?? 0, 1);
  return Buffer.concat([numbers, start, bound, end ?? Buffer.alloc(0)]);
}

/** Each call reads what follows, and throws a RangeError if the bytes end before. */
export class TabletReader {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, from: number) {
    this.#bytes = bytes;
    this.#at = from;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#advance(1));
  }

  u32(): number {
    return this.#bytes.readUInt32LE(this.#advance(4));
  }

  u53(): number {
    return readUint53(this.#bytes, this.#advance(8));
  }

  tablet(): Tablet {
    const [id, generation, start] = [this.u32(), this.u32(), this.#copy()];
    const hasEnd = this.u8() === 1;
    const end = this.#copy();
    return { id, generation, start, end: hasEnd ? end : undefined };
  }

  rest(): Buffer {
    return this.#bytes.subarray(this.#at);
  }

  #copy(): Buffer {
    const length = this.u32();
    const from = this.#advance(length);
    return Buffer.from(this.#bytes.subarray(from, from + length));
  }

  #advance(sizeBytes: number): number {
    const from = this.#at;
    if (this.#bytes.length - from < sizeBytes) throw new RangeError('it ends early');
    this.#at = from + sizeBytes;
    return from;
  }
}
