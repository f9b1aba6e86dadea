/**
 * Real nodes, each with the same share of a processor, more and more of them: puts per second over nodes. The load
 * comes from this process, which has no limit. All nodes share one disk.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { RaftreeClient } from '../../src/client/client.js';
import { freePorts } from '../free-ports.js';
import { Quota } from './quota.js';

export interface RealOptions {
  readonly nodeCounts: readonly number[];
  /** Of one processor, for each node. */
  readonly share: number;
  readonly seconds: number;
  /** Puts under way, for each node. */
  readonly clients: number;
  readonly tablets: number;
}

export interface RealRun {
  readonly nodes: number;
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
}

const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const VALUE = Buffer.alloc(256, 'v');
const KEYS = 100_000;
const REPLICAS = 3;
/** Without limits: their code is compiled. */
const WARM_UP_MS = 5000;
/** Under the limits, before it is measured. */
const SETTLE_MS = 2000;
const RAFT = { heartbeatMs: 200, electionTimeoutMinMs: 2000, electionTimeoutMaxMs: 4000 };

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
    return spawn(process.execPath, ['--max-semi-space-size=32', MAIN, 'start', file], { stdio: 'ignore' });
  });
  const quotas = children.map(({ pid = 0 }, i) => new Quota(`raftree-scale-${process.pid}-${i + 1}`, pid));
  return { endpoints: nodes.map(({ client }) => client), children, quotas };
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

async function syncsOf(client: RaftreeClient, endpoints: readonly string[]): Promise<number> {
  const all = await Promise.all(endpoints.map((endpoint) => client.status(endpoint)));
  return all.reduce((sum, { logSyncs }) => sum + logSyncs, 0);
}

async function measured(
  { endpoints, quotas }: Running,
  { share, seconds, clients }: RealOptions,
): Promise<RealRun> {
  const client = new RaftreeClient({ endpoints: [...endpoints], timeoutMs: 60_000, window: 1024 });
  for (let i = 0; i < 100; i++) await client.put(`key/${i}`, VALUE);
  await spreadLeaders(client);
  let isOver = false;
  let latencies: number[] = [];
  const putting = Array.from({ length: clients * endpoints.length }, async (_, number) => {
    for (let i = number; !isOver; i = (i * 7919 + 13) % KEYS) {
      const startMs = performance.now();
      await client.put(`key/${i}`, VALUE);
      latencies.push(performance.now() - startMs);
    }
  });
  await new Promise((resolve) => setTimeout(resolve, WARM_UP_MS));
  for (const quota of quotas) quota.limit(share);
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const syncs = await syncsOf(client, endpoints);
  const used = quotas.map(({ usedMs }) => usedMs);
  latencies = [];
  const startMs = performance.now();
  await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  const tookMs = performance.now() - startMs;
  const puts = latencies.length;
  const sorted = latencies.sort((one, other) => one - other);
  const ms = quotas.map(({ usedMs }, i) => usedMs - (used[i] ?? 0));
  const more = (await syncsOf(client, endpoints)) - syncs;
  isOver = true;
  await Promise.all(putting);
  await client.close();
  const total = ms.reduce((sum, each) => sum + each, 0);
  return {
    nodes: endpoints.length,
    putsPerSecond: (1000 * puts) / tookMs,
    p50Ms: sorted[Math.floor(puts / 2)] ?? 0,
    p99Ms: sorted[Math.floor(0.99 * puts)] ?? 0,
    nodesUsPerPut: (1000 * total) / puts,
    quotaUsed: total / (share * tookMs * endpoints.length),
    busiest: Math.max(...ms) / (share * tookMs),
    syncsPerPut: more / puts,
  };
}

/** One run for each number of nodes. */
export async function runReal(options: RealOptions): Promise<RealRun[]> {
  const runs: RealRun[] = [];
  for (const count of options.nodeCounts) {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'raftree-scale-'));
    const running = await started(count, options.tablets, directory);
    try {
      runs.push(await measured(running, options));
    } finally {
      for (const child of running.children) {
        const gone = new Promise((resolve) => child.once('close', resolve));
        if (child.kill('SIGKILL')) await gone;
      }
      for (const quota of running.quotas) quota.remove();
      fs.rmSync(directory, { recursive: true, force: true });
    }
  }
  return runs;
}
