/** The keys and values of the load. */
import { SeededRandom } from '../../../src/sim/world/seeded-random.js';
import { keyOf } from '../../data.js';

export { KEY_BYTES } from '../../data.js';

/** Record numbers of one value size are consecutive, so that scans meet values of that size only. */
const RECORDS_PER_SIZE = 1_000_000_000;

export function firstRecordOf(sizeNumber: number): number {
  return sizeNumber * RECORDS_PER_SIZE;
}

export const keyOfRecord = keyOf;

const POOL_BYTES = 4 * 1024 * 1024;
const PIECE_BYTES = 100;

/** Random bytes, of which a given share repeats what stood just before and so compresses away. */
export class ValuePool {
  readonly #pool: Buffer;
  readonly #valueBytes: number;
  #at = 0;

  constructor(valueBytes: number, compressible: number, seed: number) {
    const random = new SeededRandom(seed);
    const pool = Buffer.allocUnsafe(Math.max(POOL_BYTES, 2 * valueBytes));
    const fresh = Math.max(1, Math.round(PIECE_BYTES * (1 - compressible)));
    for (let i = 0; i < pool.length; i++) {
      const inPiece = i % PIECE_BYTES;
      pool[i] = inPiece < fresh ? random.uint32() & 0xff : (pool[i - fresh] as number);
    }
    this.#pool = pool;
    this.#valueBytes = valueBytes;
  }

  /** Not to be changed: the bytes are shared. */
  next(): Buffer {
    if (this.#at + this.#valueBytes > this.#pool.length) this.#at = 0;
    const value = this.#pool.subarray(this.#at, this.#at + this.#valueBytes);
    this.#at += this.#valueBytes;
    return value;
  }
}
