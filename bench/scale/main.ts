/**
 * How the cluster grows. Real nodes under CPU quotas (real.ts), of which each run becomes a line of a file:
 *
 *     npm run bench:scale -- --real --node-counts 3,6,9 --runs runs.jsonl
 *
 * A cost model (cost-model.ts, modelled-hosts.ts), calibrated with the runs of three nodes in that file, held against
 * its other runs, and then asked about more nodes:
 *
 *     npm run bench:scale -- --model --runs runs.jsonl
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
import { DEFAULT_BALANCE_SETTINGS, type Descriptor } from '../../src/balance/cluster-map.js';
import type { Order } from '../../src/balance/orders.js';
import { planInSteps } from '../../src/balance/plan.js';
import { encodeRecord, tabletKey } from '../../src/meta/records.js';
import { reportSchema } from '../../src/server/balance-report.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { CALIBRATED_NODES, calibrated, foretold, MOST_ERROR, median } from './foretell.js';
import { lineChart } from './line-chart.js';
import { ModelledCluster } from './modelled-cluster.js';
import { Quota } from './quota.js';
import { type RealRun, runReal, type Window } from './real.js';

interface ScaleOptions {
  readonly plan?: true;
  readonly real?: true;
  readonly model?: true;
  readonly runs?: string;
  readonly syncMs: number;
  readonly usPerSync: number;
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
/** Defaults of `balance`. */
const BALANCE_EVERY_MS = 10_000;
const MAX_MOVES = 4;
const COPYSETS_PER_NODE = 6;
const MAX_ROUNDS = 1000;

/** Those of docs/scale.md. */
const RUNS = 'docs/benchmarks/scale-runs.jsonl';

const command = new Command('bench:scale')
  .option('--real', 'real nodes, each with the same share of a processor')
  .option('--node-counts <list>', 'real nodes', (text) => text.split(',').map(Number), [3, 6, 9])
  .option('--share <part>', 'of one processor, for each real node', Number, 0.1)
  .option('--seconds <n>', 'measured time of each window of real nodes', Number, 8)
  .option('--clients <n>', 'puts under way, for each real node', Number, 64)
  .option('--model', 'the cost model, from what was measured')
  .option('--runs <file>', `--real adds its runs to it, --model reads them (default: ${RUNS})`)
  .option('--sync-ms <n>', 'how long a sync of the disk takes, for --model', Number, 2)
  .option('--us-per-sync <n>', 'how much of a processor it takes, for --model', Number, 430)
  .option('--plan', 'the balancer on a modelled cluster')
  .option('--nodes <n>', 'nodes', Number, 1000)
  .option('--tablets <n>', 'tablets, of three replicas each', Number, 100_000)
  .option('--zones <n>', 'zones', Number, 10)
  .option('--moves-per-node <n>', 'moves to a node, and from it, in a round', Number, 16)
  .option(
    '--svg <file>',
    'write a chart: puts per second over nodes, with --model; with --plan, replicas on new and old nodes',
  )
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
  readonly longestStepMs: number;
  /** By reason. */
  readonly reasons: Readonly<Record<string, number>>;
  /** Bytes moved so far, and the replicas of each node, after each round. */
  readonly shape: readonly { readonly movedBytes: number; readonly counts: ReadonlyMap<number, number> }[];
}

function countsOf(cluster: ModelledCluster): Map<number, number> {
  return new Map([...cluster.placed].map(([node, { size }]) => [node, size]));
}

interface Planned {
  readonly orders: readonly Order[];
  /** Processor time. */
  readonly ms: number;
  /** Processor time for which the event loop of the leader of meta stands still. */
  readonly longestStepMs: number;
}

function planned(cluster: ModelledCluster): Planned {
  const { map } = cluster;
  const reports = cluster.reports();
  const cpuMs = () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  };
  const beganMs = cpuMs();
  const steps = planInSteps(map, reports, SETTINGS, cluster.nowMs);
  let longestStepMs = 0;
  for (let startMs = beganMs; ; ) {
    const step = steps.next();
    const nowMs = cpuMs();
    longestStepMs = Math.max(longestStepMs, nowMs - startMs);
    if (step.done) return { orders: step.value, ms: nowMs - beganMs, longestStepMs };
    startMs = nowMs;
  }
}

/** Plans and carries out until nothing is chosen any more. */
function settle(cluster: ModelledCluster): Course {
  const planMs: number[] = [];
  const shape: Course['shape'][number][] = [];
  const reasons: Record<string, number> = {};
  const startBytes = cluster.movedBytes;
  let [moves, transfers, longest] = [0, 0, 0];
  for (let rounds = 0; rounds < MAX_ROUNDS; rounds++) {
    cluster.nowMs += SETTINGS.loadWindowMs;
    cluster.elect();
    const { orders, ms, longestStepMs } = planned(cluster);
    planMs.push(ms);
    longest = Math.max(longest, longestStepMs);
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
        longestStepMs: longest,
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
  const { rounds, moves, transfers, movedBytes, planMs, longestStepMs, reasons } = course;
  const median = [...planMs].sort((a, b) => a - b)[Math.floor(planMs.length / 2)] ?? 0;
  out(`${what}:`);
  out(`  rounds ${rounds}, moves ${moves}, transfers ${transfers} (${JSON.stringify(reasons)})`);
  const ratio = leastBytes > 0 ? `, ${(movedBytes / leastBytes).toFixed(2)} of the least possible` : '';
  out(`  bytes moved ${gib(movedBytes)}${ratio}`);
  out(
    `  CPU time of a plan ${seconds(median)} (median), ${seconds(Math.max(...planMs))} at most; longest step ${Math.round(longestStepMs)} ms`,
  );
  const counts = [...countsOf(cluster)]
    .filter(([id]) => cluster.nodes.get(id)?.isUp)
    .map(([, count]) => count);
  out(
    `  replicas on a node ${Math.min(...counts)} to ${Math.max(...counts)}; most partners ${mostPartners(cluster)}`,
  );
}

/** What the map takes, and what the leader of meta is told in each interval of `balance.everyMs`. */
function tellMeta(cluster: ModelledCluster): void {
  const place = { start: Buffer.alloc(4, 1), end: Buffer.alloc(4, 2) };
  const records = [...cluster.tablets.values()].map(
    ({ descriptor }) =>
      tabletKey(descriptor.id).length + encodeRecord({ ...descriptor, ...place } as Descriptor).length,
  );
  const mapBytes = records.reduce((sum, bytes) => sum + bytes, 0);
  const texts = cluster
    .reports()
    .nodes.map(({ replicas }) => JSON.stringify({ host: 'host-1', zone: 'zone-1', isFull: false, replicas }));
  const reportBytes = texts.reduce((sum, { length }) => sum + length, 0);
  const before = process.cpuUsage();
  for (const text of texts) reportSchema.safeParse(JSON.parse(text));
  const { user, system } = process.cpuUsage(before);
  out(`the map: ${records.length} records of tablets, ${(mapBytes / MIB).toFixed(1)} MiB`);
  out(
    `reports: ${(reportBytes / MIB).toFixed(1)} MiB every ${seconds(BALANCE_EVERY_MS)}, ` +
      `to be read in ${seconds((user + system) / 1000)} of CPU time`,
  );
}

function runPlan(): void {
  const random = new SeededRandom(1);
  const cluster = built(random);
  const totalBytes = [...cluster.tablets.values()].reduce((sum, { sizeBytes }) => sum + 3 * sizeBytes, 0);
  out(
    `${options.nodes} nodes in ${options.zones} zones, ${options.tablets} tablets, ${gib(totalBytes)} with all replicas`,
  );
  tellMeta(cluster);
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
  const together = MAX_MOVES * SENT_BYTES_PER_SECOND;
  out(
    `  ${gib(lostBytes)} to be replaced, ${MAX_MOVES} moves at a time at ${SENT_BYTES_PER_SECOND / MIB} MiB/s each: ` +
      `${seconds((lostBytes / together) * 1000)}, and before that ${seconds(SETTINGS.deadAfterMs)} of silence`,
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

/** So many tablets for three to nine nodes. */
const REAL_TABLETS = 18;
const VALUE_BYTES = 256;
/** With more nodes each leads as many tablets as each of nine did. */
const TABLETS_PER_NODE = 2;
const MODELLED_NODES = [12, 24, 48];

const plain = (): Window => ({
  ...{ share: options.share, clients: options.clients, valueBytes: VALUE_BYTES },
  connections: 1,
});

/** Of three nodes: there is much of one thing in one run, and of another in the next. */
const CALIBRATION: readonly { readonly tablets: number; readonly windows: readonly Partial<Window>[] }[] = [
  {
    tablets: REAL_TABLETS,
    windows: [
      ...[{}, { clients: 8 }, { clients: 24 }, { clients: 192 }, { valueBytes: 2048 }, { clients: 0 }],
    ],
  },
  { tablets: 6, windows: [{}, { clients: 16 }] },
  { tablets: 54, windows: [{}, { clients: 16 }] },
];

async function real(): Promise<void> {
  if (!Quota.isPossible()) throw new Error('this system has no CPU quotas of cgroup version 1');
  const { nodeCounts, seconds } = options;
  out('nodes  tablets  puts under way  bytes');
  out('  puts/s  p50 ms  p99 ms  nodes µs/put  quota used  busiest  syncs/put');
  const clusters = nodeCounts.flatMap((nodes) =>
    nodes === CALIBRATED_NODES
      ? CALIBRATION.map((each) => ({ nodes, ...each }))
      : [{ nodes, tablets: REAL_TABLETS, windows: [{}] }],
  );
  for (const { nodes, tablets, windows } of clusters) {
    const all = windows.map((window) => ({ ...plain(), ...window }));
    for (const run of await runReal({ nodes, tablets, seconds, windows: all })) {
      if (options.runs) fs.appendFileSync(options.runs, `${JSON.stringify(run)}\n`);
      const { clients, valueBytes } = run;
      out([nodes, tablets, clients, valueBytes].join('  '));
      const figures = [run.putsPerSecond, run.p50Ms, run.p99Ms, run.nodesUsPerPut].map(Math.round);
      out(
        `  ${[...figures, percent(run.quotaUsed), percent(run.busiest), run.syncsPerPut.toFixed(2)].join('  ')}`,
      );
    }
  }
}

const percent = (part: number) => `${Math.round(100 * part)} %`;

interface Point {
  readonly nodes: number;
  readonly putsPerSecond: number;
}

/** Of the runs with so many nodes that differ in nothing else. */
function measuredWith(runs: readonly RealRun[], nodes: number): Point | undefined {
  const window = plain();
  const alike = runs.filter(
    (run) =>
      run.nodes === nodes &&
      run.connections === 1 &&
      run.tablets === REAL_TABLETS &&
      run.clients === window.clients &&
      run.share === window.share &&
      run.valueBytes === window.valueBytes,
  );
  if (alike.length === 0) return undefined;
  return { nodes, putsPerSecond: median(alike.map(({ putsPerSecond }) => putsPerSecond)) };
}

function model(): void {
  const runs = fs
    .readFileSync(options.runs ?? RUNS, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as RealRun);
  const { syncMs, usPerSync } = options;
  const costs = calibrated(runs, { syncMs, usPerSync });
  const told = Object.entries(costs).map(([kind, us]) => `${kind} ${us.toPrecision(3)}`);
  out(`µs of a processor, from runs with ${CALIBRATED_NODES} nodes: ${told.join(', ')}`);
  const at = (nodes: number, tablets: number, hasOneDisk: boolean) =>
    foretold({ ...plain(), nodes, tablets, syncMs, hasOneDisk }, costs);
  out('nodes  puts/s measured  modelled  off by  CPU µs/put modelled');
  const measured = options.nodeCounts.flatMap((nodes) => measuredWith(runs, nodes) ?? []);
  const checked = measured.map(({ nodes, putsPerSecond }) => {
    const result = at(nodes, REAL_TABLETS, true);
    const error = result.putsPerSecond / putsPerSecond - 1;
    const how = nodes === CALIBRATED_NODES ? ' (calibrated with it)' : '';
    out(
      `${nodes}  ${Math.round(putsPerSecond)}  ${Math.round(result.putsPerSecond)}  ${percent(error)}${how}  ` +
        `${Math.round(result.nodesUsPerPut)}`,
    );
    return { nodes, error, putsPerSecond: result.putsPerSecond };
  });
  const foretoldOnes = checked.filter(({ nodes }) => nodes !== CALIBRATED_NODES);
  const isGood = foretoldOnes.length > 0 && checked.every(({ error }) => Math.abs(error) <= MOST_ERROR);
  if (!isGood)
    out(`The model is off by more than ${percent(MOST_ERROR)}: it says nothing of other numbers of nodes.`);
  const more = isGood
    ? MODELLED_NODES.map((nodes) => {
        const { putsPerSecond, nodesUsPerPut, p50Ms } = at(nodes, TABLETS_PER_NODE * nodes, false);
        out(
          `${nodes}  modelled, each with a disk of its own: ${Math.round(putsPerSecond)} puts/s, ` +
            `${Math.round(nodesUsPerPut)} µs/put, p50 ${Math.round(p50Ms)} ms`,
        );
        return { nodes, putsPerSecond };
      })
    : [];
  if (options.svg) fs.writeFileSync(options.svg, putsChart(measured, checked, more));
}

function putsChart(measured: readonly Point[], checked: readonly Point[], more: readonly Point[]): string {
  const points = (some: readonly Point[]) =>
    some.map(({ nodes, putsPerSecond }) => ({ x: nodes, y: putsPerSecond }));
  return lineChart({
    title: `Puts per second over nodes, each with ${options.share} of a processor`,
    xLabel: 'nodes',
    yLabel: 'puts/s',
    series: [
      { name: 'measured', points: points(measured), marks: 'full' },
      { name: 'modelled, one disk', points: points(checked), marks: 'hollow', isDashed: true },
      { name: 'modelled, a disk each', points: points(more), marks: 'hollow', isDashed: true },
    ].filter((each) => each.points.length > 0) as Parameters<typeof lineChart>[0]['series'],
  });
}

if (options.plan) runPlan();
else if (options.real) await real();
else if (options.model) model();
else command.help();
