/**
 * The worker thread that writes the tables of all trees of the process (its code: `table-worker-entry.ts`), and a
 * tree's side of it. It starts with the first tree and ends with the process. It keeps the process alive only while it
 * has work. If it dies, its trees do their work themselves, including the jobs that it had not finished. A tree that is
 * opened later gets a new worker. If the worker never became ready, as in a bundled program without its file, no other
 * is started.
 */
import type { Logger, Thread, Threads } from '../../env/env.js';
import { errorMessage, RaftreeError } from '../../env/errors.js';
import { tableName } from '../table/table-file.js';
import { type CompactionJob, mostOutputs } from './compaction.js';
import {
  ABANDONED,
  type FlushJob,
  InlineJobRunner,
  type InlineOptions,
  type JobRunner,
  type MadeTables,
} from './job-runner.js';
import {
  compactRequest,
  receiveError,
  receiveMetadata,
  sendRuns,
  type WorkerReply,
  type WorkerRequest,
  type WorkerStart,
} from './table-worker-messages.js';

const ENTRY = './table-worker-entry.js';

interface Pending {
  readonly resolve: (made: MadeTables) => void;
  readonly reject: (error: unknown) => void;
}

/** `Omit` over each member of a union. */
type Without<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;
export type Job = Without<Exclude<WorkerRequest, { kind: 'abandon' }>, 'id'>;

export class TableWorker {
  static readonly #ofThreads = new WeakMap<Threads, TableWorker>();
  readonly #threads: Threads;
  readonly #pending = new Map<number, Pending>();
  readonly #sent = new Int32Array(new SharedArrayBuffer(4));
  #thread: Thread | undefined;
  #nextId = 1;
  #isReady = false;
  #failure: RaftreeError | undefined;

  /** The worker of the process. */
  static of(threads: Threads): TableWorker {
    const known = TableWorker.#ofThreads.get(threads);
    if (known) return known;
    const worker = new TableWorker(threads);
    TableWorker.#ofThreads.set(threads, worker);
    return worker;
  }

  private constructor(threads: Threads) {
    this.#threads = threads;
  }

  /** Why it has stopped working; undefined while it works. */
  get failure(): RaftreeError | undefined {
    return this.#failure;
  }

  /** Starts the thread early, so that the first job need not wait for the start. */
  start(): void {
    if (this.#failure || this.#thread) return;
    try {
      this.#thread = this.#start();
    } catch (error) {
      this.#ended(error);
    }
  }

  /** Sends a job; resolves to the tables made. Rejects with `failure` if it has died. */
  run(job: Job): { readonly id: number; readonly made: Promise<MadeTables> } {
    const id = this.#nextId++;
    if (this.#failure) return { id, made: Promise.reject(this.#failure) };
    const made = new Promise<MadeTables>((resolve, reject) => this.#pending.set(id, { resolve, reject }));
    if (this.#pending.size === 1) this.#thread?.hold();
    this.#post({ ...job, id });
    return { id, made };
  }

  /** Abandons a compaction that is not done yet; its promise rejects with `ABANDONED`. */
  abandon(id: number): void {
    if (this.#pending.has(id)) this.#post({ kind: 'abandon', id });
  }

  #start(): Thread {
    const data: WorkerStart = { sent: this.#sent };
    // A bundler may have taken the URL away.
    return this.#threads.start(new URL(ENTRY, import.meta.url), data, {
      message: (message) => this.#receive(message as WorkerReply),
      ended: (error) => this.#ended(error),
    });
  }

  #post(request: WorkerRequest): void {
    this.#thread?.post(request);
    Atomics.add(this.#sent, 0, 1);
  }

  #receive(reply: WorkerReply): void {
    if (reply === 'ready') {
      this.#isReady = true;
      return;
    }
    const { id, threadId, result } = reply;
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (this.#pending.size === 0) this.#thread?.release();
    if (result === 'abandoned') pending?.reject(ABANDONED);
    else if ('message' in result) pending?.reject(receiveError(result));
    else pending?.resolve({ tables: result.map(receiveMetadata), threadId });
  }

  #ended(cause: unknown): void {
    if (this.#isReady) TableWorker.#ofThreads.delete(this.#threads);
    const happened = this.#isReady ? 'has died' : 'could not start';
    this.#failure = new RaftreeError(
      'LSM_WORKER_DIED',
      `the worker thread that writes tables ${happened}: ${errorMessage(cause)}`,
      { cause },
    );
    for (const { reject } of this.#pending.values()) reject(this.#failure);
    this.#pending.clear();
  }
}

export interface WorkerRunnerOptions extends InlineOptions {
  readonly logger: Logger;
  /** Reserves this many consecutive numbers; returns the first. */
  takeFileNumbers(count: number): number;
}

export class WorkerJobRunner implements JobRunner {
  readonly #worker: TableWorker;
  readonly #options: WorkerRunnerOptions;
  /** Does the work after the worker has died. */
  readonly #inline: InlineJobRunner;
  #compaction: { id: number | undefined; isAbandoned: boolean } | undefined;
  #hasToldOfDeath = false;

  constructor(worker: TableWorker, options: WorkerRunnerOptions) {
    this.#worker = worker;
    this.#options = options;
    this.#inline = new InlineJobRunner(options);
    worker.start();
  }

  flush(job: FlushJob): Promise<MadeTables> {
    const request = () => ({
      kind: 'flush' as const,
      table: job.table,
      snapshots: job.snapshots,
      memtable: job.memtable.share(),
      older: sendRuns(job.older),
    });
    return this.#run(
      1,
      request,
      () => {},
      () => this.#inline.flush(job),
    );
  }

  async compact(job: CompactionJob): Promise<MadeTables> {
    const compaction: { id: number | undefined; isAbandoned: boolean } = {
      id: undefined,
      isAbandoned: false,
    };
    this.#compaction = compaction;
    const request = () => ({ ...compactRequest(job), table: job.table, snapshots: job.snapshots });
    const started = (id: number) => {
      compaction.id = id;
    };
    try {
      return await this.#run(mostOutputs(job), request, started, () => {
        if (compaction.isAbandoned) throw ABANDONED;
        return this.#inline.compact(job);
      });
    } finally {
      this.#compaction = undefined;
    }
  }

  abandonCompaction(): void {
    if (!this.#compaction) return;
    this.#compaction.isAbandoned = true;
    this.#inline.abandonCompaction();
    if (this.#compaction.id !== undefined) this.#worker.abandon(this.#compaction.id);
  }

  close(): void {}

  async #run(
    fileNumbers: number,
    request: () => Without<Job, 'directory' | 'firstFileNumber' | 'fileNumbers'>,
    started: (id: number) => void,
    inline: () => Promise<MadeTables>,
  ): Promise<MadeTables> {
    if (!this.#worker.failure) {
      const { directory, takeFileNumbers } = this.#options;
      const firstFileNumber = takeFileNumbers(fileNumbers);
      const { id, made } = this.#worker.run({ ...request(), directory, firstFileNumber, fileNumbers });
      started(id);
      try {
        return await made;
      } catch (error) {
        if (error !== this.#worker.failure) throw error;
        this.#removeUnfinished(firstFileNumber, fileNumbers);
      }
    }
    this.#tellOfDeath();
    return inline();
  }

  #tellOfDeath(): void {
    if (this.#hasToldOfDeath) return;
    this.#hasToldOfDeath = true;
    const { directory, logger } = this.#options;
    logger.warn(
      { directory, error: errorMessage(this.#worker.failure) },
      'tables are written in the thread of the tree from now on, which takes its time from everything else there',
    );
  }

  /** Files that cannot be removed now are removed at the next opening. */
  #removeUnfinished(firstFileNumber: number, fileNumbers: number): void {
    const { env, directory } = this.#options;
    for (let number = firstFileNumber; number < firstFileNumber + fileNumbers; number++) {
      try {
        env.fs.unlink(`${directory}/${tableName(number)}`);
      } catch {
        // The file was not begun, or it cannot be removed now.
      }
    }
  }
}
