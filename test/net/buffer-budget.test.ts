import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import type { AccountKind, BufferAccount } from '../../src/net/buffer-account.js';
import { BufferBudget } from '../../src/net/buffer-budget.js';
import { Channel } from '../../src/net/channel.js';
import { FrameDecoder } from '../../src/net/frame-decoder.js';
import { Tally } from '../../src/net/tally.js';
import { ManualSocket, ManualTime, Recorder } from './support.js';

const MIB = 1024 * 1024;

function budgetBench(maxBytes = 64 * MIB) {
  const time = new ManualTime();
  const budget = new BufferBudget(time.env, maxBytes);
  const cut: string[] = [];
  const open = (name: string, kind: AccountKind = 'client'): BufferAccount => {
    const account: BufferAccount = budget.open(
      kind,
      () => account.bytesOf('unsent'),
      (reason) => cut.push(`${name} ${reason.code}`),
    );
    return account;
  };
  return { time, budget, cut, open };
}

/** A connection of a client that counts in the budget. */
function connection(time: ManualTime, budget: BufferBudget, kind: AccountKind = 'client') {
  const socket = new ManualSocket();
  const channel = new Channel(time.env, socket);
  const recorder = new Recorder();
  channel.chargeTo(budget, kind);
  channel.pipeline.add(new FrameDecoder({ maxFrameBytes: 32 * MIB, frameTimeoutMs: 30_000 })).add(recorder);
  channel.start();
  return { socket, channel, recorder };
}

function frameOf(bytes: number): Buffer {
  const frame = Buffer.alloc(8 + bytes);
  frame.writeUInt32BE(bytes, 4);
  return frame;
}

test('frames beyond the budget are not read before others have made room', () => {
  const { time, budget } = budgetBench();
  const connections = Array.from({ length: 6 }, () => connection(time, budget));
  // Requests of clients have 5/8 of 6/8 of the budget: 30 MiB, three of these.
  const frame = frameOf(9 * MIB);
  for (const { socket } of connections) socket.receive(frame.subarray(0, 60_000));
  assert.equal(
    connections.map(({ socket }) => socket.paused),
    [false, false, false, true, true, true],
  );
  for (const { socket } of connections.slice(0, 3)) socket.receive(frame.subarray(60_000));
  assert.equal(
    connections.map(({ socket }) => socket.paused),
    [false, false, false, false, false, false],
  );
  for (const { socket } of connections.slice(3)) socket.receive(frame.subarray(60_000));
  assert.equal(
    connections.map(({ recorder }) => recorder.messages.length),
    [1, 1, 1, 1, 1, 1],
  );
  assert.is(budget.heldBytes, 0);
});

test('an unfinished frame that stands still is cut off when others wait, and told why', async () => {
  const { time, budget } = budgetBench();
  const frame = frameOf(9 * MIB);
  const stuck = Array.from({ length: 3 }, () => connection(time, budget));
  for (const { socket } of stuck) socket.receive(frame.subarray(0, 60_000));
  time.pass(20_000);
  assert.ok(
    stuck.every(({ channel }) => channel.isOpen),
    'nobody waits: nobody is cut off',
  );
  const goesOn = connection(time, budget);
  goesOn.socket.receive(frame.subarray(0, 60_000));
  assert.is(goesOn.socket.paused, true);
  time.pass(1500);
  assert.is(goesOn.socket.paused, false);
  const reasons = await Promise.all(
    stuck
      .filter(({ channel }) => !channel.isOpen)
      .map(({ channel, socket }) => {
        socket.closed();
        return channel.closed;
      }),
  );
  assert.equal(reasons.map(errorCode), ['BUFFERS_FULL']);
});

test('a frame that trickles in is cut off as one that stands still; one that goes on is not', () => {
  const { time, budget } = budgetBench();
  const frame = frameOf(9 * MIB);
  const [trickles, flows, another, waits] = Array.from({ length: 4 }, () => connection(time, budget));
  if (!trickles || !flows || !another || !waits) throw new Error('four connections');
  for (const { socket } of [trickles, flows, another, waits]) socket.receive(frame.subarray(0, 60_000));
  for (let i = 0; i < 30 && waits.socket.paused; i++) {
    time.pass(100);
    trickles.socket.receive(Buffer.alloc(10));
    flows.socket.receive(Buffer.alloc(60_000));
    another.socket.receive(Buffer.alloc(60_000));
  }
  assert.equal(
    [trickles, flows, another, waits].map(({ channel }) => channel.isOpen),
    [false, true, true, true],
  );
});

test('small frames pass while large ones wait', () => {
  const { time, budget } = budgetBench();
  for (let i = 0; i < 8; i++) connection(time, budget).socket.receive(frameOf(9 * MIB).subarray(0, 1000));
  const small = connection(time, budget);
  small.socket.receive(frameOf(1000));
  assert.is(small.recorder.messages.length, 1);
});

test('room goes to whoever was given least; every fourth time to the one that has waited longest', () => {
  const { budget, open, time } = budgetBench();
  const full = open('full');
  full.hold('incoming', 30 * MIB);
  const order: string[] = [];
  const ask = (name: string, gotMiB: number) => {
    const account = open(name);
    account.hold('incoming', gotMiB * MIB);
    account.hold('incoming', 0);
    assert.not(
      account.reserve('incoming', MIB, () => {
        order.push(name);
        account.hold('incoming', MIB);
      }),
    );
  };
  time.pass(10_000);
  full.hold('incoming', 34 * MIB);
  for (const [name, gotMiB] of [
    ['first', 5],
    ['second', 4],
    ['third', 3],
    ['fourth', 2],
    ['fifth', 1],
  ] as const)
    ask(name, gotMiB);
  for (let held = 30; held >= 24; held--) full.hold('incoming', (held - 1) * MIB);
  assert.equal(order, ['fifth', 'fourth', 'third', 'first', 'second']);
  assert.is(budget.waiting, 0);
});

test('above the limit the one that holds most for longest goes, and nobody else', () => {
  const { cut, open, time } = budgetBench(16 * MIB);
  const slow = open('slow reader');
  slow.hold('unsent', 5 * MIB);
  time.pass(5000);
  const busy = open('busy');
  busy.hold('requests', 6 * MIB);
  const last = open('last');
  last.hold('unsent', 4 * MIB);
  assert.equal(cut, []);
  last.hold('unsent', 5.5 * MIB);
  assert.equal(cut, ['slow reader BUFFERS_FULL']);
});

test('clients cannot use the part of the peers, and a lone message of a peer always passes', () => {
  const { cut, open, budget } = budgetBench(64 * MIB);
  const client = open('client');
  assert.is(
    client.reserve('incoming', 30 * MIB, () => {}),
    true,
  );
  client.hold('incoming', 30 * MIB);
  const another = open('another');
  assert.is(
    another.reserve('incoming', MIB, () => {}),
    false,
  );
  const peer = open('peer', 'peer');
  assert.is(
    peer.reserve('incoming', 60 * MIB, () => {}),
    true,
  );
  peer.hold('fragments', 60 * MIB);
  assert.equal(cut, ['client BUFFERS_FULL']);
  peer.hold('fragments', 260 * MIB);
  assert.equal(cut, ['client BUFFERS_FULL']);
  open('second', 'peer').hold('fragments', MIB);
  assert.equal(cut, ['client BUFFERS_FULL', 'peer BUFFERS_FULL']);
  assert.is(budget.heldBytes, MIB);
});

test('a peer with a message of any size leaves clients their last part', () => {
  const { cut, open, budget } = budgetBench(64 * MIB);
  open('one').hold('requests', 8 * MIB);
  open('two').hold('requests', 8 * MIB);
  open('peer', 'peer').hold('fragments', 260 * MIB);
  assert.equal(cut, []);
  assert.is(
    open('three').reserve('incoming', 1000, () => {}),
    false,
  );
  open('greedy').hold('requests', 9 * MIB);
  assert.equal(cut, ['greedy BUFFERS_FULL']);
  assert.is(budget.waiting, 1);
});

test('what a connection asked for counts until it is done, also when the connection is gone', () => {
  const { open, budget, cut } = budgetBench(64 * MIB);
  const gone = open('gone');
  gone.hold('requests', 20 * MIB);
  gone.hold('incoming', 5 * MIB);
  gone.close();
  assert.is(budget.heldBytes, 20 * MIB);
  let granted = false;
  assert.is(
    open('next').reserve('incoming', 12 * MIB, () => {
      granted = true;
    }),
    false,
  );
  open('busy').hold('requests', 50 * MIB);
  assert.equal(cut, [], 'nobody goes for what ends by itself');
  gone.add('requests', -20 * MIB);
  assert.is(budget.heldBytes, 50 * MIB);
  assert.is(granted, false);
});

test('answers wait for room too, and a reader that does not read gives up its place', () => {
  const time = new ManualTime();
  const budget = new BufferBudget(time.env, 64 * MIB);
  const slow = connection(time, budget);
  slow.socket.takes = false;
  slow.channel.write(Buffer.alloc(11 * MIB));
  const granted: string[] = [];
  const reader = connection(time, budget);
  assert.is(
    reader.channel.buffers?.reserve('unsent', 2 * MIB, () => granted.push('reader')),
    false,
  );
  time.pass(800);
  assert.equal(granted, []);
  time.pass(800);
  assert.equal(granted, ['reader']);
  assert.is(slow.channel.isOpen, false);
});

test('what happens often is said once at once, then once per second with a count', () => {
  const time = new ManualTime();
  const said: string[] = [];
  const tally = new Tally<string>(time.env.timers, (reason, last, more) =>
    said.push(`${reason} ${last} +${more}`),
  );
  for (let i = 0; i < 30; i++) {
    tally.add('full', `a${i}`);
    if (i === 20) tally.add('idle', 'b');
    time.pass(100);
  }
  assert.equal(said, ['full a0 +0', 'full a9 +8', 'full a19 +9', 'idle b +0', 'full a29 +9']);
  time.pass(5000);
  tally.add('full', 'c');
  assert.equal(said.slice(-1), ['full c +0']);
});

test('an answer above the whole budget goes out when no other is unsent, and costs nobody the place', () => {
  const { budget, cut, open } = budgetBench(16 * MIB);
  const [large, small, other] = [open('large'), open('small'), open('other')];
  const reserve = (account: BufferAccount, bytes: number) =>
    account.reserve('unsent', bytes, () => granted.push(bytes));
  const granted: number[] = [];
  assert.ok(reserve(large, 60 * MIB));
  large.hold('unsent', 60 * MIB);
  small.hold('requests', 1000);
  assert.ok(small.isWithinShare, 'others go on');
  assert.ok(small.reserve('incoming', 60_000, () => {}));
  assert.not.ok(reserve(other, 2 * MIB));
  assert.equal([cut, granted], [[], []]);
  large.hold('unsent', 0);
  assert.equal(granted, [2 * MIB]);
  // What others hold above the budget is still cut off, and the large answer is not.
  other.hold('unsent', 0);
  assert.ok(reserve(large, 60 * MIB));
  large.hold('unsent', 60 * MIB);
  small.hold('incoming', 17 * MIB);
  assert.equal(cut, ['small BUFFERS_FULL']);
  large.close();
  small.hold('requests', 0);
  assert.is(budget.heldBytes, 0);
});

test.run();
