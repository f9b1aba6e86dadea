/**
 * Levels as text. A line is a level; a table is `smallest-largest` and, if it is not 10 KiB, `:KiB`. In level 0 the
 * newest stands first. `~` says that it is stored by lz4, `!n` that n of ten entries are tombstones, `!nk` of ten
 * thousand. Targets: 4 files in level 0, 100 KiB in level 1, 1000 KiB in level 2.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { pickCompaction, planRange, planRewrite } from '../../src/lsm/compaction/compaction-picker.js';
import { TableFile } from '../../src/lsm/table/table-file.js';
import { LEVELS, Version } from '../../src/lsm/version/version.js';

const OPTIONS = {
  level0Trigger: 4,
  levelBaseBytes: 100 * 1024,
  levelMultiplier: 10,
  maxFileBytes: 10 * 1024,
  codecs: ['none'],
} as const;

function versionOf(picture: string): Version {
  let number = 100;
  const levels: TableFile[][] = Array.from({ length: LEVELS }, () => []);
  for (const line of picture.trim().split('\n')) {
    const [name = '', ...tables] = line.trim().split(/\s+/);
    for (const table of tables) {
      const [sized = '', dense = '0'] = table.replace('~', '').split('!');
      const [range = '', kib = '10'] = sized.split(':');
      const [smallest = '', largest = ''] = range.split('-');
      number--;
      levels[Number(name.slice(1))]?.push(
        new TableFile({
          number,
          sizeBytes: Number(kib) * 1024,
          smallest: Buffer.from(smallest),
          largest: Buffer.from(largest),
          smallestSequence: number,
          largestSequence: number,
          entries: dense.endsWith('k') ? 10_000 : 10,
          tombstones: Number(dense.replace('k', '000')),
          codec: table.includes('~') ? 'lz4' : 'none',
        }),
      );
    }
  }
  const version = new Version(levels);
  assert.is(version.findViolation(), undefined, picture);
  return version;
}

function show(plan: ReturnType<typeof pickCompaction>): string {
  if (!plan) return 'nothing';
  const names = (files: readonly TableFile[]) =>
    files.map((file) => `${file.smallest}-${file.largest}`).join(' ');
  if (plan.level === plan.outputLevel) return `rewrite L${plan.level} ${names(plan.upper)}`;
  const lower = plan.lower.length > 0 ? ` + L${plan.outputLevel} ${names(plan.lower)}` : '';
  return `${plan.isMove ? 'move' : 'merge'} L${plan.level} ${names(plan.upper)}${lower} to L${plan.outputLevel}`;
}

const SCRIPTS: readonly [name: string, picture: string, expected: string][] = [
  ['an empty tree', 'L0', 'nothing'],
  ['three files in level 0 are not yet due', 'L0 a-z a-z a-z', 'nothing'],
  [
    'four that overlap go together',
    'L0 a-m c-z a-b k-p \n L1 a-c d-f x-z',
    'merge L0 a-m c-z a-b k-p + L1 a-c d-f x-z to L1',
  ],
  [
    'the oldest moves if nothing overlaps it',
    'L0 s-z m-r g-l a-f \n L1 aa-ab:1',
    'merge L0 a-f + L1 aa-ab to L1',
  ],
  ['in-order filling only moves tables', 'L0 s-z m-r g-l a-f', 'move L0 a-f to L1'],
  [
    'what overlaps the oldest through others comes along',
    'L0 x-z e-g c-f a-d \n L1 a-b m-n',
    'merge L0 e-g c-f a-d + L1 a-b to L1',
  ],
  ['level 1 under its target rests', 'L1 a-b:50 c-d:49', 'nothing'],
  [
    'level 1 over its target gives one table',
    'L1 a-b:60 c-d:60 \n L2 a-b:10 c-z:100',
    'merge L1 a-b + L2 a-b to L2',
  ],
  ['the least overlap is chosen', 'L1 a-f:60 m-p:60 \n L2 a-c d-e n-o', 'merge L1 m-p + L2 n-o to L2'],
  ['a table over a gap moves', 'L1 a-f:60 g-h:60 \n L2 a-c i-k', 'move L1 g-h to L2'],
  ['but not onto too many grandparents', 'L1 a-f:120 \n L3 a-b:60 c-d:60', 'merge L1 a-f to L2'],
  [
    'the level that is furthest over its target goes first',
    'L0 a-b a-b a-b a-b \n L1 a-f:300',
    'move L1 a-f to L2',
  ],
  [
    'level 0 goes first if it is further over',
    'L0 a-b a-b a-b a-b a-b a-b a-b a-b \n L1 c-f:150',
    'merge L0 a-b a-b a-b a-b a-b a-b a-b a-b to L1',
  ],
  ['the deepest level has nowhere to go', 'L6 a-b:999999999', 'nothing'],
  ['a few tombstones wait', 'L1 a-c!4 \n L2 a-z', 'nothing'],
  ['half of a table being tombstones is too many', 'L1 a-c!5 \n L2 a-z', 'merge L1 a-c + L2 a-z to L2'],
  ['the densest goes first', 'L1 a-c!5 d-f!9 \n L2 a-z', 'merge L1 d-f + L2 a-z to L2'],
  ['tombstones over a gap move towards what they hide', 'L1 a-c!9 \n L3 a-z', 'move L1 a-c to L2'],
  ['at the base level they are dropped', 'L1 a-c \n L2 a-c d-f!7 \n L3 a-c g-z', 'rewrite L2 d-f'],
  [
    'in level 0 the tables that overlap come along',
    'L0 c-z a-d!10 \n L1 a-z',
    'merge L0 c-z a-d + L1 a-z to L1',
  ],
  ['a few tombstones alone in level 0 wait for more files', 'L0 a-d!10 \n L1 a-z', 'nothing'],
  ['many do not', 'L0 a-d!9k \n L1 a-z', 'merge L0 a-d + L1 a-z to L1'],
  ['nor if nothing is below', 'L0 a-d!9k', 'move L0 a-d to L1'],
  ['unless most of the table is something else', 'L0 a-d!4k \n L1 a-z', 'nothing'],
  ['a level that is due comes first', 'L1 a-f:160 \n L2 a-c!9 \n L3 a-z', 'merge L1 a-f + L2 a-c to L2'],
];

for (const [name, picture, expected] of SCRIPTS) {
  test(name, () => {
    assert.is(show(pickCompaction(versionOf(picture), OPTIONS)), expected);
  });
}

test('the target of level 1 follows what comes from level 0, between 10 MiB and its option', () => {
  const options = { ...OPTIONS, levelBaseBytes: 400 * 1024 * 1024 };
  const pick = (picture: string) => show(pickCompaction(versionOf(picture), options));
  const level1 = 'L1 a-b:150000 c-d:50000 \n L2 a-b c-z';
  assert.is(pick(`L0 \n ${level1}`), 'nothing', '200 of 400 MB');
  assert.is(pick(`L0 a-z \n ${level1}`), 'nothing', 'one small table says little');
  assert.is(pick(`L0 a-z a-z \n ${level1}`), 'merge L1 a-b + L2 a-b to L2', '10 MiB, and not 40 KiB');
  assert.is(pick(`L0 a-z a-z \n L1 a-b:10000`), 'nothing');
  assert.is(pick(`L0 a-z:40000 a-z:40000 \n ${level1}`), 'merge L1 a-b + L2 a-b to L2', '160 MB');
  assert.is(pick(`L0 a-z:50000 a-z:60000 \n ${level1}`), 'nothing', '220 MB');
  assert.is(
    show(
      pickCompaction(versionOf(`L0 a-z:50000 a-z:60000 \n ${level1}`), {
        ...options,
        levelBaseBytes: 102_400_000,
      }),
    ),
    'merge L1 a-b + L2 a-b to L2',
    'the option is the most',
  );
});

test('tombstones that a snapshot does not see are not rewritten again and again', () => {
  const version = versionOf('L2 d-f!7 \n L3 g-z');
  assert.is(show(pickCompaction(version, OPTIONS, 98)), 'nothing');
  assert.is(show(pickCompaction(version, OPTIONS, 99)), 'rewrite L2 d-f');
});

test('the deepest level of a range is rewritten, but for what is new', () => {
  // Numbers fall from 99.
  const version = versionOf('L2 a-b c-d e-f g-h i-k');
  const all = { smallest: undefined, largest: undefined };
  assert.is(show(planRewrite(version, 2, all, 100)), 'rewrite L2 a-b c-d e-f g-h i-k');
  assert.is(
    show(planRewrite(version, 2, { smallest: Buffer.from('d'), largest: Buffer.from('g') }, 100)),
    'rewrite L2 c-d e-f g-h',
  );
  assert.is(show(planRewrite(version, 2, all, 98)), 'rewrite L2 e-f g-h i-k', '99 and 98 are new');
  assert.is(show(planRewrite(version, 2, all, 95)), 'nothing');
  assert.is(show(planRewrite(version, 3, all, 100)), 'nothing');
});

test('a table moves only to a level of its own codec', () => {
  const codecs = ['none', 'none', 'lz4'] as const;
  const pick = (picture: string) => show(pickCompaction(versionOf(picture), { ...OPTIONS, codecs }));
  assert.is(pick('L0 s-z m-r g-l a-f'), 'move L0 a-f to L1');
  assert.is(pick('L0 s-z m-r g-l a-f~'), 'merge L0 a-f to L1');
  assert.is(pick('L1 a-f:160'), 'merge L1 a-f to L2');
  assert.is(pick('L1 a-f~:160'), 'move L1 a-f to L2');
  assert.is(pick('L5 a-f~:99999999999'), 'move L5 a-f to L6', 'the last one holds for all deeper levels');
});

test('a range takes what overlaps it, and in level 0 what overlaps that', () => {
  const version = versionOf('L0 k-z e-l a-b \n L1 a-c f-g x-z');
  const range = { smallest: Buffer.from('f'), largest: Buffer.from('h') };
  assert.is(show(planRange(version, 0, range, OPTIONS)), 'merge L0 k-z e-l + L1 f-g x-z to L1');
  assert.is(show(planRange(version, 1, range, OPTIONS)), 'merge L1 f-g to L2');
  assert.is(show(planRange(version, 2, range, OPTIONS)), 'nothing');
});

test.run();
