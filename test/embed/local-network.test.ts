/** Connections within a process: as sockets, but that nothing leaves the process. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { connectedPair } from '../../src/embed/local-network.js';
import type { Socket } from '../../src/env/env.js';
import { Scheduler } from '../../src/sim/world/scheduler.js';

function setting() {
  const scheduler = new Scheduler();
  const timers = {
    after: (delayMs: number, run: () => void) => scheduler.after(delayMs, run),
    endOfTurn: (run: () => void) => scheduler.endOfTurn(run),
  };
  const [near, far] = connectedPair(timers);
  return { near: { socket: near, heard: listen(near) }, far: { socket: far, heard: listen(far) }, scheduler };
}

function listen(socket: Socket) {
  const heard = { bytes: Buffer.alloc(0), drained: 0, closed: [] as (Error | undefined)[], longest: 0 };
  socket.handle({
    data(chunk) {
      heard.bytes = Buffer.concat([heard.bytes, chunk]);
      heard.longest = Math.max(heard.longest, chunk.length);
    },
    drained() {
      heard.drained++;
    },
    closed(error) {
      heard.closed.push(error);
    },
  });
  return heard;
}

test('what one end writes the other reads later, in order, whatever becomes of the memory of the writer', async () => {
  const { near, far, scheduler } = setting();
  const chunk = Buffer.from('first ');
  near.socket.write([chunk, Buffer.from('second ')]);
  chunk.fill('x');
  const alone = Buffer.alloc(3_000_000, '.');
  near.socket.write([alone]);
  alone.fill('x');
  far.socket.write([Buffer.from('answer')]);
  assert.is(far.heard.bytes.length, 0);
  assert.is(near.socket.bufferedBytes, 3_000_013);
  await scheduler.runFor(100);
  assert.is(far.heard.bytes.length, 3_000_013);
  assert.is(far.heard.bytes.subarray(0, 13).toString(), 'first second ');
  assert.is(far.heard.bytes.indexOf('x'), -1);
  assert.is(near.heard.bytes.toString(), 'answer');
  assert.is(near.socket.bufferedBytes, 0);
  assert.ok(near.heard.drained > 0);
  assert.ok(far.heard.longest <= 64 * 1024, `${far.heard.longest} bytes at once`);
});

test('an end that pauses reads nothing more, and goes on where it was', async () => {
  const { near, far, scheduler } = setting();
  far.socket.pause();
  near.socket.write([Buffer.alloc(200_000)]);
  await scheduler.runFor(100);
  assert.is(far.heard.bytes.length, 0);
  assert.is(near.socket.bufferedBytes, 200_000);
  assert.is(near.heard.drained, 0);
  far.socket.resume();
  await scheduler.runFor(100);
  assert.is(far.heard.bytes.length, 200_000);
  assert.is(near.heard.drained, 1);
});

test('an end that ends is read to its end; then both are closed, once', async () => {
  const { near, far, scheduler } = setting();
  far.socket.pause();
  near.socket.write([Buffer.from('last words')]);
  near.socket.end();
  near.socket.write([Buffer.from('too late')]);
  await scheduler.runFor(100);
  assert.equal([near.heard.closed.length, far.heard.closed.length], [0, 0]);
  far.socket.resume();
  await scheduler.runFor(100);
  assert.is(far.heard.bytes.toString(), 'last words');
  assert.equal([near.heard.closed, far.heard.closed], [[undefined], [undefined]]);
  far.socket.destroy(new Error('again'));
  await scheduler.runFor(100);
  assert.equal([near.heard.closed.length, far.heard.closed.length], [1, 1]);
});

test('an end that is destroyed drops what is under way; only it is told why', async () => {
  const { near, far, scheduler } = setting();
  near.socket.write([Buffer.from('lost')]);
  const error = new Error('broken');
  near.socket.destroy(error);
  far.socket.write([Buffer.from('lost, too')]);
  await scheduler.runFor(100);
  assert.equal([near.heard.closed, far.heard.closed], [[error], [undefined]]);
  assert.equal([near.heard.bytes.length, far.heard.bytes.length], [0, 0]);
});

test.run();
