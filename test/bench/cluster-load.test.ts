/** What the load of the cluster's benchmark is made of: cases, distributions, values, latencies, ratios. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { caseName, casesOf } from '../../bench/cluster/cases.js';
import {
  fnvRemainder,
  latest,
  scrambledZipfian,
  uniform,
  Zipfian,
  zeta,
} from '../../bench/cluster/load/distributions.js';
import { Recorder } from '../../bench/cluster/load/recorder.js';
import { ValuePool } from '../../bench/cluster/load/records.js';
import { operationOf, WORKLOADS, workloadOf } from '../../bench/cluster/load/workloads.js';
import {
  isClientLimited,
  type Measurement,
  perOperation,
  useBetween,
} from '../../bench/cluster/measurement.js';
import type { ProcessSample } from '../../bench/cluster/proc.js';
import { cpuChart, rateChart, timeChart } from '../../bench/cluster/report/charts.js';
import {
  cpuTable,
  headingLine,
  measurementLine,
  medianTable,
  ratioTable,
} from '../../bench/cluster/report/tables.js';
import { ratiosOf, summarize } from '../../bench/cluster/summary.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

const DRAWS = 100_000;

function shares(draw: () => number): Map<number, number> {
  const counts = new Map<number, number>();
  for (let i = 0; i < DRAWS; i++) {
    const value = draw();
    counts.set(value, (counts.get(value) ?? 0) + 1 / DRAWS);
  }
  return counts;
}

test('a workload names its own size and clients, or takes those of the options', () => {
  const defaults = { valueBytes: [16, 256], clients: [1, 100] };
  assert.equal(casesOf(['put', 'get/64', 'put/16/1', 'half/4096/7'], defaults).map(caseName), [
    ...['put/16/1', 'put/16/100', 'put/256/1', 'put/256/100'],
    ...['get/64/1', 'get/64/100', 'half/4096/7'],
  ]);
  assert.throws(() => casesOf(['put/0'], defaults), /put\/0: expected a whole number from 1 to/);
  assert.throws(() => casesOf(['put/1/2/3'], defaults), /expected at most WORKLOAD/);
  assert.throws(() => casesOf(['puts'], defaults), /puts is none of put, get/);
});

test('ranks are drawn in proportion to 1 / rank^0.99', () => {
  const count = 1000;
  const ranks = new Zipfian(new SeededRandom(5), count);
  const seen = shares(() => ranks.next());
  const whole = zeta(count);
  for (const rank of [0, 1]) {
    const expected = 1 / (rank + 1) ** 0.99 / whole;
    assert.ok(
      Math.abs((seen.get(rank) ?? 0) - expected) < 0.01,
      `rank ${rank}: ${seen.get(rank)}, ${expected}`,
    );
  }
  const upTo = (most: number) => [...seen].reduce((sum, [rank, part]) => sum + (rank < most ? part : 0), 0);
  for (const most of [10, 100, 500]) {
    const expected = zeta(most) / whole;
    assert.ok(Math.abs(upTo(most) - expected) < 0.03, `first ${most}: ${upTo(most)}, ${expected}`);
  }
  assert.ok(Math.max(...seen.keys()) < count && Math.min(...seen.keys()) === 0);
});

test('the zeta that YCSB uses for its ten billion items is that of so many', () => {
  // Euler and Maclaurin: the sum up to n, then the integral and half of the last terms.
  const from = 1_000_000;
  const to = 10_000_000_000;
  const power = (x: number) => x ** -0.99;
  const integral = (to ** 0.01 - from ** 0.01) / 0.01;
  assert.ok(Math.abs(zeta(from) + integral + (power(to) - power(from)) / 2 - 26.46902820178302) < 1e-6);
});

test('scattering keeps the popularity and loses the order', () => {
  const count = 1000;
  const choose = scrambledZipfian(new SeededRandom(6));
  const seen = shares(() => choose(count));
  const [most, second] = [...seen].sort(([, a], [, b]) => b - a);
  assert.is(most?.[0], fnvRemainder(0, count));
  assert.is(second?.[0], fnvRemainder(1, count));
  assert.ok((most?.[1] ?? 0) > 0.03 && (most?.[1] ?? 1) < 0.05, 'one part in zeta(ten billion)');
  assert.ok(seen.size > 0.99 * count);
  assert.ok(Math.max(...seen.keys()) < count);
});

test('the hash is FNV-1a of 64 bits', () => {
  const byTheBook = (value: number) => {
    let hash = 0xcbf29ce484222325n;
    for (let i = 0n; i < 8n; i++) {
      hash ^= (BigInt(value) >> (8n * i)) & 0xffn;
      hash = (hash * 0x100000001b3n) & 0xffffffffffffffffn;
    }
    return hash;
  };
  for (const value of [0, 1, 255, 256, 65_537, 2 ** 32 + 5, 9_999_999_999])
    for (const divisor of [1, 2, 1000, 65_536, 49_999_999])
      assert.is(
        fnvRemainder(value, divisor),
        Number(byTheBook(value) % BigInt(divisor)),
        `${value} % ${divisor}`,
      );
});

test('the latest record is the most popular, also when records are added', () => {
  const choose = latest(new SeededRandom(7), 100);
  const before = shares(() => choose(100));
  const after = shares(() => choose(150));
  for (const [seen, last] of [
    [before, 99],
    [after, 149],
  ] as const) {
    const [most] = [...seen].sort(([, a], [, b]) => b - a);
    assert.is(most?.[0], last);
    assert.ok(Math.min(...seen.keys()) >= 0 && Math.max(...seen.keys()) === last);
  }
  const even = uniform(new SeededRandom(9));
  for (const [, part] of shares(() => even(10))) assert.ok(Math.abs(part - 0.1) < 0.01);
});

test('operations come in the proportions of the workload', () => {
  const random = new SeededRandom(8);
  for (const { name, mix } of WORKLOADS) {
    assert.is(
      mix.reduce((sum, [, percent]) => sum + percent, 0),
      100,
      name,
    );
  }
  let scans = 0;
  for (let i = 0; i < DRAWS; i++) if (operationOf(workloadOf('ycsb-e'), random) === 'scan') scans++;
  assert.ok(Math.abs(scans / DRAWS - 0.95) < 0.01);
});

test('values have their length, differ, and compress as far as asked', () => {
  const values = new ValuePool(3000, 0.5, 1);
  const one = Buffer.from(values.next());
  const other = values.next();
  assert.is(one.length, 3000);
  assert.not.ok(one.equals(other));
  assert.ok(one.subarray(0, 50).equals(one.subarray(50, 100)));
  const random = new ValuePool(100, 0, 1);
  const bytes = random.next();
  assert.not.ok(bytes.subarray(0, 50).equals(bytes.subarray(50, 100)));
  for (let i = 0; i < 100_000; i++) assert.is(random.next().length, 100);
});

test('latencies: no percentile is above the longest, and each second has its own', () => {
  const recorder = new Recorder(1000);
  for (let i = 1; i <= 1000; i++) {
    recorder.countEnd(1000 + i * 2.5);
    recorder.record(i === 1000 ? 250.123 : 1);
  }
  const { p50, p999, max } = recorder.latencyMs();
  assert.ok(p50 >= 1 && p50 < 1.01 && p999 <= max && max >= 250 && max < 251);
  assert.is(recorder.ended, 1000);
  assert.equal(
    recorder.perSecond(4000).map(({ operations }) => operations),
    [399, 400, 201],
  );
});

function sampled(cpuUs: number, threads: Record<number, number>): ProcessSample {
  const zero = { systemUs: 0, reads: 0, writes: 0, bytesHandedOver: 0, bytesToDisk: 0 };
  return {
    ...zero,
    cpuUs,
    threads: Object.entries(threads).map(([id, us]) => ({
      ...{ threadId: Number(id), name: 'node', cpuUs: us, switches: us / 10, forcedSwitches: 0 },
    })),
    residentBytes: 1e6,
    peakResidentBytes: 2e6,
  };
}

test('threads of one name are added up; those that ended count in the process', () => {
  const use = useBetween(
    'leader',
    sampled(1000, { 1: 500, 2: 100, 3: 400 }),
    sampled(21_000, { 1: 8500, 2: 1100, 4: 2000 }),
    (id) => (id === 1 ? 'main' : 'pool'),
  );
  assert.equal(
    use.threads.map(({ name, cpuUs, switches }) => [name, cpuUs, switches]),
    [
      ['main', 8000, 800],
      ['pool', 3000, 300],
    ],
  );
  assert.is(use.cpuUs, 20_000);
});

function measured(
  system: string,
  round: number,
  operations: number,
  more: Partial<Measurement> = {},
): Measurement {
  const use = (role: string, cpuUs: number) => ({
    ...useBetween(
      role,
      sampled(0, { 1: 0, 2: 0 }),
      sampled(cpuUs, { 1: 0.75 * cpuUs, 2: 0.25 * cpuUs }),
      (id) => (id === 1 ? 'main' : 'pool'),
    ),
    bytesHandedOver: 1000 * operations,
    loopDelayMs: { p99: round, max: 10 },
  });
  return {
    ...{
      workload: 'put',
      valueBytes: 84,
      clients: 10,
      system,
      round,
      connections: 2,
      rate: undefined,
      beside: undefined,
    },
    load: {
      ...{
        seconds: 2,
        operations,
        reads: 0,
        writes: operations,
        scans: 0,
        errors: round,
        firstError: undefined,
      },
      ...{ notBegun: 0, records: 10, loopUse: 0.5 },
      latencyMs: { p50: 1 + round, p99: 3, p999: 4, max: 5 + round },
      perSecond: [
        { operations: operations / 2, p99Ms: 3, maxMs: 4 },
        { operations: operations / 2, p99Ms: 2, maxMs: 5 },
      ],
      loopDelayMs: { p99: 1, max: 2 },
    },
    processes: [use('leader', 100 * operations), use('follower 1', 60 * operations)],
    client: use('client', 20 * operations),
    postponedCpuUs: 5 * operations,
    entriesPerSync: undefined,
    otherProcessors: 0.1,
    ...more,
  };
}

const MEASUREMENTS = [
  ...[1000, 4000, 2000].map((operations, round) => measured('raftree', round, operations)),
  ...[500, 1000, 2000].map((operations, round) => measured('a<b', round, operations)),
  measured('raftree', 0, 100, { workload: 'get' }),
];

test('per operation', () => {
  const figures = perOperation(measured('raftree', 0, 1000));
  assert.equal(
    [figures.cpuUs, figures.clientCpuUs, figures.postponedCpuUs, figures.switches],
    [160, 20, 5, 16],
  );
  assert.is(figures.bytesHandedOverPerByteStored, 20);
});

test('rounds become medians; errors are added up, and the longest time is the worst', () => {
  const [ours] = summarize(MEASUREMENTS);
  assert.equal(
    [ours?.operationsPerSecond, ours?.slowest, ours?.fastest, ours?.p50Ms, ours?.maxMs, ours?.errors],
    [1000, 500, 2000, 2, 7, 3],
  );
  assert.equal(
    ours?.threads.map(({ role, thread, cpuUs }) => `${role} ${thread ?? 'all'} ${cpuUs}`),
    ['leader all 100', 'leader main 75', 'leader pool 25', 'follower 1 all 60', 'follower 1 main 45'].concat([
      'follower 1 pool 15',
      'client all 20',
      'client main 15',
      'client pool 5',
    ]),
  );
});

test('a ratio is the median of those within a round', () => {
  assert.equal(
    ratiosOf(MEASUREMENTS, 'raftree', 'a<b').map(({ workload, rate, p50, cpu }) => ({
      workload,
      rate,
      p50,
      cpu,
    })),
    [{ workload: 'put', rate: [2, 1, 4], p50: 1, cpu: 1 }],
  );
});

test('the load process is the limit when its thread or its loop is', () => {
  const one = measured('raftree', 0, 1000);
  assert.not.ok(isClientLimited(one));
  assert.ok(isClientLimited({ ...one, load: { ...one.load, loopUse: 0.97 } }));
  const busy = measured('raftree', 0, 120_000);
  assert.ok(isClientLimited(busy), '20 µs of 120,000 operations in 2 s, three quarters of it in one thread');
  assert.match(measurementLine(busy), /CLIENT IS THE LIMIT$/);
});

test('tables and charts', () => {
  assert.is(measurementLine(MEASUREMENTS[0] as Measurement).length, headingLine().length);
  assert.match(medianTable(MEASUREMENTS), /\| raftree \| put \| 84 \| 10 \| 1,000 \|/);
  assert.match(ratioTable(MEASUREMENTS) ?? '', /\| put \| a<b \| 84 \| 10 \| 2\.00 \(1\.00 to 4\.00\) \|/);
  assert.is(ratioTable(MEASUREMENTS.filter(({ system }) => system === 'raftree')), undefined);
  assert.match(
    cpuTable(MEASUREMENTS),
    /\| raftree \| put \| 84 \| 10 \| 160 \| 100: main 75\.0, pool 25\.0 \| 60\.0: main 45\.0, pool 15\.0 \| 20\.0: /,
  );
  for (const chart of [rateChart, cpuChart, timeChart]) {
    const svg = chart(MEASUREMENTS, 'a & b');
    assert.match(svg, /^<svg [\s\S]*a &amp; b[\s\S]*a&lt;b[\s\S]*<\/svg>\n$/);
    assert.not.match(svg, /NaN|undefined|Infinity/);
  }
});

test.run();
