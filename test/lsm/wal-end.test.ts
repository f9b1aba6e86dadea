/**
 * A close writes into the MANIFEST where the WAL ends. So a WAL that is cut off or damaged afterwards is told from one
 * that a crash has cut off: at every length, whatever the tree has gone through before.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeError } from '../../src/env/errors.js';
import type { LsmOptions } from '../../src/lsm/index.js';
import { dumpFile } from '../../src/lsm/tools/dump.js';
import { readOfflineTree } from '../../src/lsm/tools/offline-tree.js';
import { repairTree } from '../../src/lsm/tools/repair.js';
import { verifyDirectory } from '../../src/lsm/tools/verify-directory.js';
import { Manifest, manifestName } from '../../src/lsm/version/manifest.js';
import { RECORD_ALIGNMENT_BYTES } from '../../src/record/record.js';
import { systemError } from '../../src/sim/world/file-operation.js';
import { paths } from './tools-lab.js';
import {
  DIRECTORY,
  openTree,
  processEnv,
  put,
  recordingLogger,
  renderTree,
  SeededRandom,
  SimDisk,
} from './tree-lab.js';

const QUIET: LsmOptions = { writeBufferBytes: 1 << 20, level0Trigger: 100, level0StopTrigger: 100 };
const BATCHES = [
  [put('apple', 'red')],
  [put('banana', 'yellow'), put('cherry', 'dark red')],
  [put('apple', 'x'.repeat(250))],
  [put('damson', 'blue')],
];

async function use(disk: SimDisk, from: number, to: number, options: LsmOptions = QUIET): Promise<void> {
  const tree = await openTree(disk, options);
  for (const batch of BATCHES.slice(from, to)) await tree.write(batch);
  await tree.close();
}

async function stateOf(disk: SimDisk): Promise<string> {
  const tree = await openTree(disk.clone(), QUIET);
  try {
    return renderTree(tree);
  } finally {
    await tree.close();
  }
}

/** Disks after a clean close, with something in the WAL. */
const LIVES: Readonly<Record<string, (disk: SimDisk) => Promise<SimDisk>>> = {
  'one use': async (disk) => {
    await use(disk, 0, 4);
    return disk;
  },
  'several uses': async (disk) => {
    await use(disk, 0, 1);
    await use(disk, 1, 3);
    await use(disk, 3, 4);
    return disk;
  },
  'a use that only read': async (disk) => {
    await use(disk, 0, 4);
    await use(disk, 0, 0);
    await use(disk, 0, 0);
    return disk;
  },
  'buffered writes': async (disk) => {
    await use(disk, 0, 4, { ...QUIET, durability: 'buffered' });
    return disk;
  },
  'a crash before': async (disk) => {
    const tree = await openTree(disk, QUIET);
    await tree.write([put('before', 'the crash')]);
    const dead = disk.powerCutClone(new SeededRandom(3));
    await tree.close();
    await use(dead, 0, 4);
    return dead;
  },
  'flushes, and a file that is used again': async (disk) => {
    const tree = await openTree(disk, QUIET);
    for (const batch of BATCHES) {
      await tree.write(batch);
      await tree.flush();
    }
    for (const batch of BATCHES) await tree.write(batch);
    await tree.close();
    return disk;
  },
  'a rotation whose flush was not waited for': async (disk) => {
    const tree = await openTree(disk, { ...QUIET, writeBufferBytes: 1024 });
    await Promise.all([...BATCHES, ...BATCHES].map((batch) => tree.write(batch)));
    await tree.write([put('last', 'one')]);
    await tree.close();
    return disk;
  },
  'a time without a WAL': async (disk) => {
    await use(disk, 0, 2);
    await use(disk, 2, 3, { ...QUIET, durability: 'none' });
    await use(disk, 0, 4);
    return disk;
  },
};

for (const [life, live] of Object.entries(LIVES)) {
  test(`after ${life}, a WAL cut at any length is noticed`, async () => {
    const disk = await live(new SimDisk());
    const whole = await stateOf(disk);
    assert.equal((await verifyDirectory(processEnv(2, disk), DIRECTORY)).problems, []);
    const path = paths(disk, /^wal-\d+\.log$/).at(-1) ?? '';
    const size = disk.mount().readFile(path).length;
    assert.ok(size > 0);
    for (let length = 0; length < size; length++) {
      const copy = disk.clone();
      copy.edit(path, (bytes) => bytes.subarray(0, length));
      const { problems } = await verifyDirectory(processEnv(2, copy), DIRECTORY);
      // The last record may have up to 7 bytes of padding, which hold nothing.
      if (problems.length === 0 && size - length < RECORD_ALIGNMENT_BYTES) {
        assert.is(await stateOf(copy), whole);
        continue;
      }
      assert.is(problems[0]?.path, path, `cut at ${length}`);
      const error = await openTree(copy, QUIET).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      assert.instance(error, RaftreeError, `cut at ${length}`);
      const { code, info, message } = error as RaftreeError;
      assert.is(code, 'CORRUPTION');
      assert.is(info.path, path);
      assert.is(info.offset, problems[0]?.offset);
      assert.match(message, `${path} is damaged at offset ${info.offset}`);
      assert.match(
        message,
        /went on to offset \d+ of file \d+; put back what is missing, or let `raftree lsm repair/,
      );
    }
  });
}

test('what is repaired of a WAL that was cut goes on, and says what is lost', async () => {
  const disk = new SimDisk();
  await use(disk, 0, 4);
  const path = paths(disk, /^wal-/)[0] ?? '';
  disk.edit(path, (bytes) => bytes.subarray(0, bytes.length - 100));
  const report = await repairTree(processEnv(2, disk), DIRECTORY);
  assert.equal([report.isRepaired, report.losses.length, report.verified.problems], [true, 1, []]);
  assert.is(report.losses[0]?.path, path);
  await use(disk, 3, 4);
  assert.match(await stateOf(disk), /damson=blue/);
  assert.equal((await verifyDirectory(processEnv(2, disk), DIRECTORY)).problems, []);
});

test('repair of another file keeps what is known of the WAL', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk, QUIET);
  await tree.write([put('in', 'a table')]);
  await tree.flush();
  await tree.write([put('in', 'the WAL')]);
  await tree.close();
  const { walEnd } = await readOfflineTree(processEnv(2, disk), DIRECTORY);
  assert.ok(walEnd && walEnd.offset > 0);
  disk.mount().unlink(paths(disk, /\.sst$/)[0] ?? '');
  assert.ok((await repairTree(processEnv(2, disk), DIRECTORY)).isRepaired);
  assert.equal((await readOfflineTree(processEnv(2, disk), DIRECTORY)).walEnd, walEnd);
  const path = paths(disk, /^wal-/)[0] ?? '';
  disk.edit(path, (bytes) => bytes.subarray(0, 0));
  assert.is((await verifyDirectory(processEnv(2, disk), DIRECTORY)).problems[0]?.path, path);
});

test('a flipped bit of the last record is noticed, also where a crash could have left it', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk, QUIET);
  // Whole sectors of zeros: without the end of the WAL that looks torn.
  await tree.write([{ type: 'put', key: Buffer.from('zeros'), value: Buffer.alloc(2048) }]);
  await tree.close();
  const path = paths(disk, /^wal-/)[0] ?? '';
  disk.edit(path, (bytes) => {
    bytes[bytes.length - 9] = 1;
    return bytes;
  });
  assert.is((await verifyDirectory(processEnv(2, disk), DIRECTORY)).problems[0]?.path, path);
});

/** The ends of the WAL that the current MANIFEST names, record by record. */
function marksOf(disk: SimDisk): string[] {
  const name = (paths(disk, /^MANIFEST-\d+$/).at(-1) ?? '').slice(DIRECTORY.length + 1);
  return [...dumpFile(processEnv(2, disk), DIRECTORY, name)].flatMap((record) => {
    const end = record.kind === 'edit' ? record.edit.walEnd : undefined;
    return end ? [`${end.file}:${end.offset}`] : [];
  });
}

test('the mark: one per use that wrote something, none for a file that is not needed any more', async () => {
  const disk = new SimDisk();
  await use(disk, 0, 0);
  assert.equal(marksOf(disk), [], 'nothing was written');
  await use(disk, 0, 1);
  const [first = '', ...none] = marksOf(disk);
  assert.equal(none, []);
  await use(disk, 0, 0);
  assert.equal(marksOf(disk), [first], 'only in the whole version that the new MANIFEST begins with');
  await use(disk, 1, 2);
  const [again, second = '', ...others] = marksOf(disk);
  assert.equal([again, others], [first, []]);
  assert.ok(Number(second.split(':')[1]) > Number(first.split(':')[1]));
  const tree = await openTree(disk, QUIET);
  for (const key of ['a', 'b']) {
    await tree.write([put(key, 'in a table')]);
    await tree.flush();
  }
  const killed = disk.clone();
  await tree.close();
  const { oldestWal } = await readOfflineTree(processEnv(2, killed), DIRECTORY);
  assert.ok(oldestWal > Number(second.split(':')[0]));
  await use(killed, 0, 0);
  assert.equal(
    marksOf(killed).filter((mark) => Number(mark.split(':')[0]) < oldestWal),
    [],
  );
});

test('a checkpoint knows no WAL', async () => {
  const disk = new SimDisk();
  await use(disk, 0, 4);
  const tree = await openTree(disk, QUIET);
  await tree.checkpoint('/data/copy');
  await tree.close();
  assert.is((await readOfflineTree(processEnv(2, disk), '/data/copy')).walEnd, undefined);
});

test('a MANIFEST without a mark, of an earlier version: a WAL that is cut loses its end, as after a crash', async () => {
  const disk = new SimDisk();
  await use(disk, 0, 4);
  const env = processEnv(2, disk);
  const { version, problems, names, directory, manifestIsIntact, manifestIsTorn, notes, leftovers, ...tree } =
    await readOfflineTree(env, DIRECTORY);
  assert.equal([[...version.files()].length, problems.length], [0, 0]);
  const { manifest, walEnd, ...state } = tree;
  assert.ok(walEnd);
  (await Manifest.create(env, DIRECTORY, manifest + 1, { ...state, added: [], removed: [] })).close();
  disk.mount().unlink(`${DIRECTORY}/${manifestName(manifest)}`);
  disk.edit(paths(disk, /^wal-/)[0] ?? '', (bytes) => bytes.subarray(0, bytes.length - 9));
  const warnings: string[] = [];
  const opened = await openTree(disk, { ...QUIET, logger: recordingLogger(warnings) });
  assert.match(renderTree(opened), /cherry=/);
  assert.not.match(renderTree(opened), /damson=/);
  assert.match(warnings.join(), /the end of the WAL is torn by a crash/);
  await opened.close();
});

for (const code of ['EIO', 'ENOSPC']) {
  test(`a mark that cannot be written (${code}) is left out, and the close succeeds`, async () => {
    const disk = new SimDisk();
    let closing = false;
    const env = processEnv(1, disk, {
      fault: ({ kind, path }) =>
        closing && /write|sync/.test(kind) && path.includes('MANIFEST')
          ? systemError(code, kind, path)
          : undefined,
    });
    const warnings: string[] = [];
    const tree = await openTree(disk, { ...QUIET, logger: recordingLogger(warnings) }, env);
    for (const batch of BATCHES) await tree.write(batch);
    const state = renderTree(tree);
    closing = true;
    await tree.close();
    assert.match(warnings.join(), /the end of the WAL could not be written/);
    assert.is(await stateOf(disk), state);
    assert.equal((await verifyDirectory(processEnv(2, disk), DIRECTORY)).problems, []);
  });
}

test('a log that has failed gets no new mark, and the old one still holds', async () => {
  const disk = new SimDisk();
  await use(disk, 0, 2);
  const marks = marksOf(disk);
  let fails = false;
  const env = processEnv(1, disk, {
    fault: ({ kind, path }) => (fails && /wal-/.test(path) ? systemError('EIO', kind, path) : undefined),
  });
  const tree = await openTree(disk, QUIET, env);
  fails = true;
  await tree.write([put('a', 'b')]).then(
    () => assert.unreachable(),
    () => {},
  );
  await tree.close().catch(() => {});
  assert.equal(marksOf(disk), marks);
  assert.match(await stateOf(disk), /banana=yellow/);
});

test('no power cut after a mark makes a tree that does not open', async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = new SeededRandom(seed);
    let disk = new SimDisk();
    let [count, written] = [0, 0];
    for (let round = 0; round < 6; round++) {
      const durability = random.chance(0.5) ? 'sync' : 'buffered';
      const tree = await openTree(disk, { ...QUIET, writeBufferBytes: 1024, durability });
      const found = renderTree(tree).split('\n').filter(Boolean).length;
      assert.ok(found >= count && found <= written, `seed ${seed}: ${found} of ${count} to ${written}`);
      written = found;
      for (let i = random.between(0, 6); i > 0; i--)
        await tree.write([put(`key${1000 + written++}`, 'x'.repeat(90))]);
      if (random.chance(0.3)) await tree.flush();
      count = tree.durableSequence;
      if (random.chance(0.6)) {
        await tree.close();
        count = written;
        if (random.chance(0.5)) continue;
      }
      const dead = disk.powerCutClone(random);
      await tree.close();
      disk = dead;
    }
  }
});

test.run();
