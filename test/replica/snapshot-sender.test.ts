/**
 * Snapshots are sent at the receiver's pace and at a rate; a node that cannot make one asks another to lead, but not
 * for ever.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { silentLogger } from '../../src/env/env.js';
import { RaftreeError } from '../../src/env/errors.js';
import { configurationOf } from '../../src/raft/configuration.js';
import { LeadershipYields } from '../../src/replica/leadership-yields.js';
import { SnapshotHolds } from '../../src/replica/snapshot-holds.js';
import type { ReplicaMessage } from '../../src/replica/snapshot-messages.js';
import { SnapshotPace } from '../../src/replica/snapshot-pace.js';
import { type SnapshotLimits, SnapshotSender } from '../../src/replica/snapshot-sender.js';
import { SnapshotTurns } from '../../src/replica/snapshot-turns.js';
import { StateDirectories } from '../../src/replica/state-directories.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { SimWorld } from '../../src/sim/world/world.js';
import { fakeCore } from './replica-lab.js';

/** When it asked within so many seconds, while a member needs a snapshot all the time. */
async function askedMs(error: Error, seconds: number, hopeless = () => {}): Promise<number[]> {
  const world = new SimWorld(1);
  const { env } = world.start('n1', new SimDisk());
  const asked: number[] = [];
  const startMs = env.clock.nowMs();
  const core = fakeCore((input) => {
    if (input.type === 'transfer') asked.push(env.clock.nowMs() - startMs);
    if (input.type === 'snapshotSent') sender.begin(input.node, () => 1);
  });
  const sender: SnapshotSender = new SnapshotSender({
    env,
    logger: silentLogger,
    directories: new StateDirectories(env, silentLogger, '/snapshots'),
    limits: { maxChunkBytes: 1024, maxBytesPerSecond: 1024, stallTimeoutMs: 1000 },
    pace: new SnapshotPace(env.clock, 1024),
    turns: new SnapshotTurns(env.timers, 8),
    transport: { send() {} },
    source: { checkpoint: () => Promise.reject(error), check: () => Promise.resolve() },
    core: { ...core, fail: hopeless },
    yields: new LeadershipYields(env.clock, core, 1000),
    holds: new SnapshotHolds(),
  });
  sender.begin(2, () => 1);
  await world.scheduler.runFor(seconds * 1000);
  await sender.close();
  return asked;
}

test('it asks less and less often: the others may be no better', async () => {
  const asked = await askedMs(new RaftreeError('CORRUPTION', 'a table is damaged'), 300);
  const pauses = asked.slice(1).map((ms, i) => ms - (asked[i] ?? 0));
  assert.ok(pauses.length >= 6, asked.join());
  for (const [i, pause] of pauses.entries()) {
    const leastMs = 1000 * 2 ** Math.min(i, 6);
    assert.ok(pause >= leastMs && pause < leastMs + 1000, `pause ${i} of ${pause} ms`);
  }
});

test('a full disk is no reason: with space the snapshot will be made', async () => {
  assert.equal(await askedMs(new RaftreeError('LSM_NO_SPACE', 'the disk is full'), 20), []);
});

test('a state machine that takes nothing more until it is opened again makes the node restart, in the end', async () => {
  for (const [code, expected] of [
    ['LSM_READ_ONLY', true],
    ['CORRUPTION', false],
    ['LSM_NO_SPACE', false],
  ] as const) {
    let isHopeless = false;
    const error = new RaftreeError(code, 'no snapshot');
    await askedMs(error, 60, () => {
      isHopeless = true;
    });
    assert.is(isHopeless, expected, code);
  }
});

interface Sent {
  readonly atMs: number;
  readonly message: ReplicaMessage;
}

/** A sender of one file of so many bytes to node 2, its messages, and how its transfers ended. */
async function senderOf(
  fileBytes: number,
  limits: SnapshotLimits,
  world = new SimWorld(1),
  shared?: SnapshotPace,
  sharedTurns?: SnapshotTurns,
) {
  const { env, fs } = world.start('n1', new SimDisk());
  const pace = shared ?? new SnapshotPace(env.clock, limits.maxBytesPerSecond);
  const sent: Sent[] = [];
  const ended: boolean[] = [];
  const core = fakeCore((input) => {
    if (input.type === 'snapshotSent') ended.push(input.ok);
  });
  const sender = new SnapshotSender({
    env,
    logger: silentLogger,
    directories: new StateDirectories(env, silentLogger, '/snapshots'),
    limits,
    pace,
    turns: sharedTurns ?? new SnapshotTurns(env.timers, 8),
    transport: { send: (_to, message) => sent.push({ atMs: env.clock.nowMs(), message }) },
    source: {
      checkpoint: async (directory) => {
        fs.makeDirectory(directory);
        const file = fs.open(`${directory}/file`, 'create');
        await file.write([Buffer.alloc(fileBytes)], 0);
        file.close();
        return { index: 10, term: 1, configuration: configurationOf([1, 2]) };
      },
      check: () => Promise.resolve(),
    },
    core,
    yields: new LeadershipYields(env.clock, core, limits.stallTimeoutMs),
    holds: new SnapshotHolds(),
  });
  sender.begin(2, () => 1);
  await world.scheduler.runFor(1);
  const [offer] = sent;
  if (offer?.message.type !== 'snapshotOffer') throw new Error('it offers nothing');
  const { checkpoint } = offer.message;
  const want = (offset: number, file = 0) =>
    sender.wanted(2, { type: 'snapshotWanted', term: 1, checkpoint, file, offset });
  const chunks = () => sent.filter(({ message }) => message.type === 'snapshotChunk');
  return { world, sender, sent, ended, want, chunks, pace };
}

test('what is wanted of an earlier checkpoint is not answered from this one', async () => {
  const limits = { maxChunkBytes: 1024, maxBytesPerSecond: 1e6, stallTimeoutMs: 1000 };
  const { sender, ended, want, chunks } = await senderOf(1024, limits);
  for (const file of [0, 1])
    sender.wanted(2, { type: 'snapshotWanted', term: 1, checkpoint: 1, file, offset: 0 });
  assert.is(chunks().length, 0);
  assert.equal(ended, []);
  want(0);
  assert.is(chunks().length, 1);
});

test('a member that the log does not reach from the present checkpoint gets another', async () => {
  const limits = { maxChunkBytes: 1024, maxBytesPerSecond: 1e6, stallTimeoutMs: 1000 };
  const { world, sender, sent } = await senderOf(1024, limits);
  const made = () =>
    new Set(sent.flatMap(({ message }) => (message.type === 'snapshotOffer' ? [message.checkpoint] : [])));
  sender.begin(3, () => 10);
  await world.scheduler.runFor(10);
  assert.is(made().size, 1);
  sender.begin(4, () => 11);
  await world.scheduler.runFor(10);
  assert.is(made().size, 2);
});

test('a rate at which a chunk takes longer than a silent receiver is waited for is kept', async () => {
  const limits = { maxChunkBytes: 1024, maxBytesPerSecond: 100, stallTimeoutMs: 1000 };
  const { world, ended, want, chunks } = await senderOf(4096, limits);
  for (let offset = 0; offset < 4096; offset += 1024) {
    want(offset);
    // The network repeats it.
    want(offset);
    await world.scheduler.runFor(offset === 0 ? 1 : 10_240);
  }
  const gapsMs = chunks().map(({ atMs }, i) => atMs - (chunks()[i - 1]?.atMs ?? 0));
  assert.is(chunks().length, 4);
  for (const gapMs of gapsMs.slice(1)) assert.ok(gapMs >= 10_230, `${gapMs} ms`);
  assert.equal(ended, []);
  want(0, 1);
  assert.equal(ended, [true]);
});

test('the transfers of all groups of a node share one rate, and none of them waits for ever', async () => {
  const limits = { maxChunkBytes: 1024, maxBytesPerSecond: 10_240, stallTimeoutMs: 1000 };
  const one = await senderOf(100 * 1024, limits);
  const other = await senderOf(100 * 1024, limits, one.world, one.pace);
  for (const { chunks, want } of [one, other]) {
    // The receiver asks for the next chunk as soon as one has come.
    let answered = -1;
    const answer = () => {
      if (chunks().length > answered) {
        answered = chunks().length;
        want(answered * 1024);
      }
      if (answered < 100) one.world.scheduler.after(1, answer);
    };
    answer();
  }
  await one.world.scheduler.runFor(2000);
  const counts = [one.chunks().length, other.chunks().length];
  assert.ok((counts[0] ?? 0) + (counts[1] ?? 0) <= 21, `${counts} chunks of 1 KiB in 2 s, at 10 KiB/s`);
  for (const count of counts) assert.ok(count >= 8, `${counts}`);
});

test('a receiver that says it is busy is waited for, but not for ever', async () => {
  const limits = { maxChunkBytes: 1024, maxBytesPerSecond: 1e6, stallTimeoutMs: 1000 };
  const fileBytes = 1024 * 1024;
  const { world, sent, ended, want } = await senderOf(fileBytes, { ...limits, maxChunkBytes: fileBytes });
  want(0);
  let offers = 0;
  let busyMs = 0;
  while (ended.length === 0 && busyMs < 20_000) {
    await world.scheduler.runFor(10);
    busyMs += 10;
    const now = sent.filter(({ message }) => message.type === 'snapshotOffer').length;
    // It answers each offer, as one that checks what it has.
    if (now > offers) want(fileBytes + 1);
    offers = now;
  }
  assert.equal(ended, [false]);
  // Ten times the patience that a silent one meets, and a second per MiB; then it counts as silent.
  assert.ok(busyMs > 11_000 && busyMs < 13_000, `${busyMs} ms`);
});

test.run();
