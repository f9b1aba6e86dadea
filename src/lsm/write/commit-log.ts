/**
 * Takes a batch from its sequence numbers to the active memtable, through the WAL if the tree has one.
 *
 *     given      the batch has its sequence numbers, in the order of the calls
 *     visible    it is in the active memtable, so readers see it
 *     durable    it survives a power cut: it is synced in the WAL, or in durable tables
 *
 * A WAL file is removed when all its batches are in durable tables.
 */
import { errorMessage, type RaftreeError } from '../../env/errors.js';
import type { RecordLog } from '../../record/record-log.js';
import type { BackgroundWork } from '../base/background-work.js';
import type { LifeCycle } from '../base/life-cycle.js';
import type { MemtableList } from '../memtable/memtable-list.js';
import type { ResolvedOptions } from '../options.js';
import type { VersionSet } from '../version/version-set.js';
import { insertEncoded, insertOperations, type Operation, setFirstSequence } from '../wal/write-batch.js';

export interface CommitLogHost {
  readonly options: ResolvedOptions;
  readonly life: LifeCycle;
  readonly versions: VersionSet;
  readonly memtables: MemtableList;
  readonly background: BackgroundWork;
  /** A batch is in the active memtable. */
  inserted(): void;
  /** The WAL has refused a batch. Returns the error for the caller of the write. */
  appendFailed(error: unknown): RaftreeError;
}

export class CommitLog {
  readonly #host: CommitLogHost;
  #wal: RecordLog | undefined;
  #lastGiven = 0;
  #lastVisible = 0;
  /** The last sequence that is synced in the WAL. */
  #lastSynced = 0;
  #isRemovingFiles = false;
  #deferred: (() => readonly Operation[]) | undefined;

  constructor(host: CommitLogHost) {
    this.#host = host;
  }

  /** Continues after recovery. Everything up to `lastSequence` is durable and visible. */
  begin(wal: RecordLog | undefined, lastSequence: number): void {
    this.#wal = wal;
    this.#lastGiven = lastSequence;
    this.#lastVisible = lastSequence;
    this.#lastSynced = lastSequence;
  }

  /** Undefined in a tree of durability `none`. */
  get wal(): RecordLog | undefined {
    return this.#wal;
  }

  get lastSequence(): number {
    return this.#lastVisible;
  }

  get durableSequence(): number {
    return Math.max(this.#lastSynced, this.#host.versions.flushedSequence);
  }

  /** Bytes of batches that the WAL has not written yet. */
  get queuedBytes(): number {
    return this.#wal?.queuedBytes ?? 0;
  }

  /**
   * Resolves to the batch's last sequence when it is visible and, if `durable`, synced. The bytes must not change until
   * then. Rejects with what `appendFailed` returns.
   */
  append(payload: Buffer, count: number, durable: boolean): Promise<number> {
    const wal = this.#wal;
    const first = this.#lastGiven + 1;
    const last = this.#lastGiven + count;
    this.#lastGiven = last;
    setFirstSequence(payload, first);
    if (!wal) {
      this.#insert(payload, first, last, undefined);
      return Promise.resolve(last);
    }
    return wal.append([payload], durable).then(
      (position) => {
        this.#insert(payload, first, last, position.file);
        if (durable && last > this.#lastSynced) this.#lastSynced = last;
        return last;
      },
      (error: unknown) => {
        throw this.#host.appendFailed(error);
      },
    );
  }

  /** As `append`, at once, in a tree without a WAL. */
  insertNow(operations: readonly Operation[]): number {
    const first = this.#lastGiven + 1;
    // An empty batch takes a sequence: it is durable when what it has deferred is.
    const last = this.#lastGiven + Math.max(1, operations.length);
    this.#lastGiven = last;
    insertOperations(operations, first, this.#host.memtables.active);
    this.#lastVisible = last;
    this.#host.inserted();
    return last;
  }

  /** See `LsmTree.beforeFreeze`. */
  defer(operations: () => readonly Operation[]): void {
    this.#deferred = operations;
  }

  get defers(): boolean {
    return this.#deferred !== undefined;
  }

  /** Inserts what was deferred. Throws what the caller of `defer` throws. */
  insertDeferred(): void {
    const operations = this.#deferred?.() ?? [];
    if (operations.length === 0) return;
    const first = this.#lastGiven + 1;
    this.#lastGiven += operations.length;
    insertOperations(operations, first, this.#host.memtables.active);
    this.#lastVisible = this.#lastGiven;
  }

  #insert(payload: Buffer, first: number, last: number, walFile: number | undefined): void {
    const { active } = this.#host.memtables;
    active.oldestWal ??= walFile;
    insertEncoded(payload, first, active);
    this.#lastVisible = last;
    this.#host.inserted();
  }

  /** The active memtable was frozen: what comes now goes into a new WAL file. */
  rotate(): void {
    this.#wal?.rotate();
  }

  /** The oldest WAL file that recovery needs once the oldest frozen memtable is flushed. */
  oldestWalAfterFlush(): number {
    const { versions, memtables } = this.#host;
    const { oldestWal } = versions.state;
    return this.#wal ? Math.max(oldestWal, memtables.oldestWalAfterFlush(this.#wal.currentFile)) : oldestWal;
  }

  /** Removes the WAL files that recovery does not need any more, in the background. */
  removeObsolete(): void {
    const wal = this.#wal;
    if (!wal || this.#isRemovingFiles) return;
    const { versions, life, background, options } = this.#host;
    this.#isRemovingFiles = true;
    const { oldestWal } = versions.state;
    const removed = wal.removeBeforeLater(oldestWal).then(
      () => {
        this.#isRemovingFiles = false;
        if (versions.state.oldestWal > oldestWal && life.isOpen) this.removeObsolete();
      },
      (error: unknown) => {
        this.#isRemovingFiles = false;
        options.logger.warn({ error: errorMessage(error) }, 'an obsolete WAL file could not be removed');
      },
    );
    void background.add(removed);
  }

  /** Gives the WAL away, to be closed: from now on the tree has none. */
  detachWal(): RecordLog | undefined {
    const wal = this.#wal;
    this.#wal = undefined;
    return wal;
  }

  /** Writes what is queued, syncs and closes the WAL. Rejects with the system's error. */
  async close(): Promise<void> {
    const wal = this.#wal;
    if (!wal) return;
    await wal.close();
    // A log that has failed is closed without a sync.
    if (!wal.failure) this.#lastSynced = this.#lastVisible;
  }
}
