/** A checkpoint is a tree of its own, at every cut of the power either whole or not there, and costs no second copy. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { LsmTree, type Operation } from '../../src/lsm/index.js';
import { type FileOperation, systemError } from '../../src/sim/world/file-operation.js';
import {
  DIRECTORY,
  openTree,
  processEnv,
  put,
  randomBatches,
  recordingLogger,
  renderTree,
  SeededRandom,
  SimDisk,
  TINY,
} from './tree-lab.js';

const TARGET = '/snapshots/first';

function openAt(directory: string, disk: SimDisk): Promise<LsmTree> {
  return LsmTree.open(directory, { ...TINY, createIfMissing: false, env: processEnv(1, disk) });
}

async function fill(tree: LsmTree, seed: number, batches: number): Promise<void> {
  for (const batch of randomBatches(new SeededRandom(seed), batches, 30)) {
    await tree.write(batch, { durability: 'buffered' });
  }
}

/** How a promise rejects. */
function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  return promise.then(
    () => 'resolved',
    (error: unknown) => errorCode(error),
  );
}

async function content(directory: string, disk: SimDisk): Promise<string> {
  const tree = await openAt(directory, disk);
  const { problems } = await tree.verify();
  assert.equal(problems, []);
  const state = renderTree(tree);
  await tree.close();
  return state;
}

test('a checkpoint holds the state of its call, and both trees go their own ways', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk);
  await fill(tree, 1, 60);
  const state = renderTree(tree);
  const sequence = await tree.checkpoint(TARGET);
  assert.is(sequence, tree.lastSequence);
  await fill(tree, 2, 60);
  await tree.compactRange();
  const later = renderTree(tree);
  assert.is(await content(TARGET, disk), state);

  const copy = await openAt(TARGET, disk);
  assert.is(copy.lastSequence, sequence);
  await copy.write([put('only here', 'x')]);
  await fill(copy, 3, 40);
  await copy.compactRange();
  await copy.close();
  assert.is(renderTree(tree), later);
  assert.equal((await tree.verify()).problems, []);
  await tree.close();
  assert.is(await content(DIRECTORY, disk), later);
});

test('a checkpoint of an empty tree, and one without a WAL', async () => {
  const disk = new SimDisk();
  const empty = await openTree(disk);
  assert.is(await empty.checkpoint(TARGET), 0);
  assert.is(await content(TARGET, disk), '');
  await empty.close();
  const tree = await openTree(disk, { durability: 'none' });
  await fill(tree, 1, 30);
  const state = renderTree(tree);
  await tree.checkpoint('/snapshots/second');
  assert.is(await content('/snapshots/second', disk), state);
  await tree.close();
});

test('a directory that exists is refused, and a closing tree waits for its checkpoint', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk);
  await fill(tree, 1, 30);
  assert.is(await codeOf(tree.checkpoint(DIRECTORY)), 'LSM_INVALID');
  await tree.flush();
  const state = renderTree(tree);
  const checkpoint = tree.checkpoint(TARGET);
  await new Promise((resolve) => setImmediate(resolve));
  await tree.close();
  await checkpoint;
  assert.is(await content(TARGET, disk), state);
  assert.is(await codeOf(tree.checkpoint('/snapshots/late')), 'LSM_CLOSED');
});

test('of two checkpoints into one directory at once, one is whole and the other refused', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk);
  for (let i = 0; i < 60; i++) await tree.write([put(`key${i}`, 'x'.repeat(100))]);
  const copy = '/data/copy';
  const outcomes = await Promise.all(
    [copy, '/data/./copy/', '/data/tree/../copy'].map((name) => codeOf(tree.checkpoint(name))),
  );
  assert.equal(outcomes, ['resolved', 'LSM_INVALID', 'LSM_INVALID']);
  const state = renderTree(tree);
  await tree.close();
  assert.is(await content(copy, disk), state);
});

test('a checkpoint cannot lie within its tree, and removes no files but its own', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk);
  await tree.write([put('a', '1')]);
  for (const name of [`${DIRECTORY}/copy`, `${DIRECTORY}/`, `${DIRECTORY}/deep/er`, `/data/x/../tree/copy`]) {
    const error = await tree.checkpoint(name).catch((reason) => reason);
    assert.is(errorCode(error), 'LSM_INVALID', name);
    assert.match(error.message, /lies within the tree/);
  }
  const files = disk.mount();
  files.makeDirectory('/data/copy.tmp');
  files.open('/data/copy.tmp/thesis.txt', 'create').close();
  const error = await tree.checkpoint('/data/copy').catch((reason) => reason);
  assert.match(error.message, /copy.tmp is in the way: no checkpoint has made thesis.txt/);
  assert.ok(files.exists('/data/copy.tmp/thesis.txt'));
  files.unlink('/data/copy.tmp/thesis.txt');
  // What a crash left of an earlier attempt goes.
  files.open('/data/copy.tmp/00000077.sst', 'create').close();
  files.open('/data/copy.tmp/MANIFEST-00000001.tmp', 'create').close();
  await tree.checkpoint('/data/copy');
  assert.not.ok(files.exists('/data/copy/00000077.sst'));
  await tree.checkpoint('/data/tree-2');
  await tree.close();
});

test('on another device the tables are copied', async () => {
  const disk = new SimDisk();
  const copied: string[] = [];
  const env = processEnv(1, disk, {
    fault: ({ kind, path: to }) => {
      if (kind === 'create' && to.startsWith('/snapshots/') && to.endsWith('.sst')) copied.push(to);
      return kind === 'link' && to.startsWith('/snapshots/') ? systemError('EXDEV', 'link', to) : undefined;
    },
  });
  const tree = await openTree(disk, {}, env);
  await fill(tree, 1, 60);
  const state = renderTree(tree);
  await tree.checkpoint(TARGET);
  await tree.close();
  assert.ok(copied.length > 0);
  assert.is(await content(TARGET, disk), state);
  // The copies are synced: they are there after the power was cut.
  assert.is(await content(TARGET, disk.powerCutClone(new SeededRandom(7))), state);
});

interface Cut {
  readonly operation: FileOperation;
  readonly disk: SimDisk;
  readonly isAcknowledged: boolean;
}

/** Checkpoints in the middle of writes, with the power cut before every operation. */
async function cutEverywhere(
  seed: number,
  crossesDevices: boolean,
): Promise<{ cuts: Cut[]; states: string[] }> {
  const random = new SeededRandom(seed);
  const disk = new SimDisk();
  const cuts: Cut[] = [];
  let records = false;
  let isAcknowledged = false;
  const env = processEnv(seed, disk, {
    fault: (operation) => {
      if (records && operation.kind !== 'read') {
        cuts.push({ operation, disk: disk.powerCutClone(random), isAcknowledged });
      }
      return crossesDevices && operation.kind === 'link' && operation.path.startsWith('/snapshots/')
        ? systemError('EXDEV', 'link', operation.path)
        : undefined;
    },
  });
  const tree = await openTree(disk, {}, env);
  await fill(tree, seed, 40);
  const states = [renderTree(tree)];
  records = true;
  const checkpoint = tree.checkpoint(TARGET).then(() => {
    isAcknowledged = true;
  });
  const writes: Promise<unknown>[] = [];
  for (const batch of randomBatches(random, 12, 30)) {
    writes.push(
      tree.write(batch as Operation[], { durability: 'buffered' }).then(() => states.push(renderTree(tree))),
    );
  }
  await Promise.all([checkpoint, ...writes]);
  await tree.flush();
  await tree.close();
  return { cuts, states };
}

for (const crossesDevices of [false, true]) {
  const how = crossesDevices ? 'copied' : 'linked';
  test(`wherever the power is cut, a checkpoint is whole or not there (tables ${how})`, async () => {
    for (const seed of [1, 2, 3]) {
      const { cuts, states } = await cutEverywhere(seed, crossesDevices);
      let [whole, absent] = [0, 0];
      for (const { operation, disk, isAcknowledged } of cuts) {
        const where = `seed ${seed}, before ${operation.kind} ${operation.path} (${operation.number})`;
        const exists = disk.mount().exists(TARGET);
        assert.ok(exists || !isAcknowledged, `${where}: an acknowledged checkpoint is gone`);
        if (exists) {
          whole++;
          assert.ok(states.includes(await content(TARGET, disk)), `${where}: it holds another state`);
          continue;
        }
        absent++;
        // What is left over is in nobody's way: the recovered tree makes the same checkpoint.
        if (operation.number % 7 !== 0) continue;
        const tree = await openTree(disk, {}, processEnv(seed, disk));
        await tree.checkpoint(TARGET);
        assert.is(await content(TARGET, disk), renderTree(tree), where);
        await tree.close();
      }
      assert.ok(whole > 5 && absent > 20, `${whole} whole, ${absent} absent`);
    }
  });
}

test('whatever operation fails, the checkpoint is whole or not there, and the tree goes on', async () => {
  for (const code of ['EIO', 'ENOSPC', 'lose'] as const) {
    let failures = 0;
    for (let failing = 1; ; failing++) {
      const disk = new SimDisk();
      let [records, count, hasFailed] = [false, 0, false];
      const env = processEnv(3, disk, {
        fault: ({ kind, path: where }) => {
          if (!records || !where.startsWith('/snapshots') || ++count !== failing) return undefined;
          if (code === 'lose' && kind !== 'sync') return undefined;
          hasFailed = true;
          return code === 'lose' ? 'lose' : systemError(code, kind, where);
        },
      });
      const tree = await openTree(disk, { logger: recordingLogger([]) }, env);
      await fill(tree, 4, 20);
      await tree.flush();
      records = true;
      const state = renderTree(tree);
      let isMade = true;
      try {
        await tree.checkpoint(TARGET);
      } catch (error) {
        isMade = false;
        assert.is(errorCode(error), code === 'ENOSPC' ? 'LSM_NO_SPACE' : 'EIO', `operation ${failing}`);
      }
      records = false;
      if (isMade) assert.is(await content(TARGET, disk), state);
      else {
        failures++;
        assert.not.ok(disk.mount().exists(TARGET), `operation ${failing}: it is there`);
        await tree.checkpoint(TARGET);
        assert.is(await content(TARGET, disk.powerCutClone(new SeededRandom(failing))), state);
      }
      await tree.write([put('goes on', '')]);
      await tree.close();
      if (!hasFailed && failing > count) break;
    }
    assert.ok(failures > (code === 'lose' ? 0 : 5), `${code}: ${failures}`);
  }
});

test('on a real disk the tables are shared, not copied', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'raftree-checkpoint-'));
  try {
    const tree = await LsmTree.open(path.join(folder, 'tree'), {
      ...TINY,
      level0Trigger: 1000,
      level0StopTrigger: 1000,
    });
    await fill(tree, 5, 60);
    const state = renderTree(tree);
    await tree.checkpoint(path.join(folder, 'copies', 'one'));
    const tables = fs.readdirSync(path.join(folder, 'copies', 'one')).filter((name) => name.endsWith('.sst'));
    assert.ok(tables.length > 0);
    for (const name of tables)
      assert.is(fs.statSync(path.join(folder, 'copies', 'one', name)).nlink, 2, name);
    assert.ok(fs.readdirSync(path.join(folder, 'copies', 'one')).every((name) => !name.startsWith('wal')));
    await tree.close();
    const copy = await LsmTree.open(path.join(folder, 'copies', 'one'), TINY);
    assert.is(renderTree(copy), state);
    await copy.close();
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
