import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode, RaftreeError } from '../../src/env/errors.js';
import type { OutboundFrame } from '../../src/net/frame.js';
import { decodeMessage, encodeMessage } from '../../src/protocol/codec.js';
import { isRequestNumber, MESSAGES, type MessageName } from '../../src/protocol/messages.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { SAMPLES } from './samples.js';

const NAMES = Object.keys(MESSAGES) as MessageName[];
const received = (frame: OutboundFrame) => ({ type: frame.type, body: Buffer.concat(frame.body) });

function codeThrown(run: () => unknown): string | undefined {
  try {
    run();
  } catch (error) {
    return errorCode(error) ?? String(error);
  }
  return undefined;
}

test('every message comes back as it was sent', () => {
  for (const name of NAMES)
    assert.equal(decodeMessage(received(encodeMessage(SAMPLES[name]))), SAMPLES[name]);
});

test('message numbers are unique', () => {
  assert.is(new Set(NAMES.map((name) => MESSAGES[name].number)).size, NAMES.length);
});

test('requests and answers, and no other messages, have the numbers of requests and begin with requestId', () => {
  for (const name of NAMES) {
    const { number, fields } = MESSAGES[name];
    // `error` is about a request or about the connection, so its number tells nothing.
    const isAboutRequest = name !== 'error' && Object.keys(fields)[0] === 'requestId';
    assert.is(isRequestNumber(number), isAboutRequest, name);
  }
});

test('a message of a request that cannot be decoded has an error that names the request', () => {
  const body = Buffer.from('0000000800', 'hex');
  const requestIdOf = (type: number) => {
    try {
      return decodeMessage({ type, body });
    } catch (error) {
      return error instanceof RaftreeError ? error.info.requestId : error;
    }
  };
  for (const type of [16, 28, 31, 128, 200, 255]) assert.is(requestIdOf(type), 8, `${type}`);
  for (const type of [2, 15, 32, 46, 99, 127, 256, 9999]) assert.is(requestIdOf(type), 0, `${type}`);
});

test('a body cut at any length, or one byte longer, is malformed, and the error says where', () => {
  for (const name of NAMES) {
    const { type, body } = received(encodeMessage(SAMPLES[name]));
    for (let length = 0; length < body.length; length++) {
      try {
        decodeMessage({ type, body: body.subarray(0, length) });
        assert.unreachable(`${name} cut at ${length}`);
      } catch (error) {
        assert.is(errorCode(error), 'MALFORMED_MESSAGE');
        assert.match(String(error), `${name}.`);
      }
    }
    assert.is(
      codeThrown(() => decodeMessage({ type, body: Buffer.concat([body, Buffer.from([0])]) })),
      'MALFORMED_MESSAGE',
    );
  }
});

test('the error names message, element and field', () => {
  const { type, body } = received(encodeMessage(SAMPLES.write));
  try {
    decodeMessage({ type, body: body.subarray(0, body.length - 4) });
    assert.unreachable();
  } catch (error) {
    assert.match(String(error), 'write.operations[1].conditionVersion: 8 bytes needed, 5 left');
  }
});

test('an unknown type, enumeration value, boolean, number and text are refused', () => {
  assert.is(
    codeThrown(() => decodeMessage({ type: 9999, body: Buffer.alloc(4) })),
    'UNKNOWN_MESSAGE',
  );
  const refused = (type: number, hex: string, reason: string) => {
    try {
      decodeMessage({ type, body: Buffer.from(hex, 'hex') });
      assert.unreachable(hex);
    } catch (error) {
      assert.is(errorCode(error), 'MALFORMED_MESSAGE');
      assert.match(String(error), reason);
    }
  };
  refused(18, '00000001000000000500000000', 'get.consistency: unknown value 5');
  refused(33, '00000001000000000000000202', 'voteReply.preVote: 2 where 0 or 1 belongs');
  refused(37, '00000001002000000000000000000000000000', 'heartbeatReply.term: a number above 2^53-1');
  refused(1, '0000000101000000036162', 'hello.clusterId: 3 bytes needed, 2 left');
  refused(1, '000000010100000002c328', 'hello.clusterId: bytes that are not UTF-8');
  refused(34, `${'00'.repeat(44)}ffffffff`, 'append.entries: 4294967295 elements claimed in 0 bytes');
});

test('the largest numbers pass', () => {
  const message = { ...SAMPLES.heartbeat, group: 0xffff_ffff, term: Number.MAX_SAFE_INTEGER };
  assert.equal(decodeMessage(received(encodeMessage(message))), message);
});

test('what a field cannot hold is not encoded, and the next message is sound', () => {
  const bad = (change: object) => codeThrown(() => encodeMessage({ ...SAMPLES.heartbeat, ...change }));
  for (const group of [-1, 2 ** 32, 1.5, Number.NaN]) assert.is(bad({ group }), 'UNENCODABLE');
  for (const term of [-1, 2 ** 53, 1.5, Number.NaN]) assert.is(bad({ term }), 'UNENCODABLE');
  assert.is(
    codeThrown(() => encodeMessage({ ...SAMPLES.hello, clusterId: 'half \ud800' })),
    'UNENCODABLE',
  );
  assert.equal(decodeMessage(received(encodeMessage(SAMPLES.write))), SAMPLES.write);
});

test('a large value is sent by reference, a small one is copied', () => {
  const large = Buffer.alloc(100_000, 'x');
  const frame = encodeMessage({ type: 'getReply', requestId: 1, found: true, version: 1, value: large });
  assert.ok(frame.body.some((chunk) => chunk === large));
  assert.equal(decodeMessage(received(frame)), {
    type: 'getReply',
    requestId: 1,
    found: true,
    version: 1,
    value: large,
  });
  const small = Buffer.from('abc');
  const copied = encodeMessage({ type: 'getReply', requestId: 1, found: true, version: 1, value: small });
  small.fill('z');
  assert.match(Buffer.concat(copied.body).toString('latin1'), 'abc');
});

test('messages of every size around the block size keep their bytes', () => {
  const random = new SeededRandom(11);
  const sent = [];
  for (let i = 0; i < 400; i++) {
    const entries = Array.from({ length: random.between(0, 40) }, (_, n) => ({
      term: n,
      kind: random.pick(['noop', 'command', 'configuration'] as const),
      body: random.bytes(random.pick([0, 1, 100, 2000, 8191, 8192])),
    }));
    const message = { ...SAMPLES.append, commitIndex: i, entries };
    sent.push({ message, frame: encodeMessage(message) });
  }
  // Only now: a later message must not have written over an earlier one.
  for (const { message, frame } of sent) assert.equal(decodeMessage(received(frame)), message);
});

test('random and damaged bodies give a message or MALFORMED_MESSAGE, never anything else', () => {
  const random = new SeededRandom(12);
  let decoded = 0;
  for (let i = 0; i < 20_000; i++) {
    const name = random.pick(NAMES);
    const { type, body } = received(encodeMessage(SAMPLES[name]));
    const damaged = random.chance(0.5) ? random.bytes(random.between(0, 80)) : Buffer.from(body);
    if (damaged.length > 0) damaged[random.between(0, damaged.length - 1)] = random.between(0, 255);
    const code = codeThrown(() => {
      const message = decodeMessage({ type, body: damaged });
      decoded++;
      assert.equal(received(encodeMessage(message)).body, damaged);
    });
    assert.ok(
      code === undefined || code === 'MALFORMED_MESSAGE',
      `${name} ${damaged.toString('hex')}: ${code}`,
    );
  }
  assert.ok(decoded > 1000);
});

test.run();
