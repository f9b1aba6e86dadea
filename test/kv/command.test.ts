/** The bytes of commands in the Raft log. They are for ever: a change here makes old logs unreadable. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type Command,
  commandOf,
  encodeExpiry,
  encodeOpenSession,
  encodeWrite,
  isCommandEntry,
  writeCommandBytes,
} from '../../src/kv/command.js';
import { MAX_VALUE_BYTES } from '../../src/kv/limits.js';
import type { Life, Write } from '../../src/kv/requests.js';
import { encodeStringOperation } from '../../src/kv/string-operation.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { AT_0, operation, write } from './kv-lab.js';

const MAX_U53 = 2 ** 53 - 1;

interface Fixture {
  readonly what: string;
  readonly maxValueBytes: number;
  readonly write: Write;
  readonly hex: string;
}

/** Entries as the first version wrote them, when an entry held the bytes of the client's frame. */
const WRITES: readonly Fixture[] = [
  {
    what: 'a put without a session',
    maxValueBytes: 1_048_576,
    write: write([operation('put', 'key', 'value')]),
    hex:
      '01000010000000000000000000000000000000000000000000000000000000000101000000036b65790000000576616c7565' +
      '01000000000000000000000000',
  },
  {
    what: 'every action and condition, in a session',
    maxValueBytes: 4096,
    write: write(
      [
        operation('put', 'a', '1', { condition: 'absent' }),
        operation('append', 'a', '2', { condition: 'exists' }),
        operation('delete', 'b', '', { condition: 'valueIs', conditionValue: Buffer.from('x') }),
        operation('check', 'c', '', { condition: 'versionIs', conditionVersion: 258 }),
      ],
      { id: 5, sequence: 3, floor: 2 },
    ),
    hex:
      '010010000000000000000000050000000000000003000000000000000200000004' +
      '010000000161000000013103000000000000000000000000' +
      '020000000161000000013202000000000000000000000000' +
      '03000000016200000000040000000178' +
      '0000000000000000' +
      '04000000016300000000050000000000000000' +
      '00000102',
  },
  {
    what: 'bytes that are no text, and the largest numbers',
    maxValueBytes: 64 * 1024 * 1024,
    write: write([{ ...operation('put', ''), key: Buffer.of(0, 255, 128), value: Buffer.of(255, 0) }], {
      id: MAX_U53,
      sequence: 2 ** 32 + 7,
      floor: 2 ** 32,
    }),
    hex:
      '0100000004001fffffffffffff0000000100000007000000010000000000000001010000000300ff8000000002ff00' +
      '01000000000000000000000000',
  },
  {
    what: 'no operations',
    maxValueBytes: 1,
    write: write([]),
    hex: '010100000000000000000000000000000000000000000000000000000000000000',
  },
];

const timed = (change: Life['change'], ttlMs: number, when: Life['when'] = 'always') => ({
  life: { change, ttlMs, when },
});
const TIMED_WRITE = write(
  [
    operation('put', 'a', '1', timed('set', 1000)),
    operation('append', 'a', '2'),
    operation('put', 'b', '3', timed('keep', 0)),
    operation('expire', 'a', '', timed('set', 2 ** 48, 'ifSooner')),
    operation('persist', 'b'),
    operation('increment', 'n', '-7', timed('setIfNew', 5)),
  ],
  { id: 5, sequence: 3, floor: 2 },
);
const STAMP_MS = 2 ** 32 + 5;
const CLOCK = { nowMs: () => STAMP_MS + 0.7 };
const TIMED_HEX =
  '0300100000000000000000000500000000000000030000000000000002000000010000000500000006' +
  '0100000001610000000131010000000000000000000000000100000000000003e8010200000001610000000132010000' +
  '000000000000000000000000000000000000000101000000016200000001330100000000000000000000000002000000' +
  '000000000001050000000161000000000100000000000000000000000001000100000000000005060000000162000000' +
  '00010000000000000000000000000000000000000000000107000000016e000000022d37010000000000000000000000' +
  '0003000000000000000501';
/** As those of TIMED_WRITE and a plain one, with `after`. */
const ORDERED_WRITE = write([operation('put', 'a', '1')], {
  id: 5,
  sequence: 2 ** 40,
  floor: 2,
  after: 2 ** 33 + 3,
});
const ORDERED_HEX =
  '05001000000000000000000005000001000000000000000000000000020000000200000003' +
  '0000000101000000016100000001310100000000' +
  '0000000000000000';
const ORDERED_TIMED_WRITE = {
  ...TIMED_WRITE,
  session: { id: 5, sequence: 3, acknowledgedThrough: 2, after: 1 },
};
const ORDERED_TIMED_HEX = `06${TIMED_HEX.slice(2, 58)}0000000000000001${TIMED_HEX.slice(58)}`;
const EXPIRED_KEYS = [
  { key: Buffer.from('a'), deadlineMs: 1000 },
  { key: Buffer.from('bc'), deadlineMs: 2 ** 33 },
];
const EXPIRY_HEX = '04020000000000000100000005000000016100000000000003e80000000262630000000200000000';
const OPENED_HEX = '07070000000010000000000102';
const STAMP_HEX = '04000000000000000100000005';

function commandOfFixture({ maxValueBytes, write: { session, operations } }: Fixture): Command {
  return { type: 'write', maxValueBytes, session, operations: operations as [] };
}

test('commands have the bytes that they had in the first version, and are read from them', () => {
  for (const fixture of WRITES) {
    const body = Buffer.from(fixture.hex, 'hex');
    assert.is(
      encodeWrite(fixture.maxValueBytes, fixture.write, AT_0).toString('hex'),
      fixture.hex,
      fixture.what,
    );
    assert.is(writeCommandBytes(fixture.write), body.length, fixture.what);
    assert.equal(commandOf(body), commandOfFixture(fixture), fixture.what);
    assert.ok(isCommandEntry(body), fixture.what);
  }
  assert.is(encodeOpenSession(7).toString('hex'), '0207000000');
  assert.equal(commandOf(Buffer.from('0207000000', 'hex')), { type: 'openSession', window: 7 });
  const id = 2 ** 52 + 258;
  assert.is(encodeOpenSession(7, id).toString('hex'), OPENED_HEX);
  assert.equal(commandOf(Buffer.from(OPENED_HEX, 'hex')), { type: 'openSession', window: 7, id });
  assert.is(commandOf(Buffer.from(OPENED_HEX.replace('0010', '0000'), 'hex')).type, 'void', 'not drawn');
  assert.throws(() => encodeOpenSession(7, 258), 'no id of a session');
});

test('commands with a stamp have the bytes that they had in their first version, and are read from them', () => {
  const body = Buffer.from(TIMED_HEX, 'hex');
  assert.is(encodeWrite(4096, TIMED_WRITE, CLOCK).toString('hex'), TIMED_HEX);
  assert.is(writeCommandBytes(TIMED_WRITE), body.length);
  const { session, operations } = TIMED_WRITE;
  assert.equal(commandOf(body), {
    ...{ type: 'write', maxValueBytes: 4096, session, stampMs: STAMP_MS, operations },
  });
  for (const [keys, hex] of [
    [EXPIRED_KEYS, EXPIRY_HEX],
    [[], STAMP_HEX],
  ] as const) {
    assert.is(encodeExpiry(keys, CLOCK).toString('hex'), hex);
    assert.equal(commandOf(Buffer.from(hex, 'hex')), { type: 'expiry', stampMs: STAMP_MS, keys: [...keys] });
  }
});

test('commands that follow another have the bytes that they had in their first version', () => {
  for (const [command, hex] of [
    [ORDERED_WRITE, ORDERED_HEX],
    [ORDERED_TIMED_WRITE, ORDERED_TIMED_HEX],
  ] as const) {
    const body = Buffer.from(hex, 'hex');
    assert.is(encodeWrite(4096, command, CLOCK).toString('hex'), hex);
    assert.is(writeCommandBytes(command), body.length);
    const { session, operations } = command;
    const stamp = command === ORDERED_TIMED_WRITE ? { stampMs: STAMP_MS } : {};
    assert.equal(commandOf(body), { type: 'write', maxValueBytes: 4096, session, ...stamp, operations });
    assert.ok(isCommandEntry(body));
  }
});

test('what needs no time is written as ever; a life above the limit is refused', () => {
  const plain = write([operation('put', 'a', '1', { life: undefined })]);
  assert.is(encodeWrite(1, plain, CLOCK)[0], 1);
  const tooLong = write([operation('put', 'a', '1', timed('set', 2 ** 48 + 1))]);
  assert.throws(() => encodeWrite(1, tooLong, CLOCK), /at most/);
  const body = Buffer.from(TIMED_HEX, 'hex');
  body[0] = 1;
  assert.is(commandOf(body).type, 'void');
});

test('the first version kept the numbers of a write without a session: they mean nothing', () => {
  const body = Buffer.from(WRITES[0]?.hex ?? '', 'hex');
  body.fill(7, 16, 21).fill(7, 24, 29);
  assert.equal(commandOf(body), commandOfFixture(WRITES[0] as Fixture));
});

test('a limit of values above what any node reads counts as that', () => {
  const command = commandOf(encodeWrite(0xffff_ffff, write([operation('put', 'a', 'b')]), AT_0));
  assert.ok(command.type === 'write' && command.maxValueBytes === 64 * 1024 * 1024);
});

test('a string operation may hold the largest value, or several', () => {
  const value = Buffer.alloc(MAX_VALUE_BYTES);
  for (const given of [value, Buffer.concat([value, Buffer.of(1)])]) {
    const large = operation('modify', 'k', '');
    const command = { ...large, value: encodeStringOperation('append', given) };
    assert.is(commandOf(encodeWrite(MAX_VALUE_BYTES, write([command]), AT_0)).type, 'write');
  }
  const plain = { ...operation('put', 'k', ''), value: Buffer.alloc(MAX_VALUE_BYTES + 1) };
  assert.is(commandOf(encodeWrite(MAX_VALUE_BYTES, write([plain]), AT_0)).type, 'void');
});

test('an unknown kind is void: nothing is guessed, and the reason names it', () => {
  for (const kind of [0, 8, 255]) {
    const body = Buffer.from(WRITES[0]?.hex ?? '', 'hex');
    body[0] = kind;
    const command = commandOf(body);
    assert.ok(command.type === 'void' && command.reason.includes(`kind ${kind}`));
    assert.not(isCommandEntry(body));
  }
});

const MUTATED = [
  ...WRITES.map(({ hex }) => hex),
  TIMED_HEX,
  TIMED_HEX,
  EXPIRY_HEX,
  STAMP_HEX,
  ORDERED_HEX,
  ORDERED_TIMED_HEX,
  OPENED_HEX,
];

/** Cut, lengthened, with other bytes and other lengths; valid ones among them. */
function mutated(random: SeededRandom): Buffer {
  let body = Buffer.from(random.pick(MUTATED), 'hex');
  for (let changes = random.between(0, 3); changes > 0; changes--) {
    const at = random.between(0, Math.max(0, body.length - 4));
    const how = random.between(0, 4);
    if (how === 0 && body.length > 0) body[at] = random.between(0, 255);
    else if (how === 1) body = body.subarray(0, at);
    else if (how === 2) body = Buffer.concat([body, random.bytes(random.between(1, 4))]);
    else if (how === 3 && body.length >= 4) body.writeUInt32BE(random.pick([0, 1, 2, 5, 0xffff_ffff]), at);
    else body = Buffer.concat([body.subarray(0, at), body.subarray(at + 1)]);
  }
  return body;
}

test('whatever the bytes are, they are a command or void, and both ways to look at them agree', () => {
  const random = new SeededRandom(31);
  const seen = { write: 0, void: 0, openSession: 0, expiry: 0 };
  for (let i = 0; i < 20_000; i++) {
    const body = mutated(random);
    const command = commandOf(body);
    seen[command.type]++;
    assert.is(isCommandEntry(body), command.type !== 'void', body.toString('hex'));
    if (command.type === 'expiry') {
      const again = encodeExpiry(command.keys, { nowMs: () => command.stampMs });
      assert.equal(commandOf(again), command);
    }
    if (command.type !== 'write') continue;
    const again = encodeWrite(command.maxValueBytes, command, { nowMs: () => command.stampMs ?? 0 });
    assert.equal(commandOf(again), command, 'what is read can be written');
  }
  assert.ok(seen.write > 2000 && seen.void > 2000 && seen.expiry > 500, JSON.stringify(seen));
});

test.run();
