/**
 * Which record an operation takes, as in YCSB (Cooper et al., Benchmarking Cloud Serving Systems with YCSB, SoCC 2010,
 * section 4; https://github.com/brianfrankcooper/YCSB, core/src/main/java/site/ycsb/generator).
 */
import type { SeededRandom } from '../../../src/sim/world/seeded-random.js';

/** YCSB's ZIPFIAN_CONSTANT. */
export const ZIPFIAN_CONSTANT = 0.99;

/** ScrambledZipfianGenerator draws ranks from so many items, whatever the number of records, with this zeta. */
const SCRAMBLED_ITEMS = 10_000_000_000;
const SCRAMBLED_ZETA = 26.46902820178302;

/** The sum of 1 / i^theta for i from 1 to `count`. */
export function zeta(count: number, theta = ZIPFIAN_CONSTANT): number {
  return zetaFrom(0, 0, count, theta);
}

function zetaFrom(sum: number, from: number, count: number, theta: number): number {
  let total = sum;
  for (let i = from + 1; i <= count; i++) total += 1 / i ** theta;
  return total;
}

/**
 * Ranks from 0 on, of which rank r is drawn in proportion to 1 / (r + 1)^0.99. The algorithm is that of Gray et al.,
 * Quickly Generating Billion-Record Synthetic Databases, SIGMOD 1994, figure 2.
 */
export class Zipfian {
  readonly #random: SeededRandom;
  readonly #theta = ZIPFIAN_CONSTANT;
  readonly #alpha = 1 / (1 - ZIPFIAN_CONSTANT);
  readonly #zetaOfTwo = zeta(2);
  #count = 0;
  #zeta = 0;
  #eta = 0;

  constructor(random: SeededRandom, count: number, knownZeta?: number) {
    this.#random = random;
    this.#resize(count, knownZeta ?? zeta(count));
  }

  next(): number {
    const u = this.#random.float();
    const uz = u * this.#zeta;
    if (uz < 1) return 0;
    if (uz < 1 + 0.5 ** this.#theta) return 1;
    return Math.min(
      this.#count - 1,
      Math.floor(this.#count * (this.#eta * u - this.#eta + 1) ** this.#alpha),
    );
  }

  /** The items become more. */
  grow(count: number): void {
    if (count > this.#count) this.#resize(count, zetaFrom(this.#zeta, this.#count, count, this.#theta));
  }

  #resize(count: number, sum: number): void {
    this.#count = count;
    this.#zeta = sum;
    this.#eta = (1 - (2 / count) ** (1 - this.#theta)) / (1 - this.#zetaOfTwo / sum);
  }
}

const HALF = 2 ** 32;
/** Below it the remainder is computed without loss. */
export const MAX_RECORDS = 50_000_000;

/**
 * The remainder of the FNV-1a hash, 64 bits without a sign, of the eight bytes of a number, least byte first (YCSB's
 * Utils.fnvhash64). It is multiplied as two halves: a BigInt for each operation would cost more than the rest of it.
 */
export function fnvRemainder(value: number, divisor: number): number {
  let high = 0xcbf29ce4;
  let low = 0x84222325;
  let rest = value;
  for (let i = 0; i < 8; i++) {
    low = (low ^ (rest % 256)) >>> 0;
    rest = Math.floor(rest / 256);
    // The prime is 2^40 + 0x1b3.
    const product = low * 0x1b3;
    high = (Math.imul(high, 0x1b3) + Math.floor(product / HALF) + (low << 8)) >>> 0;
    low = product % HALF;
  }
  return ((high % divisor) * (HALF % divisor) + low) % divisor;
}

/** Draws the number of a record, from 0 on; `count` records exist now. */
export type Chooser = (count: number) => number;

export function uniform(random: SeededRandom): Chooser {
  return (count) => Math.floor(random.float() * count);
}

/** Popular records are spread over all of them. */
export function scrambledZipfian(random: SeededRandom): Chooser {
  const ranks = new Zipfian(random, SCRAMBLED_ITEMS, SCRAMBLED_ZETA);
  return (count) => fnvRemainder(ranks.next(), count);
}

/** The latest record is the most popular one. */
export function latest(random: SeededRandom, count: number): Chooser {
  const ranks = new Zipfian(random, count);
  return (now) => {
    ranks.grow(now);
    return now - 1 - ranks.next();
  };
}
