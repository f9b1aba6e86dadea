/**
 * What the cost model foretells: its costs are fitted to the runs with three nodes alone, and what it says of other
 * numbers of nodes is held against the runs with so many.
 */
import { type Costs, costsOf, KINDS, type Observed, type Work } from './cost-model.js';
import { type HostsResult, placesOf, runHosts } from './modelled-hosts.js';
import { PERIOD_MS } from './quota.js';
import { HEARTBEAT_MS, REPLICAS, type RealRun } from './real.js';

/** The costs come from runs with so many nodes. */
export const CALIBRATED_NODES = 3;
/** If it is further off, nothing is said of numbers of nodes that were not run. */
export const MOST_ERROR = 0.1;

const SETTLE_MS = 3000;
const MEASURED_MS = 10_000;
/** Hosts begin their periods, and clients their puts, at other times: the run in the middle counts. */
const SEEDS = [1, 2, 3];
/** Of Linux with CONFIG_HZ=250. */
const SCHEDULER_TICK_MS = 4;
/** Within one machine. */
const NETWORK_MS = 0.05;
const ROUNDS = 6;

export interface Disk {
  /** Processor time of a sync. */
  readonly usPerSync: number;
  readonly syncMs: number;
}

export interface Setting {
  readonly nodes: number;
  readonly tablets: number;
  readonly share: number;
  readonly clients: number;
  readonly valueBytes: number;
  readonly syncMs: number;
  /** All nodes have one disk; otherwise each has its own. */
  readonly hasOneDisk: boolean;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  const [low, high] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted[Math.floor(sorted.length / 2)]];
  return ((low ?? Number.NaN) + (high ?? Number.NaN)) / 2;
}

/** What all nodes of a run did. */
function workOf({ work, valueBytes, tookMs }: RealRun): Work {
  const total = (of: (node: RealRun['work'][number]) => number) =>
    work.reduce((sum, node) => sum + of(node), 0);
  return {
    ...{ frames: total(({ frames }) => frames), messages: total(({ messages }) => messages) },
    ...{ entries: total(({ entries }) => entries), bytes: total(({ entries }) => entries * valueBytes) },
    ...{ syncs: total(({ syncs }) => syncs), seconds: (work.length * tookMs) / 1000 },
  };
}

/**
 * The costs with which the model does for each run with three nodes what that did. The model puts more or fewer
 * messages into a frame than a real node does. So first the costs are those of what real nodes did, and then, again and
 * again, of what modelled nodes do for as many puts.
 */
export function calibrated(runs: readonly RealRun[], { usPerSync, syncMs }: Disk): Costs {
  // The model knows one connection of clients to each node.
  const own = runs.filter(({ nodes, connections }) => nodes === CALIBRATED_NODES && connections === 1);
  const cpuMsOf = ({ work }: RealRun) => work.reduce((sum, { cpuMs }) => sum + cpuMs, 0);
  const fitted = (of: (run: RealRun) => Work) =>
    costsOf(
      own.map((run): Observed => ({ work: of(run), cpuMs: cpuMsOf(run) })),
      usPerSync,
    );
  let costs = fitted(workOf);
  for (let round = 0; round < ROUNDS; round++) {
    const next = fitted((run) => {
      if (run.clients === 0) return workOf(run);
      const modelled = inOneRun({ ...run, syncMs, hasOneDisk: true }, costs, 1);
      const factor = (run.putsPerSecond * run.tookMs) / (modelled.putsPerSecond * MEASURED_MS);
      const total = (kind: keyof Work) => modelled.work.reduce((sum, node) => sum + node[kind], 0);
      const work = KINDS.map((kind) => [kind, factor * total(kind)] as const);
      return { ...(Object.fromEntries(work) as unknown as Work), seconds: workOf(run).seconds };
    });
    // Half way: costs and counts depend on each other.
    const halfway = KINDS.map((kind) => [kind, (costs[kind] + next[kind]) / 2] as const);
    costs = Object.fromEntries(halfway) as unknown as Costs;
  }
  return costs;
}

export function foretold(setting: Setting, costs: Costs): HostsResult {
  const results = SEEDS.map((seed) => inOneRun(setting, costs, seed)).sort(
    (one, other) => one.putsPerSecond - other.putsPerSecond,
  );
  return results[Math.floor(results.length / 2)] as HostsResult;
}

function inOneRun(setting: Setting, costs: Costs, seed: number): HostsResult {
  const { nodes, tablets, share, clients, valueBytes, syncMs, hasOneDisk } = setting;
  return runHosts({
    ...{ nodes, share, clients, valueBytes, syncMs, hasOneDisk, costs, seed },
    ...{ tablets: placesOf(nodes, tablets, REPLICAS), networkMs: NETWORK_MS, heartbeatMs: HEARTBEAT_MS },
    ...{ periodMs: PERIOD_MS, schedulerTickMs: SCHEDULER_TICK_MS },
    ...{ settleMs: SETTLE_MS, measuredMs: MEASURED_MS },
  });
}
