/** Scans over tablets that are split and merged on the way: each key once, in order, in both directions. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeClient } from '../../src/client/index.js';
import type { PlacementKind } from '../../src/placement/placement.js';
import type { Request } from '../../src/protocol/messages.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { FakeCluster, type Fate } from './fake-cluster.js';
import { FakeTablets, placeOf } from './fake-tablets.js';

const KEYS = Array.from({ length: 120 }, (_, i) => `k${String(i).padStart(3, '0')}`);

/** While keys are read, tablets are split and merged, and are frozen for a while before. Returns how many merges. */
async function run(seed: number, by: PlacementKind, reverse: boolean): Promise<number> {
  const random = new SeededRandom(seed);
  const cluster = await FakeCluster.start(seed, 1);
  const tablets = new FakeTablets(cluster, by, by === 'hash' ? [2 ** 30, 2 ** 31] : ['k040', 'k080'], seed);
  const frozen = new Set<number>();
  const page = (request: Request): Fate => {
    if (request.type !== 'scan') return tablets.fateOf(request, 1);
    const { from, to } = request;
    const tablet = tablets.all.get(request.tablet);
    if (!tablet || tablet.successorFrom !== undefined || !tablet.range.covers(from, to))
      return 'WRONG_TABLET';
    if (frozen.has(tablet.id)) return 'TABLET_FROZEN';
    const found = KEYS.filter((key) => tablet.range.owns(Buffer.from(key)))
      .filter((key) => key >= `${from}` && (to === undefined || key < `${to}`))
      .sort((one, other) => (one < other === reverse ? 1 : -1));
    const entries = found.slice(0, Math.min(request.limit, random.between(1, 8)));
    return ({ requestId }) => ({
      ...{ type: 'scanReply', requestId, more: entries.length < found.length },
      entries: entries.map((key) => ({ key: Buffer.from(key), version: 1, value: Buffer.alloc(0) })),
    });
  };
  cluster.script = page;
  const { scheduler } = cluster.world;
  let merges = 0;
  const change = () => {
    const { present } = tablets;
    const at = random.between(0, present.length - 1);
    const [left, right] = [present[at], present[at + 1]];
    if (!left || frozen.has(left.id)) return;
    if (right && !frozen.has(right.id) && random.chance(0.6)) {
      for (const { id } of [left, right]) frozen.add(id);
      scheduler.after(random.between(1, 100), () => tablets.merge(left, right));
      merges++;
    } else {
      const key = random.pick(KEYS);
      const point = placeOf(by, key);
      if (left.range.owns(Buffer.from(key)) && Buffer.compare(point, left.start) > 0)
        tablets.split(left, by === 'hash' ? point.readUInt32BE(0) : key);
    }
  };
  const client = new RaftreeClient({ endpoints: cluster.endpoints, env: cluster.client.env });
  const found: string[] = [];
  const scan = (async () => {
    for await (const { key } of client.scan({ reverse, from: 'k005', to: 'k115' })) {
      found.push(key.toString());
      if (random.chance(0.1)) change();
    }
  })();
  await scheduler.run(scan, 120_000);
  const expected = KEYS.slice(5, 115);
  assert.equal(found, reverse ? expected.reverse() : expected, `seed ${seed} by ${by}`);
  await scheduler.run(client.close());
  return merges;
}

for (const by of ['range', 'hash'] as const)
  for (const reverse of [false, true])
    test(`a scan by ${by}${reverse ? ' in reverse' : ''} goes on over merges`, async () => {
      let merges = 0;
      for (let seed = 1; seed <= 8; seed++) merges += await run(seed, by, reverse);
      assert.ok(merges > 10, `${merges} merges`);
    });

test.run();
