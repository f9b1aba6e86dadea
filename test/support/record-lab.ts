/** A record log on a simulated disk, with everything that was appended and acknowledged written down. */
import type { Env, Timers } from '../../src/env/env.js';
import { errorCode } from '../../src/env/errors.js';
import { RecordLog, type RecordLogOptions } from '../../src/record/record-log.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import type { SimFileSystemOptions } from '../../src/sim/world/file-operation.js';
import { roomEnv } from '../../src/sim/world/room-env.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

export const DIRECTORY = '/log';

export function newDisk(): SimDisk {
  const disk = new SimDisk();
  disk.mount().makeDirectory(DIRECTORY);
  return disk;
}

/** The room's env, but its end of a turn comes with the promises: as deterministic, and a hundred times faster. */
export function promptEnv(disk: SimDisk, options: SimFileSystemOptions = {}): Env {
  const env = roomEnv(1, disk, options);
  const timers: Timers = { ...env.timers, endOfTurn: (run) => void Promise.resolve().then(run) };
  return { ...env, timers };
}

export interface OpenedLog {
  readonly log: RecordLog;
  readonly recovered: string[];
}

export function openLog(
  disk: SimDisk,
  options: Partial<RecordLogOptions> & { readonly files?: SimFileSystemOptions } = {},
): OpenedLog {
  const { files, ...logOptions } = options;
  const recovered: string[] = [];
  const log = RecordLog.open({
    env: promptEnv(disk, files),
    directory: DIRECTORY,
    name: 'wal',
    maxFileBytes: 4096,
    maxGroupBytes: 4096,
    recovered: (payload) => recovered.push(payload.toString('latin1')),
    ...logOptions,
  });
  return { log, recovered };
}

export function bytesOf(text: string): Uint8Array[] {
  return [Buffer.from(text, 'latin1')];
}

export interface ScriptOptions {
  readonly seed: number;
  readonly steps: number;
  /** Starts every text, so that no two scripts append the same one. */
  readonly mark: string;
  readonly maxPayloadBytes: number;
}

/** What a recovery must find. */
export interface Expectation {
  readonly history: readonly string[];
  /** The first this many are acknowledged as durable. */
  readonly durable: number;
  /** The first this many may be gone: the files that held them were to be deleted. */
  readonly removable: number;
}

interface Entry {
  readonly text: string;
  file: number | undefined;
  durable: boolean;
  /** The log said that it is certainly not written. */
  refused: boolean;
  removable: boolean;
}

/** Runs a random script of appends, rotations and deletions. `expected()` says at any moment what must survive. */
export class Script {
  readonly #log: RecordLog;
  readonly #options: ScriptOptions;
  readonly #entries: Entry[];

  /** What was recovered from the log is durable. */
  constructor({ log, recovered }: OpenedLog, options: ScriptOptions) {
    this.#log = log;
    this.#options = options;
    this.#entries = recovered.map((text) => ({
      text,
      file: undefined,
      durable: true,
      refused: false,
      removable: false,
    }));
  }

  expected(): Expectation {
    const entries = this.#entries.filter((entry) => !entry.refused);
    return {
      history: entries.map((entry) => entry.text),
      durable: entries.findLastIndex((entry) => entry.durable) + 1,
      removable: entries.findLastIndex((entry) => entry.removable) + 1,
    };
  }

  /** With `disk: 'faulty'` the log may refuse, fail and throw, with its own codes or the system's. */
  async run(disk: 'sound' | 'faulty' = 'sound'): Promise<void> {
    const random = new SeededRandom(this.#options.seed);
    const running: Promise<void>[] = [];
    for (let step = 0; step < this.#options.steps; step++) {
      const choice = random.float();
      if (choice < 0.1) this.#log.rotate();
      else if (choice < 0.2) this.#removeBefore(random, disk);
      else if (choice < 0.4) await Promise.all(running);
      else {
        for (let burst = random.between(1, 3); burst > 0; burst--) {
          running.push(this.#append(random, random.chance(0.4), disk));
        }
      }
    }
    await Promise.all(running);
  }

  #removeBefore(random: SeededRandom, disk: 'sound' | 'faulty'): void {
    const files = this.#entries.flatMap((entry) => entry.file ?? []);
    if (files.length === 0) return;
    const number = random.pick(files);
    for (const entry of this.#entries) {
      if ((entry.file ?? 0) >= number) break;
      entry.removable = true;
    }
    try {
      this.#log.removeBefore(number);
    } catch (error) {
      if (disk === 'sound') throw error;
    }
  }

  async #append(random: SeededRandom, durable: boolean, disk: 'sound' | 'faulty'): Promise<void> {
    const filler = random.bytes(random.between(0, this.#options.maxPayloadBytes)).toString('latin1');
    const text = `${this.#options.mark}${this.#entries.length}:${filler}`;
    const entry: Entry = { text, file: undefined, durable: false, refused: false, removable: false };
    this.#entries.push(entry);
    try {
      entry.file = (await this.#log.append(bytesOf(text), durable, random.chance(0.5))).file;
      entry.durable = durable;
    } catch (error) {
      if (disk === 'sound') throw error;
      const code = errorCode(error);
      if (code === 'LOG_NO_SPACE') entry.refused = true;
      else if (code !== 'LOG_FAILED') throw error;
    }
  }
}

/** Undefined if the survivors are what was promised, or what is wrong with them. */
export function violation(survivors: readonly string[], promise: Expectation): string | undefined {
  const { history, durable, removable } = promise;
  const start =
    survivors.length === 0 ? Math.min(removable, durable) : history.indexOf(survivors[0] as string);
  if (start < 0) return `the first survivor was never appended`;
  if (start > removable) return `starts at ${start}, but only ${removable} may be gone`;
  for (let i = 0; i < survivors.length; i++) {
    if (survivors[i] !== history[start + i]) return `survivor ${i} is not number ${start + i}`;
  }
  const end = start + survivors.length;
  return end < durable ? `ends at ${end}, but ${durable} were acknowledged as durable` : undefined;
}
