/**
 * Writes the tables of a version as a second tree: a directory that opens like any other tree.
 *
 *     1. NAME.tmp             made anew; what a crash left of an earlier attempt is removed first
 *     2. NAME.tmp/n.sst       second names of the tables; copies where the target is on another device. Tables in
 *                             which nothing lies within the bounds of the new tree are left out
 *     3. NAME.tmp/MANIFEST-1  written whole, synced, and NAME.tmp synced with all its names
 *     4. NAME                 renamed to, and the directory above synced
 *
 * The checkpoint exists only after the last step. A WAL is never linked: its file would change under both names.
 */
import type { Env, FileSystem } from '../env/env.js';
import { errorCode } from '../env/errors.js';
import { invalid } from './base/errors.js';
import type { OwnedKeys } from './base/key-bounds.js';
import { tableName, tableNumber } from './table/table-file.js';
import { isTemporaryManifest, Manifest, manifestNumbers } from './version/manifest.js';
import type { Version } from './version/version.js';
import { inheritanceOf } from './version/version-edit.js';
import { wholeOf } from './version/version-set.js';

export interface CheckpointSource {
  readonly env: Env;
  readonly directory: string;
  /** Pinned by the caller. */
  readonly version: Version;
  /** The version holds all writes up to this sequence, and none after it. */
  readonly flushedSequence: number;
  readonly nextFileNumber: number;
  /** Tables below this number may hold keys outside of the bounds of the new tree. */
  readonly inheritedBelow: number;
  /** What the new tree is about; undefined: the same keys. */
  readonly owned: OwnedKeys | undefined;
}

/** After this many tables, other events run. */
const STEP_TABLES = 64;
const COPY_BYTES = 1024 * 1024;
/** The target cannot have a hard link to the file: another device, or a file system with no links or no more links. */
const LINK_IMPOSSIBLE: ReadonlySet<string> = new Set([
  'EXDEV',
  'EPERM',
  'EMLINK',
  'ENOTSUP',
  'EOPNOTSUPP',
  'ENOSYS',
]);

/** The checkpoints that this process is writing, by file system. Two in the same directory would mix their files. */
const underWay = new WeakMap<FileSystem, Set<string>>();

/**
 * Makes the directory `target`, which must not exist. Parent directories are made if they are missing. Throws
 * `LSM_INVALID` if `target` exists or cannot become a directory, or the system's error. After an error there is no
 * checkpoint.
 */
export async function writeCheckpoint(source: CheckpointSource, target: string): Promise<void> {
  const { fs } = source.env;
  const name = absolutePath(fs, normalPath(target));
  if (`${name}/`.startsWith(`${normalPath(source.directory)}/`)) {
    throw invalid(`${target} lies within the tree; a checkpoint makes a directory beside it`);
  }
  const targets = underWay.get(fs) ?? new Set();
  underWay.set(fs, targets);
  if (targets.has(name)) throw invalid(`a checkpoint is being made in ${target} already`);
  targets.add(name);
  try {
    await makeCheckpoint(source, name);
  } finally {
    targets.delete(name);
  }
}

async function makeCheckpoint(source: CheckpointSource, target: string): Promise<void> {
  const { env, version, owned } = source;
  const { fs } = env;
  const whole = wholeOf(version);
  const added = owned
    ? whole.added.filter(({ smallest, largest }) => owned.mayOwn(smallest, largest))
    : whole.added;
  if (fs.exists(target)) throw invalid(`${target} exists already; a checkpoint makes a directory of its own`);
  const temporary = `${target}.tmp`;
  const stranger = fs.exists(temporary)
    ? fs.list(temporary).find((name) => !isOfCheckpoint(name))
    : undefined;
  if (stranger !== undefined) throw invalid(`${temporary} is in the way: no checkpoint has made ${stranger}`);
  let isRenamed = false;
  try {
    fs.removeTree(temporary);
    fs.makeDirectory(temporary);
    let tables = 0;
    for (const { number } of added) {
      const name = tableName(number);
      await linkOrCopy(env, `${source.directory}/${name}`, `${temporary}/${name}`);
      if (++tables % STEP_TABLES === 0) await new Promise<void>((turn) => env.timers.endOfTurn(turn));
    }
    const manifest = await Manifest.create(env, temporary, 1, {
      ...{ added, removed: [], oldestWal: 1 },
      flushedSequence: source.flushedSequence,
      nextFileNumber: source.nextFileNumber,
      ...inheritanceOf(source.inheritedBelow),
    });
    manifest.close();
    if (fs.exists(target)) throw invalid(`${target} has come to exist meanwhile`);
    fs.rename(temporary, target);
    isRenamed = true;
    fs.syncDirectory(parentOf(target));
  } catch (error) {
    try {
      // A directory that lacks a part must not keep the name of a checkpoint.
      if (isRenamed) fs.rename(target, temporary);
      fs.removeTree(temporary);
    } catch {
      // A directory with the temporary name is not a checkpoint. The next attempt removes it.
    }
    throw error;
  }
}

function isOfCheckpoint(name: string): boolean {
  return tableNumber(name) !== undefined || manifestNumbers([name]).length > 0 || isTemporaryManifest(name);
}

async function linkOrCopy(env: Env, from: string, to: string): Promise<void> {
  try {
    env.fs.link(from, to);
  } catch (error) {
    if (!LINK_IMPOSSIBLE.has(errorCode(error) ?? '')) throw error;
    await copyFile(env, from, to);
  }
}

async function copyFile(env: Env, from: string, to: string): Promise<void> {
  const source = env.fs.open(from, 'read');
  try {
    const target = env.fs.open(to, 'create');
    try {
      const chunk = Buffer.allocUnsafeSlow(Math.min(COPY_BYTES, Math.max(1, source.sizeBytes())));
      for (let at = 0; ; ) {
        const count = await source.read(chunk, at);
        if (count === 0) break;
        await target.write([chunk.subarray(0, count)], at);
        at += count;
      }
      await target.sync();
    } finally {
      target.close();
    }
  } finally {
    source.close();
  }
}

function parentOf(path: string): string {
  const end = path.lastIndexOf('/');
  return end < 0 ? '.' : end === 0 ? '/' : path.slice(0, end);
}

/**
 * The absolute path of a file that need not exist. Its existing part is resolved, relative or with links, like the
 * tree's own path.
 */
function absolutePath(fs: FileSystem, path: string): string {
  if (fs.exists(path)) return fs.realPath(path);
  const parent = parentOf(path);
  return normalPath(`${absolutePath(fs, parent)}/${path.slice(path.lastIndexOf('/') + 1)}`);
}

/** Removes empty parts and `.`, and each `..` that has a part before it. */
function normalPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..' && parts.length > 0 && parts.at(-1) !== '..') parts.pop();
    else parts.push(part);
  }
  return `${path.startsWith('/') ? '/' : ''}${parts.join('/')}`;
}
