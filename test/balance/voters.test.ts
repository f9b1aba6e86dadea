/** Who votes on the map: few, none that is dead or drains, far apart; and changes come to an end. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type BalanceSettings,
  type ClusterNode,
  DEFAULT_BALANCE_SETTINGS,
} from '../../src/balance/cluster-map.js';
import { planVoters, type VoterChange } from '../../src/balance/voters.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

const NOW_MS = 1_000_000;

/** Node 1 plans; each node is in a zone and on a host of its own. */
class Lab {
  voters = [1, 2, 3];
  readonly silent = new Set<number>();
  readonly full = new Set<number>();
  readonly draining = new Set<number>();
  zoneOf = (id: number) => `z${id}`;
  settings: BalanceSettings = { ...DEFAULT_BALANCE_SETTINGS, replicas: 3 };
  planner = 1;
  readonly ids: readonly number[];

  constructor(nodes: number) {
    this.ids = Array.from({ length: nodes }, (_, i) => i + 1);
  }

  get nodes(): ClusterNode[] {
    return this.ids.map((id) => ({
      ...{ id, zone: this.zoneOf(id), host: `h${id}`, weight: 1 },
      isDraining: this.draining.has(id),
    }));
  }

  plan(settings: Partial<BalanceSettings> = {}): VoterChange | undefined {
    const reports = this.ids
      .filter((id) => !this.silent.has(id))
      .map((node) => ({ node, heardMs: NOW_MS, isFull: this.full.has(node), replicas: [] }));
    const learners = this.ids.filter((id) => !this.voters.includes(id));
    return planVoters(
      { voters: this.voters, learners },
      this.nodes,
      { sinceMs: 0, nodes: reports },
      { ...this.settings, ...settings },
      NOW_MS,
      this.planner,
    );
  }

  /** Carries out until there is nothing to do. */
  settle(): VoterChange[] {
    const changes: VoterChange[] = [];
    for (let change = this.plan(); change; change = this.plan()) {
      assert.ok(changes.push(change) < 50, `it goes on: ${JSON.stringify(changes.slice(-3))}`);
      this.voters = this.voters.filter((id) => id !== change?.demote);
      if (change.promote !== undefined) this.voters.push(change.promote);
    }
    return changes;
  }
}

test('nothing is changed where enough vote that live', () => {
  const lab = new Lab(5);
  assert.is(lab.plan(), undefined);
  lab.silent.add(4);
  assert.is(lab.plan(), undefined, 'a learner that is dead is no matter');
});

test('a dead voter is replaced by a node that is heard, does not drain and has room; not before its time', () => {
  const lab = new Lab(7);
  lab.silent.add(3).add(4);
  lab.full.add(5);
  lab.draining.add(6);
  assert.is(lab.plan({ deadAfterMs: 2 * NOW_MS }), undefined);
  assert.equal(lab.plan(), { promote: 7, demote: 3, reason: 'repair' });
  assert.is(lab.plan({ drainsOnly: true }), undefined, 'balancing is off');
  lab.silent.add(7);
  assert.is(lab.plan(), undefined, 'nobody can take its place');
  lab.settings = { ...lab.settings, replicas: 2 };
  assert.equal(lab.plan(), { promote: undefined, demote: 3, reason: 'repair' }, 'two are enough');
});

test('too few voters become more, one after the other; without a majority nothing is done', () => {
  const lab = new Lab(5);
  lab.voters = [1];
  assert.is(lab.plan({ drainsOnly: true }), undefined);
  assert.equal(lab.settle(), [
    { promote: 2, demote: undefined, reason: 'repair' },
    { promote: 3, demote: undefined, reason: 'repair' },
  ]);
  lab.silent.add(2).add(3);
  assert.is(lab.plan(), undefined);
});

test('a node that drains gives its vote away, also while balancing is off, and never to another that drains', () => {
  const lab = new Lab(5);
  lab.draining.add(2).add(4);
  const expected = { promote: 5, demote: 2, reason: 'drain' };
  assert.equal(lab.plan(), expected);
  assert.equal(lab.plan({ drainsOnly: true }), expected);
  lab.silent.add(2);
  assert.equal(lab.plan({ drainsOnly: true }), expected, 'it may have been stopped');
  lab.silent.add(5);
  assert.is(lab.plan({ drainsOnly: true }), undefined);
});

test('voters are kept in zones of their own, where there are enough, and the node that plans keeps its vote', () => {
  const lab = new Lab(6);
  lab.zoneOf = (id) => (id <= 4 ? 'a' : `z${id}`);
  lab.planner = 2;
  assert.is(lab.plan({ drainsOnly: true }), undefined);
  const changes = lab.settle();
  assert.equal(
    changes.map(({ reason }) => reason),
    ['zones and hosts', 'zones and hosts'],
  );
  assert.equal([...lab.voters].sort(), [2, 5, 6]);
  lab.silent.add(5);
  assert.equal(lab.plan(), { promote: 1, demote: 5, reason: 'repair' });
});

test('a node that the map does not have yet is not judged', () => {
  const lab = new Lab(5);
  lab.silent.add(3);
  lab.voters = [1, 2, 3, 9];
  assert.is(lab.plan(), undefined);
});

test('in any cluster it comes to an end, and then no live node without a vote would be better', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = new SeededRandom(seed);
    const lab = new Lab(random.between(1, 9));
    lab.voters = lab.ids.filter((id) => id === 1 || random.chance(0.5));
    lab.planner = random.pick(lab.voters);
    const zones = random.between(1, 4);
    lab.zoneOf = (id) => `z${id % zones}`;
    lab.settings = { ...lab.settings, replicas: random.between(1, 5) };
    for (const id of lab.ids) if (id !== lab.planner && random.chance(0.2)) lab.silent.add(id);
    for (const id of lab.ids) if (random.chance(0.2)) lab.draining.add(id);
    const before = lab.voters.length;
    const hadQuorum = 2 * lab.voters.filter((id) => !lab.silent.has(id)).length > before;
    const changes = lab.settle();
    if (!hadQuorum) assert.equal(changes, []);
    const bad = lab.voters.filter((id) => lab.silent.has(id) || lab.draining.has(id));
    const free = lab.ids.filter(
      (id) => !lab.voters.includes(id) && !lab.silent.has(id) && !lab.draining.has(id),
    );
    if (hadQuorum && free.length > 0) {
      assert.equal(bad, [], `seed ${seed}`);
      assert.ok(lab.voters.length >= lab.settings.replicas, `seed ${seed}`);
    }
    assert.ok(lab.voters.length >= Math.min(before, lab.settings.replicas), `seed ${seed}`);
  }
});

test.run();
