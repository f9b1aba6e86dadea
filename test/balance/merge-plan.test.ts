/** Which tablets are merged by themselves: small neighbours on the same nodes, after some looks. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Descriptor, NodeReport, SplitLimits } from '../../src/balance/cluster-map.js';
import { type MergeSettings, smallPairs } from '../../src/balance/merge-plan.js';
import { MetaState } from '../../src/meta/meta-state.js';
import { encodeRecord, tabletKey } from '../../src/meta/records.js';
import { AutoMerges } from '../../src/server/auto-merges.js';

const SETTINGS: MergeSettings = { minTabletBytes: 1000, leastTablets: 1 };
const SPLITS_ABOVE: SplitLimits = { bytes: 4000, operationsPerSecond: 400 };

function tablet(id: number, start: string, end: string | undefined, nodes = [1, 2]): Descriptor {
  return {
    ...{ id, start: Buffer.from(start), end: end === undefined ? undefined : Buffer.from(end) },
    ...{ generation: 1, parents: [], confIndex: 0 },
    replicas: nodes.map((node) => ({ replicaId: 10 * id + node, node, role: 'voter' as const })),
  };
}

function report(sizes: Readonly<Record<number, number>>, load = 0): NodeReport {
  const leads = { term: 1, operationsPerSecond: load, forMs: 1000, caughtUp: [] };
  return {
    ...{ node: 1, heardMs: 0, isFull: false, splitsAbove: SPLITS_ABOVE },
    replicas: Object.entries(sizes).map(([id, sizeBytes]) => ({
      ...{ tablet: Number(id), replicaId: 10 * Number(id) + 1, confIndex: 0, sizeBytes, leads },
    })),
  } as NodeReport;
}

/** Of one that leads nothing. */
function follower(of: Partial<NodeReport> = {}): NodeReport {
  return { ...report({}), node: 2, ...of };
}

const THREE = [tablet(3, 'p', undefined), tablet(1, '', 'g'), tablet(2, 'g', 'p')];

function pairs(
  sizes: Readonly<Record<number, number>>,
  settings: Partial<MergeSettings> = {},
  load = 0,
  others: readonly NodeReport[] = [follower()],
) {
  const reports = [report(sizes, load), ...others];
  return smallPairs(THREE, () => false, reports, { ...SETTINGS, ...settings }).map(
    ({ left, right }) => `${left}+${right}`,
  );
}

test('neighbours that are small together, the smallest pair first', () => {
  assert.equal(pairs({ 1: 500, 2: 300, 3: 100 }), ['2+3', '1+2']);
  assert.equal(pairs({ 1: 600, 2: 400, 3: 599 }), ['2+3'], '1,000 is not less than 1,000');
  assert.equal(pairs({ 1: 100, 3: 100 }), [], 'nobody has told of the second');
  assert.equal(pairs({ 1: 100, 2: 100, 3: 100 }, { minTabletBytes: 0 }), []);
  assert.equal(pairs({ 1: 100, 2: 100, 3: 100 }, { leastTablets: 3 }), []);
});

test('not those that are busy, on other nodes, or with which something is under way', () => {
  const sizes = { 1: 100, 2: 100, 3: 100 };
  assert.equal(pairs(sizes, {}, 49), ['1+2', '2+3']);
  assert.equal(pairs(sizes, {}, 50), []);
  const never = follower({ splitsAbove: { ...SPLITS_ABOVE, operationsPerSecond: 0 } });
  assert.equal(pairs(sizes, {}, 49, [never]), ['1+2', '2+3']);
  const apart = [tablet(1, '', 'g'), tablet(2, 'g', 'p', [1, 3])];
  assert.equal(
    smallPairs(apart, () => false, [report(sizes), follower(), follower({ node: 3 })], SETTINGS),
    [],
  );
  assert.equal(
    smallPairs(THREE, (id) => id === 2, [report(sizes), follower()], SETTINGS),
    [],
  );
});

test('not where a node has not answered, has no room, or would split what comes of it again', () => {
  const sizes = { 1: 100, 2: 100, 3: 100 };
  assert.equal(pairs(sizes, {}, 0, []), []);
  assert.equal(pairs(sizes, {}, 0, [follower({ isFull: true })]), []);
  assert.equal(pairs(sizes, {}, 0, [follower({ splitsAbove: undefined })]), ['1+2', '2+3']);
  const limited = (bytes: number, operationsPerSecond: number) => [
    follower({ splitsAbove: { bytes, operationsPerSecond } }),
  ];
  assert.equal(pairs(sizes, {}, 0, limited(800, 400)), ['1+2', '2+3']);
  assert.equal(pairs(sizes, {}, 0, limited(799, 400)), []);
  assert.equal(pairs(sizes, {}, 10, limited(4000, 81)), ['1+2', '2+3']);
  assert.equal(pairs(sizes, {}, 10, limited(4000, 80)), []);
});

test('a pair is merged when it was small in three looks in a row, and one at a time', async () => {
  const state = new MetaState();
  for (const each of THREE) state.set(tabletKey(each.id), encodeRecord(each), each.id);
  const recorded: string[] = [];
  const merges = new AutoMerges({
    env: { clock: { nowMs: () => 5 } as never },
    settings: SETTINGS,
    meta: {
      state,
      allocateIds: async () => 90,
      update: async (changes) => {
        recorded.push(changes.map(({ key }) => key).join(' '));
        for (const { key, value } of changes) if (value) state.set(key, encodeRecord(value), 99);
        return true;
      },
    },
  });
  const [small, large] = [report({ 1: 900, 2: 300, 3: 100 }), report({ 1: 900, 2: 300, 3: 1000 })];
  const look = (said: NodeReport) => merges.look([said, follower()]);
  for (const said of [small, small, large, small, small]) assert.is(await look(said), false);
  assert.is(await look(small), true);
  assert.equal(recorded, ['tablet/2 intent/2 tablet/3 intent/3']);
  for (let i = 0; i < 5; i++) assert.is(await look(small), false);
});

test.run();
