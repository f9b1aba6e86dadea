/** Replays the WAL when a tree opens, after the version is read; records the end of the WAL when a tree closes. */
import type { Logger } from '../env/env.js';
import { errorMessage, isDiskFull } from '../env/errors.js';
import { isBefore } from '../record/record.js';
import type { RecordLog } from '../record/record-log.js';
import { describeDiscarded } from '../record/recovery.js';
import type { MemtableList } from './memtable/memtable-list.js';
import type { ResolvedOptions } from './options.js';
import type { VersionSet } from './version/version-set.js';
import { isWalName, openWal } from './wal/wal.js';
import { insertOperations } from './wal/write-batch.js';

export interface Recovered {
  /** Undefined for a tree that has none and needs none. */
  readonly wal: RecordLog | undefined;
  readonly lastSequence: number;
}

/**
 * Replays into memtables what is not yet in tables. A tree of durability `none` has a WAL too if one is left of a
 * time in which it had another durability.
 */
export function replayWal(
  options: ResolvedOptions,
  directory: string,
  versions: VersionSet,
  memtables: MemtableList,
): Recovered {
  const { env, logger, durability, replayed, writeBufferBytes } = options;
  const { flushedSequence, oldestWal, newestWal } = versions.state;
  const hasWal = newestWal >= oldestWal || env.fs.list(directory).some(isWalName);
  if (durability === 'none' && !hasWal) return { wal: undefined, lastSequence: flushedSequence };
  let lastSequence = flushedSequence;
  const wal = openWal(env, directory, versions.state, writeBufferBytes, (batch, file) => {
    if (batch.lastSequence <= flushedSequence) return;
    replayed?.(batch.operations, batch.lastSequence);
    if (memtables.activeIsFull) memtables.freeze();
    const { active } = memtables;
    active.oldestWal ??= file;
    insertOperations(batch.operations, batch.firstSequence, active);
    lastSequence = batch.lastSequence;
  });
  const { discarded } = wal.recovery;
  if (discarded) {
    logger.warn(
      { path: discarded.path, offset: discarded.at.offset, bytes: discarded.bytes },
      `the end of the WAL is ${describeDiscarded(discarded)}; the writes in it are lost`,
    );
  }
  return { wal, lastSequence };
}

/**
 * No write is acknowledged before the MANIFEST names the WAL's first file. Its successors are named by the edits of
 * flushes, and before that each by the end of the file before it.
 */
export async function nameWal(wal: RecordLog, versions: VersionSet): Promise<void> {
  const lastFound = wal.currentFile;
  await wal.begin();
  const newestWal = wal.currentFile;
  if (newestWal <= versions.state.newestWal) return;
  try {
    await versions.commit({ added: [], removed: [], newestWal });
  } catch (error) {
    // A file that was there is named by the end of the file before it: the tree can be read while the disk is full.
    if (!isDiskFull(error) || newestWal > lastFound) throw error;
  }
}

/**
 * Writes into the MANIFEST where the closed WAL ends. Without that, a WAL that is cut off later looks like one that a
 * crash has cut off. The tree is sound without it, so a failure is only logged.
 */
export async function markWalEnd(wal: RecordLog, versions: VersionSet, logger: Logger): Promise<void> {
  const { syncedEnd } = wal;
  const { walEnd } = versions.state;
  if (!syncedEnd || syncedEnd.offset === 0 || (walEnd && !isBefore(walEnd, syncedEnd))) return;
  try {
    await versions.commit({ added: [], removed: [], newestWal: syncedEnd.file, walEnd: syncedEnd });
  } catch (error) {
    logger.warn({ error: errorMessage(error) }, 'the end of the WAL could not be written into the MANIFEST');
  }
}
