/** A tree and databases of other kinds: neither touches what is the other's. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { ClassicLevel } from 'classic-level';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode, type RaftreeError } from '../../src/env/errors.js';
import { realEnv } from '../../src/env/real/real-env.js';
import { LsmTree } from '../../src/lsm/index.js';
import { repairTree } from '../../src/lsm/tools/repair.js';
import { verifyDirectory } from '../../src/lsm/tools/verify-directory.js';
import { DIRECTORY, openTree, put, SeededRandom, SimDisk, TINY } from './tree-lab.js';

const env = realEnv();
let directory = '';

test.before.each(() => {
  directory = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'raftree-other-')), 'data');
});
test.after.each(() => {
  fs.rmSync(path.dirname(directory), { recursive: true, force: true });
});

/** Every file with its bytes. */
function contentOf(folder: string): [string, string][] {
  return fs
    .readdirSync(folder)
    .sort()
    .map((name) => [name, fs.readFileSync(path.join(folder, name), 'latin1')]);
}

test('a database of LevelDB is refused by name, and not touched', async () => {
  const theirs = new ClassicLevel(directory);
  await theirs.put('a', '1');
  await theirs.close();
  const before = contentOf(directory);
  for (const use of [
    () => LsmTree.open(directory),
    () => LsmTree.open(directory, { createIfMissing: false }),
    () => repairTree(env, directory),
  ]) {
    const error: RaftreeError = await use().then(
      () => assert.unreachable(),
      (reason) => reason,
    );
    assert.ok(['LSM_FOREIGN', 'LSM_INVALID'].includes(error.code), error.message);
    assert.equal(contentOf(directory), before);
  }
  const error: RaftreeError = await LsmTree.open(directory).catch((reason) => reason);
  assert.match(error.message, /holds a database of another kind \(LevelDB or RocksDB, by its file /);
  const again = new ClassicLevel(directory);
  assert.is(await again.get('a'), '1');
  await again.close();
});

test('files that only another kind of database has are enough', async () => {
  for (const name of ['CURRENT', 'MANIFEST-000007', '000012.ldb', 'data.mdb']) {
    fs.mkdirSync(directory);
    fs.writeFileSync(path.join(directory, name), 'MANIFEST-000007\n');
    assert.is(await LsmTree.open(directory).catch(errorCode), 'LSM_FOREIGN', name);
    assert.equal(contentOf(directory), [[name, 'MANIFEST-000007\n']]);
    fs.rmSync(directory, { recursive: true });
  }
});

test('LevelDB refuses a tree, open or closed, and removes nothing of it', async () => {
  const tree = await LsmTree.open(directory, TINY);
  for (let i = 0; i < 100; i++) await tree.write([put(`key${i}`, 'x'.repeat(50))]);
  const refusal = async () => {
    const theirs = new ClassicLevel(directory);
    const error = await theirs.open().catch((reason: Error) => reason);
    await theirs.close();
    return errorCode((error as Error).cause);
  };
  assert.is(await refusal(), 'LEVEL_CORRUPTION');
  await tree.close();
  assert.is(await refusal(), 'LEVEL_CORRUPTION');
  assert.equal((await verifyDirectory(env, directory)).problems, []);
  // It leaves its LOCK and its LOG: they are in nobody's way.
  const again = await LsmTree.open(directory, TINY);
  assert.is([...again.iterator()].length, 100);
  await again.close();
});

test('whatever a power cut leaves of the file that keeps others away, the tree opens', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk);
  await tree.write([put('a', '1')]);
  for (let seed = 1; seed <= 40; seed++) {
    const after = disk.powerCutClone(new SeededRandom(seed));
    const again = await openTree(after);
    assert.is(again.getSync(Buffer.from('a'))?.toString(), '1');
    await again.close();
    assert.is(
      after.contentOf(`${DIRECTORY}/CURRENT`)?.length,
      disk.contentOf(`${DIRECTORY}/CURRENT`)?.length,
    );
  }
  await tree.close();
});

test('a checkpoint within the tree is refused however its path is written', async () => {
  const tree = await LsmTree.open(directory, TINY);
  const link = `${directory}-link`;
  fs.symlinkSync(directory, link);
  const relative = path.relative(process.cwd(), directory);
  for (const target of [`${link}/copy`, `${relative}/copy`, `${relative}/../data/deep/copy`]) {
    assert.is(await tree.checkpoint(target).then(() => 'done', errorCode), 'LSM_INVALID', target);
  }
  await tree.close();
});

test.run();
