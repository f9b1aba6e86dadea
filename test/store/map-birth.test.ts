/** The group of the map begins beside the first tablet: what survives a crash at any moment, and who comes late. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeWrite } from '../../src/kv/command.js';
import { META_GROUP } from '../../src/placement/placement.js';
import { membersOf } from '../../src/raft/configuration.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { operation, write } from '../kv/kv-lab.js';
import { LEFT, PARENT, RIGHT, SplitLab, shownIn } from './split-lab.js';

const record = (value: string) =>
  encodeWrite(1000, write([operation('put', 'record', value)]), { nowMs: () => 0 });

/** The map takes records, its log goes on behind the entry, and the tablet has what it had. */
async function checkMap(lab: SplitLab, value: string): Promise<void> {
  await lab.untilLed(META_GROUP, PARENT);
  assert.is((await lab.propose(META_GROUP, record(value))).type, 'written');
  const [map, tablet] = [lab.leaderOf(META_GROUP), lab.leaderOf(PARENT)];
  if (!map || !tablet) throw new Error('nobody leads');
  assert.match(shownIn(map, 'record') ?? '', new RegExp(`^${value} `));
  assert.match(shownIn(tablet, 'a') ?? '', /^of a /);
  const { index = 0 } = tablet.stateMachine.companion ?? {};
  assert.ok(index > 1 && map.replica.lastIndex > index, 'the indexes go on');
  assert.is(map.replica.configuration.index, tablet.replica.configuration.index);
  assert.equal(membersOf(map.replica.configuration), membersOf(tablet.replica.configuration));
}

async function threeNodes(seed: number, maxLogBytes?: number): Promise<SplitLab> {
  const lab = new SplitLab(seed, [1, 2, 3], maxLogBytes);
  for (const id of [1, 2, 3]) await lab.boot(id, new SimDisk());
  await lab.untilLed(PARENT);
  await lab.put(PARENT, 'a', 'of a');
  return lab;
}

function laggardOf(lab: SplitLab): number {
  return lab.running.find(({ store }) => store.group(PARENT)?.replica.role !== 'leader')?.id ?? 0;
}

async function untilAllHoldMap(lab: SplitLab): Promise<void> {
  await lab.until(() => {
    const last = lab.leaderOf(META_GROUP)?.replica.lastIndex;
    const all = lab.groupsOf(META_GROUP);
    return all.length === 3 && all.every(({ replica }) => replica.appliedIndex === last);
  });
  for (const { failures } of lab.running) assert.equal(failures, []);
}

test('the power fails at each file operation of the birth of a map', async () => {
  const cuts: SimDisk[] = [];
  {
    const lab = new SplitLab(1, [1]);
    let isBeginning = false;
    const { disk } = await lab.boot(1, new SimDisk(), ({ kind }) => {
      if (isBeginning && kind !== 'read' && kind !== 'open') cuts.push(disk.powerCutClone(lab.world.random));
      return undefined;
    });
    await lab.untilLed(PARENT);
    await lab.put(PARENT, 'a', 'of a');
    isBeginning = true;
    assert.equal(await lab.beginMap(), { type: 'mapBegun' });
    await lab.untilLed(META_GROUP);
    isBeginning = false;
    await checkMap(lab, 'first');
    assert.equal(await lab.beginMap(), { type: 'mapBegun' }, 'it begins once');
    await checkMap(lab, 'second');
  }
  assert.ok(cuts.length > 10, `${cuts.length} cuts`);
  let undone = 0;
  for (const cut of cuts) {
    const lab = new SplitLab(2, [1]);
    const { store, failures } = await lab.boot(1, cut);
    await lab.untilLed(PARENT);
    if (!store.storedGroups.includes(META_GROUP)) {
      // The entry had not survived.
      undone++;
      assert.equal(cut.mount().list('/data/groups'), [`${PARENT}`]);
      assert.equal(await lab.beginMap(), { type: 'mapBegun' });
    }
    await checkMap(lab, 'first');
    lab.stop(1);
    const again = new SplitLab(3, [1]);
    await again.boot(1, cut);
    await checkMap(again, 'second');
    const directories = cut.mount().list(`/data/groups/${META_GROUP}`);
    assert.is(directories.length, 1, directories.join());
    assert.equal(failures, []);
  }
  assert.ok(undone > 0 && undone < cuts.length, `${undone} of ${cuts.length}`);
});

test('a laggard makes the group from the log of the tablet, or from its snapshot, also when that was split since', async () => {
  for (const [seed, isCut] of [
    [4, false],
    [5, true],
  ] as const) {
    const lab = await threeNodes(seed, isCut ? 2000 : undefined);
    const laggard = laggardOf(lab);
    const disk = lab.stop(laggard);
    await lab.world.scheduler.runFor(300);
    await lab.untilLed(PARENT);
    const fill = async () => {
      for (let i = 0; i < 40 && isCut; i++) await lab.put(PARENT, `x${i}`, 'x'.repeat(200));
    };
    await fill();
    assert.equal(await lab.beginMap(), { type: 'mapBegun' });
    await checkMap(lab, 'first');
    await fill();
    await lab.split('m');
    await lab.untilLed(LEFT, RIGHT);
    await fill();
    if (isCut) await lab.until(() => (lab.leaderOf(PARENT)?.replica.baseIndex ?? 0) > 50);
    const late = await lab.boot(laggard, disk);
    assert.equal(late.store.storedGroups, [PARENT], 'no message makes a group');
    await untilAllHoldMap(lab);
    await lab.until(() => lab.groupsOf(RIGHT).length === 3);
    for (const group of lab.groupsOf(META_GROUP)) assert.match(shownIn(group, 'record') ?? '', /^first /);
    // A part has the record of the map in its state, and begins nothing.
    for (const { stateMachine } of lab.groupsOf(LEFT)) assert.is(stateMachine.companion, undefined);
  }
});

test('of other members than those that have promised nothing begins', async () => {
  const lab = await threeNodes(6);
  assert.equal(await lab.beginMap(7), { type: 'mapRefused', reason: 'the members have changed meanwhile' });
  assert.is(lab.leaderOf(PARENT)?.stateMachine.companion, undefined);
  await lab.split('m');
  assert.equal(await lab.beginMap(), { type: 'refused', code: 'WRONG_TABLET' }, 'the tablet has ended');
  assert.equal(lab.groupsOf(META_GROUP), []);
});

test.run();
