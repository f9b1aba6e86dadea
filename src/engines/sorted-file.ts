/**
 * All entries of an engine in one file, in order. Integers are little-endian:
 *
 *     header   "raftsort" | version u32 = 1 | CRC of these 12 bytes u32
 *     block    entries u32, at least 1 | bytes u32 | CRC u32 | so many bytes: entry...
 *       entry  key bytes u32 | value bytes u32 | key | value
 *     end      0 u32 | 8 u32 | CRC u32 | entries in all u64
 *
 * The CRC of a block, and of the end, continues the CRC of the block before it. It covers the whole block except the
 * CRC itself. So a missing or misplaced block is detected as damage. Keys ascend.
 */
import type { Env, File } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import { crc32 } from '../record/checksum.js';
import { readUint53, writeUint53 } from '../record/record.js';

const MAGIC = Buffer.from('raftsort');
const VERSION = 1;
const HEADER_BYTES = 16;
const BLOCK_HEAD_BYTES = 12;
const ENTRY_HEAD_BYTES = 8;
const END_BYTES = 8;
/** A block with this many bytes, or entries, is full. */
const FULL_BLOCK_BYTES = 256 * 1024;
const FULL_BLOCK_ENTRIES = 4096;

export type SortedEntry = readonly [key: Buffer, value: Buffer];

/** Writes a new file and syncs it; its name is not durable yet. After an error the file is gone. */
export async function writeSortedFile(env: Env, path: string, entries: Iterable<SortedEntry>): Promise<void> {
  const file = env.fs.open(path, 'create');
  try {
    await writeEntries(file, entries);
    await file.sync();
  } catch (error) {
    file.close();
    env.fs.unlink(path);
    throw error;
  }
  file.close();
}

async function writeEntries(file: File, entries: Iterable<SortedEntry>): Promise<void> {
  const header = Buffer.alloc(HEADER_BYTES);
  header.set(MAGIC);
  header.writeUInt32LE(VERSION, 8);
  let crc = crc32(header.subarray(0, 12));
  header.writeUInt32LE(crc, 12);
  await file.write([header], 0);
  let position = HEADER_BYTES;
  let total = 0;
  const writeBlock = async (count: number, body: Uint8Array) => {
    const head = Buffer.alloc(BLOCK_HEAD_BYTES);
    head.writeUInt32LE(count, 0);
    head.writeUInt32LE(body.length, 4);
    crc = crc32(body, crc32(head.subarray(0, 8), crc));
    head.writeUInt32LE(crc, 8);
    await file.write([head, body], position);
    position += BLOCK_HEAD_BYTES + body.length;
    total += count;
  };
  let chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  let count = 0;
  for (const [key, value] of entries) {
    const head = Buffer.alloc(ENTRY_HEAD_BYTES);
    head.writeUInt32LE(key.length, 0);
    head.writeUInt32LE(value.length, 4);
    chunks.push(head, key, value);
    sizeBytes += ENTRY_HEAD_BYTES + key.length + value.length;
    count++;
    if (sizeBytes < FULL_BLOCK_BYTES && count < FULL_BLOCK_ENTRIES) continue;
    await writeBlock(count, Buffer.concat(chunks));
    chunks = [];
    sizeBytes = 0;
    count = 0;
  }
  if (count > 0) await writeBlock(count, Buffer.concat(chunks));
  const end = Buffer.alloc(END_BYTES);
  writeUint53(end, total, 0);
  await writeBlock(0, end);
}

/** The entries of a file, a block at a time. Throws `CORRUPTION` for a file that `writeSortedFile` did not write. */
export async function* readSortedFile(env: Env, path: string): AsyncGenerator<readonly SortedEntry[]> {
  const file = env.fs.open(path, 'read');
  try {
    yield* readBlocks(file);
  } finally {
    file.close();
  }
}

async function* readBlocks(file: File): AsyncGenerator<readonly SortedEntry[]> {
  const sizeBytes = file.sizeBytes();
  const damaged = (position: number, what: string) =>
    new RaftreeError('CORRUPTION', `${file.path} is damaged at byte ${position}: ${what}`, {
      info: { path: file.path, offset: position },
    });
  const bytesAt = async (position: number, length: number) => {
    if (position + length > sizeBytes) throw damaged(position, 'it ends too early');
    const bytes = Buffer.allocUnsafeSlow(length);
    if ((await file.read(bytes, position)) < length) throw damaged(position, 'it ends too early');
    return bytes;
  };
  const header = await bytesAt(0, HEADER_BYTES);
  let crc = crc32(header.subarray(0, 12));
  if (!header.subarray(0, 8).equals(MAGIC) || header.readUInt32LE(12) !== crc)
    throw damaged(0, 'it does not begin as a sorted file');
  if (header.readUInt32LE(8) !== VERSION)
    throw damaged(8, `its version ${header.readUInt32LE(8)} is not known here`);
  let position = HEADER_BYTES;
  let total = 0;
  let last: Buffer | undefined;
  for (;;) {
    const head = await bytesAt(position, BLOCK_HEAD_BYTES);
    const count = head.readUInt32LE(0);
    const body = await bytesAt(position + BLOCK_HEAD_BYTES, head.readUInt32LE(4));
    crc = crc32(body, crc32(head.subarray(0, 8), crc));
    if (head.readUInt32LE(8) !== crc) throw damaged(position, 'the checksum does not fit');
    const next = position + BLOCK_HEAD_BYTES + body.length;
    if (count === 0) {
      if (body.length !== END_BYTES || readUint53(body, 0) !== total || next !== sizeBytes)
        throw damaged(position, 'it does not end here');
      return;
    }
    const entries = entriesIn(body, count);
    if (!entries) throw damaged(position, 'the entries do not fit their block');
    for (const [key] of entries) {
      if (last && Buffer.compare(last, key) >= 0) throw damaged(position, 'the keys do not ascend');
      last = key;
    }
    total += count;
    yield entries;
    position = next;
  }
}

function entriesIn(body: Buffer, count: number): SortedEntry[] | undefined {
  const entries: SortedEntry[] = [];
  let at = 0;
  while (at + ENTRY_HEAD_BYTES <= body.length && entries.length < count) {
    const keyStart = at + ENTRY_HEAD_BYTES;
    const valueStart = keyStart + body.readUInt32LE(at);
    const end = valueStart + body.readUInt32LE(at + 4);
    if (end > body.length) return undefined;
    entries.push([body.subarray(keyStart, valueStart), body.subarray(valueStart, end)]);
    at = end;
  }
  return at === body.length && entries.length === count ? entries : undefined;
}

/** Reads a whole file. Throws `CORRUPTION` if it is damaged. */
export async function checkSortedFile(env: Env, path: string): Promise<void> {
  for await (const entries of readSortedFile(env, path)) void entries;
}
