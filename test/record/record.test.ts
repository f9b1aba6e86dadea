import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode, RaftreeError } from '../../src/env/errors.js';
import { crc32 } from '../../src/record/checksum.js';
import {
  alignUp,
  decodeRecord,
  encodeRecord,
  isBefore,
  type Position,
  RECORD_HEADER_BYTES,
  readUint53,
  writeUint53,
} from '../../src/record/record.js';
import { type Recovery, recoverRecords } from '../../src/record/recovery.js';
import { SECTOR_BYTES } from '../../src/record/torn-write.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

const path = (number: number) => `log-${number}`;

function encoded(file: number, durableThrough: Position, texts: readonly string[]): Buffer {
  const { chunks, sizeBytes } = encodeRecord(
    file,
    durableThrough,
    texts.map((text) => [Buffer.from(text, 'latin1')]),
  );
  const bytes = Buffer.concat(chunks);
  assert.is(bytes.length, sizeBytes);
  return bytes;
}

test('the bytes of a record are as documented, and stay so', () => {
  const bytes = encoded(7, { file: 6, offset: 2 ** 40 + 5 }, ['hello', '']);
  assert.is(
    bytes.toString('hex'),
    [
      '91cf578e',
      'de71a945',
      '0d000000',
      '01000000',
      '0700000000000000',
      '0600000000000000',
      '0500000000010000',
      '0500000068656c6c6f',
      '00000000',
      '000000',
    ].join(''),
  );
});

test('a record decodes to what was encoded, whatever stands before and behind it', () => {
  const random = new SeededRandom(2);
  for (let i = 0; i < 300; i++) {
    const texts = Array.from({ length: random.between(1, 6) }, () =>
      random.bytes(random.between(0, 700)).toString('latin1'),
    );
    const file = random.between(1, 2 ** 40);
    const durableThrough = { file: random.between(0, file), offset: random.between(0, 2 ** 50) };
    const record = encoded(file, durableThrough, texts);
    assert.is(record.length % 8, 0);
    const start = 8 * random.between(0, 20);
    const bytes = Buffer.concat([random.bytes(start), record, random.bytes(50)]);
    const decoded = decodeRecord(bytes, start, file);
    assert.equal(decoded?.durableThrough, durableThrough);
    assert.is(decoded?.endOffset, start + record.length);
    assert.equal(
      decoded?.payloads.map(({ bytes: payload }) => payload.toString('latin1')),
      texts,
    );
    for (const { bytes: payload, offset } of decoded?.payloads ?? []) {
      assert.ok(payload.equals(bytes.subarray(offset, offset + payload.length)));
    }
    assert.is(decodeRecord(bytes, start, file + 1), undefined, 'it belongs to another file');
    assert.is(decodeRecord(bytes, start + 8, file), undefined);
  }
});

test('zeros, and random bytes, are no record', () => {
  const random = new SeededRandom(3);
  const zeros = Buffer.alloc(500);
  for (let offset = 0; offset <= 500; offset += 8) assert.is(decodeRecord(zeros, offset, 0), undefined);
  for (let i = 0; i < 2000; i++) assert.is(decodeRecord(random.bytes(100), 0, 1), undefined);
});

test('a record whose checksums are right and whose payloads are longer than its body is none', () => {
  const bytes = encoded(1, { file: 0, offset: 0 }, ['hello']);
  for (const [length, isRecord] of [
    [5, true],
    [6, false],
    [2, false],
  ] as const) {
    bytes.writeUInt32LE(length, RECORD_HEADER_BYTES);
    bytes.writeUInt32LE(crc32(bytes.subarray(RECORD_HEADER_BYTES, RECORD_HEADER_BYTES + 9)), 4);
    bytes.writeUInt32LE(crc32(bytes.subarray(4, RECORD_HEADER_BYTES)), 0);
    assert.is(decodeRecord(bytes, 0, 1) !== undefined, isRecord, `${length} bytes`);
  }
});

test('a record too large is refused', () => {
  const large = new Uint8Array(600 * 1024 * 1024);
  assert.throws(
    () => encodeRecord(1, { file: 0, offset: 0 }, [[large], [large]]),
    (error: unknown) => errorCode(error) === 'RECORD_TOO_LARGE',
  );
});

test('integers up to 2^53 - 1 are kept exactly, larger ones are not believed', () => {
  const bytes = Buffer.alloc(8);
  for (const value of [0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 3, Number.MAX_SAFE_INTEGER]) {
    writeUint53(bytes, value, 0);
    assert.is(readUint53(bytes, 0), value);
  }
  bytes.fill(0xff);
  assert.ok(Number.isNaN(readUint53(bytes, 0)));
});

interface WrittenRecord {
  readonly start: Position;
  /** Without and with padding. */
  readonly bodyEnd: number;
  readonly end: number;
  readonly durableThrough: Position;
  readonly texts: readonly string[];
}

interface WrittenLog {
  readonly records: readonly WrittenRecord[];
  readonly files: readonly Buffer[];
}

/** Three small files of records, each synced with probability `syncChance`, and each file before its successor. */
function writeLog(seed: number, syncChance: number): WrittenLog {
  const random = new SeededRandom(seed);
  const records: WrittenRecord[] = [];
  const files: Buffer[] = [];
  let durableThrough: Position = { file: 0, offset: 0 };
  for (let file = 1; file <= 3; file++) {
    let bytes = Buffer.alloc(0);
    for (let i = 0; i < 4; i++) {
      const texts = Array.from(
        { length: random.between(1, 2) },
        (_, j) => `${file}.${i}.${j}${'-'.repeat(random.between(0, 30))}`,
      );
      const record = encoded(file, durableThrough, texts);
      const start = { file, offset: bytes.length };
      const bodyEnd = start.offset + RECORD_HEADER_BYTES + record.readUInt32LE(8);
      bytes = Buffer.concat([bytes, record]);
      records.push({ start, bodyEnd, end: bytes.length, durableThrough, texts });
      if (random.chance(syncChance)) durableThrough = { file, offset: bytes.length };
    }
    durableThrough = { file, offset: bytes.length };
    files.push(bytes);
  }
  return { records, files };
}

interface Outcome {
  readonly texts: readonly string[];
  readonly recovery: Recovery | undefined;
  readonly corruption: Position | undefined;
}

function recover(files: readonly Buffer[]): Outcome {
  const texts: string[] = [];
  const named = files.map((bytes, i) => ({ number: i + 1, path: path(i + 1), read: () => bytes }));
  try {
    const recovery = recoverRecords(named, (payload, position) => {
      assert.ok(files[position.file - 1]?.subarray(position.offset).indexOf(payload) === 0);
      texts.push(payload.toString('latin1'));
    });
    return { texts, recovery, corruption: undefined };
  } catch (error) {
    if (!(error instanceof RaftreeError) || error.code !== 'CORRUPTION') throw error;
    const file = named.find((candidate) => candidate.path === error.info.path)?.number ?? Number.NaN;
    return { texts, recovery: undefined, corruption: { file, offset: Number(error.info.offset) } };
  }
}

/** Whether a crash can have left that of a record: its file is shorter than a sector. */
function isTorn({ start, bodyEnd }: WrittenRecord, file: Buffer): boolean {
  assert.ok(file.length <= SECTOR_BYTES);
  return file.length < bodyEnd || file.subarray(start.offset).every((byte) => byte === 0);
}

/** What must come of a log of which the records that `isWhole` denies are gone. */
function check(
  log: WrittenLog,
  files: readonly Buffer[],
  isWhole: (record: WrittenRecord) => boolean,
  what: string,
) {
  const outcome = recover(files);
  const firstBad = log.records.findIndex((record) => !isWhole(record));
  const good = firstBad < 0 ? log.records : log.records.slice(0, firstBad);
  assert.equal(
    outcome.texts,
    good.flatMap((record) => record.texts),
    `${what}: a prefix, to the first record that is gone`,
  );
  const bad = log.records[firstBad];
  const isVouchedFor =
    bad !== undefined &&
    log.records.some((record) => isWhole(record) && isBefore(bad.start, record.durableThrough));
  const isDamage = bad !== undefined && (isVouchedFor || !isTorn(bad, files[bad.start.file - 1] as Buffer));
  assert.equal(outcome.corruption, isDamage ? bad.start : undefined, what);
  if (bad && !isDamage) {
    const left = files.slice(bad.start.file - 1).reduce((sum, bytes) => sum + bytes.length, 0);
    assert.is(outcome.recovery?.discarded?.bytes ?? 0, Math.max(0, left - bad.start.offset), what);
  }
  if (!bad) assert.is(outcome.recovery?.discarded, undefined, what);
  return outcome.corruption !== undefined;
}

test('an intact log is recovered whole', () => {
  for (const syncChance of [0, 0.5, 1]) {
    const log = writeLog(4, syncChance);
    assert.is(
      check(log, log.files, () => true, 'intact'),
      false,
    );
    assert.is(recover(log.files).recovery?.records, 12);
  }
  assert.equal(recover([]).recovery?.end, { file: 0, offset: 0 });
});

test('any flipped byte gives corruption where it is', () => {
  let corruptions = 0;
  let harmless = 0;
  for (const [seed, syncChance] of [
    [5, 0],
    [6, 0.5],
    [7, 1],
  ] as const) {
    const log = writeLog(seed, syncChance);
    for (const [i, bytes] of log.files.entries()) {
      for (let offset = 0; offset < bytes.length; offset++) {
        for (const mask of [0x01, 0x80, 0xff]) {
          const damaged = Buffer.from(bytes);
          damaged.writeUInt8(bytes.readUInt8(offset) ^ mask, offset);
          const isWhole = ({ start, bodyEnd }: WrittenRecord) =>
            start.file !== i + 1 || offset < start.offset || offset >= bodyEnd;
          const what = `sync chance ${syncChance}, file ${i + 1}, offset ${offset}, mask ${mask}`;
          if (check(log, log.files.with(i, damaged), isWhole, what)) corruptions++;
          else harmless++;
        }
      }
    }
  }
  // The padding of records carries nothing.
  assert.ok(corruptions > 5000 && harmless < 500, `${corruptions} corruptions, ${harmless} harmless`);
});

test('any truncation of any file gives corruption at its end, or the records before it', () => {
  let corruptions = 0;
  let prefixes = 0;
  for (const syncChance of [0, 0.5, 1]) {
    const log = writeLog(8, syncChance);
    for (const [i, bytes] of log.files.entries()) {
      for (let length = 0; length < bytes.length; length++) {
        const isWhole = ({ start, bodyEnd }: WrittenRecord) => start.file !== i + 1 || bodyEnd <= length;
        const what = `sync chance ${syncChance}, file ${i + 1} cut to ${length}`;
        if (check(log, log.files.with(i, bytes.subarray(0, length)), isWhole, what)) corruptions++;
        else prefixes++;
      }
    }
  }
  assert.ok(corruptions > 500 && prefixes > 300, `${corruptions} corruptions, ${prefixes} prefixes`);
});

test('any hole of zeros gives corruption or a prefix', () => {
  const random = new SeededRandom(9);
  for (let i = 0; i < 500; i++) {
    const log = writeLog(10 + (i % 7), random.pick([0, 0.5, 1]));
    const file = random.between(1, 3);
    const bytes = Buffer.from(log.files[file - 1] as Buffer);
    const from = random.between(0, bytes.length);
    const to = random.between(from, bytes.length);
    const isWhole = (record: WrittenRecord) =>
      record.start.file !== file ||
      bytes
        .subarray(record.start.offset, record.bodyEnd)
        .equals((log.files[file - 1] as Buffer).subarray(record.start.offset, record.bodyEnd));
    bytes.fill(0, from, to);
    check(log, log.files.with(file - 1, bytes), isWhole, `round ${i}, file ${file}, zeros ${from} to ${to}`);
  }
});

test('zeros behind the end are discarded, other bytes are corruption', () => {
  const random = new SeededRandom(11);
  const log = writeLog(12, 1);
  for (let i = 0; i < 200; i++) {
    const last = log.files[2] as Buffer;
    const isZero = random.chance(0.5);
    const size = random.between(RECORD_HEADER_BYTES, SECTOR_BYTES - last.length);
    const junk = isZero ? Buffer.alloc(size) : random.bytes(size);
    const { texts, recovery, corruption } = recover(log.files.with(2, Buffer.concat([last, junk])));
    assert.equal(
      texts,
      log.records.flatMap((record) => record.texts),
    );
    assert.is(recovery?.discarded?.bytes, isZero ? junk.length : undefined);
    assert.equal(corruption, isZero ? undefined : { file: 3, offset: last.length });
  }
});

test('a missing file is corruption', () => {
  const log = writeLog(13, 1);
  const named = log.files.map((bytes, i) => ({ number: i + 1, path: path(i + 1), read: () => bytes }));
  assert.throws(
    () =>
      recoverRecords(
        [named[0], named[2]].flatMap((file) => file ?? []),
        () => {},
      ),
    (error: unknown) => errorCode(error) === 'CORRUPTION',
  );
});

test('offsets are aligned upwards', () => {
  assert.equal(
    [0, 1, 7, 8, 9].map((offset) => alignUp(offset)),
    [0, 8, 8, 8, 16],
  );
});

test.run();
