/**
 * A replica moves, or a tablet is split, or two are merged, and one node dies in the middle of it: before its k-th
 * change of a file. Clients write meanwhile. One seed gives one story, so each k can be tried.
 */
import * as assert from 'uvu/assert';
import type { RaftreeClient } from '../../src/client/client.js';
import type { MetaState } from '../../src/meta/meta-state.js';
import type { Direct } from '../../src/sim/cluster/direct.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';
import type { SimDisk } from '../../src/sim/world/disk.js';
import { type FileOperation, systemError } from '../../src/sim/world/file-operation.js';
import { codeOf, RAFT } from '../support/tablet-cluster.js';
import {
  FIRST_SPLIT,
  heldOnDisk,
  type Leaders,
  mapLeader,
  nodesOf,
  type Plan,
  type Step,
  sorted,
} from './tablet-cut-steps.js';

const WORDS = ['apple', 'grape', 'kiwi', 'nut', 'pear', 'zest'];
/** Each of what is split, or merged, has one at least. */
const LOGS = ['fig', 'grape-log', 'kiwi-log'];
/** Virtual times. */
const LIMIT_MS = 30_000;
const AWAY_MS = 300;
/** To look at all disks after each event would take most of the time. */
const LOOK_EVERY_MS = 20;
const WRITE_EVERY_MS = 60;
/** A start reads less. */
const STORAGE = { raftSegmentBytes: 128 * 1024, writeBufferBytes: 64 * 1024, blockCacheBytes: 0 };
/** Writes of a log that are under way together. */
const TOGETHER = 2;

/** `power cut`: of what is not synced a part is lost. `kill`: the process dies, and its files stay. */
export const DEATHS = ['power cut', 'kill'] as const;
export type Death = (typeof DEATHS)[number];

export interface Cut {
  readonly victim: string;
  /** Whether it dies before this change of its files, the n-th since the step was ordered, from 1 on. */
  readonly at: (operation: string, n: number) => boolean;
  readonly death: Death;
}

export interface Outcome {
  /** The node had died before the step was over. */
  readonly isCut: boolean;
  /** What it did to its files until then. The last one is what it did not come to, if it died. */
  readonly operations: readonly string[];
  /** The first order has done it; otherwise nothing was left of that, and it was ordered again. */
  readonly isDone: boolean;
}

/**
 * A cluster that has been killed. Its tablets came from a split, and the trees of the map do not have that yet: a node
 * that starts learns it from its log.
 */
export class TabletCuts {
  readonly #tablets: readonly number[];
  readonly #disks: readonly SimDisk[];

  private constructor(tablets: readonly number[], disks: readonly SimDisk[]) {
    this.#tablets = tablets;
    this.#disks = disks;
  }

  /** For steps with as many nodes and this placement. */
  static async begin(step: Pick<Step, 'nodes' | 'placement'>): Promise<TabletCuts> {
    const cluster = clusterOf(step, 1);
    for (const { id } of cluster.machines) await cluster.run(cluster.start(id));
    const client = cluster.client(LIMIT_MS);
    await cluster.run(Promise.all(WORDS.map((word) => client.put(word, `is ${word}`))));
    await until(cluster, () => mapOf(cluster)?.cluster !== undefined, 'the map is written');
    const { tablet: parent } = await cluster.run(client.splitTablet(FIRST_SPLIT));
    const isGone = () => cluster.machines.every(({ id }) => !heldOnDisk(cluster, id).includes(parent));
    await until(cluster, () => mapOf(cluster)?.intents.size === 0 && isGone(), 'the split ends');
    const { tablets } = await cluster.run(client.tablets());
    for (const { id } of cluster.machines) cluster.kill(id);
    return new TabletCuts(
      tablets.map(({ id }) => id),
      cluster.machines.map(({ disk }) => disk),
    );
  }

  /** Takes the step, and checks all that must hold then. */
  run(step: Step, seed: number, cut: Cut): Promise<Outcome> {
    return new Run(seed, cut, step, this.#tablets, this.#disks).go();
  }
}

class Run {
  readonly #cut: Cut;
  readonly #step: Step;
  readonly #tablets: readonly number[];
  readonly #cluster: SimulatedCluster;
  readonly #seed: number;
  readonly #asker: Direct;
  #victim = 0;
  readonly #operations: string[] = [];
  #isCut = false;
  #isOver = false;
  readonly #written = new Map<string, number>();

  constructor(seed: number, cut: Cut, step: Step, tablets: readonly number[], disks: readonly SimDisk[]) {
    this.#cut = cut;
    this.#step = step;
    this.#tablets = tablets;
    this.#seed = seed;
    this.#cluster = clusterOf(step, seed, (operation, id) => this.#perform(operation, id));
    this.#asker = this.#cluster.direct(this.#cluster.host('asker').env);
    for (const machine of this.#cluster.machines) machine.disk = disks[machine.id - 1]?.clone() as SimDisk;
  }

  get #what(): string {
    const { death, victim } = this.#cut;
    const where = this.#isCut ? `${this.#operations.length}, ${this.#operations.at(-1)}` : 'no operation';
    return `seed ${this.#seed}, ${this.#step.name}, ${death} of ${victim} at ${where}`;
  }

  #perform({ kind, path }: FileOperation, id: number): Error | undefined {
    if (id !== this.#victim || kind === 'read' || kind === 'open') return undefined;
    const operation = `${kind} ${path}`;
    this.#operations.push(operation);
    if (!this.#cut.at(operation, this.#operations.length)) return undefined;
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
    await cluster.run(Promise.all(LOGS.map((key) => client.get(key))));
    await this.#until(() => mapOf(cluster) !== undefined, 'somebody leads the map');
    const leaders = await cluster.run(this.#leaders(client));
    const plan = await cluster.run(this.#step.plan(cluster, this.#tablets, this.#cut.victim, leaders));
    const before = mapOf(cluster);
    assert.ok(before);
    const known = idsIn(before);
    const shape = shapeOf(before);
    const isOver = () => isAtRest(mapOf(cluster), plan) && plan.isGone();
    const writing = Promise.all(LOGS.map((key) => this.#write(client, key, plan)));
    const operator = cluster.client(5000);
    const order = () => codeOf(plan.order(operator));
    this.#victim = plan.victim;
    const ordered = order();
    await this.#until(() => this.#isCut || isOver(), 'it dies, or the step ends');
    this.#victim = 0;
    if (this.#isCut) {
      await cluster.run(cluster.sleep(AWAY_MS));
      await cluster.run(cluster.start(plan.victim));
    }
    await cluster.run(ordered, LIMIT_MS);
    await this.#until(() => mapOf(cluster)?.intents.size === 0, 'nothing is under way');
    const isDone = isAtRest(mapOf(cluster), plan);
    if (!isDone) {
      assert.is(shapeOf(mapOf(cluster)), shape, this.#what);
      assert.is(await cluster.run(this.#again(order), LIMIT_MS), 'ok', this.#what);
    }
    await this.#until(isOver, 'what has ended is gone');
    this.#isOver = true;
    await cluster.run(writing, LIMIT_MS);
    await this.#check(client, known, plan);
    if (this.#isCut && this.#cut.death === 'power cut') {
      // What a start does with what is there, once more, on all of them.
      cluster.cutPowerOfAll();
      await cluster.run(cluster.startAll());
      await this.#check(client, known, plan);
    }
    assert.equal(
      cluster.failures.filter(({ message }) => !/EIO/.test(message)),
      [],
      this.#what,
    );
    await cluster.run(Promise.all([client.close(), operator.close(), this.#asker.close()]));
    for (const { id } of cluster.machines) cluster.kill(id);
    return { isCut: this.#isCut, operations: this.#operations, isDone };
  }

  /** It is refused as long as the node that came back is not connected with all others. */
  async #again(order: () => Promise<string>): Promise<string> {
    for (;;) {
      const code = await order();
      if (code !== 'MEMBER_UNREACHABLE') return code;
      await this.#cluster.sleep(AWAY_MS);
    }
  }

  async #leaders(client: RaftreeClient): Promise<Leaders> {
    const { tablets } = await client.tablets();
    const of = (tablet: number) => tablets.find(({ id }) => id === tablet)?.leader ?? 0;
    const make = async (node: number, tablet: number) => {
      if (of(tablet) !== node) await client.transferLeadership(node, { tablet });
    };
    return { of, make };
  }

  async #write(client: RaftreeClient, key: string, plan: Plan): Promise<void> {
    let written = 0;
    while (!this.#isOver) {
      const tokens = Array.from({ length: TOGETHER }, () => `<${written++}>`);
      await Promise.all(tokens.map((token) => client.append(key, token)));
      this.#written.set(key, written);
      do await this.#cluster.sleep(WRITE_EVERY_MS);
      while (
        // What is left to do then needs no clients. But who has died comes back among them.
        !this.#isOver &&
        !this.#isCut &&
        isAtRest(mapOf(this.#cluster), plan)
      );
    }
  }

  async #check(client: RaftreeClient, known: ReadonlyMap<string, number>, plan: Plan): Promise<void> {
    const cluster = this.#cluster;
    const what = this.#what;
    // A new leader of the map has first to apply what there is.
    await this.#until(() => isAtRest(mapOf(cluster), plan) && plan.isGone(), 'the map says so');
    // Before, a replica of which the map says that it is there may go while it is read.
    await cluster.run(this.#checkKeys(client), LIMIT_MS);
    const state = mapOf(cluster);
    assert.ok(state?.map?.isComplete, what);
    const removed = new Set<number>();
    for (const { id, disk } of cluster.machines) {
      const held = sorted(state.tabletsOn(id));
      assert.equal(heldOnDisk(cluster, id), held, `${what}: groups of node ${id}`);
      const replicas = JSON.parse(disk.contentOf('/data/replicas.json')?.toString() ?? '');
      assert.equal(
        sorted(Object.keys(replicas.here).map(Number)),
        held,
        `${what}: replicas.json of node ${id}`,
      );
      for (const tablet of held) {
        const placed = state.tablets.get(tablet)?.replicas.find(({ node }) => node === id);
        assert.is(
          replicas.here[tablet].replicaId,
          placed?.replicaId,
          `${what}: node ${id}, tablet ${tablet}`,
        );
      }
      for (const { replicaId } of replicas.removed) removed.add(replicaId);
      this.#checkNames(id);
    }
    await cluster.run(this.#checkLogs(state), LIMIT_MS * 2);
    const ids = idsIn(state);
    assert.is(new Set(ids.values()).size, ids.size, `${what}: each replica has an id`);
    const old = new Set(known.values());
    for (const [place, id] of ids) {
      assert.not(removed.has(id), `${what}: ${place} was removed`);
      assert.is(old.has(id), known.has(place), `${what}: ${place} is new, and so is its id`);
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

  /** Who the members of a tablet are is the same in the map and in its log. A replica may hear of it late. */
  async #checkLogs(state: MetaState): Promise<void> {
    const cluster = this.#cluster;
    for (const { id, endpoint } of cluster.machines) {
      const held = state.tabletsOn(id);
      for (const tablet of [0, ...held]) {
        const wanted = tablet === 0 ? `${held.length + 1} groups` : `${nodesOf(state, tablet)} and  and `;
        const said = async () => {
          const answer = await this.#asker.ask(endpoint, { type: 'status', tablet });
          if (typeof answer === 'string' || answer.type !== 'statusReply') return `${answer}`;
          const { voters, outgoing, learners, groups } = answer;
          return tablet === 0 ? `${groups} groups` : `${sorted(voters)} and ${outgoing} and ${learners}`;
        };
        const untilMs = cluster.nowMs + LIMIT_MS;
        let last = await said();
        for (; last !== wanted && cluster.nowMs < untilMs; last = await said()) await cluster.sleep(50);
        assert.is(last, wanted, `${this.#what}: node ${id}, tablet ${tablet}`);
      }
    }
  }

  /** Every acknowledged write is there once, in order, on all replicas. */
  async #checkKeys(client: RaftreeClient): Promise<void> {
    for (const word of WORDS) assert.is((await client.get(word))?.value.toString(), `is ${word}`, this.#what);
    for (const key of LOGS) {
      const count = this.#written.get(key) ?? 0;
      const written = Array.from({ length: count }, (_, i) => `<${i}>`).join('');
      assert.is((await client.get(key))?.value.toString(), written, `${this.#what}: ${key}`);
      const state = mapOf(this.#cluster);
      const owner = state?.map?.ownerOf(Buffer.from(key))?.id ?? 0;
      for (const node of nodesOf(state, owner)) {
        const { endpoint } = this.#cluster.machine(node);
        const found = await client.get(key, { level: 'follower', endpoint });
        assert.is(found?.value.toString(), written, `${this.#what}: ${key} on node ${node}`);
      }
    }
  }

  #until(condition: () => boolean, what: string): Promise<void> {
    return until(this.#cluster, condition, `${what} (${this.#what})`);
  }
}

function clusterOf(
  { nodes, placement }: Pick<Step, 'nodes' | 'placement'>,
  seed: number,
  fault?: (operation: FileOperation, id: number) => Error | undefined,
): SimulatedCluster {
  const config = { placement, raft: RAFT, storage: STORAGE };
  return new SimulatedCluster(seed, { size: nodes, config, ...(fault ? { fault } : {}) });
}

function mapOf(cluster: SimulatedCluster): MetaState | undefined {
  const leader = mapLeader(cluster);
  return leader === 0 ? undefined : cluster.machine(leader).node?.meta?.state;
}

function isAtRest(state: MetaState | undefined, { isDone }: Plan): boolean {
  return state !== undefined && state.intents.size === 0 && isDone(state);
}

/** By tablet and node. */
function idsIn({ tablets }: MetaState): Map<string, number> {
  const ids = new Map<string, number>();
  for (const [tablet, { replicas }] of tablets)
    for (const { node, replicaId } of replicas) ids.set(`tablet ${tablet} on node ${node}`, replicaId);
  return ids;
}

function shapeOf(state: MetaState | undefined): string {
  return [...(state?.tablets.keys() ?? [])].map((id) => `${id}: ${nodesOf(state, id)}`).join('; ');
}

async function until(cluster: SimulatedCluster, condition: () => boolean, what: string): Promise<void> {
  const { scheduler } = cluster.world;
  let nextMs = 0;
  const isReached = () => {
    if (scheduler.nowMs() < nextMs) return false;
    nextMs = scheduler.nowMs() + LOOK_EVERY_MS;
    return condition();
  };
  assert.ok(await scheduler.runUntil(isReached, scheduler.nowMs() + LIMIT_MS), `it happens that ${what}`);
}
