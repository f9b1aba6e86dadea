/** What the benchmark makes of its measurements. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Measurement } from '../../bench/measurement.js';
import { dotPlot } from '../../bench/report/dot-plot.js';
import { cpuRatioOf, median, ratioOf, summarize } from '../../bench/report/summary.js';
import { comparisonTable, headingLine, summaryLine } from '../../bench/report/table.js';

function measured(
  engine: string,
  round: number,
  seconds: number,
  more: Partial<Measurement> = {},
): Measurement {
  return {
    engine,
    workload: 'fillrandom',
    valueBytes: 100,
    entries: 1000,
    round,
    operations: 1000,
    seconds,
    cpuSeconds: seconds / 10,
    bytes: 116_000,
    latencyUs: { p50: 10 * seconds, p99: 20, p999: 30 },
    loopDelayMs: { p99: seconds, max: 10 * seconds },
    bytesWritten: 232_000,
    bytesOnDisk: 100_000,
    peakMemoryBytes: 1e6 * seconds,
    ...more,
  };
}

const MEASUREMENTS = [
  ...[2, 1, 4].map((seconds, round) => measured('raftree', round, seconds)),
  ...[4, 5, 4].map((seconds, round) => measured('a<b', round, seconds)),
  measured('raftree', 0, 1, { workload: 'readseq', latencyUs: undefined, bytesWritten: undefined }),
];

test('the median is the one in the middle, or between the two', () => {
  assert.is(median([3, 1, 2]), 2);
  assert.is(median([4, 1, 3, 2]), 2.5);
  assert.is(median([7]), 7);
  assert.throws(() => median([]), /median of nothing/);
});

test('rounds become medians; of memory and of the longest delay the worst counts', () => {
  const [ours, peer, reading] = summarize(MEASUREMENTS);
  assert.is(ours?.rounds, 3);
  assert.is(ours?.operationsPerSecond, 500);
  assert.is(ours?.slowest, 250);
  assert.is(ours?.fastest, 1000);
  assert.equal(ours?.latencyUs, { p50: 20, p99: 20, p999: 30 });
  assert.equal(ours?.loopDelayMs, { p99: 2, max: 40 });
  assert.is(ours?.writeAmplification, 2);
  assert.is(ours?.peakMemoryBytes, 4e6);
  assert.is(peer?.operationsPerSecond, 250);
  assert.is(ours && peer && ratioOf(ours, peer), 2);
  assert.is(ours?.cpuMicroseconds, 200);
  assert.is(ours && peer && cpuRatioOf(ours, peer), 2);
  assert.is(reading?.latencyUs, undefined);
  assert.is(reading?.writeAmplification, undefined);
});

test('the table has a row per workload and a ratio per peer', () => {
  const table = comparisonTable(summarize(MEASUREMENTS), 'raftree').split('\n');
  assert.equal(table, [
    '| workload | value | raftree | a<b | raftree ÷ a<b | by CPU |',
    '| --- | ---: | ---: | ---: | ---: | ---: |',
    '| fillrandom | 100 B | 500 | 250 | 2.00 | 2.00 |',
    '| readseq | 100 B | 1,000 | - | - | - |',
  ]);
});

test('lines of text keep to their columns', () => {
  for (const summary of summarize(MEASUREMENTS)) {
    assert.is(summaryLine(summary).length, headingLine().length);
  }
});

test('the chart has a dot per summary, placed by its rate, and is well-formed', () => {
  const summaries = summarize(MEASUREMENTS);
  const svg = dotPlot(summaries, 'a & b');
  const dots = [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)" r="5" fill="#\w+"><title>([^<]*)/g)];
  assert.equal(
    dots.map((dot) => dot[3]),
    [
      'raftree, fillrandom: 500 operations/s',
      'a&lt;b, fillrandom: 250 operations/s',
      'raftree, readseq: 1000 operations/s',
    ],
  );
  const [ours, peer, reading] = dots.map((dot) => ({ x: Number(dot[1]), y: Number(dot[2]) }));
  assert.ok(ours && peer && reading && peer.x < ours.x && ours.x < reading.x, 'faster is further right');
  assert.ok(ours && peer && ours.y === peer.y, 'one row per workload');
  assert.match(svg, /a &amp; b/);
  const tags = [...svg.matchAll(/<(\/?)(\w+)[^<>]*?(\/?)>/g)].map(([, closing, name, empty]) => ({
    closing,
    name,
    empty,
  }));
  const open: (string | undefined)[] = [];
  for (const { closing, name, empty } of tags) {
    if (closing) assert.is(open.pop(), name);
    else if (!empty) open.push(name);
  }
  assert.equal(open, []);
});

test.run();
