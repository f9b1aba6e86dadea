/** Two tablets are merged on nodes with real trees and logs: what survives a crash at any moment; who comes late. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import type { MergeStep } from '../../src/kv/merge.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { LEFT, PARENT, RIGHT, SplitLab, type SplitNode, shownIn } from './split-lab.js';

const KEYS = ['a', 'c', 'f', 'm', 'p', 'z'];
const CHILD = 30;
const ATTEMPT = 25;
const SESSION = 2 ** 52 + 99;
const LAST = { id: SESSION, sequence: 3 };

/** Two tablets, each with keys, and with a session that was used in both. */
async function begin(lab: SplitLab): Promise<void> {
  await lab.untilLed(PARENT);
  await lab.openSession(PARENT, SESSION);
  for (const key of KEYS) await lab.put(PARENT, key, `of ${key}`);
  await lab.put(PARENT, 'a', 'of a', { id: SESSION, sequence: 1 });
  await lab.split('m');
  await lab.untilLed(LEFT, RIGHT);
  await lab.put(LEFT, 'c', 'of c', { id: SESSION, sequence: 2 });
  await lab.put(RIGHT, 'z', 'of z', LAST);
  await lab.until(() => lab.running.every(({ store }) => store.isRetired(PARENT)));
  for (const { store } of lab.running) await lab.world.scheduler.run(store.removeGroup(PARENT));
}

function placed(lab: SplitLab) {
  return [...lab.nodes.keys()].sort().map((node) => ({ node, replicaId: 40 + node }));
}

async function freeze(lab: SplitLab): Promise<MergeStep> {
  await lab.untilLed(LEFT, RIGHT);
  const members = placed(lab);
  const [left, right] = [
    await lab.step(LEFT, { type: 'freeze', attempt: ATTEMPT, members }),
    await lab.step(RIGHT, { type: 'freeze', attempt: ATTEMPT, members }),
  ];
  assert.ok(left.type === 'frozen' && right.type === 'frozen');
  const tablet = lab.leaderOf(RIGHT)?.stateMachine.tablet;
  assert.ok(tablet);
  const { index, term } = right.freeze;
  return { type: 'merge', attempt: ATTEMPT, child: CHILD, index, term, right: tablet, members };
}

async function merge(lab: SplitLab): Promise<void> {
  const result = await lab.step(LEFT, await freeze(lab));
  assert.is(result.type, 'merged');
}

async function checkChild(lab: SplitLab): Promise<void> {
  await lab.untilLed(CHILD);
  const leader = lab.leaderOf(CHILD);
  assert.ok(leader);
  for (const key of KEYS) assert.match(shownIn(leader, key) ?? 'nothing', new RegExp(`^of ${key} \\d+$`));
  assert.is(leader.stateMachine.range, undefined, 'all keys');
  const again = await lab.put(CHILD, 'z', 'a second time', LAST);
  assert.ok(again.type === 'written' && again.write.index < leader.replica.lastIndex, JSON.stringify(again));
  const next = await lab.put(CHILD, 'm', 'of m', { id: SESSION, sequence: 4 });
  assert.ok(next.type === 'written' && next.write.index > (leader.stateMachine.begunBy?.index ?? 0));
}

function folders({ disk }: SplitNode): string[] {
  return disk.mount().list('/data/groups').sort();
}

test('the power fails at each file operation of a merge', async () => {
  const cuts: SimDisk[] = [];
  {
    const disk = new SimDisk();
    const lab = new SplitLab(1, [1]);
    let isMerging = false;
    await lab.boot(1, disk, ({ kind }) => {
      if (isMerging && kind !== 'read' && kind !== 'open') cuts.push(disk.powerCutClone(lab.world.random));
      return undefined;
    });
    await begin(lab);
    isMerging = true;
    await merge(lab);
    await lab.untilLed(CHILD);
    isMerging = false;
    await checkChild(lab);
  }
  assert.ok(cuts.length > 30, `${cuts.length} cuts`);
  let undone = 0;
  for (const cut of cuts) {
    const lab = new SplitLab(2, [1]);
    const node = await lab.boot(1, cut);
    const { store, failures } = node;
    await lab.untilLed(LEFT, RIGHT);
    await lab.world.scheduler.runFor(300);
    if (!store.isRetired(LEFT)) {
      undone++;
      assert.is(store.isRetired(RIGHT), false, 'both end by one record');
      assert.is(store.group(CHILD), undefined);
      assert.equal(folders(node), [`${LEFT}`, `${RIGHT}`]);
      await merge(lab);
    }
    await checkChild(lab);
    for (const ended of [LEFT, RIGHT]) assert.is(store.isRetired(ended), true);
    assert.equal(failures, []);
    for (const ended of [RIGHT, LEFT]) await lab.world.scheduler.run(store.removeGroup(ended));
    assert.equal(folders(node), [`${CHILD}`]);
    lab.stop(1);
    const again = new SplitLab(3, [1]);
    const { store: reopened } = await again.boot(1, cut);
    assert.equal(reopened.storedGroups, [CHILD]);
    await checkChild(again);
  }
  assert.ok(undone > 0 && undone < cuts.length, `${undone} of ${cuts.length}`);
});

async function threeNodes(seed: number, maxLogBytes?: number): Promise<SplitLab> {
  const lab = new SplitLab(seed, [1, 2, 3], maxLogBytes);
  for (const id of [1, 2, 3]) await lab.boot(id, new SimDisk());
  await begin(lab);
  return lab;
}

async function untilAllHold(lab: SplitLab): Promise<void> {
  await lab.until(() => {
    const last = lab.leaderOf(CHILD)?.replica.lastIndex;
    const groups = lab.groupsOf(CHILD);
    return groups.length === 3 && groups.every(({ replica }) => replica.appliedIndex === last);
  });
}

/** All replicas of the child have the same state. */
function statesOf(lab: SplitLab): string[] {
  return lab
    .groupsOf(CHILD)
    .map((group) => JSON.stringify([group.stateMachine.timeMs, KEYS.map((key) => shownIn(group, key))]));
}

/** A node that leads neither tablet. */
function laggardOf(lab: SplitLab): number {
  const leads = (store: SplitNode['store'], group: number) => store.group(group)?.replica.role === 'leader';
  return lab.running.find(({ store }) => !leads(store, LEFT) && !leads(store, RIGHT))?.id ?? 0;
}

test('three nodes: what is merged is led soon where the left one was, and is the same on all', async () => {
  const lab = await threeNodes(4);
  const startMs = lab.world.scheduler.nowMs();
  await merge(lab);
  await lab.untilLed(CHILD);
  assert.ok(lab.world.scheduler.nowMs() - startMs < 500);
  await checkChild(lab);
  await untilAllHold(lab);
  assert.is(new Set(statesOf(lab)).size, 1);
  assert.equal(await lab.put(LEFT, 'a', 'late'), { type: 'refused', code: 'WRONG_TABLET' });
  assert.equal(await lab.put(RIGHT, 'z', 'late'), { type: 'refused', code: 'TABLET_FROZEN' });
});

/** It would lack what the right one got before it was frozen. */
test('a replica waits until the right one here is frozen, also over a restart', async () => {
  for (const restarts of [false, true]) {
    const lab = await threeNodes(5);
    const laggard = laggardOf(lab);
    lab.isLost = (from, to, group) => group === RIGHT && (from === laggard || to === laggard);
    await lab.put(RIGHT, 'p', 'of p');
    await merge(lab);
    await checkChild(lab);
    await lab.world.scheduler.runFor(500);
    if (restarts) {
      const disk = lab.stop(laggard);
      await lab.boot(laggard, disk);
      await lab.world.scheduler.runFor(500);
    }
    const late = lab.nodes.get(laggard)?.store;
    assert.is(late?.group(LEFT)?.stateMachine.endedBy !== undefined, true);
    assert.is(late?.isRetired(LEFT), false);
    assert.is(late?.group(CHILD), undefined);
    lab.isLost = () => false;
    await untilAllHold(lab);
    assert.is(new Set(statesOf(lab)).size, 1);
    assert.is(lab.nodes.get(laggard)?.store.isRetired(RIGHT), true);
    for (const { failures } of lab.running) assert.equal(failures, []);
  }
});

/** tikv PR 5868, PR 15649: a restart forgot that it was merging; the log that it needed was cut. */
test('a laggard gets the end of the left one as a snapshot, and merges its own tablets', async () => {
  const lab = await threeNodes(6, 2000);
  const laggard = laggardOf(lab);
  lab.isLost = (from, to, group) => group === LEFT && (from === laggard || to === laggard);
  for (let i = 0; i < 60; i++) await lab.put(LEFT, 'b', 'x'.repeat(100));
  await merge(lab);
  await checkChild(lab);
  const disk = lab.stop(laggard);
  await lab.boot(laggard, disk);
  lab.isLost = () => false;
  await untilAllHold(lab);
  assert.is(new Set(statesOf(lab)).size, 1);
  assert.ok((lab.nodes.get(laggard)?.store.group(LEFT)?.replica.snapshots.received ?? 0) > 0);
});

/** A split has made its tree durable; a merge reads it only. */
test('after a power cut the left one knows that it has ended, also when the others have let it go', async () => {
  const lab = await threeNodes(8);
  await merge(lab);
  await checkChild(lab);
  await untilAllHold(lab);
  const [last, ...others] = lab.running;
  assert.ok(last);
  for (const { store } of others)
    for (const group of [RIGHT, LEFT]) await lab.world.scheduler.run(store.removeGroup(group));
  const { store } = await lab.boot(last.id, lab.stop(last.id));
  await lab.world.scheduler.runFor(1000);
  assert.is(store.isRetired(LEFT), true);
  assert.is(store.group(LEFT)?.stateMachine.endedBy !== undefined, true);
});

test('the members of a frozen tablet do not change', async () => {
  const lab = await threeNodes(7);
  await freeze(lab);
  for (const group of [LEFT, RIGHT]) {
    const replica = lab.leaderOf(group)?.replica;
    const change = { changes: [{ type: 'addLearner', node: 4 }], transition: 'auto' } as const;
    const changing = async () => {
      await replica?.changeConfiguration(change);
    };
    const code = await lab.world.scheduler.run(changing().catch(errorCode));
    assert.is(code, 'CHANGE_CONFLICT');
    assert.is(replica?.configuration.learners.length, 0);
  }
  for (const group of [LEFT, RIGHT]) await lab.step(group, { type: 'thaw', attempt: ATTEMPT });
  assert.is((await lab.put(LEFT, 'a', 'of a')).type, 'written');
});

test.run();
