/**
 * What many keys that expire at once cost others: a cluster of real processes holds keys whose deadlines lie close to
 * each other, and another client goes on putting.
 *
 *     npm run bench:expiry -- --keys 1000000 --within-ms 1000 --rate 500
 *
 * Three times: `quiet`, the keys are there and live; `expiring`, from the first deadline until the last key is deleted;
 * `after`, what deletions leave behind is compacted. In each, puts are due at a fixed rate, and the time of a put
 * counts from when it was due: a stall counts for all that had to wait.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { RaftreeClient } from '../src/client/client.js';
import { Recorder } from './cluster/load/recorder.js';
import { ValuePool } from './cluster/load/records.js';
import { stopAll } from './cluster/processes.js';
import { OWN_MAIN, RaftreeSystem } from './cluster/systems/raftree-system.js';
import type { LoopDelay } from './cluster/systems/system.js';
import { keyOf } from './data.js';

interface ExpiryOptions {
  readonly keys: number;
  readonly withinMs: number;
  readonly valueBytes: number;
  readonly rate: number;
  readonly seconds: number;
  readonly leadSeconds: number;
  readonly mostSeconds: number;
  readonly main: string;
  readonly directory: string;
  readonly profile?: string;
  readonly json?: true;
}

interface Phase {
  readonly name: string;
  readonly seconds: number;
  readonly puts: number;
  readonly errors: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly longestMs: number;
  /** How late timers ran at most, by role. */
  readonly loopDelayMs: Readonly<Record<string, LoopDelay>>;
}

const options = new Command('bench:expiry')
  .description('What many keys that expire at once cost a client that puts others. Linux only.')
  .option('--keys <n>', 'how many expire', Number, 1_000_000)
  .option('--within-ms <n>', 'how far their deadlines lie apart; 0: as near as can be', Number, 1000)
  .option('--value-bytes <n>', 'of each value', Number, 100)
  .option('--rate <n>', 'puts of the other client in a second', Number, 500)
  .option('--seconds <n>', 'how long it is measured before they expire, and after', Number, 8)
  .option('--lead-seconds <n>', 'from the first of these keys to its deadline', Number, 35)
  .option('--most-seconds <n>', 'how long it is measured while they expire', Number, 300)
  .option('--main <file>', 'dist/src/cli/main.js of the build to measure', OWN_MAIN)
  .option('--directory <path>', 'where the data go: a folder in it, which is removed', tmpdir())
  .option('--profile <path>', 'write a CPU profile of every node and time into this folder')
  .option('--json', 'print the result as JSON')
  .parse()
  .opts<ExpiryOptions>();

/** Keys of a batch, and batches under way. */
const BATCH_KEYS = 500;
const BATCHES = 8;
const LOOK_EVERY_MS = 100;

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Puts at a fixed rate, whatever the cluster does, as long as they are wanted. */
class Puts {
  readonly #client: RaftreeClient;
  readonly #values = new ValuePool(256, 0, 1);
  readonly #startMs = performance.now();
  readonly #underWay = new Set<Promise<void>>();
  #due = 0;
  #timer: NodeJS.Timeout | undefined;
  #recorder = new Recorder(performance.now());
  #errors = 0;

  constructor(client: RaftreeClient) {
    this.#client = client;
    this.#timer = setInterval(() => this.#begin(), 1);
  }

  /** What was recorded since the last call. */
  take(): { readonly recorder: Recorder; readonly errors: number } {
    const taken = { recorder: this.#recorder, errors: this.#errors };
    this.#recorder = new Recorder(performance.now());
    this.#errors = 0;
    return taken;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#underWay);
  }

  #begin(): void {
    for (;;) {
      const dueMs = this.#startMs + (this.#due * 1000) / options.rate;
      if (dueMs > performance.now()) return;
      const put = this.#client.put(`put/${this.#due++ % 10_000}`, this.#values.next()).then(
        () => {
          this.#recorder.countEnd(performance.now());
          this.#recorder.record(performance.now() - dueMs);
        },
        () => {
          this.#errors++;
        },
      );
      this.#underWay.add(put);
      void put.finally(() => this.#underWay.delete(put));
    }
  }
}

/** Puts the keys with lives that end together. */
async function load(client: RaftreeClient, firstDeadlineMs: number): Promise<void> {
  const values = new ValuePool(options.valueBytes, 0.5, 2);
  const spreadMs = (i: number) => Math.floor((i * options.withinMs) / options.keys);
  let next = 0;
  const one = async () => {
    while (next < options.keys) {
      const first = next;
      next = Math.min(options.keys, first + BATCH_KEYS);
      const leftMs = firstDeadlineMs - performance.now();
      if (leftMs < options.seconds * 1000)
        throw new Error('the keys were not put in time: raise --lead-seconds, or lower --keys');
      const operations = Array.from({ length: next - first }, (_, i) => ({
        action: 'put' as const,
        key: keyOf(first + i),
        value: values.next(),
        ttlMs: Math.ceil(leftMs) + spreadMs(first + i),
      }));
      await client.batch(operations, { timeoutMs: 60_000 });
    }
  };
  await Promise.all(Array.from({ length: BATCHES }, one));
}

async function measured(
  name: string,
  system: RaftreeSystem,
  puts: Puts,
  until: () => Promise<void>,
): Promise<Phase> {
  const view = await system.inspect();
  await system.beginWindow(view);
  puts.take();
  const startMs = performance.now();
  await until();
  const seconds = (performance.now() - startMs) / 1000;
  const { recorder, errors } = puts.take();
  const { loopDelayMs } = await system.endWindow(view);
  const { p50, p99, p999, max } = recorder.latencyMs();
  const latencies = { p50Ms: p50, p99Ms: p99, p999Ms: p999, longestMs: max };
  return { name, seconds, puts: recorder.ended, errors, ...latencies, loopDelayMs };
}

/** Until no key has a deadline, or it is enough. Returns how many have none any more. */
async function deletions(client: RaftreeClient): Promise<number> {
  const startMs = performance.now();
  for (;;) {
    const { keysWithDeadline } = await client.status();
    const isEnough = performance.now() - startMs > options.mostSeconds * 1000;
    if (keysWithDeadline === 0 || isEnough) return options.keys - keysWithDeadline;
    await sleep(LOOK_EVERY_MS);
  }
}

const COLUMNS: readonly [string, (phase: Phase) => string][] = [
  ['phase    ', ({ name }) => name.padEnd(9)],
  ['seconds', ({ seconds }) => seconds.toFixed(1)],
  ['  puts', ({ puts }) => `${puts}`],
  ['errors', ({ errors }) => `${errors}`],
  ['p50 ms', ({ p50Ms }) => p50Ms.toFixed(1)],
  ['p99 ms', ({ p99Ms }) => p99Ms.toFixed(1)],
  ['p99.9 ms', ({ p999Ms }) => p999Ms.toFixed(1)],
  ['longest ms', ({ longestMs }) => longestMs.toFixed(1)],
  ['loop p99/max ms: leader', ({ loopDelayMs }) => delayOf(loopDelayMs.leader)],
  ['followers', ({ loopDelayMs }) => delayOf(loopDelayMs['follower 1'], loopDelayMs['follower 2'])],
];

function delayOf(...delays: readonly (LoopDelay | undefined)[]): string {
  const known = delays.filter((delay) => delay !== undefined);
  const worst = (of: (delay: LoopDelay) => number) => Math.max(...known.map(of)).toFixed(1);
  return known.length === 0 ? '-' : `${worst(({ p99 }) => p99)}/${worst(({ max }) => max)}`;
}

function print(phases: readonly Phase[], deleted: number): void {
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ keys: options.keys, deleted, phases })}\n`);
    return;
  }
  const line = (texts: readonly string[]) =>
    process.stdout.write(
      `${texts.map((text, i) => text.padStart(COLUMNS[i]?.[0].length ?? 0)).join('  ')}\n`,
    );
  line(COLUMNS.map(([title]) => title));
  for (const phase of phases) line(COLUMNS.map(([, text]) => text(phase)));
  const perSecond = Math.round(deleted / (phases[1]?.seconds ?? 1));
  process.stdout.write(`${deleted} of ${options.keys} keys deleted, ${perSecond} in a second\n`);
}

const directory = mkdtempSync(join(options.directory, 'raftree-bench-'));
const system = new RaftreeSystem({
  ...{
    name: 'raftree',
    main: options.main,
    nodes: 3,
    settings: {},
    nodeOptions: ['--max-semi-space-size=32'],
  },
  ...{ directory, basePort: undefined, profiles: options.profile },
});
try {
  await system.start();
  const { target } = await system.inspect();
  const client = new RaftreeClient({ endpoints: target.endpoints, timeoutMs: 30_000, window: 1024 });
  const firstDeadlineMs = performance.now() + options.leadSeconds * 1000;
  await load(client, firstDeadlineMs);
  const puts = new Puts(client);
  const quietMs = firstDeadlineMs - options.seconds * 1000;
  await sleep(Math.max(0, quietMs - performance.now()));
  const phases = [
    await measured('quiet', system, puts, () => sleep(firstDeadlineMs - performance.now() - 100)),
  ];
  let deleted = 0;
  phases.push(
    await measured('expiring', system, puts, async () => {
      deleted = await deletions(client);
    }),
  );
  phases.push(await measured('after', system, puts, () => sleep(options.seconds * 1000)));
  await puts.stop();
  await client.close();
  print(phases, deleted);
} finally {
  await system.stop();
  await stopAll();
  rmSync(directory, { recursive: true, force: true });
}
