/** The workloads, named as in LevelDB's db_bench. Keys are 16 decimal digits; half of a value's bytes compress away. */
import { build, type Histogram } from 'hdr-histogram-js';
import { SeededRandom } from '../src/env/sim/seeded-random.js';
import type { LsmTree } from '../src/lsm/index.js';

export const KEY_BYTES = 16;
/** Writes under way at once where no sync is waited for. */
const IN_FLIGHT = 64;

export interface Scale {
  readonly entries: number;
  readonly valueBytes: number;
}

export interface Result {
  readonly workload: string;
  readonly operations: number;
  readonly seconds: number;
  /** Keys and values that were handed over. */
  readonly bytes: number;
  /** Per operation; absent where single operations are too short to be timed. */
  readonly latencyUs: Histogram | undefined;
}

export interface Workload {
  readonly name: string;
  /** Begins with an empty tree; the others with what the workload before left. */
  readonly needsEmpty: boolean;
  run(tree: LsmTree, scale: Scale): Promise<Result>;
}

export function keyOf(number: number): Buffer {
  return Buffer.from(String(number).padStart(KEY_BYTES, '0'));
}

/** db_bench's values: random printable bytes, each piece written twice. */
class Values {
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

/** Each number below `count` once, in a random order that is the same in every run. */
function shuffled(count: number, seed: number): Uint32Array {
  const random = new SeededRandom(seed);
  const numbers = new Uint32Array(count);
  for (let i = 0; i < count; i++) numbers[i] = i;
  for (let i = count - 1; i > 0; i--) {
    const other = random.between(0, i);
    [numbers[i], numbers[other]] = [numbers[other] as number, numbers[i] as number];
  }
  return numbers;
}

function newHistogram(): Histogram {
  // In tenths of a microsecond, up to a minute.
  return build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: 600_000_000,
    numberOfSignificantValueDigits: 3,
  });
}

type Write = (n: number) => Promise<unknown>;

/** So many writers, each with one write under way. */
async function inFlight(count: number, writers: number, write: Write): Promise<Histogram> {
  const histogram = newHistogram();
  let next = 0;
  const writer = async () => {
    while (next < count) {
      const number = next++;
      const start = performance.now();
      await write(number);
      histogram.recordValue(Math.max(1, Math.round((performance.now() - start) * 10_000)));
    }
  };
  await Promise.all(Array.from({ length: writers }, writer));
  return histogram;
}

/** Until compaction has nothing to do: a fill's time includes what it leaves to be done. */
async function settled(tree: LsmTree, level0Files: number): Promise<void> {
  for (;;) {
    const { levels, frozenMemtables } = tree.stats();
    if (frozenMemtables === 0 && (levels[0]?.files ?? 0) < level0Files) return;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

function writing(
  name: string,
  options: {
    needsEmpty: boolean;
    order: (entries: number) => Uint32Array;
    sync?: boolean;
    remove?: boolean;
    /** Of the entries, how many operations; for those that wait for the disk. */
    share?: number;
  },
): Workload {
  return {
    name,
    needsEmpty: options.needsEmpty,
    async run(tree, scale) {
      const count = Math.max(1, Math.round(scale.entries * (options.share ?? 1)));
      const order = options.order(count);
      const values = new Values(scale.valueBytes);
      const durability = options.sync ? 'sync' : 'buffered';
      const start = performance.now();
      const latencyUs = await inFlight(count, options.sync ? 1 : IN_FLIGHT, (n) => {
        const key = keyOf(order[n] as number);
        return tree.write(
          [options.remove ? { type: 'delete', key } : { type: 'put', key, value: values.next() }],
          {
            durability,
          },
        );
      });
      await settled(tree, 4);
      const bytes = count * (KEY_BYTES + (options.remove ? 0 : scale.valueBytes));
      return {
        workload: name,
        operations: count,
        seconds: (performance.now() - start) / 1000,
        bytes,
        latencyUs,
      };
    },
  };
}

function reading(name: string, missing: boolean): Workload {
  return {
    name,
    needsEmpty: false,
    async run(tree, scale) {
      const histogram = newHistogram();
      const random = new SeededRandom(77);
      let found = 0;
      const start = performance.now();
      for (let i = 0; i < scale.entries; i++) {
        const key = keyOf(random.between(0, scale.entries - 1));
        // Between two keys that exist, so that no key range rules it out.
        if (missing) key[KEY_BYTES - 1] = 0x2e;
        const before = performance.now();
        if (tree.getSync(key)) found++;
        histogram.recordValue(Math.max(1, Math.round((performance.now() - before) * 10_000)));
      }
      const seconds = (performance.now() - start) / 1000;
      if (found !== (missing ? 0 : scale.entries))
        throw new Error(`${name}: ${found} of ${scale.entries} found`);
      return {
        workload: name,
        operations: scale.entries,
        seconds,
        bytes: found * (KEY_BYTES + scale.valueBytes),
        latencyUs: histogram,
      };
    },
  };
}

const readSequentially: Workload = {
  name: 'readseq',
  needsEmpty: false,
  async run(tree) {
    let operations = 0;
    let bytes = 0;
    const start = performance.now();
    for (const { key, value } of tree.iterator()) {
      operations++;
      bytes += key.length + value.length;
    }
    return {
      workload: 'readseq',
      operations,
      seconds: (performance.now() - start) / 1000,
      bytes,
      latencyUs: undefined,
    };
  },
};

const ascending = (entries: number) => Uint32Array.from({ length: entries }, (_, i) => i);

/** In the order in which they run: each reads what those before it wrote. */
export const WORKLOADS: readonly Workload[] = [
  writing('fillsync', { needsEmpty: true, order: (n) => shuffled(n, 1), sync: true, share: 0.01 }),
  writing('fillseq', { needsEmpty: true, order: ascending }),
  writing('fillrandom', { needsEmpty: true, order: (n) => shuffled(n, 2) }),
  writing('overwrite', { needsEmpty: false, order: (n) => shuffled(n, 3) }),
  reading('readrandom', false),
  reading('readmissing', true),
  readSequentially,
  writing('deleterandom', { needsEmpty: false, order: (n) => shuffled(n, 4), remove: true }),
];
