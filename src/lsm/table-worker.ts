/**
 * The worker thread that writes the tables of all trees of the process (its code: `table-worker-entry.ts`), and a
 * tree's side of it. It starts with the first tree and ends with the process, which it does not keep alive but while
 * it has work. If it dies, its trees fail; a tree that is opened later gets a new one.
 */
import type { Thread, Threads } from '../env/env.js';
import { errorMessage, RaftreeError } from '../env/errors.js';
import { type CompactionJob, mostOutputs } from './compaction.js';
import { ABANDONED, type FlushJob, type MadeTables, type TableMaker } from './table-maker.js';
import {
  compactRequest,
  receiveError,
  receiveMetadata,
  type WorkerReply,
  type WorkerRequest,
  type WorkerStart,
} from './table-worker-messages.js';

const ENTRY = new URL('./table-worker-entry.js', import.meta.url);

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
  /** Told when the worker dies. */
  readonly #users = new Set<(error: Error) => void>();
  readonly #sent = new Int32Array(new SharedArrayBuffer(4));
  #thread: Thread | undefined;
  #nextId = 1;
  #failure: Error | undefined;

  /** The one of the process. */
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

  /** `failed` is called if the worker dies; the function returned ends that. */
  join(failed: (error: Error) => void): () => void {
    const user = (error: Error) => failed(error);
    this.#users.add(user);
    // Its first job should not have to wait for that.
    if (!this.#failure) this.#thread ??= this.#start();
    return () => this.#users.delete(user);
  }

  /** Sends a job; resolves to the tables made. */
  run(job: Job): { readonly id: number; readonly made: Promise<MadeTables> } {
    const id = this.#nextId++;
    if (this.#failure) return { id, made: Promise.reject(this.#failure) };
    const made = new Promise<MadeTables>((resolve, reject) => this.#pending.set(id, { resolve, reject }));
    if (this.#pending.size === 1) this.#thread?.hold();
    this.#post({ ...job, id });
    return { id, made };
  }

  /** Gives up a compaction, if it is not done yet: it then rejects with `ABANDONED`. */
  abandon(id: number): void {
    if (this.#pending.has(id)) this.#post({ kind: 'abandon', id });
  }

  #start(): Thread {
    const data: WorkerStart = { sent: this.#sent };
    return this.#threads.start(ENTRY, data, {
      message: (message) => this.#receive(message as WorkerReply),
      ended: (error) => this.#ended(error),
    });
  }

  #post(request: WorkerRequest): void {
    this.#thread?.post(request);
    Atomics.add(this.#sent, 0, 1);
  }

  #receive({ id, threadId, result }: WorkerReply): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (this.#pending.size === 0) this.#thread?.release();
    if (result === 'abandoned') pending?.reject(ABANDONED);
    else if ('message' in result) pending?.reject(receiveError(result));
    else pending?.resolve({ tables: result.map(receiveMetadata), threadId });
  }

  #ended(cause: Error): void {
    const error = new RaftreeError(
      'LSM_WORKER_DIED',
      `the worker thread that writes tables has died: ${errorMessage(cause)}`,
      { cause },
    );
    this.#failure = error;
    TableWorker.#ofThreads.delete(this.#threads);
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
    for (const failed of [...this.#users]) failed(error);
  }
}

export interface WorkerMakerOptions {
  readonly directory: string;
  /** Gives so many numbers in a row; returns the first. */
  takeFileNumbers(count: number): number;
  failed(error: Error): void;
}

export class WorkerTableMaker implements TableMaker {
  readonly #worker: TableWorker;
  readonly #options: WorkerMakerOptions;
  readonly #leave: () => void;
  #compaction: number | undefined;
  #isAbandoned = false;

  constructor(worker: TableWorker, options: WorkerMakerOptions) {
    this.#worker = worker;
    this.#options = options;
    this.#leave = worker.join(options.failed);
  }

  flush({ memtable, snapshots, table }: FlushJob): Promise<MadeTables> {
    const { made } = this.#worker.run({
      kind: 'flush',
      directory: this.#options.directory,
      table,
      snapshots,
      memtable: memtable.share(),
      firstFileNumber: this.#options.takeFileNumbers(1),
      fileNumbers: 1,
    });
    return made;
  }

  async compact(job: CompactionJob): Promise<MadeTables> {
    if (this.#isAbandoned) throw ABANDONED;
    const fileNumbers = mostOutputs(job);
    const { id, made } = this.#worker.run({
      ...compactRequest(job),
      directory: this.#options.directory,
      table: job.table,
      snapshots: job.snapshots,
      firstFileNumber: this.#options.takeFileNumbers(fileNumbers),
      fileNumbers,
    });
    this.#compaction = id;
    try {
      return await made;
    } finally {
      this.#compaction = undefined;
    }
  }

  abandonCompactions(): void {
    this.#isAbandoned = true;
    if (this.#compaction !== undefined) this.#worker.abandon(this.#compaction);
  }

  close(): void {
    this.#leave();
  }
}
