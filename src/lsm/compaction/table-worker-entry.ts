/**
 * The code of the worker thread. It runs jobs one after another, flushes before compactions. A flush that arrives
 * during a compaction runs between two blocks of the compaction. File calls block the thread. Syncs do not: other work
 * continues meanwhile.
 */
import { parentPort, receiveMessageOnPort, threadId, workerData } from 'node:worker_threads';
import { blockingFiles } from '../../env/blocking-files.js';
import type { Env } from '../../env/env.js';
import { realEnv } from '../../env/real/real-env.js';
import { Memtable } from '../memtable/memtable.js';
import { BlockCache } from '../table/block-cache.js';
import { TableCache } from '../table/table-cache.js';
import { TableFile, type TableMetadata } from '../table/table-file.js';
import { compact } from './compaction.js';
import { ABANDONED, flushMemtable } from './job-runner.js';
import type { OutputContext } from './output-tables.js';
import {
  type CompactRequest,
  type FlushRequest,
  receiveMetadata,
  sendError,
  sendMetadata,
  type WorkerReply,
  type WorkerRequest,
  type WorkerStart,
} from './table-worker-messages.js';

/** Tables that a compaction reads use no block cache. */
const NO_CACHE = { bytes: 0, slotBytes: 1 };
const MAX_OPEN_TABLES = 256;
const SHARE_OF_DESCRIPTORS = 0.25;
/** The time between two checks whether a sync is done. */
const TURN_MS = 1;

class TableWorkerThread {
  readonly #env: Env;
  readonly #start: WorkerStart;
  readonly #receive: () => WorkerRequest | undefined;
  readonly #reply: (reply: WorkerReply) => void;
  readonly #flushes: FlushRequest[] = [];
  #compactions: CompactRequest[] = [];
  #running: CompactRequest | undefined;
  #isAbandoned = false;
  #seen = 0;
  #isBusy = false;
  /** Flushes whose tables are being synced. */
  #flushesToAnswer = 0;
  #lastTurnMs = 0;

  constructor(
    start: WorkerStart,
    receive: () => WorkerRequest | undefined,
    reply: (reply: WorkerReply) => void,
  ) {
    const env = realEnv();
    this.#env = { ...env, fs: blockingFiles(env.fs) };
    this.#start = start;
    this.#receive = receive;
    this.#reply = reply;
  }

  accept(request: WorkerRequest): void {
    if (request.kind === 'flush') this.#flushes.push(request);
    else if (request.kind === 'compact') this.#compactions.push(request);
    else if (this.#running?.id === request.id) this.#isAbandoned = true;
    else if (this.#compactions.some(({ id }) => id === request.id)) {
      this.#compactions = this.#compactions.filter(({ id }) => id !== request.id);
      this.#reply({ id: request.id, threadId, result: 'abandoned' });
    }
  }

  async work(): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    for (;;) {
      await this.#flush();
      const compaction = this.#compactions.shift();
      if (!compaction) break;
      this.#running = compaction;
      await this.#answer(compaction, this.#compact(compaction));
      this.#running = undefined;
      this.#isAbandoned = false;
      this.#takeMail();
    }
    this.#isBusy = false;
  }

  async #flush(): Promise<void> {
    for (let request = this.#flushes.shift(); request; request = this.#flushes.shift()) {
      await this.#writeFlush(request);
      this.#takeMail();
    }
  }

  /** Resolves when the tables are written. Other jobs run while they are synced. */
  #writeFlush(request: FlushRequest): Promise<void> {
    const memtable = Memtable.attach(request.memtable);
    return new Promise((written) => {
      const context = { ...this.#context(request, () => undefined), written };
      this.#flushesToAnswer++;
      const answered = this.#answer(request, flushMemtable({ ...request, memtable }, context));
      void answered.then(() => {
        this.#flushesToAnswer--;
        written();
      });
    });
  }

  async #compact(request: CompactRequest): Promise<TableMetadata[]> {
    const cache = new BlockCache(NO_CACHE.bytes, NO_CACHE.slotBytes);
    const maxDescriptors = Math.ceil(this.#env.host.maxDescriptors() * SHARE_OF_DESCRIPTORS);
    const tables = new TableCache(
      this.#env,
      request.directory,
      Math.min(MAX_OPEN_TABLES, maxDescriptors),
      cache,
    );
    const runs = request.runs.map((run) => run.map((file) => new TableFile(receiveMetadata(file))));
    try {
      const context = this.#context(request, () => this.#breathe());
      return await compact({ ...request, runs }, tables, context);
    } finally {
      tables.closeAll();
    }
  }

  #breathe(): Promise<void> | undefined {
    this.#takeMail();
    if (this.#isAbandoned) throw ABANDONED;
    if (this.#flushes.length > 0) return this.#flush();
    return this.#flushesToAnswer > 0 ? this.#turn() : undefined;
  }

  /** The end of a sync can be noticed only between turns of the event loop. */
  #turn(): Promise<void> | undefined {
    const nowMs = this.#env.clock.nowMs();
    if (nowMs - this.#lastTurnMs < TURN_MS) return undefined;
    this.#lastTurnMs = nowMs;
    return new Promise((resolve) => this.#env.timers.endOfTurn(resolve));
  }

  #takeMail(): void {
    const sent = Atomics.load(this.#start.sent, 0);
    if (sent === this.#seen) return;
    this.#seen = sent;
    for (let request = this.#receive(); request; request = this.#receive()) this.accept(request);
  }

  async #answer(request: FlushRequest | CompactRequest, made: Promise<TableMetadata[]>): Promise<void> {
    const result = await made.then(
      (tables) => tables.map(sendMetadata),
      (error: unknown) => (error === ABANDONED ? 'abandoned' : sendError(error)),
    );
    this.#reply({ id: request.id, threadId, result });
  }

  #context(request: FlushRequest | CompactRequest, breathe: () => Promise<void> | undefined): OutputContext {
    let next = request.firstFileNumber;
    const end = request.firstFileNumber + request.fileNumbers;
    return {
      env: this.#env,
      directory: request.directory,
      table: request.table,
      newFileNumber: () => (next < end ? next++ : undefined),
      breathe,
    };
  }
}

if (parentPort) {
  const port = parentPort;
  const thread = new TableWorkerThread(
    workerData as WorkerStart,
    () => receiveMessageOnPort(port)?.message as WorkerRequest | undefined,
    (reply) => port.postMessage(reply),
  );
  port.on('message', (request: WorkerRequest) => {
    thread.accept(request);
    void thread.work();
  });
  port.postMessage('ready' satisfies WorkerReply);
}
