/** The worker thread, on real files: it writes the tables of all trees, and they do without it if they must. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { threadId } from 'node:worker_threads';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Env, Thread, ThreadHandler, Threads } from '../../src/env/env.js';
import { errorCode } from '../../src/env/errors.js';
import { realEnv } from '../../src/env/real/real-env.js';
import { type CompactionEvent, type FlushEvent, type LsmOptions, LsmTree } from '../../src/lsm/index.js';
import { statDirectory } from '../../src/lsm/tools/directory-stats.js';
import { eventually, put, recordingLogger, remove, SeededRandom } from './tree-lab.js';

const SMALL: LsmOptions = {
  writeBufferBytes: 32 * 1024,
  maxFileBytes: 32 * 1024,
  levelBaseBytes: 64 * 1024,
  levelMultiplier: 4,
  durability: 'buffered',
  codecs: ['none'],
};

/** As `SMALL`, with level 0 left alone. */
const BY_HAND: LsmOptions = {
  ...SMALL,
  writeBufferBytes: 8 << 20,
  level0Trigger: 1000,
  level0StopTrigger: 1000,
  levelBaseBytes: 1 << 30,
};

function testIn(name: string, run: (folder: string) => Promise<void>): void {
  test(name, async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'raftree-worker-'));
    try {
      await run(folder);
    } finally {
      fs.rmSync(folder, { recursive: true, force: true });
    }
  });
}

/** A process of its own as far as the worker goes, whose thread the test can end. */
function ownThreads(): { env: Env; started: Thread[] } {
  const env = realEnv();
  const real = env.threads as Threads;
  const started: Thread[] = [];
  const threads: Threads = {
    fs: real.fs,
    start(entry, data, handler) {
      const thread = real.start(entry, data, handler);
      started.push(thread);
      return thread;
    },
  };
  return { env: { ...env, threads }, started };
}

async function fill(tree: LsmTree, seed: number, count: number, model: Map<string, string>): Promise<void> {
  const random = new SeededRandom(seed);
  for (let i = 0; i < count; i++) {
    const key = `key${String(random.between(0, 4999)).padStart(6, '0')}`;
    if (random.chance(0.2)) {
      model.delete(key);
      await tree.write([remove(key)]);
    } else {
      const value = `${i}:${'v'.repeat(random.between(0, 150))}`;
      model.set(key, value);
      await tree.write([put(key, value)]);
    }
  }
}

testIn('damage that the worker meets is named as if this thread had met it', async (folder) => {
  const writer = await LsmTree.open(folder, BY_HAND);
  for (const value of ['1', '2']) {
    for (let i = 0; i < 1000; i++) await writer.write([put(`key${i}`, value)]);
    await writer.flush();
  }
  await writer.close();
  const [first = ''] = fs.readdirSync(folder).filter((name) => name.endsWith('.sst'));
  const damaged = path.join(folder, first);
  const content = fs.readFileSync(damaged);
  content[200] = (content[200] as number) ^ 1;
  fs.writeFileSync(damaged, content);
  const tree = await LsmTree.open(folder, BY_HAND);
  const error = await tree.compactRange().catch((reason) => reason);
  assert.is(errorCode(error), 'CORRUPTION');
  assert.equal(error.info, { path: damaged, offset: 128 });
  const refused = await tree.write([put('a', '')]).catch((reason) => reason);
  assert.is(errorCode(refused), 'LSM_READ_ONLY');
  assert.equal(refused.info, { path: damaged, offset: 128, outcome: 'notCommitted' });
  assert.is(tree.getSync(Buffer.from('key7'))?.toString(), '2');
  await tree.close();
});

const PADDING = 'x'.repeat(100);

/** 20,000 entries under way at once; returns their keys. */
async function writeMany(tree: LsmTree, prefix: string, value: string): Promise<string[]> {
  const keys = Array.from({ length: 20_000 }, (_, i) => `${prefix}${String(i).padStart(6, '0')}`);
  await Promise.all(keys.map((key) => tree.write([put(key, value + PADDING)])));
  return keys;
}

function contentOf(tree: LsmTree): Map<string, string> {
  return new Map([...tree.iterator()].map(({ key, value }) => [key.toString(), value.toString()]));
}

function assertHolds(tree: LsmTree, model: ReadonlyMap<string, string>): void {
  assert.equal(contentOf(tree), new Map([...model].sort(([a], [b]) => (a < b ? -1 : 1))));
}

testIn('tables are written by one other thread, whichever tree they belong to', async (folder) => {
  const writers = new Set<number | undefined>();
  const events: (FlushEvent | CompactionEvent)[] = [];
  const note = (event: FlushEvent | CompactionEvent) => {
    events.push(event);
    if (!('readBytes' in event) || event.readBytes > 0) writers.add(event.threadId);
  };
  const options = { ...SMALL, listener: { flushed: note, compacted: note } };
  const trees = await Promise.all(['a', 'b'].map((name) => LsmTree.open(path.join(folder, name), options)));
  const models = trees.map(() => new Map<string, string>());
  await Promise.all(trees.map((tree, i) => fill(tree, i, 8000, models[i] as Map<string, string>)));
  await Promise.all(trees.map((tree) => tree.compactRange()));
  assert.is(writers.size, 1);
  const [writer] = writers;
  assert.ok(writer !== undefined && writer !== threadId, `written by thread ${writer}`);
  assert.ok(events.some((event) => 'level' in event && event.level > 0 && event.readBytes > 0));
  for (const [i, tree] of trees.entries()) {
    assertHolds(tree, models[i] as Map<string, string>);
    assert.equal((await tree.verify()).problems, []);
    await tree.close();
    const again = await LsmTree.open(path.join(folder, i === 0 ? 'a' : 'b'), options);
    assertHolds(again, models[i] as Map<string, string>);
    await again.close();
  }
});

testIn('worker or not, the tables are the same', async (folder) => {
  const files: string[][] = [];
  for (const worker of [true, false]) {
    const directory = path.join(folder, String(worker));
    const tree = await LsmTree.open(directory, { ...BY_HAND, worker, codecs: ['none', 'lz4'] });
    const model = new Map<string, string>();
    for (let table = 0; table < 3; table++) {
      await fill(tree, table, 2000, model);
      await tree.flush();
    }
    const snapshot = tree.snapshot();
    await fill(tree, 9, 2000, model);
    await tree.compactRange();
    snapshot.release();
    assertHolds(tree, model);
    await tree.close();
    const tables = fs.readdirSync(directory).filter((name) => name.endsWith('.sst'));
    files.push(tables.sort().map((name) => fs.readFileSync(path.join(directory, name), 'latin1')));
  }
  assert.ok((files[0]?.length ?? 0) > 2);
  assert.equal(files[0], files[1]);
});

testIn('a flush that waits interrupts a compaction; what readers hold stays', async (folder) => {
  const events: string[] = [];
  const tree = await LsmTree.open(path.join(folder, 'tree'), {
    ...BY_HAND,
    maxFileBytes: 1 << 20,
    listener: { flushed: () => events.push('flushed'), compacted: () => events.push('compacted') },
  });
  const model = new Map<string, string>();
  for (let table = 0; table < 4; table++) {
    for (const key of await writeMany(tree, 'key', `${table}:`)) model.set(key, `${table}:${PADDING}`);
    await tree.flush();
  }
  const compaction = tree.compactRange();
  await eventually(() => events.length === 4);
  await new Promise((resolve) => setTimeout(resolve, 5));
  await tree.write([put('between', '1')]);
  model.set('between', '1');
  const iterator = tree.iterator();
  const first = iterator.next();
  await tree.flush();
  assert.equal(events.slice(4), ['flushed'], 'the compaction is not done yet');
  await compaction;
  assert.equal(events.slice(4, 6), ['flushed', 'compacted']);
  // The memory of the flushed memtable is not used again under the iterator.
  await writeMany(tree, 'other', '');
  await tree.flush();
  const seen = [first, ...iterator].map((entry) => entry?.key.toString());
  assert.equal(seen, [...model.keys()].sort());
  await tree.close();
});

testIn('closing gives up a compaction in the worker and leaves nothing of it', async (folder) => {
  const directory = path.join(folder, 'tree');
  const tree = await LsmTree.open(directory, { ...BY_HAND, maxFileBytes: 1 << 20 });
  for (let table = 0; table < 4; table++) {
    await writeMany(tree, 'key', `${table}:`);
    await tree.flush();
  }
  const compaction = tree.compactRange().then(
    () => 'done',
    (error: unknown) => errorCode(error),
  );
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  await tree.close();
  assert.is(await compaction, 'LSM_CLOSED');
  const tables = fs.readdirSync(directory).filter((name) => name.endsWith('.sst'));
  assert.is(tables.length, 4);
  const again = await LsmTree.open(directory, BY_HAND);
  assert.is(contentOf(again).size, 20_000);
  await again.close();
});

testIn('trees whose worker dies do its work themselves; reopened, they get another', async (folder) => {
  const { env, started } = ownThreads();
  const messages: string[] = [];
  const writers: (number | undefined)[] = [];
  const options: LsmOptions = {
    ...BY_HAND,
    env,
    logger: recordingLogger(messages),
    listener: { flushed: ({ threadId }) => writers.push(threadId) },
  };
  const trees = await Promise.all(['a', 'b'].map((name) => LsmTree.open(path.join(folder, name), options)));
  const [a, b] = trees as [LsmTree, LsmTree];
  assert.is(started.length, 1, 'one for both');
  const model = new Map<string, string>();
  await fill(a, 1, 3000, model);
  await a.flush();
  assert.type(writers[0], 'number');
  await fill(a, 2, 3000, model);
  await b.write([put('b', '1')]);
  assert.is(started.length, 1);
  const flush = a.flush();
  await started[0]?.terminate();
  await flush;
  await a.compactRange();
  await b.flush();
  await b.write([put('b', '2')]);
  await b.flush();
  assert.is(writers.at(-1), undefined, 'in this thread');
  assert.is(messages.length, 2, `once for each: ${messages.join('; ')}`);
  assertHolds(a, model);
  await Promise.all(trees.map((tree) => tree.close()));
  const tables = fs.readdirSync(path.join(folder, 'a')).filter((name) => name.endsWith('.sst')).length;
  assert.is(
    tables,
    (await statDirectory(env, path.join(folder, 'a'))).files,
    'nothing is left of its last job',
  );
  const again = await LsmTree.open(path.join(folder, 'a'), options);
  assertHolds(again, model);
  await again.write([put('x', 'y')]);
  await again.flush();
  assert.is(started.length, 2);
  assert.type(writers.at(-1), 'number');
  assert.equal((await again.verify()).problems, []);
  await again.close();
  await started[1]?.terminate();
});

testIn('a worker that dies in a compaction leaves the rest of it to its tree', async (folder) => {
  const { env, started } = ownThreads();
  const tree = await LsmTree.open(path.join(folder, 'tree'), { ...BY_HAND, env, maxFileBytes: 256 * 1024 });
  for (let table = 0; table < 4; table++) {
    await writeMany(tree, 'key', `${table}:`);
    await tree.flush();
  }
  const compaction = tree.compactRange();
  await eventually(() => fs.readdirSync(tree.directory).filter((name) => name.endsWith('.sst')).length > 5);
  await started[0]?.terminate();
  await compaction;
  assert.is(contentOf(tree).size, 20_000);
  await tree.close();
  const tables = fs.readdirSync(tree.directory).filter((name) => name.endsWith('.sst'));
  assert.is(tables.length, (await statDirectory(env, tree.directory)).files);
});

testIn('where the worker cannot start, trees work without, and say so once', async (folder) => {
  const real = realEnv().threads as Threads;
  const missing = new URL('./there-is-no-such-file.js', import.meta.url);
  for (const start of [
    (_entry: URL, data: unknown, handler: ThreadHandler) => real.start(missing, data, handler),
    () => {
      throw new TypeError('Invalid URL');
    },
  ] satisfies Threads['start'][]) {
    let starts = 0;
    const threads: Threads = {
      fs: real.fs,
      start(...parameters) {
        starts++;
        return start(...parameters);
      },
    };
    const messages: string[] = [];
    const options: LsmOptions = {
      ...SMALL,
      env: { ...realEnv(), threads },
      logger: recordingLogger(messages),
    };
    const directory = path.join(folder, String(start.length));
    const tree = await LsmTree.open(directory, options);
    const model = new Map<string, string>();
    await fill(tree, 1, 3000, model);
    await tree.flush();
    await tree.compactRange();
    assertHolds(tree, model);
    assert.is(messages.length, 1, messages.join('; '));
    assert.is(starts, 1);
    await tree.close();
    const again = await LsmTree.open(directory, options);
    assertHolds(again, model);
    await again.close();
    assert.is(starts, 1, 'what never became ready is not started again');
  }
});

testIn('what is loaded before a program is not loaded before the worker', async (folder) => {
  const preload = path.join(folder, 'preload.cjs');
  // As agents do: it throws, or listens on a port that it has taken already.
  fs.writeFileSync(
    preload,
    `const { isMainThread } = require('node:worker_threads');
     if (!isMainThread) throw new Error('this agent is for the main thread');`,
  );
  const lsm = new URL('../../src/lsm/index.js', import.meta.url).href;
  const script = `
    const { LsmTree } = await import(${JSON.stringify(lsm)});
    const listener = { flushed: ({ threadId }) => console.log('by', threadId > 0 ? 'the worker' : 'the tree') };
    const tree = await LsmTree.open(${JSON.stringify(path.join(folder, 'tree'))}, { listener });
    await tree.write([{ type: 'put', key: Buffer.from('a'), value: Buffer.from('1') }]);
    await tree.flush();
    await tree.close();
  `;
  for (const [before, NODE_OPTIONS] of [
    [['--require', preload], ''],
    [[], `--require ${preload}`],
  ] as const) {
    const run = spawnSync(process.execPath, [...before, '--input-type=module', '-e', script], {
      timeout: 20_000,
      encoding: 'utf8',
      env: { ...process.env, NODE_OPTIONS },
    });
    assert.equal([run.stdout, run.stderr, run.status], ['by the worker\n', '', 0], NODE_OPTIONS);
  }
});

testIn('what fails in the worker fails here, with its code', async (folder) => {
  const failures: unknown[] = [];
  const directory = path.join(folder, 'tree');
  const tree = await LsmTree.open(directory, {
    ...BY_HAND,
    listener: { failed: (error) => failures.push(error) },
  });
  await tree.write([put('a', '1')]);
  fs.renameSync(directory, `${directory}-moved`);
  const refused = await tree.flush().catch((error: unknown) => error);
  assert.is(errorCode(refused), 'LSM_READ_ONLY');
  assert.is(errorCode(failures[0]), 'DIRECTORY_GONE');
  fs.renameSync(`${directory}-moved`, directory);
  await tree.close();
  const again = await LsmTree.open(directory, BY_HAND);
  assert.equal(contentOf(again), new Map([['a', '1']]));
  await again.close();
});

testIn('a worker that was given no work keeps no process alive', async (folder) => {
  const lsm = new URL('../../src/lsm/index.js', import.meta.url).href;
  const script = `
    const { LsmTree } = await import(${JSON.stringify(lsm)});
    const tree = await LsmTree.open(${JSON.stringify(path.join(folder, 'tree'))});
    if (process.argv[1] === 'close') await tree.close();
    console.log('opened');
  `;
  const options = { timeout: 20_000, encoding: 'utf8' } as const;
  for (const how of ['close', 'leave open']) {
    const run = spawnSync(process.execPath, ['--input-type=module', '-e', script, how], options);
    assert.equal([run.stdout, run.stderr, run.status], ['opened\n', '', 0], how);
  }
});

testIn('the worker keeps a process alive while it has work, and no longer', async (folder) => {
  const lsm = new URL('../../src/lsm/index.js', import.meta.url).href;
  const script = `
    const { LsmTree } = await import(${JSON.stringify(lsm)});
    const tree = await LsmTree.open(${JSON.stringify(path.join(folder, 'tree'))}, {});
    await tree.write([{ type: 'put', key: Buffer.from('a'), value: Buffer.from('1') }]);
    await tree.flush();
    console.log('flushed', tree.stats().flushes);
  `;
  const options = { timeout: 20_000, encoding: 'utf8' } as const;
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', script], options);
  assert.is(run.stderr, '');
  assert.is(run.stdout, 'flushed 1\n');
  assert.is(run.status, 0);
});

test.run();
