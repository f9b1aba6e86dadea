/** The directory of a tree: created if necessary, and locked by one tree at a time. */
import {
  currentHolder,
  type DirectoryLock,
  type LockHolder,
  lockDirectory,
} from '../../env/directory-lock.js';
import type { Env } from '../../env/env.js';
import { errorCode, errorMessage, RaftreeError } from '../../env/errors.js';
import { checkDirectory } from '../base/errors.js';
import { tableNumber } from '../table/table-file.js';
import { manifestNumbers } from '../version/manifest.js';
import { isWalName } from '../wal/wal.js';
import { checkForeign, markDirectory } from './other-engines.js';

export interface TreeDirectory {
  /** Absolute, without symbolic links: later changes of links or of the working directory do not affect it. */
  readonly path: string;
  readonly lock: DirectoryLock;
}

/**
 * Rejects with `LSM_LOCKED` if a tree of this or another living process holds it, `LSM_MISSING` if there is no tree in
 * it and none may be created, `LSM_EXISTS` if there must be none, `LSM_FOREIGN` if it holds a database of another kind,
 * or the system's error.
 */
export async function takeDirectory(
  env: Env,
  directory: string,
  { createIfMissing, errorIfExists }: { readonly createIfMissing: boolean; readonly errorIfExists: boolean },
): Promise<TreeDirectory> {
  checkDirectory(env, directory);
  // Checked first, so that nothing is created in such a directory.
  checkForeign(env, directory);
  if (!createIfMissing && !holdsTree(env, directory)) throw missingError(directory);
  env.fs.makeDirectory(directory);
  const path = env.fs.realPath(directory);
  const lock = await lockTree(env, path);
  // Checked again under the lock: now nobody else can change it.
  const exists = holdsTree(env, path);
  if (!exists && !createIfMissing) {
    lock.release();
    throw missingError(directory);
  }
  if (exists && errorIfExists) {
    lock.release();
    throw new RaftreeError('LSM_EXISTS', `${directory} exists and holds a tree, and errorIfExists is true`);
  }
  try {
    markDirectory(env, path);
  } catch (error) {
    lock.release();
    throw error;
  }
  return { path, lock };
}

/** Whether files of a tree are there, also one that lacks its MANIFEST. */
export function holdsTree(env: Env, directory: string): boolean {
  if (!env.fs.exists(directory)) return false;
  const names = env.fs.list(directory);
  return (
    manifestNumbers(names).length > 0 ||
    names.some((name) => tableNumber(name) !== undefined || isWalName(name))
  );
}

function missingError(directory: string): RaftreeError {
  return new RaftreeError(
    'LSM_MISSING',
    `${directory} holds no tree: it does not exist, and createIfMissing is false`,
  );
}

/** The holder of the lock of a tree's directory; undefined if the tree is not open. */
export function treeHolder(env: Env, directory: string): Promise<LockHolder | undefined> {
  return currentHolder(env, env.fs.realPath(directory));
}

async function lockTree(env: Env, directory: string): Promise<DirectoryLock> {
  try {
    return await lockDirectory(env, directory);
  } catch (error) {
    if (errorCode(error) !== 'LOCKED') throw error;
    throw new RaftreeError('LSM_LOCKED', errorMessage(error), {
      cause: error,
      info: error instanceof RaftreeError ? error.info : {},
    });
  }
}
