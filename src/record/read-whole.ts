/**
 * Reads a file that must exist. A path that is no readable file is corruption and the error names it. An I/O error of
 * the disk is not corruption.
 */
import type { FileSystem } from '../env/env.js';
import { errorCode } from '../env/errors.js';
import { corruption } from './record.js';

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'the file is missing',
  ENOTDIR: 'the file is missing',
  EISDIR: 'it is a directory, not a file',
  ELOOP: 'it is a link that leads nowhere',
  ERR_FS_FILE_TOO_LARGE: 'it is larger than any file that is written here',
};

/** Throws `CORRUPTION` if the path is no readable file, otherwise the system's error. */
export function readWhole(fs: FileSystem, path: string): Buffer {
  try {
    return fs.readFile(path);
  } catch (error) {
    throw unreadable(error, path);
  }
}

/** Turns a system error that says "no such file" into `CORRUPTION`. Returns other errors unchanged. */
export function unreadable(error: unknown, path: string): unknown {
  const reason = REASONS[errorCode(error) ?? ''];
  return reason === undefined ? error : corruption(path, 0, reason);
}
