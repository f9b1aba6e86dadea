/**
 * cluster: runs several nodes on this machine, each in its own process, under one supervisor.
 *
 *     data/cluster/LOCK.…            held by the supervisor; `cluster stop` finds the process by it
 *     data/cluster/n1/node.json …    created once; the next start resumes the same cluster
 *     data/cluster/n1/store …        the node's state
 */
import { type ChildProcess, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { currentHolder, lockDirectory } from '../env/directory-lock.js';
import { parseAddress } from '../env/env.js';
import { errorMessage, RaftreeError } from '../env/errors.js';
import { realEnv } from '../env/real/real-env.js';
import type { NodeConfigInput } from '../server/config.js';
import { parseCount } from './client-options.js';
import { examples } from './examples.js';
import { UsageError } from './exit-codes.js';
import { NODE_FLAGS } from './node-flags.js';
import { OutputFile } from './output-file.js';
import { lines } from './records.js';
import { onStopSignal } from './signals.js';

interface ClusterOptions {
  readonly nodes?: number;
  readonly directory: string;
  readonly basePort?: number;
  /** A file with settings for every node.json of a new cluster. */
  readonly settings?: string;
}

/** The nodes in a directory: the existing ones, or those to create. */
interface ClusterPlan {
  readonly count: number;
  /** What is to be in the node.json of each; undefined if they exist. */
  readonly created: readonly NodeConfigInput[] | undefined;
}

const MAX_NODES = 9;
const DEFAULT_NODES = 3;
const DEFAULT_BASE_PORT = 7001;
const MAX_PORT = 65_535;
/** Distance from a node's client port to its peer port. */
const PEER_PORT_OFFSET = 100;
const STOP_TIMEOUT_MS = 15_000;
const MAIN = fileURLToPath(new URL('./main.js', import.meta.url));

export function addClusterCommand(program: Command): void {
  const cluster = program.command('cluster').description('run several nodes on this machine');
  const directory = ['--directory <directory>', 'where the nodes keep their state', 'data/cluster'] as const;
  const start = cluster
    .command('start', { isDefault: true })
    .description('start the nodes, or resume them; Ctrl-C stops them')
    .option('--nodes <n>', `1 to ${MAX_NODES} (default: as many as exist, or ${DEFAULT_NODES})`, parseCount)
    .option(
      '--base-port <port>',
      `client port of the first node of a new cluster (default: ${DEFAULT_BASE_PORT})`,
      parseCount,
    )
    .option(
      '--settings <file>',
      'a JSON file with settings for every node.json of a new cluster, such as "placement"',
    )
    .option(...directory)
    .addHelpText(
      'after',
      examples([
        'raftree cluster start',
        'raftree cluster start --nodes 5 --directory data/five',
        'raftree cluster start --directory data/hash --settings hash.json',
      ]),
    )
    .action((options: ClusterOptions) => runCluster(options));
  cluster
    .command('stop')
    .description('stop the nodes that run in a directory')
    .option(...directory)
    .addHelpText('after', examples(['raftree cluster stop', 'raftree cluster stop --directory data/five']))
    .action((options: { directory: string }) => stopCluster(options.directory));
  cluster.addHelpText(
    'after',
    () => `
"raftree cluster" alone is "raftree cluster start":
${start
  .helpInformation()
  .split('\n')
  .filter((line) => line.startsWith('  '))
  .join('\n')}
${examples(['raftree cluster --nodes 5 --directory data/five --base-port 8001', 'raftree cluster stop --directory data/five'])}`,
  );
}

async function runCluster(options: ClusterOptions): Promise<void> {
  const env = realEnv();
  // Refuses invalid options before anything is written.
  await planCluster(options);
  try {
    env.fs.makeDirectory(options.directory);
  } catch (error) {
    throw new UsageError(`--directory: ${options.directory} cannot be created: ${errorMessage(error)}`);
  }
  const lock = await lockDirectory(env, env.fs.realPath(options.directory));
  try {
    const configs = await prepareConfigs(options);
    const children = configs.map((file, i) => startNode(file, i + 1));
    onStopSignal(() => {
      for (const { child } of children) child.kill('SIGTERM');
    });
    const codes = await Promise.all(children.map(({ ended }) => ended));
    const failed = codes.filter((code) => code !== 0);
    if (failed.length > 0) {
      throw new RaftreeError(
        'NODE_FAILED',
        `${failed.length} of ${codes.length} nodes ended with an error; see above`,
      );
    }
  } finally {
    lock.release();
  }
}

function configFile(directory: string, id: number): string {
  return path.join(directory, `n${id}`, 'node.json');
}

/** Throws `UsageError` for invalid options, or if they contradict the existing cluster. */
async function planCluster(options: ClusterOptions): Promise<ClusterPlan> {
  const { directory, nodes, basePort, settings } = options;
  checkDirectory(directory);
  // The first node's file is created last: if it is missing, an unfinished creation is repeated.
  const first = configFile(directory, 1);
  if (fs.existsSync(first)) {
    const { readNodeConfig } = await import('../server/config.js');
    const present = readNodeConfig(realEnv(), first).nodes;
    const port = parseAddress(present[0]?.client ?? '').port;
    if (nodes !== undefined && nodes !== present.length) {
      throw new UsageError(
        `${directory} holds a cluster of ${present.length} nodes; start it without --nodes, or choose another --directory`,
      );
    }
    if (basePort !== undefined && basePort !== port) {
      throw new UsageError(
        `${directory} holds a cluster whose first node has port ${port}; start it without --base-port, or choose another --directory`,
      );
    }
    if (settings !== undefined) {
      throw new UsageError(
        `${directory} holds a cluster; start it without --settings and change its node.json files, or choose another --directory`,
      );
    }
    return { count: present.length, created: undefined };
  }
  const count = nodes ?? DEFAULT_NODES;
  if (count > MAX_NODES) throw new UsageError(`--nodes: expected 1 to ${MAX_NODES}, got ${count}`);
  const firstPort = basePort ?? DEFAULT_BASE_PORT;
  const highestBasePort = MAX_PORT - PEER_PORT_OFFSET - (count - 1);
  if (firstPort > highestBasePort) {
    throw new UsageError(
      `--base-port: expected 1 to ${highestBasePort}, got ${firstPort}: ${count} nodes take ports up to ${PEER_PORT_OFFSET + count - 1} above it`,
    );
  }
  return { count, created: await newConfigs(options, count, firstPort) };
}

/** Throws `UsageError` if the path is not a directory. */
function checkDirectory(directory: string): void {
  if (fs.existsSync(directory) && !fs.statSync(directory).isDirectory())
    throw new UsageError(`--directory: ${directory} is a file`);
}

/** Throws `INVALID_CONFIG` for what no node would start with. */
async function newConfigs(
  { directory, settings }: ClusterOptions,
  count: number,
  basePort: number,
): Promise<NodeConfigInput[]> {
  const { parseNodeConfig } = await import('../server/config.js');
  const given = settings === undefined ? {} : readSettings(settings);
  const ids = Array.from({ length: count }, (_, i) => i + 1);
  const nodes = ids.map((id) => ({
    id,
    client: `127.0.0.1:${basePort + id - 1}`,
    peer: `127.0.0.1:${basePort + PEER_PORT_OFFSET + id - 1}`,
  }));
  const configs = ids.map((nodeId) => ({
    clusterId: 'local',
    nodeId,
    dataDirectory: 'store',
    nodes,
    ...given,
  }));
  for (const config of configs) parseNodeConfig(config, settings ?? 'node.json', directory);
  return configs;
}

/** The paths of the node.json files. Creates them if the directory has none. */
async function prepareConfigs(options: ClusterOptions): Promise<string[]> {
  const { directory } = options;
  const { count, created = [] } = await planCluster(options);
  for (const config of [...created].reverse()) {
    const output = new OutputFile(configFileMade(directory, config.nodeId));
    output.write(`${JSON.stringify(config, undefined, 2)}\n`);
    output.finish();
  }
  const { readNodeConfig } = await import('../server/config.js');
  const env = realEnv();
  const files = Array.from({ length: count }, (_, i) => configFile(directory, i + 1));
  for (const file of files) readNodeConfig(env, file);
  return files;
}

/** What each node has for itself. */
const OWN_SETTINGS = ['nodeId', 'dataDirectory', 'nodes', 'join'];

function readSettings(file: string): Partial<NodeConfigInput> {
  let settings: unknown;
  try {
    settings = JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch (error) {
    throw new UsageError(`--settings: ${file} cannot be used: ${errorMessage(error)}`);
  }
  if (typeof settings !== 'object' || settings === null || Array.isArray(settings))
    throw new UsageError(`--settings: ${file} holds no JSON object`);
  const own = OWN_SETTINGS.find((name) => name in settings);
  if (own !== undefined)
    throw new UsageError(`--settings: ${file} has "${own}", which is made for each node: remove it`);
  return settings;
}

/** Creates the folder too. */
function configFileMade(directory: string, id: number): string {
  const file = configFile(directory, id);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  return file;
}

export function startNode(file: string, id: number): { child: ChildProcess; ended: Promise<number> } {
  // In a process group of its own: Ctrl-C in the terminal reaches only the supervisor, which then stops the nodes.
  const logFormat = process.stderr.isTTY ? ['--log-format', 'pretty'] : [];
  const child = spawn(process.execPath, [...NODE_FLAGS, MAIN, 'start', file, ...logFormat], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    detached: true,
  });
  const prefix = `n${id} | `;
  const forward = async (from: AsyncIterable<Uint8Array> | null, to: NodeJS.WriteStream) => {
    if (!from) return;
    for await (const line of lines(from)) to.write(`${prefix}${line?.toString('utf8') ?? '…'}\n`);
  };
  const output = Promise.all([forward(child.stdout, process.stdout), forward(child.stderr, process.stderr)]);
  const ended = new Promise<number>((resolve) => {
    child.once('error', (error) => {
      process.stderr.write(`${prefix}could not be started: ${errorMessage(error)}\n`);
      resolve(1);
    });
    child.once('close', (code, signal) => {
      void output.then(() => {
        if (code !== 0)
          process.stderr.write(`${prefix}ended ${signal ? `by ${signal}` : `with exit code ${code}`}\n`);
        resolve(code ?? 1);
      });
    });
  });
  return { child, ended };
}

async function stopCluster(directory: string): Promise<void> {
  const env = realEnv();
  checkDirectory(directory);
  const holder = fs.existsSync(directory) ? await currentHolder(env, directory) : undefined;
  if (!holder) {
    throw new RaftreeError('NOT_RUNNING', `no cluster runs in ${directory}`, {
      info: { outcome: 'notCommitted' },
    });
  }
  const supervisor = { ...env.host.self(), ...holder };
  if (!env.host.isAlive(supervisor)) {
    throw new RaftreeError(
      'NOT_RUNNING',
      `the cluster in ${directory} runs, but its processes are not visible from here; if it runs in another container, stop it there`,
      { info: { outcome: 'notCommitted' } },
    );
  }
  process.kill(holder.pid, 'SIGTERM');
  const deadlineMs = performance.now() + STOP_TIMEOUT_MS;
  while (env.host.isAlive(supervisor)) {
    if (performance.now() > deadlineMs) {
      throw new RaftreeError('STOP_TIMEOUT', `process ${holder.pid} was asked to stop, but still runs`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  process.stdout.write(`the cluster in ${directory} has stopped\n`);
}
