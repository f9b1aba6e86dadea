/** Fragments: what passes what, what is put together again, and what may be on the way. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { BulkLane, MAX_FRAGMENT_BYTES, MAX_PEER_MESSAGE_BYTES } from '../../src/protocol/bulk-lane.js';
import { MESSAGES, type OutboundMessage, type OutboundOf } from '../../src/protocol/messages.js';
import { benchOf } from '../net/support.js';
import { SAMPLES } from './samples.js';

const KIB = 1024;
const TARGET_MS = 100;

function lane() {
  const written: OutboundMessage[] = [];
  let nowMs = 0;
  const clock = { nowMs: () => nowMs, wallMs: () => nowMs };
  const bench = benchOf([
    { write: (_context, message) => written.push(message as OutboundMessage) },
    new BulkLane({ clock, targetDelayMs: TARGET_MS }),
  ]);
  const fragments = () =>
    written.filter((message) => message.type === 'fragment') as OutboundOf<'fragment'>[];
  const sentBytes = () => fragments().reduce((sum, { bytes }) => sum + bytes.length, 0);
  const hear = (message: OutboundMessage) => bench.channel.pipeline.head.read(message);
  let toldBytes = 0;
  /** The other side has received everything, this long after it was sent. Returns how much more then went. */
  const arrive = (afterMs: number) => {
    nowMs += afterMs;
    const before = sentBytes();
    toldBytes = before;
    hear({ type: 'fragmentsReceived', totalBytes: toldBytes });
    return sentBytes() - before;
  };
  return { ...bench, written, fragments, sentBytes, hear, arrive };
}

function append(previousIndex: number, sizeBytes: number): OutboundOf<'append'> {
  const body = Buffer.alloc(sizeBytes, `${previousIndex} and so on`);
  return { ...SAMPLES.append, previousIndex, entries: [{ term: 4, kind: 'noop', body }] };
}

test('a heartbeat passes a large append, and small appends keep their place behind it', () => {
  const { channel, written, arrive, fragments } = lane();
  channel.write(append(1, 1024 * KIB));
  channel.write(append(2, 10));
  channel.write(SAMPLES.heartbeat);
  assert.is(written.at(-1)?.type, 'heartbeat');
  assert.ok(fragments().every(({ bytes }) => bytes.length <= MAX_FRAGMENT_BYTES));
  const whole = () => fragments().filter(({ remaining }) => remaining === 0).length;
  assert.is(whole(), 0);
  while (arrive(1) > 0) {}
  assert.is(whole(), 2);
  assert.ok((fragments().at(-1)?.bytes.length ?? 0) < 100, 'the small one came last');
});

test('what one lane takes apart the other puts together, both ways at once', () => {
  const one = lane();
  const other = lane();
  const messages = [append(1, 300 * KIB), SAMPLES.snapshotOffer, append(2, 0), SAMPLES.snapshotChunk];
  for (const side of [one, other]) for (const message of messages) side.channel.write(message);
  for (let turn = 0; one.written.length + other.written.length > 0; turn++) {
    assert.ok(turn < 100);
    for (const message of one.written.splice(0)) other.hear(message);
    for (const message of other.written.splice(0)) one.hear(message);
  }
  for (const { recorder } of [one, other]) {
    const types = recorder.messages.map((message) => (message as { type: string }).type);
    assert.equal(types, ['append', 'snapshotOffer', 'append', 'snapshotChunk']);
    const [first] = recorder.messages as [{ entries: { body: Buffer }[] }];
    assert.ok(first.entries[0]?.body.equals(append(1, 300 * KIB).entries[0]?.body as Buffer));
  }
});

test('the window grows while fragments arrive in time, is halved when they are late, and never closes', () => {
  const { channel, sentBytes, arrive } = lane();
  for (let i = 0; i < 40; i++) channel.write(append(i, 1000 * KIB));
  const first = sentBytes();
  assert.ok(first <= 5 * MAX_FRAGMENT_BYTES, `${first}`);
  let most = 0;
  for (let i = 0; i < 40; i++) most = Math.max(most, arrive(TARGET_MS / 2));
  assert.ok(most > 2 * first && most <= 1024 * KIB, `${most}`);
  let least = most;
  for (let i = 0; i < 20; i++) least = Math.min(least, arrive(TARGET_MS * 3));
  assert.ok(least > 0 && least <= 64 * KIB, `${least}`);
});

test('a window that is halved and grows again, many times, still sends whole bytes', () => {
  const { channel, arrive, fragments } = lane();
  const body = Buffer.alloc(30 * KIB, 'entry');
  const entries = Array.from({ length: 100 }, () => ({ term: 4, kind: 'noop', body }) as const);
  const ended = () => fragments().filter(({ remaining }) => remaining === 0).length;
  let messages = 0;
  for (let halved = 0; halved < 14; halved++) {
    for (let grown = 0; grown < 20; grown++) {
      while (messages - ended() < 2) channel.write({ ...SAMPLES.append, previousIndex: ++messages, entries });
      arrive(1);
    }
    arrive(TARGET_MS * 3);
  }
  while (arrive(1) > 0) {}
  assert.ok(messages > 20);
  assert.is(ended(), messages);
});

test('a message that still waits is not queued again, one with more entries is', () => {
  const { channel, fragments, arrive } = lane();
  channel.write(append(1, 1000 * KIB));
  for (let i = 0; i < 3; i++) channel.write(append(2, 500 * KIB));
  channel.write({ ...append(2, 10), entries: [...append(2, 10).entries, ...append(3, 10).entries] });
  while (arrive(1) > 0) {}
  assert.is(fragments().filter(({ remaining }) => remaining === 0).length, 3);
});

test('what has arrived is reported with a control message, or alone when the smallest window is full', () => {
  const { channel, written, hear } = lane();
  const of = MESSAGES.append.number;
  const reports = () =>
    written.splice(0).map((message) => [message.type, Reflect.get(message, 'totalBytes')]);
  hear({ type: 'fragment', of, remaining: 48 * KIB, bytes: Buffer.alloc(16 * KIB) });
  assert.equal(reports(), []);
  channel.write(SAMPLES.appendReply);
  assert.equal(reports(), [
    ['appendReply', undefined],
    ['fragmentsReceived', 16 * KIB],
  ]);
  channel.write(SAMPLES.appendReply);
  assert.equal(reports(), [['appendReply', undefined]]);
  hear({ type: 'fragment', of, remaining: 32 * KIB, bytes: Buffer.alloc(16 * KIB) });
  assert.equal(reports(), []);
  hear({ type: 'fragment', of, remaining: 16 * KIB, bytes: Buffer.alloc(16 * KIB) });
  assert.equal(reports(), [['fragmentsReceived', 48 * KIB]]);
});

test('what waits is bounded', () => {
  const { channel, sentBytes, arrive } = lane();
  for (let i = 0; i < 100; i++) channel.write(append(i, 1000 * KIB));
  while (arrive(1) > 0) {}
  assert.ok(sentBytes() > 60_000 * KIB && sentBytes() < 66_000 * KIB, `${sentBytes()}`);
});

test('fragments that do not fit together end the connection', async () => {
  const of = MESSAGES.append.number;
  const fragment = (remaining: number, what = of, sizeBytes = 16 * KIB) =>
    ({ type: 'fragment', of: what, remaining, bytes: Buffer.alloc(sizeBytes) }) as const;
  for (const [expected, ...heard] of [
    ['MALFORMED_MESSAGE', fragment(20), fragment(20)],
    ['MALFORMED_MESSAGE', fragment(20), fragment(10, MESSAGES.snapshotChunk.number)],
    ['MALFORMED_MESSAGE', fragment(20), fragment(0)],
    ['MALFORMED_MESSAGE', fragment(0, MESSAGES.heartbeat.number)],
    ['MALFORMED_MESSAGE', fragment(0, MESSAGES.fragment.number)],
    // Each is kept: of next to nothing there could be very many.
    ['MALFORMED_MESSAGE', fragment(20, of, 0)],
    ['MALFORMED_MESSAGE', fragment(100_000, of, 1000)],
    ['MALFORMED_MESSAGE', { type: 'fragmentsReceived', totalBytes: 1 }],
    ['FRAME_TOO_LARGE', fragment(MAX_PEER_MESSAGE_BYTES)],
  ] as const) {
    const { hear, channel, socket } = lane();
    for (const message of heard) hear(message);
    assert.ok(socket.destroyed, JSON.stringify(heard));
    socket.closed();
    assert.is(errorCode(await channel.closed), expected);
  }
});

test('L4: a message that cannot be encoded is told to whoever sends it, and leaves the lane as it was', () => {
  const { channel, written, fragments } = lane();
  const code = (message: OutboundMessage) => {
    try {
      channel.write(message);
    } catch (error) {
      return errorCode(error);
    }
    return undefined;
  };
  assert.is(code({ ...append(1, 10), term: -1 }), 'UNENCODABLE');
  const part = Buffer.alloc(MAX_PEER_MESSAGE_BYTES / 4);
  const entries = [1, 2, 3, 4].map(() => ({ term: 1, kind: 'noop' as const, body: part }));
  assert.is(code({ ...append(1, 10), entries }), 'MESSAGE_TOO_LARGE');
  assert.equal(written, []);
  assert.is(code(append(1, 10)), undefined);
  assert.is(fragments().length, 1);
});

test.run();
