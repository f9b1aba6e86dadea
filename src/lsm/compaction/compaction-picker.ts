/**
 * What to compact next: a pure function of a version and the options.
 *
 *   - Level 0 scores by its number of files, the others by their bytes against their target; the highest score from
 *     1 on is compacted into the level below.
 *   - From level 0: the oldest file and all that overlap it, directly or through others. From a deeper level: the
 *     file that overlaps the fewest bytes of the next level in proportion to its own, the oldest of equals.
 *   - If no level is due: the file in which tombstones are densest, if they are half of its entries or more. It goes
 *     one level down, or, where nothing deeper overlaps it and every snapshot sees its tombstones, is rewritten where
 *     it is, without them. So deleted space is given back, and scans do not pass over many deleted keys.
 *   - A single file that overlaps nothing below moves without being rewritten, unless it overlaps so much of the
 *     level after that the next compaction would be a very large one, or is stored by another codec than the level's.
 */
import { compareBytes } from '../base/bytes.js';
import type { Codec } from '../base/codec.js';
import type { TableFile } from '../table/table-file.js';
import {
  type KeyRange,
  overlapping,
  overlappingInOrder,
  totalBytes,
  type Version,
} from '../version/version.js';

export interface PickerOptions {
  readonly level0Trigger: number;
  readonly levelBaseBytes: number;
  readonly levelMultiplier: number;
  readonly maxFileBytes: number;
  /** By level; the last one holds for all deeper ones. */
  readonly codecs: readonly Codec[];
}

export interface CompactionPlan {
  readonly level: number;
  /** The level below `level`; `level` itself if the files are only rewritten without hidden entries. */
  readonly outputLevel: number;
  /** Files of `level`; from level 0 the newest first. */
  readonly upper: readonly TableFile[];
  /** Files of `outputLevel` that overlap them. */
  readonly lower: readonly TableFile[];
  /** Files of the level behind, which outputs should not overlap too much of. */
  readonly grandparents: readonly TableFile[];
  /** Of all upper and lower files. */
  readonly range: KeyRange;
  /** The single upper file only changes its level. */
  readonly isMove: boolean;
}

/** An output is cut when it overlaps so many times `maxFileBytes` of the level behind it. */
export const MAX_GRANDPARENT_OVERLAP = 10;

export function targetBytes(level: number, options: PickerOptions): number {
  return options.levelBaseBytes * options.levelMultiplier ** (level - 1);
}

export function codecAt(level: number, { codecs }: Pick<PickerOptions, 'codecs'>): Codec {
  return codecs[Math.min(level, codecs.length - 1)] ?? 'none';
}

/** From 1 on a level is due. */
export function score(version: Version, level: number, options: PickerOptions): number {
  if (level === 0) return (version.levels[0]?.length ?? 0) / options.level0Trigger;
  if (level + 1 >= version.levels.length) return 0;
  return version.levelBytes(level) / targetBytes(level, options);
}

/** Bytes that are too many in the levels from 1 on. */
export function pendingBytes(version: Version, options: PickerOptions): number {
  let bytes = 0;
  for (let level = 1; level + 1 < version.levels.length; level++) {
    bytes += Math.max(0, version.levelBytes(level) - targetBytes(level, options));
  }
  return bytes;
}

/** `oldestSnapshot` is the lowest of the listed sequences, if there is any. */
export function pickCompaction(
  version: Version,
  options: PickerOptions,
  oldestSnapshot: number = Number.POSITIVE_INFINITY,
): CompactionPlan | undefined {
  let level = -1;
  let highest = 1;
  for (let candidate = 0; candidate + 1 < version.levels.length; candidate++) {
    const due = score(version, candidate, options);
    if (due < highest || (due === highest && level >= 0)) continue;
    highest = due;
    level = candidate;
  }
  if (level < 0) return pickTombstones(version, options, oldestSnapshot);
  const files = version.levels[level] ?? [];
  const upper = level === 0 ? withOverlapping(files, files.slice(-1)) : leastOverlap(version, level);
  return plan(version, level, upper, options);
}

/** A file of which this share of entries is tombstones is compacted although its level is not due. */
const DENSE_TOMBSTONES = 0.5;
/** So many of them do not wait in level 0 until more files are there: a scan would have to pass over all of them. */
const MANY_TOMBSTONES = 1024;

function pickTombstones(
  version: Version,
  options: PickerOptions,
  oldestSnapshot: number,
): CompactionPlan | undefined {
  let best: CompactionPlan | undefined;
  let densest = 0;
  // A level 0 of which there is little is about to be compacted in any case, with more at once.
  const level0IsSmall = 2 * (version.levels[0]?.length ?? 0) < options.level0Trigger;
  for (let level = 0; level < version.levels.length; level++) {
    for (const file of version.levels[level] ?? []) {
      const { tombstones, entries, largestSequence } = file.metadata;
      const density = tombstones / entries;
      if (tombstones === 0 || density < DENSE_TOMBSTONES || density <= densest) continue;
      if (level === 0 && level0IsSmall && tombstones < MANY_TOMBSTONES) continue;
      const isBase = level > 0 && !version.levels.slice(level + 1).some((files) => meets(files, file));
      // Otherwise it would come out as it went in, again and again.
      if (isBase && largestSequence > oldestSnapshot) continue;
      densest = density;
      if (isBase) best = rewrite(level, [file]);
      else {
        const files = version.levels[level] ?? [];
        best = plan(version, level, level === 0 ? withOverlapping(files, [file]) : [file], options);
      }
    }
  }
  return best;
}

/** So many files at most are taken from a level at once when a range is compacted: it may be all there is. */
const MOST_RANGE_FILES = 32;

/** Compacts the beginning of what a range holds in a level into the next one; undefined if there is nothing. */
export function planRange(
  version: Version,
  level: number,
  range: KeyRange,
  options: PickerOptions,
): CompactionPlan | undefined {
  const files = version.levels[level] ?? [];
  const inRange = level === 0 ? overlapping(files, range) : overlappingInOrder(files, range);
  if (inRange.length === 0 || level + 1 >= version.levels.length) return undefined;
  const upper = level === 0 ? withOverlapping(files, inRange) : inRange.slice(0, MOST_RANGE_FILES);
  return { ...plan(version, level, upper, options), isMove: false };
}

/**
 * Rewrites, where they are, the first files of a level in a range that stand side by side and have numbers below
 * `olderThan`; undefined if there are none.
 */
export function planRewrite(
  version: Version,
  level: number,
  range: KeyRange,
  olderThan: number,
): CompactionPlan | undefined {
  const inRange = overlappingInOrder(version.levels[level] ?? [], range);
  const start = inRange.findIndex((file) => file.number < olderThan);
  if (level === 0 || start < 0) return undefined;
  // An output over a gap would overlap what stands in it.
  const end = inRange.findIndex((file, i) => i > start && file.number >= olderThan);
  const run = inRange.slice(start, end < 0 ? undefined : end);
  return rewrite(level, run.slice(0, MOST_RANGE_FILES));
}

function rewrite(level: number, upper: readonly TableFile[]): CompactionPlan {
  const range = rangeOf(upper);
  return { level, outputLevel: level, upper, lower: [], grandparents: [], range, isMove: false };
}

function meets(files: readonly TableFile[], file: TableFile): boolean {
  return overlappingInOrder(files, file).length > 0;
}

function plan(
  version: Version,
  level: number,
  upper: readonly TableFile[],
  options: PickerOptions,
): CompactionPlan {
  const outputLevel = level + 1;
  const lower = overlappingInOrder(version.levels[outputLevel] ?? [], rangeOf(upper));
  const range = rangeOf([...upper, ...lower]);
  const grandparents = overlappingInOrder(version.levels[outputLevel + 1] ?? [], range);
  const isMove =
    upper.length === 1 &&
    lower.length === 0 &&
    upper[0]?.metadata.codec === codecAt(outputLevel, options) &&
    totalBytes(grandparents) <= MAX_GRANDPARENT_OVERLAP * options.maxFileBytes;
  return { level, outputLevel, upper, lower, grandparents, range, isMove };
}

/** Of files in any order; there must be one. */
function rangeOf(files: readonly TableFile[]): KeyRange {
  let [smallest, largest] = [files[0]?.smallest, files[0]?.largest];
  for (const file of files) {
    if (smallest === undefined || compareBytes(file.smallest, smallest) < 0) smallest = file.smallest;
    if (largest === undefined || compareBytes(file.largest, largest) > 0) largest = file.largest;
  }
  return { smallest, largest };
}

/**
 * All files of level 0 that overlap the chosen ones, and those that overlap these: if an older version of a key
 * stayed in level 0 while a newer one went down, a read would find the older one first.
 */
function withOverlapping(files: readonly TableFile[], chosen: readonly TableFile[]): TableFile[] {
  let found = [...chosen];
  for (;;) {
    const more = overlapping(files, rangeOf(found));
    if (more.length === found.length) return more;
    found = more;
  }
}

function leastOverlap(version: Version, level: number): TableFile[] {
  const below = version.levels[level + 1] ?? [];
  let best: TableFile | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const file of version.levels[level] ?? []) {
    const ratio = totalBytes(overlappingInOrder(below, file)) / file.sizeBytes;
    if (ratio < least || (ratio === least && best !== undefined && file.number < best.number)) {
      least = ratio;
      best = file;
    }
  }
  return best ? [best] : [];
}
