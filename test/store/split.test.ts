/** A tablet is split on nodes with real trees and logs: what survives a crash at any moment, and who comes late. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SimDisk } from '../../src/sim/world/disk.js';
import { LEFT, PARENT, RIGHT, SplitLab, shownIn } from './split-lab.js';

const KEYS = ['a', 'c', 'f', 'm', 'p', 'z'];
const childOf = (key: string) => (key < 'm' ? LEFT : RIGHT);

/** What is in the children, and that the write of this session is not carried out again. */
async function checkChildren(lab: SplitLab, session: number): Promise<void> {
  await lab.untilLed(LEFT, RIGHT);
  for (const key of KEYS) {
    for (const group of [LEFT, RIGHT]) {
      const leader = lab.leaderOf(group);
      if (!leader) throw new Error(`nobody leads ${group}`);
      const found = shownIn(leader, key);
      if (group === childOf(key)) assert.match(found ?? 'nothing', new RegExp(`^of ${key} \\d+$`));
      else assert.is(found, undefined, `${key} in ${group}`);
    }
  }
  const again = await lab.put(LEFT, 'a', 'a second time', { id: session, sequence: 1 });
  assert.ok(again.type === 'written' && again.write.index < 12, JSON.stringify(again));
  const next = await lab.put(LEFT, 'a', 'of a', { id: session, sequence: 2 });
  assert.ok(next.type === 'written' && next.write.index > 9);
}

/** Writes to one node with one tablet; gives the session. */
async function begin(lab: SplitLab): Promise<number> {
  await lab.untilLed(PARENT);
  const opened = await lab.openSession(PARENT);
  const id = opened.type === 'sessionOpened' ? opened.sessionId : 0;
  for (const key of KEYS)
    await lab.put(PARENT, key, `of ${key}`, key === 'a' ? { id, sequence: 1 } : undefined);
  return id;
}

/** A split that a crash interrupts is done again, whole, and leaves nothing else. */
test('the power fails at each file operation of a split (yugabyte #10301, scylla #21415)', async () => {
  const cuts: SimDisk[] = [];
  const disk = new SimDisk();
  let session = 0;
  {
    const lab = new SplitLab(1, [1]);
    let isSplitting = false;
    await lab.boot(1, disk, ({ kind }) => {
      if (isSplitting && kind !== 'read' && kind !== 'open') cuts.push(disk.powerCutClone(lab.world.random));
      return undefined;
    });
    session = await begin(lab);
    isSplitting = true;
    assert.is((await lab.split('m')).type, 'split');
    await lab.untilLed(LEFT, RIGHT);
    isSplitting = false;
    await checkChildren(lab, session);
  }
  assert.ok(cuts.length > 30, `${cuts.length} cuts`);
  let undone = 0;
  for (const cut of cuts) {
    const lab = new SplitLab(2, [1]);
    const { store, failures } = await lab.boot(1, cut);
    await lab.untilLed(PARENT);
    if (!store.isRetired(PARENT)) {
      // The entry had not survived, so nothing of the split counts.
      undone++;
      assert.is(store.group(RIGHT), undefined);
      const names = cut.mount().list('/data/groups');
      assert.equal(names, [`${PARENT}`]);
      assert.is((await lab.split('m')).type, 'split');
    }
    await checkChildren(lab, session);
    assert.is(store.isRetired(PARENT), true);
    assert.equal(failures, []);
    // The parent goes with its files, and its id is not used again.
    await lab.world.scheduler.run(store.removeGroup(PARENT));
    assert.equal(cut.mount().list('/data/groups').sort(), [`${LEFT}`, `${RIGHT}`]);
    lab.stop(1);
    const again = new SplitLab(3, [1]);
    const { store: reopened } = await again.boot(1, cut);
    assert.equal([...reopened.storedGroups].sort(), [LEFT, RIGHT]);
    await again.untilLed(LEFT, RIGHT);
  }
  assert.ok(undone > 0 && undone < cuts.length, `${undone} of ${cuts.length}`);
});

test('the power fails at each file operation of the removal of a tablet that was split (scylla #26958)', async () => {
  const cuts: SimDisk[] = [];
  const disk = new SimDisk();
  const lab = new SplitLab(8, [1]);
  let isLeaving = false;
  const { store } = await lab.boot(1, disk, ({ kind }) => {
    if (isLeaving && kind !== 'read' && kind !== 'open') cuts.push(disk.powerCutClone(lab.world.random));
    return undefined;
  });
  await begin(lab);
  await lab.split('m');
  await lab.untilLed(LEFT, RIGHT);
  isLeaving = true;
  await lab.world.scheduler.run(store.removeGroup(PARENT));
  assert.ok(cuts.length > 8, `${cuts.length} cuts`);
  for (const [i, cut] of cuts.entries()) {
    const { store: reopened } = await new SplitLab(9, [1]).boot(1, cut);
    const held = [...reopened.storedGroups].sort().map(String);
    assert.equal(cut.mount().list('/data/groups').sort(), held, `cut ${i}`);
    assert.ok(held.includes(`${LEFT}`) && held.includes(`${RIGHT}`));
  }
});

async function threeNodes(seed: number, maxLogBytes?: number): Promise<{ lab: SplitLab; session: number }> {
  const lab = new SplitLab(seed, [1, 2, 3], maxLogBytes);
  for (const id of [1, 2, 3]) await lab.boot(id, new SimDisk());
  return { lab, session: await begin(lab) };
}

function laggardOf(lab: SplitLab): number {
  const [laggard] = lab.running.filter(({ store }) => store.group(PARENT)?.replica.role !== 'leader');
  return laggard?.id ?? 0;
}

async function untilAllHold(lab: SplitLab): Promise<void> {
  await lab.until(() =>
    [LEFT, RIGHT].every((group) => {
      const last = lab.leaderOf(group)?.replica.lastIndex;
      return (
        lab.groupsOf(group).length === 3 &&
        lab.groupsOf(group).every(({ replica }) => replica.appliedIndex === last)
      );
    }),
  );
}

test('three nodes: the children are led at once where their parent was, and go on', async () => {
  const { lab, session } = await threeNodes(4);
  const leader = lab.leaderOf(PARENT)?.replica.leader;
  const startMs = lab.world.scheduler.nowMs();
  await lab.split('m');
  await lab.untilLed(LEFT, RIGHT);
  assert.ok(lab.world.scheduler.nowMs() - startMs < 300);
  assert.ok(leader !== undefined && leader > 0);
  await checkChildren(lab, session);
  await untilAllHold(lab);
  const refused = await lab.put(PARENT, 'a', 'late');
  assert.equal(refused, { type: 'refused', code: 'WRONG_TABLET' });
});

/** A child is made by its parent's split only; messages to it are dropped until then, snapshots of it too. */
test('a laggard makes the children by its own split, not by messages (tikv #413, PR 17535, cockroach #1644)', async () => {
  const { lab, session } = await threeNodes(5);
  const laggard = laggardOf(lab);
  lab.isLost = (from, to, group) => group === PARENT && (from === laggard || to === laggard);
  await lab.split('m');
  await checkChildren(lab, session);
  await lab.world.scheduler.runFor(500);
  const late = lab.nodes.get(laggard)?.store;
  assert.is(late?.group(LEFT), undefined);
  assert.ok((late?.strayMessages ?? 0) > 0);
  assert.equal(late?.storedGroups, [PARENT]);
  lab.isLost = () => false;
  await untilAllHold(lab);
  assert.is(lab.nodes.get(laggard)?.store.isRetired(PARENT), true);
});

test('a laggard whose log was cut takes a snapshot of the parent, and splits it (cockroach PR 31875)', async () => {
  const { lab, session } = await threeNodes(6, 2000);
  const laggard = laggardOf(lab);
  const disk = lab.stop(laggard);
  await lab.world.scheduler.runFor(300);
  await lab.untilLed(PARENT);
  for (let i = 0; i < 40; i++) await lab.put(PARENT, `x${i}`, 'x'.repeat(200));
  await lab.split('m');
  await checkChildren(lab, session);
  // Void, but in the log of the parent: its snapshot is of a later entry than the split.
  for (let i = 0; i < 40; i++) await lab.put(PARENT, `x${i}`, 'y'.repeat(200));
  for (let i = 0; i < 40; i++) await lab.put(RIGHT, `x${i}`, 'z'.repeat(200));
  await lab.until(() => (lab.leaderOf(PARENT)?.replica.baseIndex ?? 0) > 50);
  await lab.boot(laggard, disk);
  await untilAllHold(lab);
  for (const group of lab.groupsOf(RIGHT)) assert.match(shownIn(group, 'x7') ?? '', /^z/);
  const shown = lab.groupsOf(LEFT).map((group) => KEYS.map((key) => shownIn(group, key)).join());
  assert.is(new Set(shown).size, 1);
  for (const { failures } of lab.running) assert.equal(failures, []);
});

test('a split is refused while a change of members is under way (yugabyte #33874)', async () => {
  const { lab } = await threeNodes(7);
  const replica = lab.leaderOf(PARENT)?.replica;
  const code = (promise: Promise<unknown> | undefined) =>
    lab.world.scheduler.run(
      (promise ?? Promise.resolve()).then(
        () => 'done',
        (error) => error.code,
      ),
    );
  const change = replica?.changeConfiguration({
    changes: [{ type: 'addLearner', node: 4 }],
    transition: 'auto',
  });
  assert.is(await code(lab.split('m')), 'CHANGE_PENDING');
  assert.is(await code(change), 'done');
  await lab.world.scheduler.runFor(200);
  // There is a learner.
  assert.is(await code(lab.split('m')), 'CHANGE_INVALID');
});

test.run();
