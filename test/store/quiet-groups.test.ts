/** Groups without work: they cost no messages, and come back when there is work or when a node is lost. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { QuietGroups } from '../../src/store/quiet-groups.js';
import { StoreLab } from './store-lab.js';

const A = 1;
const B = 2;
const NODES = [1, 2, 3];
const QUIET_AFTER_MS = 50;
/** Of the lab: [100, 200) ms. */
const ELECTION_MAX_MS = 200;
const noFault = () => () => undefined;

/** Three nodes whose groups are all quiet. Counts messages from then on. */
async function quietLab(seed: number, groups: readonly number[] = [A, B]) {
  const lab = await StoreLab.start(seed, groups, noFault, QUIET_AFTER_MS);
  await lab.untilLed(...groups);
  for (const group of groups) await lab.write(group, 'first');
  await untilQuiet(lab);
  return lab;
}

const untilQuiet = (lab: StoreLab) =>
  lab.until(() =>
    [...lab.nodes.values()].every(
      ({ store, isRunning }) => !isRunning || store.quietGroups === lab.groups.length,
    ),
  );

function countMessages(lab: StoreLab): Map<string, number> {
  const counts = new Map<string, number>();
  const before = lab.isLost;
  lab.isLost = (from, to, type) => {
    counts.set(type, (counts.get(type) ?? 0) + 1);
    return before(from, to, type);
  };
  return counts;
}

const leaderNode = (lab: StoreLab, group: number) => lab.leaderOf(group)?.replica.leader ?? 0;
const termOf = (lab: StoreLab, group: number) => lab.leaderOf(group)?.replica.term ?? 0;

test('quiet groups send nothing; the nodes tell each other that they are alive, once for all groups', async () => {
  const lab = await quietLab(1, [1, 2, 3, 4, 5, 6]);
  const terms = lab.groups.map((group) => termOf(lab, group));
  // What is under way arrives.
  await lab.world.scheduler.runFor(5);
  const counts = countMessages(lab);
  await lab.world.scheduler.runFor(10 * ELECTION_MAX_MS);
  assert.equal([...counts.keys()], ['alive']);
  // A message is looked at when it is sent and when it arrives; 20 ms apart, between at most three pairs of nodes.
  assert.ok((counts.get('alive') ?? 0) <= 2 * 6 * (1 + (10 * ELECTION_MAX_MS) / 20));
  assert.equal(
    lab.groups.map((group) => termOf(lab, group)),
    terms,
  );
  // Work wakes one group, and it falls quiet again.
  await lab.write(3, 'second');
  await lab.untilEqual(3);
  await untilQuiet(lab);
  assert.is(termOf(lab, 3), terms[2]);
});

for (const seed of [1, 2, 3, 4, 5]) {
  test(`the node of a leader dies while its groups are quiet: the others elect leaders (seed ${seed})`, async () => {
    const lab = await quietLab(seed);
    const lost = leaderNode(lab, A);
    lab.powerCut(lost);
    const fromMs = lab.world.scheduler.nowMs();
    await lab.until(() => NODES.some((id) => id !== lost && lab.groupOf(id, A).replica.role === 'leader'));
    // As long as with heartbeats: an election timeout, its vote, and one more if votes were split.
    assert.ok(lab.world.scheduler.nowMs() - fromMs < 4 * ELECTION_MAX_MS);
    for (const group of [A, B]) await lab.write(group, 'second');
    for (const group of [A, B]) await lab.untilEqual(group);
  });

  test(`it is restarted at once: its new process has another epoch (seed ${seed})`, async () => {
    const lab = await quietLab(seed);
    const id = leaderNode(lab, A);
    await lab.boot(id, lab.powerCut(id));
    await lab.until(() => lab.leaderOf(A) !== undefined);
    for (const group of [A, B]) await lab.write(group, 'second');
    for (const group of [A, B]) await lab.untilEqual(group);
    await untilQuiet(lab);
  });

  test(`a follower is restarted while its groups are quiet: no leader is replaced (seed ${seed})`, async () => {
    const lab = await quietLab(seed, [A]);
    const term = termOf(lab, A);
    const id = NODES.find((node) => node !== leaderNode(lab, A)) ?? 0;
    await lab.boot(id, lab.powerCut(id));
    await lab.world.scheduler.runFor(10 * ELECTION_MAX_MS);
    assert.is(termOf(lab, A), term);
    await lab.write(A, 'second');
    await lab.untilEqual(A);
    await untilQuiet(lab);
  });

  test(`a quiet leader is cut off: another is elected, and the old one learns it (seed ${seed})`, async () => {
    const lab = await quietLab(seed, [A]);
    const old = leaderNode(lab, A);
    lab.isLost = (from, to) => from === old || to === old;
    await lab.until(() => NODES.some((id) => id !== old && lab.groupOf(id, A).replica.role === 'leader'));
    // It was woken by the silence of the others, and steps down without a quorum.
    await lab.until(() => lab.groupOf(old, A).replica.role !== 'leader');
    lab.isLost = () => false;
    await lab.write(A, 'second');
    await lab.untilEqual(A);
    await untilQuiet(lab);
  });

  test(`the replica that leads a quiet group ends, its node goes on: others lead (seed ${seed})`, async () => {
    const lab = await quietLab(seed);
    const [failing, closing] = [leaderNode(lab, A), leaderNode(lab, B)];
    Object.defineProperty(lab.groupOf(failing, A).stateMachine, 'durableIndex', {
      get() {
        throw new Error('the engine is gone');
      },
    });
    // A quiet replica looks at its log every ten seconds.
    await lab.until(() => lab.groupOf(failing, A).failure !== undefined, 11_000);
    await lab.until(() => lab.leaderOf(A) !== undefined);
    await lab.write(A, 'second');
    await lab.world.scheduler.run(lab.node(closing).store.closeGroup(B));
    await lab.until(() => lab.leaderOf(B) !== undefined);
    await lab.write(B, 'second');
  });
}

const STORM =
  'many quiet groups lose their leader at once: each has another soon, and most after one election';
test(`${STORM} (cockroach #26257, tikv #18916, #17101)`, async () => {
  const lab = await quietLab(
    9,
    Array.from({ length: 40 }, (_, i) => i + 1),
  );
  const { scheduler } = lab.world;
  for (const group of lab.groups)
    if (leaderNode(lab, group) !== 1)
      await scheduler.run(lab.leaderOf(group)?.replica.transferLeadership(1) ?? Promise.resolve());
  await untilQuiet(lab);
  const terms = lab.groups.map((group) => termOf(lab, group));
  lab.powerCut(1);
  const fromMs = scheduler.nowMs();
  const ledMs = new Map<number, number>();
  const counts = countMessages(lab);
  await lab.until(() => {
    for (const group of lab.groups)
      if (!ledMs.has(group) && lab.leaderOf(group)) ledMs.set(group, scheduler.nowMs());
    return ledMs.size === lab.groups.length;
  });
  assert.ok(scheduler.nowMs() - fromMs < 4 * ELECTION_MAX_MS);
  const elections = lab.groups.reduce((sum, group, i) => sum + termOf(lab, group) - (terms[i] ?? 0), 0);
  assert.ok(elections < 1.5 * lab.groups.length, `${elections} elections`);
  const times = [...ledMs.values()].sort((a, b) => a - b);
  const most = Math.max(...times.map((from) => times.filter((at) => at >= from && at < from + 10).length));
  assert.ok(most < lab.groups.length / 2, `${most} within 10 ms`);
  await scheduler.runFor(2 * ELECTION_MAX_MS);
  assert.ok(
    (counts.get('requestVote') ?? 0) < 10 * lab.groups.length,
    `${counts.get('requestVote')} requests`,
  );
});

test('a replica that leads a quiet group ends, and its state machine is long in closing: others lead', async () => {
  const lab = await quietLab(6);
  const leader = leaderNode(lab, A);
  const { scheduler } = lab.world;
  // The signs of life of its node go on, because of the other group.
  await scheduler.run(lab.leaderOf(B)?.replica.transferLeadership(leader) ?? Promise.resolve());
  await untilQuiet(lab);
  lab.groupOf(leader, A).stateMachine.close = () => new Promise(() => {});
  void lab.node(leader).store.closeGroup(A);
  await lab.until(() => NODES.some((id) => id !== leader && lab.groupOf(id, A).replica.role === 'leader'));
});

test('an offer that comes late does not leave a follower without a leader', async () => {
  const lab = await quietLab(7, [A]);
  const old = leaderNode(lab, A);
  const follower = NODES.find((id) => id !== old) ?? 0;
  const { replica } = lab.groupOf(follower, A);
  const offer = {
    ...({ type: 'quietOffer', term: replica.term, index: replica.lastIndex } as const),
    ...{ round: 1, epoch: 12345 },
  };
  lab.powerCut(old);
  lab.node(follower).store.receive(old, A, offer);
  await lab.until(() => NODES.some((id) => id !== old && lab.groupOf(id, A).replica.role === 'leader'));
});

test('lost signs of life wake the groups, and nothing else happens while the leader answers', async () => {
  const lab = await quietLab(8, [A]);
  const term = termOf(lab, A);
  lab.isLost = (_from, _to, type) => type === 'alive';
  const counts = countMessages(lab);
  await lab.world.scheduler.runFor(10 * ELECTION_MAX_MS);
  assert.is(termOf(lab, A), term);
  assert.ok((counts.get('heartbeat') ?? 0) > 0);
  assert.not(counts.has('requestVote'));
});

test('a store that was paused does not take that for the silence of others', () => {
  let nowMs = 0;
  let tick: (isLate: boolean) => number = () => 0;
  const woken: [number, boolean][] = [];
  const told: number[] = [];
  const groups = new QuietGroups({
    clock: { nowMs: () => nowMs, wallMs: () => nowMs },
    random: new SeededRandom(1),
    ticks: {
      add(run) {
        tick = run;
        return { dueBy() {}, remove() {} };
      },
    },
    ...{ heartbeatMs: 20, electionTimeoutMinMs: 100 },
    sendAlive: (to) => void told.push(to),
    wake: (group, isSilent) => woken.push([group, isSilent]),
  });
  groups.heard(2, 5);
  groups.changed(A, { nodes: [2], epoch: 5 });
  // It tells the leader's node its own epoch at once, or a restart before the next tick could go unnoticed.
  assert.equal(told, [2]);
  nowMs = 1000;
  tick(true);
  assert.equal(woken, []);
  // What had arrived was read, and this node was not in it.
  nowMs = 1020;
  tick(false);
  assert.equal(woken, [[A, true]]);
  // Under another epoch than the node's a group is woken at once.
  groups.heard(3, 7);
  groups.changed(B, { nodes: [3], epoch: 6 });
  assert.equal(woken.slice(1), [[B, false]]);
});

test.run();
