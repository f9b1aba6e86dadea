/** One behaviour of files, held against the operating system and against the simulated disk. */
import patchable, * as fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import * as os from 'node:os';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { FileSystem, OpenMode } from '../../src/env/env.js';
import { errorCode } from '../../src/env/errors.js';
import { realFileSystem } from '../../src/env/real/file-system.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

interface World {
  readonly name: string;
  /** A file system and an empty directory in it. */
  open(): { fs: FileSystem; root: string };
}

const temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'raftree-files-'));
test.after(() => fs.rmSync(temporary, { recursive: true, force: true }));

const worlds: readonly World[] = [
  {
    name: 'real',
    open: () => ({ fs: realFileSystem, root: fs.mkdtempSync(path.join(temporary, 'test-')) }),
  },
  {
    name: 'simulated',
    open() {
      const simulated = new SimDisk().mount();
      simulated.makeDirectory('/root');
      return { fs: simulated, root: '/root' };
    },
  },
];

type Scenario = (fs: FileSystem, root: string) => void | Promise<void>;

function inEveryWorld(what: string, scenario: Scenario): void {
  for (const world of worlds) {
    test(`${world.name}: ${what}`, async () => {
      const { fs: files, root } = world.open();
      await scenario(files, root);
    });
  }
}

const text = (value: string): Uint8Array[] => [Buffer.from(value)];

function put(files: FileSystem, name: string, value: string): void {
  const file = files.open(name, 'create');
  file.writeSync(text(value), 0);
  file.close();
}

function codeOf(run: () => unknown): string | undefined {
  try {
    run();
    return 'no error';
  } catch (error) {
    return errorCode(error);
  }
}

async function codeOfAsync(run: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await run();
    return 'no error';
  } catch (error) {
    return errorCode(error);
  }
}

inEveryWorld('open modes', (files, root) => {
  const name = `${root}/a`;
  const open = (mode: OpenMode) => () => files.open(name, mode).close();
  assert.is(codeOf(open('read')), 'ENOENT');
  assert.is(codeOf(open('modify')), 'ENOENT');
  assert.is(codeOf(open('create')), 'no error');
  assert.is(codeOf(open('create')), 'EEXIST');
  assert.is(codeOf(open('read')), 'no error');
  assert.is(codeOf(open('modify')), 'no error');
  assert.is(
    codeOf(() => files.open(`${root}/none/a`, 'create')),
    'ENOENT',
  );
  assert.is(
    codeOf(() => files.open(root, 'create')),
    'EEXIST',
  );
  assert.is(
    codeOf(() => files.open(root, 'modify')),
    'EISDIR',
  );
});

inEveryWorld('a file that was opened for reading takes no writes, but syncs', async (files, root) => {
  put(files, `${root}/a`, 'abc');
  const file = files.open(`${root}/a`, 'read');
  assert.is(
    codeOf(() => file.writeSync(text('x'), 0)),
    'EBADF',
  );
  assert.is(await codeOfAsync(() => file.write(text('x'), 0)), 'EBADF');
  await file.sync();
  file.syncNow();
  assert.is(files.readFile(`${root}/a`).toString(), 'abc');
  file.close();
});

inEveryWorld('reads give what there is, and nothing past the end', async (files, root) => {
  put(files, `${root}/a`, 'abcdef');
  const file = files.open(`${root}/a`, 'read');
  for (const read of [
    async (target: Uint8Array, position: number) => file.readSync(target, position),
    (target: Uint8Array, position: number) => file.read(target, position),
  ]) {
    const target = Buffer.alloc(4, '.');
    assert.is(await read(target, 1), 4);
    assert.is(target.toString(), 'bcde');
    assert.is(await read(target, 4), 2);
    assert.is(target.toString(), 'efde');
    assert.is(await read(target, 6), 0);
    assert.is(await read(target, 1000), 0);
    assert.is(await read(Buffer.alloc(0), 0), 0);
  }
  file.close();
});

inEveryWorld('all three writes put all chunks where they belong', async (files, root) => {
  const random = new SeededRandom(1);
  const file = files.open(`${root}/a`, 'create');
  let model = Buffer.alloc(0);
  for (let i = 0; i < 60; i++) {
    const chunks = Array.from({ length: random.pick([0, 1, 1, 2, 7, 1500]) }, () =>
      random.bytes(random.between(0, 40)),
    );
    const bytes = Buffer.concat(chunks);
    const position = random.between(0, model.length + 100);
    if (bytes.length > 0) {
      const grown = Buffer.alloc(Math.max(model.length, position + bytes.length));
      model.copy(grown);
      bytes.copy(grown, position);
      model = grown;
    }
    if (i % 4 === 0) file.writeSync(chunks, position);
    else if (i % 4 === 1) file.writeDurableNow(chunks, position);
    else if (i % 4 === 2) await file.write(chunks, position);
    else await file.writeDurable(chunks, position);
    if (i % 10 === 9) {
      const size = random.between(0, model.length + 50);
      file.truncate(size);
      const resized = Buffer.alloc(size);
      model.copy(resized);
      model = resized;
    }
    if (i % 7 === 0) await file.sync();
    assert.is(file.sizeBytes(), model.length);
  }
  assert.ok(files.readFile(`${root}/a`).equals(model));
  file.close();
});

inEveryWorld('truncate cuts and extends, with zeros', (files, root) => {
  const file = files.open(`${root}/a`, 'create');
  file.writeSync(text('abcdef'), 0);
  file.truncate(2);
  file.truncate(4);
  file.writeSync(text('x'), 6);
  assert.equal(files.readFile(`${root}/a`), Buffer.from('ab\0\0\0\0x'));
  file.close();
});

inEveryWorld('a closed file refuses everything, and touches no other', async (files, root) => {
  const closed = files.open(`${root}/a`, 'create');
  await closed.writeDurable(text('abc'), 0);
  closed.close();
  closed.close();
  // A system gives the numbers of closed descriptors to the files that are opened next.
  const others = ['b', 'c'].map((name) => files.open(`${root}/${name}`, 'create'));
  assert.is(
    codeOf(() => closed.writeSync(text('x'), 0)),
    'EBADF',
  );
  assert.is(
    codeOf(() => closed.readSync(Buffer.alloc(1), 0)),
    'EBADF',
  );
  assert.is(
    codeOf(() => closed.truncate(9)),
    'EBADF',
  );
  assert.is(
    codeOf(() => closed.syncNow()),
    'EBADF',
  );
  assert.is(
    codeOf(() => closed.writeDurableNow(text('x'), 0)),
    'EBADF',
  );
  for (const run of [
    () => closed.write(text('x'), 0),
    () => closed.writeDurable(text('x'), 0),
    () => closed.read(Buffer.alloc(1), 0),
    () => closed.sync(),
  ]) {
    assert.is(await codeOfAsync(run), 'EBADF');
  }
  for (const other of others) {
    assert.is(other.sizeBytes(), 0);
    other.close();
  }
  assert.is(files.readFile(`${root}/a`).toString(), 'abc');
});

inEveryWorld('an open file follows its rename and outlives its name', async (files, root) => {
  const file = files.open(`${root}/a.tmp`, 'create');
  file.writeSync(text('one '), 0);
  await file.sync();
  files.rename(`${root}/a.tmp`, `${root}/a`);
  put(files, `${root}/a.tmp`, 'another file');
  await file.writeDurable(text('two'), 4);
  assert.is(files.readFile(`${root}/a`).toString(), 'one two');
  assert.is(files.readFile(`${root}/a.tmp`).toString(), 'another file');
  files.unlink(`${root}/a`);
  await file.writeDurable(text('three'), 4);
  const target = Buffer.alloc(20);
  assert.is(file.readSync(target, 0), 9);
  assert.is(files.exists(`${root}/a`), false);
  file.close();
});

inEveryWorld('rename replaces a file, and an empty directory, and nothing else', (files, root) => {
  put(files, `${root}/a`, 'a');
  put(files, `${root}/b`, 'b');
  const old = files.open(`${root}/b`, 'read');
  files.rename(`${root}/a`, `${root}/b`);
  assert.equal(files.list(root), ['b']);
  assert.is(files.readFile(`${root}/b`).toString(), 'a');
  assert.is(old.readSync(Buffer.alloc(1), 0), 1);
  old.close();
  files.rename(`${root}/b`, `${root}/b`);
  assert.equal(files.list(root), ['b']);

  files.makeDirectory(`${root}/full`);
  put(files, `${root}/full/c`, 'c');
  files.makeDirectory(`${root}/empty`);
  files.makeDirectory(`${root}/d`);
  put(files, `${root}/d/e`, 'e');
  const rename = (from: string, to: string) => codeOf(() => files.rename(`${root}/${from}`, `${root}/${to}`));
  assert.is(rename('none', 'x'), 'ENOENT');
  assert.is(rename('b', 'none/x'), 'ENOENT');
  assert.is(rename('b', 'empty'), 'EISDIR');
  assert.is(rename('d', 'b'), 'ENOTDIR');
  assert.ok(['ENOTEMPTY', 'EEXIST'].includes(rename('d', 'full') ?? ''));
  assert.is(rename('d', 'empty'), 'no error');
  assert.equal(files.list(`${root}/empty`), ['e']);
  files.rename(`${root}/empty/e`, `${root}/full/e`);
  assert.equal(files.list(`${root}/full`), ['c', 'e']);
});

inEveryWorld('a directory is made with those above it, or is there; never where a file is', (files, root) => {
  for (let i = 0; i < 2; i++) files.makeDirectory(`${root}/a/b/c`);
  assert.equal(files.list(`${root}/a/b`), ['c']);
  put(files, `${root}/file`, 'x');
  assert.is(
    codeOf(() => files.makeDirectory(`${root}/file`)),
    'EEXIST',
  );
  assert.ok(['EEXIST', 'ENOTDIR'].includes(codeOf(() => files.makeDirectory(`${root}/file/a/b`)) ?? ''));
});

test('real: a directory where the system makes none is an error, and does not take for ever', () => {
  if (!fs.existsSync('/proc/self')) return;
  for (const directory of ['/proc/raftree', '/proc/raftree/a/b'])
    assert.is(
      codeOf(() => realFileSystem.makeDirectory(directory)),
      'ENOENT',
    );
});

inEveryWorld('link gives a second name, never a taken one', (files, root) => {
  put(files, `${root}/a`, 'a');
  put(files, `${root}/b`, 'b');
  const link = (from: string, to: string) => codeOf(() => files.link(`${root}/${from}`, `${root}/${to}`));
  assert.is(link('a', 'b'), 'EEXIST');
  assert.is(link('none', 'c'), 'ENOENT');
  assert.is(link('a', 'none/c'), 'ENOENT');
  assert.is(link('a', 'c'), 'no error');
  files.makeDirectory(`${root}/d`);
  assert.is(link('d', 'e'), 'EPERM');
  files.unlink(`${root}/a`);
  assert.is(files.readFile(`${root}/c`).toString(), 'a');
});

inEveryWorld('unlink removes a file, not a directory', (files, root) => {
  put(files, `${root}/a`, 'a');
  files.makeDirectory(`${root}/d`);
  files.unlink(`${root}/a`);
  assert.is(
    codeOf(() => files.unlink(`${root}/a`)),
    'ENOENT',
  );
  assert.is(
    codeOf(() => files.unlink(`${root}/d`)),
    'EISDIR',
  );
  assert.equal(files.list(root), ['d']);
});

inEveryWorld('list is sorted and says what is wrong', (files, root) => {
  for (const name of ['b', 'a', 'B', 'a0', '10', '9']) put(files, `${root}/${name}`, '');
  files.makeDirectory(`${root}/c`);
  assert.equal(files.list(root), ['10', '9', 'B', 'a', 'a0', 'b', 'c']);
  assert.is(
    codeOf(() => files.list(`${root}/none`)),
    'ENOENT',
  );
  assert.is(
    codeOf(() => files.list(`${root}/a`)),
    'ENOTDIR',
  );
});

inEveryWorld('readFile and exists', (files, root) => {
  put(files, `${root}/a`, 'abc');
  assert.is(files.readFile(`${root}/a`).toString(), 'abc');
  assert.is(
    codeOf(() => files.readFile(`${root}/none`)),
    'ENOENT',
  );
  assert.is(
    codeOf(() => files.readFile(root)),
    'EISDIR',
  );
  assert.equal(
    [
      files.exists(`${root}/a`),
      files.exists(root),
      files.exists(`${root}/none`),
      files.exists(`${root}/a/b`),
    ],
    [true, true, false, false],
  );
});

inEveryWorld('makeDirectory makes what is missing, removeTree removes all', (files, root) => {
  files.makeDirectory(`${root}/a/b/c`);
  files.makeDirectory(`${root}/a/b/c`);
  put(files, `${root}/a/b/c/file`, 'x');
  put(files, `${root}/a/file`, 'x');
  assert.is(
    codeOf(() => files.makeDirectory(`${root}/a/file`)),
    'EEXIST',
  );
  files.removeTree(`${root}/a/b`);
  assert.equal(files.list(`${root}/a`), ['file']);
  files.removeTree(`${root}/a/file`);
  files.removeTree(`${root}/none`);
  files.removeTree(`${root}/a`);
  assert.equal(files.list(root), []);
});

inEveryWorld('syncDirectory takes directories', (files, root) => {
  files.syncDirectory(root);
  assert.is(
    codeOf(() => files.syncDirectory(`${root}/none`)),
    'ENOENT',
  );
});

test('real: a durable write is one write that syncs its own bytes, unless the file has lost its name', async () => {
  const { fdatasync } = patchable;
  let syncs = 0;
  try {
    patchable.fdatasync = ((fd: number, done: (error: NodeJS.ErrnoException | null) => void) => {
      syncs++;
      fdatasync(fd, done);
    }) as typeof fdatasync;
    syncBuiltinESMExports();
    const file = realFileSystem.open(path.join(temporary, 'own-bytes'), 'create');
    await file.write(text('a'), 0);
    await file.writeDurable(text('b'), 1);
    assert.is(syncs, 0, 'it does not sync what was written before');
    const nameless = realFileSystem.open(path.join(temporary, 'own-bytes'), 'modify');
    realFileSystem.unlink(path.join(temporary, 'own-bytes'));
    await nameless.writeDurable(text('c'), 2);
    assert.is(syncs, 1);
    await file.writeDurable(text('d'), 3);
    assert.is(syncs, 1);
    const bytes = Buffer.alloc(4);
    assert.is(nameless.readSync(bytes, 0), 4);
    assert.is(bytes.toString(), 'abcd');
    file.close();
    nameless.close();
  } finally {
    Object.assign(patchable, { fdatasync });
    syncBuiltinESMExports();
  }
});

test('real: a durable write waits for a sync under way of what was written before it, and fails with it', async () => {
  const { fdatasync } = patchable;
  try {
    const failures = [null, Object.assign(new Error('EIO'), { code: 'EIO' })];
    for (const [failure, isBehindOthers] of failures.flatMap((failure) => [
      [failure, false] as const,
      [failure, true] as const,
    ])) {
      let end = () => {};
      patchable.fdatasync = ((fd: number, done: (error: NodeJS.ErrnoException | null) => void) => {
        patchable.fdatasync = fdatasync;
        syncBuiltinESMExports();
        end = () => fdatasync(fd, () => done(failure));
      }) as typeof fdatasync;
      syncBuiltinESMExports();
      const name = `beside-${failure?.code}-${isBehindOthers}`;
      const file = realFileSystem.open(path.join(temporary, name), 'create');
      await file.write([Buffer.from('a')], 0);
      const synced = file.sync().then(() => undefined, errorCode);
      if (isBehindOthers) await file.write([Buffer.from('c')], 2);
      let outcome: unknown = 'waits';
      const written = file.writeDurable([Buffer.from('b')], 1).then(
        () => {
          outcome = undefined;
        },
        (error: unknown) => {
          outcome = errorCode(error);
        },
      );
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.is(outcome, 'waits');
      end();
      await written;
      assert.is(outcome, failure?.code);
      assert.is(await synced, failure?.code);
      file.close();
    }
  } finally {
    Object.assign(patchable, { fdatasync });
    syncBuiltinESMExports();
  }
});

test.run();
