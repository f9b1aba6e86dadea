/**
 * What was typed into the shell, in `$XDG_STATE_HOME/raftree/history` (`~/.local/state/raftree/history`): one command a
 * line, the oldest first. Only its owner can read the file. A command that begins with a space is not kept, nor is a
 * long one. Several shells append to the same file.
 */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { errorCode } from '../../env/errors.js';
import { realFileSystem } from '../../env/real/file-system.js';
import { OutputFile } from '../output-file.js';

export const MAX_ENTRIES = 1000;
export const MAX_ENTRY_CHARACTERS = 4096;
/** A file with more is written anew, with the last entries. */
const MAX_FILE_BYTES = 1024 * 1024;
const PRIVATE = 0o600;

/** Undefined if there is no home. */
export function historyFile(environment: NodeJS.ProcessEnv): string | undefined {
  const { XDG_STATE_HOME: state = '' } = environment;
  if (path.isAbsolute(state)) return path.join(state, 'raftree', 'history');
  try {
    return path.join(os.homedir(), '.local', 'state', 'raftree', 'history');
  } catch {
    return undefined;
  }
}

export class History {
  readonly #file: string | undefined;
  readonly #entries: string[] = [];
  #problem: string | undefined;

  /** Never throws: without the file there is a history of this shell alone, and `problem` says why. */
  constructor(file: string | undefined) {
    this.#file = file;
    if (file === undefined) return;
    this.#attempt(() => {
      realFileSystem.makeDirectory(path.dirname(file));
      this.#load(file);
    });
  }

  /** The newest first. */
  get entries(): readonly string[] {
    return this.#entries;
  }

  /** Why the file is not used. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** `entry` is one line. */
  add(entry: string): void {
    if (entry === '' || entry.startsWith(' ') || entry.length > MAX_ENTRY_CHARACTERS) return;
    if (entry === this.#entries[0]) return;
    this.#entries.unshift(entry);
    if (this.#entries.length > MAX_ENTRIES) this.#entries.pop();
    const file = this.#file;
    if (file === undefined || this.#problem !== undefined) return;
    this.#attempt(() => fs.appendFileSync(file, `${entry}\n`, { mode: PRIVATE }));
  }

  #load(file: string): void {
    const present = fs.statSync(file, { throwIfNoEntry: false });
    if (!present) return;
    // Linked to /dev/null by a user who wants no history.
    if (!present.isFile()) return;
    fs.chmodSync(file, PRIVATE);
    const lines = tailOf(file, present.size).split('\n').filter(isKept);
    this.#entries.push(...lines.slice(-MAX_ENTRIES).reverse());
    if (present.size <= MAX_FILE_BYTES && lines.length <= 2 * MAX_ENTRIES) return;
    const output = new OutputFile(file);
    output.write([...this.#entries].reverse().join('\n').concat('\n'));
    output.finish();
  }

  #attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#problem = `${this.#file} cannot be used: ${errorCode(error) ?? 'it cannot be written'}`;
    }
  }
}

function isKept(line: string): boolean {
  return line !== '' && line.length <= MAX_ENTRY_CHARACTERS && !/\p{Cc}/u.test(line);
}

/** The last lines of the file. */
function tailOf(file: string, sizeBytes: number): string {
  const from = Math.max(0, sizeBytes - MAX_FILE_BYTES);
  const bytes = Buffer.alloc(sizeBytes - from);
  const descriptor = fs.openSync(file, 'r');
  try {
    const count = fs.readSync(descriptor, bytes, 0, bytes.length, from);
    const text = bytes.toString('utf8', 0, count);
    // The first line may be a part of one.
    return from === 0 ? text : text.slice(text.indexOf('\n') + 1);
  } finally {
    fs.closeSync(descriptor);
  }
}
