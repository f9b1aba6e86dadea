/** The command line of the benchmark. */
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError, Option } from 'commander';
import { NODE_FLAGS } from '../../src/cli/node-flags.js';
import type { NodeConfigInput } from '../../src/server/config.js';
import { type Beside, besideOf, type Case, casesOf, MAX_CLIENTS, MAX_VALUE_BYTES } from './cases.js';
import { MAX_RECORDS } from './load/distributions.js';
import { WORKLOADS } from './load/workloads.js';
import { OWN_MAIN } from './systems/raftree-system.js';

/** A build of Raftree, and how its nodes are started. */
export interface Build {
  readonly name: string;
  /** dist/src/cli/main.js */
  readonly main: string;
  /** More of node.json. */
  readonly settings: Partial<NodeConfigInput>;
  /** Options of Node.js for the nodes. */
  readonly nodeOptions: readonly string[];
}

export interface Options {
  readonly cases: readonly Case[];
  readonly nodes: number;
  readonly connections: number;
  readonly rate: number | undefined;
  readonly beside: Beside | undefined;
  readonly seconds: number;
  readonly warmupSeconds: number;
  readonly rounds: number;
  readonly keys: number;
  readonly compressible: number;
  readonly etcd: string | undefined;
  readonly redis: string | undefined;
  readonly builds: readonly Build[];
  readonly directory: string;
  readonly basePort: number | undefined;
  readonly results: string;
  readonly profile: boolean;
  readonly json: boolean;
}

const MAX_SECONDS = 24 * 3600;
const MAX_CONNECTIONS = 1000;
const MAX_ROUNDS = 1000;
const MAX_RATE = 10_000_000;
const MAX_BASE_PORT = 65_000;

function whole(least: number, most: number) {
  return (text: string): number => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most)
      throw new InvalidArgumentError(`expected a whole number from ${least} to ${most}`);
    return value;
  };
}

function wholes(least: number, most: number) {
  const one = whole(least, most);
  return (text: string): number[] => text.split(',').map(one);
}

function share(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value < 1))
    throw new InvalidArgumentError('expected a number from 0 to below 1');
  return value;
}

/** A path, or a name that is looked for in PATH. */
export function executable(text: string): string {
  const places = text.includes('/')
    ? [text]
    : (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, text));
  const found = places.find((place) => {
    try {
      accessSync(place, constants.X_OK);
      return statSync(place).isFile();
    } catch {
      return false;
    }
  });
  if (text === '' || found === undefined)
    throw new InvalidArgumentError(
      `there is no program "${text}": install it (Debian: etcd-server, redis-server), or name its path`,
    );
  return found;
}

function build(text: string): string {
  const file = resolve(text);
  if (!existsSync(file) || !existsSync(resolve(dirname(file), '../client/client.js')))
    throw new InvalidArgumentError(
      'expected dist/src/cli/main.js of a build: npm run build in its folder makes it',
    );
  return file;
}

function jsonObject(text: string): Partial<NodeConfigInput> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new InvalidArgumentError('expected a JSON object');
  return value;
}

function beside(text: string): Beside {
  try {
    return besideOf(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

function words(text: string): string[] {
  return text.split(' ').filter((word) => word !== '');
}

function folder(text: string): string {
  if (!existsSync(text) || !statSync(text).isDirectory())
    throw new InvalidArgumentError('there is no such folder');
  return text;
}

interface RawOptions extends Omit<Options, 'cases' | 'builds'> {
  readonly workload: string;
  readonly clients: readonly number[];
  readonly valueBytes: readonly number[];
  readonly main: string;
  readonly settings: Partial<NodeConfigInput>;
  readonly nodeOptions: readonly string[];
  readonly against?: string;
  readonly againstSettings?: Partial<NodeConfigInput>;
  readonly againstNodeOptions?: readonly string[];
}

function command(): Command {
  const results = fileURLToPath(new URL('../../../bench/results', import.meta.url));
  const width = Math.max(...WORKLOADS.map(({ name }) => name.length)) + 2;
  return new Command('bench:cluster')
    .description(
      'Load on a cluster of real processes on this machine, alone or alternately with etcd and Redis. Every acknowledged ' +
        'write is on the disks of a majority. bench/README.md says how to read the figures. Linux only.',
    )
    .option(
      '--workload <names>',
      'comma-separated; each may say its own value size and number of clients: put/4096/100',
      'put,get,half',
    )
    .option('--value-bytes <sizes>', 'bytes of a value, comma-separated', wholes(1, MAX_VALUE_BYTES), [256])
    .option(
      '--clients <counts>',
      'clients, each with one request under way, comma-separated',
      wholes(1, MAX_CLIENTS),
      [100],
    )
    .option('--connections <count>', 'over which the clients are spread', whole(1, MAX_CONNECTIONS), 10)
    .option(
      '--rate <per-second>',
      'open loop: operations due per second; closed loop without',
      whole(1, MAX_RATE),
    )
    .option(
      '--beside <workload/clients>',
      'more load, of a process of its own, while each case is measured, such as scan/50',
      beside,
    )
    .option('--seconds <count>', 'measured time of a case', whole(1, MAX_SECONDS), 10)
    .option('--warmup-seconds <count>', 'load before the measured time', whole(0, MAX_SECONDS), 5)
    .option(
      '--rounds <count>',
      'repetitions, system after system, every second time in the opposite order; 4 if there are several, otherwise 1',
      whole(1, MAX_ROUNDS),
    )
    .option('--keys <count>', 'records of each value size, written before', whole(1, MAX_RECORDS), 100_000)
    .option('--compressible <share>', "of a value's bytes", share, 0)
    .addOption(new Option('--nodes <count>', 'of Raftree').choices(['1', '3', '5']).default('3'))
    .option('--etcd <program>', 'measure three etcd processes alternately', executable)
    .option('--redis <program>', 'measure one Redis with appendfsync always alternately', executable)
    .option('--main <file>', 'dist/src/cli/main.js of the build to measure', build, OWN_MAIN)
    .option('--settings <json>', 'more of node.json, such as {"storage":{"engine":"memory"}}', jsonObject, {})
    .option('--node-options <options>', 'of Node.js, for the nodes: "--max-semi-space-size=64"', words, [
      ...NODE_FLAGS,
    ])
    .option('--against <file>', 'measure another build alternately, as "other"', build)
    .option('--against-settings <json>', 'for "other", which is the same build without --against', jsonObject)
    .option(
      '--against-node-options <options>',
      'for "other", which is the same build without --against',
      words,
    )
    .option('--directory <path>', 'where the data go: a folder in it, which is removed', folder, tmpdir())
    .option(
      '--base-port <port>',
      'first of consecutive ports; free ones are chosen without',
      whole(1024, MAX_BASE_PORT),
    )
    .option('--results <path>', 'where to write the JSON file and the charts', results)
    .option(
      '--profile',
      "write a CPU profile of each main thread, the nodes' and the client's, and measured time to --results",
      false,
    )
    .option('--json', 'print the results as JSON on standard output, all else on standard error', false)
    .allowExcessArguments(false)
    .addHelpText(
      'after',
      [
        '',
        'Workloads:',
        ...WORKLOADS.map(({ name, what }) => `  ${name.padEnd(width)}${what}`),
        '',
        'Examples:',
        '  npm run bench:cluster -- --etcd "$(command -v etcd)" --workload put/256/100,put/4096/100,get/256/100',
        '  npm run bench:cluster -- --workload half --value-bytes 4096 --rate 5000 --clients 1000 --seconds 600',
        '  npm run bench:cluster -- --workload put --against ../other/dist/src/cli/main.js',
      ].join('\n'),
    );
}

function buildsOf(raw: RawOptions): Build[] {
  const { main, settings, nodeOptions, against, againstSettings, againstNodeOptions } = raw;
  const builds = [{ name: 'raftree', main, settings, nodeOptions }];
  if (against === undefined && againstSettings === undefined && againstNodeOptions === undefined)
    return builds;
  const other = { settings: againstSettings ?? settings, nodeOptions: againstNodeOptions ?? nodeOptions };
  return [...builds, { name: 'other', main: against ?? main, ...other }];
}

/** Ends the process with a message for options that are wrong, and after `--help`. */
export function parseOptions(parameters: readonly string[]): Options {
  const parser = command();
  const raw = parser.parse([...parameters], { from: 'user' }).opts<RawOptions>();
  const { etcd, redis, connections, rate, seconds, warmupSeconds, keys, compressible } = raw;
  const { beside, directory, basePort, results, profile, json } = raw;
  let cases: Case[] = [];
  try {
    cases = casesOf(raw.workload.split(','), raw);
  } catch (error) {
    parser.error(`error: option '--workload': ${error instanceof Error ? error.message : error}`);
  }
  const builds = buildsOf(raw);
  const systems = builds.length + (etcd === undefined ? 0 : 1) + (redis === undefined ? 0 : 1);
  return {
    ...{ cases, builds, etcd, redis, connections, rate, beside, seconds, warmupSeconds, keys, compressible },
    ...{ directory, basePort, results, profile, json },
    nodes: Number(raw.nodes),
    rounds: raw.rounds ?? (systems > 1 ? 4 : 1),
  };
}
