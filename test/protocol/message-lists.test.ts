/** Lists of messages: when there is one, what is in it, and that nothing passes in a list that would not pass alone. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { encodeMessage } from '../../src/protocol/codec.js';
import { receivedMessage } from '../../src/protocol/message-handlers.js';
import { MessageLists } from '../../src/protocol/message-lists.js';
import { MESSAGES, type OutboundMessage, type OutboundOf } from '../../src/protocol/messages.js';
import { benchOf } from '../net/support.js';
import { SAMPLES } from './samples.js';

type List = OutboundOf<'messages'>['messages'];

function lists() {
  const lane = { isWaiting: false };
  const written: OutboundMessage[] = [];
  const bench = benchOf([
    { write: (_context, message) => written.push(message as OutboundMessage) },
    new MessageLists(lane),
  ]);
  const hear = (message: OutboundMessage) => {
    const { type, body } = frameOf(message);
    bench.channel.pipeline.head.read(receivedMessage({ type, body }));
  };
  /** What was written since the last call, each list with the types in it. */
  const taken = () =>
    written.splice(0).map((message) => {
      const { type } = message;
      const isList = type === 'messages' || type === 'appends';
      return isList ? [type, ...message.messages.map(({ number }) => number)] : type;
    });
  return { ...bench, lane, written, hear, taken };
}

function frameOf(message: OutboundMessage) {
  const { type, body } = encodeMessage(message);
  return { type, body: Buffer.concat(body) };
}

const of = (message: OutboundMessage, group: number) => ({ ...message, group }) as OutboundMessage;
const listed = (...messages: readonly OutboundMessage[]): List =>
  messages.map((message) => {
    const { type: number, body } = frameOf(message);
    return { number, body };
  });

function append(group: number, sizeBytes: number): OutboundOf<'append'> {
  return { ...SAMPLES.append, group, entries: [{ term: 4, kind: 'noop', body: Buffer.alloc(sizeBytes, 7) }] };
}

const {
  append: A,
  heartbeat: H,
  heartbeatReply: R,
} = {
  append: MESSAGES.append.number,
  heartbeat: MESSAGES.heartbeat.number,
  heartbeatReply: MESSAGES.heartbeatReply.number,
};

test('one group alone: each message goes at once, as it is', () => {
  const { channel, taken } = lists();
  for (const message of [SAMPLES.heartbeat, SAMPLES.append, SAMPLES.alive, SAMPLES.heartbeat])
    channel.write(message);
  assert.equal(taken(), ['heartbeat', 'append', 'alive', 'heartbeat']);
});

test('several groups: what they say in a turn goes in one list, and their appends in another', () => {
  const { channel, taken, time } = lists();
  channel.write(of(SAMPLES.heartbeat, 1));
  assert.equal(taken(), ['heartbeat'], 'the first group was alone');
  for (const group of [2, 1, 3]) {
    channel.write(of(SAMPLES.heartbeat, group));
    channel.write(append(group, 10));
    channel.write(of(SAMPLES.heartbeatReply, group));
  }
  assert.equal(taken(), []);
  time.endTurn();
  assert.equal(taken(), [
    ['appends', A, A, A],
    ['messages', H, R, H, R, H, R],
  ]);
  time.endTurn();
  channel.write(of(SAMPLES.heartbeat, 1));
  time.endTurn();
  assert.equal(taken(), [['messages', H]], 'each turn has a list of its own');
});

test('the other side reads every message of a list as if its frame had come alone', () => {
  const one = lists();
  const other = lists();
  const sent = [1, 2, 3].flatMap((group) => [
    append(group, 20 * group),
    of(SAMPLES.requestVote, group),
    of(SAMPLES.quietOffer, group),
    of(SAMPLES.appendReply, group),
  ]);
  const plain = sent.map((message) => receivedMessage(frameOf(message)));
  one.channel.write(of(SAMPLES.heartbeat, 9));
  one.written.length = 0;
  for (const message of sent) one.channel.write(message);
  one.time.endTurn();
  assert.is(one.written.length, 2);
  for (const message of one.written) other.hear(message);
  const sorted = (messages: readonly unknown[]) => messages.map((message) => JSON.stringify(message)).sort();
  assert.equal(sorted(other.recorder.messages), sorted(plain));
});

test('what is long, or of no group, goes at once, behind what was collected', () => {
  const { channel, taken, time } = lists();
  channel.write(of(SAMPLES.heartbeat, 1));
  taken();
  for (const alone of [append(2, 5000), SAMPLES.alive, of(SAMPLES.snapshotChunk, 2), SAMPLES.birth]) {
    channel.write(append(2, 10));
    channel.write(of(SAMPLES.heartbeat, 3));
    channel.write(alone);
    assert.equal(taken(), [['appends', A], ['messages', H], alone.type]);
  }
  time.endTurn();
  assert.equal(taken(), []);
});

test('appends wait in the lane one by one, where none is queued twice', () => {
  const { channel, taken, time, lane } = lists();
  channel.write(of(SAMPLES.heartbeat, 1));
  taken();
  lane.isWaiting = true;
  channel.write(append(2, 10));
  channel.write(of(SAMPLES.heartbeat, 2));
  time.endTurn();
  assert.equal(taken(), ['append', ['messages', H]]);
});

test('a full list does not wait for the end of the turn', () => {
  const { channel, written, time } = lists();
  for (let group = 1; group <= 5000; group++) channel.write(of(SAMPLES.heartbeat, group));
  time.endTurn();
  const [, ...sent] = written;
  assert.ok(sent.length > 2 && sent.length < 10, `${sent.length}`);
  for (const message of sent) assert.ok(frameOf(message).body.length < 64 * 1024);
});

test('a message that cannot be encoded is told to whoever sends it, and the others of its turn arrive', () => {
  const { channel, taken, time } = lists();
  channel.write(of(SAMPLES.heartbeat, 1));
  taken();
  channel.write(of(SAMPLES.heartbeat, 2));
  try {
    channel.write({ ...SAMPLES.heartbeat, group: 3, term: -1 });
    assert.unreachable();
  } catch (error) {
    assert.is(errorCode(error), 'UNENCODABLE');
  }
  time.endTurn();
  assert.equal(taken(), [['messages', H]]);
});

test('nothing comes in a list that does not belong there, and nothing behind it counts', async () => {
  const [fine] = listed(of(SAMPLES.heartbeat, 1));
  if (!fine) throw new Error('it is there');
  const { number } = fine;
  const wrong: readonly (readonly ['messages' | 'appends', List])[] = [
    ...Object.values(MESSAGES)
      .map((message) => message.number)
      .filter((other) => ![32, 33, 35, 36, 37, 38, 39, 40, 47, 48].includes(other))
      .map((other) => ['messages', [{ number: other, body: fine.body }]] as const),
    ['messages', [{ number: 9999, body: fine.body }]],
    ['messages', listed({ type: 'messages', messages: [] })],
    ['messages', [{ number, body: fine.body.subarray(1) }]],
    ['messages', [{ number, body: Buffer.alloc(0) }]],
    ['appends', [fine]],
    ['appends', listed(append(1, 4096))],
    ['messages', Array.from({ length: 3073 }, () => fine)],
  ];
  for (const [type, messages] of wrong) {
    const { hear, channel, socket, recorder } = lists();
    if (type === 'messages' && messages.length < 2) hear({ type, messages: [fine, ...messages, fine] });
    else hear({ type, messages });
    const shown = `${type} ${messages[0]?.number}`;
    assert.ok(recorder.messages.length <= 1, shown);
    assert.ok(socket.destroyed, shown);
    socket.closed();
    assert.is(errorCode(await channel.closed), 'MALFORMED_MESSAGE', shown);
  }
});

test('whoever refuses a message of a list gets none behind it', () => {
  const { channel, recorder } = lists();
  let reads = 0;
  recorder.read = () => {
    if (++reads === 2) channel.abort();
  };
  const beats = [1, 2, 3, 4].map((group) => of(SAMPLES.heartbeat, group));
  channel.pipeline.head.read(receivedMessage(frameOf({ type: 'messages', messages: listed(...beats) })));
  assert.is(reads, 2);
});

test('what was collected is gone with the connection', () => {
  const { channel, taken, time } = lists();
  channel.write(of(SAMPLES.heartbeat, 1));
  channel.write(of(SAMPLES.heartbeat, 2));
  taken();
  channel.abort();
  time.endTurn();
  assert.equal(taken(), []);
});

test.run();
