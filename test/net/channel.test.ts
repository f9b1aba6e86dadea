import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { Channel } from '../../src/net/channel.js';
import type { HandlerContext } from '../../src/net/pipeline.js';
import { benchOf, ManualSocket, ManualTime } from './support.js';

const MARKS = {
  highWaterBytes: 100_000,
  lowWaterBytes: 20_000,
  maxBufferedBytes: 300_000,
  slowReaderTimeoutMs: 5000,
};

test('what is written in one turn leaves in one write, small chunks copied together', () => {
  const { channel, socket, time } = benchOf([]);
  for (let i = 0; i < 100; i++) channel.write([Buffer.from(`${i},`), Buffer.from(';')]);
  const large = Buffer.alloc(50_000, 'x');
  channel.write(large);
  channel.write(Buffer.from('end'));
  assert.is(socket.writes, 0);
  time.endTurn();
  assert.is(socket.writes, 1);
  assert.is(socket.written.length, 3);
  const expected =
    Array.from({ length: 100 }, (_, i) => `${i},;`).join('') + 'x'.repeat(50_000).concat('end');
  assert.is(Buffer.concat(socket.written).toString(), expected);
  time.endTurn();
  assert.is(socket.writes, 1);
});

test('above the high water mark it stops reading, at the low one it goes on', () => {
  const { channel, socket, time, recorder } = benchOf([], MARKS);
  socket.takes = false;
  assert.is(channel.write(Buffer.alloc(60_000)), true);
  time.endTurn();
  assert.is(socket.paused, false);
  assert.is(channel.write(Buffer.alloc(60_000)), false);
  time.endTurn();
  assert.equal([channel.isWritable, channel.isPaused, socket.paused], [false, true, true]);
  assert.is(channel.unsentBytes, 120_000);
  socket.drain();
  assert.equal([channel.isWritable, channel.isPaused, socket.paused], [true, false, false]);
  assert.equal(recorder.events, ['active', 'not writable', 'writable']);
  time.pass(100_000);
  assert.is(channel.isOpen, true);
});

test('the side that asks goes on reading', () => {
  const { channel, socket, recorder } = benchOf([], { ...MARKS, readsWhileNotWritable: true });
  socket.takes = false;
  channel.write(Buffer.alloc(120_000));
  assert.equal([channel.isWritable, channel.isPaused, socket.paused], [false, false, false]);
  socket.receive(Buffer.from('x'));
  assert.is(recorder.messages.length, 1);
});

test('a reader that stays slow is cut off', async () => {
  const { channel, socket, time } = benchOf([], MARKS);
  socket.takes = false;
  channel.write(Buffer.alloc(120_000));
  time.endTurn();
  time.pass(4999);
  assert.is(channel.isOpen, true);
  time.pass(2);
  assert.is(channel.isOpen, false);
  socket.closed();
  const reason = await channel.closed;
  assert.is(errorCode(reason), 'SLOW_READER');
  assert.match(String(reason), '120000 bytes unread for 5000 ms');
  assert.is(time.timers.size, 0);
});

test('a reader that is slow again and again, but catches up, stays', () => {
  const { channel, socket, time } = benchOf([], MARKS);
  socket.takes = false;
  for (let i = 0; i < 5; i++) {
    channel.write(Buffer.alloc(120_000));
    time.endTurn();
    time.pass(4000);
    socket.drain();
  }
  assert.is(channel.isOpen, true);
});

test('the hard limit cuts off at once', async () => {
  const { channel, socket, recorder } = benchOf([], MARKS);
  socket.takes = false;
  for (let i = 0; i < 10; i++) channel.write(Buffer.alloc(40_000));
  assert.is(socket.destroyed, true);
  socket.closed();
  assert.is(errorCode(await channel.closed), 'SLOW_READER');
  assert.match(recorder.events.at(-1) ?? '', 'more than 300000 bytes');
});

test('much in one turn is no fault while the system takes it', () => {
  const { channel, socket, time } = benchOf([], MARKS);
  for (let i = 0; i < 100; i++) channel.write(Buffer.alloc(40_000));
  time.endTurn();
  assert.is(channel.isOpen, true);
  assert.is(channel.isWritable, true);
  assert.is(Buffer.concat(socket.written).length, 4_000_000);
});

test('a graceful close sends what is written, takes no more, and becomes abrupt in time', async () => {
  const { channel, socket, time, recorder } = benchOf([], { closeTimeoutMs: 100 });
  channel.write(Buffer.from('last words'));
  channel.close();
  assert.is(Buffer.concat(socket.written).toString(), 'last words');
  assert.is(socket.ended, true);
  assert.is(channel.write(Buffer.from('more')), false);
  socket.receive(Buffer.from('ignored'));
  assert.is(recorder.messages.length, 0);
  assert.is(socket.destroyed, false);
  time.pass(101);
  assert.is(socket.destroyed, true);
  socket.closed();
  assert.is(await channel.closed, undefined);
  assert.is(time.timers.size, 0);
  assert.equal(recorder.events, ['active', 'inactive without error']);
});

test('an error of the socket is the reason; one given first stays', async () => {
  const broken = benchOf([]);
  broken.socket.closed(new Error('reset'));
  assert.match(String(await broken.channel.closed), 'reset');
  const aborted = benchOf([]);
  aborted.channel.abort(new Error('ours'));
  aborted.channel.abort(new Error('second'));
  aborted.socket.closed(new Error('reset'));
  assert.match(String(await aborted.channel.closed), 'ours');
  assert.equal(aborted.recorder.events, ['active', 'inactive ours']);
});

test('a pause of the application and one of the water marks both hold', () => {
  const { channel, socket, time } = benchOf([], MARKS);
  socket.takes = false;
  channel.write(Buffer.alloc(120_000));
  time.endTurn();
  channel.pauseReading();
  socket.drain();
  assert.is(socket.paused, true);
  channel.resumeReading();
  assert.is(socket.paused, false);
});

test('events pass the handlers in order, writes against it', () => {
  const order: string[] = [];
  const named = (name: string) => ({
    read(context: HandlerContext, message: unknown) {
      order.push(`${name} reads ${message}`);
      context.read(`${message}${name}`);
    },
    write(context: HandlerContext, message: unknown) {
      order.push(`${name} writes ${message}`);
      context.write(Buffer.from(`${message}${name}`));
    },
  });
  const { channel, socket, time, recorder } = benchOf([named('1'), {}, named('2')]);
  socket.receive(Buffer.from('in'));
  channel.write('out');
  time.endTurn();
  assert.equal(order, ['1 reads in', '2 reads in1', '2 writes out', '1 writes out2']);
  assert.equal(recorder.messages, ['in12']);
  assert.is(Buffer.concat(socket.written).toString(), 'out21');
});

test('the types refuse a handler where its messages do not pass', () => {
  const { channel } = benchOf([]);
  const toText = { read: (context: HandlerContext<string>, bytes: Buffer) => context.read(`${bytes}`) };
  const longer = { read: (context: HandlerContext<number>, text: string) => context.read(text.length) };
  channel.pipeline.add(toText).add(longer);
  // @ts-expect-error: bytes arrive here, not a text.
  assert.ok(channel.pipeline.add(longer));
  // @ts-expect-error: a length arrives here, not a text.
  assert.ok(channel.pipeline.add(toText).add(longer).add(longer));
});

test('a handler that is taken out is passed by', () => {
  const loud = { read: (context: HandlerContext, message: unknown) => context.read(`loud ${message}`) };
  const { channel, socket, recorder } = benchOf([loud]);
  socket.receive(Buffer.from('a'));
  channel.pipeline.remove(loud);
  socket.receive(Buffer.from('b'));
  assert.equal(recorder.messages.map(String), ['loud a', 'b']);
});

test('what a handler throws goes to the handlers behind it, and cuts the channel off if none takes it', async () => {
  const throwing = {
    read() {
      throw new Error('bad byte');
    },
  };
  const taken: string[] = [];
  const taking = {
    failed(_: HandlerContext, error: Error) {
      taken.push(error.message);
    },
  };
  const handled = benchOf([throwing, taking]);
  handled.socket.receive(Buffer.from('x'));
  assert.equal(taken, ['bad byte']);
  assert.is(handled.channel.isOpen, true);
  const unhandled = benchOf([taking, throwing]);
  unhandled.socket.receive(Buffer.from('x'));
  assert.is(unhandled.socket.destroyed, true);
  unhandled.socket.closed();
  assert.match(String(await unhandled.channel.closed), 'bad byte');
  const failingTwice = benchOf([
    throwing,
    {
      failed() {
        throw new Error('worse');
      },
    },
  ]);
  failingTwice.socket.receive(Buffer.from('x'));
  failingTwice.socket.closed();
  assert.match(String(await failingTwice.channel.closed), 'worse');
});

test('what an encoder throws reaches whoever writes', () => {
  const { channel } = benchOf([
    {
      write() {
        throw new Error('cannot be encoded');
      },
    },
  ]);
  assert.throws(() => channel.write('x'), 'cannot be encoded');
  assert.is(channel.isOpen, true);
});

test('limits that contradict each other are refused', () => {
  const time = new ManualTime();
  for (const options of [
    { highWaterBytes: 1000 },
    { lowWaterBytes: 2 ** 21 },
    { maxBufferedBytes: 1000 },
    { slowReaderTimeoutMs: -1 },
    { closeTimeoutMs: Number.NaN },
  ]) {
    assert.throws(
      () => new Channel(time.env, new ManualSocket(), options),
      (error: unknown) => errorCode(error) === 'INVALID_OPTION',
    );
  }
});

test.run();
