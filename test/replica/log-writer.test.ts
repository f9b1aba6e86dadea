/** Batches that a full disk refused, and what replaced their entries meanwhile. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DiskSpace } from '../../src/env/disk-space.js';
import { silentLogger } from '../../src/env/env.js';
import { RaftreeError } from '../../src/env/errors.js';
import { configurationOf } from '../../src/raft/configuration.js';
import type { AppendBatch, Entry } from '../../src/raft/types.js';
import { RaftLog } from '../../src/raft-log/raft-log.js';
import { LogWriter } from '../../src/replica/log-writer.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import type { FileOperation } from '../../src/sim/world/file-operation.js';
import { SimWorld } from '../../src/sim/world/world.js';
import { fakeCore, stepsOf } from './replica-lab.js';

const entry = (term: number, text: string): Entry => ({ term, kind: 'command', body: Buffer.from(text) });

function batchOf(batch: number, term: number, first: number, entries: readonly Entry[]): AppendBatch {
  return { batch, hardState: { term, vote: 1, commit: 0 }, first, entries, snapshot: undefined };
}

/** A writer on a disk that may be full. */
async function open() {
  const disk = { isFull: false };
  const fault = ({ kind }: FileOperation) =>
    disk.isFull && kind === 'write' ? ('short' as const) : undefined;
  const world = new SimWorld(1);
  const { env } = world.start('n1', new SimDisk(), { fault });
  env.fs.makeDirectory('/raft');
  const raftLog = RaftLog.open({
    env,
    directory: '/raft',
    maxSegmentBytes: 64 * 1024,
    maxGroupCommitBytes: 64 * 1024,
    maxCachedBytes: 64 * 1024,
    preallocateBytes: 1024,
  });
  const base = { index: 0, term: 0, configuration: configurationOf([1]), directory: 'state' };
  const log = await world.scheduler.run(raftLog.createGroup(1, base));
  const core = fakeCore();
  const writer = new LogWriter({
    diskSpace: new DiskSpace(silentLogger, env, { retryMs: 100, maxRetryMs: 100 }),
    log,
    core,
    installer: { install: () => Promise.reject(new Error('no snapshot is installed here')) },
  });
  const persisted = () => stepsOf(core, 'persisted').map(({ batch }) => batch);
  const texts = () => log.entries(1, log.lastIndex).map(({ body }) => Buffer.from(body).toString());
  return { world, disk, log, writer, persisted, failures: core.failures, texts };
}

test('a batch does not overtake those that wait for space', async () => {
  const { world, disk, writer, persisted, failures, texts } = await open();
  disk.isFull = true;
  writer.write(batchOf(1, 1, 1, [entry(1, 'a')]));
  await world.scheduler.runFor(50);
  disk.isFull = false;
  writer.write(batchOf(2, 1, 2, [entry(1, 'b')]));
  await world.scheduler.runFor(20);
  assert.equal(persisted(), []);
  assert.equal(texts(), ['a', 'b'], 'it can be read');
  await world.scheduler.runFor(500);
  assert.equal(persisted(), [1, 2]);
  assert.equal(failures, []);
  assert.equal(texts(), ['a', 'b']);
  writer.close();
});

test('what was replaced while the disk was full is not written when there is space', async () => {
  const { world, disk, log, writer, persisted, failures, texts } = await open();
  writer.write(batchOf(1, 1, 1, [entry(1, 'a'), entry(1, 'b'), entry(1, 'c')]));
  await world.scheduler.runFor(50);
  disk.isFull = true;
  writer.write(batchOf(2, 1, 4, [entry(1, 'lost')]));
  await world.scheduler.runFor(50);
  writer.write(batchOf(3, 2, 0, []));
  writer.write(batchOf(4, 2, 2, [entry(2, 'B')]));
  await world.scheduler.runFor(500);
  assert.equal(persisted(), [1]);
  disk.isFull = false;
  await world.scheduler.runFor(500);
  assert.equal(failures, []);
  assert.equal(persisted(), [1, 2, 3, 4]);
  assert.equal(texts(), ['a', 'B']);
  assert.is(log.hardState.term, 2);
  writer.close();
});

test('a snapshot that comes while batches wait for space is installed once', async () => {
  const world = new SimWorld(1);
  const { env } = world.start('n1', new SimDisk());
  const refused = new RaftreeError('LOG_NO_SPACE', 'the disk is full');
  const installs: (() => void)[] = [];
  const core = fakeCore();
  const writer = new LogWriter({
    diskSpace: new DiskSpace(silentLogger, env, { retryMs: 100, maxRetryMs: 100 }),
    log: { append: () => Promise.reject(refused), hold() {} },
    core,
    installer: { install: () => new Promise((resolve) => installs.push(resolve)) },
  });
  writer.write(batchOf(1, 1, 1, [entry(1, 'a')]));
  await world.scheduler.runFor(50);
  const snapshot = { index: 5, term: 1, configuration: configurationOf([1]) };
  writer.write({ ...batchOf(2, 1, 6, []), snapshot });
  await world.scheduler.runFor(500);
  assert.is(installs.length, 1);
  for (const done of installs) done();
  await world.scheduler.runFor(50);
  assert.equal(
    stepsOf(core, 'persisted').map(({ batch }) => batch),
    [2],
  );
  assert.equal(core.failures, []);
  writer.close();
});

test.run();
