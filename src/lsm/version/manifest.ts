/**
 * The MANIFEST: which tables make up the tree. `MANIFEST-00000001` … are files of records (`record/record.ts`, the
 * file number being the MANIFEST's), whose payloads are version edits; the first one holds a whole version.
 *
 *   - A new one is written as a whole under a temporary name, synced and renamed, and the directory is synced. Then
 *     the older ones are removed. The highest number is current. If it is damaged, an older one must not be used.
 *   - An edit counts when its record is synced. On a full disk what was written of the record is truncated durably:
 *     then it does not count. After any other append that failed it is not known whether it counts: nothing more is
 *     appended, and no file that any edit may name is deleted.
 */
import type { Env, File } from '../../env/env.js';
import { isDiskFull, isFailedSync } from '../../env/errors.js';
import { readWhole } from '../../record/read-whole.js';
import { corruption, encodeRecord } from '../../record/record.js';
import { type Recovery, recoverRecords } from '../../record/recovery.js';
import { syncFile } from '../../record/settle.js';
import { decodeEdit, encodeEdit, type VersionEdit } from './version-edit.js';

const NAME = /^MANIFEST-(\d{8,15})$/;
const TEMPORARY_NAME = /^MANIFEST-\d{8,15}\.tmp$/;

export function manifestName(number: number): string {
  return `MANIFEST-${String(number).padStart(8, '0')}`;
}

/** The numbers of the MANIFESTs in a directory listing, the current one last. */
export function manifestNumbers(names: readonly string[]): number[] {
  return names
    .flatMap((name) => NAME.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

export function isTemporaryManifest(name: string): boolean {
  return TEMPORARY_NAME.test(name);
}

/** Calls `visit` for every edit, in order. Throws `CORRUPTION` for any damage except a torn end. */
export function readManifest(
  env: Env,
  directory: string,
  number: number,
  visit: (edit: VersionEdit) => void,
): Recovery {
  const path = `${directory}/${manifestName(number)}`;
  const recovery = recoverRecords(
    [{ number, path, read: () => readWhole(env.fs, path) }],
    (payload, position) => visit(decodeEdit(payload, path, position.offset)),
  );
  if (recovery.records === 0) throw corruption(path, 0, 'the whole version at its start is missing');
  return recovery;
}

/** Makes all that was read of it durable: its writer may have been killed before the last sync. */
export function syncManifest(env: Env, directory: string, number: number): void {
  syncFile(env.fs, `${directory}/${manifestName(number)}`);
  env.fs.syncDirectory(directory);
}

export class Manifest {
  readonly number: number;
  readonly #file: File;
  #sizeBytes: number;
  #isIntact = true;

  /** Writes MANIFEST `number` with a whole version and makes it current. Throws the system's error. */
  static async create(env: Env, directory: string, number: number, whole: VersionEdit): Promise<Manifest> {
    const path = `${directory}/${manifestName(number)}`;
    const temporary = `${path}.tmp`;
    if (env.fs.exists(temporary)) env.fs.unlink(temporary);
    const record = encodeRecord(number, { file: number, offset: 0 }, [[encodeEdit(whole)]]);
    const writer = env.fs.open(temporary, 'create');
    try {
      await writer.write(record.chunks, 0);
      await writer.sync();
    } finally {
      writer.close();
    }
    env.fs.rename(temporary, path);
    env.fs.syncDirectory(directory);
    return new Manifest(env.fs.open(path, 'modify'), number, record.sizeBytes);
  }

  private constructor(file: File, number: number, sizeBytes: number) {
    this.#file = file;
    this.number = number;
    this.#sizeBytes = sizeBytes;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** False if it is not known what it holds. Nothing may be appended then. */
  get isIntact(): boolean {
    return this.#isIntact;
  }

  /** Resolves when the edit is durable. If it rejects and the MANIFEST is intact, the edit does not count. */
  async append(edit: VersionEdit): Promise<void> {
    const position = { file: this.number, offset: this.#sizeBytes };
    const record = encodeRecord(this.number, position, [[encodeEdit(edit)]]);
    try {
      await this.#file.writeDurable(record.chunks, this.#sizeBytes);
    } catch (error) {
      this.#isIntact = isDiskFull(error) && !isFailedSync(error) && (await this.#cut());
      throw error;
    }
    this.#sizeBytes += record.sizeBytes;
  }

  /** Truncates what was written behind the last edit; returns whether that is durable. */
  async #cut(): Promise<boolean> {
    try {
      this.#file.truncate(this.#sizeBytes);
      await this.#file.sync();
      return true;
    } catch {
      return false;
    }
  }

  close(): void {
    this.#file.close();
  }
}
