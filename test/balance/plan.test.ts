/** The balancer on modelled clusters: what it does, what it never does, and that it comes to an end. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ModelledCluster } from '../../bench/scale/modelled-cluster.js';
import {
  type BalanceSettings,
  DEFAULT_BALANCE_SETTINGS,
  type Reports,
} from '../../src/balance/cluster-map.js';
import type { Order } from '../../src/balance/orders.js';
import { plan, planInSteps } from '../../src/balance/plan.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

const SETTINGS: BalanceSettings = {
  ...DEFAULT_BALANCE_SETTINGS,
  ...{ loadWindowMs: 2000, leastBytes: 1, leastOperationsPerSecond: 1 },
};
const STEP_MS = 1000;
const MIB = 1024 * 1024;

const planOf = (cluster: ModelledCluster, settings = SETTINGS, reports: Reports = cluster.reports()) =>
  plan(cluster.map, reports, settings, cluster.nowMs);

const chosen = (orders: readonly Order[]) =>
  orders.filter(({ type }) => type === 'move' || type === 'transfer') as Extract<
    Order,
    { type: 'move' | 'transfer' }
  >[];

/** Live voters, and how near to each other its replicas are. */
function stateOf(cluster: ModelledCluster, tablet: number) {
  const { replicas } = cluster.tablets.get(tablet)?.descriptor ?? { replicas: [] };
  const voters = replicas.filter(({ role }) => role === 'voter');
  const nodes = voters.flatMap(({ node }) => cluster.nodes.get(node) ?? []);
  return {
    live: nodes.filter(({ isUp }) => isUp).length,
    nodes: new Set(replicas.map(({ node }) => node)).size === replicas.length,
    hosts: new Set(nodes.map(({ host }) => host)).size,
    zones: new Set(nodes.map(({ zone }) => zone)).size,
    voters: voters.length,
  };
}

/** Carries one order out, and checks what no order may do. */
function carryOut(cluster: ModelledCluster, order: Order, settings: BalanceSettings): boolean {
  const before = stateOf(cluster, order.tablet);
  const isDone = cluster.execute(order);
  const after = stateOf(cluster, order.tablet);
  const shown = `${JSON.stringify(order)}: ${JSON.stringify(before)} to ${JSON.stringify(after)}`;
  assert.ok(after.live >= Math.min(before.live, settings.replicas), `fewer live replicas: ${shown}`);
  assert.ok(after.nodes, `two on one node: ${shown}`);
  return isDone;
}

interface Course {
  readonly settings?: BalanceSettings;
  /** Orders are lost, come late and twice, and some reports are old. */
  readonly random?: SeededRandom;
  readonly limit?: number;
  /** It goes on for so many plans at least. */
  readonly least?: number;
  /** Called before each plan. */
  readonly each?: (step: number) => void;
}

/** Plans and carries out until there is nothing to do. Returns how many plans it took, and all orders chosen. */
function run(
  cluster: ModelledCluster,
  { settings = SETTINGS, random, limit = 400, least = 0, each }: Course = {},
) {
  const all: Order[] = [];
  let late: Order[] = [];
  let old = cluster.reports();
  for (let step = 0; step < limit; step++) {
    each?.(step);
    cluster.nowMs += STEP_MS;
    cluster.elect();
    const fresh = cluster.reports();
    // A node whose report is lost is known by the one before.
    const reports = random
      ? {
          ...fresh,
          nodes: fresh.nodes.map((report, i) => (random.chance(0.1) ? (old.nodes[i] ?? report) : report)),
        }
      : fresh;
    old = fresh;
    const orders = planOf(cluster, settings, reports);
    all.push(...chosen(orders));
    for (const order of late) carryOut(cluster, order, settings);
    late = [];
    for (const order of orders) {
      if (random?.chance(0.1)) continue;
      if (random?.chance(0.1)) late.push(order);
      else carryOut(cluster, order, settings);
    }
    if (step >= least && orders.length === 0 && late.length === 0 && planOf(cluster, settings).length === 0)
      return { steps: step, orders: all };
  }
  const left = planOf(cluster, settings);
  const [first] = left;
  const tablet = JSON.stringify(first && cluster.tablets.get(first.tablet));
  throw new Error(
    `after ${limit} plans there is still to do: ${JSON.stringify(left.slice(0, 3))}; ${tablet}`,
  );
}

const countsOf = (cluster: ModelledCluster) =>
  [...cluster.nodes.keys()].map(
    (id) =>
      [...cluster.tablets.values()].filter(({ descriptor }) =>
        descriptor.replicas.some(({ node }) => node === id),
      ).length,
  );

const leadersOf = (cluster: ModelledCluster) =>
  [...cluster.nodes.keys()].map(
    (id) => [...cluster.tablets.values()].filter(({ leader }) => leader === id).length,
  );

/** So many nodes, and tablets that lie one after the other on them. */
function even(nodes: number, tablets: number, zones = 1): ModelledCluster {
  const cluster = new ModelledCluster();
  for (let id = 1; id <= nodes; id++) cluster.addNode(id, `h${id}`, zones > 1 ? `z${id % zones}` : 'z');
  for (let id = 1; id <= tablets; id++)
    cluster.addTablet(
      id,
      [0, 1, 2].map((i) => 1 + ((id + i) % nodes)),
      MIB,
    );
  return cluster;
}

function randomCluster(random: SeededRandom): ModelledCluster {
  const cluster = new ModelledCluster();
  const nodes = random.between(3, 14);
  const zones = random.between(1, 4);
  const hosts = random.pick([nodes, Math.ceil(nodes / 2)]);
  for (let id = 1; id <= nodes; id++)
    cluster.addNode(id, `h${id % hosts}`, `z${(id % hosts) % zones}`, random.pick([1, 1, 1, 2]));
  for (let id = 1; id <= random.between(5, 60); id++) {
    const ids = [...cluster.nodes.keys()];
    const count = random.pick([2, 3, 3, 3, 3, 4]);
    const on = Array.from({ length: Math.min(count, nodes) }, () => {
      // Some nodes get most.
      const at = Math.floor(ids.length * random.float() ** 2);
      return ids.splice(at, 1)[0] as number;
    });
    cluster.addTablet(id, on, random.between(0, 100) * MIB, random.between(0, 1000));
  }
  return cluster;
}

test('nothing is moved in a cluster that is even, nor by small differences', () => {
  const cluster = even(5, 50);
  assert.equal(planOf(cluster), []);
  cluster.addTablet(51, [1, 2, 3], MIB);
  assert.equal(planOf(cluster), []);
});

test('the same state twice: what is under way counts as done, and gives no other move', () => {
  for (let seed = 1; seed <= 30; seed++) {
    const cluster = randomCluster(new SeededRandom(seed));
    cluster.elect();
    const first = chosen(planOf(cluster));
    for (const order of first) cluster.execute(order);
    const { maxMovesPerNode, maxTransfersPerNode } = SETTINGS;
    const isBounded = first.length < Math.min(maxMovesPerNode, maxTransfersPerNode);
    const moved = new Set(first.map(({ tablet }) => tablet));
    for (const again of chosen(planOf(cluster))) {
      if (again.reason === 'hand over') continue;
      assert.not(moved.has(again.tablet), `tablet ${again.tablet} again`);
      assert.not(isBounded, `seed ${seed}: ${JSON.stringify(again)} was not in the first plan`);
    }
  }
});

test('from any state, with lost, late and repeated orders and old reports, it comes to an end', () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = new SeededRandom(seed);
    const cluster = randomCluster(random);
    const settings = { ...SETTINGS, maxPartners: random.pick([4, 16]) };
    const ids = [...cluster.nodes.keys()];
    const away = random.chance(0.5) ? random.pick(ids) : undefined;
    const drained = random.chance(0.3) && ids.length > 5 ? random.pick(ids) : undefined;
    run(cluster, {
      settings: { ...settings, deadAfterMs: 20_000, moveTimeoutMs: 60_000 },
      random,
      least: away === undefined ? 10 : 80,
      each: (step) => {
        if (step === 5 && away !== undefined) (cluster.nodes.get(away) as { isUp: boolean }).isUp = false;
        if (step === 8 && drained !== undefined && drained !== away)
          (cluster.nodes.get(drained) as { isDraining: boolean }).isDraining = true;
        // It comes back, after its replicas were replaced or before.
        if (step === 60 && away !== undefined && random.chance(0.5))
          (cluster.nodes.get(away) as { isUp: boolean }).isUp = true;
      },
    });
    for (const { tablet } of [...cluster.moves.values(), ...cluster.transfers.values()])
      assert.not(cluster.hasQuorum(cluster.tablets.get(tablet)?.descriptor.replicas ?? []), `seed ${seed}`);
    checkEnd(cluster, seed, drained);
  }
});

/** What must be so when there is nothing left to do. */
function checkEnd(cluster: ModelledCluster, seed: number, drained: number | undefined): void {
  const good = [...cluster.nodes.values()].filter(({ isUp, isDraining }) => isUp && !isDraining);
  const hosts = new Set(good.map(({ host }) => host)).size;
  for (const [id, { descriptor }] of cluster.tablets) {
    const { live, voters, hosts: apart } = stateOf(cluster, id);
    const shown = `seed ${seed}, tablet ${id}: ${JSON.stringify(descriptor.replicas)}`;
    // Two of which one is gone have no quorum: nothing can be done.
    if (!cluster.hasQuorum(descriptor.replicas)) continue;
    assert.is(voters, Math.min(SETTINGS.replicas, Math.max(voters, good.length)), shown);
    if (good.length >= SETTINGS.replicas) assert.is(live, SETTINGS.replicas, shown);
    if (hosts >= SETTINGS.replicas) assert.is(apart, SETTINGS.replicas, `one host: ${shown}`);
    if (drained !== undefined && good.length >= SETTINGS.replicas)
      assert.not(
        descriptor.replicas.some(({ node }) => node === drained && cluster.nodes.get(node)?.isDraining),
        `drained: ${shown}`,
      );
  }
  // No replica is left that is no member.
  for (const [node, placed] of cluster.placed)
    if (cluster.nodes.get(node)?.isUp)
      for (const { tablet, replicaId } of placed.values())
        assert.ok(
          cluster.tablets.get(tablet)?.descriptor.replicas.some((replica) => replica.replicaId === replicaId),
          `seed ${seed}: replica ${replicaId} of tablet ${tablet} on node ${node}`,
        );
}

test('a node that is added gets its share, and nobody gives more than is needed', () => {
  const cluster = even(5, 100);
  cluster.addNode(6);
  run(cluster);
  const counts = countsOf(cluster);
  assert.ok(Math.min(...counts) >= 47 && Math.max(...counts) <= 53, counts.join());
  assert.ok(cluster.movedReplicas <= 50, `${cluster.movedReplicas} moves`);
  const leaders = leadersOf(cluster);
  assert.ok(Math.max(...leaders) - Math.min(...leaders) <= 4, leaders.join());
});

test('a dead node is replaced, not one that is silent for a while; nobody is judged by who has just begun to listen', () => {
  const cluster = even(5, 20);
  (cluster.nodes.get(2) as { isUp: boolean }).isUp = false;
  cluster.reports();
  cluster.elect();
  const plansAt = (nowMs: number, sinceMs: number) => {
    cluster.nowMs = nowMs;
    return chosen(planOf(cluster, SETTINGS, cluster.reports(sinceMs))).filter(
      (order) => order.type === 'move' && order.reason === 'repair',
    ).length;
  };
  assert.is(plansAt(SETTINGS.deadAfterMs - 1, 0), 0);
  assert.is(plansAt(2 * SETTINGS.deadAfterMs, SETTINGS.deadAfterMs + 1), 0);
  assert.ok(plansAt(2 * SETTINGS.deadAfterMs, 0) > 0);
  run(cluster);
  for (const id of cluster.tablets.keys()) assert.is(stateOf(cluster, id).live, 3);
});

test('a tablet without a quorum is left alone: who is missing must come back', () => {
  const cluster = even(6, 12);
  for (const id of [2, 3]) (cluster.nodes.get(id) as { isUp: boolean }).isUp = false;
  cluster.nowMs = 2 * SETTINGS.deadAfterMs;
  cluster.elect();
  const lost = [...cluster.tablets.values()].filter(
    ({ descriptor }) => !cluster.hasQuorum(descriptor.replicas),
  );
  assert.ok(lost.length > 0);
  const ordered = new Set(planOf(cluster).map(({ tablet }) => tablet));
  for (const { descriptor } of lost) assert.not(ordered.has(descriptor.id));
});

test('what has the fewest live replicas is repaired first', () => {
  const cluster = new ModelledCluster();
  for (let id = 1; id <= 8; id++) cluster.addNode(id);
  for (let id = 1; id <= 20; id++) cluster.addTablet(id, [1, 2, 3, 4, 5], MIB);
  cluster.addTablet(21, [1, 6, 7, 8, 5], MIB);
  for (let id = 22; id <= 24; id++) cluster.addTablet(id, [1, 2, 6, 7, 8], MIB);
  for (const id of [1, 2]) (cluster.nodes.get(id) as { isUp: boolean }).isUp = false;
  cluster.nowMs = 2 * SETTINGS.deadAfterMs;
  cluster.elect();
  const repaired = chosen(planOf(cluster, { ...SETTINGS, replicas: 5 })).filter(
    ({ type }) => type === 'move',
  );
  assert.ok(repaired.length > 10);
  assert.is(repaired.at(-1)?.tablet, 21);
});

test('replicas go to zones of their own as soon as there are enough', () => {
  const cluster = even(6, 30, 3);
  for (const [id, tablet] of cluster.tablets) {
    const zones = new Set(tablet.descriptor.replicas.map(({ node }) => cluster.nodes.get(node)?.zone));
    assert.is(zones.size, 3, `${id}`);
  }
  assert.equal(planOf(cluster), []);
  const together = new ModelledCluster();
  for (let id = 1; id <= 9; id++) together.addNode(id, `h${id}`, `z${Math.ceil(id / 3)}`);
  for (let id = 1; id <= 30; id++) together.addTablet(id, [1, 2, 3], MIB);
  run(together);
  for (const id of together.tablets.keys()) assert.is(stateOf(together, id).zones, 3);
});

test('a node that drains gives all away, its leaders at once, and gets nothing', () => {
  const cluster = even(6, 60);
  (cluster.nodes.get(3) as { isDraining: boolean }).isDraining = true;
  const first = chosen(planOf(cluster));
  assert.ok(first.filter(({ type, reason }) => type === 'transfer' && reason === 'drain').length >= 5);
  run(cluster);
  assert.is(cluster.placed.get(3)?.size, 0);
  assert.is(leadersOf(cluster)[2], 0);
});

test('while only drains are wanted nothing else is done; a dead node that drains is emptied too', () => {
  const cluster = even(6, 12);
  const down = cluster.nodes.get(2) as { isUp: boolean; isDraining: boolean };
  down.isUp = false;
  cluster.elect();
  cluster.nowMs = 2 * SETTINGS.deadAfterMs;
  const reports = cluster.reports();
  const drainsOnly = { ...SETTINGS, drainsOnly: true };
  assert.equal(chosen(planOf(cluster, drainsOnly, reports)), []);
  assert.ok(chosen(planOf(cluster, SETTINGS, reports)).length > 0);
  down.isDraining = true;
  const orders = chosen(planOf(cluster, drainsOnly, reports));
  assert.ok(orders.length > 0);
  for (const { reason } of orders) assert.is(reason, 'drain');
});

test('there are never more moves to or from a node than allowed, nor transfers', () => {
  const cluster = even(10, 200);
  for (const id of [11, 12, 13]) cluster.addNode(id);
  const settings = { ...SETTINGS, maxMovesPerNode: 3 };
  run(cluster, {
    settings,
    each: () => {
      const into = new Map<number, number>();
      const outOf = new Map<number, number>();
      const count = (of: Map<number, number>, node: number | undefined) =>
        node !== undefined && of.set(node, (of.get(node) ?? 0) + 1);
      for (const { tablet, add, remove } of cluster.moves.values()) {
        count(into, add?.node);
        const { replicas } = cluster.tablets.get(tablet)?.descriptor ?? { replicas: [] };
        count(outOf, replicas.find(({ replicaId }) => replicaId === remove)?.node);
      }
      for (const moves of [...into.values(), ...outOf.values()]) assert.ok(moves <= 3, `${moves}`);
    },
  });
});

test('a leader hands over before it leaves', () => {
  const cluster = even(4, 12);
  (cluster.nodes.get(2) as { isDraining: boolean }).isDraining = true;
  const removedLeaders: number[] = [];
  const { execute } = cluster;
  cluster.execute = (order) => {
    const tablet = cluster.tablets.get(order.tablet);
    const leading = tablet?.descriptor.replicas.find(({ node }) => node === tablet.leader)?.replicaId;
    if (order.type === 'change' && order.remove === leading) removedLeaders.push(order.tablet);
    return execute.call(cluster, order);
  };
  run(cluster);
  assert.equal(removedLeaders, []);
});

test('an order that comes late or twice does nothing', () => {
  const cluster = even(5, 100);
  cluster.addNode(6);
  const seen: Order[] = [];
  run(cluster, { each: () => void seen.push(...planOf(cluster)) });
  const end = JSON.stringify([...cluster.tablets.values()]);
  let done = 0;
  for (const order of seen.filter(({ type }) => type !== 'forget')) done += cluster.execute(order) ? 1 : 0;
  assert.is(done, 0);
  assert.is(JSON.stringify([...cluster.tablets.values()]), end);
});

test('a move to a node that dies, or that drains, is given up, and made to another', () => {
  for (const how of ['dies', 'drains'] as const) {
    const cluster = even(5, 100);
    cluster.addNode(6);
    const settings = { ...SETTINGS, deadAfterMs: 20_000 };
    for (const order of planOf(cluster)) if (order.type === 'move') cluster.execute(order);
    for (const order of planOf(cluster)) cluster.execute(order);
    const six = cluster.nodes.get(6) as { isUp: boolean; isDraining: boolean };
    if (how === 'dies') six.isUp = false;
    else six.isDraining = true;
    run(cluster, { settings, least: 25 });
    for (const { descriptor } of cluster.tablets.values())
      assert.not(descriptor.replicas.some(({ node }) => node === 6));
  }
});

test('a node that comes back after its replicas were replaced removes them', () => {
  const cluster = even(5, 20);
  const two = cluster.nodes.get(2) as { isUp: boolean };
  two.isUp = false;
  run(cluster, { settings: { ...SETTINGS, deadAfterMs: 5000 }, least: 10 });
  run(cluster, {
    settings: { ...SETTINGS, deadAfterMs: 5000 },
    least: 10,
    each: (step) => {
      if (step > 5) two.isUp = true;
    },
  });
  assert.ok((cluster.placed.get(2)?.size ?? 0) > 0, 'it has got others');
  checkEnd(cluster, 0, undefined);
});

test('what the map does not know is left alone: it may be the child of a split', () => {
  const cluster = even(3, 3);
  const reports = cluster.reports();
  const [first] = reports.nodes;
  const child = { tablet: 99, replicaId: 999, confIndex: 7, sizeBytes: 1 };
  const newer = { tablet: 1, replicaId: 998, confIndex: 7, sizeBytes: 1 };
  const stray = { tablet: 1, replicaId: 997, confIndex: 1, sizeBytes: 1 };
  const nodes = [{ ...(first as (typeof reports.nodes)[number]), replicas: [child, newer, stray] }];
  const removed = planOf(cluster, SETTINGS, { ...reports, nodes: [...nodes, ...reports.nodes.slice(1)] });
  assert.equal(
    removed.map((order) => order.type === 'remove' && order.replicaId),
    [997],
  );
});

test('a large cluster keeps the partners of a node few while nodes are added', () => {
  const cluster = even(40, 800);
  for (let id = 41; id <= 44; id++) cluster.addNode(id);
  run(cluster);
  const counts = countsOf(cluster);
  assert.ok(Math.min(...counts) >= 49 && Math.max(...counts) <= 61, counts.join());
  for (const id of cluster.nodes.keys()) {
    const partners = new Set<number>();
    for (const { descriptor } of cluster.tablets.values()) {
      const nodes = descriptor.replicas.map(({ node }) => node);
      if (nodes.includes(id)) for (const node of nodes) if (node !== id) partners.add(node);
    }
    assert.ok(partners.size <= SETTINGS.maxPartners, `node ${id} has ${partners.size} partners`);
  }
});

test('pd #11133: moves that ended before the next report are not made again, nor undone', () => {
  const cluster = even(5, 100);
  cluster.addNode(6);
  const stale = cluster.reports();
  let moves = 0;
  // All moves of each plan end at once. No node reports again.
  for (let round = 0; round < 60; round++) {
    const orders = chosen(planOf(cluster, SETTINGS, stale)).filter(({ type }) => type === 'move');
    moves += orders.length;
    for (const order of orders) cluster.execute(order);
    cluster.completeAll();
  }
  const counts = countsOf(cluster);
  assert.ok(moves <= 50, `${moves} moves`);
  assert.ok(Math.min(...counts) >= 47 && Math.max(...counts) <= 53, counts.join());
});

test('pd #3504: a leader that has just taken over reports little load, which counts for nothing yet', () => {
  const cluster = even(3, 12);
  for (const [id, tablet] of cluster.tablets) tablet.operationsPerSecond = id % 3 === 0 ? 1000 : 10;
  // A window of load that begins anew with each leader: it shows a part of the truth at first.
  const seen = (): Reports => {
    const reports = cluster.reports();
    return {
      ...reports,
      nodes: reports.nodes.map((node) => ({
        ...node,
        replicas: node.replicas.map((report) => {
          const { leads } = report;
          if (!leads) return report;
          const share = Math.min(1, leads.forMs / SETTINGS.loadWindowMs);
          return { ...report, leads: { ...leads, operationsPerSecond: leads.operationsPerSecond * share } };
        }),
      })),
    };
  };
  let transfers = 0;
  for (let round = 0; round < 200; round++) {
    cluster.nowMs += 500;
    const orders = planOf(cluster, SETTINGS, seen());
    transfers += orders.filter(
      ({ type, tablet }) => type === 'transfer' && !cluster.transfers.has(tablet),
    ).length;
    for (const order of orders) cluster.execute(order);
  }
  assert.ok(transfers <= 8, `${transfers} transfers`);
  assert.equal(planOf(cluster, SETTINGS, seen()), []);
});

test('pd #4423: one hot tablet stays where it is', () => {
  const cluster = even(3, 6);
  for (const [id, tablet] of cluster.tablets) tablet.operationsPerSecond = id === 1 ? 100_000 : 0;
  cluster.nowMs = 100_000;
  assert.equal(planOf(cluster), []);
});

test('a node that answers many reads of followers leads what is asked less, and then nothing moves any more', () => {
  const cluster = even(3, 6);
  // Each node leads one busy tablet and a quiet one.
  for (const [id, tablet] of cluster.tablets) tablet.operationsPerSecond = id % 2 === 0 ? 1000 : 0;
  cluster.nowMs = 100_000;
  assert.equal(planOf(cluster), []);
  const answering = (node: number): Reports => {
    const reports = cluster.reports();
    const [first, ...others] = reports.nodes.map((report) => {
      const replicas = report.replicas.map((replica) =>
        report.node === node && !replica.leads ? { ...replica, operationsPerSecond: 500 } : replica,
      );
      return { ...report, replicas };
    });
    return { ...reports, nodes: first ? [first, ...others] : [] };
  };
  const orders = chosen(planOf(cluster, SETTINGS, answering(1)));
  assert.ok(orders.some((order) => order.type === 'transfer' && order.from === 1 && order.reason === 'load'));
  for (let step = 0; step < 50; step++) {
    cluster.nowMs += 10_000;
    for (const order of planOf(cluster, SETTINGS, answering(1))) carryOut(cluster, order, SETTINGS);
  }
  const ledLoad = [...cluster.tablets.values()]
    .filter(({ leader }) => leader === 1)
    .reduce((sum, { operationsPerSecond }) => sum + operationsPerSecond, 0);
  assert.is(ledLoad, 0);
  assert.equal(planOf(cluster, SETTINGS, answering(1)), []);
});

test('bytes are evened out when replicas are, and load when leaders are', () => {
  const cluster = even(6, 60);
  for (const [id, tablet] of cluster.tablets)
    Object.assign(tablet, {
      sizeBytes: (id % 6 === 0 ? 40 : 1) * MIB,
      operationsPerSecond: id % 6 === 1 ? 500 : 1,
    });
  run(cluster, { least: 60 });
  const sums = (of: (id: number) => number) => {
    const values = [...cluster.nodes.keys()].map(of);
    return Math.max(...values) / (values.reduce((sum, value) => sum + value, 0) / values.length);
  };
  const bytes = sums((id) =>
    [...cluster.tablets.values()]
      .filter(({ descriptor }) => descriptor.replicas.some(({ node }) => node === id))
      .reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
  );
  const load = sums((id) =>
    [...cluster.tablets.values()]
      .filter(({ leader }) => leader === id)
      .reduce((sum, { operationsPerSecond }) => sum + operationsPerSecond, 0),
  );
  const counts = countsOf(cluster);
  assert.ok(bytes < 1.3, `${bytes}`);
  // All busy tablets have their replicas on three of the six nodes.
  assert.ok(load < 2.5, `${load}`);
  assert.ok(Math.max(...counts) - Math.min(...counts) <= 4, counts.join());
});

function stepsOf(cluster: ModelledCluster, settings: BalanceSettings) {
  const steps = planInSteps(cluster.map, cluster.reports(), settings, cluster.nowMs);
  let count = 0;
  for (let step = steps.next(); ; step = steps.next()) {
    if (step.done) return { count, orders: step.value };
    count++;
  }
}

test('a plan for many tablets has many steps, and they plan what is planned at once', () => {
  // The tablets are looked at three times, 1,024 in a step, and the reports of 40 nodes once.
  assert.is(stepsOf(even(40, 5000), { ...SETTINGS, drainsOnly: true }).count, 3 * 4 + 40);
  const cluster = even(6, 60);
  cluster.addNode(7);
  const { orders, count } = stepsOf(cluster, SETTINGS);
  assert.equal(orders, planOf(cluster));
  assert.ok(count > orders.length && orders.length > 0, `${count}`);
});

test('nodes get their share by weight', () => {
  const cluster = even(4, 60);
  cluster.addNode(5, 'h5', 'z', 2);
  run(cluster);
  const counts = countsOf(cluster);
  assert.ok((counts[4] as number) >= 50, counts.join());
});

test.run();
