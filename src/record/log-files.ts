/**
 * The files of a record log by their numbers: their names, which of them are open, and those that wait to be used
 * again, under a name of their own (`.spare`) or already under the next one's.
 */
import type { Env, File } from '../env/env.js';
import { corruption } from './record.js';

export interface LogFilesOptions {
  readonly env: Env;
  readonly directory: string;
  /** What the files are called before their number. */
  readonly name: string;
  /** Whether files that are not needed any more are kept, to be written over as new ones; false. */
  readonly recycles?: boolean;
  /** A file larger than this is not kept: twice `maxFileBytes`. */
  readonly maxSpareBytes?: number;
  readonly maxFileBytes: number;
}

export interface PreparedFile {
  readonly number: number;
  /** What it holds already. */
  readonly allocatedBytes: number;
}

/** Files that wait to be used again: one is enough where files come and go one by one. */
const MAX_SPARES = 1;

export class LogFiles {
  readonly #options: LogFilesOptions;
  readonly #open = new Map<number, File>();
  readonly #spares: number[] = [];
  #prepared: Promise<PreparedFile> | undefined;

  constructor(options: LogFilesOptions) {
    this.#options = options;
  }

  path(number: number): string {
    return `${this.#options.directory}/${this.#options.name}-${String(number).padStart(8, '0')}.log`;
  }

  /** Deletes what is below `oldestNeeded`; returns the numbers of the others, ascending. Throws `CORRUPTION`. */
  clearObsolete(oldestNeeded: number | undefined): number[] {
    const { env, directory, name } = this.#options;
    const pattern = new RegExp(`^${name}-(\\d{8,15})\\.log$`);
    const sparePattern = new RegExp(`^${name}-\\d{8,15}\\.spare$`);
    const numbers: number[] = [];
    for (const entry of env.fs.list(directory)) {
      // It is not known whether its old name is durably gone.
      if (sparePattern.test(entry)) env.fs.unlink(`${directory}/${entry}`);
      const number = Number(pattern.exec(entry)?.[1] ?? 0);
      if (number === 0) continue;
      if (number < (oldestNeeded ?? 1)) env.fs.unlink(`${directory}/${entry}`);
      else numbers.push(number);
    }
    numbers.sort((a, b) => a - b);
    const first = numbers[0];
    if (oldestNeeded !== undefined && first !== undefined && first > oldestNeeded) {
      throw corruption(this.path(first), 0, `${this.path(oldestNeeded)} is needed and missing`);
    }
    return numbers;
  }

  /** The file if it is open. */
  get(number: number): File | undefined {
    return this.#open.get(number);
  }

  /** The file, opened for reading if it is not open. Throws the system's error. */
  use(number: number): File {
    let file = this.#open.get(number);
    if (!file) {
      file = this.#options.env.fs.open(this.path(number), 'read');
      this.#open.set(number, file);
    }
    return file;
  }

  adopt(number: number, file: File): void {
    this.#open.set(number, file);
  }

  /**
   * Makes a file, or of a spare one that file, and its name durable. Resolves to the bytes that it holds already.
   * Rejects with the system's error.
   */
  async create(number: number): Promise<number> {
    const { env, directory } = this.#options;
    const path = this.path(number);
    let allocatedBytes = 0;
    try {
      if (env.fs.exists(path)) env.fs.unlink(path);
      const spare = this.#spares.shift();
      if (spare === undefined) this.#open.set(number, env.fs.open(path, 'create'));
      else {
        env.fs.rename(this.#sparePath(spare), path);
        const file = env.fs.open(path, 'modify');
        this.#open.set(number, file);
        allocatedBytes = file.sizeBytes();
      }
      await env.fs.syncDirectoryLater(directory);
    } catch (error) {
      this.forget(number);
      throw error;
    }
    return allocatedBytes;
  }

  /** Makes a spare file, if there is one, the next one before that is needed. */
  prepare(number: number): void {
    if (this.#spares.length === 0 || this.#prepared) return;
    this.#prepared = this.create(number).then((allocatedBytes) => ({ number, allocatedBytes }));
    // Told to whoever takes it.
    this.#prepared.catch(() => {});
  }

  /** What `prepare` made, if it was called. Rejects as `create`. */
  async takePrepared(): Promise<PreparedFile | undefined> {
    try {
      return await this.#prepared;
    } finally {
      this.#prepared = undefined;
    }
  }

  /** Removes a file that holds nothing, if that can be done: it is in nobody's way. */
  discard(number: number): void {
    try {
      this.#options.env.fs.unlink(this.path(number));
    } catch {}
  }

  /**
   * Takes a file its name, with `unlink` if it is not to be used again; returns whether it is, once the directory is
   * synced: then `addSpare` is to be called.
   */
  giveUp(number: number, unlink: (path: string) => void): boolean {
    const { env, recycles } = this.#options;
    const path = this.path(number);
    // It is gone already if only the sync failed the last time; then a second sync proves nothing, and it is no spare.
    const isThere = env.fs.exists(path);
    const isSpare =
      isThere && recycles === true && this.#spares.length < MAX_SPARES && this.#isFitToBeSpare(number);
    this.forget(number);
    if (isSpare) env.fs.rename(path, this.#sparePath(number));
    else if (isThere) unlink(path);
    return isSpare;
  }

  /** One large value must not have its size kept for ever. */
  #isFitToBeSpare(number: number): boolean {
    const { maxFileBytes, maxSpareBytes = 2 * maxFileBytes } = this.#options;
    try {
      return this.use(number).sizeBytes() <= maxSpareBytes;
    } catch {
      return false;
    }
  }

  addSpare(number: number): void {
    this.#spares.push(number);
  }

  /** Closes it if it is open. */
  forget(number: number): void {
    this.#open.get(number)?.close();
    this.#open.delete(number);
  }

  closeAll(): void {
    for (const file of this.#open.values()) file.close();
    this.#open.clear();
  }

  #sparePath(number: number): string {
    return `${this.#options.directory}/${this.#options.name}-${String(number).padStart(8, '0')}.spare`;
  }
}
