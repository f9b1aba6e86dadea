/**
 * What one client's small puts take while others ask for much: nobody, 50 clients that scan everything again and again,
 * 100 clients that put values of 7 MB. Three nodes on this machine, each a process; the others are processes of their
 * own too.
 *
 *     node dist/bench/fairness.js --seconds 10 --kinds nothing,scans,large
 *
 * To compare two commits, run each build's own script, in turns.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import { RaftreeClient } from '../src/client/client.js';
import { freePorts } from './free-ports.js';

const SCANNING_CLIENTS = 50;
const LARGE_CLIENTS = 100;
const LARGE_BYTES = 7_000_000;
const KEYS = 10_000;
const VALUE_BYTES = 500;

const values = new Command()
  .option('--seconds <n>', 'of each measurement', '10')
  .option('--kinds <list>', 'what the others do', 'nothing,scans,large')
  .addOption(new Option('--load <kind>', 'as one of the others').hideHelp())
  .addOption(new Option('--endpoints <list>').default('').hideHelp())
  .parse()
  .opts<{ seconds: string; kinds: string; load?: string; endpoints: string }>();
const seconds = Number(values.seconds);
const self = fileURLToPath(import.meta.url);
const main = fileURLToPath(new URL('../src/cli/main.js', import.meta.url));

const clientOf = (endpoints: readonly string[]) =>
  new RaftreeClient({ endpoints: [...endpoints], timeoutMs: 120_000, attemptTimeoutMs: 60_000 });

/** Runs until it is killed. Says every second what it has done. */
async function load(kind: string, endpoints: readonly string[]): Promise<void> {
  let bytes = 0;
  const large = Buffer.alloc(LARGE_BYTES, 'x');
  const work = async (i: number) => {
    const client = clientOf(endpoints);
    for (;;) {
      try {
        if (kind === 'scans')
          for await (const { value } of client.scan({ prefix: 'key' })) bytes += value.length;
        else {
          await client.put(`large ${i}`, large);
          bytes += large.length;
        }
      } catch {
        // Counted as nothing done.
      }
    }
  };
  setInterval(() => process.stdout.write(`${bytes}\n`), 1000);
  await Promise.all(
    Array.from({ length: kind === 'scans' ? SCANNING_CLIENTS : LARGE_CLIENTS }, (_, i) => work(i)),
  );
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function measure(endpoints: readonly string[], kind: string): Promise<void> {
  const others =
    kind === 'nothing'
      ? undefined
      : spawn(process.execPath, [self, '--load', kind, '--endpoints', endpoints.join()], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
  let done = 0;
  others?.stdout.on('data', (text: Buffer) => {
    done = Number(text.toString().trim().split('\n').at(-1));
  });
  const client = clientOf(endpoints);
  if (others) await sleep(4000);
  const times: number[] = [];
  const before = done;
  const startMs = performance.now();
  while (performance.now() < startMs + seconds * 1000) {
    const putMs = performance.now();
    await client.put('small', 'x');
    times.push(performance.now() - putMs);
  }
  const perSecond = (done - before) / ((performance.now() - startMs) / 1000) / 1e6;
  others?.kill('SIGKILL');
  await client.close();
  times.sort((a, b) => a - b);
  const at = (part: number) => (times[Math.floor((times.length - 1) * part)] ?? Number.NaN).toFixed(1);
  console.log(
    `${kind.padEnd(8)} put p50 ${at(0.5)} ms, p99 ${at(0.99)} ms of ${times.length}; the others: ${perSecond.toFixed(0)} MB/s`,
  );
  await sleep(2000);
}

async function run(): Promise<void> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'raftree-fairness-'));
  const ports = await freePorts(6);
  const nodes = [1, 2, 3].map((id) => ({
    id,
    client: `127.0.0.1:${ports[2 * id - 2]}`,
    peer: `127.0.0.1:${ports[2 * id - 1]}`,
  }));
  const children: ChildProcess[] = [];
  const endpoints = nodes.map(({ client }) => client);
  const client = clientOf(endpoints);
  try {
    for (const { id } of nodes) {
      const file = `${directory}/n${id}.json`;
      const limits = { maxValueBytes: 8 * 1024 * 1024 };
      fs.writeFileSync(
        file,
        JSON.stringify({ clusterId: 'fair', nodeId: id, dataDirectory: `n${id}`, nodes, limits }),
      );
      children.push(spawn(process.execPath, [main, 'start', file], { stdio: 'ignore' }));
    }
    const value = Buffer.alloc(VALUE_BYTES, 'v');
    for (let i = 0; i < KEYS; i += 500) {
      await Promise.all(
        Array.from({ length: 500 }, (_, j) => client.put(`key${String(i + j).padStart(6, '0')}`, value)),
      );
    }
    for (const kind of values.kinds.split(',')) await measure(endpoints, kind);
  } finally {
    await client.close();
    for (const child of children) child.kill('SIGKILL');
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

if (values.load === undefined) await run();
else await load(values.load, values.endpoints.split(','));
