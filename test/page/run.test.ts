/** A recorded run, as the page of `raftree replay` follows it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { simulate } from '../../src/sim/simulation.js';
import { scheduleOf } from '../sim/schedules/schedules.js';

interface TraceLine {
  readonly t: number;
  readonly who: string;
  readonly what: string;
  readonly [field: string]: unknown;
}
interface State {
  readonly nodes: Readonly<
    Record<
      string,
      {
        life: string;
        role: string;
        term: number;
        last: number;
        commit: number;
        applied: number;
        isHeld: boolean;
      }
    >
  >;
  readonly cuts: Readonly<Record<string, true>>;
  readonly flights: readonly { readonly from: string; readonly to: string; readonly type: string }[];
}
interface Run {
  readonly hosts: readonly string[];
  readonly broken: number | undefined;
  readonly tablets: readonly number[];
  after(count: number, tablet?: number): State;
}

// A file of the browser: it is not compiled, and stands beside the sources.
const file = new URL('../../../page/run.js', import.meta.url).href;
const { runOf } = (await import(file)) as { runOf: (events: readonly TraceLine[]) => Run };

const EVENTS: readonly TraceLine[] = [
  { t: 0, who: 'n1', what: 'start', process: 'n1#1' },
  { t: 1, who: 'n2', what: 'start', process: 'n2#1' },
  { t: 2, who: 'n1', what: 'up' },
  { t: 3, who: 'n1', what: 'raft.status', role: 'leader', term: 4, leader: 1 },
  { t: 4, who: 'n1', what: 'raft.append', term: 4, commit: 1, first: 2, entries: 3 },
  { t: 5, who: 'n1', what: 'raft.send', to: 2, message: { type: 'append' } },
  { t: 6, who: 'n2>n1', what: 'net.cut' },
  { t: 7, who: 'n2', what: 'raft.receive', from: 1, message: { type: 'append' } },
  { t: 8, who: 'n1', what: 'raft.apply', first: 2, last: 3 },
  { t: 9, who: 'n2>n1', what: 'net.mend' },
  { t: 9.5, who: 'n2', what: 'raft.applied', input: { type: 'applied', index: 9 } },
  { t: 10, who: 'n1', what: 'kill' },
  { t: 11, who: 'world', what: 'broken', rule: 'an example', detail: 'of a rule' },
];

test('at every moment: roles, logs, messages in flight, cut links and lives, forwards and backwards', () => {
  const run = runOf(EVENTS);
  assert.equal(run.hosts, ['n1', 'n2']);
  assert.is(run.broken, 12);
  assert.equal(run.after(11).nodes.n2?.last, 9, 'by a snapshot');
  const moments = EVENTS.map((_, i) => run.after(i + 1));
  assert.equal(
    [moments[2], moments[3]].map((state) => state?.nodes.n1?.role),
    ['follower', 'leader'],
  );
  const { last, commit, applied } = moments[8]?.nodes.n1 ?? {};
  assert.equal([last, commit, applied], [4, 3, 3]);
  assert.equal(
    moments.map(({ flights }) => flights.length),
    [0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0],
  );
  assert.equal(
    moments.map(({ cuts }) => Object.keys(cuts).join()).filter((cut) => cut !== ''),
    Array(3).fill('n2>n1'),
  );
  assert.equal([moments[11]?.nodes.n1?.life, moments[11]?.nodes.n1?.role], ['killed', 'follower']);
  assert.equal(run.after(4), moments[3]);
});

test('several tablets: each has roles, a log and messages of its own, and what a node does not hold is told apart', () => {
  const run = runOf([
    { t: 0, who: 'n1', what: 'start' },
    { t: 1, who: 'n2', what: 'start' },
    { t: 2, who: 'n1', what: 'raft.status', tablet: 3, role: 'leader', term: 4, leader: 1 },
    { t: 3, who: 'n1', what: 'raft.status', tablet: 12, role: 'follower', term: 9, leader: 2 },
    { t: 4, who: 'n1', what: 'raft.append', tablet: 12, term: 9, commit: 5, first: 7, entries: 1 },
    { t: 5, who: 'n2', what: 'raft.send', tablet: 12, to: 1, message: { type: 'append' } },
    { t: 6, who: 'n2', what: 'raft.send', tablet: 3, to: 1, message: { type: 'append' } },
    { t: 7, who: 'n1', what: 'raft.receive', tablet: 12, from: 2, message: { type: 'append' } },
    { t: 8, who: 'world', what: 'split', tablet: 3 },
  ]);
  assert.equal(run.tablets, [3, 12]);
  const nodeOf = (tablet: number) => run.after(9, tablet).nodes.n1;
  assert.equal([nodeOf(3)?.role, nodeOf(3)?.term, nodeOf(3)?.last], ['leader', 4, 0]);
  assert.equal([nodeOf(12)?.role, nodeOf(12)?.term, nodeOf(12)?.last], ['follower', 9, 7]);
  assert.equal([nodeOf(12)?.isHeld, nodeOf(5)?.isHeld], [true, false]);
  const flightsOf = (tablet: number) => run.after(9, tablet).flights.length;
  assert.equal([flightsOf(3), flightsOf(12)], [1, 0]);
});

test('a simulated run is followed to its end: logs and cut links as the simulator has them', async () => {
  const lines: TraceLine[] = [];
  const schedule = scheduleOf('evenHalves');
  await simulate({
    seed: 1,
    profile: 'all',
    schedule,
    sink: (line) => lines.push(JSON.parse(line) as TraceLine),
  });
  const run = runOf(lines);
  const end = run.after(lines.length);
  const nodes = Object.values(end.nodes);
  assert.ok(nodes.length >= 3);
  for (const { applied, commit, last } of nodes) assert.ok(applied <= commit && commit <= last);
  assert.ok(Math.max(...nodes.map(({ applied }) => applied)) > 0, 'something was applied');
  assert.ok(
    lines.some(({ what }) => what === 'net.cut'),
    'links were cut',
  );
  assert.equal(end.cuts, {}, 'all links are mended at the end');
  // Steps near a snapshot of the states agree with those from the beginning.
  const half = Math.floor(lines.length / 2);
  assert.equal(run.after(half), runOf(lines.slice(0, half)).after(half));
});

test.run();
