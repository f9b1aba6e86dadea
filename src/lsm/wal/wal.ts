/**
 * The write-ahead log of a tree: a record log called `wal`, whose payloads are batches (`write-batch.ts`). A group of
 * batches that arrived together is one record, one write and at most one sync.
 */
import type { Env } from '../../env/env.js';
import { errorCode } from '../../env/errors.js';
import { corruption, type Position } from '../../record/record.js';
import { RecordLog } from '../../record/record-log.js';
import { type DecodedBatch, decodeBatch } from './write-batch.js';

const MAX_GROUP_BYTES = 4 * 1024 * 1024;
/**
 * A synced write that extends the file also writes this many zeros after itself. That costs as much as a few more
 * writes. Later writes within these zeros then need no change of the file's size.
 */
const PREALLOCATE_BYTES = 256 * 1024;
const SYNC_STEP_BYTES = 1024 * 1024;
const NAME = /^wal-(\d{8,15})\.log$/;
const SPARE_NAME = /^wal-\d{8,15}\.spare$/;

export function walName(number: number): string {
  return `wal-${String(number).padStart(8, '0')}.log`;
}

/** The number in the name of a WAL file; undefined for other names. */
export function walNumber(name: string): number | undefined {
  const match = NAME.exec(name);
  return match ? Number(match[1]) : undefined;
}

export function isWalName(name: string): boolean {
  return NAME.test(name);
}

/** A WAL file that an open tree keeps for reuse. The next opening removes it. */
export function isSpareWal(name: string): boolean {
  return SPARE_NAME.test(name);
}

/** What the MANIFEST says about a WAL. */
export interface KnownWal {
  readonly oldestWal: number;
  readonly newestWal: number;
  readonly walEnd: Position | undefined;
}

/**
 * Opens the log and calls `replay` for every batch from file `known.oldestWal` on, in order, with the number of its
 * file. Throws `CORRUPTION`, or the system's error. A missing or incomplete file up to `known.newestWal`, or a missing
 * record up to `known.walEnd`, is corruption too.
 */
export function openWal(
  env: Env,
  directory: string,
  known: KnownWal,
  writeBufferBytes: number,
  replay: (batch: DecodedBatch, file: number) => void,
): RecordLog {
  let lastSequence = 0;
  return RecordLog.open({
    env,
    directory,
    name: 'wal',
    // The tree rotates it with its memtables.
    maxFileBytes: Number.MAX_SAFE_INTEGER,
    maxGroupBytes: MAX_GROUP_BYTES,
    recycles: true,
    // A usual WAL file is somewhat larger than its entries in a memtable.
    maxSpareBytes: 2 * writeBufferBytes + PREALLOCATE_BYTES,
    preallocateBytes: PREALLOCATE_BYTES,
    syncStepBytes: SYNC_STEP_BYTES,
    oldestNeeded: known.oldestWal,
    newestKnown: known.newestWal,
    ...(known.walEnd && { syncedThrough: known.walEnd }),
    recovered: (payload, position) => {
      const path = `${directory}/${walName(position.file)}`;
      const batch = decodeBatch(payload, path, position.offset);
      if (batch.firstSequence <= lastSequence) {
        throw corruption(path, position.offset, `sequence ${batch.firstSequence} follows ${lastSequence}`);
      }
      lastSequence = batch.lastSequence;
      replay(batch, position.file);
    },
  });
}

/** The log is full, and it is certain that the append is not in it. */
export function isLogFull(error: unknown): boolean {
  return errorCode(error) === 'LOG_NO_SPACE';
}
