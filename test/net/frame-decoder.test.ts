import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { FrameDecoder } from '../../src/net/frame-decoder.js';
import { encodeFrame } from '../../src/net/frame-encoder.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { type Bench, benchOf } from './support.js';

const LIMITS = { maxFrameBytes: 1 << 20, frameTimeoutMs: 1000 };
const decoderBench = (limits: Partial<typeof LIMITS> = {}): Bench =>
  benchOf([new FrameDecoder({ ...LIMITS, ...limits })]);

const bytesOf = (type: number, body: Uint8Array) => Buffer.concat(encodeFrame({ type, body: [body] }));
const shown = ({ recorder }: Bench) =>
  recorder.frames.map(({ type, body }) => `${type}:${body.toString('hex')}`);

test('a stream of frames cut at any one or two places gives the same frames', () => {
  const bodies = ['', 'a', 'bcd', '', 'efghijklm'].map((text) => Buffer.from(text));
  const stream = Buffer.concat(bodies.map((body, i) => bytesOf(i + 1, body)));
  const expected = bodies.map((body, i) => `${i + 1}:${body.toString('hex')}`);
  for (let first = 0; first <= stream.length; first++) {
    for (let second = first; second <= stream.length; second++) {
      const bench = decoderBench();
      bench.socket.receive(stream.subarray(0, first));
      bench.socket.receive(stream.subarray(first, second));
      bench.socket.receive(stream.subarray(second));
      assert.equal(shown(bench), expected, `cut at ${first} and ${second}`);
    }
  }
});

test('one byte at a time', () => {
  const bench = decoderBench();
  const stream = Buffer.concat([bytesOf(1, Buffer.from('hello')), bytesOf(2, Buffer.alloc(5000, 'x'))]);
  for (const byte of stream) bench.socket.receive(Buffer.from([byte]));
  assert.equal(
    bench.recorder.frames.map(({ type, body }) => [type, body.length]),
    [
      [1, 5],
      [2, 5000],
    ],
  );
});

test('random frames in random pieces come out whole', () => {
  const random = new SeededRandom(21);
  for (let round = 0; round < 30; round++) {
    const bench = decoderBench();
    const bodies = Array.from({ length: 20 }, () => random.bytes(random.pick([0, 1, 7, 300, 9000, 100_000])));
    const stream = Buffer.concat(bodies.map((body, i) => bytesOf(i, body)));
    for (let at = 0; at < stream.length; ) {
      const count = random.between(1, random.pick([8, 4000, 70_000]));
      bench.socket.receive(stream.subarray(at, at + count));
      at += count;
    }
    assert.is(bench.recorder.frames.length, bodies.length);
    bodies.forEach((body, i) => {
      assert.ok(bench.recorder.frames[i]?.body.equals(body));
    });
  }
});

test('a body that lies whole in a chunk is a view of it', () => {
  const bench = decoderBench();
  bench.socket.receive(Buffer.concat([bytesOf(1, Buffer.from('abc')), bytesOf(2, Buffer.from('def'))]));
  const [first, second] = bench.recorder.frames;
  assert.ok(first && second && first.body.buffer === second.body.buffer);
});

for (const [what, length] of [
  ['a byte above the limit', LIMITS.maxFrameBytes + 1],
  ['4 GiB', 0xffff_ffff],
] as const) {
  test(`a frame that claims ${what} is refused at its header`, () => {
    const bench = decoderBench();
    const header = Buffer.alloc(8);
    header.writeUInt32BE(7, 0);
    header.writeUInt32BE(length, 4);
    const before = process.memoryUsage().arrayBuffers;
    bench.socket.receive(bytesOf(1, Buffer.from('good')));
    bench.socket.receive(header.subarray(0, 5));
    bench.socket.receive(header.subarray(5));
    bench.socket.receive(bytesOf(2, Buffer.from('not looked at')));
    assert.ok(process.memoryUsage().arrayBuffers - before < 1 << 20);
    assert.is(bench.recorder.frames.length, 1);
    assert.is(bench.socket.destroyed, true);
    bench.socket.closed();
    assert.match(bench.recorder.events.join(), `the limit maxFrameBytes is ${LIMITS.maxFrameBytes}`);
  });
}

test('a frame of exactly the limit passes', () => {
  const bench = decoderBench({ maxFrameBytes: 100 });
  bench.socket.receive(bytesOf(1, Buffer.alloc(100)));
  assert.is(bench.recorder.frames.length, 1);
});

test('a claim within the limit costs memory only for what arrives', () => {
  const bench = decoderBench({ maxFrameBytes: 1 << 30 });
  const header = Buffer.alloc(8);
  header.writeUInt32BE(1 << 30, 4);
  const before = process.memoryUsage().arrayBuffers;
  bench.socket.receive(header);
  bench.socket.receive(Buffer.alloc(100_000));
  assert.ok(process.memoryUsage().arrayBuffers - before < 1 << 20);
});

for (const part of [1, 7, 8, 12]) {
  test(`${part} bytes of a frame, then silence: closed after frameTimeoutMs`, async () => {
    const bench = decoderBench();
    bench.socket.receive(bytesOf(1, Buffer.alloc(10)).subarray(0, part));
    bench.time.pass(900);
    assert.is(bench.channel.isOpen, true);
    bench.socket.receive(Buffer.alloc(0));
    bench.time.pass(1200);
    assert.is(bench.channel.isOpen, false);
    bench.socket.closed();
    assert.is(errorCode(await bench.channel.closed), 'FRAME_TIMEOUT');
    assert.is(bench.time.timers.size, 0);
  });
}

test('silence between frames is no fault, and slow progress is none', () => {
  const bench = decoderBench();
  const frame = bytesOf(1, Buffer.alloc(10));
  for (const byte of frame) {
    bench.socket.receive(Buffer.from([byte]));
    bench.time.pass(900);
  }
  bench.time.pass(100_000);
  assert.is(bench.recorder.frames.length, 1);
  assert.is(bench.channel.isOpen, true);
});

test('while the channel is paused frames wait; they come in order when it goes on', () => {
  const bench = decoderBench();
  const frames = [1, 2, 3, 4].map((type) => bytesOf(type, Buffer.from([type])));
  const stop = bench.recorder.messages.length + 2;
  const { channel, recorder } = bench;
  const pausing = recorder.read.bind(recorder);
  recorder.read = (context, message) => {
    pausing(context, message);
    if (recorder.messages.length === stop) channel.pauseReading();
  };
  bench.socket.receive(Buffer.concat(frames));
  assert.equal(
    recorder.frames.map(({ type }) => type),
    [1, 2],
  );
  assert.is(bench.socket.paused, true);
  bench.time.pass(100_000);
  channel.resumeReading();
  assert.equal(
    recorder.frames.map(({ type }) => type),
    [1, 2, 3, 4],
  );
  assert.is(bench.socket.paused, false);
});

test('after the channel is closed nothing more comes out, even of the same chunk', () => {
  const bench = decoderBench();
  const { channel, recorder } = bench;
  recorder.read = (_, message) => {
    recorder.messages.push(message);
    channel.abort();
  };
  bench.socket.receive(Buffer.concat([bytesOf(1, Buffer.alloc(1)), bytesOf(2, Buffer.alloc(1))]));
  assert.is(recorder.frames.length, 1);
});

test.run();
