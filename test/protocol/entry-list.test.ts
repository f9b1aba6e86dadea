/** The entries of an append against the list of structs that PROTOCOL.md shows: the same bytes, the same faults. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { ByteReader, FieldFault } from '../../src/protocol/byte-reader.js';
import { ByteWriter } from '../../src/protocol/byte-writer.js';
import { entryList } from '../../src/protocol/entry-list.js';
import { bytes, enumeration, type FieldKind, list, struct, u53 } from '../../src/protocol/field-kinds.js';
import { ENTRY_KIND_NUMBERS, type Entry } from '../../src/raft/types.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

const plain = list(struct({ term: u53, kind: enumeration(ENTRY_KIND_NUMBERS), body: bytes }));

function written(kind: FieldKind<unknown, readonly Entry[]>, entries: readonly Entry[]): Buffer {
  const writer = new ByteWriter();
  writer.begin();
  kind.write(writer, entries);
  return Buffer.concat(writer.finish());
}

function read(kind: FieldKind<unknown, readonly Entry[]>, body: Buffer): unknown {
  const reader = new ByteReader(body);
  try {
    return { value: kind.read(reader), remaining: reader.remaining };
  } catch (fault) {
    if (!(fault instanceof FieldFault)) throw fault;
    return `${fault.path}: ${fault.message}`;
  }
}

function someEntries(random: SeededRandom): Entry[] {
  return Array.from({ length: random.between(0, 5) }, () => ({
    term: random.pick([0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 5, Number.MAX_SAFE_INTEGER]),
    kind: random.pick(['noop', 'command', 'configuration'] as const),
    body: random.bytes(random.pick([0, 1, 30, 300, 9000])),
  }));
}

test('entries have the bytes of a plain list, also when they are sent again', () => {
  const random = new SeededRandom(1);
  for (let i = 0; i < 200; i++) {
    const entries = someEntries(random);
    const expected = written(plain, entries);
    assert.ok(written(entryList, entries).equals(expected));
    assert.ok(written(entryList, entries).equals(expected));
    assert.equal(read(entryList, expected), { value: entries, remaining: 0 });
  }
});

test('damaged bytes give what a plain list gives: the same entries, or the same fault at the same place', () => {
  const random = new SeededRandom(2);
  let faults = 0;
  for (let i = 0; i < 3000; i++) {
    const whole = written(plain, someEntries(random));
    const body = whole.subarray(0, random.chance(0.5) ? random.between(0, whole.length) : whole.length);
    for (let n = random.between(0, 2); n > 0 && body.length > 0; n--)
      body[random.between(0, Math.min(40, body.length - 1))] = random.pick([0, 1, 3, 4, 0x20, 0xff]);
    const expected = read(plain, body);
    assert.equal(read(entryList, body), expected);
    if (typeof expected === 'string') faults++;
  }
  assert.ok(faults > 1000);
});

test('a term that is no number of the field cannot be sent', () => {
  for (const term of [-1, 0.5, Number.NaN, 2 ** 53]) {
    assert.throws(
      () => written(entryList, [{ term, kind: 'noop', body: Buffer.alloc(0) }]),
      (error: Error) => errorCode(error) === 'UNENCODABLE',
    );
  }
});

test.run();
