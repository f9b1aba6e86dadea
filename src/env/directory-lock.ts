/**
 * One owner per directory, and the system itself lets go of the lock when its owner ends, however that happens.
 *
 * Each holder has a name of its own in the directory, `LOCK.<pid>.<start time>.<token>`: a UNIX socket on which it
 * listens. Who connects to it learns from the system whether the holder lives: also from a container with other
 * process numbers, of a holder that is stopped, and of a worker thread. A copy of the directory has no listener.
 *
 *   1. If anybody lives whose name is there, the directory is `LOCKED`. Nothing was touched.
 *   2. Make the own name and listen.
 *   3. Look again. If anybody else lives, take the own name away, wait a moment, begin again. Otherwise it is locked.
 *
 * Of two that are at it together, the second to listen sees the first one's name in step 3, and that it lives. That
 * a name is there shortly before its maker listens does no harm: who took that one for dead had listened before, and
 * is seen by it. A name is made once and never again, so a holder takes away only its own, and only what is dead can
 * be in the way.
 *
 * Where a file system has no sockets the name is a file that tells process, boot and process namespace. It is held as
 * long as that process lives; if it is of another namespace, that cannot be known, and it counts as held.
 */
import type { Env, ProcessIdentity } from './env.js';
import { errorCode, RaftreeError } from './errors.js';

const PREFIX = 'LOCK.';
const NAME = /^LOCK\.(\d{1,10})\.(\d{1,20})\.[0-9a-f]{16}$/;
/** Who found another at it waits up to so long, so that not all begin again together. */
const MAX_PAUSE_MS = 10;
const MAX_TRIES = 100;
/** What a bind fails with for a reason that has nothing to do with sockets. */
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
  /** Throws `DIRECTORY_GONE` if the directory was moved or removed: what has its place now is another one. */
  check(): void;
  /** May be called twice. Never throws for a directory that was moved or removed. */
  release(): void;
}

/** Who holds a directory: 0 and an empty start time where that cannot be told. */
export type LockHolder = Pick<ProcessIdentity, 'pid' | 'startTime'>;

/** Whether a name in a directory belongs to its lock. */
export function isLockName(name: string): boolean {
  return name.startsWith(PREFIX);
}

/**
 * Takes the lock of an existing directory.
 * Rejects with `LOCKED` if it is held, with system errors as they are.
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
      // Another took the name for dead and away before it was complete. Or the directory is gone: see above.
      continue;
    }
    let isAlone = false;
    try {
      // A name that is gone: the directory was replaced meanwhile, or another has just taken this one for dead.
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

/** Who holds the lock of a directory, if anybody does. */
export function currentHolder(env: Env, directory: string): Promise<LockHolder | undefined> {
  return holderBeside(env, directory, undefined);
}

function lockedError(directory: string, { pid }: LockHolder): RaftreeError {
  const who = pid === 0 ? 'another process' : `process ${pid} (or one of that number in another container)`;
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

/** Makes the own name. */
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
        `${directory} was moved or removed while it was in use, or its lock was; close it, and open it where it is now`,
        { info: { directory } },
      );
    },
    release() {
      if (isReleased) return;
      isReleased = true;
      // A name that cannot be removed is dead all the same.
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

/** By the holder: nobody else lives. */
function removeDead(env: Env, directory: string, own: string): void {
  for (const name of env.fs.list(directory)) {
    if (isLockName(name) && name !== own) unlinkIfPossible(env, `${directory}/${name}`);
  }
}

function unlinkIfPossible(env: Env, path: string): void {
  try {
    env.fs.unlink(path);
  } catch {
    // It is gone with its directory, or stays and is in nobody's way.
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

/** A file that could not be removed names its holder, who lives on: emptied it names nobody. */
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
 * Undefined for a socket, for what is gone, emptied, a directory, or torn by a power cut: nobody who lives holds that.
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
