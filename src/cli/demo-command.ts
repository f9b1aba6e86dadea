/**
 * demo: three nodes with their pages, sample data and a small load, to look at and to play with. A node that ends is
 * started again after a moment, so that one may be killed. Everything is in a folder that is removed at the end.
 */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import type { Command } from 'commander';
import { RaftreeClient } from '../client/client.js';
import { errorMessage, RaftreeError } from '../env/errors.js';
import { realEnv } from '../env/real/real-env.js';
import type { NodeConfigInput } from '../server/config.js';
import { parseCount } from './client-options.js';
import { startNode } from './cluster-command.js';
import { examples } from './examples.js';
import { UsageError } from './exit-codes.js';
import { onStopSignal } from './signals.js';

const IDS = [1, 2, 3] as const;
const DEFAULT_BASE_PORT = 7001;
const HTTP_OFFSET = 1000;
const REDIS_PORT = 6379;
const PEER_OFFSET = 100;
/** Ports that are looked at before the demo gives up. */
const MAX_SHIFT = 50;
const RESTART_AFTER_MS = 8000;
const READY_TIMEOUT_MS = 30_000;
const STORED_EVERY_MS = 20;
const KEYS = 4000;

export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description('three nodes with a page to look at, sample data and a small load; Ctrl-C ends it')
    .option(
      '--base-port <port>',
      'client port of the first node (default: the first free one from 7001)',
      parseCount,
    )
    .addHelpText('after', examples(['raftree demo', 'raftree demo --base-port 9001']))
    .action(({ basePort }: { basePort?: number }) => runDemo(basePort));
}

async function runDemo(wanted: number | undefined): Promise<void> {
  const basePort = await freeBasePort(wanted);
  const respPort = await freeRespPort();
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'raftree-demo-'));
  let isStopping = false;
  const running = new Map<number, ReturnType<typeof startNode>>();
  let stopped: () => void = () => {};
  const stop = new Promise<void>((resolve) => {
    stopped = resolve;
  });
  onStopSignal(() => {
    isStopping = true;
    stopped();
  });
  const client = new RaftreeClient({ endpoints: IDS.map((id) => addressOf(basePort, id)) });
  const pause = (delayMs: number) =>
    Promise.race([stop, new Promise<void>((resolve) => setTimeout(resolve, delayMs).unref())]);
  /** Runs a node, again and again. */
  const keep = async (id: number, file: string) => {
    while (!isStopping) {
      const node = startNode(file, id);
      running.set(id, node);
      await node.ended;
      if (isStopping) return;
      say(`node ${id} has ended; it starts again in ${RESTART_AFTER_MS / 1000} s`);
      await pause(RESTART_AFTER_MS);
    }
  };
  try {
    const kept = IDS.map((id) => keep(id, configOf(directory, { basePort, respPort }, id)));
    const done = (async () => {
      await untilServed(client, () => isStopping);
      if (isStopping) return;
      const { leaderId } = await client.status(undefined, { timeoutMs: READY_TIMEOUT_MS });
      const leader = leaderId || 1;
      say(hints({ basePort, respPort }, leader, running.get(leader)?.child.pid));
      await load(client, pause, () => isStopping);
    })();
    await Promise.race([stop, done]);
    isStopping = true;
    stopped();
    for (const { child } of running.values()) child.kill('SIGTERM');
    await Promise.all(kept);
    await done;
  } finally {
    await client.close();
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function addressOf(basePort: number, id: number, offset = 0): string {
  return `127.0.0.1:${basePort + offset + id - 1}`;
}

interface Ports {
  readonly basePort: number;
  readonly respPort: number;
}

function configOf(directory: string, { basePort, respPort }: Ports, id: number): string {
  const config: NodeConfigInput = {
    ...{ clusterId: 'demo', nodeId: id, dataDirectory: 'store' },
    nodes: IDS.map((each) => ({
      id: each,
      client: addressOf(basePort, each),
      peer: addressOf(basePort, each, PEER_OFFSET),
    })),
    http: { listen: addressOf(basePort, id, HTTP_OFFSET) },
    resp: { listen: addressOf(respPort, id) },
    // Small, so that flushes, compactions and cuts of the log are seen soon.
    storage: {
      ...{ writeBufferBytes: 128 * 1024, raftSegmentBytes: 512 * 1024 },
      ...{ maxRaftLogBytes: 1024 * 1024, trailingEntries: 500 },
    },
    log: { level: 'error' },
  };
  const file = path.join(directory, `n${id}`, 'node.json');
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, JSON.stringify(config));
  return file;
}

/** Whether nobody listens on the ports of all nodes. */
async function areFree(first: number, offsets: readonly number[]): Promise<boolean> {
  const { net } = realEnv();
  for (const id of IDS) {
    for (const offset of offsets) {
      try {
        const address = { host: '127.0.0.1', port: first + offset + id - 1 };
        await (await net.listen(address, (socket) => socket.destroy())).close();
      } catch {
        return false;
      }
    }
  }
  return true;
}

/** That of Redis, unless one runs here. */
async function freeRespPort(): Promise<number> {
  for (let shift = 0; shift < MAX_SHIFT; shift++) {
    const port = REDIS_PORT + shift * IDS.length;
    if (await areFree(port, [0])) return port;
  }
  throw new UsageError(
    `the ports from ${REDIS_PORT} on, for clients of Redis, are in use; free three of them`,
  );
}

/** Throws `UsageError` if ports of the wanted one are in use. */
async function freeBasePort(wanted: number | undefined): Promise<number> {
  const isFree = (basePort: number) => areFree(basePort, [0, PEER_OFFSET, HTTP_OFFSET]);
  const highest = 65_535 - HTTP_OFFSET - IDS.length;
  if (wanted !== undefined) {
    if (wanted > highest) throw new UsageError(`--base-port: expected 1 to ${highest}, got ${wanted}`);
    if (await isFree(wanted)) return wanted;
    throw new UsageError(
      `--base-port: ${wanted}, or a port that goes with it, is in use; choose another one`,
    );
  }
  for (let shift = 0; shift < MAX_SHIFT; shift++) {
    const basePort = DEFAULT_BASE_PORT + shift * IDS.length;
    if (await isFree(basePort)) return basePort;
  }
  throw new UsageError('the usual ports are in use; choose one with --base-port');
}

async function untilServed(client: RaftreeClient, isStopping: () => boolean): Promise<void> {
  try {
    await client.put('demo/started', `at ${realEnv().clock.wallMs()}`, { timeoutMs: READY_TIMEOUT_MS });
  } catch (error) {
    if (isStopping()) return;
    throw new RaftreeError('NODE_FAILED', `the demo did not come to life: ${errorMessage(error)}`);
  }
}

const WORDS = ['apple', 'birch', 'cedar', 'daisy', 'elder', 'fern', 'grape', 'hazel', 'iris', 'jasmine'];

/** Some 50 writes and as many reads a second, until the demo ends. Failures are a part of the show. */
async function load(
  client: RaftreeClient,
  pause: (delayMs: number) => Promise<void>,
  isStopping: () => boolean,
): Promise<void> {
  for (let i = 0; !isStopping(); i++) {
    const word = WORDS[i % WORDS.length] as string;
    const number = String((i * 7919) % KEYS).padStart(4, '0');
    const kind = ['order', 'user', 'session'][i % 3] as string;
    const value = { name: word, number: i, note: `${word} `.repeat(1 + (i % 60)) };
    await Promise.allSettled([
      client.put(`${kind}/${number}`, JSON.stringify(value), { timeoutMs: 3000 }),
      client.get(`user/${number}`, { timeoutMs: 3000 }),
    ]);
    await pause(STORED_EVERY_MS);
  }
}

function hints({ basePort, respPort }: Ports, leader: number, pid: number | undefined): string {
  const pages = IDS.map((id) => `http://${addressOf(basePort, id, HTTP_OFFSET)}/`);
  const at = basePort === DEFAULT_BASE_PORT ? '' : ` --endpoints ${addressOf(basePort, 1)}`;
  return `
Three nodes run. Node ${leader} leads. Open its page:

  ${pages[leader - 1]}      the others: ${pages.filter((_, i) => i !== leader - 1).join(' ')}

Try, in another terminal:
  npx raftree put greeting hello${at}
  curl ${pages[0]}v1/kv/greeting
  redis-cli -p ${respPort} get greeting
  npx raftree top${at}
  npx raftree shell${at}
  kill -9 ${pid ?? 'PID'}   the leader dies, and comes back after ${RESTART_AFTER_MS / 1000} s: look at another page

Ctrl-C ends it and removes its data.
`;
}
