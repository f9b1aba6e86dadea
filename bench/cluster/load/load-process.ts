/** The load generator's process: it is given a plan as its argument, and tells its parent by messages. */

import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { LoopDelayMeter } from '../../probes.js';
import { connect } from '../clients/connect.js';
import { LoadLoop } from './load-loop.js';
import type { LoadMessage, LoadResult, Plan } from './plan.js';
import { preload } from './preload.js';

const tell = (message: LoadMessage) => process.send?.(message);

/** A CPU profile of this thread. */
class Profiler {
  readonly #file: string;
  readonly #session = new Session();

  constructor(file: string) {
    this.#file = file;
  }

  start(): void {
    this.#session.connect();
    this.#session.post('Profiler.enable');
    this.#session.post('Profiler.start');
  }

  stop(): void {
    this.#session.post('Profiler.stop', (error, result) => {
      if (!error) writeFileSync(this.#file, JSON.stringify(result.profile));
    });
    this.#session.disconnect();
  }
}

async function measure(connections: Parameters<typeof preload>[0], plan: Plan): Promise<LoadResult> {
  const meter = new LoopDelayMeter();
  let before = performance.eventLoopUtilization();
  let loopUse = 0;
  let loopDelayMs = { p99: 0, max: 0 };
  const profiler = plan.profileFile === undefined ? undefined : new Profiler(plan.profileFile);
  const loop = new LoadLoop(connections, plan);
  await loop.run(
    () => {
      tell({ type: 'begin' });
      before = performance.eventLoopUtilization();
      meter.start();
      profiler?.start();
    },
    () => {
      tell({ type: 'end' });
      loopUse = performance.eventLoopUtilization(before).utilization;
      loopDelayMs = meter.stop();
      profiler?.stop();
    },
  );
  const { recorder, counts } = loop;
  return {
    seconds: plan.seconds,
    operations: recorder.ended,
    reads: counts.reads,
    writes: counts.writes,
    scans: counts.scans,
    latencyMs: recorder.latencyMs(),
    errors: counts.errors,
    firstError: loop.firstError,
    notBegun: loop.notBegun,
    perSecond: recorder.perSecond(performance.now()).slice(0, plan.seconds),
    records: loop.records,
    loopDelayMs,
    loopUse,
  };
}

// Nobody waits for the result any more.
process.once('disconnect', () => process.exit(1));
try {
  const plan = JSON.parse(process.argv[2] ?? '') as Plan;
  const window = Math.ceil(plan.clients / plan.connections);
  const connections = await Promise.all(
    Array.from({ length: plan.connections }, (_, i) => connect(plan.target, i, window)),
  );
  if (plan.task === 'preload') {
    await preload(connections, plan);
  } else tell({ type: 'result', result: await measure(connections, plan) });
  await Promise.all(connections.map((connection) => connection.close()));
  tell({ type: 'done' });
} catch (error) {
  tell({ type: 'failed', reason: error instanceof Error ? error.message : String(error) });
}
