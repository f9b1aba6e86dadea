/**
 * A file that is replaced atomically: the content is written to a temporary file beside it, synced and renamed. Until
 * then the old file stays unchanged. Devices and pipes are written directly.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { errorCode, errorMessage, RaftreeError } from '../env/errors.js';
import { UsageError } from './exit-codes.js';

const PRIVATE = 0o600;
const PERMISSIONS = 0o777;

export class OutputFile {
  /** The name that the user gave. */
  readonly #name: string;
  readonly #target: string;
  /** The temporary file; equal to `#target` for a device or pipe. */
  readonly #written: string;
  readonly #descriptor: number;

  /** Throws `UsageError` if the file cannot be written. */
  constructor(name: string) {
    this.#name = name;
    if (name === '') throw new UsageError('the output file needs a name');
    const present = statOf(name);
    if (present?.isDirectory()) throw new UsageError(`cannot write ${name}: it is a folder`);
    try {
      if (present && !present.isFile()) {
        // A pipe below /proc/self/fd has no other name.
        this.#target = name;
        this.#written = name;
        this.#descriptor = fs.openSync(this.#written, 'w');
        return;
      }
      this.#target = present ? fs.realpathSync(name) : name;
      this.#written = `${this.#target}.${process.pid}.tmp`;
      // Left by a killed process with the same pid.
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

  /** Renames the file to its final name, durably. Throws `OUTPUT_FAILED`. */
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

  /** Removes the temporary file. Does nothing after `finish`. */
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
