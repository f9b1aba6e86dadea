/**
 * Builds a consistent tree from the intact parts of a damaged one, and lists the losses.
 *
 *     MANIFEST intact    a damaged table is rewritten without its bad blocks, in the same place; a missing one is
 *                        taken out; the WAL up to its first damage becomes tables of level 0
 *     MANIFEST damaged   all tables that are there, and the WAL, are merged into one level. Which of the tables had
 *     or missing         been replaced is taken from what is left of the MANIFEST; otherwise deleted keys may come
 *                        back, and that is said
 *
 * The steps have this order, so that after a crash at any point the tree is as before or repaired, and repair may run
 * again: new tables, durable; second names of the originals in `lost/`; a new MANIFEST; the originals removed.
 *
 * A lost block no longer hides older versions of its keys. So older versions may become visible, also of keys that it
 * had deleted. Therefore each loss says how many keys of its range the repaired tree still has from older tables.
 */
import type { Env } from '../../env/env.js';
import { errorCode } from '../../env/errors.js';
import { readWhole, unreadable } from '../../record/read-whole.js';
import { plainBlock } from '../base/block-codec.js';
import { codecAt } from '../compaction/compaction-picker.js';
import { type OutputContext, writeTables } from '../compaction/output-tables.js';
import { VersionFilter } from '../compaction/version-filter.js';
import { takeDirectory } from '../directory/tree-directory.js';
import { Memtable } from '../memtable/memtable.js';
import { resolveOptions } from '../options.js';
import { MergeCursor } from '../read/merge-cursor.js';
import { RunCursor } from '../read/run-cursor.js';
import { BlockCache } from '../table/block-cache.js';
import { BlockCursor } from '../table/block-cursor.js';
import { Table } from '../table/table.js';
import { TableBuilder, type TableBuilderOptions } from '../table/table-builder.js';
import { TableCache } from '../table/table-cache.js';
import { TableFile, type TableMetadata, tableName, tableNumber } from '../table/table-file.js';
import { BLOCK_TRAILER_BYTES } from '../table/table-format.js';
import { Manifest, manifestName, manifestNumbers } from '../version/manifest.js';
import { LEVELS, Version } from '../version/version.js';
import { decodeEdit } from '../version/version-edit.js';
import { walName, walNumber } from '../wal/wal.js';
import { insertOperations } from '../wal/write-batch.js';
import { LostFolder } from './lost-folder.js';
import { type OfflineTree, readOfflineTree, readWal, walNumbers } from './offline-tree.js';
import { scanRecords } from './record-scan.js';
import { countKeys, runsBelow } from './repair-coverage.js';
import { type SalvagedTable, salvageTable } from './salvage-table.js';
import { type Problem, verifyTree } from './verify.js';
import { type DirectoryReport, verifyDirectory } from './verify-directory.js';

/** Data that was in a file and is not in the repaired tree. */
export interface Loss {
  readonly path: string;
  readonly offset: number;
  /** 0 if the file is missing. */
  readonly bytes: number;
  readonly message: string;
  /** The range of the keys that it may have held. Both ends are included; an undefined end is open. */
  readonly smallest: Buffer | undefined;
  readonly largest: Buffer | undefined;
  /**
   * How many keys of that range older tables of the tree still hold. Their values may be old, and deleted keys may be
   * back.
   */
  readonly olderKeys: number;
}

export interface RepairReport {
  /** False if the tree had no damage. Then nothing was changed. */
  readonly isRepaired: boolean;
  readonly losses: readonly Loss[];
  /** Other facts that the operator must know. */
  readonly warnings: readonly string[];
  readonly tablesKept: number;
  readonly tablesWritten: number;
  readonly batchesKept: number;
  /** Files whose originals are in the folder `lost`. */
  readonly originals: readonly string[];
  readonly verified: DirectoryReport;
}

const READ_AHEAD_BYTES = 256 * 1024;
const OPEN_TABLES = 64;

/**
 * Throws `LSM_LOCKED` if the tree is open, `LSM_INVALID` if there is no tree in the directory, or the system's error.
 */
export async function repairTree(env: Env, givenDirectory: string): Promise<RepairReport> {
  const before = await verifyDirectory(env, givenDirectory);
  if (before.problems.length === 0) {
    const kept = { tablesKept: before.tables, tablesWritten: 0, batchesKept: before.batches };
    return { isRepaired: false, losses: [], warnings: [], ...kept, originals: [], verified: before };
  }
  const found = await readOfflineTree(env, givenDirectory);
  // If there is other damage too, a torn end may hide edits that counted.
  const tree = { ...found, manifestIsIntact: found.manifestIsIntact && !found.manifestIsTorn };
  const { path: directory, lock } = await takeDirectory(env, givenDirectory, {
    createIfMissing: true,
    errorIfExists: false,
  });
  let result: Omit<RepairReport, 'verified'>;
  const repair = new Repair(env, directory, tree, before.problems);
  try {
    result = await repair.run();
  } catch (error) {
    repair.abandon();
    throw error;
  } finally {
    lock.release();
  }
  return { ...result, verified: await verifyDirectory(env, directory) };
}

class Repair {
  readonly #env: Env;
  readonly #directory: string;
  readonly #tree: OfflineTree;
  readonly #problems: readonly Problem[];
  readonly #lost: LostFolder;
  readonly #options = resolveOptions({});
  readonly #losses: (Omit<Loss, 'olderKeys'> & { readonly table?: number })[] = [];
  readonly #warnings: string[] = [];
  /** Tables that are needed only for the merge. */
  readonly #temporary: number[] = [];
  readonly #firstNumber: number;
  #nextNumber: number;
  #isCommitted = false;
  #tablesKept = 0;
  #tablesWritten = 0;

  constructor(env: Env, directory: string, tree: OfflineTree, problems: readonly Problem[]) {
    this.#env = env;
    this.#directory = directory;
    this.#tree = tree;
    this.#problems = problems;
    this.#lost = new LostFolder(env, directory);
    const numbers = tree.names.map((name) => tableNumber(name) ?? 0);
    this.#firstNumber = Math.max(tree.nextFileNumber, ...numbers.map((number) => number + 1));
    this.#nextNumber = this.#firstNumber;
  }

  /** Removes the tables that it has written and that no MANIFEST names. */
  abandon(): void {
    if (this.#isCommitted) return;
    for (let number = this.#firstNumber; number < this.#nextNumber; number++) {
      const path = `${this.#directory}/${tableName(number)}`;
      try {
        if (this.#env.fs.exists(path)) this.#env.fs.unlink(path);
      } catch {
        // The next opening removes the file.
      }
    }
  }

  async run(): Promise<Omit<RepairReport, 'verified'>> {
    const tree = this.#tree;
    const memtable = new Memtable();
    const wal = readWal(this.#env, tree, (batch) => {
      if (tree.manifestIsIntact && batch.lastSequence <= tree.flushedSequence) return;
      insertOperations(batch.operations, batch.firstSequence, memtable);
    });
    for (const problem of wal.problems) this.#losses.push(this.#restOfWal(problem));
    this.#warnings.push(...tree.notes, ...wal.notes);
    const walIsKept = tree.manifestIsIntact && wal.problems.length === 0;
    const version = await this.#makeVersion(walIsKept ? new Memtable() : memtable);
    const walFiles = walNumbers(tree.names, 1);
    if (!walIsKept) for (const number of walFiles) await this.#keepOnce(walName(number));
    for (const name of tree.names) if (manifestNumbers([name]).length > 0) await this.#keepOnce(name);
    this.#lost.sync();
    const losses = await this.#countOlder(version);
    // From here on, a failure does not show whether the new MANIFEST counts.
    this.#isCommitted = true;
    const manifest = await Manifest.create(this.#env, this.#directory, tree.manifest + 1, {
      added: version.levels.flatMap((files, level) => files.map((file) => ({ ...file.metadata, level }))),
      removed: [],
      // Also above the number of a missing file: if that file is put back, it must not be taken for a new one.
      oldestWal: walIsKept
        ? tree.oldestWal
        : Math.max(tree.oldestWal, tree.newestWal + 1, (walFiles.at(-1) ?? 0) + 2),
      newestWal: walIsKept ? tree.newestWal : 0,
      ...(walIsKept && tree.walEnd && { walEnd: tree.walEnd }),
      flushedSequence: Math.max(
        tree.flushedSequence,
        walIsKept ? 0 : wal.lastSequence,
        ...[...version.files()].map((file) => file.metadata.largestSequence),
      ),
      nextFileNumber: this.#nextNumber,
    });
    manifest.close();
    for (const number of this.#temporary) this.#env.fs.unlink(`${this.#directory}/${tableName(number)}`);
    this.#lost.removeOriginals();
    return {
      isRepaired: true,
      losses,
      warnings: this.#warnings,
      tablesKept: this.#tablesKept,
      tablesWritten: this.#tablesWritten - this.#temporary.length,
      batchesKept: wal.batches,
      originals: this.#lost.kept,
    };
  }

  /** The WAL after its first damage cannot be used: the writes before it are missing. */
  #restOfWal({ path, offset, message }: Problem): Omit<Loss, 'olderKeys'> {
    const { names } = this.#tree;
    const from = walNumber(path.slice(path.lastIndexOf('/') + 1)) ?? 0;
    let [bytes, batches] = [0, 0];
    for (const number of walNumbers(names, from)) {
      const content = readable(this.#env, `${this.#directory}/${walName(number)}`);
      if (!content) continue;
      const start = number === from ? offset : 0;
      bytes += Math.max(0, content.length - start);
      for (const { offset: at, record } of scanRecords(content, number)) {
        if (at >= start) batches += record?.payloads.length ?? 0;
      }
    }
    const rest = batches > 0 ? `; ${batches} intact batches behind it are left out too` : '';
    return { path, offset, bytes, message: `${message}${rest}`, smallest: undefined, largest: undefined };
  }

  #makeVersion(memtable: Memtable): Promise<Version> {
    if (!this.#tree.manifestIsIntact) return this.#rebuild(memtable, 'the MANIFEST is damaged or missing');
    // A problem without a file is a contradiction between files.
    const between = this.#problems.find((problem) => problem.path === this.#directory);
    return between ? this.#rebuild(memtable, between.message) : this.#repairInPlace(memtable);
  }

  /** Every table stays in its level. A damaged table is rewritten without its bad blocks. */
  async #repairInPlace(memtable: Memtable): Promise<Version> {
    const levels = this.#tree.version.levels.map((): TableFile[] => []);
    for (const [level, files] of this.#tree.version.levels.entries()) {
      for (const file of files) {
        const metadata = await this.#soundTable(file.number, file.metadata);
        if (metadata) levels[level]?.push(metadata === file.metadata ? file : new TableFile(metadata));
      }
    }
    const version = new Version(levels);
    if (memtable.count === 0) return version;
    const source = new MergeCursor([memtable.cursor()]);
    source.seekToStart();
    const tables = await this.#write(source, () => false);
    return new Version(levels.map((files, level) => (level === 0 ? [...tables, ...files] : files)));
  }

  /** Merges all tables and the WAL into one level. */
  async #rebuild(memtable: Memtable, reason: string): Promise<Version> {
    this.#warnings.push(`${reason}: all tables were merged into one level`);
    const files: TableFile[] = [];
    const sources = this.#tree.manifestIsIntact
      ? [...new Map([...this.#tree.version.files()].map((file) => [file.number, file.metadata]))]
      : this.#tablesWithoutManifest();
    for (const [number, known] of sources) {
      const metadata = await this.#soundTable(number, known);
      if (metadata) files.push(new TableFile(metadata));
      if (metadata && metadata.number !== number) this.#temporary.push(metadata.number);
      if (this.#tree.names.includes(tableName(number))) await this.#keepOnce(tableName(number));
    }
    const tables = new TableCache(this.#env, this.#directory, OPEN_TABLES, noCache());
    const cursors = files.map(
      (file) => new RunCursor(tables, [file], { readAheadBytes: READ_AHEAD_BYTES, scan: true }),
    );
    const source = new MergeCursor([memtable.cursor(), ...cursors]);
    try {
      source.seekToStart();
      // No level is below: a tombstone has nothing to hide.
      const merged = await this.#write(source, () => true);
      return new Version(Array.from({ length: LEVELS }, (_, level) => (level === LEVELS - 1 ? merged : [])));
    } finally {
      source.close();
      tables.closeAll();
    }
  }

  #tablesWithoutManifest(): (readonly [number, undefined])[] {
    const gone = this.#removedTables();
    this.#warnings.push(
      'of a table that had been replaced and not yet removed, deleted keys may be back and values may be old',
    );
    return this.#tree.names.flatMap((name) => {
      const number = tableNumber(name);
      return number === undefined || gone.has(number) ? [] : [[number, undefined] as const];
    });
  }

  /** The tables that intact records of the MANIFESTs remove and do not add again. */
  #removedTables(): Set<number> {
    const removed = new Set<number>();
    for (const number of manifestNumbers(this.#tree.names)) {
      const path = `${this.#directory}/${manifestName(number)}`;
      const content = readable(this.#env, path);
      if (!content) continue;
      for (const { record } of scanRecords(content, number)) {
        for (const { bytes, offset } of record?.payloads ?? []) {
          const edit = decodeEdit(bytes, path, offset);
          for (const table of edit.removed) removed.add(table.number);
          for (const table of edit.added) removed.delete(table.number);
        }
      }
    }
    return removed;
  }

  /** The table itself if it is intact; otherwise a new table with its intact blocks; undefined if it has none. */
  async #soundTable(number: number, known?: TableMetadata): Promise<TableMetadata | undefined> {
    const name = tableName(number);
    const path = `${this.#directory}/${name}`;
    const range = { smallest: known?.smallest, largest: known?.largest };
    if (!this.#tree.names.includes(name)) {
      this.#losses.push({
        path,
        offset: 0,
        bytes: 0,
        message: 'the table is missing',
        ...range,
        table: number,
      });
      return undefined;
    }
    const metadata = this.#describe(number);
    if (metadata && (await this.#isSound(metadata, known))) {
      this.#tablesKept++;
      return known ?? metadata;
    }
    const content = readable(this.#env, path, known?.sizeBytes);
    if (!content) {
      const message = 'it is no file that can be read';
      this.#losses.push({ path, offset: 0, bytes: 0, message, ...range, table: number });
      await this.#keepOnce(name);
      return undefined;
    }
    const salvaged = salvageTable(content, path, known);
    for (const part of salvaged.lost) this.#losses.push({ path, ...part, table: number });
    await this.#keepOnce(name);
    if (salvaged.blocks.length === 0) return undefined;
    return this.#rewrite(content, path, salvaged);
  }

  async #isSound(metadata: TableMetadata, known: TableMetadata | undefined): Promise<boolean> {
    const path = `${this.#directory}/${tableName(metadata.number)}`;
    if (known && this.#problems.some((problem) => problem.path === path)) return false;
    const alone = new Version(
      Array.from({ length: LEVELS }, (_, i) => (i === 0 ? [new TableFile(metadata)] : [])),
    );
    const { problems } = await verifyTree(this.#env, this.#directory, alone);
    return problems.length === 0;
  }

  /** The metadata that a table's own file gives; undefined if the table cannot be opened. */
  #describe(number: number): TableMetadata | undefined {
    try {
      const table = Table.open(this.#env, `${this.#directory}/${tableName(number)}`, noCache());
      const { header, properties } = table;
      table.close();
      const { smallestSequence, largestSequence, entries, tombstones } = header;
      const { smallest, largest } = properties;
      const sequences = { smallestSequence, largestSequence };
      return {
        number,
        sizeBytes: header.fileBytes,
        smallest,
        largest,
        ...sequences,
        entries,
        tombstones,
        codec: header.codec,
      };
    } catch {
      return undefined;
    }
  }

  get #tableOptions(): TableBuilderOptions {
    return { ...this.#options, codec: codecAt(LEVELS - 1, this.#options) };
  }

  async #rewrite(content: Buffer, path: string, { blocks }: SalvagedTable): Promise<TableMetadata> {
    const replacement = this.#nextNumber++;
    const target = `${this.#directory}/${tableName(replacement)}`;
    const builder = new TableBuilder(this.#env, target, replacement, this.#tableOptions);
    const cursor = new BlockCursor();
    for (const { offset, bytes } of blocks) {
      const plain = plainBlock(content, offset, offset + bytes);
      if (plain === undefined) continue;
      cursor.setBlock(plain, 0, plain.length, path, offset);
      for (cursor.seekToFirst(); cursor.valid; cursor.next()) builder.add(cursor);
      if (builder.shouldDrain) await builder.drain();
    }
    const metadata = await builder.finish(() => undefined);
    this.#env.fs.syncDirectory(this.#directory);
    this.#tablesWritten++;
    return metadata;
  }

  async #write(source: MergeCursor, dropsTombstones: () => boolean): Promise<TableFile[]> {
    const context: OutputContext = {
      env: this.#env,
      directory: this.#directory,
      table: this.#tableOptions,
      newFileNumber: () => this.#nextNumber++,
      breathe: () => undefined,
    };
    const cuts = (_: unknown, tableBytes: number) => tableBytes >= this.#options.maxFileBytes;
    const isFlush = !dropsTombstones();
    const written = await writeTables(
      source,
      new VersionFilter([], dropsTombstones),
      isFlush ? () => false : cuts,
      context,
    );
    this.#tablesWritten += written.length;
    return written.map((metadata) => new TableFile(metadata));
  }

  async #keepOnce(name: string): Promise<void> {
    if (!this.#lost.kept.includes(name)) await this.#lost.keep(name);
  }

  /** Counts for each loss the keys of its range that older tables still hold. */
  async #countOlder(version: Version): Promise<Loss[]> {
    const losses: Loss[] = [];
    for (const { table, ...loss } of this.#losses) {
      const runs = runsBelow(version, this.#tree.version, table);
      losses.push({ ...loss, olderKeys: await countKeys(this.#env, this.#directory, runs, loss) });
    }
    return losses;
  }
}

/** The content of a file, at most `maxBytes` of it; undefined if it cannot be read as a file. */
function readable(env: Env, path: string, maxBytes?: number): Buffer | undefined {
  try {
    if (maxBytes === undefined) return readWhole(env.fs, path);
    const file = env.fs.open(path, 'read');
    try {
      const content = Buffer.alloc(Math.min(maxBytes, file.sizeBytes()));
      return content.subarray(0, file.readSync(content, 0));
    } finally {
      file.close();
    }
  } catch (error) {
    if (errorCode(unreadable(error, path)) !== 'CORRUPTION') throw error;
    return undefined;
  }
}

function noCache(): BlockCache {
  return new BlockCache(0, BLOCK_TRAILER_BYTES);
}
