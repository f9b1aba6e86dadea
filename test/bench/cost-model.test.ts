/** The cost model of `bench:scale`: costs come out of what was observed, and hosts are as busy as those say. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Costs, costsOf, cpuMsOf, KINDS, type Work } from '../../bench/scale/cost-model.js';
import { type HostsOptions, placesOf, runHosts } from '../../bench/scale/modelled-hosts.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

const FREE: Costs = { frames: 0, messages: 0, entries: 0, bytes: 0, syncs: 0, seconds: 0 };

const OPTIONS: HostsOptions = {
  ...{ nodes: 3, tablets: placesOf(3, 1, 3), costs: FREE, share: 1, clients: 0, valueBytes: 0 },
  ...{ periodMs: 20, schedulerTickMs: 4, heartbeatMs: 1e9, networkMs: 1, syncMs: 5, hasOneDisk: false },
  ...{ settleMs: 1000, measuredMs: 10_000, seed: 1 },
};
/** One client in all: nothing waits for other puts. */
const ONE_PUT: HostsOptions = { ...OPTIONS, clients: 1 / 3 };

test('costs that explain all that was observed are found, and none is negative', () => {
  const costs: Costs = { frames: 100, messages: 20, entries: 30, bytes: 0.02, syncs: 400, seconds: 9000 };
  const random = new SeededRandom(1);
  const works = Array.from({ length: 20 }, (): Work => {
    const counts = { frames: 1500, messages: 7000, entries: 6000, bytes: 1e6, syncs: 150, seconds: 10 };
    const some = KINDS.map((kind) => [kind, counts[kind] * random.float()] as const);
    return Object.fromEntries(some) as unknown as Work;
  });
  const found = costsOf(
    works.map((work) => ({ work, cpuMs: cpuMsOf(work, costs) })),
    400,
  );
  for (const kind of KINDS) assert.ok(Math.abs(found[kind] - costs[kind]) < 0.01 * (1 + costs[kind]), kind);
  const seldom = works.map((work, i) => ({ work, cpuMs: cpuMsOf(work, costs) * (i % 5 === 0 ? 2 : 1) }));
  const same = costsOf(seldom, 400);
  for (const kind of KINDS)
    assert.ok(
      Math.abs(same[kind] - costs[kind]) < 0.05 * (1 + costs[kind]),
      `${kind}: a few disturbed runs are left out`,
    );
  const noisy = works.map((work) => ({ work, cpuMs: cpuMsOf(work, costs) * (0.5 + random.float()) }));
  assert.ok(KINDS.every((kind) => costsOf(noisy, 400)[kind] >= 0));
});

test('a put takes the ways between the hosts, and the sync of a follower', () => {
  const { p50Ms, p99Ms, putsPerSecond } = runHosts(ONE_PUT);
  // To the leader, to a follower, its sync, and back.
  for (const ms of [p50Ms, p99Ms]) assert.ok(Math.abs(ms - (1 + 1 + 5 + 1 + 1)) < 1e-6, `${ms}`);
  assert.ok(Math.abs(putsPerSecond - 1000 / 9) < 0.2, `${putsPerSecond}`);
});

test('a disk that all hosts share syncs for one after the other', () => {
  // The leader's sync ends 6 ms after the put was sent, that of the first follower 5 ms later.
  const { p50Ms } = runHosts({ ...ONE_PUT, hasOneDisk: true });
  assert.ok(p50Ms > 9 + 3.9 && p50Ms < 9 + 3 * 5, `${p50Ms}`);
});

test('a host does as much as its quota allows, and no more', () => {
  // One ms for each entry, and three hosts with an entry for each put.
  const costs = { ...FREE, entries: 1000 };
  for (const share of [0.1, 0.2, 0.5]) {
    const { putsPerSecond, quotaUsed, nodesUsPerPut } = runHosts({
      ...OPTIONS,
      costs,
      share,
      clients: 4,
      measuredMs: 60_000,
    });
    assert.ok(Math.abs(nodesUsPerPut - 3000) < 60, `${nodesUsPerPut}`);
    assert.ok(quotaUsed > 0.97 && quotaUsed < 1.03, `${quotaUsed}`);
    assert.ok(Math.abs(putsPerSecond / (1000 * share) - 1) < 0.03, `${putsPerSecond}`);
  }
});

test('more nodes share the tablets, and what a host says to another in one turn is one frame', () => {
  const costs: Costs = { ...FREE, frames: 100, messages: 20, entries: 30, seconds: 5000 };
  const of = (nodes: number) => {
    const options = { nodes, tablets: placesOf(nodes, 18, 3), costs, share: 0.1, clients: 64 };
    const result = runHosts({ ...OPTIONS, ...options, heartbeatMs: 200 });
    const total = (kind: keyof Work) => result.work.reduce((sum, work) => sum + work[kind], 0);
    const puts = result.putsPerSecond * 10;
    return { ...result, frames: total('frames') / puts, messages: total('messages') / puts };
  };
  const [three, nine] = [of(3), of(9)];
  assert.equal(of(9), nine, 'the same again');
  assert.ok(nine.putsPerSecond > 2 * three.putsPerSecond);
  assert.ok(nine.frames > three.frames, 'to more nodes');
  assert.ok(nine.messages < three.messages, 'of fewer tablets');
});

test('each node leads as many tablets', () => {
  for (const [nodes, tablets] of [
    [3, 18],
    [6, 18],
    [9, 18],
    [48, 96],
  ] as const) {
    const leads = new Map<number, number>();
    for (const {
      nodes: [leader = 0],
    } of placesOf(nodes, tablets, 3))
      leads.set(leader, (leads.get(leader) ?? 0) + 1);
    assert.ok([...leads.values()].every((count) => count === tablets / nodes));
  }
});

test.run();
