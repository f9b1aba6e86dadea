/**
 * The numbered files of a record log: their names, which of them are open, and the recycled ones. A recycled file waits
 * under the name `.spare`, or already has the next file's name.
 */
import type { Env, File } from '../env/env.js';
import { corruption } from './record.js';

export interface LogFilesOptions {
  readonly env: Env;
  readonly directory: string;
  /** File names begin with it; the number follows. */
  readonly name: string;
  /** Whether obsolete files are kept and overwritten as new ones. Default: false. */
  readonly recycles?: boolean;
  /** Larger files are not recycled. Default: twice `maxFileBytes`. */
  readonly maxSpareBytes?: number;
  readonly maxFileBytes: number;
}

export interface PreparedFile {
  readonly number: number;
  /** The size that the file already has. */
  readonly allocatedBytes: number;
}

/** Recycled files kept at a time. One is enough, because files are created and removed one by one. */
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

  /** Deletes the files below `oldestNeeded`. Returns the other numbers, ascending. Throws `CORRUPTION`. */
  clearObsolete(oldestNeeded: number | undefined): number[] {
    const { env, directory, name } = this.#options;
    const pattern = new RegExp(`^${name}-(\\d{8,15})\\.log$`);
    const sparePattern = new RegExp(`^${name}-\\d{8,15}\\.spare$`);
    const numbers: number[] = [];
    for (const entry of env.fs.list(directory)) {
      // A spare from before a crash is not reused: the removal of its old name may not be durable.
      if (sparePattern.test(entry)) env.fs.unlink(`${directory}/${entry}`);
      const number = Number(pattern.exec(entry)?.[1] ?? 0);
      if (number === 0) continue;
      if (number < (oldestNeeded ?? 1)) env.fs.unlink(`${directory}/${entry}`);
      else numbers.push(number);
    }
    numbers.sort((a, b) => a - b);
    const first = numbers[0];
    if (oldestNeeded !== undefined && first !== undefined && first > oldestNeeded) {
      throw corruption(this.path(first), 0, `${this.path(oldestNeeded)} is needed but missing`);
    }
    return numbers;
  }

  /** The file if it is open. */
  get(number: number): File | undefined {
    return this.#open.get(number);
  }

  /** The file; opens it for reading if it is not open. Throws the system's error. */
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
   * Creates the file, or renames a spare file to it, and makes the name durable. Resolves to the bytes that the file
   * already has. Rejects with the system's error.
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

  /** If there is a spare file, renames it to the next file before that one is needed. */
  prepare(number: number): void {
    if (this.#spares.length === 0 || this.#prepared) return;
    this.#prepared = this.create(number).then((allocatedBytes) => ({ number, allocatedBytes }));
    // `takePrepared` reports the error.
    this.#prepared.catch(() => {});
  }

  /** The file from `prepare`, if that was called. Rejects as `create` does. */
  async takePrepared(): Promise<PreparedFile | undefined> {
    try {
      return await this.#prepared;
    } finally {
      this.#prepared = undefined;
    }
  }

  /** Removes an empty file if possible. If it stays it does no harm. */
  discard(number: number): void {
    try {
      this.#options.env.fs.unlink(this.path(number));
    } catch {}
  }

  /**
   * Removes the file's name: renames the file to a spare, or calls `unlink`. Returns whether it became a spare. If so,
   * the caller syncs the directory and then calls `addSpare`.
   */
  giveUp(number: number, unlink: (path: string) => void): boolean {
    const { env, recycles } = this.#options;
    const path = this.path(number);
    // If it is already gone, the last call removed it and only the sync failed. A second sync would prove nothing, so
    // the file does not become a spare.
    const isThere = env.fs.exists(path);
    const isSpare =
      isThere && recycles === true && this.#spares.length < MAX_SPARES && this.#isFitToBeSpare(number);
    this.forget(number);
    if (isSpare) env.fs.rename(path, this.#sparePath(number));
    else if (isThere) unlink(path);
    return isSpare;
  }

  /** A file that one large value made large is not kept. */
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

  /** Closes the file if it is open. */
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
