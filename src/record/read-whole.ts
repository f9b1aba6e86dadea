/**
 * Reads a file that must be there: what cannot be read as a file at all is damage, with the path; a failing disk is
 * not.
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

/** Throws `CORRUPTION` if there is no file that can be read, or the system's error. */
export function readWhole(fs: FileSystem, path: string): Buffer {
  try {
    return fs.readFile(path);
  } catch (error) {
    throw unreadable(error, path);
  }
}

/** A system error that says that there is no such file as `CORRUPTION`; any other as it is. */
export function unreadable(error: unknown, path: string): unknown {
  const reason = REASONS[errorCode(error) ?? ''];
  return reason === undefined ? error : corruption(path, 0, reason);
}
