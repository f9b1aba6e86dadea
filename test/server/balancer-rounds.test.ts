/** What the balancer makes of what nodes tell it, and of what they do not. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { VoterChange } from '../../src/balance/voters.js';
import { RaftreeError } from '../../src/env/errors.js';
import type { MetaChange } from '../../src/meta/meta.js';
import { MetaState } from '../../src/meta/meta-state.js';
import { BALANCE_KEY, encodeRecord, type MetaRecord, NEXT_ID_KEY, nodeKey } from '../../src/meta/records.js';
import { placementByRange } from '../../src/placement/placement.js';
import { Balancer } from '../../src/server/balancer.js';
import { firstMap } from '../../src/server/meta-driver.js';
import type { NodeRequest } from '../../src/server/node-calls.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { SimWorld } from '../../src/sim/world/world.js';

const EVERY_MS = 1000;
const DEAD_AFTER_MS = 10_000;

/** Node 1 of five leads the map; each tablet has three replicas. */
class Lab {
  readonly world = new SimWorld(1);
  readonly state = new MetaState();
  readonly leaders = new Map<number, number>();
  readonly silent = new Set<number>();
  readonly refusing = new Set<number>();
  readonly full = new Set<number>();
  readonly asked: NodeRequest[] = [];
  voters: readonly number[] = [1, 2, 3, 4, 5];
  learners: readonly number[] = [];
  readonly voterChanges: VoterChange[] = [];
  readonly handedTo: number[] = [];
  /** Whose reports were looked at, to merge tablets. */
  heard: readonly number[] = [];
  cannotMerge = false;
  /** A change of voters takes so long. */
  changeMs = 0;
  readonly balancer: Balancer;
  /** In place of what a node would tell. */
  lie: (node: number) => unknown = () => undefined;
  leads = true;
  /** How often it has given its turn back. */
  turns = 0;
  onTurn = () => {};
  /** So much time passes whenever it looks at its clock. */
  lookMs = 1e-6;
  #lookedMs = 0;
  #version = 0;

  constructor(tablets = 6) {
    const { state } = this;
    const { clock, timers } = this.world.start('n1', new SimDisk()).env;
    const splits = Array.from({ length: tablets - 1 }, (_, i) => String.fromCharCode(98 + i));
    for (const change of firstMap(placementByRange(splits, 3), [1, 2, 3, 4, 5])) this.#apply(change);
    for (const [id, { replicas }] of state.tablets) this.leaders.set(id, replicas[0]?.node ?? 0);
    const isLeading = () => this.leads;
    this.balancer = new Balancer({
      env: {
        clock: {
          nowMs: () => {
            this.#lookedMs += this.lookMs;
            return clock.nowMs() + this.#lookedMs;
          },
          wallMs: () => clock.wallMs(),
        },
        timers: {
          after: (delayMs, run) => timers.after(delayMs, run),
          endOfTurn: (run) => {
            this.turns++;
            this.onTurn();
            timers.endOfTurn(run);
          },
        },
      },
      nodeId: 1,
      settings: { everyMs: EVERY_MS, deadAfterMs: DEAD_AFTER_MS, maxMoves: 2 },
      meta: {
        get leads() {
          return isLeading();
        },
        state,
        read: async () => state,
        update: async (changes) => this.#update(changes),
        allocateIds: async (count) => {
          const { nextId } = state;
          this.#apply({ key: NEXT_ID_KEY, expectedVersion: 0, value: nextId + count });
          return nextId;
        },
      },
      isConnected: () => true,
      answerWithinMs: 400,
      ask: (node, request) => this.#answer(node, request),
      handOver: async (to) => {
        this.handedTo.push(to);
      },
      members: () => ({ index: 7, voters: this.voters, learners: this.learners }),
      changeVoters: (change, index) => this.#changeVoters(change, index),
      looked: async (reports) => {
        this.heard = reports.map(({ node }) => node);
        if (this.cannotMerge) throw failed('CHANGE_INVALID');
        return false;
      },
      recorded: () => {},
      onFault: () => {},
    });
    this.balancer.look();
  }

  async runFor(ms: number): Promise<void> {
    await this.world.scheduler.runFor(ms);
  }

  get moves() {
    return [...this.state.intents.values()].flatMap((intent) => (intent.type === 'move' ? [intent] : []));
  }

  #update(changes: readonly MetaChange[]): boolean {
    if (changes.some(({ key, expectedVersion }) => this.state.versionOf(key) !== expectedVersion))
      return false;
    for (const change of changes) if (change.value !== null) this.#apply(change);
    return true;
  }

  #apply({ key, value }: MetaChange): void {
    const text = value === undefined ? undefined : encodeRecord(value as MetaRecord['value']);
    this.state.set(key, text, ++this.#version);
  }

  set draining(node: number) {
    const { state } = this;
    const known = state.nodes.get(node);
    if (known) this.#apply({ key: nodeKey(node), expectedVersion: 0, value: { ...known, isDraining: true } });
  }

  set isBalanced(isOn: boolean) {
    this.#apply({ key: BALANCE_KEY, expectedVersion: 0, value: { isOn } });
  }

  async #changeVoters(change: VoterChange, index: number): Promise<void> {
    assert.is(index, 7, 'those that were looked at');
    this.voterChanges.push(change);
    if (this.changeMs > 0) await this.world.scheduler.sleep(this.changeMs);
    const { promote, demote } = change;
    const isLeft = (id: number) => id !== demote && id !== promote;
    this.voters = [...this.voters.filter(isLeft), ...(promote === undefined ? [] : [promote])];
    this.learners = [...this.learners.filter(isLeft), ...(demote === undefined ? [] : [demote])];
  }

  async #answer(node: number, request: NodeRequest): Promise<unknown> {
    this.asked.push(request);
    if (this.silent.has(node)) throw failed('MEMBER_UNREACHABLE');
    if (this.refusing.has(node)) throw failed('UNSUPPORTED');
    if (request.type === 'transferLeader') {
      this.leaders.set(request.tablet, request.to);
      return true;
    }
    const lie = this.lie(node);
    if (lie !== undefined) return lie;
    const replicas = [...this.state.tablets.values()].flatMap(({ id, replicas: all }) => {
      const own = all.find((each) => each.node === node);
      const leads = this.leaders.get(id) === node ? { term: 2, operationsPerSecond: 0, forMs: 0 } : undefined;
      return own ? [{ tablet: id, replicaId: own.replicaId, confIndex: 0, sizeBytes: 1000, leads }] : [];
    });
    return { host: '', zone: '', isFull: this.full.has(node), replicas };
  }
}

function failed(code: string): RaftreeError {
  return new RaftreeError(code, code);
}

test('a silent node is replaced after its time, a few replicas at once; one that refuses to tell is not', async () => {
  const lab = new Lab();
  await lab.runFor(3000);
  assert.equal(lab.moves, []);
  assert.equal(lab.heard, [1, 2, 3, 4, 5]);
  lab.silent.add(2);
  lab.refusing.add(3);
  lab.full.add(1);
  lab.full.add(4);
  await lab.runFor(DEAD_AFTER_MS - 2000);
  assert.equal(lab.moves, []);
  assert.not.ok(lab.balancer.isDead(2));
  assert.equal(lab.heard, [1, 3, 4, 5], 'what a node has told before is not looked at');
  await lab.runFor(4000);
  assert.ok(lab.balancer.isDead(2));
  assert.not.ok(lab.balancer.isDead(3));
  assert.is(lab.moves.length, 2, 'no more than may be under way');
  for (const { add, remove, reason } of lab.moves) {
    assert.is(reason, 'repair');
    assert.is(lab.state.ownerOf(remove ?? 0)?.node, 2);
    assert.is(add?.node, 5, 'who is full, or refuses to tell, is given nothing');
  }
  lab.balancer.close();
});

test('however much is to be repaired, no more moves are under way than allowed', async () => {
  const lab = new Lab(20);
  await lab.runFor(3000);
  lab.silent.add(2);
  await lab.runFor(2 * DEAD_AFTER_MS);
  assert.ok(lab.state.tabletsOn(2).length > 4);
  assert.is(lab.moves.length, 2);
  lab.balancer.close();
});

test('a leader of the map that was away calls nobody dead before it has listened itself', async () => {
  const lab = new Lab();
  await lab.runFor(3000);
  lab.silent.add(2);
  lab.leads = false;
  await lab.runFor(2 * DEAD_AFTER_MS);
  lab.leads = true;
  assert.not.ok(lab.balancer.isDead(2));
  lab.balancer.look();
  await lab.runFor(DEAD_AFTER_MS - 1000);
  assert.not.ok(lab.balancer.isDead(2));
  assert.equal(lab.moves, []);
  await lab.runFor(4000);
  assert.ok(lab.moves.length > 0);
  lab.balancer.close();
});

test('a plan that takes long gives its turn back, and is carried out only by who still leads the map', async () => {
  const lab = new Lab();
  await lab.runFor(3000);
  assert.is(lab.turns, 0, 'it has taken no time');
  lab.silent.add(2);
  await lab.runFor(DEAD_AFTER_MS);
  lab.lookMs = 2;
  await lab.runFor(1100);
  assert.ok(lab.turns > 5, `${lab.turns}`);
  assert.is(lab.moves.length, 2);
  lab.balancer.close();

  const deposed = new Lab();
  deposed.silent.add(2);
  deposed.lookMs = 0.3;
  // It plans to replace the dead node, and leads no longer when it has planned that.
  deposed.onTurn = () => {
    if (deposed.balancer.isDead(2)) deposed.leads = false;
  };
  await deposed.runFor(2 * DEAD_AFTER_MS);
  assert.not.ok(deposed.leads);
  assert.equal(deposed.moves, []);
  deposed.balancer.close();
});

test('a node that lies about the replicas of others, or tells nonsense, has nothing done', async () => {
  const lab = new Lab();
  const all = [...lab.state.tablets.values()];
  // Node 5 claims to be every replica, to lead all of them, and to be overrun.
  const claimed = all.flatMap(({ id, replicas }) =>
    replicas.map(({ replicaId }) => ({
      ...{ tablet: id, replicaId, confIndex: 9, sizeBytes: 1e15 },
      leads: { term: 1e9, operationsPerSecond: 1e9, forMs: 1e9 },
    })),
  );
  const own = claimed.filter(({ replicaId }) => lab.state.ownerOf(replicaId)?.node !== 5);
  lab.lie = (node) => (node === 5 ? { host: '', zone: '', isFull: false, replicas: own } : undefined);
  await lab.runFor(5000);
  assert.equal(lab.moves, []);
  for (const request of lab.asked) if (request.type === 'transferLeader') assert.ok(request.term < 1e9);
  for (const nonsense of [
    7,
    {},
    { replicas: [{ tablet: -1 }] },
    { ...{ host: 'x'.repeat(1000), zone: '' } },
  ]) {
    lab.lie = (node) => (node === 5 ? nonsense : undefined);
    await lab.runFor(3000);
  }
  assert.equal(lab.moves, []);
  const { nodes } = (await lab.world.scheduler.run(lab.balancer.picture())) ?? { nodes: [] };
  assert.is(nodes.find(({ nodeId }) => nodeId === 5)?.condition, 'full', 'it is given nothing');
  lab.balancer.close();
});

test('the vote of a dead node goes to a live one, and the picture says so before and meanwhile; not while it is off', async () => {
  const lab = new Lab();
  lab.cannotMerge = true;
  const voteSteps = async () => {
    const { steps } = (await lab.world.scheduler.run(lab.balancer.picture())) ?? { steps: [] };
    return steps.filter(({ kind }) => kind === 'vote');
  };
  lab.voters = [1, 2, 3];
  lab.learners = [4, 5];
  lab.isBalanced = false;
  lab.silent.add(2);
  await lab.runFor(2 * DEAD_AFTER_MS);
  assert.equal(lab.voterChanges, []);
  const step = { kind: 'vote', tablet: 0, from: 2, to: 4, reason: 'repair' };
  assert.equal(await voteSteps(), [{ ...step, state: 'next' }]);
  lab.changeMs = 5000;
  lab.isBalanced = true;
  await lab.runFor(3000);
  assert.equal(await voteSteps(), [{ ...step, state: 'underWay' }]);
  await lab.runFor(10_000);
  assert.equal(lab.voterChanges, [{ promote: 4, demote: 2, reason: 'repair' }]);
  assert.equal(await voteSteps(), []);
  lab.balancer.close();
});

test('the leader of the map that drains hands over before it gives up its vote; if nobody else votes, another does first', async () => {
  const lab = new Lab();
  lab.voters = [1];
  lab.learners = [2, 3];
  lab.isBalanced = false;
  lab.draining = 1;
  await lab.runFor(3000);
  assert.equal(lab.voterChanges, [{ promote: 2, demote: undefined, reason: 'drain' }]);
  assert.ok(lab.voters.includes(1), 'it leads still');
  assert.is(lab.handedTo[0], 2);
  lab.balancer.close();
});

test.run();
