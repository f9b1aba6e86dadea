/** Sorted files in the directory of an engine: replacing one as a whole, and making checkpoints. */
import type { Env } from '../env/env.js';
import { checkSortedFile, type SortedEntry, writeSortedFile } from './sorted-file.js';

/** Replaces a file of a directory, durably. After a crash the directory holds the old file or the new one. */
export async function replaceSortedFile(
  env: Env,
  directory: string,
  name: string,
  entries: Iterable<SortedEntry>,
): Promise<void> {
  const temporary = `${directory}/${name}.tmp`;
  if (env.fs.exists(temporary)) env.fs.unlink(temporary);
  await writeSortedFile(env, temporary, entries);
  env.fs.rename(temporary, `${directory}/${name}`);
  await env.fs.syncDirectoryLater(directory);
}

/** Makes a directory that holds one sorted file. Rejects with `EEXIST` if it exists. */
export async function makeCheckpoint(
  env: Env,
  directory: string,
  name: string,
  entries: Iterable<SortedEntry>,
): Promise<void> {
  const { fs } = env;
  if (fs.exists(directory)) throw Object.assign(new Error(`${directory} exists`), { code: 'EEXIST' });
  const temporary = `${directory}.tmp`;
  fs.removeTree(temporary);
  fs.makeDirectory(temporary);
  try {
    await replaceSortedFile(env, temporary, name, entries);
    fs.rename(temporary, directory);
    fs.syncDirectory(directory.slice(0, Math.max(1, directory.lastIndexOf('/'))));
  } catch (error) {
    fs.removeTree(temporary);
    throw error;
  }
}

/** Throws `CORRUPTION` if the file of a checkpoint is damaged. */
export function checkCheckpoint(env: Env, directory: string, name: string): Promise<void> {
  return checkSortedFile(env, `${directory}/${name}`);
}
