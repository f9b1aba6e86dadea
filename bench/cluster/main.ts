/**
 * `npm run bench:cluster`: load on a cluster of real processes, alone or alternately with etcd and Redis. How to read
 * what it prints: ../README.md.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import type { Case } from './cases.js';
import { firstRecordOf } from './load/records.js';
import { workloadOf } from './load/workloads.js';
import { type LoadSettings, measure, preload, type Records } from './measure.js';
import type { Measurement } from './measurement.js';
import { type Options, parseOptions } from './options.js';
import { BenchError, stopAll } from './processes.js';
import { cpuChart, rateChart, timeChart } from './report/charts.js';
import { cpuTable, headingLine, measurementLine, medianTable, ratioTable } from './report/tables.js';
import { EtcdSystem } from './systems/etcd-system.js';
import { RaftreeSystem } from './systems/raftree-system.js';
import { RedisSystem } from './systems/redis-system.js';
import type { System } from './systems/system.js';

/** Ports of one system at most: client and peer ports of five nodes. */
const PORTS_PER_SYSTEM = 10;

/** So long it may take until the end of a process is known. */
const NEWS_MS = 200;

function systemsOf(options: Options, directory: string): System[] {
  const { builds, nodes, basePort, etcd, redis } = options;
  const profiles = options.profile ? options.results : undefined;
  const systems: System[] = [];
  const placeOf = (name: string) => ({
    directory: join(directory, name),
    basePort: basePort === undefined ? undefined : basePort + systems.length * PORTS_PER_SYSTEM,
  });
  for (const build of builds)
    systems.push(new RaftreeSystem({ ...build, ...placeOf(build.name), nodes, profiles }));
  if (etcd) systems.push(new EtcdSystem(etcd, placeOf('etcd')));
  if (redis) systems.push(new RedisSystem(redis, placeOf('redis')));
  return systems;
}

function machine(): string {
  const gibibytes = Math.round(totalmem() / 2 ** 30);
  return (
    `${availableParallelism()} processors (${cpus()[0]?.model.trim() ?? 'unknown'}), ${gibibytes} GiB, ` +
    `${process.platform} ${release()}, node ${process.version}`
  );
}

/** All systems run all the time and take turns, case by case; each is left alone until it is at rest. */
async function runCases(
  systems: readonly System[],
  options: Options,
  directory: string,
  report: (measurement: Measurement) => void,
): Promise<void> {
  const { connections, warmupSeconds, seconds, rate, beside, compressible, keys } = options;
  const profiles = options.profile ? options.results : undefined;
  const settings: LoadSettings = {
    ...{ connections, warmupSeconds, seconds, rate, beside, compressible, directory, profiles },
  };
  for (const system of systems) await system.start();
  const sizes = [...new Set(options.cases.map(({ valueBytes }) => valueBytes))];
  const records = new Map<string, Records>();
  const recordsOf = async (system: System, { valueBytes }: Case): Promise<Records> => {
    const place = `${system.name} ${valueBytes}`;
    const known = records.get(place);
    if (known) return known;
    const fresh = { first: firstRecordOf(sizes.indexOf(valueBytes)), count: keys };
    await preload(system, fresh, valueBytes, settings);
    records.set(place, fresh);
    return fresh;
  };
  for (const one of options.cases) {
    const { beside } = options;
    const needs = [one.workload, ...(beside ? [beside.workload] : [])].map(workloadOf);
    const able = systems.filter((system) => needs.every((workload) => system.supports(workload)));
    for (const system of able) await recordsOf(system, one);
    for (let round = 0; round < options.rounds; round++) {
      // Every second round in the opposite order: who always comes first may look faster.
      for (const system of round % 2 === 0 ? able : able.toReversed()) {
        const { first, count } = await recordsOf(system, one);
        const measurement = await measure(system, one, { first, count }, round, settings);
        records.set(`${system.name} ${one.valueBytes}`, { first, count: measurement.load.records });
        report(measurement);
      }
    }
  }
}

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  const startedAt = new Date();
  const print = options.json ? console.error : console.log;
  const directory = mkdtempSync(join(options.directory, 'raftree-bench-'));
  const cleanUp = async () => {
    await stopAll();
    rmSync(directory, { recursive: true, force: true });
  };
  let isStopping = false;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (isStopping) return;
      isStopping = true;
      void cleanUp().then(() => process.exit(130));
    });
  }
  const measurements: Measurement[] = [];
  const systems = systemsOf(options, directory);
  try {
    if (process.platform !== 'linux') throw new BenchError('this benchmark reads /proc: it needs Linux');
    makeFolder(options.results);
    print(`${machine()}, ${directory}`);
    print(headingLine());
    await runCases(systems, options, directory, (measurement) => {
      measurements.push(measurement);
      print(measurementLine(measurement));
    });
  } catch (error) {
    if (isStopping) return;
    process.exitCode = 1;
    const cause = await causeOf(error, systems);
    if (!(cause instanceof BenchError)) throw cause;
    console.error(cause.message);
  } finally {
    await cleanUp();
  }
  if (measurements.length > 0) writeResults(options, startedAt, measurements, print);
  if (measurements.some(({ load, beside }) => load.errors > 0 || (beside && beside.errors > 0)))
    process.exitCode = 1;
}

/** Whatever failed: if a process of a system has ended, that is why. */
async function causeOf(error: unknown, systems: readonly System[]): Promise<unknown> {
  await new Promise((resolve) => setTimeout(resolve, NEWS_MS));
  try {
    for (const { daemons } of systems) for (const daemon of daemons) daemon.assertRunning();
  } catch (end) {
    return end;
  }
  const hasCode = error instanceof Error && 'code' in error;
  return hasCode ? new BenchError(`the benchmark failed: ${error.message}`) : error;
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new BenchError(`the results cannot be written: ${reason}; choose another folder with --results`);
  }
}

function writeResults(
  options: Options,
  startedAt: Date,
  measurements: readonly Measurement[],
  print: (line: string) => void,
): void {
  const ratios = ratioTable(measurements);
  const several = options.rounds > 1 ? [`Medians of the rounds:\n${medianTable(measurements)}`] : [];
  const cpu = `CPU microseconds per operation, by process and thread:\n${cpuTable(measurements)}`;
  for (const table of [...several, ...(ratios === undefined ? [] : [ratios]), cpu]) print(`\n${table}`);
  const stem = join(options.results, `cluster-${startedAt.toISOString().slice(0, 19).replaceAll(':', '')}`);
  const content = { startedAt: startedAt.toISOString(), machine: machine(), options, measurements };
  const day = startedAt.toISOString().slice(0, 10);
  const files: readonly (readonly [file: string, text: string])[] = [
    [`${stem}.json`, `${JSON.stringify(content, undefined, 2)}\n`],
    [`${stem}-rates.svg`, rateChart(measurements, `operations per second, ${day}`)],
    [`${stem}-cpu.svg`, cpuChart(measurements, `CPU microseconds per operation, ${day}`)],
    [`${stem}-time.svg`, timeChart(measurements, `second by second, ${day}`)],
  ];
  print('');
  for (const [file, text] of files) {
    writeFileSync(file, text);
    print(file);
  }
  if (options.json) console.log(JSON.stringify(content));
}

await main();
