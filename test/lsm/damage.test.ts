/**
 * Every byte of every kind of file flipped, and every file cut at every length: a prefix, or a typed error, never a
 * wrong value.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeError } from '../../src/env/errors.js';
import { type LsmOptions, LsmTree, type Operation } from '../../src/lsm/index.js';
import { repairTree } from '../../src/lsm/tools/repair.js';
import { verifyDirectory } from '../../src/lsm/tools/verify-directory.js';
import { decodeRecord, RECORD_ALIGNMENT_BYTES, RECORD_HEADER_BYTES } from '../../src/record/record.js';
import {
  after,
  DIRECTORY,
  SimDisk as Disk,
  openTree,
  processEnv,
  put,
  recordingLogger,
  remove,
  render,
  renderTree,
  type SimDisk,
  type State,
  statesOf,
} from './tree-lab.js';

const BATCHES: Operation[][] = [
  [put('apple', 'red'), put('banana', 'yellow')],
  [put('cherry', 'dark red'), remove('apple')],
  [put('damson', 'blue')],
  [remove('banana'), put('apple', 'green'), put('elder', 'black')],
];

type Result = { readonly state: string; readonly warnings: string[] } | { readonly error: RaftreeError };

async function recover(disk: SimDisk, options: LsmOptions): Promise<Result> {
  const warnings: string[] = [];
  let tree: LsmTree | undefined;
  try {
    tree = await openTree(disk, { ...options, logger: recordingLogger(warnings) });
    return { state: renderTree(tree), warnings };
  } catch (error) {
    if (error instanceof RaftreeError) return { error };
    throw error;
  } finally {
    await tree?.close().catch(() => {});
  }
}

function fileOf(disk: SimDisk, pattern: RegExp): { path: string; content: Buffer } {
  const fs = disk.mount();
  const name =
    fs
      .list(DIRECTORY)
      .filter((other) => pattern.test(other))
      .at(-1) ?? '';
  const path = `${DIRECTORY}/${name}`;
  return { path, content: fs.readFile(path) };
}

function damaged(disk: SimDisk, path: string, change: (content: Buffer) => Buffer): SimDisk {
  const copy = disk.clone();
  copy.edit(path, change);
  return copy;
}

function flip(offset: number): (content: Buffer) => Buffer {
  return (content) => {
    content[offset] = (content[offset] as number) ^ (1 << (offset % 8));
    return content;
  };
}

function assertTyped(error: RaftreeError, path: string): void {
  assert.is(error.code, 'CORRUPTION');
  assert.is(typeof error.info.offset, 'number', error.message);
  assert.ok(String(error.info.path).length > 0 && error.message.includes(DIRECTORY), path);
}

/** Of a tree that was closed, and of its process when that was killed just before. */
async function disksWithWal(): Promise<{ readonly closed: SimDisk; readonly killed: SimDisk }> {
  const closed = new Disk();
  const tree = await openTree(closed);
  for (const batch of BATCHES) await tree.write(batch);
  const killed = closed.clone();
  await tree.close();
  return { closed, killed };
}

async function diskWithWal(): Promise<SimDisk> {
  return (await disksWithWal()).closed;
}

test('a WAL that is cut after its tree was closed is a typed error, at any length', async () => {
  const disk = await diskWithWal();
  const { path, content } = fileOf(disk, /^wal-/);
  // The padding of the last record carries nothing.
  for (let length = 0; length <= content.length - RECORD_ALIGNMENT_BYTES; length += 3) {
    const copy = damaged(disk, path, (bytes) => bytes.subarray(0, length));
    const { problems } = await verifyDirectory(processEnv(1, copy), DIRECTORY);
    assert.equal([problems.length, problems[0]?.path], [1, path], `cut at ${length}`);
    const result = await recover(copy, {});
    if (!('error' in result)) throw new Error(`cut at ${length} it gave ${result.state}`);
    assertTyped(result.error, path);
    assert.is(fileOf(copy, /^wal-/).content.length, length, 'it is left as it is');
  }
});

test('where the WAL ended when its tree was closed is known in later lives too, and what came after it may be torn', async () => {
  const disk = await diskWithWal();
  const { path, content } = fileOf(disk, /^wal-/);
  const tree = await openTree(disk);
  const later = [put('fig', 'purple')];
  await tree.write(later);
  const killed = disk.clone();
  await tree.close();
  const states = statesOf([...BATCHES, later]);
  for (const [length, expected] of [
    [content.length - RECORD_ALIGNMENT_BYTES, 'CORRUPTION'],
    [content.length, states.at(-2)],
    [content.length + RECORD_ALIGNMENT_BYTES, states.at(-2)],
  ] as const) {
    const result = await recover(
      damaged(killed, path, (bytes) => bytes.subarray(0, length)),
      {},
    );
    assert.is('error' in result ? result.error.code : result.state, expected);
  }
});

test('a WAL cut at any length, as by a crash, gives a prefix of its history, and says so', async () => {
  const { closed, killed: disk } = await disksWithWal();
  const states = statesOf(BATCHES);
  const { path, content } = fileOf(closed, /^wal-/);
  const seen = new Set<number>();
  for (let length = 0; length < content.length; length++) {
    const result = await recover(
      damaged(disk, path, (bytes) => bytes.subarray(0, length)),
      {},
    );
    if ('error' in result) throw result.error;
    const prefix = states.indexOf(result.state);
    assert.ok(prefix >= 0, `cut at ${length}: ${result.state}`);
    seen.add(prefix);
  }
  assert.is(seen.size, states.length);
});

test('a flipped bit of the WAL is a typed error, in the last group too', async () => {
  const disk = await diskWithWal();
  const state = statesOf(BATCHES).at(-1);
  const { path, content } = fileOf(disk, /^wal-/);
  let errors = 0;
  let harmless = 0;
  for (let offset = 0; offset < content.length; offset++) {
    const result = await recover(damaged(disk, path, flip(offset)), {});
    if ('error' in result) {
      assertTyped(result.error, path);
      errors++;
    } else {
      assert.is(result.state, state, `flip at ${offset}`);
      harmless++;
    }
  }
  assert.ok(errors > 300, `${errors} errors`);
  // The padding of records, up to 7 bytes each, carries nothing.
  assert.ok(harmless <= 7 * BATCHES.length, `${harmless} harmless`);
});

test('a WAL file that is missing is a typed error', async () => {
  const disk = new Disk();
  const tree = await openTree(disk);
  // All under way at once, so that the memtable that is filled next needs the file of the one before.
  const writes = Array.from({ length: 12 }, (_, i) => tree.write([put(`key${i}`, 'x'.repeat(100))]));
  await Promise.all(writes);
  await tree.write([put('in the next file', '')]);
  const clone = disk.clone();
  await tree.close();
  const names = clone
    .mount()
    .list(DIRECTORY)
    .filter((name) => name.startsWith('wal-'));
  assert.ok(names.length >= 2, names.join());
  clone.mount().unlink(`${DIRECTORY}/${names[0]}`);
  const result = await recover(clone, {});
  assert.ok('error' in result);
  assertTyped(result.error, 'wal');
});

/** Where the records of a file end, and whether the last one says that it has a successor. */
function endOfRecords(content: Buffer, number: number): { offset: number; hasSuccessor: boolean } {
  let offset = 0;
  for (;;) {
    const record = decodeRecord(content, offset, number);
    if (!record) return { offset, hasSuccessor: false };
    offset = record.endOffset;
    if (record.endsFile) return { offset, hasSuccessor: true };
  }
}

/** Without one that was made for later. */
function walFiles(disk: SimDisk): string[] {
  const files = disk.mount();
  const names = files.list(DIRECTORY).filter((name) => /^wal-\d+\.log$/.test(name));
  const newest = names.findIndex((name) => {
    const { hasSuccessor } = endOfRecords(files.readFile(`${DIRECTORY}/${name}`), Number(name.slice(4, -4)));
    return !hasSuccessor;
  });
  return names.slice(0, newest + 1);
}

/** Disks of a tree at different moments of its life, each with what it must hold. */
async function lives(): Promise<{ what: string; disk: SimDisk; state: string; files: number }[]> {
  const disk = new Disk();
  const found: { what: string; disk: SimDisk; state: string; files: number }[] = [];
  const look = (what: string, tree: LsmTree) =>
    found.push({ what, disk: disk.clone(), state: renderTree(tree), files: walFiles(disk).length });
  let tree = await openTree(disk);
  await tree.write([put('first', 'of all')]);
  look('the first write', tree);
  await Promise.all(Array.from({ length: 12 }, (_, i) => tree.write([put(`key${i}`, 'x'.repeat(100))])));
  await tree.write([put('in the next file', '')]);
  look('a rotation, before the flush', tree);
  await tree.flush();
  look('the flush', tree);
  await tree.write([put('after', 'the flush')]);
  look('a write after the flush', tree);
  await tree.close();
  look('closing', await openTree(disk.clone()));
  tree = await openTree(disk);
  look('opening', tree);
  await tree.close();
  await (await openTree(disk, { durability: 'none' })).close();
  tree = await openTree(disk);
  await tree.write([put('with', 'a WAL again')]);
  look('a time without a WAL', tree);
  await tree.close();
  return found;
}

test('whichever file of the WAL is missing, or all of them: a typed error that says what to do', async () => {
  let most = 0;
  for (const { what, disk, state, files } of await lives()) {
    const whole = await recover(disk.clone(), {});
    assert.is('state' in whole && whole.state, state, what);
    assert.ok(files > 0, what);
    most = Math.max(most, files);
    const names = walFiles(disk);
    for (const missing of [...names.map((name) => [name]), names, names.slice(1)]) {
      if (missing.length === 0) continue;
      const copy = disk.clone();
      for (const name of missing) copy.mount().unlink(`${DIRECTORY}/${name}`);
      for (const durability of ['sync', 'none'] as const) {
        const result = await recover(copy.clone(), { durability });
        assert.ok('error' in result, `after ${what}, without ${missing.join()}`);
        assertTyped(result.error, what);
        assert.match(result.error.message, missing[0] ?? '');
        assert.match(result.error.message, /put back what is missing, or let `raftree lsm repair/);
      }
      const { problems } = await verifyDirectory(processEnv(2, copy), DIRECTORY);
      assert.is(problems[0]?.path, `${DIRECTORY}/${missing[0]}`, what);
      // Repair goes on without it; a file that is put back later is not taken for a new one.
      const report = await repairTree(processEnv(2, copy), DIRECTORY);
      assert.equal([report.isRepaired, report.losses.length, report.verified.problems], [true, 1, []], what);
      for (const name of missing) {
        const content = disk.mount().readFile(`${DIRECTORY}/${name}`);
        copy.mount().open(`${DIRECTORY}/${name}`, 'create').writeSync([content], 0);
      }
      const tree = await openTree(copy);
      await tree.write([put('after', 'the repair')]);
      await tree.close();
      const again = await recover(copy, {});
      assert.ok('state' in again && again.state.includes('after=the repair'), what);
    }
  }
  assert.ok(most >= 2, 'there were several files');
});

test('a WAL file that lost its end is a typed error, although its successor holds nothing', async () => {
  const rotated = (await lives()).find(({ what }) => what === 'a rotation, before the flush');
  assert.ok(rotated);
  const { disk } = rotated;
  const tree = await openTree(disk);
  // The MANIFEST now names both files.
  const copy = disk.clone();
  await tree.close();
  const [first, second, ...others] = walFiles(copy);
  assert.equal(others, []);
  copy.edit(`${DIRECTORY}/${second}`, () => Buffer.alloc(0));
  assert.ok('state' in (await recover(copy.clone(), {})), 'the second is the newest: its end may be torn');
  copy.edit(`${DIRECTORY}/${first}`, (content) => {
    const end = endOfRecords(content, Number(first?.slice(4, -4)));
    assert.ok(end.hasSuccessor);
    return content.subarray(0, end.offset - RECORD_HEADER_BYTES);
  });
  const result = await recover(copy, {});
  assert.ok('error' in result);
  assertTyped(result.error, 'wal');
  assert.match(result.error.message, `${first} is damaged at offset`);
});

async function diskWithTables(options: LsmOptions): Promise<{ disk: SimDisk; states: string[] }> {
  const disk = new Disk();
  const tree = await openTree(disk, { level0Trigger: 10, level0StopTrigger: 20, ...options });
  for (const batch of BATCHES) {
    await tree.write(batch);
    await tree.flush();
  }
  await tree.close();
  return { disk, states: statesOf(BATCHES) };
}

const QUIET: LsmOptions = { level0Trigger: 10, level0StopTrigger: 20, durability: 'none' };

test('a MANIFEST with a flipped bit is a typed error; cut short it is one too, or a state of the past', async () => {
  const { disk, states } = await diskWithTables(QUIET);
  const { path, content } = fileOf(disk, /^MANIFEST-/);
  const counts = { error: 0, full: 0 };
  for (let offset = 0; offset < content.length; offset++) {
    const result = await recover(damaged(disk, path, flip(offset)), QUIET);
    if ('error' in result) {
      assertTyped(result.error, path);
      counts.error++;
    } else {
      assert.is(result.state, states.at(-1), `flip at ${offset}`);
      counts.full++;
    }
  }
  assert.ok(counts.error > 300 && counts.full < 50, JSON.stringify(counts));
  for (let length = 0; length < content.length; length++) {
    const result = await recover(
      damaged(disk, path, (bytes) => bytes.subarray(0, length)),
      QUIET,
    );
    if ('error' in result) assertTyped(result.error, path);
    else assert.ok(states.includes(result.state), `cut at ${length}`);
  }
});

test('an older MANIFEST is no way out of a damaged one, and none beside tables is an error', async () => {
  const { disk } = await diskWithTables(QUIET);
  const { path, content } = fileOf(disk, /^MANIFEST-/);
  const number = Number(path.slice(-8));
  const newer = `${path.slice(0, -8)}${String(number + 1).padStart(8, '0')}`;
  const copy = disk.clone();
  copy
    .mount()
    .open(newer, 'create')
    .writeSync([content.subarray(0, 30)], 0);
  const result = await recover(copy, QUIET);
  assert.ok('error' in result);
  assert.is(result.error.info.path, newer);
  const without = disk.clone();
  without.mount().unlink(path);
  assert.ok('error' in (await recover(without, QUIET)));
});

test('a missing table is a typed error that names it', async () => {
  const { disk } = await diskWithTables(QUIET);
  const { path } = fileOf(disk, /\.sst$/);
  disk.mount().unlink(path);
  const result = await recover(disk, QUIET);
  assert.ok('error' in result);
  assert.is(result.error.info.path, path);
});

async function diskWithOneTable(): Promise<{ disk: SimDisk; state: State }> {
  const disk = new Disk();
  const tree = await openTree(disk, { ...QUIET, writeBufferBytes: 1 << 20 });
  let state: State = new Map();
  for (let i = 0; i < 24; i++) {
    const batch = [i % 7 === 3 ? remove(`key${i}`) : put(`key${i}`, `value ${i}`)];
    state = after(state, batch);
    await tree.write(batch);
  }
  await tree.close();
  return { disk, state };
}

/** Reads every key by itself: how many are right, and how many are refused. Throws for a wrong value. */
function readKeys(tree: LsmTree, state: State): { right: number; refused: number } {
  let [right, refused] = [0, 0];
  for (let i = 0; i < 30; i++) {
    const key = `key${i}`;
    try {
      assert.is(tree.getSync(Buffer.from(key))?.toString(), state.get(key), key);
      right++;
    } catch (error) {
      if (!(error instanceof RaftreeError)) throw error;
      assertTyped(error, key);
      refused++;
    }
  }
  return { right, refused };
}

test('a flipped byte of a table is always found by verify, and never gives a wrong value', async () => {
  const { disk, state } = await diskWithOneTable();
  const { path, content } = fileOf(disk, /\.sst$/);
  const indexOffset = Number(content.readBigUInt64LE(24));
  for (let offset = 0; offset < content.length; offset++) {
    const copy = damaged(disk, path, flip(offset));
    const tree = await LsmTree.open(DIRECTORY, { env: processEnv(2, copy), ...QUIET });
    const { problems } = await tree.verify();
    assert.ok(problems.length > 0, `flip at ${offset} of ${content.length}`);
    assert.is(problems[0]?.path, path);
    const { right, refused } = readKeys(tree, state);
    if (offset >= 128 && offset < indexOffset) {
      assert.ok(
        refused > 0 && right > 20,
        `flip at ${offset} of a data block: ${right} right, ${refused} refused`,
      );
    } else assert.ok(refused > 0, `flip at ${offset}`);
    assert.throws(() => renderTree(tree), /damaged/);
    await tree.close();
  }
});

test('a table cut at any length never gives a wrong value', async () => {
  const { disk, state } = await diskWithOneTable();
  const { path, content } = fileOf(disk, /\.sst$/);
  for (let length = 0; length < content.length; length++) {
    const copy = damaged(disk, path, (bytes) => bytes.subarray(0, length));
    const tree = await LsmTree.open(DIRECTORY, { env: processEnv(2, copy), ...QUIET });
    assert.is(readKeys(tree, state).right, 30 - readKeys(tree, state).refused);
    assert.ok((await tree.verify()).problems.length > 0, `cut at ${length}`);
    await tree.close();
  }
});

test('an undamaged tree verifies', async () => {
  const { disk, state } = await diskWithOneTable();
  const tree = await openTree(disk, QUIET);
  const report = await tree.verify();
  assert.equal(report.problems, []);
  assert.is(report.entries, state.size, 'tombstones that hide nothing are not written');
  assert.is(renderTree(tree), render(state));
  await tree.close();
});

test.run();
