/** What the leader of meta does with a merge: when it decides, for what, and that it does so once. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeError } from '../../src/env/errors.js';
import {
  checkMerge,
  decideMerge,
  dropMerge,
  mergeOf,
  type RecordedMerge,
  recordMerge,
} from '../../src/meta/merges.js';
import type { MetaChange } from '../../src/meta/meta.js';
import { MetaState } from '../../src/meta/meta-state.js';
import { encodeRecord, intentKey, type MergeIntent, tabletKey } from '../../src/meta/records.js';
import { MergeDriver } from '../../src/server/merge-driver.js';
import type { NodeRequest } from '../../src/server/node-calls.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { SimWorld } from '../../src/sim/world/world.js';

const NODES = [1, 2, 3];
const PATIENCE_MS = 1000;

/** The map of two tablets, conditional updates, and nodes that say what they are told to. */
class Lab {
  readonly world = new SimWorld(1);
  readonly state = new MetaState();
  leads = true;
  dead: number | undefined;
  readonly asked: string[] = [];
  /** Nodes whose replica is not frozen. */
  readonly thawed = new Set<number>();
  stepOf: (tablet: number, step: string) => unknown = () => ({ state: 'done' });
  readonly faults: string[] = [];
  readonly driver: MergeDriver;
  #version = 0;

  constructor(nodesOfRight: readonly number[] = NODES) {
    this.#put(tabletKey(4), this.#tablet(4, '', 'm', NODES));
    this.#put(tabletKey(5), this.#tablet(5, 'm', undefined, nodesOfRight));
    const { env } = this.world.start('lab', new SimDisk());
    this.driver = new MergeDriver({
      ...{ env, meta: this, patienceMs: PATIENCE_MS },
      isDead: (node) => node === this.dead,
      ask: async (node, request) => this.#answer(node, request),
      onFault: (error) => this.faults.push(String(error)),
    });
  }

  async update(changes: readonly MetaChange[]): Promise<boolean> {
    if (changes.some(({ key, expectedVersion }) => this.state.versionOf(key) !== expectedVersion))
      return false;
    for (const { key, value } of changes) if (value !== null) this.#put(key, value);
    return true;
  }

  async run(ms: number): Promise<void> {
    this.driver.look();
    await this.world.scheduler.run(this.world.scheduler.sleep(ms));
  }

  get stage(): string | undefined {
    return mergeOf(this.state, 4)?.intent.stage;
  }

  asks(what: string): number {
    return this.asked.filter((text) => text.startsWith(what)).length;
  }

  #put(key: string, value: MetaChange['value']): void {
    this.state.set(
      key,
      value === undefined || value === null ? undefined : encodeRecord(value),
      ++this.#version,
    );
  }

  #tablet(id: number, start: string, end: string | undefined, nodes: readonly number[]) {
    return {
      ...{ id, start: Buffer.from(start), end: end === undefined ? undefined : Buffer.from(end) },
      ...{ generation: 1, parents: [], confIndex: 0 },
      replicas: nodes.map((node) => ({ replicaId: 10 * id + node, node, role: 'voter' as const })),
    };
  }

  #answer(node: number, request: NodeRequest): unknown {
    if (request.type === 'mergeStep') {
      if (node !== 1) return { state: 'notLeader', leader: 1 };
      this.asked.push(`${request.step} ${request.tablet}`);
      return this.stepOf(request.tablet, request.step);
    }
    assert.ok(request.type === 'frozen' && request.replicaId === 10 * request.tablet + node);
    this.asked.push(`frozen ${request.tablet}`);
    return this.thawed.has(node) ? null : { index: 7 + request.tablet, term: 3 };
  }
}

async function recorded(lab: Lab, attempt = 100): Promise<MergeIntent> {
  assert.is(await lab.update(recordMerge(lab.state, { left: 4, right: 5 }, attempt, 0)), true);
  return heldBy(lab).intent;
}

function heldBy({ state }: Lab): RecordedMerge {
  const merge = mergeOf(state, 4);
  assert.ok(merge);
  return merge;
}

test('it is decided for the merge when every replica of both says that it is frozen, and not before', async () => {
  const lab = new Lab();
  const intent = await recorded(lab);
  assert.equal(
    [intent.attempt, intent.child.id, intent.child.replicas.map(({ replicaId }) => replicaId)],
    [100, 101, [102, 103, 104]],
  );
  lab.thawed.add(3);
  await lab.run(200);
  assert.is(lab.stage, 'freezing');
  assert.is(lab.asks('merge'), 0);
  lab.thawed.clear();
  await lab.run(100);
  assert.is(lab.stage, 'merging');
  assert.equal(mergeOf(lab.state, 4)?.intent.frozen, { index: 12, term: 3 }, 'that of the right one');
  await lab.run(PATIENCE_MS * 2);
  assert.is(lab.stage, 'merging', 'a decision stays');
  assert.ok(lab.asks('merge 4') > 0);
  assert.is(lab.asks('merge 5') + lab.asks('thaw'), 0);
});

/** tikv #15682. */
test('an error decides nothing; time does: then both are thawed, and the intents go', async () => {
  const lab = new Lab();
  await recorded(lab);
  lab.stepOf = () => {
    throw new RaftreeError('CHANGE_PENDING', 'a passing one');
  };
  await lab.run(PATIENCE_MS / 2);
  assert.is(lab.stage, 'freezing');
  assert.ok(lab.faults.length > 0);
  await lab.run(PATIENCE_MS);
  assert.is(lab.stage, 'ending');
  const isThawed = new Set<number>();
  let isOtherDone = false;
  let leaderless = 9;
  lab.stepOf = (tablet, step) => {
    assert.is(step, 'thaw');
    isThawed.add(tablet);
    if (tablet === 5 && isThawed.size < 3) {
      isThawed.add(0);
      throw new RaftreeError('NO_LEADER', 'a passing one');
    }
    // For a while nobody leads it.
    if (tablet === 5 && leaderless-- > 0) return { state: 'notLeader', leader: 0 };
    isOtherDone ||= tablet === 5;
    return { state: 'done' };
  };
  await lab.run(3000);
  assert.ok(isOtherDone, 'the other one, too');
  assert.is(lab.stage, undefined);
  assert.is(lab.state.intents.size, 0);
  assert.is(lab.asks('merge'), 0);
});

test('it is given up at once when a tablet refuses, or a node is dead', async () => {
  for (const why of ['refusal', 'death']) {
    const lab = new Lab();
    await recorded(lab);
    if (why === 'death') lab.dead = 2;
    else lab.stepOf = (_, step) => ({ state: step === 'freeze' ? 'refused' : 'done', reason: '' });
    await lab.run(200);
    assert.is(lab.state.intents.size, 0, why);
    assert.ok(lab.asks('thaw 4') > 0 && lab.asks('thaw 5') > 0, why);
    assert.is(lab.asks('merge'), 0);
  }
});

test('who does not lead the map does nothing; another leader goes on where it finds the intent', async () => {
  const lab = new Lab();
  await recorded(lab);
  lab.leads = false;
  await lab.run(PATIENCE_MS * 2);
  assert.is(lab.asked.length, 0);
  assert.is(lab.stage, 'freezing');
  lab.leads = true;
  await lab.run(200);
  assert.is(lab.stage, 'merging');
});

test('of two that decide, one finds other versions; what is decided is not decided again', async () => {
  const lab = new Lab();
  await recorded(lab);
  const held = heldBy(lab);
  const frozen = { index: 12, term: 3 };
  const [one, other] = [
    decideMerge(held, { stage: 'merging', frozen }),
    decideMerge(held, { stage: 'ending' }),
  ];
  assert.throws(() => dropMerge(held), /not given up/);
  assert.is(await lab.update(one), true);
  assert.is(await lab.update(other), false);
  assert.is(lab.stage, 'merging');
  assert.throws(() => decideMerge(heldBy(lab), { stage: 'ending' }), /decided already/);
});

/** While it waits for answers, another leader of the map may have decided, or may have another attempt. */
test('answers that come late decide nothing about what the map has by then', async () => {
  for (const meanwhile of ['given up', 'dropped', 'another attempt']) {
    const lab = new Lab();
    await recorded(lab);
    let goOn: () => void = () => {};
    lab.stepOf = () =>
      new Promise((resolve) => {
        goOn = () => resolve({ state: 'done' });
      });
    await lab.run(100);
    const held = heldBy(lab);
    assert.is(await lab.update(decideMerge(held, { stage: 'ending' })), true);
    if (meanwhile !== 'given up') assert.is(await lab.update(dropMerge(heldBy(lab))), true);
    if (meanwhile === 'another attempt') await recorded(lab, 200);
    lab.leads = false;
    goOn();
    await lab.world.scheduler.run(lab.world.scheduler.sleep(500));
    const stage = { 'given up': 'ending', dropped: undefined, 'another attempt': 'freezing' }[meanwhile];
    assert.is(lab.stage, stage, meanwhile);
    assert.is(lab.state.intents.size, meanwhile === 'dropped' ? 0 : 2);
    assert.is(lab.state.unreadable, 0);
  }
});

/** Only by a fault: then it does not stay frozen for ever. */
test('when one of the two has ended in another way, the other one is thawed', async () => {
  const lab = new Lab();
  await recorded(lab);
  const key = tabletKey(4);
  await lab.update([{ key, expectedVersion: lab.state.versionOf(key), value: undefined }]);
  lab.stepOf = (tablet, step) => {
    assert.is(tablet, 5);
    return { state: 'done', step };
  };
  await lab.run(PATIENCE_MS * 3);
  assert.is(lab.state.versionOf(intentKey(5)), 0);
  assert.ok(lab.asks('thaw 5') > 0);
});

test('tablets on other nodes, with a learner, or with something under way are not merged', async () => {
  const apart = new Lab([1, 2, 4]);
  assert.throws(
    () => checkMerge(apart.state, { left: 4, right: 5 }),
    /on the nodes 1, 2, 3, tablet 5 on 1, 2, 4/,
  );
  const lab = new Lab();
  await recorded(lab);
  assert.throws(() => checkMerge(lab.state, { left: 4, right: 5 }), /a merge of tablet 4 is under way/);
});

test.run();
