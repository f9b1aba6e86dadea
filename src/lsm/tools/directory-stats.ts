/** The files of a tree that is not open, in numbers. */
import type { Env } from '../../env/env.js';
import { errorCode } from '../../env/errors.js';
import { unreadable } from '../../record/read-whole.js';
import { readOfflineTree, readWal } from './offline-tree.js';
import type { Problem } from './verify.js';

export interface LevelStats {
  readonly level: number;
  readonly files: number;
  readonly bytes: number;
  /** Hidden versions and tombstones included. */
  readonly entries: number;
  readonly tombstones: number;
  readonly smallest: Buffer;
  readonly largest: Buffer;
}

export interface DirectoryStats {
  /** The levels that hold files. */
  readonly levels: readonly LevelStats[];
  readonly files: number;
  readonly bytes: number;
  readonly entries: number;
  readonly tombstones: number;
  /** The range of sequences in tables; both 0 if there are no tables. */
  readonly smallestSequence: number;
  readonly largestSequence: number;
  readonly flushedSequence: number;
  /** The last sequence that the next opening finds. */
  readonly lastSequence: number;
  readonly wal: { readonly files: number; readonly bytes: number; readonly batches: number };
  readonly manifest: { readonly number: number; readonly bytes: number };
  /** The problems of MANIFEST and WAL. Data after a problem is not counted. */
  readonly problems: readonly Problem[];
  /** Files that the next opening removes. */
  readonly garbage: { readonly files: number; readonly bytes: number };
}

/** Rejects with `LSM_LOCKED`, `LSM_INVALID` if there is no tree in the directory, or the system's error. */
export async function statDirectory(env: Env, directory: string): Promise<DirectoryStats> {
  const tree = await readOfflineTree(env, directory);
  const wal = readWal(env, tree);
  const sizeOf = (name: string): number => {
    try {
      const file = env.fs.open(`${directory}/${name}`, 'read');
      const bytes = file.sizeBytes();
      file.close();
      return bytes;
    } catch (error) {
      // A directory or a link counts as no bytes.
      if (errorCode(unreadable(error, name)) === 'CORRUPTION') return 0;
      throw error;
    }
  };
  const levels = tree.version.levels.flatMap((files, level): LevelStats[] => {
    const first = files[0];
    if (!first) return [];
    const keys = files.flatMap((file) => [file.smallest, file.largest]).sort(Buffer.compare);
    return [
      {
        level,
        files: files.length,
        bytes: tree.version.levelBytes(level),
        entries: sum(files.map((file) => file.metadata.entries)),
        tombstones: sum(files.map((file) => file.metadata.tombstones)),
        smallest: keys[0] ?? first.smallest,
        largest: keys.at(-1) ?? first.largest,
      },
    ];
  });
  const tables = [...tree.version.files()].map((file) => file.metadata);
  const manifest = tree.names.find((name) => Number(/^MANIFEST-(\d+)$/.exec(name)?.[1]) === tree.manifest);
  return {
    levels,
    files: sum(levels.map((level) => level.files)),
    bytes: sum(levels.map((level) => level.bytes)),
    entries: sum(levels.map((level) => level.entries)),
    tombstones: sum(levels.map((level) => level.tombstones)),
    smallestSequence: tables.reduce(
      (least, table) => Math.min(least, table.smallestSequence),
      tables[0]?.smallestSequence ?? 0,
    ),
    largestSequence: tables.reduce((most, table) => Math.max(most, table.largestSequence), 0),
    flushedSequence: tree.flushedSequence,
    lastSequence: Math.max(tree.flushedSequence, wal.lastSequence),
    wal: { files: wal.files, bytes: wal.bytes, batches: wal.batches },
    manifest: { number: tree.manifest, bytes: manifest === undefined ? 0 : sizeOf(manifest) },
    problems: [...tree.problems, ...wal.problems],
    garbage: { files: tree.leftovers.length, bytes: sum(tree.leftovers.map(sizeOf)) },
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
