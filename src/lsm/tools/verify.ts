/**
 * Checks a version against its files, byte by byte: every checksum, the order of all entries, that header, index,
 * filter, properties and MANIFEST say what the blocks hold, and that a newer version of a key never lies below an
 * older one.
 */
import type { Env } from '../../env/env.js';
import { errorCode, errorMessage, RaftreeError } from '../../env/errors.js';
import { unreadable } from '../../record/read-whole.js';
import { compareBytes, copyRange } from '../base/bytes.js';
import { hashKey } from '../base/key-hash.js';
import { BlockCache } from '../table/block-cache.js';
import { BlockCursor } from '../table/block-cursor.js';
import { Table } from '../table/table.js';
import { type TableFile, tableName } from '../table/table-file.js';
import { BLOCK_TRAILER_BYTES } from '../table/table-format.js';
import type { Version } from '../version/version.js';
import { findMisplaced } from './verify-order.js';

export interface Problem {
  readonly path: string;
  /** Byte offset in the file. */
  readonly offset: number;
  readonly message: string;
}

export interface VerifyReport {
  readonly tables: number;
  readonly blocks: number;
  readonly entries: number;
  readonly problems: readonly Problem[];
}

export async function verifyTree(env: Env, directory: string, version: Version): Promise<VerifyReport> {
  const problems: Problem[] = [];
  let [tables, blocks, entries] = [0, 0, 0];
  const violation = version.findViolation();
  if (violation) problems.push({ path: directory, offset: 0, message: violation });
  for (const file of version.files()) {
    const path = `${directory}/${tableName(file.number)}`;
    tables++;
    try {
      const table = Table.open(env, path, new BlockCache(0, BLOCK_TRAILER_BYTES));
      try {
        entries += verifyTable(table, file, (offset, message) => problems.push({ path, offset, message }));
        blocks += table.index.count;
      } finally {
        table.close();
      }
    } catch (error) {
      problems.push(failureOf(unreadable(error, path), path));
    }
    await new Promise<void>((resolve) => env.timers.endOfTurn(resolve));
  }
  if (problems.length === 0) {
    try {
      const message = await findMisplaced(env, directory, version);
      if (message) problems.push({ path: directory, offset: 0, message });
    } catch (error) {
      problems.push(failureOf(error, directory));
    }
  }
  return { tables, blocks, entries, problems };
}

/** An error of a read, also one of the file system, as a problem. */
function failureOf(error: unknown, path: string): Problem {
  if (error instanceof RaftreeError && error.code !== 'CORRUPTION') throw error;
  const offset = error instanceof RaftreeError ? Number(error.info.offset) : 0;
  return { path, offset, message: `${errorCode(error) ?? 'error'}: ${errorMessage(error)}` };
}

function isBehind(key: Uint8Array, other: Uint8Array): boolean {
  return compareBytes(key, other) > 0;
}

/** Returns the number of entries. */
function verifyTable(
  table: Table,
  file: TableFile,
  report: (offset: number, message: string) => void,
): number {
  const { index, header } = table;
  const cursor = new BlockCursor();
  const hash = { first: 0, second: 0 };
  let previous: { key: Buffer; sequence: number } | undefined;
  let isWhole = true;
  let first: Buffer | undefined;
  let [entries, tombstones, keyBytes, valueBytes] = [0, 0, 0, 0];
  let [smallestSequence, largestSequence] = [Number.POSITIVE_INFINITY, 0];
  for (let block = 0; block < index.count; block++) {
    const offset = index.offsets[block] as number;
    let bytes: Buffer;
    try {
      bytes = table.readBlock(block);
    } catch (error) {
      if (errorCode(error) !== 'CORRUPTION') throw error;
      report(offset, errorMessage(error));
      previous = undefined;
      isWhole = false;
      continue;
    }
    cursor.setBlock(bytes, 0, bytes.length, table.path, offset);
    cursor.seekToFirst();
    const before = block > 0 ? index.separator(block - 1) : undefined;
    if (before && isBehind(before, cursor.keyBytes.subarray(cursor.keyStart, cursor.keyEnd))) {
      report(offset, 'the index separates the block wrongly from the one before');
    }
    for (; cursor.valid; cursor.next()) {
      const key = copyRange(cursor.keyBytes, cursor.keyStart, cursor.keyEnd);
      const order = previous ? compareBytes(previous.key, key) : -1;
      if (order > 0 || (order === 0 && previous && previous.sequence <= cursor.sequence)) {
        report(offset, 'the entries are out of order');
      }
      hashKey(key, 0, key.length, hash);
      if (!table.mayContain(hash)) report(header.filterOffset, 'the filter denies a key of the table');
      first ??= key;
      previous = { key, sequence: cursor.sequence };
      entries++;
      if (cursor.deleted) tombstones++;
      keyBytes += key.length;
      valueBytes += cursor.valueEnd - cursor.valueStart;
      smallestSequence = Math.min(smallestSequence, cursor.sequence);
      largestSequence = Math.max(largestSequence, cursor.sequence);
    }
    const separator = index.separator(block);
    if (previous && isBehind(previous.key, separator)) {
      report(offset, 'the index separates the block wrongly from the next');
    }
  }
  // The entries of a damaged block cannot be counted.
  if (!isWhole) return entries;
  const { metadata } = file;
  const { properties } = table;
  const claims: [string, unknown, unknown, unknown][] = [
    ['entries', entries, header.entries, metadata.entries],
    ['tombstones', tombstones, header.tombstones, metadata.tombstones],
    ['smallest sequence', smallestSequence, header.smallestSequence, metadata.smallestSequence],
    ['largest sequence', largestSequence, header.largestSequence, metadata.largestSequence],
    ['codec', header.codec, header.codec, metadata.codec],
    ['bytes', header.fileBytes, header.fileBytes, metadata.sizeBytes],
    ['key bytes', keyBytes, properties.keyBytes, keyBytes],
    ['value bytes', valueBytes, properties.valueBytes, valueBytes],
    [
      'smallest key',
      first?.toString('hex'),
      properties.smallest.toString('hex'),
      file.smallest.toString('hex'),
    ],
    [
      'largest key',
      previous?.key.toString('hex'),
      properties.largest.toString('hex'),
      file.largest.toString('hex'),
    ],
  ];
  for (const [name, found, inTable, inManifest] of claims) {
    if (found === inTable && inTable === inManifest) continue;
    report(0, `${name}: ${found} found, ${inTable} in the table's header, ${inManifest} in the MANIFEST`);
  }
  return entries;
}
