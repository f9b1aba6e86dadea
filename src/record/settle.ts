/**
 * Makes the files that recovery found ready for appends: truncates what it discarded and makes the rest durable,
 * because later records will state that it is.
 *
 * Recovery rewrites and syncs records that are not proven durable. If a sync of them failed earlier, the page cache may
 * hold them as clean: then they read well, but another sync would not write them.
 */
import type { Env, File, FileSystem } from '../env/env.js';
import type { LogFiles } from './log-files.js';
import { corruption, type Position } from './record.js';
import type { Recovery } from './recovery.js';

export interface RecoveredLog {
  readonly env: Pick<Env, 'fs'>;
  readonly directory: string;
  readonly files: LogFiles;
  readonly recovery: Recovery;
  /** Numbers of the files that recovery read. */
  readonly numbers: readonly number[];
}

/** Leaves the last file open in `files`. Throws the system's error, or `CORRUPTION`; may then be called again. */
export function settleRecovered({ env, directory, files, recovery, numbers }: RecoveredLog): void {
  const { end, lastRecordEnd, durableThrough } = recovery;
  const settle = (at: Position) => openSettled(env, files.path(at.file), at, durableThrough);
  // If the last file holds no record, the records of the file before it are not proven durable either.
  if (lastRecordEnd.file < end.file) settle(lastRecordEnd).close();
  const last = settle(end);
  files.forget(end.file);
  files.adopt(end.file, last);
  // From the last one down, syncing each removal: a power cut then leaves no gap.
  for (const number of numbers.filter((number) => number > end.file).reverse()) {
    env.fs.unlink(files.path(number));
    env.fs.syncDirectory(directory);
  }
  env.fs.syncDirectory(directory);
}

/**
 * On a full disk, as long as `settleRecovered` finds no space: makes what recovery found durable, because its owner
 * will state that it is. Throws the system's error.
 */
export function syncRecovered({ env, directory, files, recovery }: RecoveredLog): void {
  const { end, lastRecordEnd } = recovery;
  for (const number of new Set([lastRecordEnd.file, end.file])) syncFile(env.fs, files.path(number));
  env.fs.syncDirectory(directory);
}

export function syncFile(fs: FileSystem, path: string): void {
  const file = fs.open(path, 'read');
  try {
    file.syncNow();
  } finally {
    file.close();
  }
}

/** Opens the file and makes it end at `end`, durably. */
function openSettled(env: Pick<Env, 'fs'>, path: string, end: Position, durableThrough: Position): File {
  const doubtfulFrom = durableThrough.file === end.file ? durableThrough.offset : 0;
  const file = env.fs.open(path, 'modify');
  try {
    settleFile(file, end, doubtfulFrom);
  } catch (error) {
    file.close();
    throw error;
  }
  return file;
}

function settleFile(file: File, end: Position, doubtfulFrom: number): void {
  // The last record's padding may be missing; records start aligned.
  if (file.sizeBytes() !== end.offset) file.truncate(end.offset);
  if (doubtfulFrom < end.offset) {
    const doubtful = Buffer.allocUnsafe(end.offset - doubtfulFrom);
    if (file.readSync(doubtful, doubtfulFrom) < doubtful.length) {
      throw corruption(file.path, doubtfulFrom, `${doubtful.length} bytes were expected`);
    }
    file.writeSync([doubtful], doubtfulFrom);
  }
  file.syncNow();
}
