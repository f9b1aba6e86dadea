/** One seeded list of operations under many option sets: whoever reads sees the same, whatever goes on below. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type LsmOptions, LsmTree } from '../../src/lsm/index.js';
import { generateHistory, randomOptions } from './crash-generator.js';
import type { History } from './crash-history.js';
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

/** What is read from a tree on the real disk while a history's writes, flushes and compactions go on. */
async function observeOnDisk(history: History, options: LsmOptions): Promise<string[]> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'raftree-test-'));
  const tree = await LsmTree.open(path.join(directory, 'tree'), options);
  const bytes = (text: string) => Buffer.from(text, 'latin1');
  const seen: string[] = [];
  let pending: Promise<unknown>[] = [];
  const look = () => {
    const entries = [...tree.iterator()].map(
      ({ key, value }) => `${key.toString('hex')}=${value.toString('hex')}`,
    );
    seen.push(`${tree.lastSequence} ${entries.join()}`);
  };
  try {
    for (const step of history.steps) {
      if (step.kind === 'write') {
        const operations = step.changes.map(({ key, value }) =>
          value === undefined
            ? ({ type: 'delete', key: bytes(key) } as const)
            : ({ type: 'put', key: bytes(key), value: bytes(value) } as const),
        );
        pending.push(tree.write(operations, { durability: step.durability }));
        continue;
      }
      await Promise.all(pending);
      pending = [];
      if (step.kind === 'flush') await tree.flush();
      if (step.kind === 'compact') await tree.compactRange();
      look();
    }
    await Promise.all(pending);
    assert.equal((await tree.verify()).problems, []);
    look();
    return seen;
  } finally {
    await tree.close();
    fs.rmSync(directory, { recursive: true });
  }
}

test('on the real disk: in the worker thread or in this one, the same is read', async () => {
  const history = generateHistory(5, { failures: false, steps: 200 });
  const inline = await observeOnDisk(history, { ...TINY, worker: false, stepBudgetMs: 0 });
  assert.ok(inline.length > 50);
  assert.equal(await observeOnDisk(history, { ...TINY, worker: true }), inline);
  assert.equal(await observeOnDisk(history, { durability: 'none' }), inline);
});

test.run();
