/**
 * A lock on a directory: one holder at a time. The system releases it when the holder ends, even after kill -9.
 *
 * Each holder has a file name of its own in the directory, `LOCK.<pid>.<start time>.<token>`. It is a UNIX socket on
 * which the holder listens. A successful connect shows that the holder is alive. This also works if the holder is in
 * another container (with other process numbers), is stopped, or is a worker thread. A copied directory has no
 * listener.
 *
 * 1. If the owner of any lock name in the directory is alive, throw `LOCKED`. Nothing was changed.
 * 2. Create the own name and listen on it.
 * 3. Look again. If the owner of another name is alive, remove the own name, wait for a moment and start again.
 *    Otherwise the directory is locked.
 *
 * Why this is safe: of two processes that try at the same time, one listens second. In step 3 it sees the name of the
 * first, whose owner is alive. A name exists for a moment before its owner listens, so another process can take it for
 * dead and remove it. That process was already listening itself, so the owner sees it in step 3. Names are never used
 * twice. A holder therefore removes only its own name and names of dead holders.
 *
 * On a file system without sockets the name is a regular file with process id, boot id and pid namespace. The lock is
 * held as long as that process is alive. A process of another pid namespace cannot be checked; it counts as alive.
 */
import type { Env, ProcessIdentity } from './env.js';
import { errorCode, RaftreeError } from './errors.js';

const PREFIX = 'LOCK.';
const NAME = /^LOCK\.(\d{1,10})\.(\d{1,20})\.[0-9a-f]{16}$/;
/** After a conflict each process waits for a random time up to this, so that they do not collide again. */
const MAX_PAUSE_MS = 10;
const MAX_TRIES = 100;
/** Errors of bind(2) that do not mean "this file system has no sockets". */
const OTHER_REASONS: ReadonlySet<string> = new Set([
  'EMFILE',
  'ENFILE',
  'ENOMEM',
  'ENOBUFS',
  'ENOENT',
  'ENOTDIR',
  'EROFS',
  'EIO',
]);

export interface DirectoryLock {
  /** Throws `DIRECTORY_GONE` if the directory was moved or removed: another directory may now have its path. */
  check(): void;
  /** Calling it twice is allowed. Never throws for a directory that was moved or removed. */
  release(): void;
}

/** The process that holds a directory. If it is not known, `pid` is 0 and `startTime` is empty. */
export type LockHolder = Pick<ProcessIdentity, 'pid' | 'startTime'>;

/** Whether a file name belongs to a directory lock. */
export function isLockName(name: string): boolean {
  return name.startsWith(PREFIX);
}

/**
 * Locks an existing directory. Rejects with `LOCKED` if another process holds it. System errors pass through unchanged.
 */
export async function lockDirectory(env: Env, directory: string): Promise<DirectoryLock> {
  for (let tries = 1; ; tries++) {
    const holder = await currentHolder(env, directory);
    if (holder) throw lockedError(directory, holder);
    const name = newName(env);
    let own: DirectoryLock;
    try {
      own = await announce(env, directory, name);
    } catch (error) {
      if (errorCode(error) !== 'ENOENT' || tries > MAX_TRIES) throw error;
      // Another process took this name for dead and removed it before it was complete. Or the directory is gone, which
      // the next round reports.
      continue;
    }
    let isAlone = false;
    try {
      // If the own name is gone, the directory was replaced, or another process took the name for dead.
      isAlone = !(await holderBeside(env, directory, name)) && env.fs.exists(`${directory}/${name}`);
    } finally {
      if (!isAlone) own.release();
    }
    if (isAlone) {
      removeDead(env, directory, name);
      return own;
    }
    await new Promise<void>((resolve) => env.timers.after(env.random.float() * MAX_PAUSE_MS, resolve));
  }
}

/** The holder of a directory's lock, or undefined. */
export function currentHolder(env: Env, directory: string): Promise<LockHolder | undefined> {
  return holderBeside(env, directory, undefined);
}

function lockedError(directory: string, { pid }: LockHolder): RaftreeError {
  const who =
    pid === 0 ? 'another process' : `process ${pid} (or a process with this number in another container)`;
  return new RaftreeError(
    'LOCKED',
    `${directory} is in use by ${who}; stop that process, or use another directory`,
    { info: { directory, pid } },
  );
}

function newName(env: Env): string {
  const { pid, startTime } = env.host.self();
  return `${PREFIX}${pid}.${startTime || 0}.${env.random.bytes(8).toString('hex')}`;
}

/** Creates the own name and listens on it. */
async function announce(env: Env, directory: string, name: string): Promise<DirectoryLock> {
  const path = `${directory}/${name}`;
  let close = () => {};
  try {
    const socket = await env.fs.bindSocket(path);
    close = () => socket.close();
  } catch (error) {
    if (OTHER_REASONS.has(errorCode(error) ?? '')) throw error;
    writeHolder(env, path);
    close = () => emptyIfThere(env, path);
  }
  let isReleased = false;
  return {
    check() {
      if (env.fs.exists(path)) return;
      throw new RaftreeError(
        'DIRECTORY_GONE',
        `${directory} or its lock was moved or removed while in use; close it, and open the directory at its new path`,
        { info: { directory } },
      );
    },
    release() {
      if (isReleased) return;
      isReleased = true;
      // If the name cannot be removed it does no harm: nothing listens on it.
      unlinkIfPossible(env, path);
      close();
    },
  };
}

async function holderBeside(
  env: Env,
  directory: string,
  own: string | undefined,
): Promise<LockHolder | undefined> {
  for (const name of env.fs.list(directory)) {
    if (!isLockName(name) || name === own) continue;
    const path = `${directory}/${name}`;
    if (await env.fs.isListening(path)) {
      const [, pid, startTime] = NAME.exec(name) ?? [];
      return { pid: Number(pid ?? 0), startTime: startTime ?? '' };
    }
    const holder = readHolder(env, path);
    if (holder && env.host.isAlive(holder)) return holder;
  }
  return undefined;
}

/** Only the holder may call this: no other owner is alive. */
function removeDead(env: Env, directory: string, own: string): void {
  for (const name of env.fs.list(directory)) {
    if (isLockName(name) && name !== own) unlinkIfPossible(env, `${directory}/${name}`);
  }
}

function unlinkIfPossible(env: Env, path: string): void {
  try {
    env.fs.unlink(path);
  } catch {
    // It is gone with its directory, or it stays; a dead name does no harm.
  }
}

function writeHolder(env: Env, path: string): void {
  const file = env.fs.open(path, 'create');
  try {
    file.writeSync([Buffer.from(`${JSON.stringify(env.host.self())}\n`)], 0);
  } catch (error) {
    unlinkIfPossible(env, path);
    throw error;
  } finally {
    file.close();
  }
}

/** A lock file that cannot be removed names this process, which goes on living. Emptied, it names no process. */
function emptyIfThere(env: Env, path: string): void {
  if (!env.fs.exists(path)) return;
  const file = env.fs.open(path, 'modify');
  try {
    file.truncate(0);
  } finally {
    file.close();
  }
}

/**
 * Undefined for a socket, a directory, and a file that is gone, empty or torn by a power cut: no living process holds
 * those.
 */
function readHolder(env: Env, path: string): ProcessIdentity | undefined {
  let text: string;
  try {
    text = env.fs.readFile(path).toString('utf8');
  } catch (error) {
    if (['ENOENT', 'ENXIO', 'EOPNOTSUPP', 'ENOTSUP', 'EISDIR'].includes(errorCode(error) ?? ''))
      return undefined;
    throw error;
  }
  try {
    const value: unknown = JSON.parse(text);
    return isHolder(value) ? { ...value, pidNamespace: value.pidNamespace ?? '' } : undefined;
  } catch {
    return undefined;
  }
}

function isHolder(value: unknown): value is ProcessIdentity {
  if (typeof value !== 'object' || value === null) return false;
  const fields = value as Partial<Record<keyof ProcessIdentity, unknown>>;
  return (
    typeof fields.pid === 'number' &&
    typeof fields.bootId === 'string' &&
    typeof fields.startTime === 'string' &&
    (fields.pidNamespace === undefined || typeof fields.pidNamespace === 'string')
  );
}
