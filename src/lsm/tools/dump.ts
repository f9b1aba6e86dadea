/**
 * The contents of a tree's files, record by record, for people to read: MANIFEST edits, WAL batches, headers, indexes
 * and entries of tables. Reads as much as it can: damage is a record too. Changes nothing and takes no lock.
 */
import type { Env } from '../../env/env.js';
import { errorMessage, RaftreeError } from '../../env/errors.js';
import { readWhole, unreadable } from '../../record/read-whole.js';
import { copyRange } from '../base/bytes.js';
import { BlockCache } from '../table/block-cache.js';
import { BlockCursor } from '../table/block-cursor.js';
import { Table } from '../table/table.js';
import { tableNumber } from '../table/table-file.js';
import { BLOCK_TRAILER_BYTES, type TableHeader, type TableProperties } from '../table/table-format.js';
import { manifestNumbers } from '../version/manifest.js';
import { decodeEdit, type VersionEdit } from '../version/version-edit.js';
import { walNumber } from '../wal/wal.js';
import { decodeBatch, type Operation } from '../wal/write-batch.js';
import { type ScannedRecord, scanRecords } from './record-scan.js';

/** `offset` is in the file, in bytes. */
export type DumpRecord = { readonly file: string; readonly offset: number } & (
  | { readonly kind: 'edit'; readonly edit: VersionEdit }
  | { readonly kind: 'batch'; readonly firstSequence: number; readonly operations: readonly Operation[] }
  | { readonly kind: 'table'; readonly header: TableHeader; readonly properties: TableProperties }
  | { readonly kind: 'index'; readonly block: number; readonly bytes: number; readonly separator: Buffer }
  | {
      readonly kind: 'entry';
      readonly key: Buffer;
      readonly sequence: number;
      /** Undefined for a tombstone. */
      readonly value: Buffer | undefined;
    }
  | { readonly kind: 'damaged'; readonly message: string }
);

/** The names of the files of a tree that can be dumped: the MANIFEST first, then the WAL, then tables. */
export function dumpableFiles(names: readonly string[]): string[] {
  const manifests = names.filter((name) => manifestNumbers([name]).length > 0);
  const wals = names.filter((name) => walNumber(name) !== undefined);
  return [...manifests, ...wals, ...names.filter((name) => tableNumber(name) !== undefined)];
}

/** Throws the system's error. */
export function* dumpFile(env: Env, directory: string, file: string): Generator<DumpRecord> {
  const path = `${directory}/${file}`;
  const manifest = manifestNumbers([file])[0];
  const wal = walNumber(file);
  try {
    if (manifest !== undefined) yield* dumpManifest(readWhole(env.fs, path), file, manifest, path);
    else if (wal !== undefined) yield* dumpWal(readWhole(env.fs, path), file, wal, path);
    else yield* dumpTable(env, file, path);
  } catch (error) {
    yield damaged(file, unreadable(error, path));
  }
}

function* dumpManifest(bytes: Buffer, file: string, number: number, path: string): Generator<DumpRecord> {
  for (const scanned of scanRecords(bytes, number)) {
    if (!scanned.record) yield noRecord(file, scanned);
    for (const payload of scanned.record?.payloads ?? []) {
      const { offset } = payload;
      yield { file, offset, kind: 'edit', edit: decodeEdit(payload.bytes, path, offset) };
    }
  }
}

function* dumpWal(bytes: Buffer, file: string, number: number, path: string): Generator<DumpRecord> {
  for (const scanned of scanRecords(bytes, number)) {
    if (!scanned.record) yield noRecord(file, scanned);
    for (const payload of scanned.record?.payloads ?? []) {
      const { offset } = payload;
      const { firstSequence, operations } = decodeBatch(payload.bytes, path, offset);
      yield { file, offset, kind: 'batch', firstSequence, operations };
    }
  }
}

function* dumpTable(env: Env, file: string, path: string): Generator<DumpRecord> {
  const table = Table.open(env, path, new BlockCache(0, BLOCK_TRAILER_BYTES));
  try {
    const { index, header, properties } = table;
    yield { file, offset: 0, kind: 'table', header, properties };
    for (let block = 0; block < index.count; block++) {
      const offset = index.offsets[block] as number;
      const bytes = index.sizes[block] as number;
      yield { file, offset, kind: 'index', block, bytes, separator: Buffer.from(index.separator(block)) };
      try {
        yield* dumpBlock(table, block, file);
      } catch (error) {
        yield damaged(file, error);
      }
    }
  } finally {
    table.close();
  }
}

function* dumpBlock(table: Table, block: number, file: string): Generator<DumpRecord> {
  const offset = table.index.offsets[block] as number;
  const bytes = table.readBlock(block);
  const cursor = new BlockCursor();
  cursor.setBlock(bytes, 0, bytes.length, table.path, offset);
  for (cursor.seekToFirst(); cursor.valid; cursor.next()) {
    const key = copyRange(cursor.keyBytes, cursor.keyStart, cursor.keyEnd);
    const value = cursor.deleted
      ? undefined
      : copyRange(cursor.valueBytes, cursor.valueStart, cursor.valueEnd);
    yield { file, offset, kind: 'entry', key, sequence: cursor.sequence, value };
  }
}

function noRecord(file: string, { offset, endOffset }: ScannedRecord): DumpRecord {
  const message = `no intact record in ${endOffset - offset} bytes`;
  return { file, offset, kind: 'damaged', message };
}

function damaged(file: string, error: unknown): DumpRecord {
  if (!(error instanceof RaftreeError)) throw error;
  const offset = typeof error.info.offset === 'number' ? error.info.offset : 0;
  return { file, offset, kind: 'damaged', message: errorMessage(error) };
}
