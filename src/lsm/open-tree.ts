/** Opens a tree: makes its parts, connects them, and recovers what the WAL holds. */
import type { DirectoryLock } from '../env/directory-lock.js';
import { ownedFiles } from '../env/owned-files.js';
import { BackgroundWork } from './base/background-work.js';
import { openingError } from './base/errors.js';
import { LifeCycle } from './base/life-cycle.js';
import { takeDirectory } from './directory/tree-directory.js';
import { MemtableList } from './memtable/memtable-list.js';
import { type LsmOptions, type ResolvedOptions, resolveOptions } from './options.js';
import { PinnedReads } from './read/pinned-reads.js';
import { ReadStates } from './read/read-state.js';
import { Reader } from './read/reader.js';
import { SnapshotList } from './read/snapshot-list.js';
import { TableCache } from './table/table-cache.js';
import { VersionSet } from './version/version-set.js';
import { nameWal, replayWal } from './wal-replay.js';
import { WritePath, type WritePathParts } from './write/write-path.js';

/** What an open tree consists of. */
export interface TreeParts extends WritePathParts {
  readonly states: ReadStates;
  readonly reader: Reader;
  readonly reads: PinnedReads;
  readonly writes: WritePath;
}

/** Rejects as `LsmTree.open`. Everything is released in this case. */
export async function openTree(directory: string, options: LsmOptions): Promise<TreeParts> {
  const resolved = resolveOptions(options);
  const { env } = resolved;
  const { path, lock } = await takeDirectory(env, directory, resolved);
  const { openTables, blocks } = resolved.resources;
  const owned = { ...env, fs: ownedFiles(env.fs, lock) };
  const tables = new TableCache(owned, path, openTables, blocks);
  try {
    const versions = await VersionSet.open({ ...resolved, env: owned }, path, tables);
    const parts = connect(resolved, path, lock, tables, versions);
    try {
      await recover(parts, { ...resolved, env: owned });
    } catch (error) {
      const { log, freezer, maintenance } = parts.writes;
      resolved.resources.writeBuffers.leave(freezer);
      await log.wal?.close().catch(() => {});
      await maintenance.stop();
      await parts.background.settled();
      await versions.close();
      throw error;
    }
    return parts;
  } catch (error) {
    tables.closeAll();
    lock.release();
    throw openingError(error, path);
  }
}

function connect(
  options: ResolvedOptions,
  directory: string,
  lock: DirectoryLock,
  tables: TableCache,
  versions: VersionSet,
): TreeParts {
  const { env, writeBufferBytes, maxFrozenMemtables, resources } = options;
  const life = new LifeCycle();
  const background = new BackgroundWork();
  const memtables = new MemtableList(writeBufferBytes, maxFrozenMemtables, resources.memtablePool);
  const snapshots = new SnapshotList(() => {
    if (life.isOpen) writes.maintenance.kick();
  });
  const shared = { options, directory, lock, life, versions, tables, memtables, snapshots, background };
  const writes: WritePath = new WritePath(shared);
  const states = new ReadStates(memtables, versions);
  const reader = new Reader(tables, versions);
  const reads = new PinnedReads({
    ...{ env, states, tables, reader, versions, background },
    check: () => life.checkNotClosed(),
    passed: (entries) => writes.freezer.passed(entries),
  });
  return { ...shared, states, reader, reads, writes };
}

/** `owned` are the options with files that only the owner of the directory may change. */
async function recover(parts: TreeParts, owned: ResolvedOptions): Promise<void> {
  const { options, directory, versions, memtables, writes } = parts;
  const { wal, lastSequence } = replayWal(owned, directory, versions, memtables);
  writes.log.begin(wal, lastSequence);
  options.resources.writeBuffers.join(writes.freezer);
  if (wal && options.durability === 'none') await retireWal(parts);
  else if (wal) await nameWal(wal, versions);
  writes.maintenance.kick();
}

/** A tree that had a WAL is opened without one: its content is flushed into tables first. */
async function retireWal({ versions, writes: { freezer, log } }: TreeParts): Promise<void> {
  await freezer.flushAll();
  const wal = log.detachWal();
  if (!wal) return;
  await versions
    .commit({ added: [], removed: [], oldestWal: wal.currentFile + 1 })
    .finally(() => wal.close());
}
