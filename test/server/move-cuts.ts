/**
 * A replica moves from one node to another, and one node dies in the middle of it: before its k-th change of a file.
 * Clients write meanwhile. One seed gives one story, so each k can be tried.
 */
import * as assert from 'uvu/assert';
import type { RaftreeClient } from '../../src/client/client.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';
import type { SimDisk } from '../../src/sim/world/disk.js';
import { type FileOperation, systemError } from '../../src/sim/world/file-operation.js';
import { codeOf, RAFT } from '../support/tablet-cluster.js';

const SIZE = 4;
const PLACEMENT = { by: 'range' as const, splits: ['g'], replicas: 3 };
const WORDS = ['apple', 'grape', 'kiwi', 'nut', 'pear', 'zest'];
const LOG = 'kiwi-log';
/** Virtual times. */
const LIMIT_MS = 30_000;
const AWAY_MS = 300;
const WRITE_EVERY_MS = 40;

/** `power cut`: of what is not synced a part is lost. `kill`: the process dies, and its files stay. */
export const DEATHS = ['power cut', 'kill'] as const;
export type Death = (typeof DEATHS)[number];

/** Who dies: the node that the replica leaves, or leaves as leader; where it comes; who leads tablet or map. */
export const VICTIMS = ['from', 'leadingFrom', 'to', 'leader', 'map'] as const;
export type Victim = (typeof VICTIMS)[number];

export interface Cut {
  readonly victim: Victim;
  /** Before this one of its changes of files since the move was ordered, from 1 on; 0: it does not die. */
  readonly operation: number;
  readonly death: Death;
}

export interface Outcome {
  /** The node had died before the move was over. */
  readonly isCut: boolean;
  /** What it did to its files until then. The last one is what it did not come to, if it died. */
  readonly operations: readonly string[];
  /** The first order has moved the replica; otherwise nothing was left of that, and it was ordered again. */
  readonly isMoved: boolean;
}

/**
 * A cluster that has been killed. The tablet that moves came from a split, and the trees of the map do not have that
 * yet: a node that starts learns it from its log.
 */
export class MoveCuts {
  readonly tablet: number;
  readonly #disks: readonly SimDisk[];

  private constructor(tablet: number, disks: readonly SimDisk[]) {
    this.tablet = tablet;
    this.#disks = disks;
  }

  static async begin(): Promise<MoveCuts> {
    const cluster = clusterOf(1);
    for (const { id } of cluster.machines) await cluster.run(cluster.start(id));
    const client = cluster.client(LIMIT_MS);
    await cluster.run(Promise.all(WORDS.map((word) => client.put(word, `is ${word}`))));
    await until(cluster, () => mapOf(cluster)?.cluster !== undefined, 'the map is written');
    const { tablet: parent, children } = await cluster.run(client.splitTablet('m'));
    const isGone = () => cluster.machines.every(({ id }) => !onDisk(cluster, id).includes(parent));
    await until(cluster, () => mapOf(cluster)?.intents.size === 0 && isGone(), 'the split ends');
    for (const { id } of cluster.machines) cluster.kill(id);
    return new MoveCuts(
      children[0],
      cluster.machines.map(({ disk }) => disk),
    );
  }

  /** Moves a replica, and checks all that must hold then. */
  run(seed: number, cut: Cut): Promise<Outcome> {
    return new Run(seed, cut, this.tablet, this.#disks).go();
  }
}

class Run {
  readonly #cut: Cut;
  readonly #tablet: number;
  readonly #cluster: SimulatedCluster;
  readonly #what: string;
  #victim = 0;
  readonly #operations: string[] = [];
  #isCut = false;
  #isOver = false;
  #written = 0;

  constructor(seed: number, cut: Cut, tablet: number, disks: readonly SimDisk[]) {
    this.#cut = cut;
    this.#tablet = tablet;
    this.#what = `seed ${seed}, ${cut.death} of ${cut.victim} at ${cut.operation}`;
    this.#cluster = clusterOf(seed, (operation, id) => this.#perform(operation, id));
    for (const machine of this.#cluster.machines) machine.disk = disks[machine.id - 1]?.clone() as SimDisk;
  }

  #perform({ kind, path }: FileOperation, id: number): Error | undefined {
    if (id !== this.#victim || kind === 'read' || kind === 'open') return undefined;
    this.#operations.push(`${kind} ${path}`);
    if (this.#operations.length !== this.#cut.operation) return undefined;
    this.#isCut = true;
    this.#victim = 0;
    if (this.#cut.death === 'kill') this.#cluster.kill(id);
    else this.#cluster.cutPower(id);
    return systemError('EIO', kind, path);
  }

  async go(): Promise<Outcome> {
    const cluster = this.#cluster;
    await cluster.run(cluster.startAll());
    const client = cluster.client(LIMIT_MS);
    await cluster.run(client.get('kiwi'));
    await this.#until(() => mapOf(cluster) !== undefined, 'somebody leads the map');
    const before = this.#nodes;
    const known = idsIn(cluster);
    const [from, to] = this.#ends(before);
    const victim = this.#victimOf(from, to);
    const writing = this.#write(client);
    const mover = cluster.client(5000);
    const move = () => codeOf(mover.moveReplica({ tablet: this.#tablet, from, to }));
    this.#victim = victim;
    const moving = move();
    await this.#until(
      () => this.#isCut || (this.#isAtRest(from, to) && !this.#isHere(from)),
      'it dies, or the move ends',
    );
    this.#victim = 0;
    const isCut = this.#isCut;
    if (isCut) {
      await cluster.run(cluster.sleep(AWAY_MS));
      await cluster.run(cluster.start(victim));
    }
    await cluster.run(moving, LIMIT_MS);
    await this.#until(() => mapOf(cluster)?.intents.size === 0, 'nothing is under way');
    const isMoved = this.#nodes.includes(to);
    if (!isMoved) {
      assert.equal(this.#nodes, before, this.#what);
      assert.is(await cluster.run(move(), LIMIT_MS), 'ok', this.#what);
    }
    const after = sorted(before.map((id) => (id === from ? to : id)));
    await this.#until(() => this.#isAtRest(from, to) && !this.#isHere(from), 'what has left is gone');
    assert.equal(this.#nodes, after, this.#what);
    this.#isOver = true;
    await cluster.run(writing, LIMIT_MS);
    await this.#check(client, known, from, to);
    if (isCut && this.#cut.death === 'power cut') {
      // What a start does with what is there, once more, on all of them.
      cluster.cutPowerOfAll();
      await cluster.run(cluster.startAll());
      await this.#check(client, known, from, to);
    }
    assert.equal(
      cluster.failures.filter(({ message }) => !/EIO/.test(message)),
      [],
      this.#what,
    );
    await cluster.run(Promise.all([client.close(), mover.close()]));
    await cluster.run(cluster.closeAll());
    return { isCut, operations: this.#operations, isMoved };
  }

  #ends(nodes: readonly number[]): readonly [from: number, to: number] {
    const leader = this.#leader;
    const from = this.#cut.victim === 'leadingFrom' ? leader : nodes.find((id) => id !== leader);
    return [from ?? 0, this.#cluster.machines.find(({ id }) => !nodes.includes(id))?.id ?? 0];
  }

  get #leader(): number {
    return this.#cluster.machines.find(({ node }) => node?.status(this.#tablet).role === 'leader')?.id ?? 0;
  }

  #victimOf(from: number, to: number): number {
    const { victim } = this.#cut;
    if (victim === 'leader') return this.#leader;
    if (victim === 'map') return this.#cluster.machines.find(({ node }) => node?.meta?.leads)?.id ?? 0;
    return victim === 'to' ? to : from;
  }

  async #write(client: RaftreeClient): Promise<void> {
    for (; !this.#isOver; this.#written++) {
      await client.append(LOG, `<${this.#written}>`);
      await this.#cluster.sleep(WRITE_EVERY_MS);
    }
  }

  get #nodes(): number[] {
    const replicas = mapOf(this.#cluster)?.tablets.get(this.#tablet)?.replicas ?? [];
    return sorted(replicas.map(({ node }) => node));
  }

  #isAtRest(from: number, to: number): boolean {
    const state = mapOf(this.#cluster);
    const nodes = this.#nodes;
    return state?.intents.size === 0 && nodes.includes(to) && !nodes.includes(from);
  }

  #isHere(id: number): boolean {
    return onDisk(this.#cluster, id).includes(this.#tablet);
  }

  async #check(client: RaftreeClient, known: ReadonlySet<number>, from: number, to: number): Promise<void> {
    const cluster = this.#cluster;
    const what = this.#what;
    await cluster.run(this.#checkKeys(client), LIMIT_MS);
    // A new leader of the map has first to apply what there is.
    await this.#until(() => this.#isAtRest(from, to), 'the map says so');
    const state = mapOf(cluster);
    const used = new Set<number>();
    for (const { id, disk } of cluster.machines) {
      const held = sorted(state?.tabletsOn(id) ?? []);
      assert.equal(onDisk(cluster, id), held, `${what}: groups of node ${id}`);
      const { here, removed } = JSON.parse(disk.contentOf('/data/replicas.json')?.toString() ?? '');
      assert.equal(sorted(Object.keys(here).map(Number)), held, `${what}: replicas.json of node ${id}`);
      for (const tablet of held) {
        const placed = state?.tablets.get(tablet)?.replicas.find(({ node }) => node === id);
        assert.is(here[tablet].replicaId, placed?.replicaId, `${what}: node ${id}, tablet ${tablet}`);
        assert.not(used.has(here[tablet].replicaId), what);
        used.add(here[tablet].replicaId);
        if (id === to && tablet === this.#tablet) assert.not(known.has(here[tablet].replicaId), what);
      }
      for (const each of removed) assert.not(used.has(each.replicaId), `${what}: it was removed`);
      this.#checkNames(id);
    }
  }

  /** Each group has one state, and the Raft log names it. */
  #checkNames(id: number): void {
    const { disk } = this.#cluster.machine(id);
    const names = disk.files('/data/groups').map((path) => path.split('/').slice(3, 5).join('/'));
    const states = [...new Set(names)].filter((name) => /\/state/.test(name));
    const groups = states.map((name) => name.split('/')[0]);
    assert.is(new Set(groups).size, groups.length, `${this.#what}: node ${id} has ${states}`);
  }

  async #checkKeys(client: RaftreeClient): Promise<void> {
    for (const word of WORDS) assert.is((await client.get(word))?.value.toString(), `is ${word}`, this.#what);
    const written = Array.from({ length: this.#written }, (_, i) => `<${i}>`).join('');
    assert.is((await client.get(LOG))?.value.toString(), written, this.#what);
  }

  #until(condition: () => boolean, what: string): Promise<void> {
    return until(this.#cluster, condition, `${what} (${this.#what})`);
  }
}

function clusterOf(seed: number, fault?: (operation: FileOperation, id: number) => Error | undefined) {
  const config = { placement: PLACEMENT, raft: RAFT };
  return new SimulatedCluster(seed, { size: SIZE, config, ...(fault ? { fault } : {}) });
}

function mapOf(cluster: SimulatedCluster) {
  return cluster.machines.find(({ node }) => node?.meta?.leads)?.node?.meta?.state;
}

function idsIn(cluster: SimulatedCluster): Set<number> {
  const tablets = [...(mapOf(cluster)?.tablets.values() ?? [])];
  return new Set(tablets.flatMap(({ replicas }) => replicas.map(({ replicaId }) => replicaId)));
}

function onDisk(cluster: SimulatedCluster, id: number): number[] {
  const { disk } = cluster.machine(id);
  const groups = disk.files('/data/groups').map((path) => Number(path.split('/')[3]));
  return sorted([...new Set(groups)].filter((group) => group > 0));
}

function sorted(numbers: readonly number[]): number[] {
  return [...numbers].sort((a, b) => a - b);
}

async function until(cluster: SimulatedCluster, condition: () => boolean, what: string): Promise<void> {
  const { scheduler } = cluster.world;
  assert.ok(await scheduler.runUntil(condition, scheduler.nowMs() + LIMIT_MS), `it happens that ${what}`);
}
