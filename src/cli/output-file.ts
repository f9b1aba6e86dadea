/**
 * A file that is there whole, or not at all: it is written beside its place under another name, synced, and renamed.
 * What was there before stays as it was until then. A device or a pipe is written to as it is.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { errorCode, errorMessage, RaftreeError } from '../env/errors.js';
import { UsageError } from './exit-codes.js';

const PRIVATE = 0o600;
const PERMISSIONS = 0o777;

export class OutputFile {
  /** As the user named it. */
  readonly #name: string;
  readonly #target: string;
  /** Equal to `#target` if that is no ordinary file. */
  readonly #written: string;
  readonly #descriptor: number;

  /** Throws `UsageError` if nothing can be written there. */
  constructor(name: string) {
    this.#name = name;
    if (name === '') throw new UsageError('the output file needs a name');
    const present = statOf(name);
    if (present?.isDirectory()) throw new UsageError(`cannot write ${name}: it is a folder`);
    try {
      if (present && !present.isFile()) {
        // A pipe below /proc/self/fd has no other name than the one given.
        this.#target = name;
        this.#written = name;
        this.#descriptor = fs.openSync(this.#written, 'w');
        return;
      }
      this.#target = present ? fs.realpathSync(name) : name;
      this.#written = `${this.#target}.${process.pid}.tmp`;
      // Of a process that had the same id and was killed.
      fs.rmSync(this.#written, { force: true });
      this.#descriptor = fs.openSync(this.#written, 'wx', PRIVATE);
      if (present) fs.fchmodSync(this.#descriptor, present.mode & PERMISSIONS);
    } catch (error) {
      const reason = errorCode(error) === 'ENOENT' ? 'its folder does not exist' : errorMessage(error);
      throw new UsageError(`cannot write ${name}: ${reason}`);
    }
  }

  /** Throws `OUTPUT_FAILED`. */
  write(text: string): void {
    this.#attempt(() => {
      const bytes = Buffer.from(text);
      for (let at = 0; at < bytes.length; ) at += fs.writeSync(this.#descriptor, bytes, at);
    });
  }

  /** Puts the file into its place, durably. Throws `OUTPUT_FAILED`. */
  finish(): void {
    this.#attempt(() => {
      if (this.#written !== this.#target) fs.fsyncSync(this.#descriptor);
      fs.closeSync(this.#descriptor);
      if (this.#written === this.#target) return;
      fs.renameSync(this.#written, this.#target);
      const folder = fs.openSync(path.dirname(this.#target), 'r');
      fs.fsyncSync(folder);
      fs.closeSync(folder);
    });
  }

  /** Leaves everything as it was. Does nothing after `finish`. */
  discard(): void {
    if (this.#written !== this.#target) fs.rmSync(this.#written, { force: true });
  }

  #attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      throw new RaftreeError('OUTPUT_FAILED', `cannot write ${this.#name}: ${errorMessage(error)}`, {
        cause: error,
        info: { outcome: 'notCommitted' },
      });
    }
  }
}

function statOf(name: string): fs.Stats | undefined {
  try {
    return fs.statSync(name, { throwIfNoEntry: false });
  } catch (error) {
    throw new UsageError(`cannot write ${name}: ${errorMessage(error)}`);
  }
}
