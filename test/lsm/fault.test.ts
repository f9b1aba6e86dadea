/**
 * One operation of a script fails: with EIO, with ENOSPC, after half of its bytes, or as a sync that loses what it
 * should have made durable and leaves it looking clean. Whatever the callers were told must be what a new process finds
 * on the disk, and what a power cut leaves must hold everything acknowledged as synced.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode, RaftreeError } from '../../src/env/errors.js';
import type { LsmOptions, LsmTree, Operation } from '../../src/lsm/index.js';
import { type Fault, type FileOperation, systemError } from '../../src/sim/world/file-operation.js';
import {
  DIRECTORY,
  eventually,
  openTree,
  processEnv,
  put,
  randomBatches,
  renderTree,
  SeededRandom,
  SimDisk,
  statesOf,
} from './tree-lab.js';

type FaultKind = 'EIO' | 'ENOSPC' | 'EMFILE' | 'short' | 'lose';

/** What needs a descriptor. */
const OPENS = ['open', 'create', 'sync-directory'];

interface Outcome {
  readonly disk: SimDisk;
  /** Batches that were committed, then those of which it is not known. */
  readonly committed: Operation[][];
  readonly unknown: Operation[][];
  /** How many of the committed ones were acknowledged as synced, counted to the last of them. */
  readonly synced: number;
  readonly operations: readonly FileOperation[];
  readonly failedAt: FileOperation | undefined;
  /** Whether the tree took writes at the end of the script. */
  readonly isWritable: boolean;
  readonly isOpen: boolean;
  readonly problems: string[];
}

function faultOf(kind: FaultKind, operation: FileOperation): Fault {
  if (kind === 'short') return operation.kind === 'write' ? 'short' : undefined;
  if (kind === 'lose') return operation.kind === 'sync' ? 'lose' : undefined;
  if (kind === 'EMFILE' && !OPENS.includes(operation.kind)) return undefined;
  return systemError(kind, operation.kind, operation.path);
}

async function runScript(kind: FaultKind, failing: number, options: LsmOptions): Promise<Outcome> {
  const random = new SeededRandom(11);
  const disk = new SimDisk();
  const operations: FileOperation[] = [];
  let failedAt: FileOperation | undefined;
  const env = processEnv(5, disk, {
    fault: (operation) => {
      operations.push(operation);
      if (operation.number !== failing) return undefined;
      const fault = faultOf(kind, operation);
      if (fault !== undefined) failedAt = operation;
      return fault;
    },
  });
  const committed: Operation[][] = [];
  const unknown: Operation[][] = [];
  const problems: string[] = [];
  let synced = 0;
  let isWritable = false;
  let tree: LsmTree | undefined;
  try {
    tree = await openTree(disk, options, env);
    const opened = tree;
    const write = (batch: Operation[], durability: 'sync' | 'buffered') =>
      opened.write(batch, { durability }).then(
        () => {
          committed.push(batch);
          if (durability === 'sync' && options.durability !== 'none') synced = committed.length;
          return true;
        },
        (error: unknown) => {
          const outcome = error instanceof RaftreeError ? error.info.outcome : undefined;
          if (outcome === 'unknown') unknown.push(batch);
          else if (outcome !== 'notCommitted') problems.push(`a write failed with ${error}`);
          return false;
        },
      );
    for (const batches of groupsOf(randomBatches(random, 27, 20), 3)) {
      const durability = random.chance(0.5) ? 'sync' : 'buffered';
      await Promise.all(batches.map((batch) => write(batch, durability)));
    }
    // Reads go on, whatever failed.
    readAll(opened, problems);
    await opened.flush().then(
      () => {
        synced = committed.length;
      },
      () => {},
    );
    for (let tries = 0; tries < 4 && !isWritable; tries++) {
      isWritable = await write([put('last', `write ${tries}`)], 'sync');
      // Flush and compaction are tried again after a while.
      if (opened.stats().isReadOnly) break;
      if (!isWritable) await new Promise((resolve) => setTimeout(resolve, 2));
    }
  } catch (error) {
    if (tree) problems.push(`the script failed with ${error}`);
  }
  await tree?.close().catch(() => {});
  return {
    disk,
    committed,
    unknown,
    synced,
    operations,
    failedAt,
    isWritable,
    isOpen: tree !== undefined,
    problems,
  };
}

function groupsOf<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) =>
    items.slice(i * size, (i + 1) * size),
  );
}

function readAll(tree: LsmTree, problems: string[]): void {
  try {
    renderTree(tree);
  } catch (error) {
    // The read itself may be the operation that fails.
    if (!['EIO', 'ENOSPC', 'EMFILE'].includes(errorCode(error) ?? ''))
      problems.push(`reading failed with ${error}`);
  }
}

async function stateOf(disk: SimDisk, options: LsmOptions): Promise<string> {
  const tree = await openTree(disk, options);
  try {
    return renderTree(tree);
  } finally {
    await tree.close();
  }
}

async function findProblems(outcome: Outcome, options: LsmOptions): Promise<string[]> {
  const problems = [...outcome.problems];
  const states = statesOf([...outcome.committed, ...outcome.unknown]);
  const hasWal = options.durability !== 'none';
  const cut = outcome.disk.powerCutClone(new SeededRandom(outcome.operations.length));
  try {
    const state = await stateOf(outcome.disk, options);
    const found = states.lastIndexOf(state);
    const least = hasWal ? outcome.committed.length : outcome.synced;
    if (found < least) problems.push(`a new process finds ${found} batches of ${least}`);
    // What a new process has found must not go at the next power cut, even if it had only looked durable.
    const later = outcome.disk.powerCutClone(new SeededRandom(outcome.operations.length + 1));
    if ((await stateOf(later, options)) !== state)
      problems.push('what a new process had found was lost later');
    const left = states.lastIndexOf(await stateOf(cut, options));
    if (left < outcome.synced) problems.push(`the power cut leaves ${left} batches of ${outcome.synced}`);
  } catch (error) {
    problems.push(`opening again failed with ${error}`);
  }
  return problems;
}

const SETUPS: readonly [string, LsmOptions][] = [
  ['with a WAL', {}],
  ['without a WAL, compressed', { durability: 'none', codecs: ['none', 'lz4'] }],
];

for (const [name, options] of SETUPS) {
  for (const kind of ['EIO', 'ENOSPC', 'EMFILE', 'short', 'lose'] as const) {
    test(`${name}, ${kind} at the n-th operation, for every n: callers were told the truth`, async () => {
      const { operations } = await runScript(kind, 0, options);
      assert.ok(operations.length > 90, `the script does enough: ${operations.length}`);
      const problems: string[] = [];
      let failures = 0;
      let refusals = 0;
      for (const operation of operations) {
        const n = operation.number;
        // Not every operation can fail in this way.
        if (faultOf(kind, operation) === undefined) continue;
        const outcome = await runScript(kind, n, options);
        if (!outcome.failedAt) continue;
        failures++;
        if (!outcome.isWritable) refusals++;
        const place = `${n}: ${outcome.failedAt.kind} ${outcome.failedAt.path}`;
        // A disk that was full for a moment stops nothing but a failed sync, and opening.
        const isWriteOf =
          outcome.failedAt.kind === 'write' && /wal-|\.sst$|MANIFEST-\d+$/.test(outcome.failedAt.path);
        if (kind !== 'EIO' && kind !== 'lose' && outcome.isOpen && isWriteOf && !outcome.isWritable)
          problems.push(`${place}: writing did not resume`);
        // Nor does one descriptor that was not to be had; but the tree must open, and a MANIFEST once made must be had.
        const isManifest = /MANIFEST-\d+$/.test(outcome.failedAt.path);
        if (kind === 'EMFILE' && outcome.isOpen && !isManifest && !outcome.isWritable)
          problems.push(`${place}: writing did not go on`);
        for (const problem of await findProblems(outcome, options)) problems.push(`${place}: ${problem}`);
      }
      assert.is(problems.join('\n'), '');
      assert.ok(failures > (kind === 'lose' ? 10 : 20), `${failures} failures`);
      if (kind === 'EIO') assert.ok(refusals > 10, 'a failed disk stops writing');
    });
  }
}

test('a failed sync of the WAL: outcome unknown, then read-only, reads go on, reopening recovers', async () => {
  const disk = new SimDisk();
  let broken = false;
  const env = processEnv(1, disk, {
    fault: ({ kind, path }) =>
      broken && kind === 'sync' ? systemError('EIO', 'fdatasync', path) : undefined,
  });
  const tree = await openTree(disk, {}, env);
  await tree.write([put('a', '1')]);
  broken = true;
  const failed = await tree.write([put('b', '2')]).catch((error) => error);
  assert.is(failed.code, 'LSM_READ_ONLY');
  assert.is(failed.info.outcome, 'unknown');
  broken = false;
  const refused = await tree.write([put('c', '3')]).catch((error) => error);
  assert.is(refused.code, 'LSM_READ_ONLY');
  assert.is(refused.info.outcome, 'notCommitted');
  assert.is(tree.stats().isReadOnly, true);
  assert.is(tree.getSync(Buffer.from('a'))?.toString(), '1');
  await tree.close();
  const again = await openTree(disk);
  assert.is(again.getSync(Buffer.from('a'))?.toString(), '1');
  assert.is(again.getSync(Buffer.from('c')), undefined);
  await again.write([put('c', '4')]);
  await again.close();
});

/** A tree with buffered writes in two WAL files, before anything is broken. */
async function bufferedTree(
  disk: SimDisk,
  fault: (operation: FileOperation) => Fault,
  options: LsmOptions = {},
) {
  const env = processEnv(5, disk, { fault });
  const big = { writeBufferBytes: 1 << 20, ...options };
  const tree = await openTree(disk, big, env);
  await tree.write([put('a', '1')], { durability: 'buffered' });
  return { tree, reopen: () => openTree(disk, big, env) };
}

test('closing after a failure says what may be lost, and lets go of everything', async () => {
  let broken = false;
  const disk = new SimDisk();
  const { tree, reopen } = await bufferedTree(disk, ({ kind, path }) =>
    broken && kind === 'sync' && path.includes('wal-') ? systemError('EIO', 'fsync', path) : undefined,
  );
  await tree.write([put('b', '2')]);
  await tree.write([put('c', '3')], { durability: 'buffered' });
  broken = true;
  assert.is(await tree.write([put('d', '4')]).catch(errorCode), 'LSM_READ_ONLY');
  const error = await tree.close().catch((reason) => reason);
  assert.is(errorCode(error), 'LSM_NOT_DURABLE');
  assert.equal(error.info, { outcome: 'unknown', durableSequence: 2, lastSequence: 3 });
  assert.match(error.message, /its writes from sequence 3 to 3 may be lost: .*EIO/);
  assert.is(await tree.close().catch(errorCode), 'LSM_NOT_DURABLE', 'and again');
  broken = false;
  const again = await reopen();
  assert.match(renderTree(again), /a=1\nb=2/);
  await again.close();
});

test('closing after a failure that lost nothing resolves', async () => {
  let broken = false;
  const { tree } = await bufferedTree(new SimDisk(), ({ kind, path }) =>
    broken && kind === 'sync' && path.includes('MANIFEST') ? systemError('EIO', 'fsync', path) : undefined,
  );
  broken = true;
  assert.is(await tree.flush().catch(errorCode), 'LSM_READ_ONLY');
  assert.ok(tree.stats().isReadOnly);
  // The WAL is sound: closing syncs it.
  assert.is(tree.durableSequence, 0);
  await tree.close();
  assert.is(tree.durableSequence, 1);
});

test('a full disk at closing: without a WAL writes may be lost, and closing says so', async () => {
  let isFull = false;
  const disk = new SimDisk();
  const { tree, reopen } = await bufferedTree(
    disk,
    ({ kind, path }) => (isFull && kind === 'write' ? systemError('ENOSPC', 'write', path) : undefined),
    { durability: 'none' },
  );
  isFull = true;
  const error = await tree.close().catch((reason) => reason);
  assert.is(errorCode(error), 'LSM_NOT_DURABLE');
  assert.is(errorCode(error.cause), 'LSM_NO_SPACE');
  isFull = false;
  const again = await reopen();
  assert.is(again.lastSequence, 0);
  await again.close();
});

test('closing while a compaction meets a full disk: the flush goes on, and nothing is lost', async () => {
  const big = { writeBufferBytes: 1 << 20, maxFileBytes: 1 << 20, levelBaseBytes: 1 << 30 };
  const options: LsmOptions = { ...big, durability: 'none', level0Trigger: 1000, level0StopTrigger: 1000 };
  let refused = 0;
  // Whatever the compaction is about when the call of `close` comes.
  for (let turns = 0; turns < 24; turns++) {
    const disk = new SimDisk();
    const flushed = new Set<string>();
    let isFull = false;
    const env = processEnv(5, disk, {
      fault: ({ kind, path }) => {
        if (!path.endsWith('.sst')) return undefined;
        // The flush is the first to make a table from then on.
        if (isFull && kind === 'create' && flushed.size === 0) flushed.add(path);
        if (!isFull || flushed.has(path) || (kind !== 'create' && kind !== 'write')) return undefined;
        refused++;
        return systemError('ENOSPC', kind, path);
      },
    });
    const tree = await openTree(disk, { ...options, stepBudgetMs: 0 }, env);
    for (let table = 0; table < 2; table++) {
      for (let i = 0; i < 20; i++) await tree.write([put(`key${i}`, `${table}${'x'.repeat(100)}`)]);
      await tree.flush();
    }
    const compaction = tree.compactRange().catch(errorCode);
    for (let turn = 0; turn < 8 + turns; turn++) await new Promise((resolve) => setImmediate(resolve));
    await tree.write([put('last', '1')]);
    isFull = true;
    assert.is(await tree.close().then(() => 'closed', errorCode), 'closed', `after ${turns} turns`);
    await compaction;
    isFull = false;
    const again = await openTree(disk, options);
    assert.is(again.getSync(Buffer.from('last'))?.toString(), '1');
    await again.close();
  }
  assert.ok(refused > 2, `${refused} refused`);
});

test('closing without descriptors ends, and says what may be lost', async () => {
  let areGone = false;
  const { tree, reopen } = await bufferedTree(
    new SimDisk(),
    ({ kind, path }) => (areGone && OPENS.includes(kind) ? systemError('EMFILE', kind, path) : undefined),
    { durability: 'none' },
  );
  areGone = true;
  const error = await tree.close().catch((reason) => reason);
  assert.is(errorCode(error), 'LSM_NOT_DURABLE');
  assert.is(errorCode(error.cause), 'EMFILE');
  areGone = false;
  await (await reopen()).close();
});

test('closing releases everything else when one thing cannot be released', async () => {
  const disk = new SimDisk();
  const env = processEnv(1, disk);
  let broken = false;
  const files = new Proxy(env.fs, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      if (key !== 'open') return value.bind(target);
      return (path: string, mode: 'read') => {
        const file = target.open(path, mode);
        const close = file.close.bind(file);
        file.close = () => {
          close();
          if (broken) throw systemError('EIO', 'close', path);
        };
        return file;
      };
    },
  });
  const tree = await openTree(disk, {}, { ...env, fs: files });
  await tree.write([put('a', '1')]);
  await tree.flush();
  assert.is(tree.getSync(Buffer.from('a'))?.toString(), '1');
  broken = true;
  assert.is(await tree.close().then(() => 'closed', errorCode), 'EIO');
  // By the same process: nothing but the lock keeps it from opening the tree.
  const again = await openTree(disk, {}, env);
  assert.is(renderTree(again), 'a=1');
  await again.close();
});

test('stats touch no file', async () => {
  let broken = false;
  let touched = 0;
  const disk = new SimDisk();
  const { tree } = await bufferedTree(disk, ({ path }) => {
    if (!broken) return undefined;
    touched++;
    return systemError('EIO', 'open', path);
  });
  // Frozen behind a flush that takes no step while nothing is awaited: the WAL has several files.
  await Promise.all(Array.from({ length: 4 }, (_, i) => tree.write([put(`key${i}`, 'x'.repeat(400_000))])));
  const killed = disk.clone();
  const walBytes = (of: SimDisk) =>
    of
      .mount()
      .list(DIRECTORY)
      .filter((name) => /^wal-.*log$/.test(name))
      .reduce((sum, name) => sum + of.mount().readFile(`${DIRECTORY}/${name}`).length, 0);
  await tree.close();
  const options = { writeBufferBytes: 1 << 20 };
  const env = processEnv(6, killed, {
    fault: ({ path }) => {
      if (!broken) return undefined;
      touched++;
      return systemError('EIO', 'open', path);
    },
  });
  const again = await openTree(killed, options, env);
  broken = true;
  assert.is(again.stats().walBytes, walBytes(killed));
  assert.ok(again.stats().walBytes > 1_600_000);
  assert.is(touched, 0);
  broken = false;
  await again.close();
});

test('a full disk: writes fail as not committed, reads go on, writing resumes when there is space', async () => {
  const disk = new SimDisk();
  let isFull = false;
  const env = processEnv(1, disk, {
    fault: ({ kind, path }) =>
      isFull && (kind === 'write' || kind === 'create') ? systemError('ENOSPC', kind, path) : undefined,
  });
  const tree = await openTree(disk, {}, env);
  await tree.write([put('a', '1')]);
  isFull = true;
  for (let i = 0; i < 3; i++) {
    const failed = await tree.write([put('b', '2')]).catch((error) => error);
    assert.is(failed.code, 'LSM_NO_SPACE');
    assert.is(failed.info.outcome, 'notCommitted');
    assert.is(tree.getSync(Buffer.from('a'))?.toString(), '1');
    assert.is(tree.getSync(Buffer.from('b')), undefined);
  }
  isFull = false;
  await tree.write([put('b', '3')]);
  await tree.close();
  assert.is(await stateOf(disk, {}), 'a=1\nb=3');
});

test('without descriptors reads go on from tables that are open, writes go on, tables are made later', async () => {
  const disk = new SimDisk();
  let areGone = false;
  const env = processEnv(1, disk, {
    fault: ({ kind, path }) =>
      areGone && OPENS.includes(kind) ? systemError('EMFILE', kind, path) : undefined,
  });
  for (const durability of ['sync', 'none'] as const) {
    areGone = false;
    // Writes must not wait for a compaction, which gets no descriptor either.
    const options = { durability, maxFrozenMemtables: 8, writeBufferBytes: 4096, level0StopTrigger: 100 };
    const tree = await openTree(disk, options, env);
    for (let i = 0; i < 40; i++) await tree.write([put(`key${i}`, 'x'.repeat(100))]);
    await tree.flush();
    areGone = true;
    for (let i = 40; i < 60; i++) await tree.write([put(`key${i}`, 'x'.repeat(100))]);
    const { flushes } = tree.stats();
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.is(tree.stats().flushes, flushes, 'no table can be made');
    assert.is(tree.stats().isReadOnly, false);
    assert.is(tree.stats().diskIsFull, false);
    assert.is(tree.getSync(Buffer.from('key59'))?.length, 100);
    const read = await tree.get(Buffer.from('key3')).then((value) => value?.length, errorCode);
    assert.ok(read === 100 || read === 'EMFILE', String(read));
    areGone = false;
    await tree.flush();
    for (let i = 0; i < 60; i++) assert.is(tree.getSync(Buffer.from(`key${i}`))?.length, 100);
    for (let i = 0; i < 60; i++) await tree.write([{ type: 'delete', key: Buffer.from(`key${i}`) }]);
    await tree.close();
    assert.is(await stateOf(disk, { durability }), '');
  }
});

test('a read that gets no descriptor closes tables that nobody uses', async () => {
  const disk = new SimDisk();
  const open = new Set<string>();
  let most = Number.POSITIVE_INFINITY;
  const env = processEnv(1, disk);
  const files = new Proxy(env.fs, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      if (key !== 'open') return value.bind(target);
      return (path: string, mode: 'read') => {
        if (open.size >= most) throw systemError('EMFILE', 'open', path);
        const file = target.open(path, mode);
        open.add(path);
        const close = file.close.bind(file);
        file.close = () => {
          open.delete(path);
          close();
        };
        return file;
      };
    },
  });
  const big = { level0Trigger: 1000, level0StopTrigger: 1000, maxOpenTables: 100 };
  const tree = await openTree(disk, big, { ...env, fs: files });
  for (let i = 0; i < 40; i++) {
    await tree.write([put(`key${i}`, 'x')]);
    await tree.flush();
  }
  most = open.size + 8;
  for (let i = 0; i < 40; i++) assert.is(tree.getSync(Buffer.from(`key${i}`))?.toString(), 'x');
  await tree.close();
});

test('on a file system that cannot be written the reason is told, and nothing has changed', async () => {
  const disk = new SimDisk();
  const before = await openTree(disk);
  await before.write([put('a', '1')]);
  await before.close();
  const files = disk.files(DIRECTORY);
  for (const code of ['EROFS', 'EACCES']) {
    const changes = ['bind', 'create', 'write', 'unlink', 'rename', 'truncate', 'link', 'mkdir'];
    const env = processEnv(1, disk, {
      fault: ({ kind, path }) => (changes.includes(kind) ? systemError(code, kind, path) : undefined),
    });
    const error: Error = await openTree(disk, {}, env).then(
      () => assert.unreachable(),
      (reason) => reason,
    );
    assert.is(errorCode(error), code);
    assert.match(
      error.message,
      /(bind|create) '\/data\/tree\/LOCK\./,
      'what could not be made, not how it was cleaned up',
    );
    assert.equal(disk.files(DIRECTORY), files);
  }
});

test('a disk that is full at opening: the tree is read, and written to when there is space', async () => {
  const disk = new SimDisk();
  const before = await openTree(disk);
  for (let i = 0; i < 40; i++) await before.write([put(`key${i}`, 'x'.repeat(100))]);
  await before.close();
  // As a tree of an earlier version, which had no such file: there is no room for it now.
  disk.mount().unlink(`${DIRECTORY}/CURRENT`);
  let isFull = true;
  const full = processEnv(1, disk, {
    fault: ({ kind, path }) =>
      isFull && (kind === 'write' || kind === 'create') ? systemError('ENOSPC', kind, path) : undefined,
  });
  const tree = await openTree(disk, {}, full);
  for (let i = 0; i < 40; i++) assert.is(tree.getSync(Buffer.from(`key${i}`))?.length, 100);
  assert.is([...tree.iterator()].length, 40);
  assert.is(await tree.write([put('a', '1')]).catch(errorCode), 'LSM_NO_SPACE');
  assert.is(await tree.flush().then(() => 'done', errorCode), 'LSM_NO_SPACE');
  // As long as there is no new MANIFEST the one before holds.
  const copy = await openTree(disk.powerCutClone(new SeededRandom(1)));
  assert.is([...copy.iterator()].length, 40);
  await copy.close();
  isFull = false;
  await tree.write([put('a', '1')]);
  for (let i = 0; i < 40; i++) await tree.write([put(`key${i}`, 'y'.repeat(100))]);
  await tree.flush();
  await tree.compactRange();
  assert.ok(tree.stats().flushes > 0);
  await tree.close();
  const after = await openTree(disk);
  assert.is([...after.iterator()].filter(({ value }) => value.toString().startsWith('y')).length, 40);
  assert.is(disk.files(DIRECTORY).filter((name) => name.includes('MANIFEST')).length, 1);
  await after.close();
  isFull = true;
  assert.is(
    await openTree(
      new SimDisk(),
      {},
      processEnv(2, new SimDisk(), { fault: () => systemError('ENOSPC', 'write', '') }),
    ).catch(errorCode),
    'ENOSPC',
    'there is nothing to read',
  );
});

test('a disk that is full at opening, with a WAL file that no flush has named yet and that holds nothing', async () => {
  const disk = new SimDisk();
  const ending = processEnv(1, disk, {
    fault: ({ kind, path }) => {
      if (kind === 'create' && path.endsWith('.sst')) return systemError('ENOSPC', kind, path);
      return kind === 'write' && path.endsWith('wal-00000002.log')
        ? systemError('EIO', kind, path)
        : undefined;
    },
  });
  const before = await openTree(disk, {}, ending);
  await before.write([put('a', '1')]);
  const flushed = before.flush().catch(errorCode);
  assert.is(await before.write([put('b', '1')]).catch(errorCode), 'LSM_READ_ONLY');
  await flushed;
  await before.close().catch(errorCode);
  let isFull = true;
  const full = processEnv(1, disk, {
    fault: ({ kind, path }) =>
      isFull && (kind === 'write' || kind === 'create') ? systemError('ENOSPC', kind, path) : undefined,
  });
  const tree = await openTree(disk, {}, full);
  assert.is(renderTree(tree), 'a=1');
  isFull = false;
  // The end of the first file is made fit by the first write: a flush before it must leave it there.
  await tree.flush();
  for (let turns = 0; turns < 50; turns++) await new Promise((resolve) => setImmediate(resolve));
  await tree.write([put('b', '2')]);
  await tree.flush();
  await tree.write([put('c', '3')]);
  await tree.close();
  const after = await openTree(disk.powerCutClone(new SeededRandom(1)));
  assert.is(renderTree(after), 'a=1\nb=2\nc=3');
  await after.close();
});

for (const [code, expected] of [
  ['ENOSPC', 'LSM_NO_SPACE'],
  ['EMFILE', 'EMFILE'],
  ['ENFILE', 'ENFILE'],
] as const) {
  test(`a range whose compaction fails with ${code} is not said to be compacted`, async () => {
    const disk = new SimDisk();
    let fails = false;
    const env = processEnv(1, disk, {
      fault: ({ kind, path }) =>
        fails && kind === 'create' && path.endsWith('.sst') ? systemError(code, kind, path) : undefined,
    });
    const tree = await openTree(disk, { writeBufferBytes: 1 << 20 }, env);
    for (let i = 0; i < 40; i++) await tree.write([put(`key${i}`, 'x'.repeat(100))]);
    await tree.compactRange();
    fails = true;
    assert.is(await tree.compactRange().then(() => 'compacted', errorCode), expected);
    fails = false;
    await tree.compactRange();
    await tree.close();
  });
}

test('a MANIFEST for whose successor the disk has no room goes on beyond its size', async () => {
  const disk = new SimDisk();
  let isFull = false;
  let refused = 0;
  const env = processEnv(1, disk, {
    fault: ({ kind, path }) => {
      if (!isFull || !path.endsWith('.tmp') || (kind !== 'create' && kind !== 'write')) return undefined;
      refused++;
      return systemError('ENOSPC', kind, path);
    },
  });
  const tree = await openTree(disk, { maxManifestBytes: 256 }, env);
  for (let i = 0; i < 60; i++) {
    isFull = i > 20 && i < 50;
    await tree.write([put(`key${i}`, 'x'.repeat(200))]);
  }
  await tree.flush();
  assert.ok(refused > 1, `${refused} refused`);
  await tree.close();
  const after = await openTree(disk.powerCutClone(new SeededRandom(1)));
  assert.is([...after.iterator()].length, 60);
  await after.close();
});

test('a compaction that found no space and is not wanted any more does not leave the disk full', async () => {
  const disk = new SimDisk();
  let isFull = false;
  const env = processEnv(1, disk, {
    fault: ({ kind, path }) =>
      isFull && kind === 'create' && path.endsWith('.sst') ? systemError('ENOSPC', kind, path) : undefined,
  });
  const tree = await openTree(disk, {}, env);
  for (let i = 0; i < 3; i++) await tree.write([put(`key${i}`, 'x')]);
  await tree.compactRange();
  isFull = true;
  assert.is(await tree.compactRange().then(() => 'compacted', errorCode), 'LSM_NO_SPACE');
  assert.is(tree.stats().diskIsFull, true);
  await eventually(() => !tree.stats().diskIsFull);
  await tree.close();
});

for (const fault of ['short', 'ENOSPC', 'EDQUOT'] as const) {
  test(`no space in the MANIFEST, ${fault}: nothing is lost or left over, and everything goes on by itself`, async () => {
    const disk = new SimDisk();
    let isFull = false;
    let refused = 0;
    const env = processEnv(1, disk, {
      fault: ({ kind, path }) => {
        if (!isFull || kind !== 'write' || !/MANIFEST-\d+(\.tmp)?$/.test(path)) return undefined;
        refused++;
        return fault === 'short' ? fault : systemError(fault, kind, path);
      },
    });
    const options: LsmOptions = { writeBufferBytes: 1 << 20, level0Trigger: 1000, level0StopTrigger: 1000 };
    const tree = await openTree(disk, options, env);
    const tables = () => disk.files(DIRECTORY).filter((name) => name.endsWith('.sst')).length;
    const value = 'x'.repeat(100);
    for (let i = 0; i < 40; i++) await tree.write([put(`key${i}`, value)]);
    await tree.flush();
    await tree.write([put('last', '1')]);
    isFull = true;
    const calls = [() => tree.flush(), () => tree.compactRange(), () => tree.checkpoint('/data/copy')];
    for (let i = 0; i < 9; i++) {
      assert.is(await calls[i % 3]?.().then(() => 'done', errorCode), 'LSM_NO_SPACE');
      assert.is(tables(), 1, 'the table that could not be named is removed');
    }
    assert.is(await tree.dropTables({}).then(String, errorCode), 'LSM_NO_SPACE');
    assert.is(tree.stats().isReadOnly, false);
    assert.is([...tree.iterator()].length, 41);
    await tree.write([put('more', '2')]);
    const copy = await openTree(disk.powerCutClone(new SeededRandom(1)));
    assert.is([...copy.iterator()].length, 42);
    await copy.close();
    isFull = false;
    await tree.flush();
    await tree.compactRange();
    assert.ok((await tree.dropTables({ lt: Buffer.from('key9') })) > 0);
    assert.ok(refused > 9, `${refused} refused`);
    const state = renderTree(tree);
    assert.match(state, /last=1\nmore=2$/);
    await tree.close();
    const after = await openTree(disk.powerCutClone(new SeededRandom(2)));
    assert.is(renderTree(after), state);
    assert.is(tables(), after.tables().flat().length);
    await after.close();
  });
}

test('tables that a full disk without a new MANIFEST could not name are removed', async () => {
  const disk = new SimDisk();
  const before = await openTree(disk);
  for (let i = 0; i < 5; i++) await before.write([put(`key${i}`, 'x')]);
  await before.close();
  let isFull = true;
  const env = processEnv(1, disk, {
    fault: ({ kind, path }) =>
      isFull && kind === 'write' && path.endsWith('.tmp') ? systemError('ENOSPC', kind, path) : undefined,
  });
  const tree = await openTree(disk, {}, env);
  for (let i = 0; i < 5; i++) assert.is(await tree.flush().catch(errorCode), 'LSM_NO_SPACE');
  assert.is(disk.files(DIRECTORY).filter((name) => name.endsWith('.sst')).length, 0);
  isFull = false;
  await tree.flush();
  assert.is(tree.tables().flat().length, 1);
  await tree.close();
});

test('while only a compaction finds no space, writes that wait for a flush are taken', async () => {
  let isFull = false;
  const env = processEnv(1, new SimDisk(), {
    fault: ({ kind, path }) =>
      isFull && kind === 'create' && path.endsWith('.sst') ? systemError('ENOSPC', kind, path) : undefined,
  });
  const options: LsmOptions = { durability: 'none', level0Trigger: 1000, level0StopTrigger: 1000 };
  const tree = await openTree(new SimDisk(), { ...options, retryDelayMs: 60_000 }, env);
  for (let i = 0; i < 3; i++) await tree.write([put(`key${i}`, 'x')]);
  await tree.compactRange();
  isFull = true;
  assert.is(await tree.compactRange().then(() => 'compacted', errorCode), 'LSM_NO_SPACE');
  isFull = false;
  let waits = 0;
  for (let i = 0; i < 200; i++) {
    if (tree.stallReason !== undefined) waits++;
    await tree.write([put(`key${i}`, 'x'.repeat(300))]);
  }
  assert.ok(waits > 0, 'some had to wait');
  assert.is(tree.stats().diskIsFull, true, 'the compaction has not tried again');
  await tree.close();
});

test('without a WAL a full disk is visible, refuses what has no room, and drains when there is space', async () => {
  const disk = new SimDisk();
  let isFull = true;
  const env = processEnv(1, disk, {
    fault: ({ kind, path }) =>
      isFull && kind === 'create' && path.endsWith('.sst') ? systemError('ENOSPC', kind, path) : undefined,
  });
  const tree = await openTree(disk, { durability: 'none' }, env);
  const value = 'x'.repeat(200);
  let refused: unknown;
  for (let i = 0; i < 1000 && !refused; i++) {
    refused = await tree.write([put(`key${i}`, value)]).then(
      () => undefined,
      (error) => error,
    );
  }
  assert.is(errorCode(refused), 'LSM_NO_SPACE');
  assert.is(tree.stats().diskIsFull, true);
  assert.is(tree.getSync(Buffer.from('key0'))?.toString(), value);
  isFull = false;
  const deadline = Date.now() + 100_000;
  while (tree.stats().diskIsFull && Date.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, 2));
  await tree.write([put('after', 'it')]);
  assert.is(tree.stats().diskIsFull, false);
  await tree.close();
  assert.match(await stateOf(disk, { durability: 'none' }), /^after=it\nkey0=x/);
  assert.is(
    disk
      .mount()
      .list(DIRECTORY)
      .filter((name) => name.endsWith('.tmp')).length,
    0,
  );
});

test.run();
