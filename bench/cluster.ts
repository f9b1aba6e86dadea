/**
 * Load on a cluster of real processes on this machine: closed-loop clients, each with a connection and a session of its
 * own, every acknowledged write synced by a majority.
 *
 *     npm run bench:cluster -- --nodes 3 --clients 100 --seconds 60 --workload put --value-bytes 256
 */
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import { build } from 'hdr-histogram-js';
import { RaftreeClient } from '../src/client/client.js';
import type { NodeConfigInput } from '../src/server/config.js';

interface LoadOptions {
  readonly nodes: number;
  readonly clients: number;
  readonly seconds: number;
  readonly keys: number;
  readonly valueBytes: number;
  readonly workload: 'put' | 'get' | 'mixed';
  readonly basePort: number;
  readonly directory?: string;
  readonly profile?: true;
  readonly json?: true;
}

const MAIN = fileURLToPath(new URL('../src/cli/main.js', import.meta.url));

const options = new Command('bench:cluster')
  .option('--nodes <n>', 'nodes to start', Number, 3)
  .option('--clients <n>', 'clients, each with one request under way', Number, 100)
  .option('--seconds <n>', 'how long to measure', Number, 60)
  .option('--keys <n>', 'keys to choose from', Number, 100_000)
  .option('--value-bytes <n>', 'size of a value', Number, 256)
  .option('--base-port <n>', 'first client port', Number, 17_001)
  .option('--directory <path>', 'where the nodes keep their state (default: a temporary folder)')
  .addOption(new Option('--workload <name>').choices(['put', 'get', 'mixed']).default('put'))
  .option('--profile', 'write a CPU profile of every node into the directory')
  .option('--json', 'print the result as JSON')
  .parse()
  .opts<LoadOptions>();

const directory = options.directory ?? fs.mkdtempSync(path.join(os.tmpdir(), 'raftree-bench-'));
const nodes = Array.from({ length: options.nodes }, (_, i) => ({
  id: i + 1,
  client: `127.0.0.1:${options.basePort + i}`,
  peer: `127.0.0.1:${options.basePort + 100 + i}`,
}));
const endpoints = nodes.map((node) => node.client);

const children = nodes.map(({ id }) => {
  const config: NodeConfigInput = {
    clusterId: 'bench',
    nodeId: id,
    dataDirectory: `n${id}`,
    nodes,
    log: { level: 'warn' },
  };
  const file = path.join(directory, `n${id}.json`);
  fs.writeFileSync(file, JSON.stringify(config));
  const profile = options.profile ? ['--cpu-prof', `--cpu-prof-dir=${directory}`] : [];
  return spawn(process.execPath, [...profile, MAIN, 'start', file], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
});

const value = Buffer.alloc(options.valueBytes);
for (let i = 0; i < value.length; i++) value[i] = 32 + ((i * 7) % 95);

/** xorshift32: the same keys in every run. */
let state = 0x9e3779b9;
function random(below: number): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
}
const keyOf = (n: number) => `key${String(n).padStart(13, '0')}`;

const clients = Array.from(
  { length: options.clients },
  () => new RaftreeClient({ endpoints, timeoutMs: 30_000, window: 16 }),
);
const histogram = build({
  lowestDiscernibleValue: 1,
  highestTrackableValue: 60_000_000,
  numberOfSignificantValueDigits: 3,
});
const perSecond: number[] = [];
let errors = 0;
let firstError: unknown;

async function load(client: RaftreeClient, startedMs: number, endMs: number): Promise<void> {
  for (;;) {
    const beginMs = performance.now();
    if (beginMs >= endMs) return;
    const key = keyOf(random(options.keys));
    const reads = options.workload === 'get' || (options.workload === 'mixed' && random(2) === 0);
    try {
      if (reads) await client.get(key);
      else await client.put(key, value);
    } catch (error) {
      errors++;
      firstError ??= error;
      continue;
    }
    const nowMs = performance.now();
    histogram.recordValue(Math.max(1, Math.round((nowMs - beginMs) * 1000)));
    const second = Math.floor((nowMs - startedMs) / 1000);
    perSecond[second] = (perSecond[second] ?? 0) + 1;
  }
}

try {
  // The first answer comes when a leader is elected; every client opens its connection and session before the clock
  // starts.
  await Promise.all(clients.map((client, i) => client.put(keyOf(i), value)));
  if (options.workload !== 'put') {
    const loader = new RaftreeClient({ endpoints, timeoutMs: 60_000 });
    for (let from = 0; from < options.keys; from += 1000) {
      const count = Math.min(1000, options.keys - from);
      await Promise.all(Array.from({ length: count }, (_, i) => loader.put(keyOf(from + i), value)));
    }
    await loader.close();
  }
  const startedMs = performance.now();
  await Promise.all(clients.map((client) => load(client, startedMs, startedMs + options.seconds * 1000)));
  const whole = perSecond.slice(0, options.seconds);
  const result = {
    workload: options.workload,
    nodes: options.nodes,
    clients: options.clients,
    valueBytes: options.valueBytes,
    seconds: options.seconds,
    operations: histogram.totalCount,
    perSecond: Math.round(histogram.totalCount / options.seconds),
    slowestSecond: Math.min(...whole),
    p50Ms: histogram.getValueAtPercentile(50) / 1000,
    p99Ms: histogram.getValueAtPercentile(99) / 1000,
    p999Ms: histogram.getValueAtPercentile(99.9) / 1000,
    maxMs: histogram.maxValue / 1000,
    errors,
  };
  if (options.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  else
    for (const [name, figure] of Object.entries(result))
      process.stdout.write(`${name.padEnd(14)} ${figure}\n`);
  if (firstError)
    process.stderr.write(`first error: ${firstError instanceof Error ? firstError.message : firstError}\n`);
} finally {
  await Promise.all(clients.map((client) => client.close()));
  await Promise.all(
    children.map((child) => {
      const gone = new Promise((resolve) => child.once('close', resolve));
      child.kill('SIGTERM');
      return gone;
    }),
  );
  if (options.directory === undefined) fs.rmSync(directory, { recursive: true, force: true });
}
process.exitCode = errors > 0 ? 1 : 0;
