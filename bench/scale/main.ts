/**
 * How the cluster grows. Real nodes under CPU quotas (real.ts):
 *
 *     npm run bench:scale -- --real --node-counts 3,6,9
 *
 * How the balancer fares with many nodes: the real `plan` on a modelled cluster, of which only what the balancer sees
 * is there (modelled-cluster.ts).
 *
 *     npm run bench:scale -- --plan --nodes 1000 --tablets 100000
 *
 * Each round plans once and carries out all that was chosen; all moves of a round end before the next.
 */
import * as fs from 'node:fs';
import { Command } from 'commander';
import { DEFAULT_BALANCE_SETTINGS } from '../../src/balance/cluster-map.js';
import type { Order } from '../../src/balance/orders.js';
import { plan } from '../../src/balance/plan.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { lineChart } from './line-chart.js';
import { ModelledCluster } from './modelled-cluster.js';
import { Quota } from './quota.js';
import { type RealRun, runReal } from './real.js';

interface ScaleOptions {
  readonly plan?: true;
  readonly real?: true;
  readonly nodeCounts: readonly number[];
  readonly share: number;
  readonly seconds: number;
  readonly clients: number;
  readonly nodes: number;
  readonly tablets: number;
  readonly zones: number;
  readonly movesPerNode: number;
  readonly svg?: string;
}

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
/** The default of `storage.snapshotBytesPerSecond`. */
const SENT_BYTES_PER_SECOND = 64 * MIB;
const COPYSETS_PER_NODE = 6;
const MAX_ROUNDS = 1000;

const command = new Command('bench:scale')
  .option('--real', 'real nodes, each with the same share of a processor')
  .option('--node-counts <list>', 'real nodes', (text) => text.split(',').map(Number), [3, 6, 9])
  .option('--share <part>', 'of one processor, for each real node', Number, 0.1)
  .option('--seconds <n>', 'measured time of each number of real nodes', Number, 10)
  .option('--clients <n>', 'puts under way, for each real node', Number, 64)
  .option('--plan', 'the balancer on a modelled cluster')
  .option('--nodes <n>', 'nodes', Number, 1000)
  .option('--tablets <n>', 'tablets, of three replicas each', Number, 100_000)
  .option('--zones <n>', 'zones', Number, 10)
  .option('--moves-per-node <n>', 'moves to a node, and from it, in a round', Number, 16)
  .option('--svg <file>', 'write a chart: of puts per second over nodes, or of the nodes that were added')
  .parse();
const options = command.opts<ScaleOptions>();
const SETTINGS = { ...DEFAULT_BALANCE_SETTINGS, maxMovesPerNode: options.movesPerNode };

/**
 * Tablets of 32 to 256 MiB on sets of three nodes of different zones. Each node is in six sets, as "Copysets" (Cidon et
 * al., 2013) has it: it meets twelve others.
 */
function built(random: SeededRandom): ModelledCluster {
  const cluster = new ModelledCluster();
  const { nodes, tablets, zones } = options;
  for (let id = 1; id <= nodes; id++) cluster.addNode(id, `h${id}`, `z${id % zones}`);
  const sets: number[][] = [];
  for (let permutation = 0; permutation < COPYSETS_PER_NODE; permutation++) {
    // Neighbours by id are in different zones.
    const shift = random.between(0, nodes - 1);
    const step = 1 + permutation * zones;
    const seen = new Set<number>();
    for (let at = 0; seen.size + 3 <= nodes && at < 4 * nodes; at++) {
      const set = [0, 1, 2].map((i) => 1 + ((shift + 3 * at + i * step) % nodes));
      const inZones = new Set(set.map((id) => id % zones)).size;
      if (set.some((id) => seen.has(id)) || inZones < Math.min(3, zones)) continue;
      for (const id of set) seen.add(id);
      sets.push(set);
    }
  }
  for (let id = 1; id <= tablets; id++) {
    const set = sets[id % sets.length] as number[];
    const turn = Math.floor(id / sets.length) % 3;
    const order = [...set.slice(turn), ...set.slice(0, turn)];
    cluster.addTablet(id, order, random.between(32, 256) * MIB, random.between(1, 100));
  }
  return cluster;
}

interface Course {
  readonly rounds: number;
  readonly moves: number;
  readonly transfers: number;
  readonly movedBytes: number;
  readonly planMs: readonly number[];
  /** By reason. */
  readonly reasons: Readonly<Record<string, number>>;
  /** Bytes moved so far, and the replicas of each node, after each round. */
  readonly shape: readonly { readonly movedBytes: number; readonly counts: ReadonlyMap<number, number> }[];
}

function countsOf(cluster: ModelledCluster): Map<number, number> {
  return new Map([...cluster.placed].map(([node, { size }]) => [node, size]));
}

function planned(cluster: ModelledCluster): { readonly orders: readonly Order[]; readonly ms: number } {
  const { map } = cluster;
  const reports = cluster.reports();
  const before = process.cpuUsage();
  const orders = plan(map, reports, SETTINGS, cluster.nowMs);
  const { user, system } = process.cpuUsage(before);
  return { orders, ms: (user + system) / 1000 };
}

/** Plans and carries out until nothing is chosen any more. */
function settle(cluster: ModelledCluster): Course {
  const planMs: number[] = [];
  const shape: Course['shape'][number][] = [];
  const reasons: Record<string, number> = {};
  const startBytes = cluster.movedBytes;
  let [moves, transfers] = [0, 0];
  for (let rounds = 0; rounds < MAX_ROUNDS; rounds++) {
    cluster.nowMs += SETTINGS.loadWindowMs;
    cluster.elect();
    const { orders, ms } = planned(cluster);
    planMs.push(ms);
    shape.push({ movedBytes: cluster.movedBytes - startBytes, counts: countsOf(cluster) });
    for (const order of orders) {
      cluster.execute(order);
      if (order.type !== 'move' && order.type !== 'transfer') continue;
      if (order.type === 'move') moves++;
      else transfers++;
      reasons[order.reason] = (reasons[order.reason] ?? 0) + 1;
    }
    if (orders.length === 0)
      return {
        rounds,
        moves,
        transfers,
        movedBytes: cluster.movedBytes - startBytes,
        planMs,
        reasons,
        shape,
      };
    cluster.completeAll();
  }
  throw new Error(`there is no end after ${MAX_ROUNDS} rounds`);
}

function mostPartners(cluster: ModelledCluster): number {
  const partners = new Map<number, Set<number>>();
  for (const { descriptor } of cluster.tablets.values())
    for (const { node } of descriptor.replicas)
      for (const other of descriptor.replicas) {
        if (other.node === node) continue;
        let met = partners.get(node);
        if (!met) {
          met = new Set();
          partners.set(node, met);
        }
        met.add(other.node);
      }
  return Math.max(...[...partners.values()].map(({ size }) => size));
}

function bytesOn(cluster: ModelledCluster, node: number): number {
  let sum = 0;
  for (const { tablet } of cluster.placed.get(node)?.values() ?? [])
    sum += cluster.tablets.get(tablet)?.sizeBytes ?? 0;
  return sum;
}

const gib = (bytes: number) => `${Math.round(bytes / GIB)} GiB`;
const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
const out = (text: string) => process.stdout.write(`${text}\n`);

function tell(what: string, cluster: ModelledCluster, course: Course, leastBytes: number): void {
  const { rounds, moves, transfers, movedBytes, planMs, reasons } = course;
  const median = [...planMs].sort((a, b) => a - b)[Math.floor(planMs.length / 2)] ?? 0;
  out(`${what}:`);
  out(`  rounds ${rounds}, moves ${moves}, transfers ${transfers} (${JSON.stringify(reasons)})`);
  const ratio = leastBytes > 0 ? `, ${(movedBytes / leastBytes).toFixed(2)} of the least possible` : '';
  out(`  bytes moved ${gib(movedBytes)}${ratio}`);
  out(`  CPU time of a plan ${seconds(median)} (median), ${seconds(Math.max(...planMs))} at most`);
  const counts = [...countsOf(cluster)]
    .filter(([id]) => cluster.nodes.get(id)?.isUp)
    .map(([, count]) => count);
  out(
    `  replicas on a node ${Math.min(...counts)} to ${Math.max(...counts)}; most partners ${mostPartners(cluster)}`,
  );
}

function runPlan(): void {
  const random = new SeededRandom(1);
  const cluster = built(random);
  const totalBytes = [...cluster.tablets.values()].reduce((sum, { sizeBytes }) => sum + 3 * sizeBytes, 0);
  out(
    `${options.nodes} nodes in ${options.zones} zones, ${options.tablets} tablets, ${gib(totalBytes)} with all replicas`,
  );
  tell('as it was built', cluster, settle(cluster), 0);
  tell('the same load again', cluster, settle(cluster), 0);
  for (const tablet of cluster.tablets.values()) tablet.operationsPerSecond *= 0.95 + random.float() / 10;
  tell('every load changed by up to 5 %', cluster, settle(cluster), 0);

  const before = options.nodes;
  const added = Math.ceil(before / 10);
  for (let id = before + 1; id <= before + added; id++)
    cluster.addNode(id, `h${id}`, `z${id % options.zones}`);
  const grown = settle(cluster);
  // The new nodes must get so much to be within the band.
  const leastBytes = (totalBytes * added * (1 - SETTINGS.band)) / (before + added);
  tell(`${added} nodes added`, cluster, grown, leastBytes);
  if (options.svg) fs.writeFileSync(options.svg, chart(grown, before));

  const lost = 1;
  const lostBytes = bytesOn(cluster, lost);
  const receivedBefore = new Map([...cluster.nodes.keys()].map((id) => [id, bytesOn(cluster, id)]));
  (cluster.nodes.get(lost) as { isUp: boolean }).isUp = false;
  cluster.nowMs += 2 * SETTINGS.deadAfterMs;
  const replaced = settle(cluster);
  tell('one node lost', cluster, replaced, lostBytes);
  const received = [...cluster.nodes.keys()].map(
    (id) => bytesOn(cluster, id) - (receivedBefore.get(id) ?? 0),
  );
  const most = Math.max(...received);
  out(
    `  ${received.filter((bytes) => bytes > 0).length} nodes got something, at most ${gib(most)} each: ` +
      `${seconds((most / SENT_BYTES_PER_SECOND) * 1000)} at ${SENT_BYTES_PER_SECOND / MIB} MiB/s`,
  );
}

function chart({ shape }: Course, before: number): string {
  const last = shape.at(-1)?.movedBytes ?? 0;
  const series = (name: string, isIn: (id: number) => boolean, of: (counts: number[]) => number) => ({
    name,
    points: shape.map(({ movedBytes, counts }) => ({
      x: last > 0 ? movedBytes / GIB : 0,
      y: of([...counts].filter(([id]) => isIn(id)).map(([, count]) => count)),
    })),
  });
  const isOld = (id: number) => id <= before;
  return lineChart({
    title: `${shape[0]?.counts.size} nodes, a tenth of them new: replicas per node while plan moves them (modelled)`,
    xLabel: 'GiB moved so far',
    yLabel: 'replicas on a node',
    series: [
      series('fullest old node', isOld, (counts) => Math.max(...counts)),
      series('emptiest old node', isOld, (counts) => Math.min(...counts)),
      series(
        'fullest new node',
        (id) => !isOld(id),
        (counts) => Math.max(...counts),
      ),
      series(
        'emptiest new node',
        (id) => !isOld(id),
        (counts) => Math.min(...counts),
      ),
    ],
  });
}

/** So many tablets for every number of nodes. */
const REAL_TABLETS = 18;

async function real(): Promise<void> {
  if (!Quota.isPossible()) throw new Error('this system has no CPU quotas of cgroup version 1');
  const { nodeCounts, share, seconds, clients } = options;
  const runs = await runReal({ nodeCounts, share, seconds, clients, tablets: REAL_TABLETS });
  out(
    `${REAL_TABLETS} tablets of three replicas, each node with ${share} of a processor and ${clients} puts under way:`,
  );
  out('nodes  puts/s  of 3 nodes  p50 ms  p99 ms  nodes µs/put  quota used  busiest  syncs/put');
  for (const run of runs)
    out(
      [
        ...[run.nodes, Math.round(run.putsPerSecond), ratioOf(run, runs[0]).toFixed(2), run.p50Ms.toFixed(0)],
        ...[run.p99Ms.toFixed(0), run.nodesUsPerPut.toFixed(0), percent(run.quotaUsed), percent(run.busiest)],
        run.syncsPerPut.toFixed(2),
      ].join('  '),
    );
  if (options.svg) fs.writeFileSync(options.svg, realChart(runs));
}

const percent = (part: number) => `${Math.round(100 * part)} %`;
const ratioOf = (run: RealRun, first: RealRun | undefined) => run.putsPerSecond / (first?.putsPerSecond ?? 1);

function realChart(runs: readonly RealRun[]): string {
  const [first] = runs;
  const perNode = first ? first.putsPerSecond / first.nodes : 0;
  const points = (y: (run: RealRun) => number) => runs.map((run) => ({ x: run.nodes, y: y(run) }));
  return lineChart({
    title: `Puts per second over nodes, each with ${options.share} of a processor (measured)`,
    xLabel: 'nodes',
    yLabel: 'puts/s',
    series: [
      { name: 'measured', points: points(({ putsPerSecond }) => putsPerSecond) },
      { name: 'as many per node', points: points(({ nodes }) => nodes * perNode) },
    ],
  });
}

if (options.plan) runPlan();
else if (options.real) await real();
else command.help();
