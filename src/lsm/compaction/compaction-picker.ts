/**
 * Chooses the next compaction: a pure function of a version and the options.
 *
 *   - Level 0 scores by its number of files, the others by their bytes against their target; the highest score from
 *     1 on is compacted into the level below.
 *   - From level 0: the oldest file and all that overlap it, directly or through others. From a deeper level: the
 *     file that overlaps the fewest bytes of the next level in proportion to its own, the oldest of equals.
 *   - If no level is due: the file with the highest share of tombstones, if they are at least half of its entries. It
 *     moves one level down. If nothing deeper overlaps it and every snapshot sees its tombstones, it is rewritten in
 *     its level without them. So the space of deleted keys is freed, and scans do not pass over many of them.
 *   - Last, tables with keys that are not the tree's own are rewritten without them, in their level; from level 0, with
 *     what overlaps them, into the next level.
 *   - A single file that overlaps nothing below moves without being rewritten, unless it overlaps so much of the
 *     level after that the next compaction would be a very large one, or is stored by another codec than the level's.
 */

import type { Codec } from '../base/block-codec.js';
import { compareBytes } from '../base/bytes.js';
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
  /** By level; the last one applies to all deeper levels. */
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
  /** Files of the level after that. Outputs should not overlap too many of them. */
  readonly grandparents: readonly TableFile[];
  /** The range of all upper and lower files. */
  readonly range: KeyRange;
  /** The single upper file only changes its level. */
  readonly isMove: boolean;
}

/** An output is cut when it overlaps more than this many times `maxFileBytes` of the level below it. */
export const MAX_GRANDPARENT_OVERLAP = 10;

/** A level 1 of this size is never too large for what comes from level 0. */
const LEAST_BASE_BYTES = 10 * 1024 * 1024;

/**
 * The target of level 1. Each compaction of level 0 rewrites most of level 1, so the two should be about equally large:
 * if the files of level 0 are small, level 1 is to be small too. A nearly empty level 0 says nothing about that.
 */
function levelBase(version: Version, { level0Trigger, levelBaseBytes }: PickerOptions): number {
  const files = version.levels[0] ?? [];
  if (2 * files.length < level0Trigger) return levelBaseBytes;
  const dueBytes = (totalBytes(files) / files.length) * level0Trigger;
  return Math.min(levelBaseBytes, Math.max(LEAST_BASE_BYTES, dueBytes));
}

function targetBytes(version: Version, level: number, options: PickerOptions): number {
  return levelBase(version, options) * options.levelMultiplier ** (level - 1);
}

export function codecAt(level: number, { codecs }: Pick<PickerOptions, 'codecs'>): Codec {
  return codecs[Math.min(level, codecs.length - 1)] ?? 'none';
}

/** A level with a score of at least 1 is due for compaction. */
export function score(version: Version, level: number, options: PickerOptions): number {
  if (level === 0) return (version.levels[0]?.length ?? 0) / options.level0Trigger;
  if (level + 1 >= version.levels.length) return 0;
  return version.levelBytes(level) / targetBytes(version, level, options);
}

/** The bytes by which the levels from 1 on exceed their targets. */
export function pendingBytes(version: Version, options: PickerOptions): number {
  let bytes = 0;
  for (let level = 1; level + 1 < version.levels.length; level++) {
    bytes += Math.max(0, version.levelBytes(level) - targetBytes(version, level, options));
  }
  return bytes;
}

/** `oldestSnapshot` is the lowest of the listed sequences, if there is any. */
export function pickCompaction(
  version: Version,
  options: PickerOptions,
  oldestSnapshot: number = Number.POSITIVE_INFINITY,
  isForeign?: (file: TableFile) => boolean,
): CompactionPlan | undefined {
  let level = -1;
  let highest = 1;
  for (let candidate = 0; candidate + 1 < version.levels.length; candidate++) {
    const due = score(version, candidate, options);
    if (due < highest || (due === highest && level >= 0)) continue;
    highest = due;
    level = candidate;
  }
  if (level < 0)
    return (
      pickTombstones(version, options, oldestSnapshot) ??
      (isForeign && pickForeign(version, options, isForeign))
    );
  const files = version.levels[level] ?? [];
  const upper = level === 0 ? withOverlapping(files, files.slice(-1)) : leastOverlap(version, level);
  return plan(version, level, upper, options);
}

/** A file with this share of tombstones is compacted although its level is not due. */
const DENSE_TOMBSTONES = 0.5;
/**
 * With this many tombstones, files in level 0 are compacted before the level is due: a scan has to pass over all of
 * them.
 */
const MANY_TOMBSTONES = 1024;

function pickTombstones(
  version: Version,
  options: PickerOptions,
  oldestSnapshot: number,
): CompactionPlan | undefined {
  let best: CompactionPlan | undefined;
  let densest = 0;
  // A small level 0 only. A larger one is compacted soon in any case, with more files at once.
  const level0IsSmall = 2 * (version.levels[0]?.length ?? 0) < options.level0Trigger;
  for (let level = 0; level < version.levels.length; level++) {
    for (const file of version.levels[level] ?? []) {
      const { tombstones, entries, largestSequence } = file.metadata;
      const density = tombstones / entries;
      if (tombstones === 0 || density < DENSE_TOMBSTONES || density <= densest) continue;
      if (level === 0 && level0IsSmall && tombstones < MANY_TOMBSTONES) continue;
      const isBase = level > 0 && !version.levels.slice(level + 1).some((files) => meets(files, file));
      // Otherwise the output would equal the input, again and again.
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

function pickForeign(
  version: Version,
  options: PickerOptions,
  isForeign: (file: TableFile) => boolean,
): CompactionPlan | undefined {
  for (let level = version.levels.length - 1; level > 0; level--) {
    const file = version.levels[level]?.find(isForeign);
    if (file) return rewrite(level, [file]);
  }
  const files = version.levels[0] ?? [];
  const foreign = files.filter(isForeign);
  if (foreign.length === 0) return undefined;
  return { ...plan(version, 0, withOverlapping(files, foreign), options), isMove: false };
}

/** At most this many files of a level are compacted at once for a range, which may cover the whole level. */
const MOST_RANGE_FILES = 32;

/**
 * Plans the compaction of the first part of a range in a level into the next level; undefined if the level has nothing
 * there.
 */
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
 * Plans to rewrite, in their level, the first adjacent files of a range whose numbers are below `olderThan`; undefined
 * if there are none.
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
  // An output that spans a gap would overlap the files in the gap.
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

/** The range of some files, in any order; there must be at least one. */
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
