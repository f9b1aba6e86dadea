/**
 * The load: so many clients, each with one operation under way, over fewer connections.
 *
 *     closed loop   a client begins its next operation when the one before has ended
 *     open loop     operations are due at a fixed rate, whatever the store does. A free client takes the next one that
 *                   is due. Latency counts from when it was due, so that a stall counts for all that had to wait
 *                   (Tene's "coordinated omission"). The store has fallen behind when operations are due and no client
 *                   is free.
 */
import { SeededRandom } from '../../../src/sim/world/seeded-random.js';
import type { Connection } from '../clients/connection.js';
import type { Chooser } from './distributions.js';
import type { Plan } from './plan.js';
import { Recorder } from './recorder.js';
import { keyOfRecord, ValuePool } from './records.js';
import { MAX_SCAN_ENTRIES, operationOf, type Workload, workloadOf } from './workloads.js';

/** An operation that is due within this time begins at once: timers are no more exact than that. */
const EARLY_MS = 0.5;
/** So long operations may take that were begun in the measured time. */
const DRAIN_MS = 10_000;
/** After an error a client waits: a store that refuses everything is not to be flooded. */
const PAUSE_MS = 10;

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export class LoadLoop {
  readonly #connections: readonly Connection[];
  readonly #plan: Plan;
  readonly #workload: Workload;
  readonly #random: SeededRandom;
  readonly #values: ValuePool;
  readonly #choose: Chooser;
  readonly #recorder: Recorder;
  readonly #startMs: number;
  readonly #measureFromMs: number;
  readonly #endMs: number;
  readonly #acknowledged = new Set<number>();
  #records: number;
  #nextInsert: number;
  #due = 0;
  #underWay = 0;
  #isOver = false;
  readonly counts = { reads: 0, writes: 0, scans: 0, errors: 0, begun: 0 };
  firstError: string | undefined;

  constructor(connections: readonly Connection[], plan: Plan) {
    this.#connections = connections;
    this.#plan = plan;
    this.#workload = workloadOf(plan.workload);
    this.#random = new SeededRandom(plan.seed);
    this.#values = new ValuePool(plan.valueBytes, plan.compressible, plan.seed + 1);
    this.#choose = this.#workload.chooser(this.#random, plan.records);
    this.#records = plan.records;
    this.#nextInsert = plan.records;
    this.#startMs = performance.now();
    this.#measureFromMs = this.#startMs + plan.warmupSeconds * 1000;
    this.#endMs = this.#measureFromMs + plan.seconds * 1000;
    this.#recorder = new Recorder(this.#measureFromMs);
  }

  get recorder(): Recorder {
    return this.#recorder;
  }

  /** Records that exist now. */
  get records(): number {
    return this.#records;
  }

  /** Operations that were due in the measured time and did not begin. */
  get notBegun(): number {
    const { rate, warmupSeconds, seconds } = this.#plan;
    if (rate === undefined) return 0;
    const due = Math.ceil((warmupSeconds + seconds) * rate) - Math.ceil(warmupSeconds * rate);
    return Math.max(0, due - this.counts.begun);
  }

  /** Calls `begin` and `end` at the edges of the measured time; resolves when what was begun in it has ended. */
  async run(begin: () => void, end: () => void): Promise<void> {
    const clients = Array.from({ length: this.#plan.clients }, (_, i) =>
      this.#client(this.#connections[i % this.#connections.length] as Connection),
    );
    await sleep(this.#measureFromMs - performance.now());
    begin();
    await sleep(this.#endMs - performance.now());
    this.#isOver = true;
    end();
    const slow = sleep(DRAIN_MS);
    await Promise.race([Promise.all(clients), slow]);
    if (this.#underWay > 0)
      this.#fail(`${this.#underWay} operations had no answer ${DRAIN_MS} ms after the end`);
  }

  async #client(connection: Connection): Promise<void> {
    const { rate } = this.#plan;
    while (!this.#isOver) {
      const dueMs = rate === undefined ? undefined : await this.#nextDue(rate);
      const nowMs = performance.now();
      const startMs = dueMs ?? nowMs;
      if (startMs >= this.#endMs) return;
      const counts = startMs >= this.#measureFromMs;
      if (counts) this.counts.begun++;
      this.#underWay++;
      try {
        await this.#operate(connection, counts);
        const endMs = performance.now();
        if (endMs >= this.#measureFromMs && endMs < this.#endMs) this.#recorder.countEnd(endMs);
        // It may have begun a little before it was due.
        if (counts) this.#recorder.record(endMs - Math.min(startMs, nowMs));
      } catch (error) {
        if (counts) this.#fail(error instanceof Error ? error.message : String(error));
        await sleep(PAUSE_MS);
      } finally {
        this.#underWay--;
      }
    }
  }

  /** Waits until the next operation of the open loop is due, or all is over; returns when it is due. */
  async #nextDue(rate: number): Promise<number> {
    const dueMs = this.#startMs + (this.#due++ * 1000) / rate;
    const waitMs = Math.min(dueMs, this.#endMs) - performance.now();
    if (waitMs > EARLY_MS) await sleep(waitMs - EARLY_MS);
    return dueMs;
  }

  async #operate(connection: Connection, counts: boolean): Promise<void> {
    const operation = operationOf(this.#workload, this.#random);
    if (operation === 'insert') {
      const record = this.#nextInsert++;
      await this.#put(connection, record, counts);
      // Reads may take the records below the first one that is not acknowledged.
      this.#acknowledged.add(record);
      while (this.#acknowledged.delete(this.#records)) this.#records++;
      return;
    }
    const record = this.#choose(this.#records);
    if (operation === 'scan') {
      const limit = 1 + Math.floor(this.#random.float() * MAX_SCAN_ENTRIES);
      const found = await connection.scan(this.#keyOf(record), limit);
      if (found === 0) throw new Error(`a scan from record ${record} found nothing`);
      if (counts) this.counts.scans++;
      return;
    }
    if (operation !== 'update') await this.#get(connection, record, counts);
    if (operation !== 'read') await this.#put(connection, record, counts);
  }

  async #get(connection: Connection, record: number, counts: boolean): Promise<void> {
    const { level } = this.#workload;
    const length = await connection.get(this.#keyOf(record), level);
    if (length !== this.#plan.valueBytes && !(length < 0 && level === 'stale'))
      throw new Error(`a get of record ${record} found ${length < 0 ? 'nothing' : `${length} bytes`}`);
    if (counts) this.counts.reads++;
  }

  async #put(connection: Connection, record: number, counts: boolean): Promise<void> {
    await connection.put(this.#keyOf(record), this.#values.next());
    if (counts) this.counts.writes++;
  }

  #keyOf(record: number): Buffer {
    return keyOfRecord(this.#plan.firstRecord + record);
  }

  #fail(reason: string): void {
    this.counts.errors++;
    this.firstError ??= reason;
  }
}
