/**
 * The folder in which a node keeps its state, and the errors when it cannot be used.
 *
 *     LOCK.…              its holder
 *     identity.json       whose folder it is;  peers.json: the nodes it has met
 *     raft/, groups/      the store of all groups (store/store.ts)
 */
import { lockDirectory } from '../env/directory-lock.js';
import type { Env } from '../env/env.js';
import { errorCode, errorMessage, isNoSpace, RaftreeError } from '../env/errors.js';

export interface DataFolder {
  /** Absolute, without symbolic links: it stays the same if those are changed. */
  readonly path: string;
  release(): void | Promise<void>;
}

/** Makes the folder if it is not there, and locks it. Rejects with `LOCKED` or `DATA_DIRECTORY`. */
export async function takeDataFolder(env: Env, directory: string): Promise<DataFolder> {
  try {
    env.fs.makeDirectory(directory);
    const path = env.fs.realPath(directory);
    const lock = await lockDirectory(env, path);
    return { path, release: () => lock.release() };
  } catch (error) {
    throw unusable(directory, 'cannot be written', 'make it writable', error);
  }
}

/** An error of the start of a node; what the disk throws gets a code of ours. */
export function startFailure(directory: string, error: unknown): unknown {
  if (isNoSpace(error) || (error instanceof RaftreeError && isNoSpace(error.cause)))
    return noSpaceToStart(directory, error);
  return unusable(directory, 'cannot be used', 'correct what is wrong there', error);
}

/** Only errors of the system are changed. */
function unusable(directory: string, problem: string, advice: string, error: unknown): unknown {
  const code = errorCode(error);
  if (error instanceof RaftreeError || code === undefined) return error;
  return new RaftreeError(
    'DATA_DIRECTORY',
    `the data folder ${directory} ${problem}: ${errorMessage(error)}; ${advice}, or choose another dataDirectory in node.json`,
    { cause: error, info: { cause: code } },
  );
}

function noSpaceToStart(directory: string, cause: unknown): RaftreeError {
  return new RaftreeError(
    'DISK_FULL',
    `the disk of the data folder ${directory} is full, and a node writes to its logs before it serves: free some space and ` +
      `start it again; nothing is lost (${errorMessage(cause)})`,
    { cause },
  );
}
