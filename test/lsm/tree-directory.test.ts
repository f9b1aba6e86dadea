/** The directory of a tree on real files: moved, removed, replaced, copied, named by a link or a relative path. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { realEnv } from '../../src/env/real/real-env.js';
import { type LsmOptions, LsmTree } from '../../src/lsm/index.js';
import { verifyDirectory } from '../../src/lsm/tools/verify-directory.js';
import { eventually, put, TINY } from './tree-lab.js';

let root = '';
let directory = '';
const start = process.cwd();

test.before.each(() => {
  root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'raftree-directory-')));
  directory = path.join(root, 'tree');
});
test.after.each(() => {
  process.chdir(start);
  fs.rmSync(root, { recursive: true, force: true });
});

/** So many that WAL files come and go, and tables are made and removed. */
async function fill(tree: LsmTree, name: string): Promise<void> {
  for (let i = 0; i < 100; i++) await tree.write([put(`${name}${i}`, 'x'.repeat(100))]);
}

function codeOf(attempt: Promise<unknown>): Promise<unknown> {
  return attempt.then(() => 'done', errorCode);
}

for (const worker of [false, true]) {
  const options: LsmOptions = { ...TINY, worker };

  test(`a removed directory that is made anew belongs to its second tree alone, worker: ${worker}`, async () => {
    const first = await LsmTree.open(directory, options);
    await fill(first, 'first');
    // Nothing is made in it while it is removed.
    await first.compactRange();
    fs.rmSync(directory, { recursive: true });
    const second = await LsmTree.open(directory, options);
    await fill(second, 'second');
    // It has files open and tables and logs to be made, under names that may be the second one's.
    await codeOf(fill(first, 'more'));
    await codeOf(first.close());
    assert.is(await codeOf(LsmTree.open(directory, options)), 'LSM_LOCKED');
    await fill(second, 'again');
    await second.flush();
    await second.close();
    const { problems, notes } = await verifyDirectory(realEnv(), directory);
    assert.equal([problems, notes], [[], []]);
    const third = await LsmTree.open(directory, options);
    assert.is([...third.iterator()].length, 200);
    await third.close();
  });

  test(`a tree whose directory has gone says so, and closes, worker: ${worker}`, async () => {
    const tree = await LsmTree.open(directory, options);
    await tree.write([put('a', '1')]);
    fs.renameSync(directory, `${directory}-moved`);
    assert.is(tree.getSync(Buffer.from('a'))?.toString(), '1');
    const error = await tree.flush().catch((reason: Error) => reason);
    assert.match(String(error), /was moved or removed while in use/);
    await tree.close();
    const moved = await LsmTree.open(`${directory}-moved`, options);
    assert.is(moved.getSync(Buffer.from('a'))?.toString(), '1');
    await moved.close();
  });
}

test('a log that is to be succeeded in a replaced directory takes no file of the other tree', async () => {
  const first = await LsmTree.open(directory, TINY);
  await first.write([put('a', '1')]);
  fs.rmSync(directory, { recursive: true });
  const second = await LsmTree.open(directory);
  await second.write([put('key', '1')]);
  await second.flush();
  // In the file of the number that is the first one's next.
  await second.write([put('last', '1')]);
  await codeOf(fill(first, 'first'));
  await codeOf(first.close());
  await second.write([put('more', '2')]);
  await second.close();
  const again = await LsmTree.open(directory);
  assert.is(again.getSync(Buffer.from('last'))?.toString(), '1');
  assert.is(again.getSync(Buffer.from('more'))?.toString(), '2');
  await again.close();
});

test('a tree that is only read, or has nothing to flush, closes when its directory is gone', async () => {
  for (const durability of ['sync', 'buffered', 'none'] as const) {
    const tree = await LsmTree.open(directory, { ...TINY, durability });
    fs.rmSync(directory, { recursive: true });
    await tree.close();
  }
});

test('a relative path and a symbolic link are followed once, at opening', async () => {
  fs.mkdirSync(path.join(root, 'a'));
  fs.mkdirSync(path.join(root, 'b'));
  fs.symlinkSync(path.join(root, 'a'), path.join(root, 'link'));
  process.chdir(root);
  const tree = await LsmTree.open('link/tree', TINY);
  assert.is(tree.directory, path.join(root, 'a', 'tree'));
  process.chdir('/');
  fs.unlinkSync(path.join(root, 'link'));
  fs.symlinkSync(path.join(root, 'b'), path.join(root, 'link'));
  await fill(tree, 'k');
  await tree.compactRange();
  assert.is(await codeOf(LsmTree.open(path.join(root, 'a', 'tree'), TINY)), 'LSM_LOCKED');
  await tree.close();
  assert.equal(fs.readdirSync(path.join(root, 'b')), []);
});

test('a copy of an open tree is a tree of its own', async () => {
  const tree = await LsmTree.open(directory, TINY);
  await tree.write([put('a', '1')]);
  fs.mkdirSync(`${directory}-copy`);
  for (const name of fs.readdirSync(directory)) {
    if (!name.startsWith('LOCK'))
      fs.copyFileSync(path.join(directory, name), path.join(`${directory}-copy`, name));
  }
  const copy = await LsmTree.open(`${directory}-copy`, TINY);
  assert.is(copy.getSync(Buffer.from('a'))?.toString(), '1');
  await copy.close();
  await tree.close();
});

test('the logs of a tree do not keep the size of the largest value', async () => {
  const tree = await LsmTree.open(directory, { ...TINY, writeBufferBytes: 256 * 1024 });
  for (let i = 0; i < 2; i++) await tree.write([put(`large${i}`, 'x'.repeat(8 << 20))]);
  await tree.flush();
  for (let i = 0; i < 2; i++) await tree.write([{ type: 'delete', key: Buffer.from(`large${i}`) }]);
  await fill(tree, 'small');
  await tree.compactRange();
  const logBytes = () =>
    fs
      .readdirSync(directory)
      .filter((name) => name.startsWith('wal-'))
      .reduce((sum, name) => sum + fs.statSync(path.join(directory, name)).size, 0);
  await eventually(() => logBytes() < 2 << 20);
  await tree.close();
});

test('files and directories of a tree are its owner’s alone', async () => {
  const tree = await LsmTree.open(path.join(root, 'deep', 'tree'), TINY);
  await fill(tree, 'k');
  await tree.close();
  for (const name of fs.readdirSync(path.join(root, 'deep', 'tree'))) {
    assert.is(fs.statSync(path.join(root, 'deep', 'tree', name)).mode & 0o777, 0o600, name);
  }
  assert.is(fs.statSync(path.join(root, 'deep')).mode & 0o777, 0o700);
  assert.is(fs.statSync(path.join(root, 'deep', 'tree')).mode & 0o777, 0o700);
});

test.run();
