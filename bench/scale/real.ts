/**
 * Real nodes, each with the same share of a processor. The load comes from this process, which has no limit. All nodes
 * share one disk.
 *
 *     start, spread the leaders
 *     warm up      without a limit, until each node has used so much of a processor: then its code is compiled
 *     each window  limits, some time to settle, the measured time
 *
 * A node with a tenth of a processor takes minutes to compile its code. As many seconds of warming up for nine nodes as
 * for three, on the same processors, would leave the nine much colder: they would look slower than they are.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { RaftreeClient } from '../../src/client/client.js';
import { freePorts } from '../free-ports.js';
import type { Counts } from './probe.js';
import { Quota } from './quota.js';

export interface RealOptions {
  readonly nodes: number;
  readonly tablets: number;
  readonly seconds: number;
  /** Measured one after the other, with the same nodes. */
  readonly windows: readonly Window[];
}

export interface Window {
  /** Of one processor, for each node. */
  readonly share: number;
  /** Puts under way, for each node. */
  readonly clients: number;
  readonly valueBytes: number;
  /** Over so many connections to each node. */
  readonly connections: number;
}

/** What a node did while it was measured. */
export interface NodeWork extends Counts {
  readonly cpuMs: number;
}

export interface RealRun extends Window {
  readonly nodes: number;
  readonly tablets: number;
  readonly putsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Processor time of all nodes, for each put. */
  readonly nodesUsPerPut: number;
  /** Of what the quotas allow. */
  readonly quotaUsed: number;
  /** The busiest node, of its own quota. */
  readonly busiest: number;
  readonly syncsPerPut: number;
  readonly tookMs: number;
  readonly work: readonly NodeWork[];
}

const PROBE = new URL('./probe.js', import.meta.url).href;
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const KEYS = 100_000;
export const REPLICAS = 3;
/** Of each node. With 2 s in place of 12 a put costs twice as much. */
const WARM_UP_CPU_MS = 12_000;
const MOST_WARM_UP_MS = 600_000;
const WARM_UP = { clients: 64, connections: 1 };
/** Under the limits, before it is measured. */
const SETTLE_MS = 2000;
export const HEARTBEAT_MS = 200;
const RAFT = { heartbeatMs: HEARTBEAT_MS, electionTimeoutMinMs: 2000, electionTimeoutMaxMs: 4000 };

interface Running {
  readonly endpoints: readonly string[];
  readonly children: readonly ChildProcess[];
  readonly quotas: readonly Quota[];
}

async function started(count: number, tablets: number, directory: string): Promise<Running> {
  const ports = await freePorts(2 * count);
  const at = (i: number) => `127.0.0.1:${ports[i] ?? 0}`;
  const nodes = Array.from({ length: count }, (_, i) => ({
    id: i + 1,
    client: at(2 * i),
    peer: at(2 * i + 1),
  }));
  const placement = { by: 'hash', tablets, replicas: REPLICAS, maxTabletOperationsPerSecond: 0 };
  const children = nodes.map(({ id }) => {
    const file = path.join(directory, `n${id}.json`);
    const config = { clusterId: 'scale', nodeId: id, dataDirectory: `n${id}`, nodes, placement, raft: RAFT };
    fs.writeFileSync(file, JSON.stringify(config));
    return spawn(process.execPath, ['--max-semi-space-size=32', '--import', PROBE, MAIN, 'start', file], {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
  });
  const quotas = children.map(({ pid = 0 }, i) => new Quota(`raftree-scale-${process.pid}-${i + 1}`, pid));
  return { endpoints: nodes.map(({ client }) => client), children, quotas };
}

/** Puts under way, so many as are wanted. */
class Load {
  readonly #endpoints: string[];
  readonly #clients: RaftreeClient[] = [];
  readonly #running = new Map<number, Promise<void>>();
  #wanted = 0;
  #connections = 1;
  #value = Buffer.alloc(0);
  /** In ms, since it was taken last. */
  #latencies: number[] = [];

  constructor(endpoints: readonly string[]) {
    this.#endpoints = [...endpoints];
  }

  want({ clients, valueBytes, connections }: Omit<Window, 'share'>): void {
    while (this.#clients.length < connections)
      this.#clients.push(new RaftreeClient({ endpoints: this.#endpoints, timeoutMs: 60_000, window: 1024 }));
    this.#connections = connections;
    this.#wanted = clients * this.#endpoints.length;
    this.#value = Buffer.alloc(valueBytes, 'v');
    for (let number = 0; number < this.#wanted; number++)
      if (!this.#running.has(number)) this.#running.set(number, this.#putAgainAndAgain(number));
  }

  takeLatencies(): number[] {
    const latencies = this.#latencies;
    this.#latencies = [];
    return latencies;
  }

  async end(): Promise<void> {
    this.#wanted = 0;
    await Promise.all(this.#running.values());
    await Promise.all(this.#clients.map((client) => client.close()));
  }

  async #putAgainAndAgain(number: number): Promise<void> {
    for (let i = number; number < this.#wanted; i = (i * 7919 + 13) % KEYS) {
      const startMs = performance.now();
      await this.#clients[number % this.#connections]?.put(`key/${i}`, this.#value);
      this.#latencies.push(performance.now() - startMs);
    }
    this.#running.delete(number);
  }
}

/** The leaders of the tablets, evenly over their nodes. */
async function spreadLeaders(client: RaftreeClient): Promise<void> {
  const leads = new Map<number, number>();
  for (const { id, replicas } of (await client.tablets()).tablets) {
    const [to = 0] = [...replicas].sort((one, other) => (leads.get(one) ?? 0) - (leads.get(other) ?? 0));
    leads.set(to, (leads.get(to) ?? 0) + 1);
    await client.transferLeadership(to, { tablet: id });
  }
}

function workOf({ children, quotas }: Running): Promise<NodeWork[]> {
  return Promise.all(
    children.map(async (child, i) => {
      const cpuMs = quotas[i]?.usedMs ?? 0;
      const told = new Promise<Counts>((resolve) =>
        child.once('message', resolve as (counts: unknown) => void),
      );
      child.send('counts');
      return { ...(await told), cpuMs };
    }),
  );
}

const COUNTED = ['cpuMs', 'frames', 'messages', 'entries', 'syncs'] as const;

function workBetween(before: readonly NodeWork[], after: readonly NodeWork[]): NodeWork[] {
  return after.map((each, i) => {
    const more = COUNTED.map((name) => [name, each[name] - (before[i]?.[name] ?? 0)] as const);
    return Object.fromEntries(more) as unknown as NodeWork;
  });
}

async function warmUp(quotas: readonly Quota[]): Promise<void> {
  const start = quotas.map(({ usedMs }) => usedMs);
  const isCold = () => quotas.some(({ usedMs }, i) => usedMs - (start[i] ?? 0) < WARM_UP_CPU_MS);
  for (const fromMs = performance.now(); isCold() && performance.now() - fromMs < MOST_WARM_UP_MS; )
    await sleep(100);
}

async function measured(
  running: Running,
  load: Load,
  options: RealOptions,
  window: Window,
): Promise<RealRun> {
  const { endpoints, quotas } = running;
  const { share } = window;
  load.want(window);
  for (const quota of quotas) quota.limit(share);
  await sleep(SETTLE_MS);
  load.takeLatencies();
  const startMs = performance.now();
  const before = workOf(running);
  await sleep(1000 * options.seconds);
  const tookMs = performance.now() - startMs;
  const latencies = load.takeLatencies().sort((one, other) => one - other);
  const work = workBetween(await before, await workOf(running));
  const puts = latencies.length;
  const total = (of: (node: NodeWork) => number) => work.reduce((sum, node) => sum + of(node), 0);
  const cpuMs = total((node) => node.cpuMs);
  return {
    ...{ nodes: endpoints.length, tablets: options.tablets, ...window },
    putsPerSecond: (1000 * puts) / tookMs,
    p50Ms: latencies[Math.floor(puts / 2)] ?? 0,
    p99Ms: latencies[Math.floor(0.99 * puts)] ?? 0,
    nodesUsPerPut: (1000 * cpuMs) / puts,
    quotaUsed: cpuMs / (share * tookMs * endpoints.length),
    busiest: Math.max(...work.map((node) => node.cpuMs)) / (share * tookMs),
    syncsPerPut: total(({ syncs }) => syncs) / puts,
    ...{ tookMs, work },
  };
}

/** One run for each window. */
export async function runReal(options: RealOptions): Promise<RealRun[]> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'raftree-scale-'));
  const running = await started(options.nodes, options.tablets, directory);
  const { endpoints, children, quotas } = running;
  try {
    const client = new RaftreeClient({ endpoints: [...endpoints], timeoutMs: 60_000 });
    await client.put('key/0', 'v');
    await spreadLeaders(client);
    await client.close();
    const load = new Load(endpoints);
    load.want({ ...WARM_UP, valueBytes: options.windows[0]?.valueBytes ?? 0 });
    await warmUp(quotas);
    const runs: RealRun[] = [];
    for (const window of options.windows) runs.push(await measured(running, load, options, window));
    for (const quota of quotas) quota.limit(undefined);
    await load.end();
    return runs;
  } finally {
    for (const child of children) {
      const gone = new Promise((resolve) => child.once('close', resolve));
      if (child.kill('SIGKILL')) await gone;
    }
    for (const quota of quotas) quota.remove();
    fs.rmSync(directory, { recursive: true, force: true });
  }
}
