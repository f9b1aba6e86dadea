/**
 * The current version, its MANIFEST, and the files that versions still name. An edit first becomes durable and then
 * current. A file is removed when no current or pinned version names it any more.
 */
import type { Env, Logger } from '../../env/env.js';
import { errorMessage, isDiskFull, isOutOfDescriptors, type RaftreeError } from '../../env/errors.js';
import { corruption } from '../../record/record.js';
import { describeDiscarded, type Recovery } from '../../record/recovery.js';
import { readOnlyError } from '../base/errors.js';
import type { OwnedKeys } from '../base/key-bounds.js';
import type { TableCache } from '../table/table-cache.js';
import { TableFile, tableName, tableNumber } from '../table/table-file.js';
import { isWalName } from '../wal/wal.js';
import {
  isTemporaryManifest,
  Manifest,
  manifestName,
  manifestNumbers,
  readManifest,
  syncManifest,
} from './manifest.js';
import { Version } from './version.js';
import {
  editOf,
  FIRST_STATE,
  type RemovedTable,
  stateAfter,
  type TreeState,
  type VersionEdit,
} from './version-edit.js';

export interface VersionSetOptions {
  readonly env: Env;
  readonly logger: Logger;
  readonly maxManifestBytes: number;
}

export class VersionSet {
  readonly #options: VersionSetOptions;
  readonly #directory: string;
  readonly #tables: TableCache;
  #current: Version;
  /**
   * Undefined while the full disk has no room for a new MANIFEST of this opening. Until then the previous MANIFEST is
   * valid.
   */
  #manifest: Manifest | undefined;
  #nextManifest = 1;
  /** The size of the MANIFEST when it was created. */
  #wholeBytes = 0;
  #nextFileNumber = 1;
  #state: TreeState = FIRST_STATE;
  #failure: unknown;
  #isClosed = false;
  /** Tables that no version names, and that must still be removed. */
  readonly #obsolete: number[] = [];
  #removing: Promise<void> | undefined;
  /** One edit is written at a time. */
  #lastCommit: Promise<void> = Promise.resolve();
  /** How the MANIFEST read at opening ended; undefined for a new tree. */
  recovery: Recovery | undefined;

  /**
   * Reads the current MANIFEST, removes what crashes left over, and starts a new MANIFEST.
   * Throws `CORRUPTION`, or the system's error.
   */
  static async open(options: VersionSetOptions, directory: string, tables: TableCache): Promise<VersionSet> {
    const set = new VersionSet(options, directory, tables);
    const names = options.env.fs.list(directory);
    const numbers = manifestNumbers(names);
    const newest = numbers.at(-1) ?? 0;
    if (newest > 0) set.#read(newest, names);
    const leftovers = set.#leftovers(names);
    set.#nextManifest = newest + 1;
    try {
      await set.#startManifest({ ...wholeOf(set.#current), ...editOf(set.#state) });
    } catch (error) {
      if (!isDiskFull(error) || newest === 0) throw error;
      syncManifest(options.env, directory, newest);
      options.logger.warn(
        { error: errorMessage(error) },
        'the disk is full; the tree can be read, and is written to when there is space',
      );
    }
    // Not before: a power cut could lose the last edit that was read, and what was before it needs other tables.
    for (const name of leftovers) set.#unlink(name);
    return set;
  }

  private constructor(options: VersionSetOptions, directory: string, tables: TableCache) {
    this.#options = options;
    this.#directory = directory;
    this.#tables = tables;
    this.#current = Version.empty();
  }

  /** Which keys are the tree's own; undefined: all. */
  owned: OwnedKeys | undefined;

  /** Whether a table may hold keys that are not the tree's own. */
  isForeign({ number, smallest, largest }: TableFile): boolean {
    const isInherited = this.owned !== undefined && number < this.#state.inheritedBelow;
    return isInherited && this.owned?.ownsAll(smallest, largest) === false;
  }

  get current(): Version {
    return this.#current;
  }

  /** The durable state other than the tables. */
  get state(): TreeState {
    return this.#state;
  }

  /** Everything up to this sequence is in durable tables. */
  get flushedSequence(): number {
    return this.#state.flushedSequence;
  }

  /** Larger than the number of every file made so far. */
  get nextFileNumber(): number {
    return this.#nextFileNumber;
  }

  newFileNumber(): number {
    return this.takeFileNumbers(1);
  }

  /** Reserves this many consecutive numbers; returns the first. Numbers that no file gets are never used. */
  takeFileNumbers(count: number): number {
    this.#nextFileNumber += count;
    return this.#nextFileNumber - count;
  }

  /** The current version. Its files stay until it is unpinned. */
  pin(): Version {
    this.#current.pins++;
    return this.#current;
  }

  unpin(version: Version): void {
    version.pins--;
    if (version !== this.#current && version.pins === 0) this.#release(version);
  }

  /**
   * Makes an edit durable, then current. The tables it adds must be durable, with their names.
   * Throws the system's error if there was no space or no descriptor for it: then the edit does not count, and new
   * tables that it adds are removed. Throws `LSM_READ_ONLY` if it is not known what the MANIFEST holds; from then on
   * nothing is deleted.
   */
  async commit(edit: VersionEdit): Promise<void> {
    await this.#inTurn(() => this.#commitNow(edit, () => false));
  }

  /**
   * As `commit`: removes tables with their entries, unless `areNeeded` returns true. It is called before the edit is
   * written, and again when the edit is durable. If the tables are needed then, a second edit adds them again. No
   * reader sees the state in between. Resolves to whether the tables are removed.
   */
  remove(removed: readonly RemovedTable[], areNeeded: () => boolean): Promise<boolean> {
    return this.#inTurn(() => this.#commitNow({ added: [], removed }, areNeeded));
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#lastCommit.then(work);
    this.#lastCommit = turn.then(
      () => {},
      () => {},
    );
    return turn;
  }

  async #commitNow(edit: VersionEdit, isRefused: () => boolean): Promise<boolean> {
    if (isRefused()) return false;
    if (this.#failure !== undefined) throw readOnlyError(this.#failure, 'notCommitted');
    const moved = new Map<number, TableFile>();
    if (edit.removed.length > 0) for (const file of this.#current.files()) moved.set(file.number, file);
    const next = this.#current.apply(edit, (added) => moved.get(added.number) ?? new TableFile(added));
    const violation = next.findViolation();
    if (violation) throw new Error(`an edit would break the levels: ${violation}`);
    const state = stateAfter(this.#state, edit);
    try {
      await this.#write(edit, next, state);
    } catch (error) {
      if (!this.#mayTryAgain(error)) throw this.#fail(error);
      for (const { number } of edit.added) if (!moved.has(number)) this.#removeUnnamed(number);
      throw error;
    }
    try {
      if (isRefused()) {
        const numbers = new Set(edit.removed.map((file) => file.number));
        const back = wholeOf(this.#current).added.filter((file) => numbers.has(file.number));
        await this.#manifest?.append({ added: back, removed: [] });
        return false;
      }
    } catch (error) {
      throw this.#fail(error);
    }
    this.#state = state;
    this.#become(next);
    return true;
  }

  async #write(edit: VersionEdit, next: Version, state: TreeState): Promise<void> {
    const manifest = this.#manifest;
    const isLarge = manifest && manifest.sizeBytes > this.#options.maxManifestBytes + this.#wholeBytes;
    const isNew = (!manifest || isLarge) && (await this.#succeedWith({ ...wholeOf(next), ...editOf(state) }));
    if (!isNew) await manifest?.append({ ...edit, nextFileNumber: this.#nextFileNumber });
  }

  /** Whether the edit that was not written does not count, and may be written later. */
  #mayTryAgain(error: unknown): boolean {
    if (!isDiskFull(error) && !isOutOfDescriptors(error)) return false;
    // Nothing is appended to a new MANIFEST that this attempt may have made: a later attempt creates it again.
    return this.#manifest ? this.#manifest.isIntact && !this.#isSuccessorMade() : true;
  }

  /** Whether the next MANIFEST is there although this set could not take it into use. */
  #isSuccessorMade(): boolean {
    return this.#options.env.fs.exists(`${this.#directory}/${manifestName(this.#nextManifest)}`);
  }

  /** Frees the space of a table that was made for an edit. */
  #removeUnnamed(number: number): void {
    if (!this.#isSuccessorMade()) this.#unlink(tableName(number));
  }

  #fail(error: unknown): RaftreeError {
    this.#failure = error;
    return readOnlyError(error, 'unknown');
  }

  /** From now on no file is removed: another tree may own the directory. */
  async close(): Promise<void> {
    await this.#removing;
    while (this.#obsolete.length > 0 && this.#failure === undefined)
      this.#unlink(tableName(this.#obsolete.shift() ?? 0));
    this.#obsolete.length = 0;
    this.#isClosed = true;
    this.#manifest?.close();
  }

  /**
   * Whether there is a new MANIFEST. False if there is no space or no descriptor for it; the present one then stays in
   * use.
   */
  async #succeedWith(whole: VersionEdit): Promise<boolean> {
    try {
      await this.#startManifest(whole);
      return true;
    } catch (error) {
      const mayPass = isDiskFull(error) || isOutOfDescriptors(error);
      if (!this.#manifest || !mayPass || this.#isSuccessorMade()) throw error;
      return false;
    }
  }

  async #startManifest(whole: VersionEdit): Promise<void> {
    const { env } = this.#options;
    const number = this.#nextManifest;
    const older = manifestNumbers(env.fs.list(this.#directory)).filter((other) => other < number);
    const created = await Manifest.create(env, this.#directory, number, {
      ...whole,
      nextFileNumber: this.#nextFileNumber,
    });
    this.#manifest?.close();
    this.#manifest = created;
    this.#nextManifest = number + 1;
    this.#wholeBytes = created.sizeBytes;
    for (const old of older) this.#unlink(manifestName(old));
  }

  #become(next: Version): void {
    const previous = this.#current;
    for (const file of next.files()) file.versions++;
    this.#current = next;
    if (previous.pins === 0) this.#release(previous);
  }

  #release(version: Version): void {
    for (const file of version.files()) {
      file.versions--;
      if (file.versions > 0) continue;
      this.#tables.close(file);
      if (this.#failure !== undefined || this.#isClosed) continue;
      this.#obsolete.push(file.number);
      this.#removing ??= this.#removeObsolete().finally(() => {
        this.#removing = undefined;
      });
    }
  }

  /** Removes one file after another, never in the turn of the edit. */
  async #removeObsolete(): Promise<void> {
    const { env } = this.#options;
    for (;;) {
      await new Promise<void>((resolve) => env.timers.endOfTurn(resolve));
      const number = this.#obsolete.shift();
      // After a failed write of the MANIFEST it is not known which tables it names.
      if (number === undefined || this.#failure !== undefined) return;
      const name = tableName(number);
      await env.fs
        .unlinkLater(`${this.#directory}/${name}`)
        .catch((error: unknown) => this.#left(name, error));
    }
  }

  #read(number: number, names: readonly string[]): void {
    let version = Version.empty();
    const path = `${this.#directory}/${manifestName(number)}`;
    const files = new Map<number, TableFile>();
    this.recovery = readManifest(this.#options.env, this.#directory, number, (edit) => {
      version = version.apply(edit, (added) => {
        const file = files.get(added.number) ?? new TableFile(added);
        files.set(added.number, file);
        return file;
      });
      this.#state = stateAfter(this.#state, edit);
      this.#nextFileNumber = Math.max(this.#nextFileNumber, edit.nextFileNumber ?? 0);
    });
    const { discarded } = this.recovery;
    if (discarded) {
      this.#options.logger.warn(
        { path: discarded.path, offset: discarded.at.offset, bytes: discarded.bytes },
        `the end of the MANIFEST is ${describeDiscarded(discarded)}; the tree is as it was before its last change`,
      );
    }
    const violation = version.findViolation();
    if (violation) throw corruption(path, 0, violation);
    const present = new Set(names);
    for (const file of version.files()) {
      if (!present.has(tableName(file.number))) {
        throw corruption(`${this.#directory}/${tableName(file.number)}`, 0, 'the table is missing');
      }
      file.versions++;
    }
    this.#current = version;
  }

  /** The names of tables and temporary files that crashes left over. */
  #leftovers(names: readonly string[]): string[] {
    const live = new Set<number>();
    for (const file of this.#current.files()) live.add(file.number);
    const isNew = this.recovery === undefined;
    return names.filter((name) => {
      const number = tableNumber(name);
      if (isNew && (number !== undefined || isWalName(name))) {
        throw corruption(`${this.#directory}/${manifestName(1)}`, 0, `it is missing, but ${name} is there`);
      }
      if (number === undefined) return isTemporaryManifest(name);
      this.#nextFileNumber = Math.max(this.#nextFileNumber, number + 1);
      return !live.has(number);
    });
  }

  /** If a file cannot be removed, the next opening removes it. */
  #unlink(name: string): void {
    try {
      this.#options.env.fs.unlink(`${this.#directory}/${name}`);
    } catch (error) {
      this.#left(name, error);
    }
  }

  #left(name: string, error: unknown): void {
    this.#options.logger.warn({ name, error: errorMessage(error) }, 'an obsolete file could not be removed');
  }
}

/** A version as an edit of the empty one. */
export function wholeOf(version: Version): VersionEdit {
  return {
    added: version.levels.flatMap((files, level) => files.map((file) => ({ ...file.metadata, level }))),
    removed: [],
  };
}
