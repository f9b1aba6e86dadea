/**
 * What a tablet is asked on this node, reads and writes: how much, and since the last look for some of the requests
 * which key. The sample is even over all requests, whatever their number, and costs next to nothing.
 */
import type { Random } from '../env/env.js';
import type { PlacementKind } from '../placement/placement.js';

/** One request of so many has its key sampled. A prime: requests that come in turns do not hide behind each other. */
const SAMPLED_EVERY = 61;
const MAX_SAMPLES = 256;

export class TabletLoad {
  readonly #random: Pick<Random, 'uint32'>;
  readonly #isByHash: boolean;
  #operations = 0;
  /** At the last look. */
  #taken = 0;
  #sampled = 0;
  #untilNext = SAMPLED_EVERY;
  #keys: Buffer[] = [];

  constructor(random: Pick<Random, 'uint32'>, by: PlacementKind) {
    this.#random = random;
    this.#isByHash = by === 'hash';
  }

  /** A request with so many operations came, of which this is one key. */
  add(operations: number, key: Uint8Array): void {
    this.#operations += operations;
    this.#untilNext -= operations;
    if (this.#untilNext <= 0) this.#sample(key);
  }

  /** A scan came. By hash, where it begins says nothing about the tablet. */
  addScan(first: Uint8Array): void {
    if (!this.#isByHash) this.add(1, first);
    else this.#operations++;
  }

  /** How many operations came, ever. */
  get operations(): number {
    return this.#operations;
  }

  /** How many operations came since the last call, and keys of some. */
  take(): { readonly operations: number; readonly keys: readonly Buffer[] } {
    const taken = { operations: this.#operations - this.#taken, keys: this.#keys };
    this.#taken = this.#operations;
    this.#sampled = 0;
    this.#keys = [];
    return taken;
  }

  #sample(key: Uint8Array): void {
    this.#untilNext = SAMPLED_EVERY;
    this.#sampled++;
    // The first ones; then each later one takes the place of another with the chance that all have (Vitter, 1985).
    const at = this.#sampled <= MAX_SAMPLES ? this.#keys.length : this.#random.uint32() % this.#sampled;
    if (at < MAX_SAMPLES) this.#keys[at] = Buffer.from(key);
  }
}
