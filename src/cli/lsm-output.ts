/** Output of the lsm commands: text for people, JSON for programs. */
import type { DirectoryStats } from '../lsm/tools/directory-stats.js';
import type { DumpRecord } from '../lsm/tools/dump.js';
import type { Loss, RepairReport } from '../lsm/tools/repair.js';
import type { Problem } from '../lsm/tools/verify.js';
import type { DirectoryReport } from '../lsm/tools/verify-directory.js';
import type { AddedTable, VersionEdit } from '../lsm/version/version-edit.js';
import type { Operation } from '../lsm/wal/write-batch.js';
import { field } from './records.js';

/** Bytes of a key or value shown in text output. */
const MOST_SHOWN = 60;

export function verifyAsText(directory: string, report: DirectoryReport): string {
  const { tables, blocks, entries, walFiles, batches, notes, problems } = report;
  return [
    `${directory}: ${count(tables, 'table')}, ${count(blocks, 'block')}, ${count(entries, 'entry', 'entries')}; ` +
      `${count(walFiles, 'WAL file')}, ${count(batches, 'batch', 'batches')}`,
    ...notes.map((note) => `note: ${note}`),
    ...problems.map(problemAsText),
    problems.length === 0 ? 'no problem found' : `${count(problems.length, 'problem')} found`,
  ].join('\n');
}

function problemAsText({ path, offset, message }: Problem): string {
  return `problem: ${message.includes(path) ? message : `${path} at offset ${offset}: ${message}`}`;
}

export function statsAsText(stats: DirectoryStats): string {
  const rows = stats.levels.map((level) => [
    String(level.level),
    String(level.files),
    formatBytes(level.bytes),
    String(level.entries),
    String(level.tombstones),
    `${show(level.smallest)} to ${show(level.largest)}`,
  ]);
  const totals = [stats.files, formatBytes(stats.bytes), stats.entries, stats.tombstones].map(String);
  const { wal, manifest, garbage } = stats;
  return [
    ...table([['level', 'files', 'size', 'entries', 'tombstones', 'keys'], ...rows, ['all', ...totals, '']]),
    `sequences    ${stats.smallestSequence} to ${stats.largestSequence} in tables, flushed to ${stats.flushedSequence}, last ${stats.lastSequence}`,
    `WAL          ${count(wal.files, 'file')}, ${formatBytes(wal.bytes)}, ${count(wal.batches, 'batch', 'batches')}`,
    `MANIFEST     ${manifest.number}, ${formatBytes(manifest.bytes)}`,
    `garbage      ${count(garbage.files, 'file')}, ${formatBytes(garbage.bytes)}`,
    ...stats.problems.map(problemAsText),
  ].join('\n');
}

export function repairAsText(directory: string, report: RepairReport): string {
  if (!report.isRepaired) return `${directory}: no problem found; nothing was changed`;
  const { tablesKept, tablesWritten, batchesKept, originals, losses, warnings, verified } = report;
  return [
    `${directory}: ${count(tablesKept, 'table')} kept, ${tablesWritten} written, ${count(batchesKept, 'batch', 'batches')} of the WAL kept`,
    ...warnings.map((warning) => `warning: ${warning}`),
    ...losses.map((loss) => {
      const keys = `keys ${loss.smallest ? show(loss.smallest) : 'any'} to ${loss.largest ? show(loss.largest) : 'any'}`;
      const older = `; ${loss.olderKeys} keys there come from older tables: values may be old, deleted keys back`;
      const lost = `lost: ${loss.path} offset ${loss.offset}, ${loss.bytes} bytes, ${keys}: ${withoutPlace(loss)}`;
      return loss.olderKeys > 0 ? `${lost}${older}` : lost;
    }),
    ...(originals.length > 0 ? [`originals: ${originals.map((name) => `lost/${name}`).join(', ')}`] : []),
    verified.problems.length === 0
      ? 'the repaired tree verifies'
      : `the repaired tree has ${count(verified.problems.length, 'problem')}`,
  ].join('\n');
}

/** The message of a loss without its path and offset, which are already printed before it. */
function withoutPlace({ path, offset, message }: Loss): string {
  return message.replace(`${path} is damaged at offset ${offset}: `, '');
}

export function dumpAsText(record: DumpRecord): string {
  const place = `${record.file} @${record.offset}`;
  switch (record.kind) {
    case 'edit':
      return `${place} edit ${editAsText(record.edit)}`;
    case 'batch':
      return `${place} batch ${record.firstSequence} ${record.operations.map(operationAsText).join(', ')}`;
    case 'table': {
      const { header, properties } = record;
      const sequences = `sequences ${header.smallestSequence} to ${header.largestSequence}`;
      const keys = `keys ${show(properties.smallest)} to ${show(properties.largest)}`;
      const counts = `${count(header.blocks, 'block')}, ${count(header.entries, 'entry', 'entries')}, ${count(header.tombstones, 'tombstone')}`;
      return `${place} table ${header.fileBytes} bytes, codec ${header.codec}, ${counts}, ${sequences}, ${keys}`;
    }
    case 'index':
      return `${place} block ${record.block}, ${record.bytes} bytes, up to ${show(record.separator)}`;
    case 'entry': {
      const value = record.value === undefined ? 'deleted' : show(record.value);
      return `${place} ${show(record.key)} @${record.sequence} ${value}`;
    }
    case 'damaged':
      return `${place} DAMAGED ${record.message}`;
  }
}

function editAsText(edit: VersionEdit): string {
  const number = (name: string, value: number | undefined) =>
    value === undefined ? [] : [`${name} ${value}`];
  return [
    ...number('oldest WAL', edit.oldestWal),
    ...number('newest WAL', edit.newestWal),
    ...(edit.walEnd ? [`WAL ends at ${edit.walEnd.file}:${edit.walEnd.offset}`] : []),
    ...number('flushed', edit.flushedSequence),
    ...number('next file', edit.nextFileNumber),
    ...edit.removed.map((table) => `- ${table.number} from level ${table.level}`),
    ...edit.added.map(addedAsText),
  ].join(', ');
}

function addedAsText(added: AddedTable): string {
  const keys = `keys ${show(added.smallest)} to ${show(added.largest)}`;
  return `+ ${added.number} to level ${added.level} (${added.entries} entries, ${keys})`;
}

function operationAsText(operation: Operation): string {
  const key = show(Buffer.from(operation.key));
  return operation.type === 'delete' ? `delete ${key}` : `put ${key} ${show(Buffer.from(operation.value))}`;
}

export function dumpAsJson(record: DumpRecord): string {
  if (record.kind !== 'entry') return toJson(record);
  const { key, value, ...rest } = record;
  const shown = value === undefined ? { deleted: true } : field('value', value);
  return JSON.stringify({ ...rest, ...field('key', key), ...shown });
}

/** Bytes become text if they are UTF-8, otherwise `{"base64": …}`. */
export function toJson(value: unknown): string {
  return JSON.stringify(plain(value));
}

function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) {
    const { text, textBase64 } = field('text', Buffer.from(value));
    return text ?? { base64: textBase64 };
  }
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
}

/** Text if the bytes are UTF-8, otherwise hexadecimal; shortened. */
function show(bytes: Buffer): string {
  const cut = bytes.subarray(0, MOST_SHOWN);
  const text = cut.toString('utf8');
  const isText = Buffer.from(text, 'utf8').equals(cut);
  const shown = isText ? JSON.stringify(text) : `0x${cut.toString('hex')}`;
  return bytes.length > cut.length ? `${shown}… (${bytes.length} bytes)` : shown;
}

function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}

function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => (row[i] ?? '').length)));
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
