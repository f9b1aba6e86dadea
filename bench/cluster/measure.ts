/** Runs one case on one system, and reads what all processes did meanwhile. */
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Beside, Case } from './cases.js';
import type { LoadMessage, LoadResult, Plan } from './load/plan.js';
import { type Measurement, useBetween } from './measurement.js';
import { type MachineSample, type ProcessSample, sampleMachine, sampleProcess } from './proc.js';
import { BenchError, Daemon } from './processes.js';
import type { ServerProcess, System, WindowReport } from './systems/system.js';

const LOAD_PROCESS = fileURLToPath(new URL('./load/load-process.js', import.meta.url));
const NODE_THREADS = 'V8 and pool';

export interface LoadSettings extends Pick<Plan, 'warmupSeconds' | 'seconds' | 'rate' | 'compressible'> {
  readonly connections: number;
  /** More load, of a process of its own. */
  readonly beside?: Beside | undefined;
  /** Where the load process runs. */
  readonly directory: string;
  /** Where CPU profiles of the measured time go, if they are wanted. */
  readonly profiles: string | undefined;
}

/** The records of one value size on one system. */
export interface Records {
  readonly first: number;
  readonly count: number;
}

interface Sample {
  readonly machine: MachineSample;
  readonly servers: readonly ProcessSample[];
  readonly client: ProcessSample;
  readonly atMs: number;
}

/** At rest: less than this part of a processor, for that long. */
const REST_PROCESSORS = 0.05;
const REST_MS = 300;
const REST_LIMIT_MS = 20_000;

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

export async function preload(
  system: System,
  records: Records,
  valueBytes: number,
  settings: LoadSettings,
): Promise<void> {
  const { processes, target } = await system.inspect();
  await runLoad(system, settings.directory, {
    ...planOf({ workload: 'put', valueBytes, clients: settings.connections }, records, settings, 0),
    task: 'preload',
    target,
  });
  await rest(processes);
}

export async function measure(
  system: System,
  one: Case,
  records: Records,
  round: number,
  settings: LoadSettings,
): Promise<Measurement> {
  const view = await system.inspect();
  const { processes, target } = view;
  let before: Sample | undefined;
  let after: Sample | undefined;
  let began: Promise<void> | undefined;
  let window: Promise<WindowReport> | undefined;
  let clientPid = 0;
  const plan: Plan = { ...planOf(one, records, settings, round), task: 'measure', target };
  const other = settings.beside && { ...plan, ...besidePlan(settings.beside, settings) };
  const beside = other ? runLoad(system, settings.directory, other) : undefined;
  // Who awaits it learns of a failure.
  beside?.catch(() => {});
  const profileFile =
    settings.profiles &&
    resolve(settings.profiles, `${system.name}-${one.workload}-${one.clients}-client.cpuprofile`);
  const load = await runLoad(system, settings.directory, { ...plan, profileFile }, (type, pid) => {
    clientPid = pid;
    if (type === 'begin') {
      before = sample(processes, pid);
      began = system.beginWindow(view);
      began.catch(() => {});
    } else {
      after = sample(processes, pid);
      window = began?.then(() => system.endWindow(view));
      window?.catch(() => {});
    }
  });
  const report = await window;
  if (!load || !before || !after || !report) throw new BenchError('the load process ended without a result');
  const [first, last] = [before, after];
  const uses = processes.map(({ role, threadName }, i) => ({
    ...useBetween(role, ...pair(first.servers[i], last.servers[i]), (id, name) => threadName(id) ?? name),
    loopDelayMs: report.loopDelayMs[role],
  }));
  const client = {
    ...useBetween('client', first.client, last.client, (id) => (id === clientPid ? 'main' : NODE_THREADS)),
    loopDelayMs: load.loopDelayMs,
  };
  const ownUs = [...uses, client].reduce((sum, { cpuUs }) => sum + cpuUs, 0);
  const { busyUs, stolenUs } = last.machine;
  const allUs = busyUs + stolenUs - first.machine.busyUs - first.machine.stolenUs;
  return {
    ...one,
    system: system.name,
    round,
    connections: settings.connections,
    rate: settings.rate,
    load,
    beside: await beside,
    processes: uses,
    client,
    postponedCpuUs: await rest(processes, last.servers),
    entriesPerSync: report.entriesPerSync,
    otherProcessors: Math.max(0, allUs - ownUs) / ((last.atMs - first.atMs) * 1000),
  };
}

function besidePlan({ workload, clients }: Beside, settings: LoadSettings) {
  return { workload, clients, connections: Math.min(settings.connections, clients), rate: undefined };
}

function planOf(one: Case, records: Records, settings: LoadSettings, round: number) {
  const { warmupSeconds, seconds, rate, compressible } = settings;
  return {
    ...one,
    records: records.count,
    firstRecord: records.first,
    connections: Math.min(settings.connections, Math.max(1, one.clients)),
    ...{ warmupSeconds, seconds, rate, compressible },
    seed: 1000 + round,
  };
}

/** Runs a load process to its end. Throws a `BenchError` when it, or the system, fails. */
async function runLoad(
  system: System,
  directory: string,
  plan: Plan,
  onEdge: (type: 'begin' | 'end', pid: number) => void = () => {},
): Promise<LoadResult | undefined> {
  const child = new Daemon({
    label: 'the load process',
    command: process.execPath,
    parameters: [LOAD_PROCESS, JSON.stringify(plan)],
    directory,
    channel: true,
  });
  let result: LoadResult | undefined;
  const done = new Promise<void>((resolve, reject) => {
    child.onMessage((received) => {
      const message = received as LoadMessage;
      try {
        if (message.type === 'begin' || message.type === 'end') onEdge(message.type, child.pid);
        else if (message.type === 'result') result = message.result;
        else if (message.type === 'done') resolve();
        else reject(new BenchError(`the load on ${system.name} failed: ${message.reason}`));
      } catch (error) {
        reject(error);
      }
    });
  });
  try {
    await Promise.race([done, child.failure(), ...system.daemons.map((daemon) => daemon.failure())]);
  } finally {
    await child.stop();
  }
  return result;
}

function sample(processes: readonly ServerProcess[], clientPid: number): Sample {
  return {
    machine: sampleMachine(),
    servers: processes.map(({ daemon }) => {
      daemon.assertRunning();
      return sampleProcess(daemon.pid);
    }),
    client: sampleProcess(clientPid),
    atMs: performance.now(),
  };
}

function pair<T>(first: T | undefined, last: T | undefined): [T, T] {
  if (first === undefined || last === undefined) throw new BenchError('a process was not sampled');
  return [first, last];
}

/** Waits until the system has nothing left to do, or for a while; returns the CPU time that it took since a sample. */
async function rest(processes: readonly ServerProcess[], since?: readonly ProcessSample[]): Promise<number> {
  const used = () => processes.reduce((sum, { daemon }) => sum + sampleProcess(daemon.pid).cpuUs, 0);
  const start = since?.reduce((sum, { cpuUs }) => sum + cpuUs, 0) ?? used();
  const endMs = performance.now() + REST_LIMIT_MS;
  for (let before = used(); performance.now() < endMs; ) {
    await sleep(REST_MS);
    for (const { daemon } of processes) daemon.assertRunning();
    const now = used();
    if (now - before < REST_PROCESSORS * REST_MS * 1000) return now - start;
    before = now;
  }
  return used() - start;
}
