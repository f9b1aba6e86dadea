/**
 * What idle groups cost: three real processes with real disks and sockets hold the same groups, and nobody writes.
 *
 *     npm run bench:groups -- --replicas 1,100,1000,2000 --seconds 20
 *
 * For each number of replicas per node: a first start, in which every group gets a leader and one key; a restart, which
 * is timed until all have a leader, and then until all are quiet; some rest; then CPU, memory and descriptors of the
 * three nodes. Memory and descriptors are what the process
 * has above one without any group.
 */
import { type ChildProcess, fork } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { freePorts } from './free-ports.js';
import type { Answer, NodeArguments, Question } from './groups-node.js';

interface GroupsOptions {
  readonly replicas: readonly number[];
  readonly seconds: number;
  readonly restSeconds: number;
  readonly quietAfterMs: number;
  readonly ports?: readonly number[];
  readonly directory?: string;
  readonly profile?: string;
  readonly json?: true;
}

interface Row {
  readonly replicas: number;
  /** Of one core; the mean of the three nodes. */
  readonly cpuShare: number;
  readonly kibPerReplica: number;
  readonly residentMib: number;
  readonly descriptorsPerReplica: number;
  readonly messagesPerSecond: number;
  readonly writtenKibPerSecond: number;
  /** From the start of the process until all groups are open. */
  readonly openMs: number;
  /** From there until every group has a leader. */
  readonly electMs: number;
  /** From there until every group is quiet on every node; 0 if they stay awake. */
  readonly quietMs: number;
}

const NODE = fileURLToPath(new URL('./groups-node.js', import.meta.url));
/** Two processors need two minutes until each of 2,000 new groups has a leader that stays, if nothing else runs. */
const MOST_WAIT_MS = 600_000;

const options = new Command('bench:groups')
  .option('--replicas <list>', 'replicas per node, one row each', numbers, [1, 100, 1000, 2000])
  .option('--seconds <n>', 'how long to measure', Number, 20)
  .option('--rest-seconds <n>', 'how long the groups rest before', Number, 5)
  .option('--quiet-after-ms <n>', 'raft.quietAfterMs of node.json; 0: groups stay awake', Number, 2000)
  .option('--ports <list>', 'peer ports of the three nodes (default: free ones)', numbers)
  .option('--directory <path>', 'where the nodes keep their state (default: a temporary folder)')
  .option('--profile <path>', 'write a CPU profile of every node into this folder')
  .option('--json', 'print the result as JSON')
  .parse()
  .opts<GroupsOptions>();

function numbers(text: string): number[] {
  return text.split(',').map(Number);
}

const ports = options.ports ?? (await freePorts(3));

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** One process. */
class Node {
  readonly #child: ChildProcess;

  constructor(args: NodeArguments) {
    const profile = options.profile ? ['--cpu-prof', `--cpu-prof-dir=${options.profile}`] : [];
    this.#child = fork(NODE, [JSON.stringify(args)], { execArgv: ['--expose-gc', ...profile] });
  }

  ask(question: Question): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const exited = () => reject(new Error('a node ended'));
      this.#child.once('exit', exited);
      this.#child.once('message', (answer: Answer) => {
        this.#child.off('exit', exited);
        resolve(answer);
      });
      this.#child.send(question);
    });
  }

  async close(): Promise<void> {
    const exited = new Promise((resolve) => this.#child.once('exit', resolve));
    await this.ask('close');
    await exited;
  }
}

function start(directory: string, groups: number): Node[] {
  const nodes = ports.map((port, i) => ({ id: i + 1, peer: `127.0.0.1:${port}` }));
  const { quietAfterMs } = options;
  return nodes.map(
    ({ id }) => new Node({ id, nodes, directory: path.join(directory, `n${id}`), groups, quietAfterMs }),
  );
}

const askAll = (nodes: readonly Node[], question: Question) =>
  Promise.all(nodes.map((node) => node.ask(question)));
const closeAll = (nodes: readonly Node[]) => Promise.all(nodes.map((node) => node.close()));

/** Resolves when the nodes say what is waited for. */
async function until(
  nodes: readonly Node[],
  what: string,
  isSo: (answers: readonly Answer[]) => boolean,
): Promise<void> {
  let answers: readonly Answer[] = [];
  for (const fromMs = performance.now(); performance.now() - fromMs < MOST_WAIT_MS; await sleep(50)) {
    answers = await askAll(nodes, 'led');
    if (isSo(answers)) return;
  }
  const counts = answers.map(({ led, leading, quiet }) => `${led} led, ${leading} here, ${quiet} quiet`);
  throw new Error(`not every group ${what} after ${MOST_WAIT_MS} ms: ${counts.join('; ')}`);
}

/** Each group has one leader, and all nodes know it. */
const elected = (nodes: readonly Node[], groups: number) =>
  until(nodes, 'had a leader', (answers) => {
    const leading = answers.reduce((sum, answer) => sum + answer.leading, 0);
    return leading === groups && answers.every(({ led }) => led === groups);
  });

const fallenQuiet = (nodes: readonly Node[], groups: number) =>
  until(nodes, 'was quiet', (answers) => answers.every(({ quiet }) => quiet === groups));

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function differences(after: readonly Answer[], before: readonly Answer[], of: (answer: Answer) => number) {
  return after.map((answer, i) => of(answer) - of(before[i] as Answer));
}

const memoryOf = ({ memoryBytes: { heap, external } }: Answer) => heap + external;

/** What three nodes without groups take. */
async function measureEmpty(directory: string): Promise<Answer[]> {
  const nodes = start(directory, 0);
  await askAll(nodes, 'open');
  await sleep(1000);
  const answers = await askAll(nodes, 'measure');
  await closeAll(nodes);
  return answers;
}

async function measure(directory: string, replicas: number, empty: readonly Answer[]): Promise<Row> {
  const first = start(directory, replicas);
  await askAll(first, 'open');
  await elected(first, replicas);
  await askAll(first, 'write');
  await sleep(500);
  await closeAll(first);
  const startMs = performance.now();
  const nodes = start(directory, replicas);
  await askAll(nodes, 'open');
  const openMs = performance.now() - startMs;
  await elected(nodes, replicas);
  const electMs = performance.now() - startMs - openMs;
  if (options.quietAfterMs > 0) await fallenQuiet(nodes, replicas);
  const quietMs = options.quietAfterMs > 0 ? performance.now() - startMs - openMs - electMs : 0;
  await sleep(options.restSeconds * 1000);
  const before = await askAll(nodes, 'measure');
  await sleep(options.seconds * 1000);
  const after = await askAll(nodes, 'led');
  await closeAll(nodes);
  const seconds = mean(differences(after, before, ({ nowMs }) => nowMs)) / 1000;
  return {
    replicas,
    cpuShare: mean(differences(after, before, ({ cpuMicroseconds }) => cpuMicroseconds)) / (seconds * 1e6),
    kibPerReplica: mean(differences(before, empty, memoryOf)) / 1024 / replicas,
    residentMib: mean(before.map(({ memoryBytes }) => memoryBytes.resident)) / 1024 / 1024,
    descriptorsPerReplica: mean(differences(before, empty, ({ descriptors }) => descriptors)) / replicas,
    messagesPerSecond: mean(differences(after, before, ({ sentMessages }) => sentMessages)) / seconds,
    writtenKibPerSecond:
      mean(differences(after, before, ({ writtenBytes }) => writtenBytes)) / 1024 / seconds,
    openMs: Math.round(openMs),
    electMs: Math.round(electMs),
    quietMs: Math.round(quietMs),
  };
}

const COLUMNS: readonly [string, (row: Row) => string][] = [
  ['replicas', ({ replicas }) => `${replicas}`],
  ['CPU % of a core', ({ cpuShare }) => (cpuShare * 100).toFixed(1)],
  ['KiB/replica', ({ kibPerReplica }) => kibPerReplica.toFixed(1)],
  ['resident MiB', ({ residentMib }) => residentMib.toFixed(0)],
  ['fds/replica', ({ descriptorsPerReplica }) => descriptorsPerReplica.toFixed(2)],
  ['messages/s', ({ messagesPerSecond }) => messagesPerSecond.toFixed(0)],
  ['written KiB/s', ({ writtenKibPerSecond }) => writtenKibPerSecond.toFixed(0)],
  ['open ms', ({ openMs }) => `${openMs}`],
  ['elect ms', ({ electMs }) => `${electMs}`],
  ['quiet ms', ({ quietMs }) => `${quietMs}`],
];

const line = (texts: readonly string[]) =>
  `${texts.map((text, i) => text.padStart((COLUMNS[i]?.[0].length ?? 0) + 2)).join('')}\n`;

const directory = options.directory ?? fs.mkdtempSync(path.join(os.tmpdir(), 'raftree-groups-'));
try {
  const empty = await measureEmpty(path.join(directory, 'empty'));
  const rows: Row[] = [];
  if (!options.json) process.stdout.write(line(COLUMNS.map(([heading]) => heading)));
  for (const replicas of options.replicas) {
    const row = await measure(path.join(directory, `${replicas}`), replicas, empty);
    rows.push(row);
    if (!options.json) process.stdout.write(line(COLUMNS.map(([, text]) => text(row))));
    fs.rmSync(path.join(directory, `${replicas}`), { recursive: true, force: true });
  }
  if (options.json) process.stdout.write(`${JSON.stringify(rows)}\n`);
} finally {
  if (!options.directory) fs.rmSync(directory, { recursive: true, force: true });
}
