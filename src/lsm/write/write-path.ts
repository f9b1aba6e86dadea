/**
 * The way of a write, and of what follows from it:
 *
 *     gate          admits it, at once or later      write-gate.ts
 *     commit log    makes it durable and visible     commit-log.ts
 *     freezer       freezes full memtables           freezer.ts
 *     maintenance   flushes and compacts             ../compaction/maintenance.ts
 *
 * This class connects the four. It also decides what waiting calls are told when the disk is full or has failed.
 */
import type { DirectoryLock } from '../../env/directory-lock.js';
import { errorCode, errorMessage, isDiskFull, type RaftreeError } from '../../env/errors.js';
import type { BackgroundWork } from '../base/background-work.js';
import { busyError, closedError, invalid, noSpaceError, readOnlyError } from '../base/errors.js';
import type { LifeCycle } from '../base/life-cycle.js';
import { Maintenance } from '../compaction/maintenance.js';
import type { MemtableList } from '../memtable/memtable-list.js';
import type { FlushEvent, ResolvedOptions } from '../options.js';
import type { SnapshotList } from '../read/snapshot-list.js';
import type { TableCache } from '../table/table-cache.js';
import type { VersionSet } from '../version/version-set.js';
import { isLogFull } from '../wal/wal.js';
import { batchBytes, type Operation } from '../wal/write-batch.js';
import { CommitLog } from './commit-log.js';
import { Freezer } from './freezer.js';
import { WriteGate } from './write-gate.js';

export interface WriteOptions {
  /** What this write waits for; the tree's `durability` by default. Without effect in a tree that has no WAL. */
  readonly durability?: 'sync' | 'buffered';
}

export interface WritePathParts {
  readonly options: ResolvedOptions;
  readonly directory: string;
  readonly lock: DirectoryLock;
  readonly life: LifeCycle;
  readonly versions: VersionSet;
  readonly tables: TableCache;
  readonly memtables: MemtableList;
  readonly snapshots: SnapshotList;
  readonly background: BackgroundWork;
}

export class WritePath {
  readonly gate: WriteGate;
  readonly log: CommitLog;
  readonly freezer: Freezer;
  readonly maintenance: Maintenance;
  readonly #parts: WritePathParts;

  constructor(parts: WritePathParts) {
    this.#parts = parts;
    const { options, memtables, lock } = parts;
    this.log = new CommitLog({
      ...parts,
      inserted: () => this.#inserted(),
      appendFailed: (error) => this.#appendFailed(error),
    });
    this.maintenance = new Maintenance({
      ...parts,
      frozen: () => memtables.frozen,
      oldestWalAfterFlush: () => this.log.oldestWalAfterFlush(),
      newestWal: () => this.log.wal?.currentFile,
      flushed: (event) => this.#flushed(event),
      flushDelayed: (error) => this.#flushDelayed(error),
      changed: () => this.#changed(),
      failed: (error) => this.#failed(error),
      checkDirectory: () => lock.check(),
    });
    this.freezer = new Freezer({
      ...parts,
      log: this.log,
      budget: options.resources.writeBuffers,
      startFlush: () => this.maintenance.kick(),
      failed: (error) => this.#failed(error),
    });
    this.gate = new WriteGate({
      ...parts,
      maintenance: this.maintenance,
      queuedBytes: () => this.log.queuedBytes,
    });
  }

  /** Throws `LSM_INVALID`, `LSM_BUSY` or `LSM_NO_SPACE`; rejects as `LsmTree.write`. */
  write(payload: Buffer, count: number, options: WriteOptions): Promise<number> {
    const { log, gate } = this;
    const { durability: byDefault, maxWaitingBytes } = this.#parts.options;
    const sizeBytes = payload.length;
    const durability = options.durability ?? byDefault;
    if (log.wal && durability !== 'sync' && durability !== 'buffered') {
      throw invalid(`durability is ${String(durability)}; sync or buffered is accepted`);
    }
    const durable = log.wal !== undefined && durability === 'sync';
    const pendingBytes = gate.waitingBytes + log.queuedBytes;
    if (pendingBytes > 0 && pendingBytes + sizeBytes > maxWaitingBytes) throw busyError(pendingBytes);
    if (gate.enterNow(sizeBytes)) return log.append(payload, count, durable);
    if (this.#isHeldByFullDisk()) throw noSpaceError();
    return gate.enter(sizeBytes, () => log.append(payload, count, durable));
  }

  writeNow(operations: readonly Operation[]): number {
    if (this.log.wal) throw invalid('writeSync needs a tree with durability none');
    // Takes its share of a slower pace, and need not wait for it.
    if (operations.length > 0 || !this.log.defers) this.gate.take(batchBytes(operations));
    return this.log.insertNow(operations);
  }

  /** Resolves when a write would not have to wait. */
  room(): Promise<void> {
    if (this.gate.enterNow(0)) return Promise.resolve();
    if (this.#isHeldByFullDisk()) return Promise.reject(noSpaceError());
    return this.gate.enter(0, () => {});
  }

  /** Whether writes are slowed down, or wait, because a flush or a compaction finds no space. */
  get isPressedByFullDisk(): boolean {
    if (!this.maintenance.diskIsFull) return false;
    const reason = this.gate.pressedBy;
    return reason !== undefined && this.maintenance.cannotEnd(reason);
  }

  /** Whether writes wait for a flush or a compaction that finds no space. */
  #isHeldByFullDisk(): boolean {
    const { stallReason } = this.gate;
    return stallReason !== undefined && this.maintenance.cannotEnd(stallReason);
  }

  #inserted(): void {
    this.freezer.grown();
    if (!this.#parts.memtables.activeIsFull) return;
    this.freezer.freezeIfWanted();
    this.gate.note();
  }

  #flushed(event: Omit<FlushEvent, 'flushedSequence'>): void {
    const { memtables, versions, options } = this.#parts;
    memtables.dropOldest();
    this.log.removeObsolete();
    const { flushedSequence } = versions;
    this.freezer.flushed(flushedSequence);
    options.listener?.flushed?.({ flushedSequence, ...event });
    this.freezer.freezeIfWanted();
    this.#changed();
  }

  /** A flush is tried again when descriptors are lacking, but a tree that is closing does not wait for that. */
  #flushDelayed(error: unknown): void {
    if (isDiskFull(error)) this.freezer.refuseAll(noSpaceError(error));
    else if (!this.#parts.life.isOpen) this.freezer.refuseAll(error);
  }

  #changed(): void {
    if (this.#isHeldByFullDisk()) this.gate.refuseAll(noSpaceError());
    this.gate.changed();
  }

  #failed(error: unknown): void {
    const { life, options } = this.#parts;
    if (!life.fail(error)) return;
    options.logger.error({ error: errorMessage(error) }, 'the tree is read-only until it is reopened');
    options.listener?.failed?.(error);
    this.gate.refuseAll(readOnlyError(error, 'notCommitted'));
    this.freezer.refuseAll(readOnlyError(error, 'unknown'));
  }

  #appendFailed(error: unknown): RaftreeError {
    const isFailure = errorCode(error) === 'LOG_FAILED';
    if (isFailure) {
      this.#failed(error);
      void this.maintenance.stop(readOnlyError(error, 'notCommitted'));
    }
    this.#changed();
    if (isLogFull(error)) return noSpaceError(error);
    return errorCode(error) === 'LOG_CLOSED' ? closedError() : readOnlyError(error, 'unknown');
  }
}
