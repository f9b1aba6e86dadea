/**
 * The child process that runs the workloads on one engine, so that memory, threads and the event loop are its own.
 * It is given a plan as its argument and sends a message per workload.
 */
import { mkdirSync, rmSync } from 'node:fs';
import type { Engine } from './engines/engine.js';
import { newEngine } from './engines/engines.js';
import type { Measurement } from './measurement.js';
import { bytesHandedOver, bytesOnDisk, cpuSeconds, LoopDelayMeter, peakMemoryBytes } from './probes.js';
import { WORKLOADS, type Workload } from './workloads.js';

export interface Plan {
  readonly engine: string;
  readonly directory: string;
  readonly entries: number;
  readonly valueBytes: number;
  readonly round: number;
  readonly only: readonly string[];
  readonly writeBufferBytes: number;
  readonly blockCacheBytes: number;
  /** First the workloads run unmeasured, with this share of the entries: what is compiled while it runs is compiled. */
  readonly warmUpShare: number;
  /** After writes it waits until nothing has gone on in the background for so long. */
  readonly restMs: number;
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until nothing has gone on in the background for so long. */
async function rest(engine: Engine, restMs: number): Promise<void> {
  for (let before = ''; ; ) {
    const now = `${engine.progress()} ${bytesHandedOver()}`;
    if (now === before && engine.isDrained()) return;
    before = now;
    await sleep(restMs);
  }
}

class Runner {
  readonly #plan: Plan;
  readonly #engine: Engine;
  #isOpen = false;
  /** The directory holds every entry. */
  #isFilled = false;
  #isSettled = false;

  constructor(plan: Plan, engine: Engine) {
    this.#plan = plan;
    this.#engine = engine;
  }

  async run(report: (measurement: Measurement) => void): Promise<void> {
    for (const workload of WORKLOADS) {
      if (!this.#plan.only.includes(workload.name)) continue;
      await this.#prepare(workload);
      report(await this.#measure(workload));
    }
    await this.#close();
  }

  async #prepare(workload: Workload): Promise<void> {
    if (workload.begins === 'empty') return this.#empty();
    if (!this.#isFilled) {
      await this.#empty();
      await WORKLOADS.find(({ name }) => name === 'fillrandom')?.run(this.#engine, this.#plan);
      this.#isFilled = true;
      this.#isSettled = false;
    }
    if (workload.begins === 'settled' && !this.#isSettled) {
      await this.#close();
      await this.#open();
      await rest(this.#engine, this.#plan.restMs);
      this.#isSettled = true;
    }
  }

  async #measure(workload: Workload): Promise<Measurement> {
    const { engine, entries, valueBytes, round, directory } = this.#plan;
    const writtenBefore = bytesHandedOver();
    const meter = new LoopDelayMeter();
    if (workload.writes) meter.start();
    const cpuBefore = cpuSeconds();
    const start = performance.now();
    const outcome = await workload.run(this.#engine, this.#plan);
    const seconds = (performance.now() - start) / 1000;
    const cpu = cpuSeconds() - cpuBefore;
    const loopDelayMs = workload.writes ? meter.stop() : undefined;
    if (workload.writes) {
      await rest(this.#engine, this.#plan.restMs);
      this.#isSettled = false;
      this.#isFilled = ['fillseq', 'fillbatch', 'fillrandom', 'overwrite'].includes(workload.name);
    }
    const writtenAfter = bytesHandedOver();
    return {
      engine,
      workload: workload.name,
      valueBytes,
      entries,
      round,
      ...outcome,
      seconds,
      cpuSeconds: cpu,
      loopDelayMs,
      bytesWritten:
        workload.writes && writtenBefore !== undefined && writtenAfter !== undefined
          ? writtenAfter - writtenBefore
          : undefined,
      bytesOnDisk: workload.writes ? bytesOnDisk(directory) : undefined,
      peakMemoryBytes: peakMemoryBytes(),
    };
  }

  async #empty(): Promise<void> {
    await this.#close();
    rmSync(this.#plan.directory, { recursive: true, force: true });
    mkdirSync(this.#plan.directory, { recursive: true });
    await this.#open();
    this.#isFilled = false;
  }

  async #open(): Promise<void> {
    await this.#engine.open();
    this.#isOpen = true;
  }

  async #close(): Promise<void> {
    if (this.#isOpen) await this.#engine.close();
    this.#isOpen = false;
  }
}

async function runPlan(plan: Plan, report: (measurement: Measurement) => void): Promise<void> {
  await new Runner(plan, await newEngine(plan.engine, plan)).run(report);
}

const given = JSON.parse(process.argv[2] ?? '') as Plan;
if (given.warmUpShare > 0) {
  const directory = `${given.directory}-warm-up`;
  const entries = Math.max(1, Math.round(given.entries * given.warmUpShare));
  await runPlan({ ...given, directory, entries }, () => {});
  rmSync(directory, { recursive: true, force: true });
}
await runPlan(given, (measurement) => process.send?.(measurement));
process.disconnect?.();
