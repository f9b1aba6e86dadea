/**
 * One owner per directory, without the kernel's file locks (Node has none).
 *
 * The lock is a file `LOCK.<generation>` that names its holder: pid, boot and start time of the process, so that a
 * dead holder's lock is taken over at once and a live one's never.
 *
 *   - The highest generation is the lock. It is claimed by *linking* a finished file to the next free number,
 *     which exactly one of several openers can do.
 *   - The highest generation is never deleted, only marked as released: otherwise an opener that had looked and
 *     then slept could claim a number that was used and forgotten.
 *   - Who claimed a number looks again: if a higher one exists, the claim came too late and is withdrawn.
 */
import type { Env, ProcessIdentity } from './env.js';
import { errorCode, RaftreeError } from './errors.js';

const NAME = /^LOCK\.(\d{1,15})$/;

interface Holder extends ProcessIdentity {
  readonly state: 'held' | 'released';
  /** Tells two openers in one process apart. */
  readonly token: string;
}

export interface DirectoryLock {
  release(): void;
}

/** Whether a name in a directory belongs to its lock. */
export function isLockName(name: string): boolean {
  return name.startsWith('LOCK.');
}

/**
 * Takes the lock of an existing directory.
 * Throws `LOCKED` if a living process holds it; system errors as they are.
 */
export function lockDirectory(env: Env, directory: string): DirectoryLock {
  const holder: Holder = {
    state: 'held',
    ...env.host.self(),
    token: env.random.bytes(8).toString('hex'),
  };
  const prepared = `${directory}/LOCK.new-${holder.pid}-${holder.token}`;
  try {
    writeHolder(env, prepared, holder);
    for (;;) {
      const generation = highestGeneration(env, directory);
      const current = currentHolder(env, directory);
      if (current) {
        throw new RaftreeError(
          'LOCKED',
          `${directory} is in use by process ${current.pid}; stop that process, or use another directory`,
          { info: { directory, pid: current.pid } },
        );
      }
      const claimed = generation + 1;
      try {
        env.fs.link(prepared, lockPath(directory, claimed));
      } catch (error) {
        if (errorCode(error) === 'EEXIST') continue;
        throw error;
      }
      if (highestGeneration(env, directory) !== claimed) {
        env.fs.unlink(lockPath(directory, claimed));
        continue;
      }
      removeOlder(env, directory, claimed);
      return {
        release() {
          const path = lockPath(directory, claimed);
          const released = `${path}.released-${holder.token}`;
          try {
            writeHolder(env, released, { ...holder, state: 'released' });
            env.fs.rename(released, path);
          } catch (error) {
            // A full disk, say. Emptied, which takes no space, the file names nobody either.
            if (!empty(env, path)) throw error;
            unlinkIfThere(env, released);
          }
        },
      };
    }
  } finally {
    unlinkIfThere(env, prepared);
  }
}

/** The living process that holds a directory's lock, if there is one. */
export function currentHolder(env: Env, directory: string): ProcessIdentity | undefined {
  const generation = highestGeneration(env, directory);
  const holder = generation > 0 ? readHolder(env, lockPath(directory, generation)) : undefined;
  return holder?.state === 'held' && env.host.isAlive(holder) ? holder : undefined;
}

function lockPath(directory: string, generation: number): string {
  return `${directory}/LOCK.${generation}`;
}

function highestGeneration(env: Env, directory: string): number {
  let highest = 0;
  for (const name of env.fs.list(directory)) {
    const match = NAME.exec(name);
    if (match) highest = Math.max(highest, Number(match[1]));
  }
  return highest;
}

function removeOlder(env: Env, directory: string, generation: number): void {
  for (const name of env.fs.list(directory)) {
    const match = NAME.exec(name);
    if (!match || Number(match[1]) >= generation) continue;
    unlinkIfThere(env, `${directory}/${name}`);
  }
}

function unlinkIfThere(env: Env, path: string): void {
  try {
    env.fs.unlink(path);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
}

function writeHolder(env: Env, path: string, holder: Holder): void {
  const file = env.fs.open(path, 'create');
  try {
    file.writeSync([Buffer.from(`${JSON.stringify(holder)}\n`)], 0);
  } finally {
    file.close();
  }
}

function empty(env: Env, path: string): boolean {
  try {
    const file = env.fs.open(path, 'modify');
    file.truncate(0);
    file.close();
    return true;
  } catch {
    return false;
  }
}

/** Undefined for a file that is gone, emptied, or that a power cut left empty or torn: nobody who lives holds that. */
function readHolder(env: Env, path: string): Holder | undefined {
  let text: string;
  try {
    text = env.fs.readFile(path).toString('utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    if (errorCode(error) === 'EISDIR') {
      throw new RaftreeError('LOCKED', `${path} is a directory where a lock file belongs; remove it`);
    }
    throw error;
  }
  try {
    const value: unknown = JSON.parse(text);
    return isHolder(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isHolder(value: unknown): value is Holder {
  if (typeof value !== 'object' || value === null) return false;
  const fields = value as Partial<Record<keyof Holder, unknown>>;
  return (
    (fields.state === 'held' || fields.state === 'released') &&
    typeof fields.pid === 'number' &&
    typeof fields.bootId === 'string' &&
    typeof fields.startTime === 'string'
  );
}
