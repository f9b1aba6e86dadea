/** Two tablets are merged, and the right one is opened first at a start: what survives a crash at any moment. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { CommandResult } from '../../src/kv/kv-state-machine.js';
import { encodeMergeStep, type MergeStep } from '../../src/kv/merge.js';
import { encodeSplitEntry } from '../../src/kv/split.js';
import type { Tablet } from '../../src/placement/placement.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { PARENT, SplitLab, shownIn } from './split-lab.js';

/** Groups are opened in the order of their ids: the right one first. */
const [RIGHT, LEFT] = [7, 8];

const KEYS = ['a', 'c', 'f', 'm', 'p', 'z'];
const CHILD = 9;
const ATTEMPT = 50;
const members = (nodes: readonly number[]) => nodes.map((node) => ({ node, replicaId: 100 + node }));

function step(lab: SplitLab, group: number, of: MergeStep): Promise<CommandResult> {
  const leader = lab.leaderOf(group);
  if (!leader) throw new Error(`nobody leads ${group}`);
  return lab.world.scheduler.run(
    leader.replica.proposeTablet(encodeMergeStep(of)).then(({ result }) => result),
  );
}

/** One tablet that was split, with keys in both parts; both are frozen. */
async function frozen(lab: SplitLab, nodes: readonly number[]): Promise<MergeStep> {
  await lab.untilLed(PARENT);
  for (const key of KEYS) await lab.put(PARENT, key, `of ${key}`);
  const body = encodeSplitEntry({ left: LEFT, right: RIGHT, point: Buffer.from('m') });
  await lab.world.scheduler.run(lab.leaderOf(PARENT)?.replica.proposeTablet(body) as Promise<unknown>);
  await lab.untilLed(LEFT, RIGHT);
  for (const key of ['b', 'n']) await lab.put(key < 'm' ? LEFT : RIGHT, key, `of ${key}`);
  const freeze = { type: 'freeze', attempt: ATTEMPT, members: members(nodes) } as const;
  await step(lab, LEFT, freeze);
  const result = await step(lab, RIGHT, freeze);
  assert.is(result.type, 'frozen');
  const { index, term } = result.type === 'frozen' ? result.freeze : { index: 0, term: 0 };
  const right = lab.leaderOf(RIGHT)?.stateMachine.tablet as Tablet;
  return { type: 'merge', attempt: ATTEMPT, child: CHILD, index, term, right, members: members(nodes) };
}

async function checkChild(lab: SplitLab, what: string): Promise<void> {
  await lab.untilLed(CHILD);
  const leader = lab.leaderOf(CHILD);
  if (!leader) throw new Error('nobody leads the child');
  for (const key of [...KEYS, 'b', 'n']) {
    const found = shownIn(leader, key) ?? 'nothing';
    assert.match(found, new RegExp(`^of ${key} \\d+$`), `${what}: ${key}`);
  }
}

async function cutsOfMerge(): Promise<{ cuts: { cut: SimDisk; at: string }[]; merge: MergeStep }> {
  const cuts: { cut: SimDisk; at: string }[] = [];
  const disk = new SimDisk();
  let merge: MergeStep | undefined;
  {
    const lab = new SplitLab(1, [1]);
    let isMerging = false;
    let isFlushed = false;
    const { store } = await lab.boot(1, disk, ({ kind, ...rest }) => {
      // The trees are made durable while the child is being made, as when others need room.
      if (isMerging && !isFlushed && store.group(LEFT)?.stateMachine.endedBy) {
        isFlushed = true;
        for (const group of [LEFT, RIGHT]) void store.group(group)?.stateMachine.flush();
      }
      if (isMerging && kind !== 'read' && kind !== 'open')
        cuts.push({
          cut: disk.powerCutClone(lab.world.random),
          at: `${kind} ${JSON.stringify(rest).slice(0, 80)}`,
        });
      return undefined;
    });
    merge = await frozen(lab, [1]);
    await lab.world.scheduler.run(lab.world.scheduler.sleep(500));
    isMerging = true;
    assert.is((await step(lab, LEFT, merge)).type, 'merged');
    await lab.untilLed(CHILD);
    isMerging = false;
    await checkChild(lab, 'without a crash');
  }
  assert.ok(cuts.length > 20, `${cuts.length} cuts`);
  return { cuts, merge };
}

test('the power fails at each file operation of a merge', async () => {
  const { cuts, merge } = await cutsOfMerge();
  let undone = 0;
  let again = 0;
  const broken: string[] = [];
  for (const [i, { cut, at }] of cuts.entries()) {
    const lab = new SplitLab(2, [1]);
    const what = `cut ${i}: ${at}`;
    try {
      const { store, failures } = await lab.boot(1, cut);
      if (store.group(LEFT)?.stateMachine.endedBy && !store.isRetired(LEFT)) {
        again++;
      }
      await lab.untilLed(LEFT, RIGHT);
      if (!store.isRetired(LEFT)) {
        const left = store.group(LEFT);
        if (!left?.stateMachine.endedBy) {
          undone++;
          assert.is((await step(lab, LEFT, merge)).type, 'merged');
        }
      }
      await lab.until(() => store.isRetired(LEFT) || failures.length > 0);
      assert.equal(failures, [], what);
      if (!store.group(CHILD)) {
        // As `TabletSet` does.
        await lab.world.scheduler.run(lab.world.scheduler.sleep(50));
      }
      assert.ok(store.group(CHILD), `${what}: the child is open`);
      await checkChild(lab, what);
      assert.is(store.isRetired(RIGHT), true);
      lab.stop(1);
      const third = new SplitLab(3, [1]);
      await third.boot(1, cut);
      await checkChild(third, `${what}, and once more`);
    } catch (error) {
      broken.push(`${what}: ${(error as Error).message.split('\n')[0]}`);
    }
  }
  assert.equal(broken, []);
  assert.ok(
    undone > 0 && again > 10,
    `${cuts.length} cuts, ${undone} undone, ${again} done again at the start`,
  );
});

/** A node opens all of its tablets, and then removes what the Raft log does not name. */
test('a merge that is done again at the start is not disturbed when the node cleans up', async () => {
  const broken: string[] = [];
  const { cuts } = await cutsOfMerge();
  let disturbed = 0;
  // The last moment before the record of the Raft log: the left one has applied the entry, durably.
  for (const nth of [1, 2, 5, 8, 9, 12, 16, 20, 24, 28, 99]) {
    const last = cuts.findLast(({ at }) => at.includes('/data/raft/') && at.startsWith('write'));
    const cut = cuts[
      cuts.findIndex(({ at }) => at.includes('.begins') && at.startsWith('unlink'))
    ]?.cut.powerCutClone(new SeededRandom(nth));
    if (!cut || !last) throw new Error('no cut');
    const lab = new SplitLab(2, [1]);
    let operations = 0;
    const { store, failures } = await lab.boot(1, cut, ({ path, kind }) => {
      // The other tablets of the node are open just now.
      const isRecord = operations > 10 && path.startsWith('/data/raft/') && kind === 'write';
      if ((path.startsWith('/data/groups/9/') && ++operations === nth) || (isRecord && nth === 99))
        queueMicrotask(() => {
          const store = lab.nodes.get(1)?.store;
          if (!store || store.storedGroups.includes(CHILD)) return;
          disturbed++;
          store.removeUnnamed();
        });
      return undefined;
    });
    try {
      await lab.until(() => store.isRetired(LEFT) || failures.length > 0);
      assert.is(failures.map(({ message }) => message).join(', '), '');
      await checkChild(lab, `operation ${nth}`);
    } catch (error) {
      broken.push(`operation ${nth}: ${(error as Error).message.slice(0, 300)}`);
    }
  }
  assert.ok(disturbed > 0);
  assert.equal(broken, []);
});

test('a node starts again whose absorbed tablet has had entries since', async () => {
  const disk = new SimDisk();
  const lab = new SplitLab(5, [1], 1000);
  const { store } = await lab.boot(1, disk);
  const merge = await frozen(lab, [1]);
  assert.is((await step(lab, LEFT, merge)).type, 'merged');
  await lab.untilLed(CHILD);
  const [left, right] = [LEFT, RIGHT].map((group) => store.group(group)?.stateMachine);
  const change = left?.endedBy;
  if (!change || !('parents' in change)) throw new Error('it has not ended');
  // As `TabletSet` does.
  right?.endBy(change);
  for (let i = 0; i < 60; i++) await lab.put(RIGHT, 'z', 'a late write, which does nothing');
  await lab.world.scheduler.run(right?.flush() as Promise<void>);
  await lab.world.scheduler.run(lab.world.scheduler.sleep(2000));
  assert.ok((store.group(RIGHT)?.replica.baseIndex ?? 0) > 20, 'its log was cut');
  lab.stop(1);
  const again = new SplitLab(6, [1]);
  await again.boot(1, disk);
  await checkChild(again, 'after a restart');
});

test.run();
