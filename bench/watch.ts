/**
 * What watchers cost a node, and what the history of changes costs a put.
 *
 *     npm run bench:watch -- --watchers 10000 --seconds 4 --rounds 3
 *
 * One node is a process, and the clients that watch are another one. In turns, in each round: puts while nobody
 * watches; puts while so many watch other keys; puts while so many watch all keys, each when all were told of the one
 * before. The processor time of the node counts. Then, in this process alone, entries are applied to two state machines
 * in turns: one keeps a history, the other does not.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import { RaftreeClient } from '../src/client/client.js';
import { memoryEngine } from '../src/engines/memory-engine.js';
import { DiskSpace } from '../src/env/disk-space.js';
import { silentLogger } from '../src/env/env.js';
import { realEnv } from '../src/env/real/real-env.js';
import { encodeWrite } from '../src/kv/command.js';
import { KvStateMachine } from '../src/kv/kv-state-machine.js';
import type { WriteOperation } from '../src/kv/requests.js';
import { ChangeHistory } from '../src/kv/watch/change-history.js';
import { HistoryBudget } from '../src/kv/watch/history-budget.js';
import type { Entry } from '../src/raft/types.js';
import { sampleProcess } from './cluster/proc.js';
import { freePorts } from './free-ports.js';

const CONNECTIONS = 20;
const PUTTERS = 50;
const KEYS = 10_000;
const VALUE = Buffer.alloc(256, 'v');
const APPLIED_PER_TURN = 20_000;
const PER_BATCH = 50;
const KINDS = ['nobody', 'other keys', 'all keys'] as const;
type Kind = (typeof KINDS)[number];

const values = new Command()
  .option('--watchers <n>', 'how many watch', '10000')
  .option('--seconds <n>', 'of each measurement', '4')
  .option('--rounds <n>', 'the median of them counts', '3')
  .addOption(new Option('--watch <kind>', 'as the clients that watch').hideHelp())
  .addOption(new Option('--endpoint <address>').default('').hideHelp())
  .parse()
  .opts<{ watchers: string; seconds: string; rounds: string; watch?: Kind; endpoint: string }>();
const watchers = Number(values.watchers);
const seconds = Number(values.seconds);
const rounds = Number(values.rounds);
const self = fileURLToPath(import.meta.url);
const main = fileURLToPath(new URL('../src/cli/main.js', import.meta.url));

const clientOf = (endpoint: string) => new RaftreeClient({ endpoints: [endpoint], timeoutMs: 60_000 });
const keyOf = (i: number) => `key${String(i % KEYS).padStart(6, '0')}`;

/** Watches until it is killed. Says when all have begun, and now and then how many changes it was told. */
async function watch(kind: Kind, endpoint: string): Promise<void> {
  let told = 0;
  let said = 0;
  const open = Array.from({ length: CONNECTIONS }, (_, connection) => {
    const client = clientOf(endpoint);
    return Array.from({ length: watchers / CONNECTIONS }, (_none, i) =>
      client.watch(kind === 'all keys' ? { prefix: 'key' } : { key: `other${connection}-${i}` }),
    );
  }).flat();
  await Promise.all(open.map(({ ready }) => ready));
  process.stdout.write('0\n');
  setInterval(() => {
    if (told === said) return;
    said = told;
    process.stdout.write(`${told}\n`);
  }, 2);
  await Promise.all(
    open.map(async (each) => {
      for await (const _change of each) told++;
    }),
  );
}

interface Figure {
  readonly puts: number;
  readonly told: number;
  readonly cpuUs: number;
}

async function measure(kind: Kind, endpoint: string, node: number, seed: number): Promise<Figure> {
  const client = clientOf(endpoint);
  let told = -1;
  let looked: () => void = () => {};
  const child =
    kind === 'nobody'
      ? undefined
      : spawn(
          process.execPath,
          [self, '--watch', kind, '--endpoint', endpoint, '--watchers', `${watchers}`],
          {
            stdio: ['ignore', 'pipe', 'inherit'],
          },
        );
  child?.stdout.on('data', (text: Buffer) => {
    told = Number(text.toString().trim().split('\n').at(-1));
    looked();
  });
  const untilTold = async (count: number) => {
    while (told < count)
      await new Promise<void>((resolve) => {
        looked = resolve;
      });
  };
  if (child) await untilTold(0);
  const before = sampleProcess(node).cpuUs;
  const endMs = performance.now() + seconds * 1000;
  let puts = 0;
  // Those who are told all keys are many: each put waits until they were told of the one before.
  const putters = kind === 'all keys' ? 1 : PUTTERS;
  await Promise.all(
    Array.from({ length: putters }, async () => {
      while (performance.now() < endMs) {
        await client.put(keyOf(seed + puts++), VALUE);
        if (kind === 'all keys') await untilTold(puts * watchers);
      }
    }),
  );
  const cpuUs = sampleProcess(node).cpuUs - before;
  child?.kill('SIGKILL');
  await client.close();
  return { puts, told: Math.max(0, told), cpuUs };
}

/** The processor time of applying entries, in µs of one: with a history, or without. */
async function applyUs(hasHistory: boolean, entries: readonly Entry[]): Promise<number> {
  const env = realEnv();
  const engine = await memoryEngine.open('none', {
    env,
    logger: silentLogger,
    diskSpace: new DiskSpace(silentLogger, env),
  });
  const history = hasHistory ? new ChangeHistory(new HistoryBudget(env.clock)) : undefined;
  const machine = new KvStateMachine(
    engine,
    async () => engine,
    0,
    () => {},
    undefined,
    history,
  );
  const before = process.cpuUsage();
  for (let at = 0; at < entries.length; at += PER_BATCH)
    await machine.apply(at + 1, entries.slice(at, at + PER_BATCH));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / entries.length;
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}

async function run(): Promise<void> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'raftree-watch-'));
  const [port = 0, peer = 0] = await freePorts(2);
  const endpoint = `127.0.0.1:${port}`;
  const file = `${directory}/n1.json`;
  const nodes = [{ id: 1, client: endpoint, peer: `127.0.0.1:${peer}` }];
  fs.writeFileSync(file, JSON.stringify({ clusterId: 'watch', nodeId: 1, dataDirectory: 'n1', nodes }));
  const node: ChildProcess = spawn(process.execPath, [main, 'start', file], { stdio: 'ignore' });
  const figures: Record<Kind, Figure[]> = { nobody: [], 'other keys': [], 'all keys': [] };
  try {
    const client = clientOf(endpoint);
    for (let i = 0; i < KEYS; i += 500)
      await Promise.all(Array.from({ length: 500 }, (_, j) => client.put(keyOf(i + j), VALUE)));
    await client.close();
    for (let round = 0; round < rounds; round++)
      for (const kind of KINDS)
        figures[kind].push(await measure(kind, endpoint, node.pid ?? 0, round * 1000));
  } finally {
    node.kill('SIGKILL');
    fs.rmSync(directory, { recursive: true, force: true });
  }
  const putUs = (kind: Kind) => median(figures[kind].map(({ cpuUs, puts }) => cpuUs / puts));
  const nobody = putUs('nobody');
  console.log(`a put, nobody watches            ${nobody.toFixed(1)} µs of the node`);
  const ratio = median(
    figures['other keys'].map(({ cpuUs, puts }, i) => {
      const alone = figures.nobody[i] as Figure;
      return cpuUs / puts / (alone.cpuUs / alone.puts);
    }),
  );
  console.log(
    `a put, ${watchers} watch other keys    ${putUs('other keys').toFixed(1)} µs: ${ratio.toFixed(2)} times`,
  );
  const each = median(figures['all keys'].map(({ cpuUs, told }) => cpuUs / told));
  console.log(`a change that ${watchers} are told     ${each.toFixed(2)} µs of the node for each of them`);

  const entries = Array.from({ length: APPLIED_PER_TURN }, (_, i) => ({
    term: 1,
    kind: 'command' as const,
    body: encodeWrite(
      1_000_000,
      { type: 'write', tablet: 1, session: undefined, operations: [putOf(keyOf(i * 7919))] },
      { nowMs: () => 0 },
    ),
  }));
  const applied: Record<'with' | 'without', number[]> = { with: [], without: [] };
  for (let round = 0; round < 2 * rounds + 1; round++)
    for (const kind of round % 2 ? (['with', 'without'] as const) : (['without', 'with'] as const)) {
      const us = await applyUs(kind === 'with', entries);
      // The first round warms up.
      if (round > 0) applied[kind].push(us);
    }
  const difference = median(applied.with.map((us, i) => us - (applied.without[i] as number)));
  console.log(
    `applying a put of 256 bytes      ${median(applied.without).toFixed(2)} µs without a history, ` +
      `${median(applied.with).toFixed(2)} µs with one: ${difference.toFixed(2)} µs more`,
  );
}

function putOf(key: string): WriteOperation {
  const noCondition = { condition: 'always', conditionValue: Buffer.alloc(0), conditionVersion: 0 } as const;
  return { action: 'put', key: Buffer.from(key), value: VALUE, ...noCondition };
}

if (values.watch === undefined) await run();
else await watch(values.watch, values.endpoint);
