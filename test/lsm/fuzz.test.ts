/**
 * Bytes that nobody wrote into every decoder: a typed error or a well-formed value, never anything else, never a hang.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeError } from '../../src/env/errors.js';
import { Memtable } from '../../src/lsm/memtable/memtable.js';
import { BlockBuilder } from '../../src/lsm/table/block-builder.js';
import { BlockCursor } from '../../src/lsm/table/block-cursor.js';
import { SparseIndex, SparseIndexBuilder } from '../../src/lsm/table/sparse-index.js';
import {
  decodeHeader,
  decodeProperties,
  encodeProperties,
  HEADER_BYTES,
} from '../../src/lsm/table/table-format.js';
import { scanRecords } from '../../src/lsm/tools/record-scan.js';
import { salvageTable } from '../../src/lsm/tools/salvage-table.js';
import { decodeEdit, encodeEdit } from '../../src/lsm/version/version-edit.js';
import { batchBytes, decodeBatch, encodeBatch, setFirstSequence } from '../../src/lsm/wal/write-batch.js';
import { encodeRecord } from '../../src/record/record.js';
import { recoverRecords } from '../../src/record/recovery.js';
import { put, randomBatches, remove, SeededRandom } from './tree-lab.js';

const ROUNDS = 3000;

/** Random bytes, or good ones that are changed, cut or lengthened. */
function mangle(random: SeededRandom, good: Buffer): Buffer {
  if (random.chance(0.2)) return random.bytes(random.between(0, 2 * good.length));
  const bytes = Buffer.from(good);
  for (let i = random.between(1, 4); i > 0 && bytes.length > 0; i--) {
    const at = random.between(0, bytes.length - 1);
    bytes[at] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.between(0, 255)]);
  }
  if (random.chance(0.2)) return bytes.subarray(0, random.between(0, bytes.length));
  return random.chance(0.1) ? Buffer.concat([bytes, random.bytes(random.between(1, 20))]) : bytes;
}

/** Decodes mangled bytes again and again; says how often they were refused and how often not. */
function fuzz(
  seed: number,
  good: Buffer,
  decode: (bytes: Buffer) => void,
): { refused: number; taken: number } {
  const random = new SeededRandom(seed);
  const counts = { refused: 0, taken: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const bytes = mangle(random, good);
    try {
      decode(bytes);
      counts.taken++;
    } catch (error) {
      if (!(error instanceof RaftreeError)) throw error;
      assert.is(error.code, 'CORRUPTION');
      counts.refused++;
    }
  }
  return counts;
}

function assertBoth({ refused, taken }: { refused: number; taken: number }): void {
  assert.ok(refused > ROUNDS / 10, `${refused} refused`);
  assert.ok(taken > ROUNDS / 100, `${taken} taken`);
}

test('batches: what is taken is what those bytes say, to the last one', () => {
  const operations = [put('key', 'value'), remove('other'), put('', ''), put('a', 'x'.repeat(40))];
  const good = encodeBatch(operations, batchBytes(operations));
  setFirstSequence(good, 7);
  const decode = (bytes: Buffer) => {
    const batch = decodeBatch(bytes, 'wal', 0);
    assert.is(batch.lastSequence, batch.firstSequence + batch.operations.length - 1);
    const again = encodeBatch(batch.operations, bytes.length);
    setFirstSequence(again, batch.firstSequence);
    assert.equal(again, bytes);
  };
  assertBoth(fuzz(1, good, decode));
});

test('version edits: what is taken can be written and read again', () => {
  const table = {
    number: 3,
    sizeBytes: 4,
    smallestSequence: 1,
    largestSequence: 2,
    entries: 5,
    tombstones: 1,
  };
  const keys = { smallest: Buffer.from('a'), largest: Buffer.from('zebra') };
  const good = encodeEdit({
    oldestWal: 1,
    newestWal: 3,
    walEnd: { file: 3, offset: 48 },
    flushedSequence: 2,
    nextFileNumber: 9,
    added: [
      { ...table, ...keys, level: 2, codec: 'none' },
      { ...table, ...keys, level: 3, codec: 'lz4' },
    ],
    removed: [{ level: 1, number: 2 }],
  });
  const decode = (bytes: Buffer) => {
    const edit = decodeEdit(bytes, 'MANIFEST', 0);
    assert.equal(decodeEdit(encodeEdit(edit), 'MANIFEST', 0), edit);
  };
  assertBoth(fuzz(2, good, decode));
});

test('blocks: entries stay within, and walking ends in both directions', () => {
  const memtable = new Memtable();
  for (let i = 0; i < 40; i++) memtable.insertPair(i + 1, Buffer.from(`key${i}`), Buffer.alloc(i));
  const builder = new BlockBuilder(256, 4);
  const source = memtable.cursor();
  for (source.seekToFirst(); source.valid; source.next()) builder.add(source);
  const good = Buffer.from(builder.finish());
  const decode = (bytes: Buffer) => {
    const cursor = new BlockCursor();
    cursor.setBlock(bytes, 0, bytes.length, 'table', 0);
    let entries = 0;
    const look = () => {
      assert.ok(++entries <= 2 * bytes.length, 'it goes on for ever');
      assert.ok(cursor.keyEnd <= cursor.keyBytes.length && cursor.valueEnd <= bytes.length);
      assert.ok(cursor.valueStart <= cursor.valueEnd && Number.isSafeInteger(cursor.sequence));
    };
    for (cursor.seekToFirst(); cursor.valid; cursor.next()) look();
    for (cursor.seekToLast(); cursor.valid; cursor.previous()) look();
    cursor.seek(Buffer.from('key2'), 3);
    if (cursor.valid) look();
  };
  assertBoth(fuzz(3, good, decode));
});

test('the sections of a table', () => {
  const builder = new SparseIndexBuilder();
  for (let i = 0; i < 6; i++) builder.add(Buffer.from(`key${i}`), 128 + i * 105, 100);
  const layout = { path: 'table', offset: 0, dataStart: 128, dataEnd: 128 + 6 * 105, trailerBytes: 5 };
  const asIndex = (bytes: Buffer) => {
    const index = new SparseIndex(bytes, 6, layout);
    for (const key of ['', 'key3', 'zzz']) {
      const block = index.find(Buffer.from(key));
      assert.ok(block >= 0 && block <= index.count);
    }
  };
  assertBoth(fuzz(4, builder.finish(), asIndex));
  const properties = {
    smallest: Buffer.from('a'),
    largest: Buffer.from('zebra'),
    keyBytes: 10,
    valueBytes: 2 ** 40,
  };
  const asProperties = (bytes: Buffer) => {
    const { smallest, largest } = decodeProperties(bytes, 'table', 0);
    assert.ok(smallest.length + largest.length <= bytes.length);
  };
  assertBoth(fuzz(5, encodeProperties(properties), asProperties));
  const { taken } = fuzz(6, Buffer.alloc(HEADER_BYTES, 7), (bytes) => {
    decodeHeader(bytes, 'table', bytes.length);
  });
  assert.is(taken, 0, 'no header has its checksum by chance');
});

test('records: no payload that was not written, in its place', () => {
  const random = new SeededRandom(7);
  const payloads = randomBatches(random, 6, 9).map((batch) => Buffer.from(JSON.stringify(batch)));
  let offset = 0;
  const records = payloads.map((payload) => {
    const { chunks, sizeBytes } = encodeRecord(5, { file: 5, offset }, [[payload]]);
    offset += sizeBytes;
    return Buffer.concat(chunks);
  });
  const written = new Set(payloads.map((payload) => payload.toString()));
  const counts = fuzz(8, Buffer.concat(records), (bytes) => {
    let at = 0;
    for (const scanned of scanRecords(bytes, 5)) {
      assert.is(scanned.offset, at, 'nothing is passed over');
      at = scanned.endOffset;
      for (const payload of scanned.record?.payloads ?? []) assert.ok(written.has(payload.bytes.toString()));
    }
    let expected = 0;
    recoverRecords([{ number: 5, path: 'log', read: () => bytes }], (payload) => {
      assert.is(payload.toString(), payloads[expected++]?.toString());
    });
  });
  assertBoth(counts);
});

test('salvaging a table of anything ends, with blocks that can be read', () => {
  const random = new SeededRandom(9);
  for (let round = 0; round < 200; round++) {
    const content = random.bytes(random.between(0, 3000));
    const { blocks, lost } = salvageTable(content, 'table');
    assert.is(blocks.length, 0);
    assert.is(lost.length, 1);
  }
});

test.run();
