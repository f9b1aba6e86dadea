/** One seeded list of operations under many option sets: whoever reads sees the same, whatever goes on below. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type IteratorOptions, type LsmOptions, LsmTree, type Snapshot } from '../../src/lsm/index.js';
import { generateHistory, randomOptions } from './crash-generator.js';
import type { History, Range } from './crash-history.js';
import { runHistory } from './crash-run.js';
import { SeededRandom, TINY } from './tree-lab.js';

/** Each is far from the others; random ones come on top. */
const OPTION_SETS: readonly LsmOptions[] = [
  {},
  TINY,
  {
    ...TINY,
    writeBufferBytes: 4096,
    blockBytes: 64,
    bloomBitsPerKey: 0,
    blockCacheBytes: 0,
    codecs: ['none'],
  },
  { ...TINY, stepBudgetMs: 0, restartInterval: 1, maxFrozenMemtables: 1 },
  { ...TINY, durability: 'none', maxManifestBytes: 256 },
  { ...TINY, durability: 'buffered', level0Trigger: 1, levelBaseBytes: 1 << 20 },
  { ...TINY, maxFileBytes: 1 << 20, blockBytes: 4096, levelMultiplier: 10, codecs: ['none', 'lz4'] },
];

async function observe(history: History): Promise<string[]> {
  const seen: string[] = [];
  const wrong = await runHistory(history, { observe: (text) => seen.push(text) });
  assert.is(wrong, undefined, `seed ${history.seed}, ${JSON.stringify(history.optionSets[0])}`);
  return seen;
}

test('6 lists of operations under 10 option sets each: all histories are equal', async () => {
  let observations = 0;
  for (let seed = 1; seed <= 6; seed++) {
    const history = generateHistory(seed, { failures: false, steps: 90 });
    const random = new SeededRandom(seed);
    const sets = [...OPTION_SETS, randomOptions(random), randomOptions(random), randomOptions(random)];
    let expected: string[] | undefined;
    for (const [i, options] of sets.entries()) {
      const seen = await observe({
        ...history,
        optionSets: [options],
        latencyMs: i % 3,
        linksFail: i % 2 === 0,
      });
      expected ??= seen;
      assert.equal(seen, expected, `seed ${seed}, ${JSON.stringify(options)}`);
      observations += seen.length;
    }
  }
  assert.ok(observations > 2000, `${observations} observations`);
});

const bytes = (text: string) => Buffer.from(text, 'latin1');

function entriesOf(tree: LsmTree, options: IteratorOptions = {}): string {
  const entries = [...tree.iterator(options)];
  return entries.map(({ key, value }) => `${key.toString('hex')}=${value.toString('hex')}`).join();
}

/** Whole tables, and then all keys, so that the sequences are the same whatever the tables were. */
async function clear(tree: LsmTree, range: Range): Promise<void> {
  const bounds = Object.fromEntries(
    (['gt', 'gte', 'lt', 'lte'] as const).flatMap((name) => {
      const key = range[name];
      return key === undefined ? [] : [[name, bytes(key)]];
    }),
  );
  const deletions = [...tree.iterator(bounds)].map(({ key }) => ({ type: 'delete', key }) as const);
  await tree.dropTables(bounds);
  if (deletions.length > 0) await tree.write(deletions);
}

/** What a checkpoint holds, made and read while all else goes on. */
async function checkpointed(tree: LsmTree, directory: string, options: LsmOptions): Promise<string> {
  await tree.checkpoint(directory);
  const copy = await LsmTree.open(directory, { ...options, createIfMissing: false });
  const entries = entriesOf(copy);
  await copy.close();
  return entries;
}

/** What is read from a tree on the real disk while a history's writes, flushes, compactions and openings go on. */
async function observeOnDisk(history: History, options: LsmOptions): Promise<string[]> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'raftree-test-'));
  const directory = path.join(folder, 'tree');
  let tree = await LsmTree.open(directory, options);
  const seen: string[] = [];
  let pending: Promise<unknown>[] = [];
  let snapshots: { snapshot: Snapshot; state: string }[] = [];
  try {
    for (const step of history.steps) {
      if (step.kind === 'write') {
        const operations = step.changes.map(({ key, value }) =>
          value === undefined
            ? ({ type: 'delete', key: bytes(key) } as const)
            : ({ type: 'put', key: bytes(key), value: bytes(value) } as const),
        );
        pending.push(tree.write(operations, { durability: 'buffered' }));
        continue;
      }
      await Promise.all(pending);
      pending = [];
      if (step.kind === 'flush') await tree.flush();
      if (step.kind === 'compact') await tree.compactRange();
      if (step.kind === 'clear') await clear(tree, step.range);
      if (step.kind === 'checkpoint')
        seen.push(await checkpointed(tree, path.join(folder, step.name), options));
      if (step.kind === 'snapshot') snapshots.push({ snapshot: tree.snapshot(), state: entriesOf(tree) });
      if (step.kind === 'release') snapshots.shift()?.snapshot.release();
      if (step.kind === 'reopen') {
        snapshots = [];
        await tree.close();
        tree = await LsmTree.open(directory, options);
      }
      for (const { snapshot, state } of snapshots) assert.is(entriesOf(tree, { snapshot }), state);
      seen.push(`${step.kind} ${tree.lastSequence} ${entriesOf(tree)}`);
    }
    await Promise.all(pending);
    assert.equal((await tree.verify()).problems, []);
    seen.push(`end ${tree.lastSequence} ${entriesOf(tree)}`);
    return seen;
  } finally {
    await tree.close();
    fs.rmSync(folder, { recursive: true });
  }
}

test('on the real disk: in the worker thread or in this one, under any options, the same is read', async () => {
  for (const seed of [5, 6]) {
    const history = generateHistory(seed, { failures: false, steps: 120 });
    const random = new SeededRandom(seed);
    const inline = await observeOnDisk(history, { ...TINY, worker: false, stepBudgetMs: 0 });
    assert.ok(inline.length > 40);
    const sets = [TINY, { durability: 'none' as const }, randomOptions(random)];
    for (const options of sets) {
      const seen = await observeOnDisk(history, { ...options, worker: true });
      assert.equal(seen, inline, `seed ${seed}, ${JSON.stringify(options)}`);
    }
  }
});

test.run();
