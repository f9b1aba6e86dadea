/** The messages that have a faster way, against the table: the same bytes, the same messages, the same faults. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { FRAME_HEADER_BYTES } from '../../src/net/frame.js';
import { encodeFrame } from '../../src/net/frame-encoder.js';
import { ByteReader, FieldFault } from '../../src/protocol/byte-reader.js';
import { ByteWriter } from '../../src/protocol/byte-writer.js';
import { decodeMessage, encodeMessage, encodeMessageWithRoom } from '../../src/protocol/codec.js';
import { type FieldKind, type Layout, struct } from '../../src/protocol/field-kinds.js';
import { HOT_READS, HOT_WRITES } from '../../src/protocol/hot-messages.js';
import { MESSAGES, type MessageName, type OutboundMessage } from '../../src/protocol/messages.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

const HOT = [...new Set([...Object.keys(HOT_READS), ...Object.keys(HOT_WRITES)])] as MessageName[];

function tableOf(name: MessageName): FieldKind<object> {
  return struct(MESSAGES[name].fields as unknown as Record<string, FieldKind<unknown>>);
}

function someValue(layout: Layout, random: SeededRandom): unknown {
  switch (layout.kind) {
    case 'enumeration':
      return random.pick(Object.keys(layout.codes));
    case 'optional':
      return random.chance(0.5) ? someValue(layout.value, random) : undefined;
    case 'list':
      return Array.from({ length: random.between(0, 4) }, () => someValue(layout.element, random));
    case 'struct':
      return Object.fromEntries(
        Object.entries(layout.fields)
          .map(([name, field]) => [name, someValue(field, random)])
          .filter(([, value]) => value !== undefined),
      );
    case 'plain':
      if (layout.name === 'bool') return random.chance(0.5);
      if (layout.name === 'bytes') return random.bytes(random.pick([0, 1, 20, 300, 9000]));
      if (layout.name === 'string') return random.pick(['', 'text', 'ä']);
      return (
        random.pick(layout.name === 'u8' ? [0, 255] : [0, 1, 77, 2 ** 32 - 1]) +
        (layout.name === 'u53' ? 2 ** 40 : 0)
      );
  }
}

function someMessage(name: MessageName, random: SeededRandom): OutboundMessage {
  return { type: name, ...(someValue(tableOf(name).layout, random) as object) } as OutboundMessage;
}

function tableBytes(name: MessageName, message: OutboundMessage): Buffer {
  const writer = new ByteWriter();
  writer.begin();
  tableOf(name).write(writer, message);
  return Buffer.concat(writer.finish());
}

/** What the table makes of a body: a message, or where the fault is. */
function byTable(name: MessageName, body: Buffer): unknown {
  const reader = new ByteReader(body);
  try {
    const message = { type: name, ...tableOf(name).read(reader) };
    return reader.remaining === 0 ? message : '';
  } catch (fault) {
    if (fault instanceof FieldFault) return fault.path;
    throw fault;
  }
}

function byCodec(name: MessageName, body: Buffer): unknown {
  try {
    return decodeMessage({ type: MESSAGES[name].number, body });
  } catch (error) {
    assert.is(errorCode(error), 'MALFORMED_MESSAGE');
    return (error as { info: { field: string } }).info.field;
  }
}

test('a message has the bytes of the table, with and without room for its header', () => {
  const random = new SeededRandom(1);
  for (const name of HOT) {
    for (let i = 0; i < 200; i++) {
      const message = someMessage(name, random);
      const expected = tableBytes(name, message);
      assert.ok(Buffer.concat(encodeMessage(message).body).equals(expected), name);
      const framed = Buffer.concat(encodeFrame(encodeMessageWithRoom(message)));
      assert.ok(framed.equals(Buffer.concat(encodeFrame({ type: MESSAGES[name].number, body: [expected] }))));
      assert.is(framed.length, FRAME_HEADER_BYTES + expected.length);
      assert.equal(byCodec(name, expected), message);
    }
  }
});

test('the faster way reads every intact message itself', () => {
  const random = new SeededRandom(2);
  for (const name of Object.keys(HOT_READS) as MessageName[]) {
    const message = someMessage(name, random);
    const reader = new ByteReader(tableBytes(name, message));
    assert.equal(HOT_READS[name]?.(reader), message);
    assert.is(reader.remaining, 0);
  }
});

test('a damaged body gives what the table gives: the same message, or a fault in the same field', () => {
  const random = new SeededRandom(3);
  let faults = 0;
  for (const name of HOT) {
    for (let i = 0; i < 500; i++) {
      const whole = tableBytes(name, someMessage(name, random));
      const body = random.chance(0.3) ? whole.subarray(0, random.between(0, whole.length)) : whole;
      for (let n = random.between(0, 2); n > 0 && body.length > 0; n--)
        body[random.between(0, Math.min(80, body.length - 1))] = random.pick([0, 1, 2, 9, 0x20, 0xff]);
      const expected = byTable(name, body);
      assert.equal(byCodec(name, body), expected, name);
      if (typeof expected === 'string') faults++;
    }
  }
  assert.ok(faults > 400);
});

test('what no field can hold cannot be sent', () => {
  for (const bad of [
    { requestId: -1 },
    { applied: true, index: 0.5 },
    { results: [{ status: 'fine', existed: true, version: 1, value: undefined }] },
  ]) {
    const good = { type: 'writeReply', requestId: 1, applied: true, index: 1, results: [] };
    assert.throws(
      () => encodeMessage({ ...good, ...bad } as unknown as OutboundMessage),
      (error: Error) => errorCode(error) === 'UNENCODABLE' && error.message.startsWith('writeReply'),
    );
  }
});

test.run();
