/**
 * Damage and the tail of a crash are told apart: no flipped bit of a synced record passes for something that was never
 * acknowledged, and nothing that a crash can leave is taken for damage. Both exhaustively, for every place that a
 * record can have within its sector, in a new file and in one that is written over.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeError } from '../../src/env/errors.js';
import { encodeRecord, RECORD_ALIGNMENT_BYTES, RECORD_HEADER_BYTES } from '../../src/record/record.js';
import { type RecordFile, type Recovery, recoverRecords } from '../../src/record/recovery.js';
import { SECTOR_BYTES } from '../../src/record/torn-write.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

const FILE = 3;
const FILE_BYTES = 4 * SECTOR_BYTES;

type Kind = 'new' | 'recycled';
const KINDS: readonly Kind[] = ['new', 'recycled'];

/** What the file held when it was begun. */
function oldContent(kind: Kind): Buffer {
  if (kind === 'new') return Buffer.alloc(FILE_BYTES);
  const random = new SeededRandom(1);
  const records: Buffer[] = [];
  for (let bytes = 0; bytes < FILE_BYTES; bytes += records.at(-1)?.length ?? 0) {
    records.push(record(1, bytes, random.bytes(random.between(0, 700)), 'new'));
  }
  return Buffer.concat(records).subarray(0, FILE_BYTES);
}

function record(file: number, offset: number, payload: Uint8Array, kind: Kind): Buffer {
  return Buffer.concat(encodeRecord(file, { file, offset }, [[payload]], kind === 'recycled').chunks);
}

/** The file with records behind each other, as it is after each one is written. The first ends at `start`. */
function writeFile(kind: Kind, start: number, payloads: readonly Uint8Array[], synced = start): Buffer[] {
  const first = new Uint8Array(start - RECORD_HEADER_BYTES - 4).fill(7);
  const versions = [oldContent(kind)];
  let offset = 0;
  for (const payload of [first, ...payloads]) {
    const next = Buffer.from(versions.at(-1) as Buffer);
    const bytes = record(FILE, offset === 0 ? 0 : synced, payload, kind);
    bytes.copy(next, offset);
    offset += bytes.length;
    versions.push(next);
  }
  assert.ok(offset < FILE_BYTES);
  return versions.slice(1);
}

/** Every place in a sector at which a record can start. */
const STARTS = Array.from(
  { length: SECTOR_BYTES / RECORD_ALIGNMENT_BYTES },
  (_, i) => RECORD_HEADER_BYTES + 8 + i * RECORD_ALIGNMENT_BYTES,
);

interface Outcome {
  readonly records: number;
  readonly discarded: Recovery['discarded'];
}

/** What recovery says; the offset at which it finds corruption. */
function recover(bytes: Buffer): Outcome | number {
  // Whether this file may hold old bytes, its records say.
  const file: RecordFile = { number: FILE, path: 'log', behind: 'old bytes', read: () => bytes };
  try {
    return recoverRecords([file], () => {});
  } catch (error) {
    if (!(error instanceof RaftreeError) || error.code !== 'CORRUPTION') throw error;
    assert.is(error.info.path, 'log');
    return Number(error.info.offset);
  }
}

function sectorOf(offset: number): number {
  return Math.floor(offset / SECTOR_BYTES);
}

for (const kind of KINDS) {
  test(`a flipped bit of the last synced record is corruption, or it is said that it may be (${kind} file)`, () => {
    const random = new SeededRandom(2);
    const counts = { corruption: 0, unclear: 0 };
    for (const start of STARTS) {
      for (const payload of [random.bytes(0), random.bytes(30), random.bytes(620), Buffer.alloc(620)]) {
        const bytes = writeFile(kind, start, [payload]).at(-1) as Buffer;
        const bodyStart = start + RECORD_HEADER_BYTES;
        const end = bodyStart + 4 + payload.length;
        const isInOneSector = sectorOf(start) === sectorOf(end - 1);
        const holdsZeros = payload.length === 620 && payload.every((byte) => byte === 0);
        for (let at = start; at < end; at++) {
          const isHeader = at < bodyStart && sectorOf(start) === sectorOf(bodyStart - 1);
          const mask = 1 << random.between(0, 7);
          bytes[at] = (bytes[at] as number) ^ mask;
          const outcome = recover(bytes);
          bytes[at] = (bytes[at] as number) ^ mask;
          const what = `${payload.length} bytes at ${start}, flip ${mask} at ${at}`;
          if (typeof outcome === 'number') {
            assert.is(outcome, start, what);
            counts.corruption++;
            continue;
          }
          assert.is(outcome.records, 1, what);
          assert.is(outcome.discarded?.at.offset, start, what);
          assert.is(outcome.discarded?.mayBeDamage, true, what);
          assert.not.ok(isHeader || isInOneSector, `${what}: it can be told`);
          assert.ok(kind === 'recycled' || holdsZeros, `${what}: it can be told`);
          counts.unclear++;
        }
      }
    }
    assert.ok(counts.corruption > 10_000 && counts.unclear > 10_000, JSON.stringify(counts));
  });

  test(`what a crash can leave of unsynced records is never taken for damage (${kind} file)`, () => {
    const random = new SeededRandom(3);
    let tears = 0;
    for (const start of STARTS) {
      for (const sizes of [[0], [30, 0], [500, 30], [30, 700], [1100], [500, 500]]) {
        const payloads = sizes.map((size) => (random.chance(0.3) ? Buffer.alloc(size) : random.bytes(size)));
        // Where nothing of the file is synced yet, the second half of a header may be zeros.
        const versions = writeFile(kind, start, payloads, random.pick([0, start]));
        const last = versions.at(-1) as Buffer;
        const end = start + payloads.reduce((sum, payload) => sum + 48 + payload.length, 0);
        const [from, to] = [sectorOf(start), sectorOf(end - 1)];
        // Each sector as it was after any of the writes, in all combinations.
        for (let choice = 0; choice < versions.length ** (to - from + 1); choice++) {
          const bytes = Buffer.from(last);
          for (let sector = from, rest = choice; sector <= to; sector++) {
            const version = versions[rest % versions.length] as Buffer;
            version.copy(bytes, sector * SECTOR_BYTES, sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
            rest = Math.floor(rest / versions.length);
          }
          // A new file may be shorter, too.
          const cut = bytes.subarray(0, random.between(start, FILE_BYTES));
          for (const left of kind === 'new' ? [bytes, cut] : [bytes]) {
            const outcome = recover(left);
            if (typeof outcome === 'number') assert.unreachable(`${sizes} at ${start}, choice ${choice}`);
            else assert.ok(outcome.records >= 1);
            tears++;
          }
        }
      }
    }
    assert.ok(tears > 5000, `${tears} tears`);
  });
}

test('old bytes that are a type and the number of the file are no header of it', () => {
  const start = 48;
  for (const [type, said] of [
    [1, { file: 2 ** 40 + 3, offset: 0 }],
    [3, { file: FILE, offset: start + 8 }],
    [2, { file: 0, offset: 0 }],
    [1, { file: FILE, offset: 4 }],
  ] as const) {
    const bytes = writeFile('recycled', start, [], start)[0] as Buffer;
    // As the body of an old record may have them: numbers of a batch, of entries, of keys.
    bytes.writeUInt32LE(1, start + 8);
    bytes.writeUInt32LE(type, start + 12);
    bytes.writeBigUInt64LE(BigInt(FILE), start + 16);
    bytes.writeBigUInt64LE(BigInt(said.file), start + 24);
    bytes.writeBigUInt64LE(BigInt(said.offset), start + 32);
    const outcome = recover(bytes);
    assert.equal(
      typeof outcome === 'object' && [outcome.records, outcome.discarded],
      [1, undefined],
      `${type}`,
    );
  }
});

test('a record is not torn where less than a sector is missing', () => {
  const payload = Buffer.alloc(1200, 'x');
  const start = 48;
  const whole = writeFile('new', start, [payload]).at(-1) as Buffer;
  const outcomeOf = (from: number, to: number) => recover(Buffer.from(whole).fill(0, from, to));
  for (const [from, to] of [
    [start, start + RECORD_HEADER_BYTES],
    [start, SECTOR_BYTES - 1],
    [start + RECORD_HEADER_BYTES, SECTOR_BYTES],
    [SECTOR_BYTES, 2 * SECTOR_BYTES - 1],
  ] as const) {
    assert.is(outcomeOf(from, to), start, `zeros from ${from} to ${to}`);
  }
  const middle = SECTOR_BYTES;
  const split = writeFile('new', middle - 24, [payload]).at(-1) as Buffer;
  assert.is(recover(split.fill(0, middle, middle + RECORD_HEADER_BYTES - 24)), middle - 24, 'half a header');
  const header = outcomeOf(start, SECTOR_BYTES);
  assert.is(typeof header === 'object' && header.discarded?.mayBeDamage, false, 'it was never whole');
  const body = outcomeOf(SECTOR_BYTES, 2 * SECTOR_BYTES);
  assert.is(typeof body === 'object' && body.discarded?.mayBeDamage, true, 'zeros may be part of it');
});

test.run();
