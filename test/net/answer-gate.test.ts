import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseAddress } from '../../src/env/env.js';
import { realEnv } from '../../src/env/real/real-env.js';
import { AnswerGate } from '../../src/net/answer-gate.js';
import type { Channel } from '../../src/net/channel.js';
import { ChannelListener } from '../../src/net/channel-listener.js';
import { connectChannel } from '../../src/net/connect.js';
import { type Bench, benchOf } from './support.js';

const LIMITS = { highWaterBytes: 100_000, lowWaterBytes: 10_000, maxBufferedBytes: 300_000 };
const ANSWER = { maxAnswerBytes: 40_000, budgetBytes: 200_000 };
const settled = () => new Promise((resolve) => setImmediate(resolve));

/** A gate on a channel, and work that answers when the test says so. */
function gateBench(): Bench & { gate: AnswerGate; started: ((answer: Buffer) => void)[]; add: () => void } {
  let gate: AnswerGate | undefined;
  const bench = benchOf([{ writabilityChanged: () => gate?.writable() }], LIMITS);
  const made = new AnswerGate(bench.channel, ANSWER);
  gate = made;
  const started: ((answer: Buffer) => void)[] = [];
  const add = () => made.run(() => new Promise((resolve) => started.push(resolve)));
  return { ...bench, gate: made, started, add };
}

test('work starts while its largest answer fits, and in order', async () => {
  const { gate, started, add } = gateBench();
  for (let i = 0; i < 20; i++) add();
  assert.equal([gate.running, gate.waiting, started.length], [5, 15, 5]);
  started[0]?.(Buffer.alloc(0));
  await settled();
  assert.equal([gate.running, gate.waiting, started.length], [5, 14, 6]);
});

test('a reader that does not read starts nothing more, and is not cut off for what it asked', async () => {
  const { gate, started, add, socket, time, channel } = gateBench();
  socket.takes = false;
  for (let i = 0; i < 50; i++) add();
  for (let i = 0; i < started.length; i++) {
    started[i]?.(Buffer.alloc(ANSWER.maxAnswerBytes));
    await settled();
    time.endTurn();
    assert.ok(channel.unsentBytes <= ANSWER.budgetBytes, `${channel.unsentBytes} bytes unsent`);
  }
  assert.is(channel.isOpen, true);
  assert.is(gate.running, 0);
  const before = started.length;
  assert.ok(before < 10);
  socket.drain();
  assert.ok(started.length > before, 'it goes on when there is room');
});

test('an answer above the whole budget is still given, alone', async () => {
  const { gate, started, add, channel, time } = gateBench();
  add();
  add();
  started[0]?.(Buffer.alloc(250_000));
  await settled();
  time.endTurn();
  assert.is(channel.isOpen, true);
  assert.is(gate.running, 1);
});

test('work that rejects ends the channel, and what waits is dropped', async () => {
  const { gate, channel, socket, add } = gateBench();
  for (let i = 0; i < 10; i++) add();
  gate.run(() => Promise.reject(new Error('never reached')));
  const failing = gateBench();
  failing.gate.run(() => Promise.reject(new Error('cannot answer')));
  await settled();
  failing.socket.closed();
  assert.match(String(await failing.channel.closed), 'cannot answer');
  channel.abort();
  socket.closed();
  gate.writable();
  assert.is(gate.waiting, 0);
});

test('on real sockets: many small requests with large answers all get them', async () => {
  const env = realEnv();
  const answer = Buffer.alloc(1_000_000, 'a');
  const reasons: (Error | undefined)[] = [];
  let most = 0;
  const listener = await ChannelListener.listen(env, parseAddress('127.0.0.1:0'), {
    maxConnections: 1,
    channel: { maxBufferedBytes: 8_000_000 },
    initialise: (channel: Channel) => {
      const gate = new AnswerGate(channel, { maxAnswerBytes: answer.length, budgetBytes: 4_000_000 });
      channel.pipeline.add({
        read(_, message) {
          for (const _byte of message as Buffer) {
            gate.run(async () => {
              await settled();
              most = Math.max(most, channel.unsentBytes);
              return answer;
            });
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
  assert.ok(most <= 4_000_000);
  await listener.close();
  assert.equal(reasons, [undefined]);
});

test.run();
