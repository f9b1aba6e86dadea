/**
 * The birth of a cluster: alone, every order of meetings, emptied folders and partings; and whole nodes whose operators
 * err.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RaftreeClientError } from '../../src/client/client-error.js';
import {
  ONE_TABLET,
  type Placement,
  placementByHash,
  placementByRange,
} from '../../src/placement/placement.js';
import { Birth, checkPlacement, UNTOUCHED } from '../../src/server/birth.js';
import { SimulatedCluster, type SimulatedClusterOptions } from '../../src/sim/cluster/simulated-cluster.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { SHORT_TIMEOUTS } from '../support/four-nodes.js';

const FOUNDERS = [1, 2, 3];

/** Three founders, and perhaps one of them twice, as their births see each other, and who took part in a cluster. */
class Nursery {
  readonly #ids: readonly number[];
  readonly births: Birth[];
  /** Of each process: what its folder took part in, and is left of that. */
  readonly bornWith: (string | undefined)[];
  broken: string | undefined;
  readonly #storeIds: string[] = [];
  /** What each was told last by those that it is connected to. */
  readonly #told: Record<string, string> = {};
  #made = 0;

  constructor(ids: readonly number[]) {
    this.#ids = ids;
    this.births = ids.map((_, i) => this.#fresh(i));
    this.bornWith = ids.map(() => undefined);
  }

  #fresh(i: number): Birth {
    const storeId = `folder ${++this.#made}`;
    this.#storeIds[i] = storeId;
    return new Birth({
      nodeId: this.#idOf(i),
      storeId,
      founders: FOUNDERS,
      joins: false,
      state: UNTOUCHED,
      newIncarnation: () => String(++this.#made).padStart(32, '0'),
    });
  }

  #idOf(i: number): number {
    return this.#ids[i] ?? 0;
  }

  #hears(i: number, j: number): boolean {
    const birth = this.births[i] as Birth;
    const said = (this.births[j] as Birth).announcement;
    const storeId = this.#storeIds[j] ?? '';
    this.#told[`${i}${j}`] = JSON.stringify([said, storeId]);
    return birth.heard(this.#idOf(j), storeId, said) === undefined;
  }

  meet(i: number, j: number): void {
    // A node has one connection with each id: it leaves the other who has that one.
    for (const [one, other] of [
      [i, j],
      [j, i],
    ] as const) {
      this.#ids.forEach((id, k) => {
        if (k !== other && id === this.#idOf(other)) this.part(one, k);
      });
    }
    const [isHeard, isAnswered] = [this.#hears(j, i), this.#hears(i, j)];
    if (!isHeard || !isAnswered) this.part(i, j);
    this.#advance(i);
    this.#advance(j);
  }

  part(i: number, j: number): void {
    if (this.#told[`${i}${j}`] === undefined) return;
    (this.births[i] as Birth).left(this.#idOf(j));
    (this.births[j] as Birth).left(this.#idOf(i));
    for (const pair of [`${i}${j}`, `${j}${i}`]) delete this.#told[pair];
  }

  /** Somebody empties the data folder of a node, which starts again. */
  empty(i: number): void {
    this.births.forEach((_, j) => {
      this.part(i, j);
    });
    this.births[i] = this.#fresh(i);
    this.bornWith[i] = undefined;
  }

  #advance(i: number): void {
    const birth = this.births[i] as Birth;
    for (let next = birth.due(); next; next = birth.due()) {
      birth.enter(next);
      if (!birth.isBorn) continue;
      this.bornWith.forEach((incarnation, j) => {
        if (incarnation === undefined || j === i) return;
        if (incarnation !== birth.incarnation) this.broken = 'two clusters of one name';
        if (this.#idOf(i) === this.#idOf(j)) this.broken = 'one node twice in a cluster';
      });
      this.bornWith[i] = birth.incarnation;
    }
  }

  get shown(): string {
    const told = Object.entries(this.#told).sort();
    const shown = JSON.stringify([this.births.map(({ state }) => state), told, this.#storeIds]);
    // Incarnations and folders are told apart; which number they have says nothing.
    const names = new Map<string, string>();
    return shown.replace(/\d{32}|folder \d+/g, (made) => {
      const name = names.get(made) ?? `#${names.size}`;
      names.set(made, name);
      return name;
    });
  }
}

type Step = readonly ['meet' | 'part' | 'empty', number, number];

function pairsOf(ids: readonly number[]): (readonly [number, number])[] {
  return ids.flatMap((id, i) => ids.flatMap((other, j) => (i < j && id !== other ? [[i, j] as const] : [])));
}

function replay(ids: readonly number[], steps: readonly Step[]): Nursery {
  const nursery = new Nursery(ids);
  for (const [kind, i, j] of steps) {
    if (kind === 'empty') nursery.empty(i);
    else nursery[kind](i, j);
  }
  return nursery;
}

/** Every state that some order of steps leads to, each once, by a shortest way. Returns how many there are. */
function explore(
  ids: readonly number[],
  depth: number,
  visit: (nursery: Nursery, steps: readonly Step[]) => void,
): number {
  const possible: Step[] = [
    ...pairsOf(ids).flatMap(([i, j]) => [['meet', i, j] as const, ['part', i, j] as const]),
    ...ids.map((_, i) => ['empty', i, i] as const),
  ];
  const seen = new Set<string>();
  let level: (readonly Step[])[] = [[]];
  for (let i = 0; i < depth && level.length > 0; i++) {
    const next: (readonly Step[])[] = [];
    for (const steps of level) {
      for (const step of possible) {
        const longer = [...steps, step];
        const nursery = replay(ids, longer);
        visit(nursery, longer);
        if (seen.size < seen.add(nursery.shown).size) next.push(longer);
      }
    }
    level = next;
  }
  return seen.size;
}

test('in every order of meetings, partings and emptied folders no two clusters are born beside each other', () => {
  const states = explore(FOUNDERS, 100, ({ broken }, steps) =>
    assert.not(broken, `${broken}: ${JSON.stringify(steps)}`),
  );
  assert.is(states, 417, 'all that there are');
});

test('nor if one of them runs twice, each with a folder of its own', () => {
  explore([1, 2, 3, 3], 7, ({ broken }, steps) => assert.not(broken, `${broken}: ${JSON.stringify(steps)}`));
});

test('an emptied folder takes no part in a cluster of which another folder is left that was born', () => {
  explore(FOUNDERS, 8, (_, steps) => {
    for (const i of [0, 1, 2]) {
      const nursery = replay(FOUNDERS, steps);
      if (nursery.bornWith.filter(Boolean).length < 2 || nursery.bornWith[i] === undefined) continue;
      nursery.empty(i);
      const pairs = pairsOf(FOUNDERS);
      for (const [one, other] of [...pairs, ...pairs, ...pairs]) nursery.meet(one, other);
      assert.is(nursery.bornWith[i], undefined, JSON.stringify(steps));
    }
  });
});

test('from every state without emptied folders the cluster is born when all have met again', () => {
  let count = 0;
  explore(FOUNDERS, 7, (_, steps) => {
    if (steps.some(([kind]) => kind === 'empty')) return;
    const nursery = replay(FOUNDERS, steps);
    for (let round = 0; round < 4; round++) for (const [i, j] of pairsOf(FOUNDERS)) nursery.meet(i, j);
    assert.ok(
      nursery.births.every((birth) => birth.isBorn),
      JSON.stringify(steps),
    );
    count++;
  });
  assert.ok(count > 10, `${count} states`);
});

test('who has adopted is born with what any member that was born says, a joiner too', () => {
  const founders = FOUNDERS.map((id) => ({ id, storeId: `folder ${id}` }));
  const incarnation = 'a'.repeat(32);
  const adopted = { phase: 'adopted', incarnation, founders, placement: ONE_TABLET } as const;
  const birth = new Birth({
    ...{ nodeId: 3, storeId: 'folder 3', founders: FOUNDERS, joins: false },
    ...{ state: adopted, newIncarnation: () => '' },
  });
  birth.heard(4, 'folder 4', {
    phase: 'born',
    incarnation,
    founders: [],
    joins: true,
    placement: ONE_TABLET,
  });
  assert.equal(birth.due(), { ...adopted, phase: 'born' });
});

test('founders with different placements refuse each other, and say what to do; so does a joiner', () => {
  const birthOf = (nodeId: number, placement: Placement | undefined, joins = false) =>
    new Birth({
      ...{ nodeId, storeId: `folder ${nodeId}`, founders: [1, 2], joins, placement },
      ...{ state: UNTOUCHED, newIncarnation: () => 'a'.repeat(32) },
    });
  const [one, other] = [birthOf(1, placementByHash(4)), birthOf(2, placementByHash(8))];
  assert.match(
    one.heard(2, 'folder 2', other.announcement) ?? '',
    'node 2 is to begin with 8 tablets by hash, this node with 4 tablets by hash; make "placement" the same',
  );
  assert.is(one.due(), undefined);
  const same = birthOf(2, placementByHash(4));
  assert.is(one.heard(2, 'folder 2', same.announcement), undefined);
  const proposed = one.due();
  assert.equal(proposed?.placement, placementByHash(4));
  const born = { ...one.announcement, phase: 'born', incarnation: 'a'.repeat(32) } as const;
  const [taking, saying] = [birthOf(3, undefined, true), birthOf(3, ONE_TABLET, true)];
  assert.is(taking.heard(1, 'folder 1', born), undefined);
  assert.equal(taking.due()?.placement, placementByHash(4));
  assert.match(
    saying.heard(1, 'folder 1', born) ?? '',
    'has 4 tablets by hash, and node.json of this node says one tablet',
  );
});

test('a placement that this version does not know is refused, also one of very many tablets', () => {
  const birth = new Birth({
    ...{ nodeId: 3, storeId: 'folder 3', founders: [1], joins: true },
    ...{ state: UNTOUCHED, newIncarnation: () => '' },
  });
  for (const placement of [
    { ...placementByHash(4), hashVersion: 2 },
    placementByHash(4_000_000_000),
    { ...ONE_TABLET, tablets: 2 },
    placementByRange(['b', 'a']),
  ])
    assert.match(
      birth.heard(1, 'folder 1', {
        phase: 'born',
        incarnation: 'a'.repeat(32),
        founders: [],
        joins: false,
        placement,
      }) ?? '',
      'in a way that this version does not know',
    );
});

test('a birth goes on only with the placement that it has begun with', () => {
  const state = { ...UNTOUCHED, phase: 'born', placement: placementByRange(['g']) } as const;
  checkPlacement(state, placementByRange(['g']));
  checkPlacement(state, undefined);
  checkPlacement(UNTOUCHED, placementByHash(2));
  assert.throws(
    () => checkPlacement(state, placementByHash(2)),
    /began with 2 tablets by range, split at "g", but node.json now says 2 tablets by hash; set "placement" as it was/,
  );
});

function clusterOf(
  seed: number,
  options: SimulatedClusterOptions = {},
): { cluster: SimulatedCluster; said: string[] } {
  const said: string[] = [];
  const note = (_fields: unknown, message: string) => said.push(message);
  const logger = { debug: note, info: note, warn: note, error: note };
  return { cluster: new SimulatedCluster(seed, { config: SHORT_TIMEOUTS, logger, ...options }), said };
}

function addressesOf(ids: readonly number[]): { id: number; client: string; peer: string }[] {
  return ids.map((id) => ({ id, client: `n${id}:7001`, peer: `n${id}:7101` }));
}

test('nobody leads before all first members have met; then they begin', async () => {
  const { cluster, said } = clusterOf(1);
  for (const id of [1, 2]) await cluster.run(cluster.start(id));
  await cluster.world.scheduler.runFor(5000);
  assert.is(cluster.leader, undefined);
  assert.ok(said.some((line) => /waiting for all first members to meet: node 3/.test(line)));
  const client = cluster.client(1000);
  const failure = await cluster.run(client.put('a', '1').catch((error: unknown) => error));
  assert.is((failure as RaftreeClientError).outcome, 'notCommitted', String(failure));
  await cluster.run(cluster.start(3));
  await cluster.run(cluster.client().put('a', '1'));
});

test('one node with data, started as one of three beside two empty ones, keeps its data to itself', async () => {
  const { cluster, said } = clusterOf(2);
  const single = new SimulatedCluster(2, { size: 1, config: SHORT_TIMEOUTS });
  await single.run(single.startAll());
  await single.run(single.client().put('precious', 'yes'));
  single.kill(1);
  cluster.machine(1).disk = single.machine(1).disk;
  for (const id of [1, 2, 3]) await cluster.run(cluster.start(id));
  await cluster.world.scheduler.runFor(10_000);
  assert.is((await cluster.run(cluster.client().get('precious')))?.value.toString(), 'yes');
  for (const node of cluster.nodes.slice(1)) assert.is(node?.status(0).term, 0, 'it has no part');
  assert.ok(said.some((line) => /begun already, but the data folder of this node is empty/.test(line)));
});

test('two of three nodes with emptied folders begin no new cluster', async () => {
  const { cluster } = clusterOf(3);
  await cluster.run(cluster.startAll());
  await cluster.run(cluster.client().put('precious', 'yes'));
  for (const id of [1, 2]) {
    cluster.kill(id);
    cluster.machine(id).disk = new SimDisk();
  }
  const kept = cluster.nodes[2]?.status(0).lastIndex ?? 0;
  for (const id of [1, 2]) await cluster.run(cluster.start(id));
  await cluster.world.scheduler.runFor(20_000);
  assert.is(cluster.leader, undefined);
  assert.ok((cluster.nodes[2]?.status(0).lastIndex ?? 0) >= kept);
});

test('a node of another cluster of the same name is refused, by name', async () => {
  const { cluster, said } = clusterOf(4, { size: 4, joining: [4] });
  for (const id of [1, 2, 3]) await cluster.run(cluster.start(id));
  const client = cluster.client();
  await cluster.run(client.put('a', 'ours'));
  // Node 4 has a cluster of its own, of the same name.
  const other = new SimulatedCluster(5, {
    size: 4,
    config: { ...SHORT_TIMEOUTS, nodes: addressesOf([4]), nodeId: 4 },
  });
  await other.run(other.start(4));
  await other.run(other.nodes[3] ? sleepUntil(other, () => other.leader !== undefined) : Promise.resolve());
  await other.run(other.closeAll());
  cluster.machine(4).disk = other.machine(4).disk;
  await cluster.run(cluster.start(4));
  const add = [{ type: 'addLearner', node: 4, ...cluster.machine(4).addresses }] as const;
  const refusal = await cluster.run(client.changeMembers(add).catch((error: unknown) => error));
  assert.match(String(refusal), /belongs to another cluster of the same name/);
  await cluster.run(client.changeMembers(add, { force: true }));
  await cluster.world.scheduler.runFor(10_000);
  assert.equal(cluster.nodes[3]?.status(0).voters, [4], 'it stays what it is');
  assert.ok(said.some((line) => /belongs to another cluster of the same name/.test(line)));
  await cluster.run(client.put('a', 'ours still'));
});

async function sleepUntil({ world }: SimulatedCluster, condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !condition(); i++) await world.scheduler.sleep(10);
}

test('a Raft log that was emptied beside its identity is damage, not a new node', async () => {
  for (const lost of ['/data/raft', '/data/identity.json', '/data/peers.json']) {
    const { cluster } = clusterOf(6);
    await cluster.run(cluster.startAll());
    await cluster.run(cluster.client().put('a', '1'));
    cluster.kill(2);
    const { env } = cluster.world.start('operator', cluster.machine(2).disk);
    if (lost.endsWith('.json')) env.fs.unlink(lost);
    else env.fs.removeTree(lost);
    const error = await cluster.run(cluster.start(2).catch((failure: unknown) => failure));
    assert.match(String(error), /\/data is not whole: (?:its Raft log|identity\.json|peers\.json) /);
  }
});

test('first members that are listed differently never mix', async () => {
  const { cluster, said } = clusterOf(7);
  const { config } = cluster;
  cluster.config = function (this: SimulatedCluster, id) {
    return { ...config.call(this, id), ...(id === 3 ? { nodes: addressesOf([2, 3]) } : {}) };
  };
  for (const id of [1, 2, 3]) await cluster.run(cluster.start(id));
  await cluster.world.scheduler.runFor(5000);
  assert.is(cluster.leader, undefined);
  assert.ok(
    said.some((line) => /node 3 lists nodes 2, 3 as the first members, this node lists 1, 2, 3/.test(line)),
  );
});

test('a birth that has begun goes on with the first members that it began with, or not at all', async () => {
  const { cluster } = clusterOf(8);
  for (const id of [1, 2, 3]) await cluster.run(cluster.start(id));
  await cluster.world.scheduler.runFor(10_000);
  cluster.kill(1);
  // As if its power had failed a moment before the others had answered.
  cluster
    .machine(1)
    .disk.edit('/data/identity.json', (content) =>
      Buffer.from(content.toString().replace('"phase": "born"', '"phase": "proposed"')),
    );
  const { config } = cluster;
  cluster.config = function (this: SimulatedCluster, id) {
    return { ...config.call(this, id), nodes: addressesOf([1]) };
  };
  const error = await cluster.run(cluster.start(1).catch((failure: unknown) => failure));
  assert.match(
    String(error),
    /has begun a cluster of nodes 1, 2, 3, but node.json now says nodes 1; list them as before/,
  );
});

test('a node whose "join" was forgotten has no part; with it, the same folder joins', async () => {
  const { cluster, said } = clusterOf(10, { size: 4, joining: [4] });
  for (const id of [1, 2, 3]) await cluster.run(cluster.start(id));
  const client = cluster.client();
  await cluster.run(client.put('a', '1'));
  const { config } = cluster;
  cluster.config = function (this: SimulatedCluster, id) {
    return { ...config.call(this, id), join: false };
  };
  await cluster.run(cluster.start(4));
  const add = [{ type: 'addLearner', node: 4, ...cluster.machine(4).addresses }] as const;
  const refusal = await cluster.run(client.changeMembers(add).catch((error: unknown) => error));
  assert.match(String(refusal), /set "join": true in its node\.json/);
  await cluster.run(client.changeMembers(add, { force: true }));
  await cluster.world.scheduler.runFor(5000);
  assert.is(cluster.nodes[3]?.status(0).lastIndex, 0, 'it takes nothing');
  const { peers = [] } = cluster.leader?.status(0) ?? {};
  const seen = peers.find(({ nodeId }) => nodeId === 4);
  assert.not(seen?.reachable);
  assert.match(seen?.problem ?? '', /set "join": true/);
  assert.ok(said.some((line) => /to join, set "join": true in node\.json/.test(line)));
  cluster.kill(4);
  cluster.config = config;
  await cluster.run(cluster.start(4));
  await cluster.world.scheduler.runFor(5000);
  assert.is(cluster.nodes[3]?.status(0).lastIndex, cluster.leader?.status(0).lastIndex);
});

test('an emptied folder of a node that joined is refused by those who never met the old one', async () => {
  const { cluster } = clusterOf(9, { joining: [2, 3] });
  const { network, scheduler } = cluster.world;
  const cutBoth = (one: string, other: string) => {
    network.cut(one, other);
    network.cut(other, one);
  };
  cutBoth('n2', 'n3');
  await cluster.run(cluster.start(1));
  const client = cluster.client();
  await cluster.run(client.put('a', '0'));
  for (const node of [2, 3]) {
    await cluster.run(cluster.start(node));
    await scheduler.runFor(1000);
    await cluster.run(
      client.changeMembers([{ type: 'addLearner', node, ...cluster.machine(node).addresses }]),
    );
    await scheduler.runFor(3000);
    await cluster.run(client.changeMembers([{ type: 'promote', node }]));
    await scheduler.runFor(1000);
  }
  // Nodes 1 and 2 commit a write; then node 1 is away, and the folder of node 2 is emptied.
  cutBoth('n1', 'n3');
  await cluster.run(client.put('W', 'acknowledged'));
  for (const id of [1, 2]) cluster.kill(id);
  cluster.machine(2).disk = new SimDisk();
  network.mendAll();
  await cluster.run(cluster.start(2));
  await scheduler.runFor(20_000);
  assert.is(cluster.leader, undefined);
  await cluster.run(cluster.start(1));
  assert.is((await cluster.run(cluster.client().get('W')))?.value.toString(), 'acknowledged');
});

test('power may fail at any moment of a birth', async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const { cluster } = clusterOf(seed);
    for (let i = 0; i < 4; i++) {
      const starting = [1, 2, 3].map((id) => cluster.start(id).catch(() => undefined));
      await cluster.world.scheduler.runFor(cluster.world.random.between(1, 60));
      cluster.cutPowerOfAll();
      void starting;
    }
    await cluster.run(cluster.startAll());
    await cluster.run(cluster.client().put('a', '1'));
  }
});

test.run();
