/** Small files of a data folder, each written as a whole. */
import type { Env } from '../env/env.js';
import { errorCode, RaftreeError } from '../env/errors.js';

/** Replaces a file atomically and durably. Throws what the disk throws. */
export function replaceFile(env: Env, directory: string, name: string, content: unknown): void {
  const temporary = `${directory}/${name}.tmp`;
  if (env.fs.exists(temporary)) env.fs.unlink(temporary);
  const file = env.fs.open(temporary, 'create');
  try {
    file.writeSync([Buffer.from(`${JSON.stringify(content, undefined, 2)}\n`)], 0);
    file.syncNow();
  } finally {
    file.close();
  }
  env.fs.rename(temporary, `${directory}/${name}`);
  env.fs.syncDirectory(directory);
}

/** Undefined if there is no such file. Throws `CORRUPTION` if it is not JSON, or a folder. */
export function readJson(env: Env, path: string): unknown {
  if (!env.fs.exists(path)) return undefined;
  try {
    return JSON.parse(env.fs.readFile(path).toString('utf8'));
  } catch (error) {
    if (error instanceof SyntaxError || errorCode(error) === 'EISDIR') throw unreadable(path);
    throw error;
  }
}

export function unreadable(path: string): RaftreeError {
  return new RaftreeError('CORRUPTION', `${path} is damaged; restore it from a backup`, {
    info: { path },
  });
}
