/** Verifying a tree that nobody has open: every damage is reported, and nothing is changed. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { LsmTree } from '../../src/lsm/index.js';
import { readOfflineTree } from '../../src/lsm/tools/offline-tree.js';
import { verifyDirectory } from '../../src/lsm/tools/verify-directory.js';
import { Manifest } from '../../src/lsm/version/manifest.js';
import type { VersionEdit } from '../../src/lsm/version/version-edit.js';
import { contents, flipped, paths, QUIET, sampleTree } from './tools-lab.js';
import { DIRECTORY, openTree, processEnv, put, SimDisk } from './tree-lab.js';

function verify(disk: SimDisk) {
  return verifyDirectory(processEnv(2, disk), DIRECTORY);
}

async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  return promise.then(() => 'no error', errorCode);
}

test('a sound tree has no problems, and verifying it writes nothing', async () => {
  const { disk } = await sampleTree();
  const before = contents(disk);
  const kinds = new Set<string>();
  const env = processEnv(2, disk, {
    fault: ({ kind }) => {
      kinds.add(kind);
      return undefined;
    },
  });
  const report = await verifyDirectory(env, DIRECTORY);
  assert.equal(report.problems, []);
  assert.equal(report.notes, []);
  assert.equal([report.tables, report.walFiles, report.batches], [4, 2, 15]);
  assert.equal([...kinds].sort(), ['open', 'read']);
  assert.equal(contents(disk), before);
});

test('every flipped byte of a table is reported with its path', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk, QUIET);
  for (let i = 0; i < 15; i++) await tree.write([put(`key${i}`, `value ${i}`)]);
  await tree.flush();
  await tree.close();
  const [path = ''] = paths(disk, /\.sst$/);
  const size = disk.mount().readFile(path).length;
  for (let offset = 0; offset < size; offset++) {
    const { problems } = await verify(flipped(disk, path, offset));
    assert.ok(
      problems.some((problem) => problem.path === path),
      `flip at ${offset} of ${size}`,
    );
  }
});

for (const [name, pattern] of [
  ['MANIFEST', /MANIFEST/],
  ['WAL', /wal-/],
] as const) {
  test(`a flipped byte of the ${name} is reported, but for padding`, async () => {
    const { disk } = await sampleTree();
    const path = paths(disk, pattern).at(-1) ?? '';
    const size = disk.mount().readFile(path).length;
    const counts = { problem: 0, nothing: 0 };
    for (let offset = 0; offset < size; offset += 3) {
      const { problems } = await verify(flipped(disk, path, offset));
      if (problems.length > 0) counts.problem++;
      else counts.nothing++;
    }
    assert.ok(counts.problem > size / 6, JSON.stringify(counts));
    assert.ok(counts.nothing < 20, JSON.stringify(counts));
  });
}

test('files that are missing: table, WAL, MANIFEST; a folder without a tree; a tree that is open', async () => {
  const { disk } = await sampleTree();
  for (const [pattern, message] of [
    [/\.sst$/, /ENOENT|missing/],
    [/MANIFEST/, /missing/],
  ] as const) {
    const copy = disk.clone();
    copy.mount().unlink(paths(copy, pattern)[0] ?? '');
    assert.match((await verify(copy)).problems[0]?.message ?? '', message);
  }
  assert.is(await codeOf(verify(new SimDisk())), 'LSM_INVALID');
  const env = processEnv(9, disk);
  const tree = await LsmTree.open(DIRECTORY, { ...QUIET, env });
  assert.is(await codeOf(verifyDirectory(env, DIRECTORY)), 'LSM_LOCKED');
  await tree.close();
  assert.equal((await verifyDirectory(env, DIRECTORY)).problems, []);
});

test('a WAL with a gap, and what is no longer needed', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk, { ...QUIET, writeBufferBytes: 1024 });
  await Promise.all(Array.from({ length: 12 }, (_, i) => tree.write([put(`key${i}`, 'x'.repeat(100))])));
  const clone = disk.clone();
  await tree.close();
  const names = paths(clone, /wal-/);
  assert.ok(names.length > 0);
  clone.mount().open(`${DIRECTORY}/00000999.sst`, 'create');
  clone.mount().open(`${DIRECTORY}/wal-00000998.spare`, 'create');
  const notes = (await verify(clone)).notes.join();
  assert.match(notes, /00000999\.sst: it is no longer needed/);
  assert.not.match(notes, /spare/, 'what an open tree keeps is nothing to note');
  clone.mount().unlink(names[0] ?? '');
  if (names.length === 1) clone.mount().open(`${DIRECTORY}/wal-00000009.log`, 'create');
  assert.match((await verify(clone)).problems[0]?.message ?? '', /missing/);
});

/** The tree with its levels as `change` has them. */
async function rearranged(change: (edit: VersionEdit) => VersionEdit): Promise<SimDisk> {
  const { disk } = await sampleTree();
  const env = processEnv(2, disk);
  const { version, manifest, oldestWal, flushedSequence, nextFileNumber } = await readOfflineTree(
    env,
    DIRECTORY,
  );
  const added = version.levels.flatMap((files, level) => files.map((file) => ({ ...file.metadata, level })));
  const edit = change({ added, removed: [], oldestWal, flushedSequence, nextFileNumber });
  (await Manifest.create(env, DIRECTORY, manifest + 1, edit)).close();
  return disk;
}

const CONTRADICTIONS: readonly [RegExp, (edit: VersionEdit) => VersionEdit][] = [
  [/overlap/, (edit) => ({ ...edit, added: edit.added.map((table) => ({ ...table, level: 1 })) })],
  [
    /lies below/,
    (edit) => ({
      ...edit,
      added: edit.added
        .map((table) => ({ ...table, level: table.level === 1 ? 2 : table.level === 0 ? 3 : 1 }))
        .filter((table, i, all) => all.findIndex((other) => other.level === table.level) === i),
    }),
  ],
  [
    /entries: \d+ found/,
    (edit) => ({ ...edit, added: edit.added.map((table) => ({ ...table, entries: 1 })) }),
  ],
  [/not below the next file number/, (edit) => ({ ...edit, nextFileNumber: 1 })],
  [/above the flushed one/, (edit) => ({ ...edit, flushedSequence: 1 })],
];

for (const [message, change] of CONTRADICTIONS) {
  test(`a MANIFEST that contradicts the tables or itself: ${message.source}`, async () => {
    const { problems } = await verify(await rearranged(change));
    assert.match(problems.map((problem) => problem.message).join('\n'), message);
  });
}

test.run();
