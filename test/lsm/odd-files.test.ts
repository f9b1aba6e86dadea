/**
 * What is no file where one should be, on the real file system: directories, links that lead nowhere, files of
 * gigabytes. The tools report it, opening refuses it with its path, and repair puts it aside.
 */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeError } from '../../src/env/errors.js';
import { realEnv } from '../../src/env/real/real-env.js';
import { LsmTree } from '../../src/lsm/index.js';
import { statDirectory } from '../../src/lsm/tools/directory-stats.js';
import { dumpableFiles, dumpFile } from '../../src/lsm/tools/dump.js';
import { repairTree } from '../../src/lsm/tools/repair.js';
import { verifyDirectory } from '../../src/lsm/tools/verify-directory.js';
import { put } from './tree-lab.js';

const HUGE_BYTES = 3 * 2 ** 30;

const ODDITIES: Readonly<Record<string, (file: string) => void>> = {
  'a directory'(file) {
    fs.unlinkSync(file);
    fs.mkdirSync(file);
  },
  'a link to itself'(file) {
    fs.unlinkSync(file);
    fs.symlinkSync(path.basename(file), file);
  },
  'a link to nothing'(file) {
    fs.unlinkSync(file);
    fs.symlinkSync('nothing-of-that-name', file);
  },
  // Sparse: it takes no space.
  'a huge file': (file) => fs.truncateSync(file, HUGE_BYTES),
};

const KINDS: Readonly<Record<string, RegExp>> = {
  table: /\.sst$/,
  WAL: /^wal-\d+\.log$/,
  MANIFEST: /^MANIFEST-\d+$/,
};

const env = realEnv();

function testIn(name: string, run: (folder: string) => Promise<void>): void {
  test(name, async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'raftree-odd-'));
    try {
      await run(folder);
    } finally {
      fs.rmSync(folder, { recursive: true, force: true });
    }
  });
}

/** A tree with `a` in a table and `b` in the WAL; returns its newest file of a kind. */
async function makeTree(directory: string, kind: RegExp): Promise<string> {
  const tree = await LsmTree.open(directory, { worker: false });
  await tree.write([put('a', '1')]);
  await tree.flush();
  await tree.write([put('b', '2')]);
  await tree.close();
  const names = fs.readdirSync(directory).filter((name) => kind.test(name));
  return path.join(directory, names.sort().at(-1) ?? '');
}

function dumped(directory: string): { entries: number; damaged: string[] } {
  const result = { entries: 0, damaged: [] as string[] };
  for (const file of dumpableFiles(env.fs.list(directory))) {
    for (const record of dumpFile(env, directory, file)) {
      if (record.kind === 'damaged') result.damaged.push(file);
      else result.entries++;
    }
  }
  return result;
}

for (const [kind, pattern] of Object.entries(KINDS)) {
  for (const [what, make] of Object.entries(ODDITIES)) {
    testIn(`${what} in place of a ${kind}`, async (directory) => {
      const file = await makeTree(directory, pattern);
      make(file);
      const before = fs.readdirSync(directory);
      const { problems, notes } = await verifyDirectory(env, directory);
      assert.is(problems[0]?.path, file);
      assert.equal(notes, [], 'nothing is called superfluous');
      assert.is((await statDirectory(env, directory)).garbage.files, 0);
      const { entries, damaged } = dumped(directory);
      assert.ok(entries > 0);
      assert.equal(damaged, [path.basename(file)], 'the other files are dumped all the same');
      assert.equal(fs.readdirSync(directory), before, 'nothing was changed');

      const error = await LsmTree.open(directory, { worker: false })
        .then(async (tree) => {
          try {
            return tree.getSync(Buffer.from('a'));
          } finally {
            await tree.close();
          }
        })
        .catch((reason: unknown) => reason);
      assert.instance(error, RaftreeError);
      assert.equal([(error as RaftreeError).code, (error as RaftreeError).info.path], ['CORRUPTION', file]);

      const report = await repairTree(env, directory);
      assert.equal([report.isRepaired, report.verified.problems], [true, []]);
      assert.ok(report.originals.includes(path.basename(file)));
      assert.ok(fs.readdirSync(path.join(directory, 'lost')).includes(path.basename(file)));
      const tree = await LsmTree.open(directory, { worker: false });
      const found = ['a', 'b'].map((key) => tree.getSync(Buffer.from(key))?.toString());
      await tree.close();
      // A table that has grown still begins with what the MANIFEST names.
      const lost = kind === 'WAL' ? 'b' : kind === 'table' && what !== 'a huge file' ? 'a' : undefined;
      assert.equal(found, [lost === 'a' ? undefined : '1', lost === 'b' ? undefined : '2']);
      assert.is(report.losses.length, lost === undefined ? 0 : 1);
    });
  }
}

testIn('a directory with the name of a lock holds nothing and keeps nobody out', async (directory) => {
  await makeTree(directory, /^MANIFEST/);
  fs.mkdirSync(path.join(directory, 'LOCK.99'));
  assert.equal((await verifyDirectory(env, directory)).problems, []);
  const tree = await LsmTree.open(directory);
  assert.is(tree.getSync(Buffer.from('b'))?.toString(), '2');
  assert.is(await LsmTree.open(directory).catch((error: RaftreeError) => error.code), 'LSM_LOCKED');
  await tree.close();
});

testIn('what is no directory is refused by name', async (folder) => {
  const file = path.join(folder, 'file');
  fs.writeFileSync(file, '');
  for (const name of [file, '', 'with\0zero', 7 as unknown as string]) {
    for (const use of [
      () => LsmTree.open(name),
      () => verifyDirectory(env, name),
      () => repairTree(env, name),
      async () => statDirectory(env, name),
    ]) {
      const error = await use().catch((reason: unknown) => reason);
      assert.is((error as RaftreeError).code, 'LSM_INVALID', String(error));
    }
  }
});

test.run();
