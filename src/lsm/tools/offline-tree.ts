/**
 * Reads a tree that is not open, and changes nothing: the contents of its MANIFEST and its WAL, and their problems. For
 * verify, stats, dump and repair.
 */
import { isLockName } from '../../env/directory-lock.js';
import type { Env } from '../../env/env.js';
import { errorMessage, RaftreeError } from '../../env/errors.js';
import { readWhole } from '../../record/read-whole.js';
import type { Position } from '../../record/record.js';
import {
  describeDiscarded,
  type KnownSeries,
  type RecordFile,
  type Recovery,
  recoverRecords,
} from '../../record/recovery.js';
import { checkDirectory, invalid } from '../base/errors.js';
import { treeHolder } from '../directory/tree-directory.js';
import { TableFile, tableName, tableNumber } from '../table/table-file.js';
import { isTemporaryManifest, manifestName, manifestNumbers, readManifest } from '../version/manifest.js';
import { Version } from '../version/version.js';
import { FIRST_STATE, stateAfter, type TreeState, type VersionEdit } from '../version/version-edit.js';
import { isSpareWal, walName, walNumber } from '../wal/wal.js';
import { type DecodedBatch, decodeBatch } from '../wal/write-batch.js';
import type { Problem } from './verify.js';

/** The folder for the originals that `repair` replaces. */
export const LOST_DIRECTORY = 'lost';

export interface OfflineTree extends TreeState {
  readonly directory: string;
  readonly names: readonly string[];
  /** The current MANIFEST; 0 if there is none. */
  readonly manifest: number;
  /** Whether all of it could be read. If not, the version is the one at the end of the intact part. */
  readonly manifestIsIntact: boolean;
  /** Whether its last edit is unfinished, or damaged: the version is the one before it. */
  readonly manifestIsTorn: boolean;
  readonly version: Version;
  readonly nextFileNumber: number;
  readonly problems: readonly Problem[];
  /** Effects of a crash that the next opening repairs. */
  readonly notes: readonly string[];
  /** Files that no tree needs, with their sizes in bytes. */
  readonly leftovers: readonly string[];
}

/**
 * Rejects with `LSM_LOCKED` if a living process has the tree open, `LSM_INVALID` if there is no tree in the directory,
 * or the system's error. Damage is reported, not thrown.
 */
export async function readOfflineTree(env: Env, directory: string): Promise<OfflineTree> {
  checkDirectory(env, directory);
  if (!env.fs.exists(directory)) throw invalid(`${directory} does not exist`);
  await checkUnlocked(env, directory);
  const names = env.fs.list(directory);
  const manifest = manifestNumbers(names).at(-1) ?? 0;
  const holdsFiles = names.some((name) => tableNumber(name) !== undefined || walNumber(name) !== undefined);
  if (manifest === 0 && !holdsFiles) throw invalid(`${directory} holds no tree`);
  const problems: Problem[] = [];
  const notes: string[] = [];
  let state = FIRST_STATE;
  let nextFileNumber = 1;
  let version = Version.empty();
  const path = `${directory}/${manifestName(Math.max(1, manifest))}`;
  if (manifest === 0)
    problems.push({ path, offset: 0, message: 'it is missing, but files of a tree are there' });
  else {
    const files = new Map<number, TableFile>();
    const apply = (edit: VersionEdit) => {
      version = version.apply(edit, (added) => {
        const file = files.get(added.number) ?? new TableFile(added);
        files.set(added.number, file);
        return file;
      });
      state = stateAfter(state, edit);
      nextFileNumber = Math.max(nextFileNumber, edit.nextFileNumber ?? 0);
    };
    try {
      noteTorn(readManifest(env, directory, manifest, apply), notes);
    } catch (error) {
      problems.push(problemOf(error, path));
    }
  }
  const manifestIsIntact = problems.length === 0;
  const manifestIsTorn = notes.length > 0;
  if (manifestIsIntact)
    problems.push(...findContradictions(version, { ...state, nextFileNumber }, path, directory));
  return {
    directory,
    names,
    manifest,
    manifestIsIntact,
    manifestIsTorn,
    version,
    ...state,
    nextFileNumber,
    problems,
    notes,
    // If the MANIFEST cannot be read to its end, the files that it needs are not known.
    leftovers: manifestIsIntact ? findLeftovers(names, manifest, version, state.oldestWal) : [],
  };
}

/** Rejects with `LSM_LOCKED` if a living process has the tree open. */
export async function checkUnlocked(env: Env, directory: string): Promise<void> {
  const holder = await treeHolder(env, directory);
  if (!holder) return;
  throw new RaftreeError('LSM_LOCKED', `${directory} is in use by process ${holder.pid}; stop it first`, {
    info: { directory, pid: holder.pid },
  });
}

function findContradictions(
  version: Version,
  state: { readonly flushedSequence: number; readonly nextFileNumber: number },
  path: string,
  directory: string,
): Problem[] {
  const problems: Problem[] = [];
  const report = (message: string) => problems.push({ path, offset: 0, message });
  const violation = version.findViolation();
  if (violation) problems.push({ path: directory, offset: 0, message: violation });
  const numbers = new Set<number>();
  for (const { number, metadata } of version.files()) {
    if (numbers.has(number)) {
      problems.push({ path: directory, offset: 0, message: `table ${number} is named twice` });
    }
    numbers.add(number);
    if (number >= state.nextFileNumber) {
      report(`table ${number} is not below the next file number, ${state.nextFileNumber}`);
    }
    if (metadata.largestSequence > state.flushedSequence) {
      report(
        `table ${number} has sequence ${metadata.largestSequence}, above the flushed one, ${state.flushedSequence}`,
      );
    }
  }
  return problems;
}

function findLeftovers(
  names: readonly string[],
  manifest: number,
  version: Version,
  oldestWal: number,
): string[] {
  const live = new Set([...version.files()].map((file) => tableName(file.number)));
  return names.filter((name) => {
    if (isLockName(name)) return false;
    if (tableNumber(name) !== undefined) return !live.has(name);
    const wal = walNumber(name);
    if (wal !== undefined) return wal < oldestWal;
    return (
      isSpareWal(name) || isTemporaryManifest(name) || (manifestNumbers([name])[0] ?? manifest) < manifest
    );
  });
}

/** The numbers of the WAL files from `oldest` on, ascending. */
export function walNumbers(names: readonly string[], oldest: number): number[] {
  return names
    .flatMap((name) => walNumber(name) ?? [])
    .filter((number) => number >= oldest)
    .sort((a, b) => a - b);
}

export interface ReadWal {
  readonly files: number;
  readonly bytes: number;
  readonly batches: number;
  /** The last sequence; 0 if there is none. */
  readonly lastSequence: number;
  readonly problems: readonly Problem[];
  readonly notes: readonly string[];
}

/**
 * Calls `visit` for each batch of the WAL, as recovery would, up to the first damage, which is reported. Throws the
 * system's error.
 */
export function readWal(
  env: Env,
  tree: Pick<OfflineTree, 'directory' | 'names' | 'oldestWal' | 'newestWal' | 'walEnd' | 'manifestIsIntact'>,
  visit: (batch: DecodedBatch, file: number) => void = () => {},
): ReadWal {
  const { directory, names } = tree;
  const numbers = walNumbers(names, tree.manifestIsIntact ? tree.oldestWal : 1);
  const problems: Problem[] = [];
  const notes: string[] = [];
  let [bytes, batches, lastSequence] = [0, 0, 0];
  const contents = new Map<number, Buffer>();
  const files = numbers.map((number): RecordFile => {
    const path = `${directory}/${walName(number)}`;
    const read = () => {
      const known = contents.get(number) ?? readWhole(env.fs, path);
      if (!contents.has(number)) bytes += known.length;
      contents.set(number, known);
      return known;
    };
    return { number, path, behind: 'old bytes', read };
  });
  const first = numbers[0];
  if (tree.manifestIsIntact && first !== undefined && first > tree.oldestWal) {
    const path = `${directory}/${walName(tree.oldestWal)}`;
    problems.push({ path, offset: 0, message: 'it is needed and missing' });
    return { files: files.length, bytes, batches, lastSequence, problems, notes };
  }
  try {
    const isKnown = tree.manifestIsIntact && tree.newestWal >= tree.oldestWal;
    const known: KnownSeries = {
      oldest: isKnown ? tree.oldestWal : 0,
      newest: isKnown ? tree.newestWal : 0,
      ...(isKnown && tree.walEnd && { syncedThrough: tree.walEnd }),
      path: (number) => `${directory}/${walName(number)}`,
    };
    const replay = (payload: Buffer, position: Position) => {
      const path = `${directory}/${walName(position.file)}`;
      const batch = decodeBatch(payload, path, position.offset);
      if (batch.firstSequence <= lastSequence) {
        const message = `sequence ${batch.firstSequence} follows ${lastSequence}`;
        throw new RaftreeError('CORRUPTION', message, { info: { path, offset: position.offset } });
      }
      lastSequence = batch.lastSequence;
      batches++;
      visit(batch, position.file);
    };
    const recovery = recoverRecords(files, replay, known);
    noteTorn(recovery, notes);
  } catch (error) {
    problems.push(problemOf(error, `${directory}/${walName(first ?? 1)}`));
  }
  return { files: files.length, bytes, batches, lastSequence, problems, notes };
}

/** Returns a thrown `CORRUPTION` as a problem; throws any other error again. */
export function problemOf(error: unknown, path: string): Problem {
  if (!(error instanceof RaftreeError) || error.code !== 'CORRUPTION') throw error;
  return {
    path: typeof error.info.path === 'string' ? error.info.path : path,
    offset: typeof error.info.offset === 'number' ? error.info.offset : 0,
    message: errorMessage(error),
  };
}

function noteTorn({ discarded }: Recovery, notes: string[]): void {
  if (!discarded) return;
  const { bytes, path, at } = discarded;
  notes.push(
    `${path}: the end, ${bytes} bytes from offset ${at.offset} on, is ${describeDiscarded(discarded)}; it will not be used`,
  );
}
