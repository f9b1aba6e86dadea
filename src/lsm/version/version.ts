/**
 * Which tables make up the tree at one moment: immutable. Level 0 holds flushed memtables, newest first, whose key
 * ranges overlap; in each further level the tables are in key order and do not overlap.
 *
 *     level 0   [  c      x  ]  [ a   m ]  [   f        z ]     newest first
 *     level 1   [a  d][e    k][l   q][r      z]
 *     level 2   [a b][c d][e g][h   n][o p][q   u][v   z]
 */
import { compareBytes, NO_BYTES, orderPrefix, sharedLength } from '../base/bytes.js';
import type { TableFile } from '../table/table-file.js';
import type { VersionEdit } from './version-edit.js';

export const LEVELS = 7;

export class Version {
  readonly levels: readonly (readonly TableFile[])[];
  /** The number of readers. While it is above zero, the version's files stay. */
  pins = 0;
  readonly #indexes: (LevelIndex | undefined)[] = [];

  constructor(levels: readonly (readonly TableFile[])[]) {
    this.levels = levels;
  }

  /** The file that may hold a key, in a level from 1 on. */
  fileCovering(level: number, key: Uint8Array): TableFile | undefined {
    const index = this.#indexes[level] ?? new LevelIndex(this.levels[level] ?? []);
    this.#indexes[level] = index;
    return index.find(key);
  }

  static empty(): Version {
    return new Version(Array.from({ length: LEVELS }, () => []));
  }

  /** The version after an edit. Unchanged files keep their objects. */
  apply(edit: VersionEdit, makeFile: (added: VersionEdit['added'][number]) => TableFile): Version {
    const levels = this.levels.map((files, level) => {
      const removed = new Set(edit.removed.filter((file) => file.level === level).map((file) => file.number));
      const added = edit.added.filter((file) => file.level === level).map(makeFile);
      if (removed.size === 0 && added.length === 0) return files;
      const kept = files.filter((file) => !removed.has(file.number));
      return sortLevel([...kept, ...added], level);
    });
    return new Version(levels);
  }

  *files(): Generator<TableFile> {
    for (const level of this.levels) yield* level;
  }

  levelBytes(level: number): number {
    return totalBytes(this.levels[level] ?? []);
  }

  /** Describes a violation of the level rules; undefined if there is none. */
  findViolation(): string | undefined {
    for (let level = 0; level < this.levels.length; level++) {
      const files = this.levels[level] ?? [];
      for (let i = 0; i < files.length; i++) {
        const file = files[i] as TableFile;
        if (compareBytes(file.smallest, file.largest) > 0) return `table ${file.number} has a reversed range`;
        const next = files[i + 1];
        if (!next) continue;
        if (level === 0 && next.metadata.largestSequence >= file.metadata.smallestSequence) {
          return `tables ${file.number} and ${next.number} of level 0 overlap in sequence`;
        }
        if (level > 0 && compareBytes(file.largest, next.smallest) >= 0) {
          return `tables ${file.number} and ${next.number} of level ${level} overlap`;
        }
      }
    }
    return undefined;
  }
}

function sortLevel(files: TableFile[], level: number): TableFile[] {
  return level === 0
    ? files.sort((a, b) => b.metadata.largestSequence - a.metadata.largestSequence)
    : files.sort((a, b) => compareBytes(a.smallest, b.smallest));
}

export function totalBytes(files: readonly TableFile[]): number {
  let bytes = 0;
  for (const file of files) bytes += file.sizeBytes;
  return bytes;
}

/**
 * All tables of a version as runs. In a run, tables are in key order and do not overlap. Each file of level 0 is a run.
 */
export function sortedRuns({ levels }: Version): readonly (readonly TableFile[])[] {
  return levels.flatMap((files, level) =>
    files.length === 0 ? [] : level === 0 ? files.map((file) => [file]) : [files],
  );
}

/** An undefined bound is open; both ends are included. */
export interface KeyRange {
  readonly smallest: Uint8Array | undefined;
  readonly largest: Uint8Array | undefined;
}

/** The files of a level from 1 on that overlap a range. */
export function overlappingInOrder(files: readonly TableFile[], range: KeyRange): readonly TableFile[] {
  const { smallest, largest } = range;
  const start =
    smallest === undefined ? 0 : firstWhere(files, (file) => compareBytes(file.largest, smallest) >= 0);
  const end =
    largest === undefined
      ? files.length
      : firstWhere(files, (file) => compareBytes(file.smallest, largest) > 0);
  return files.slice(start, Math.max(start, end));
}

/** The index of the first file for which `holds` is true. It must be true for all later files too. */
function firstWhere(files: readonly TableFile[], holds: (file: TableFile) => boolean): number {
  let low = 0;
  let high = files.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(files[middle] as TableFile)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The files, in any order, that overlap a range. */
export function overlapping(files: readonly TableFile[], range: KeyRange): TableFile[] {
  return files.filter(
    (file) =>
      (range.largest === undefined || compareBytes(file.smallest, range.largest) <= 0) &&
      (range.smallest === undefined || compareBytes(file.largest, range.smallest) >= 0),
  );
}

/** Finds the file that may hold a key, in a level from 1 on, by a search of flat order prefixes of the largest keys. */
export class LevelIndex {
  readonly #files: readonly TableFile[];
  readonly #prefixes: Float64Array;
  /** The common prefix of all largest keys. The search skips it. */
  readonly #common: Buffer;

  constructor(files: readonly TableFile[]) {
    this.#files = files;
    this.#prefixes = new Float64Array(files.length);
    const first = files[0]?.largest ?? NO_BYTES;
    const last = files.at(-1)?.largest ?? NO_BYTES;
    this.#common = first.subarray(0, sharedLength(first, 0, first.length, last, 0, last.length));
    files.forEach(({ largest }, i) => {
      this.#prefixes[i] = orderPrefix(largest, this.#common.length, largest.length);
    });
  }

  find(key: Uint8Array): TableFile | undefined {
    const common = this.#common;
    let low = 0;
    let high = this.#files.length;
    if (sharedLength(common, 0, common.length, key, 0, key.length) < common.length) {
      if (compareBytes(key, common) > 0) return undefined;
    } else {
      const prefix = orderPrefix(key, common.length, key.length);
      while (low < high) {
        const middle = (low + high) >> 1;
        const other = this.#prefixes[middle] as number;
        const isBefore =
          other < prefix ||
          (other === prefix && compareBytes((this.#files[middle] as TableFile).largest, key) < 0);
        if (isBefore) low = middle + 1;
        else high = middle;
      }
    }
    const file = this.#files[low];
    return file !== undefined && compareBytes(file.smallest, key) <= 0 ? file : undefined;
  }
}
