/**
 * Hands the core's batches to the log, in order, and keeps each until it is durable. When the disk is full, neither the
 * batch that failed nor any later one was written: all of them are given to the log again, in order, until there is
 * space.
 */
import type { DiskSpace } from '../env/disk-space.js';
import type { Timer } from '../env/env.js';
import { errorCode } from '../env/errors.js';
import type { AppendBatch, SnapshotBase } from '../raft/types.js';
import type { GroupLog } from '../raft-log/raft-log.js';
import type { CorePort } from './ports.js';

const WRITER = 'Raft log';

export interface LogWriterParts {
  readonly diskSpace: DiskSpace;
  readonly log: Pick<GroupLog, 'append' | 'hold'>;
  readonly core: Pick<CorePort, 'step' | 'fail'>;
  /** Makes a batch with a snapshot durable. Rejects as the log does. */
  readonly installer: { install(batch: AppendBatch, snapshot: SnapshotBase): Promise<void> };
}

export class LogWriter {
  readonly #parts: LogWriterParts;
  /** Not yet durable, in order. */
  #unpersisted: AppendBatch[] = [];
  #diskFull: Timer | undefined;
  #closed = false;

  constructor(parts: LogWriterParts) {
    this.#parts = parts;
  }

  /** The entries can be read from the log at once. */
  write(batch: AppendBatch): void {
    // A snapshot replaces all batches that still wait: they must not be written after it.
    if (batch.snapshot) {
      this.#unpersisted = [];
      this.#diskFull?.cancel();
      this.#diskFull = undefined;
    }
    this.#unpersisted.push(batch);
    if (this.#diskFull) this.#parts.log.hold(batch);
    else this.#append(batch);
  }

  /** Something is not durable yet. */
  get isWriting(): boolean {
    return this.#unpersisted.length > 0;
  }

  /** Stops the retries. */
  close(): void {
    this.#closed = true;
    this.#diskFull?.cancel();
  }

  #append(batch: AppendBatch): void {
    const { log, diskSpace, installer, core } = this.#parts;
    const written = batch.snapshot ? installer.install(batch, batch.snapshot) : log.append(batch);
    written.then(
      () => {
        if (this.#unpersisted[0] === batch) this.#unpersisted.shift();
        diskSpace.available(WRITER);
        core.step({ type: 'persisted', batch: batch.batch });
      },
      (error: unknown) => {
        if (errorCode(error) === 'LOG_NO_SPACE') this.#waitForSpace(error);
        else core.fail(error);
      },
    );
  }

  #waitForSpace(error: unknown): void {
    if (this.#diskFull || this.#closed) return;
    this.#diskFull = this.#parts.diskSpace.retryAfter(WRITER, error, () => {
      this.#diskFull = undefined;
      this.#unpersisted = withoutReplaced(this.#unpersisted);
      for (const batch of [...this.#unpersisted]) this.#append(batch);
    });
  }
}

/**
 * Entries that a later batch replaces are not written any more: the log holds that one already, and they would not
 * follow it.
 */
function withoutReplaced(batches: readonly AppendBatch[]): AppendBatch[] {
  let end = Number.POSITIVE_INFINITY;
  return batches
    .toReversed()
    .map((batch): AppendBatch => {
      const kept = batch.entries.slice(0, Math.max(0, end - batch.first));
      if (batch.entries.length > 0) end = Math.min(end, batch.first);
      return { ...batch, entries: kept };
    })
    .toReversed();
}
