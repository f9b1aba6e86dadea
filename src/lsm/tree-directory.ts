/** The directory of a tree: made if need be, and held by one tree at a time. */
import { type DirectoryLock, lockDirectory } from '../env/directory-lock.js';
import type { Env } from '../env/env.js';
import { errorCode, errorMessage, RaftreeError } from '../env/errors.js';
import { invalid } from './errors.js';
import { manifestNumbers } from './manifest.js';

/**
 * Throws `LSM_LOCKED` if a tree of this or another living process holds it, `LSM_INVALID` if there is no tree in it
 * and none may be created, or the system's error.
 */
export function takeDirectory(env: Env, directory: string, createIfMissing: boolean): DirectoryLock {
  const holdsTree = env.fs.exists(directory) && manifestNumbers(env.fs.list(directory)).length > 0;
  if (!holdsTree && !createIfMissing) {
    throw invalid(`${directory} holds no tree, and createIfMissing is false`);
  }
  env.fs.makeDirectory(directory);
  try {
    return lockDirectory(env, directory);
  } catch (error) {
    if (errorCode(error) !== 'LOCKED') throw error;
    throw new RaftreeError('LSM_LOCKED', errorMessage(error), {
      cause: error,
      info: error instanceof RaftreeError ? error.info : {},
    });
  }
}
