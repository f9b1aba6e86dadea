import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseAddress } from '../../src/env/env.js';
import { realEnv } from '../../src/env/real/real-env.js';
import { AnswerGate } from '../../src/net/answer-gate.js';
import { BufferBudget } from '../../src/net/buffer-budget.js';
import { Channel } from '../../src/net/channel.js';
import { ChannelListener } from '../../src/net/channel-listener.js';
import { connectChannel } from '../../src/net/connect.js';
import { Turns } from '../../src/net/turns.js';
import { type Bench, benchOf, ManualSocket, ManualTime } from './support.js';

const LIMITS = { highWaterBytes: 100_000, lowWaterBytes: 10_000, maxBufferedBytes: 300_000 };
const ANSWER_BYTES = 40_000;
const MIB = 1024 * 1024;

const answerOf = (message: Buffer) => ({ message, sizeBytes: message.length });

/** A gate on a channel, whose answers are made of so many bytes. */
function gateBench(
  bytesPerTurn = 1_000_000,
): Bench & { gate: AnswerGate; made: number[]; add: (bytes?: number) => void } {
  let gate: AnswerGate | undefined;
  const bench = benchOf([{ writabilityChanged: () => gate?.writable() }], LIMITS);
  const turns = new Turns(bench.time.env, { maxBytes: bytesPerTurn, maxMs: 1000 });
  const opened = new AnswerGate(bench.channel, turns);
  gate = opened;
  const made: number[] = [];
  let added = 0;
  const add = (bytes = ANSWER_BYTES) => {
    const number = ++added;
    opened.run(
      () => answerOf(Buffer.alloc(bytes)),
      () => made.push(number),
    );
  };
  return { ...bench, gate: opened, made, add };
}

test('answers are made in order while the channel is writable', () => {
  const { gate, made, add, socket } = gateBench();
  socket.takes = false;
  for (let i = 0; i < 20; i++) add();
  assert.equal([made, gate.waiting], [[1, 2, 3], 17]);
  socket.drain();
  assert.equal([made, gate.waiting], [[1, 2, 3, 4, 5, 6], 14]);
});

test('a reader that does not read gets the high water mark and one answer, and is not cut off for what it asked', () => {
  const { add, socket, time, channel } = gateBench();
  socket.takes = false;
  for (let i = 0; i < 50; i++) add();
  time.endTurn();
  assert.is(channel.isOpen, true);
  assert.ok(
    channel.unsentBytes <= LIMITS.highWaterBytes + ANSWER_BYTES,
    `${channel.unsentBytes} bytes unsent`,
  );
});

test('an answer above the high water mark is still given, alone', () => {
  const { made, add, channel, socket } = gateBench();
  socket.takes = false;
  add(250_000);
  add();
  assert.equal(made, [1]);
  assert.is(channel.isOpen, true);
});

test('one turn makes so many bytes and no more; the next goes on', () => {
  const { made, add, time } = gateBench(100_000);
  for (let i = 0; i < 5; i++) add();
  assert.equal(made, [1, 2, 3]);
  time.endTurn();
  assert.equal(made, [1, 2, 3, 4, 5]);
});

test('a turn in which answers took long makes no more of them', () => {
  const time = new ManualTime();
  const turns = new Turns(time.env, { maxBytes: MIB, maxMs: 5 });
  const made: number[] = [];
  for (let i = 1; i <= 6; i++) {
    turns.run(() => {
      time.nowMs += 2;
      return made.push(i);
    }, 'light');
  }
  assert.equal(made, [1, 2, 3]);
  time.endTurn();
  assert.equal(made, [1, 2, 3, 4, 5, 6]);
});

test('in one turn each channel gets one answer after the other', () => {
  const time = new ManualTime();
  const turns = new Turns(time.env, { maxBytes: 1, maxMs: 1000 });
  const order: string[] = [];
  const gates = ['a', 'b'].map((name) => {
    const { channel } = benchOf([], LIMITS);
    return { name, gate: new AnswerGate(channel, turns) };
  });
  for (const { name, gate } of gates)
    for (let i = 0; i < 3; i++)
      gate.run(
        () => answerOf(Buffer.from(name)),
        () => order.push(name),
      );
  for (let i = 0; i < 8; i++) time.endTurn();
  // The first was made before anybody else asked.
  assert.is(order.join(''), 'aababb');
});

test('a large answer waits for room in the budget of the node, and is made again when there is some', () => {
  const time = new ManualTime();
  const budget = new BufferBudget(time.env, 64 * MIB);
  const gateOf = () => {
    const socket = new ManualSocket();
    socket.takes = false;
    const channel = new Channel(time.env, socket);
    channel.chargeTo(budget, 'client');
    channel.start();
    return {
      channel,
      socket,
      gate: new AnswerGate(channel, new Turns(time.env, { maxBytes: 64 * MIB, maxMs: 1000 })),
    };
  };
  const slow = gateOf();
  slow.channel.write(Buffer.alloc(11 * MIB));
  const { gate, channel } = gateOf();
  const made: string[] = [];
  const add = (name: string, bytes: number) =>
    gate.run(
      () => {
        made.push(name);
        return answerOf(Buffer.alloc(bytes));
      },
      () => made.push(`${name} written`),
    );
  add('small', 1000);
  add('large', 2 * MIB);
  add('after', 1000);
  assert.equal(made, ['small', 'small written', 'large']);
  slow.socket.drain();
  assert.equal(made, ['small', 'small written', 'large', 'large', 'large written']);
  assert.is(channel.unsentBytes, 2 * MIB + 1000);
});

test('an answer that cannot be made ends the channel, and what waits is dropped', async () => {
  const { gate, channel, socket, add } = gateBench();
  socket.takes = false;
  for (let i = 0; i < 10; i++) add();
  channel.abort();
  socket.closed();
  gate.writable();
  assert.is(gate.waiting, 0);
  const failing = gateBench();
  failing.gate.run(
    () => {
      throw new Error('cannot answer');
    },
    () => {},
  );
  failing.socket.closed();
  assert.match(String(await failing.channel.closed), 'cannot answer');
});

test('on real sockets: many small requests with large answers all get them', async () => {
  const env = realEnv();
  const answer = Buffer.alloc(1_000_000, 'a');
  const reasons: (Error | undefined)[] = [];
  let most = 0;
  const turns = new Turns(env, { maxBytes: 3_000_000, maxMs: 1000 });
  const listener = await ChannelListener.listen(env, parseAddress('127.0.0.1:0'), {
    maxConnections: 1,
    channel: { maxBufferedBytes: 8_000_000 },
    initialise: (channel: Channel) => {
      const gate = new AnswerGate(channel, turns);
      channel.pipeline.add({
        read(_, message) {
          for (const _byte of message as Buffer) {
            gate.run(
              () => answerOf(answer),
              () => {
                most = Math.max(most, channel.unsentBytes);
              },
            );
          }
        },
        writabilityChanged: () => gate.writable(),
      });
    },
    closed: (_, reason) => reasons.push(reason),
  });
  let received = 0;
  const channel = await connectChannel(env, listener.address, {
    connectTimeoutMs: 1000,
    initialise: (opened) =>
      opened.pipeline.add({
        read(_, message) {
          received += (message as Buffer).length;
          if (received === 100 * answer.length) opened.close();
        },
      }),
  });
  channel.write(Buffer.alloc(100));
  await channel.closed;
  assert.is(received, 100 * answer.length);
  assert.ok(most <= 1024 * 1024 + answer.length);
  await listener.close();
  assert.equal(reasons, [undefined]);
});

test.run();
