/** The workloads, named as in LevelDB's db_bench. */
import { SeededRandom } from '../src/sim/world/seeded-random.js';
import { ascending, KEY_BYTES, keyOf, missingKeyOf, shuffled, Values } from './data.js';
import type { Engine } from './engines/engine.js';
import { type Latency, LatencyRecorder } from './probes.js';

/** Writes under way at once where no sync is waited for. */
const IN_FLIGHT = 64;
const BATCH_PUTS = 100;
const SEEK_READS = 10;

export interface Scale {
  readonly entries: number;
  readonly valueBytes: number;
}

export interface Outcome {
  readonly operations: number;
  /** Keys and values that were handed over or received. */
  readonly bytes: number;
  /** Absent where single operations are too short to be timed. */
  readonly latencyUs: Latency | undefined;
}

export interface Workload {
  readonly name: string;
  /**
   * `empty`: begins with an empty directory. `written`: goes on after the writes before. `settled`: reopened, at rest.
   */
  readonly begins: 'empty' | 'written' | 'settled';
  readonly writes: boolean;
  run(engine: Engine, scale: Scale): Promise<Outcome>;
}

/** So many writers, each with one write under way. */
async function keepInFlight(
  count: number,
  writers: number,
  write: (n: number) => Promise<unknown>,
): Promise<Latency> {
  const recorder = new LatencyRecorder();
  let next = 0;
  const writer = async () => {
    while (next < count) {
      const number = next++;
      const start = performance.now();
      await write(number);
      recorder.record(performance.now() - start);
    }
  };
  await Promise.all(Array.from({ length: writers }, writer));
  return recorder.latencyUs();
}

/** A fill's time includes what it leaves to be done. */
async function drain(engine: Engine): Promise<void> {
  while (!engine.isDrained()) await new Promise((resolve) => setTimeout(resolve, 1));
}

interface WriteShape {
  readonly begins: 'empty' | 'written';
  readonly order: (count: number) => Uint32Array;
  /** What one operation is; a put that does not wait for the disk by default. */
  readonly operation?: 'put' | 'putDurably' | 'remove';
  readonly writers?: number;
  /** Of the entries at most; for those that wait for the disk. */
  readonly atMost?: number;
}

function writing(name: string, shape: WriteShape): Workload {
  const { begins, order, operation = 'put', writers = IN_FLIGHT } = shape;
  return {
    name,
    begins,
    writes: true,
    async run(engine, { entries, valueBytes }) {
      const count = Math.min(entries, shape.atMost ?? entries);
      const numbers = order(count);
      const values = new Values(valueBytes);
      const latencyUs = await keepInFlight(count, writers, (n) => {
        const key = keyOf(numbers[n] as number);
        return operation === 'remove' ? engine.remove(key) : engine[operation](key, values.next());
      });
      await drain(engine);
      const entryBytes = KEY_BYTES + (operation === 'remove' ? 0 : valueBytes);
      return { operations: count, bytes: count * entryBytes, latencyUs };
    },
  };
}

/** One batch after another, in key order. */
const fillByBatches: Workload = {
  name: 'fillbatch',
  begins: 'empty',
  writes: true,
  async run(engine, { entries, valueBytes }) {
    const values = new Values(valueBytes);
    const latencyUs = await keepInFlight(Math.ceil(entries / BATCH_PUTS), 1, (n) => {
      const first = n * BATCH_PUTS;
      const count = Math.min(BATCH_PUTS, entries - first);
      return engine.putMany(
        Array.from({ length: count }, (_, i) => ({ key: keyOf(first + i), value: values.next() })),
      );
    });
    await drain(engine);
    return { operations: entries, bytes: entries * (KEY_BYTES + valueBytes), latencyUs };
  },
};

function reading(name: string, keyFor: (number: number) => Buffer, isThere: boolean): Workload {
  return {
    name,
    begins: 'settled',
    writes: false,
    async run(engine, { entries, valueBytes }) {
      const recorder = new LatencyRecorder();
      const random = new SeededRandom(77);
      let found = 0;
      for (let i = 0; i < entries; i++) {
        const key = keyFor(random.between(0, entries - 1));
        const before = performance.now();
        if (engine.get(key)) found++;
        recorder.record(performance.now() - before);
      }
      if (found !== (isThere ? entries : 0)) throw new Error(`${name}: ${found} of ${entries} found`);
      return {
        operations: entries,
        bytes: found * (KEY_BYTES + valueBytes),
        latencyUs: recorder.latencyUs(),
      };
    },
  };
}

const readSequentially: Workload = {
  name: 'readseq',
  begins: 'settled',
  writes: false,
  async run(engine, scale) {
    const { entries, bytes } = await engine.readAll();
    if (entries !== scale.entries) throw new Error(`readseq: ${entries} of ${scale.entries} entries`);
    return { operations: entries, bytes, latencyUs: undefined };
  },
};

const seekRandomly: Workload = {
  name: 'seekrandom',
  begins: 'settled',
  writes: false,
  async run(engine, { entries, valueBytes }) {
    const recorder = new LatencyRecorder();
    const random = new SeededRandom(78);
    const operations = Math.max(1, Math.round(entries / 10));
    let read = 0;
    for (let i = 0; i < operations; i++) {
      const number = random.between(0, Math.max(0, entries - SEEK_READS));
      const before = performance.now();
      read += await engine.readFrom(keyOf(number), SEEK_READS);
      recorder.record(performance.now() - before);
    }
    if (entries >= SEEK_READS && read !== operations * SEEK_READS) {
      throw new Error(`seekrandom: ${read} entries read by ${operations} seeks`);
    }
    return { operations, bytes: read * (KEY_BYTES + valueBytes), latencyUs: recorder.latencyUs() };
  },
};

/** In the order in which they run: each reads what those before it wrote, back to the last that began empty. */
export const WORKLOADS: readonly Workload[] = [
  writing('fillsync', {
    begins: 'empty',
    order: (n) => shuffled(n, 1),
    operation: 'putDurably',
    writers: 1,
    atMost: 20_000,
  }),
  writing('fillsync64', {
    begins: 'empty',
    order: (n) => shuffled(n, 1),
    operation: 'putDurably',
    atMost: 200_000,
  }),
  writing('fillseq', { begins: 'empty', order: ascending }),
  fillByBatches,
  writing('fillrandom', { begins: 'empty', order: (n) => shuffled(n, 2) }),
  writing('overwrite', { begins: 'written', order: (n) => shuffled(n, 3) }),
  reading('readrandom', keyOf, true),
  reading('readmissing', missingKeyOf, false),
  readSequentially,
  seekRandomly,
  writing('deleterandom', { begins: 'written', order: (n) => shuffled(n, 4), operation: 'remove' }),
];

export const WORKLOAD_NAMES: readonly string[] = WORKLOADS.map(({ name }) => name);

/**
 * The named workloads in groups that do not build on each other. Engines take turns after each group, so that those
 * compared ran close together; a process runs one group, so that memory is the group's.
 */
export function groupsOf(names: readonly string[]): string[][] {
  const groups: string[][] = [];
  for (const { name, begins } of WORKLOADS) {
    if (!names.includes(name)) continue;
    const last = groups.at(-1);
    if (last && begins !== 'empty') last.push(name);
    else groups.push([name]);
  }
  return groups;
}
