/**
 * A tree that is linked twice, each link with bounds of its own: at once each has its own keys only, whatever the
 * shared tables hold, and after compaction no others are left in its files.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { KeyBounds } from '../../src/lsm/base/key-bounds.js';
import { LsmTree, type Operation } from '../../src/lsm/index.js';
import { tableName } from '../../src/lsm/table/table-file.js';
import { dumpFile } from '../../src/lsm/tools/dump.js';
import { hashOfKey } from '../../src/placement/partition-key.js';
import { ringPoint } from '../../src/placement/placement.js';
import { roomEnv } from '../../src/sim/world/room-env.js';
import {
  after,
  DIRECTORY,
  eventually,
  openTree,
  processEnv,
  put,
  remove,
  render,
  renderTree,
  SeededRandom,
  SimDisk,
  type State,
  TINY,
} from './tree-lab.js';

/** Keys of users begin with a 1; a 5 and a number come before them in an index; others are not divided. */
const SECTIONS = [
  { first: 1, skippedBytes: 1 },
  { first: 5, skippedBytes: 3 },
];
const NOTHING = Buffer.alloc(0);
const ORDERED: readonly KeyBounds[] = [
  { by: 'range', start: NOTHING, end: Buffer.from('key015'), sections: SECTIONS },
  { by: 'range', start: Buffer.from('key015'), end: undefined, sections: SECTIONS },
];
const HASHED: readonly KeyBounds[] = [
  { by: 'hash', start: NOTHING, end: ringPoint(2 ** 31), sections: SECTIONS },
  { by: 'hash', start: ringPoint(2 ** 31), end: undefined, sections: SECTIONS },
];
const TARGETS = ['/data/left', '/data/right'];

/** The rule, said in another way than the code says it. */
function isOwn({ by, start }: KeyBounds, stored: string): boolean {
  const bytes = Buffer.from(stored, 'latin1');
  if (bytes[0] !== 1 && bytes[0] !== 5) return true;
  const key = bytes.subarray(bytes[0] === 1 ? 1 : 3);
  const isLeft = by === 'hash' ? hashOfKey(key) < 2 ** 31 : key.toString('latin1') < 'key015';
  return isLeft === (start.length === 0);
}

function randomBatch(random: SeededRandom, batch: number, bounds?: KeyBounds): Operation[] {
  const keys = Array.from({ length: random.between(1, 4) }, () => {
    const number = `key${String(random.between(0, 29)).padStart(3, '0')}`;
    const kind = random.float();
    return kind < 0.7 ? `\u0001${number}` : kind < 0.9 ? `\u0005ab${number}` : `\u0002session${batch % 4}`;
  });
  return keys
    .filter((key) => !bounds || isOwn(bounds, key))
    .map((key) =>
      random.chance(0.25) ? remove(key) : put(key, `${batch}${'x'.repeat(random.between(0, 40))}`),
    );
}

function ownOf(state: State, bounds: KeyBounds): State {
  return new Map([...state].filter(([key]) => isOwn(bounds, key)));
}

async function openLink(target: number, disk: SimDisk, bounds: KeyBounds): Promise<LsmTree> {
  const tree = await LsmTree.open(TARGETS[target] as string, {
    ...TINY,
    createIfMissing: false,
    env: processEnv(2, disk),
  });
  tree.restrict(bounds);
  return tree;
}

function inReverse(tree: LsmTree): string[] {
  return [...tree.iterator({ reverse: true })].map(({ key, value }) => `${key.toString('latin1')}=${value}`);
}

async function checkReads(tree: LsmTree, own: State, all: State): Promise<void> {
  const shown = render(own);
  assert.is(renderTree(tree), shown);
  assert.equal(inReverse(tree).reverse().join('\n'), shown);
  const keys = [...all.keys()].map((key) => Buffer.from(key, 'latin1'));
  const many = await tree.getMany(keys);
  const has = await tree.hasMany(keys);
  keys.forEach((key, i) => {
    const expected = own.get(key.toString('latin1'));
    assert.is(tree.getSync(key)?.toString('latin1'), expected);
    assert.is(many[i]?.toString('latin1'), expected);
    assert.is(tree.hasSync(key), expected !== undefined);
    assert.is(has[i], expected !== undefined);
  });
}

/** The keys in the tables of a directory, deleted ones and old versions too. */
function keysInTables(tree: LsmTree, disk: SimDisk, directory: string): Set<string> {
  const keys = new Set<string>();
  for (const { number } of tree.tables().flat()) {
    for (const record of dumpFile(roomEnv(3, disk), directory, tableName(number)))
      if (record.kind === 'entry') keys.add(record.key.toString('latin1'));
  }
  return keys;
}

for (const [name, halves] of [
  ['by range', ORDERED],
  ['by hash', HASHED],
] as const) {
  test(`two links of a tree, ${name}: keys outside of the bounds are gone at once, for every reader`, async () => {
    for (let seed = 1; seed <= 2; seed++) {
      const random = new SeededRandom(seed);
      const disk = new SimDisk();
      const tree = await openTree(disk, { durability: 'none' });
      let state: State = new Map();
      for (let batch = 0; batch < 80; batch++) {
        const operations = randomBatch(random, batch);
        await tree.write(operations);
        state = after(state, operations);
      }
      for (const [i, bounds] of halves.entries()) await tree.checkpoint(TARGETS[i] as string, bounds);
      assert.is(renderTree(tree), render(state));
      await tree.close();

      for (const [i, bounds] of halves.entries()) {
        let link = await openLink(i, disk, bounds);
        let own = ownOf(state, bounds);
        await checkReads(link, own, state);
        for (let batch = 0; batch < 40; batch++) {
          const operations = randomBatch(random, batch, bounds);
          if (operations.length === 0) continue;
          await link.write(operations);
          own = after(own, operations);
          if (batch === 20) {
            await link.close();
            link = await openLink(i, disk, bounds);
          }
          if (batch % 8 === 0) await checkReads(link, own, state);
        }
        // A link of the link has the same keys, and needs the same bounds.
        await link.checkpoint(`${TARGETS[i]}-sent`);
        await link.flush();
        // Without being asked for, and until nothing of others is left.
        await eventually(() =>
          [...keysInTables(link, disk, TARGETS[i] as string)].every((key) => isOwn(bounds, key)),
        );
        await checkReads(link, own, state);
        await link.compactRange();
        assert.is(link.stats().entries, own.size);
        assert.equal((await link.verify()).problems, []);
        await link.close();
      }
    }
  });
}

test('tables without a key of its own are not linked', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk, { durability: 'none', level0Trigger: 100, level0StopTrigger: 200 });
  for (const key of ['a', 'c', 'x', 'z']) {
    await tree.write([
      put(`\u0001key0${key === 'a' || key === 'c' ? '0' : '2'}${key}`, key),
      put(`\u0001key0${key < 'd' ? '01' : '21'}`, key),
    ]);
    await tree.flush();
  }
  assert.is(tree.tables().flat().length, 4);
  for (const [i, bounds] of ORDERED.entries()) await tree.checkpoint(TARGETS[i] as string, bounds);
  await tree.close();
  for (const [i, bounds] of ORDERED.entries()) {
    const link = await openLink(i, disk, bounds);
    assert.is(link.tables().flat().length, 2);
    assert.is(link.stats().entries, 4);
    await link.close();
  }
});

test('what a compaction wrote before the tree had bounds is still rewritten', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk, { durability: 'none' });
  for (let batch = 0; batch < 60; batch++) await tree.write(randomBatch(new SeededRandom(batch), batch));
  const [left] = ORDERED as [KeyBounds];
  await tree.checkpoint(TARGETS[0] as string, left);
  await tree.close();
  const open = () =>
    LsmTree.open(TARGETS[0] as string, { ...TINY, durability: 'none', env: processEnv(2, disk) });
  const careless = await open();
  await careless.compactRange();
  await careless.close();
  const link = await open();
  assert.ok([...keysInTables(link, disk, TARGETS[0] as string)].some((key) => !isOwn(left, key)));
  link.restrict(left);
  await eventually(() =>
    [...keysInTables(link, disk, TARGETS[0] as string)].every((key) => isOwn(left, key)),
  );
  await link.close();
});

test('a power cut at any file operation of a link leaves the whole link, or nothing that counts', async () => {
  const random = new SeededRandom(5);
  const disk = new SimDisk();
  const cuts: SimDisk[] = [];
  let isLinking = false;
  const env = processEnv(1, disk, {
    fault: ({ kind }) => {
      if (isLinking && kind !== 'read' && kind !== 'open') cuts.push(disk.powerCutClone(random));
      return undefined;
    },
  });
  const tree = await openTree(disk, { durability: 'none' }, env);
  let state: State = new Map();
  for (let batch = 0; batch < 50; batch++) {
    const operations = randomBatch(random, batch);
    await tree.write(operations);
    state = after(state, operations);
  }
  isLinking = true;
  for (const [i, bounds] of HASHED.entries()) await tree.checkpoint(TARGETS[i] as string, bounds);
  isLinking = false;
  await tree.close();
  cuts.push(disk);
  let whole = 0;
  for (const cut of cuts) {
    for (const [i, bounds] of HASHED.entries()) {
      if (!cut.mount().exists(TARGETS[i] as string)) continue;
      const link = await openLink(i, cut, bounds);
      assert.is(renderTree(link), render(ownOf(state, bounds)));
      await link.close();
      whole++;
    }
  }
  assert.ok(cuts.length > 20 && whole >= 3, `${cuts.length} cuts, ${whole} whole links`);
});

test('the directory of the parent is left as it was', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk, { durability: 'none' });
  await tree.write([put('\u0001key001', 'left'), put('\u0001key020', 'right')]);
  await tree.checkpoint(TARGETS[0] as string, ORDERED[0]);
  await tree.close();
  const again = await LsmTree.open(DIRECTORY, { ...TINY, env: processEnv(2, disk) });
  assert.is(renderTree(again), '\u0001key001=left\n\u0001key020=right');
  await again.close();
});

test.run();
