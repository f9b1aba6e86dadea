/** Silence on a connection: who asks, who is asked, and when the other side counts as gone. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { LinkWatch, type LinkWatchOptions } from '../../src/protocol/link-watch.js';
import { benchOf } from '../net/support.js';

/** Messages pass as they are: what is written is kept, what is read comes from the other side. */
function watched(options?: LinkWatchOptions) {
  const watch = new LinkWatch(options);
  const written: unknown[] = [];
  const bench = benchOf([{ write: (_context, message) => written.push(message) }, watch]);
  let reason: Error | undefined;
  void bench.channel.closed.then((error) => {
    reason = error;
  });
  const hear = (message: unknown) => bench.channel.pipeline.head.read(message);
  const isCut = () => bench.socket.destroyed;
  const codeAtTheEnd = async () => {
    bench.socket.closed();
    await bench.channel.closed;
    return errorCode(reason);
  };
  return { watch, written, hear, isCut, codeAtTheEnd, ...bench };
}

const PING = { type: 'ping', nextWithinMs: 0 };

test('a side that is silent is pinged, then counts as silent, then is cut off', async () => {
  const { watch, written, time, isCut, codeAtTheEnd } = watched({ checkEveryMs: 100 });
  time.pass(199);
  assert.equal(written, []);
  time.pass(1);
  assert.equal(written, [PING]);
  assert.not(watch.isSilent);
  time.pass(100);
  assert.ok(watch.isSilent);
  time.pass(199);
  assert.not(isCut());
  time.pass(1);
  assert.ok(isCut());
  assert.is(await codeAtTheEnd(), 'LINK_SILENT');
});

test('whatever arrives counts as a word; pings and pongs go no further', () => {
  const { written, recorder, hear, time, isCut } = watched({ checkEveryMs: 100, nextWithinMs: 900 });
  for (const message of [{ type: 'pong' }, { type: 'heartbeat' }, PING]) {
    time.pass(400);
    hear(message);
  }
  time.pass(400);
  assert.not(isCut());
  assert.equal(recorder.messages, [{ type: 'heartbeat' }]);
  assert.equal(
    written.filter((message) => (message as { type: string }).type === 'pong'),
    [{ type: 'pong' }],
  );
  assert.equal(written[0], { type: 'ping', nextWithinMs: 900 });
});

test('a side that does not ask lets the silent be, but for one that broke its promise', () => {
  const { written, hear, time, isCut } = watched();
  hear({ type: 'get' });
  time.pass(86_400_000);
  hear(PING);
  time.pass(86_400_000);
  assert.not(isCut(), 'it has promised nothing');
  hear({ type: 'ping', nextWithinMs: 30_000 });
  time.pass(30_000);
  assert.not(isCut());
  hear({ type: 'ping', nextWithinMs: 30_000 });
  time.pass(37_000);
  assert.not(isCut());
  time.pass(500);
  assert.ok(isCut());
  assert.equal(written, [{ type: 'pong' }, { type: 'pong' }, { type: 'pong' }]);
});

test('a promise of no time at all makes no storm of checks', () => {
  const { hear, time, isCut } = watched();
  hear({ type: 'ping', nextWithinMs: 1 });
  time.pass(1000);
  assert.not(isCut());
});

test('a channel that is not read hears nothing, and blames nobody', () => {
  const { channel, time, isCut } = watched({ checkEveryMs: 100 });
  channel.pauseReading();
  time.pass(10_000);
  assert.not(isCut());
  channel.resumeReading();
  time.pass(500);
  assert.ok(isCut());
});

test('a process that stood still reads its sockets before it draws conclusions', () => {
  const { time, hear, isCut } = watched({ checkEveryMs: 100 });
  const [due] = time.timers;
  time.timers.clear();
  time.nowMs = 60_000;
  due?.run();
  hear({ type: 'heartbeat' });
  time.pass(400);
  assert.not(isCut());
});

test.run();
