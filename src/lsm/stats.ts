/** The state of a tree in numbers. */
import { pendingBytes } from './compaction/compaction-picker.js';
import type { MaintenanceStats } from './compaction/maintenance.js';
import type { MemtableList } from './memtable/memtable-list.js';
import type { TreeParts } from './open-tree.js';
import type { ResolvedOptions } from './options.js';
import type { VersionSet } from './version/version-set.js';
import type { WriteGateStats } from './write/write-gate.js';

export interface LsmStats extends ContentStats, WriteGateStats, MaintenanceStats {
  readonly lastSequence: number;
  readonly durableSequence: number;
  readonly flushedSequence: number;
  readonly walBytes: number;
  readonly diskIsFull: boolean;
  readonly isReadOnly: boolean;
  readonly snapshots: number;
  readonly openTables: number;
  readonly blockCache: { readonly bytes: number; readonly hits: number; readonly misses: number };
}

/** What memtables and tables hold. */
export interface ContentStats {
  /** Hidden versions and tombstones included. Of a table with keys that are not the tree's own, half is counted. */
  readonly entries: number;
  /** How many of the entries are deletions. */
  readonly tombstones: number;
  readonly memtableBytes: number;
  readonly frozenMemtables: number;
  /** By level. */
  readonly levels: readonly { readonly files: number; readonly bytes: number }[];
  /** The bytes by which the levels below level 0 exceed their targets. */
  readonly pendingBytes: number;
}

export function treeStats({
  options,
  life,
  versions,
  memtables,
  snapshots,
  tables,
  writes,
}: TreeParts): LsmStats {
  const { log, gate, maintenance } = writes;
  const { blocks } = tables;
  return {
    lastSequence: log.lastSequence,
    durableSequence: log.durableSequence,
    flushedSequence: versions.flushedSequence,
    ...contentStats(versions, memtables, options),
    walBytes: log.wal?.sizeBytes() ?? 0,
    ...gate.stats,
    ...maintenance.stats,
    diskIsFull: maintenance.diskIsFull,
    isReadOnly: life.failure !== undefined,
    snapshots: snapshots.size,
    openTables: tables.openCount,
    blockCache: { bytes: blocks.sizeBytes, hits: blocks.hits, misses: blocks.misses },
  };
}

function contentStats(versions: VersionSet, memtables: MemtableList, options: ResolvedOptions): ContentStats {
  const version = versions.current;
  const { active, filled, frozen } = memtables;
  let entries = filled.reduce((sum, memtable) => sum + memtable.count, 0);
  let tombstones = filled.reduce((sum, memtable) => sum + memtable.tombstones, 0);
  for (const file of version.files()) {
    // Until it is rewritten, which comes soon, nobody knows how many of its keys are the tree's own.
    const parts = versions.isForeign(file) ? 2 : 1;
    entries += Math.ceil(file.metadata.entries / parts);
    tombstones += Math.floor(file.metadata.tombstones / parts);
  }
  return {
    entries,
    tombstones,
    memtableBytes: active.sizeBytes,
    frozenMemtables: frozen.length,
    levels: version.levels.map((files, level) => ({
      files: files.length,
      bytes: version.levelBytes(level),
    })),
    pendingBytes: pendingBytes(version, options),
  };
}
