/** Offers of snapshots that no snapshot is, and more of them than a disk can take: nothing is made or kept for them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { silentLogger } from '../../src/env/env.js';
import { configurationOf } from '../../src/raft/configuration.js';
import { crc32 } from '../../src/record/checksum.js';
import type { SnapshotChunk, SnapshotOffer, SnapshotWanted } from '../../src/replica/snapshot-messages.js';
import { SnapshotReceiver } from '../../src/replica/snapshot-receiver.js';
import { SnapshotTurns } from '../../src/replica/snapshot-turns.js';
import { StateDirectories } from '../../src/replica/state-directories.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { SimWorld } from '../../src/sim/world/world.js';

const FAR = 2 ** 53 - 1;
const GOOD: SnapshotOffer = {
  ...{ type: 'snapshotOffer', term: 5, checkpoint: 1 },
  snapshot: { index: 9, term: 4, configuration: configurationOf([1, 2, 3]) },
  files: [{ name: 'MANIFEST-00000001', sizeBytes: 8 }],
};

function chunkOf(bytes: Buffer, offset: number): SnapshotChunk {
  return { type: 'snapshotChunk', term: 5, checkpoint: 1, file: 0, offset, checksum: crc32(bytes), bytes };
}

function receiving(latency: () => Promise<void> = async () => {}) {
  const world = new SimWorld(1);
  const { env } = world.start('n1', new SimDisk(), { latency });
  env.fs.makeDirectory('/group');
  const wanted: SnapshotWanted[] = [];
  const told: string[] = [];
  const receiver = new SnapshotReceiver({
    env,
    logger: { ...silentLogger, error: (_fields, message) => void told.push(message) },
    directories: new StateDirectories(env, silentLogger, '/group'),
    transport: { send: (_to, message) => void wanted.push(message as SnapshotWanted) },
    core: { commitIndex: 1 },
    stateMachine: { check: async () => {} },
    installer: { arrived() {} },
    turns: new SnapshotTurns(env.timers, 8),
    stallTimeoutMs: 1000,
  });
  return { world, env, receiver, wanted, told };
}

test('what no snapshot is is refused before anything is made, and does not end one that is on its way', async () => {
  const { world, env, receiver, wanted, told } = receiving();
  receiver.offered(2, GOOD);
  await world.scheduler.runFor(10);
  assert.equal([wanted.length, env.fs.list('/group')], [1, ['receive-9-4']]);
  const [file] = GOOD.files;
  const { snapshot } = GOOD;
  const bad: readonly Partial<SnapshotOffer>[] = [
    { files: [{ name: 'a', sizeBytes: FAR }] },
    { files: ['a', 'b', 'c'].map((name) => ({ name, sizeBytes: 2 ** 43 })) },
    { files: [] },
    { files: [{ name: '../a', sizeBytes: 1 }] },
    { files: [file ?? { name: '', sizeBytes: 0 }, file ?? { name: '', sizeBytes: 0 }] },
    { files: Array.from({ length: 100_001 }, (_, i) => ({ name: `${i}`, sizeBytes: 1 })) },
    { snapshot: { ...snapshot, index: FAR } },
    { snapshot: { ...snapshot, term: 6 } },
    { snapshot: { ...snapshot, configuration: configurationOf([]) } },
  ];
  for (const [i, wrong] of bad.entries()) {
    receiver.offered(3, { ...GOOD, checkpoint: 100 + i, ...wrong });
    await world.scheduler.runFor(10);
    assert.equal(
      [wanted.length, env.fs.list('/group')],
      [1, ['receive-9-4']],
      JSON.stringify(wrong).slice(0, 80),
    );
  }
  assert.is(told.length, 1, 'it is told once a minute');
  assert.match(told[0] ?? '', /node 3 offers what no snapshot is: it has 9007199254740991 bytes/);
  receiver.chunk(2, chunkOf(Buffer.alloc(8, 'x'), 0));
  await world.scheduler.runFor(10);
  assert.is(wanted.at(-1)?.file, 1, 'the one on its way is whole');
  await world.scheduler.run(receiver.close());
});

test('what comes faster than the disk takes it is dropped, not kept', async () => {
  let goOn = () => {};
  const hanging = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const { world, receiver, wanted } = receiving(() => hanging);
  receiver.offered(2, { ...GOOD, files: [{ name: 'a', sizeBytes: 1000 }] });
  await world.scheduler.runFor(10);
  const byte = Buffer.alloc(1, 'x');
  for (let offset = 0; offset < 100; offset++) receiver.chunk(2, chunkOf(byte, offset));
  for (let checkpoint = 1000; checkpoint < 1100; checkpoint++) receiver.offered(3, { ...GOOD, checkpoint });
  goOn();
  await world.scheduler.runFor(1000);
  assert.equal(
    wanted.slice(1).map(({ offset }) => offset),
    [1, 2, 3, 4],
    'four were kept, and no offer beside them',
  );
  await world.scheduler.run(receiver.close());
});

test.run();
