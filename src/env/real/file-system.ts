/** The operating system's files. Asynchronous calls go through libuv's thread pool. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { File, FileSystem, OpenMode } from '../env.js';
import { isOutOfDescriptors } from '../errors.js';
import { bindSocket, isListening } from './unix-socket.js';

const FLAGS: Record<OpenMode, number> = {
  read: fs.constants.O_RDONLY,
  modify: fs.constants.O_RDWR,
  create: fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_EXCL,
};

class RealFile implements File {
  readonly path: string;
  readonly #openFd: number;
  /** A second descriptor with O_DSYNC: one call that writes and syncs is faster than two. */
  #durableFd: number | 'not yet' | 'impossible' = 'not yet';
  /** Syncs in progress. */
  readonly #syncing = new Set<Promise<void>>();
  #closed = false;

  constructor(filePath: string, mode: OpenMode) {
    this.path = filePath;
    this.#openFd = fs.openSync(filePath, FLAGS[mode], 0o600);
  }

  /** Throws after close: the number of a closed descriptor may already belong to another file. */
  get #fd(): number {
    if (!this.#closed) return this.#openFd;
    const error: NodeJS.ErrnoException = new Error(`EBADF: ${this.path} is closed`);
    error.code = 'EBADF';
    throw error;
  }

  sizeBytes(): number {
    return fs.fstatSync(this.#fd).size;
  }

  readSync(target: Uint8Array, position: number): number {
    let done = 0;
    while (done < target.length) {
      const count = fs.readSync(this.#fd, target, done, target.length - done, position + done);
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    let done = 0;
    while (done < target.length) {
      const offset = done;
      const count = await new Promise<number>((resolve, reject) => {
        fs.read(this.#fd, target, offset, target.length - offset, position + offset, (error, bytes) =>
          error ? reject(error) : resolve(bytes),
        );
      });
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  writeSync(chunks: readonly Uint8Array[], position: number): void {
    writeAllNow(this.#fd, chunks, position);
  }

  async write(chunks: readonly Uint8Array[], position: number): Promise<void> {
    await writeAll(this.#fd, chunks, position);
  }

  async writeDurable(chunks: readonly Uint8Array[], position: number): Promise<void> {
    const durableFd = this.#closed ? undefined : this.#openDurable();
    // The system reports a failed write only once. A sync in progress may get the report instead of this call, so this
    // call also waits for those syncs and fails if they fail.
    const earlier = [...this.#syncing];
    if (durableFd !== undefined) await writeAll(durableFd, chunks, position);
    else {
      await this.write(chunks, position);
      await this.sync();
    }
    await Promise.all(earlier);
  }

  writeDurableNow(chunks: readonly Uint8Array[], position: number): void {
    const durableFd = this.#closed ? undefined : this.#openDurable();
    if (durableFd !== undefined) {
      writeAllNow(durableFd, chunks, position);
      return;
    }
    this.writeSync(chunks, position);
    this.syncNow();
  }

  /** Undefined if the path no longer leads to this file: it was renamed or unlinked. */
  #openDurable(): number | undefined {
    if (this.#durableFd === 'not yet') {
      this.#durableFd = 'impossible';
      let fd: number;
      try {
        fd = fs.openSync(this.path, fs.constants.O_WRONLY | fs.constants.O_DSYNC);
      } catch (error) {
        if (isOutOfDescriptors(error)) this.#durableFd = 'not yet';
        return undefined;
      }
      const [own, opened] = [fs.fstatSync(this.#fd), fs.fstatSync(fd)];
      if (own.ino === opened.ino && own.dev === opened.dev) this.#durableFd = fd;
      else fs.closeSync(fd);
    }
    return typeof this.#durableFd === 'number' ? this.#durableFd : undefined;
  }

  async sync(): Promise<void> {
    const fd = this.#fd;
    const syncing = new Promise<void>((resolve, reject) => {
      fs.fdatasync(fd, (error) => (error ? reject(error) : resolve()));
    });
    this.#syncing.add(syncing);
    try {
      await syncing;
    } finally {
      this.#syncing.delete(syncing);
    }
  }

  syncNow(): void {
    fs.fdatasyncSync(this.#fd);
  }

  truncate(sizeBytes: number): void {
    fs.ftruncateSync(this.#fd, sizeBytes);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    fs.closeSync(this.#openFd);
    if (typeof this.#durableFd === 'number') fs.closeSync(this.#durableFd);
  }
}

async function writeAll(fd: number, chunks: readonly Uint8Array[], position: number): Promise<void> {
  let rest = chunks;
  let at = position;
  for (;;) {
    const batch = rest;
    const start = at;
    const written = await new Promise<number>((resolve, reject) => {
      const done = (error: NodeJS.ErrnoException | null, bytes: number) =>
        error ? reject(error) : resolve(bytes);
      const only = batch.length === 1 ? batch[0] : undefined;
      if (only) fs.write(fd, only, 0, only.length, start, done);
      else fs.writev(fd, batch, start, done);
    });
    rest = withoutPrefix(rest, written);
    if (rest.length === 0) return;
    at += written;
  }
}

function writeAllNow(fd: number, chunks: readonly Uint8Array[], position: number): void {
  let rest = chunks;
  let at = position;
  for (;;) {
    const written = fs.writevSync(fd, rest, at);
    rest = withoutPrefix(rest, written);
    if (rest.length === 0) return;
    at += written;
  }
}

function withoutPrefix(chunks: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let left = count;
  for (let i = 0; i < chunks.length; i++) {
    const chunk = chunks[i] as Uint8Array;
    if (left < chunk.length) return [chunk.subarray(left), ...chunks.slice(i + 1)];
    left -= chunk.length;
  }
  return [];
}

/** Another process may have created it in the meantime. */
function makeOneDirectory(name: string): void {
  try {
    fs.mkdirSync(name, { mode: 0o700 });
  } catch (error) {
    if (!fs.statSync(name, { throwIfNoEntry: false })?.isDirectory()) throw error;
  }
}

export const realFileSystem: FileSystem = {
  open: (filePath, mode) => new RealFile(filePath, mode),
  exists: (filePath) => fs.existsSync(filePath),
  readFile: (filePath) => fs.readFileSync(filePath),
  isReadableByOthers: (filePath) => (fs.statSync(filePath).mode & fs.constants.S_IROTH) !== 0,
  list: (directory) => fs.readdirSync(directory).sort(),
  realPath: (filePath) => fs.realpathSync(filePath),
  makeDirectory(directory) {
    // Directory by directory. With `recursive`, Node.js never returns if mkdir(2) says ENOENT for a parent that exists,
    // as in /proc.
    const absolute = path.resolve(directory);
    const missing: string[] = [];
    for (let at = absolute; !fs.existsSync(at); at = path.dirname(at)) missing.push(at);
    if (missing.length === 0) makeOneDirectory(absolute);
    for (const name of missing.reverse()) {
      makeOneDirectory(name);
      syncDirectory(path.dirname(name));
    }
  },
  rename: (from, to) => fs.renameSync(from, to),
  link: (from, to) => fs.linkSync(from, to),
  unlink: (filePath) => fs.unlinkSync(filePath),
  removeTree: (filePath) => fs.rmSync(filePath, { recursive: true, force: true }),
  unlinkLater: (filePath) => fs.promises.unlink(filePath),
  syncDirectory,
  async syncDirectoryLater(directory) {
    const fd = fs.openSync(directory, fs.constants.O_RDONLY);
    try {
      await new Promise<void>((resolve, reject) =>
        fs.fsync(fd, (error) => (error ? reject(error) : resolve())),
      );
    } finally {
      fs.closeSync(fd);
    }
  },
  freeBytes: (filePath) =>
    fs.promises.statfs(filePath).then(
      ({ bavail, bsize }) => bavail * bsize,
      () => undefined,
    ),
  bindSocket,
  isListening,
};

function syncDirectory(directory: string): void {
  const fd = fs.openSync(directory, fs.constants.O_RDONLY);
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}
