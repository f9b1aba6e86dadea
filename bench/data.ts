/** db_bench's data: keys of 16 decimal digits, and values of which half the bytes compress away. */
import { SeededRandom } from '../src/sim/world/seeded-random.js';

export const KEY_BYTES = 16;

/** Made without strings: what the benchmark leaves to the garbage collector delays the engine that is measured. */
export function keyOf(number: number): Buffer {
  const key = Buffer.allocUnsafe(KEY_BYTES);
  let rest = number;
  for (let i = KEY_BYTES - 1; i >= 0; i--) {
    key[i] = 0x30 + (rest % 10);
    rest = Math.floor(rest / 10);
  }
  return key;
}

/** Between the key of a number and the next one, so that no key range rules it out. */
export function missingKeyOf(number: number): Buffer {
  const key = keyOf(number);
  key[KEY_BYTES - 1] = 0x2e;
  return key;
}

/** Random printable bytes, each piece of 50 written twice. */
export class Values {
  readonly #pool: Buffer;
  readonly #valueBytes: number;
  #at = 0;

  constructor(valueBytes: number) {
    const random = new SeededRandom(301);
    const pieces: Buffer[] = [];
    for (let bytes = 0; bytes < Math.max(1_048_576, valueBytes * 2); bytes += 100) {
      const piece = Buffer.from(random.bytes(50).map((byte) => 32 + (byte % 95)));
      pieces.push(piece, piece);
    }
    this.#pool = Buffer.concat(pieces);
    this.#valueBytes = valueBytes;
  }

  next(): Buffer {
    if (this.#at + this.#valueBytes > this.#pool.length) this.#at = 0;
    const value = this.#pool.subarray(this.#at, this.#at + this.#valueBytes);
    this.#at += this.#valueBytes;
    return value;
  }
}

export function ascending(count: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) => i);
}

/** Each number below `count` once, in a random order that is the same in every run. */
export function shuffled(count: number, seed: number): Uint32Array {
  const random = new SeededRandom(seed);
  const numbers = ascending(count);
  for (let i = count - 1; i > 0; i--) {
    const other = random.between(0, i);
    [numbers[i], numbers[other]] = [numbers[other] as number, numbers[i] as number];
  }
  return numbers;
}
