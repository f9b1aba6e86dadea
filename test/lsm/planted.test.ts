/**
 * Tests of the tests: bugs that are put in on purpose, through the file system or by replacing a piece of a module,
 * are seen by the random crash tester, as what they are.
 */
import { register } from 'node:module';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Fault, FileOperation } from '../../src/sim/world/file-operation.js';
import { generateHistory } from './crash-generator.js';
import { runHistory } from './crash-run.js';
import type { Plant } from './planted-loader.js';

const PLANTS: Readonly<Record<string, Plant>> = {
  'early-reply': {
    module: '/src/record/record-log.js',
    find: 'await this\\.#writeDurable\\(file, ',
    replace: 'await file.write(',
  },
  'own-bytes': {
    module: '/src/record/record-log.js',
    find: 'if \\(this\\.#unsyncedBytes === 0\\)',
    replace: '',
  },
  'early-tombstone': {
    module: '/src/lsm/compaction/compaction.js',
    find: 'slice\\(plan\\.outputLevel \\+ 1\\)',
    replace: 'slice(plan.outputLevel + 2)',
  },
  'flushed-tombstone': {
    module: '/src/lsm/compaction/maintenance.js',
    find: 'memtable\\.tombstones > 0 \\? sortedRuns\\(versions\\.current\\) : ',
    replace: '',
  },
  'stale-bytes': {
    module: '/src/record/record.js',
    find: 'if \\(readUint53\\(bytes, offset \\+ 16\\) !== fileNumber\\)\\s+return undefined;',
    replace: '',
  },
  'thawed-snapshots': {
    module: '/src/lsm/compaction/version-filter.js',
    find: 'this\\.#snapshots = snapshots',
    replace: 'this.#snapshots = []',
  },
  'newest-down-first': {
    module: '/src/lsm/compaction/compaction-picker.js',
    find: 'withOverlapping\\(files, files\\.slice\\(-1\\)\\)',
    replace: 'files.slice(0, 1)',
  },
};
register('./planted-loader.js', import.meta.url, { data: PLANTS });

type RunHistory = typeof runHistory;

async function runnerWith(plant: string): Promise<RunHistory> {
  const url = new URL(`./crash-run.js?planted=${plant}`, import.meta.url).href;
  const module: { runHistory: RunHistory } = await import(url);
  return module.runHistory;
}

const SEEDS = 150;

/** The first thing that goes wrong in the way that a bug should make it go wrong. */
async function findSign(
  sign: RegExp,
  run: RunHistory,
  plant?: (operation: FileOperation) => Fault,
): Promise<string | undefined> {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const wrong = await run(generateHistory(seed), plant ? { plant } : {});
    if (wrong !== undefined && sign.test(wrong)) return wrong;
  }
  return undefined;
}

function ignoring(kind: string, path: RegExp): (operation: FileOperation) => Fault {
  return (operation) => (operation.kind === kind && path.test(operation.path) ? 'ignore' : undefined);
}

const LIES: readonly [string, (operation: FileOperation) => Fault, RegExp][] = [
  ['a WAL that is not synced', ignoring('sync', /wal-/), /had to survive|was said to be durable/],
  [
    'a directory that is not synced',
    ignoring('sync-directory', /./),
    /missing|had to survive|durable|does not/,
  ],
  ['a table that is not synced', ignoring('sync', /\.sst$/), /damaged|had to survive/],
  ['a MANIFEST that is not synced', ignoring('sync', /MANIFEST/), /damaged|had to survive|missing/],
];

for (const [name, plant, sign] of LIES) {
  test(`planted: ${name}`, async () => {
    assert.match((await findSign(sign, runHistory, plant)) ?? 'nothing', sign);
  });
}

const CHANGES: readonly [string, string, RegExp][] = [
  ['a reply before the sync', 'early-reply', /had to survive|was said to be durable/],
  [
    'a durable write trusted to cover those before it',
    'own-bytes',
    /had to survive|was said to be durable|damaged/,
  ],
  ['a tombstone dropped one level early', 'early-tombstone', /the tree holds|no prefix|is .*, not /],
  ['a flush that drops all tombstones', 'flushed-tombstone', /the tree holds|no prefix|is .*, not /],
  [
    'stale bytes of a recycled WAL replayed',
    'stale-bytes',
    /sequence \d+ follows \d+|no prefix|sequence \d+ was/,
  ],
  ['versions that a snapshot sees dropped', 'thawed-snapshots', /snapshot|is .*, not |gave/],
  [
    'the newest of the overlapping tables compacted alone',
    'newest-down-first',
    /the tree holds|no prefix|verify|is .*, not /,
  ],
];

for (const [name, plant, sign] of CHANGES) {
  test(`planted: ${name}`, async () => {
    assert.match((await findSign(sign, await runnerWith(plant))) ?? 'nothing', sign);
  });
}

test('a plant that does not fit is said', async () => {
  const other: Record<string, Plant> = {
    misfit: { module: '/crash-run.js', find: 'not there', replace: '' },
  };
  register('./planted-loader.js?again', import.meta.url, { data: other });
  let error: unknown;
  try {
    await runnerWith('misfit');
  } catch (thrown) {
    error = thrown;
  }
  assert.match(String(error), /does not fit/);
});

test.run();
