/** The merge of two tablets in their state machines: what a frozen one refuses, and what their child begins with. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeExpiry, encodeOpenSession, encodeWrite } from '../../src/kv/command.js';
import { type CommandResult, KvStateMachine, type TabletOwner } from '../../src/kv/kv-state-machine.js';
import { DEFAULT_KV_LIMITS } from '../../src/kv/limits.js';
import { decodeMergeStep, encodeMergeStep, type MergeStep } from '../../src/kv/merge.js';
import type { Caller } from '../../src/kv/requests.js';
import { KvService } from '../../src/kv/service.js';
import { MAX_SESSIONS, Sessions, type WriteResult } from '../../src/kv/sessions.js';
import { encodeSplitEntry } from '../../src/kv/split.js';
import { ChangeHistory } from '../../src/kv/watch/change-history.js';
import { HistoryBudget } from '../../src/kv/watch/history-budget.js';
import type { Tablet } from '../../src/placement/placement.js';
import { replicaContext } from '../../src/placement/replica-context.js';
import { type Configuration, configurationOf } from '../../src/raft/configuration.js';
import type { Entry } from '../../src/raft/types.js';
import { MAX_VALUE_BYTES, MemoryEngine, operation, renderMachine, write } from './kv-lab.js';

const MEMBERS = configurationOf([1, 2]);
const PLACED = [
  { node: 1, replicaId: 31 },
  { node: 2, replicaId: 32 },
];
const LEFT: Tablet = { id: 3, start: Buffer.alloc(0), end: Buffer.from('m'), generation: 1 };
const RIGHT: Tablet = { id: 4, start: Buffer.from('m'), end: undefined, generation: 5 };
const CALLER: Caller = { door: 'test', rights: { read: true, write: true, administrate: false } };
const FROZEN = { type: 'refused', code: 'TABLET_FROZEN' };
const ATTEMPT = 20;
const CHILD = 21;
const NO_TURN = async () => {};
const SESSION = 2 ** 52 + 5;

class Lab {
  readonly engine = new MemoryEngine();
  machine: KvStateMachine;
  readonly #owner: TabletOwner;
  #nowMs = 0;

  constructor(born: Tablet) {
    this.#owner = { id: born.id, by: 'range', born };
    this.machine = this.restarted();
  }

  restarted(): KvStateMachine {
    this.machine = new KvStateMachine(this.engine, this.engine.reopen, 0, undefined, this.#owner);
    return this.machine;
  }

  async apply(body: Buffer, term = 1): Promise<CommandResult> {
    const entry: Entry = { term, kind: 'command', body };
    const [result] = await this.machine.apply(this.machine.appliedIndex + 1, [entry]);
    return result as CommandResult;
  }

  put(key: string, value = 'v', session?: Parameters<typeof write>[1]): Promise<CommandResult> {
    return this.apply(
      encodeWrite(MAX_VALUE_BYTES, write([operation('put', key, value)], session), {
        nowMs: () => this.#nowMs,
      }),
    );
  }

  mortal(key: string, ttlMs: number, nowMs: number): Promise<CommandResult> {
    const life = { change: 'set', ttlMs, when: 'always' } as const;
    const put = write([{ ...operation('put', key, 'v'), life }]);
    return this.apply(encodeWrite(MAX_VALUE_BYTES, put, { nowMs: () => nowMs }));
  }

  open(id = SESSION, window = 4): Promise<CommandResult> {
    return this.apply(encodeOpenSession(window, id));
  }

  step(step: MergeStep, members: Configuration = MEMBERS, term = 1): Promise<CommandResult> {
    return this.tablet(encodeMergeStep(step), members, term);
  }

  tablet(body: Buffer, members: Configuration = MEMBERS, term = 1): Promise<CommandResult> {
    const entry: Entry = { term, kind: 'tablet', body };
    return this.machine.applyTablet(this.machine.appliedIndex + 1, entry, members, NO_TURN);
  }
}

const freeze = (attempt = ATTEMPT): MergeStep => ({ type: 'freeze', attempt, members: PLACED });
const thaw = (attempt = ATTEMPT): MergeStep => ({ type: 'thaw', attempt });

/** Both frozen, and the merge as the left one is given it. */
async function frozen(left: Lab, right: Lab, rightTerm = 2): Promise<MergeStep> {
  assert.is((await left.step(freeze())).type, 'frozen');
  const result = await right.step(freeze(), MEMBERS, rightTerm);
  assert.ok(result.type === 'frozen');
  const { index, term } = result.freeze;
  return { type: 'merge', attempt: ATTEMPT, child: CHILD, index, term, right: RIGHT, members: PLACED };
}

async function childOf(left: Lab, right: Lab): Promise<KvStateMachine> {
  left.engine.checkpoints.set('work', new Map());
  const parts = { absorbed: right.machine, workDirectory: 'work', turn: NO_TURN };
  await left.machine.begin(CHILD, 'child', parts);
  const own = (await left.engine.reopen('child')) as MemoryEngine;
  return new KvStateMachine(own, own.reopen, 0, undefined, { id: CHILD, by: 'range', born: undefined });
}

function storedIn(machine: KvStateMachine, engine: MemoryEngine): unknown {
  return [machine.timeMs, machine.keysWithDeadline, machine.sessions, [...engine.stored].sort()];
}

test('steps are read as they were written, and bytes of another form are none', () => {
  const merge: MergeStep = {
    ...{ type: 'merge', attempt: 2 ** 40, child: 9, index: 2 ** 41, term: 7 },
    ...{ right: RIGHT, members: PLACED },
  };
  for (const step of [freeze(), thaw(), merge]) {
    const bytes = encodeMergeStep(step);
    assert.equal(decodeMergeStep(bytes), step);
    for (let end = 0; end < bytes.length; end++)
      assert.is(decodeMergeStep(bytes.subarray(0, end)), undefined);
    assert.is(decodeMergeStep(Buffer.concat([bytes, Buffer.of(0)])), undefined);
  }
  assert.is(decodeMergeStep(encodeSplitEntry({ left: 7, right: 8, point: Buffer.from('m') })), undefined);
});

test('a frozen tablet changes nothing that a child begins with, also after a restart; thawed it goes on', async () => {
  const lab = new Lab(LEFT);
  await lab.open();
  await lab.mortal('a', 10, 1000);
  await lab.step(freeze());
  const before = storedIn(lab.machine, new MemoryEngine());
  for (const round of ['frozen', 'restarted']) {
    assert.equal(await lab.put('b', 'v', { id: SESSION, sequence: 1 }), FROZEN, round);
    assert.equal(await lab.open(SESSION + 1), FROZEN, round);
    const expiry = encodeExpiry([{ key: Buffer.from('a'), deadlineMs: 10 }], { nowMs: () => 2000 });
    assert.equal(await lab.apply(expiry), { type: 'expired', keys: 0 });
    assert.equal(storedIn(lab.machine, new MemoryEngine()), before, round);
    assert.is(renderMachine(lab.machine), 'a 2 v');
    assert.is(lab.machine.isHeld, true);
    lab.restarted();
  }
  const split = encodeSplitEntry({ left: 7, right: 8, point: Buffer.from('f') });
  assert.is((await lab.tablet(split)).type, 'splitRefused');
  assert.equal(await lab.step(thaw()), { type: 'thawed' });
  for (const machine of [lab.machine, lab.restarted()]) assert.is(machine.freeze, undefined);
  const written = await lab.put('b', 'v', { id: SESSION, sequence: 1 });
  assert.ok(written.type === 'written' && written.write.applied);
});

/** tikv #6460: an aborted merge satisfied the next one. */
test('an attempt that was given up is over: a late freeze does nothing, and no merge goes by it (tikv #6460)', async () => {
  const [left, right] = [new Lab(LEFT), new Lab(RIGHT)];
  const merge = await frozen(left, right);
  await left.step(thaw());
  assert.is((await left.step(freeze())).type, 'mergeRefused', 'it is late');
  assert.is((await left.step(merge)).type, 'mergeRefused', 'the tablet is not held');
  assert.is((await left.step(freeze(ATTEMPT + 5))).type, 'frozen');
  assert.is((await left.step(freeze(ATTEMPT + 6))).type, 'mergeRefused', 'another one holds it');
  assert.is((await left.step(merge)).type, 'mergeRefused', 'another attempt holds it');
  // Repeated, it stays frozen by the first entry.
  const again = await left.step(freeze(ATTEMPT + 5));
  assert.is(again.type === 'frozen' && again.freeze.index, left.machine.freeze?.index);
  await left.step(thaw());
  assert.is(left.machine.freeze?.attempt, ATTEMPT + 5, 'a late thaw is of an attempt before');
  left.restarted();
  assert.is((await left.step(freeze(ATTEMPT - 1))).type, 'mergeRefused');
});

test('a tablet is neither frozen nor merged while its members are others, joint or have a learner', async () => {
  const [left, right] = [new Lab(LEFT), new Lab(RIGHT)];
  const others: Configuration[] = [
    configurationOf([1, 2, 3]),
    configurationOf([1, 3]),
    { ...MEMBERS, outgoing: [1] },
    { ...MEMBERS, learners: [5] },
  ];
  for (const members of others)
    assert.is((await left.step(freeze(), members)).type, 'mergeRefused', JSON.stringify(members));
  const merge = await frozen(left, right);
  for (const members of others) assert.is((await left.step(merge, members)).type, 'mergeRefused');
  if (merge.type !== 'merge') return;
  const beside = { ...merge, right: { ...RIGHT, start: Buffer.from('n') } };
  for (const wrong of [beside, { ...merge, child: RIGHT.id }, { ...merge, members: PLACED.slice(1) }])
    assert.is((await left.step(wrong)).type, 'mergeRefused');
  assert.is((await left.step(merge)).type, 'merged');
  assert.equal(await left.step(thaw()), { type: 'refused', code: 'WRONG_TABLET' }, 'it has ended');
});

test('the child has the keys of both with their versions, behind all entries of both, and ids of its own', async () => {
  const [left, right] = [new Lab(LEFT), new Lab(RIGHT)];
  for (const key of ['a', 'b']) await left.put(key);
  for (const key of ['m', 'n', 'o', 'p', 'm']) await right.put(key);
  const merge = await frozen(left, right, 9);
  const result = await left.step(merge, MEMBERS, 3);
  assert.ok(result.type === 'merged');
  const { succession } = left.machine;
  assert.is(succession?.index, 6);
  assert.is(succession?.term, 9);
  assert.equal(succession?.absorbed, { group: RIGHT.id, index: 6 });
  assert.equal(
    succession?.groups.map(({ id, configuration: { voters, contexts } }) => [id, voters, contexts]),
    [[CHILD, [1, 2], { 1: replicaContext(31), 2: replicaContext(32) }]],
  );
  const child = await childOf(left, right);
  assert.is(renderMachine(child), 'a 1 v\nb 2 v\nm 5 v\nn 2 v\no 3 v\np 4 v');
  assert.is(child.appliedIndex, 6);
  assert.is(child.range, undefined);
  assert.is(child.tablet?.generation, 6);
  assert.is(child.endedBy, undefined);
  // A part of it that is split later has only its own keys.
  const point = Buffer.from('n');
  const entry: Entry = {
    ...{ term: 9, kind: 'tablet' },
    body: encodeSplitEntry({ left: 40, right: 41, point }),
  };
  assert.is((await child.applyTablet(7, entry, MEMBERS, NO_TURN)).type, 'split');
  assert.is(child.succession?.absorbed, undefined);
});

test('the right one ends by the log of the left one: its entries find it frozen, and readers are sent away', async () => {
  const [left, right] = [new Lab(LEFT), new Lab(RIGHT)];
  await right.put('m');
  const merge = await frozen(left, right);
  const result = await left.step(merge);
  assert.ok(result.type === 'merged');
  const service = new KvService({
    ...{ clock: { nowMs: () => 0 }, random: { uint32: () => 7 }, limits: DEFAULT_KV_LIMITS },
    tablet: () => ({
      replica: { propose: () => Promise.reject(), readIndex: async () => 0, yieldLeadership() {} },
      stateMachine: right.machine,
    }),
    ...{ tablets: () => [], clientAddressOf: () => '', onFault: () => {} },
  });
  const key = Buffer.from('m');
  const codes = async () => {
    const answers = [];
    for (const consistency of ['linearizable', 'lease', 'follower', 'stale'] as const)
      answers.push(await service.get(CALLER, { type: 'get', consistency, key }));
    answers.push(await service.write(CALLER, write([operation('put', 'm', 'w')])));
    return answers.map((answer) => answer.type === 'error' && answer.code).join(' ');
  };
  assert.is(await codes(), 'TABLET_FROZEN '.repeat(5).trim());
  right.machine.endBy(result.merge);
  assert.is(await codes(), 'WRONG_TABLET '.repeat(5).trim());
  assert.is(right.machine.succession, undefined);
  assert.equal(await right.put('m'), FROZEN, 'as on a node that does not know it yet');
});

test('a child has what was left of each life: the higher time goes on', async () => {
  for (const isLeftAhead of [true, false]) {
    const [left, right] = [new Lab(LEFT), new Lab(RIGHT)];
    const [ahead, behind] = isLeftAhead ? [left, right] : [right, left];
    const [aheadKey, behindKey] = isLeftAhead ? ['a', 'm'] : ['m', 'a'];
    await ahead.mortal(aheadKey, 500, 0);
    await ahead.mortal(`${aheadKey}2`, 7000, 5000);
    await behind.mortal(behindKey, 300, 100);
    await behind.mortal(`${behindKey}2`, 50, 350);
    assert.equal([ahead.machine.timeMs, behind.machine.timeMs], [5000, 250]);
    await left.step(await frozen(left, right));
    const child = await childOf(left, right);
    assert.is(child.timeMs, 5000);
    assert.is(child.keysWithDeadline, 4);
    const remaining = (key: string) => child.get(Buffer.from(key))?.remainingMs;
    assert.equal(
      [remaining(behindKey), remaining(`${behindKey}2`), remaining(`${aheadKey}2`)],
      [50, 50, 7000],
    );
    assert.is(child.get(Buffer.from(aheadKey)), undefined, 'its life was over');
    const deadlines = [...child.deadlines({ deadlineMs: 0, key: Buffer.alloc(0) })];
    assert.equal(
      deadlines.map(({ deadlineMs, key }) => `${key} ${deadlineMs}`),
      [`${aheadKey} 500`, `${behindKey} 5050`, `${behindKey}2 5050`, `${aheadKey}2 12000`].sort(byDeadline),
    );
    assert.is(child.timeAt(1, 10_000), undefined, 'no leader has stamped yet');
  }
});

function byDeadline(one: string, other: string): number {
  const [a = '', b = ''] = [one, other].map((text) => text.split(' ')[1]);
  return Number(a) - Number(b) || (one < other ? -1 : 1);
}

test('a write that was applied in either is answered as a repetition, and one that was not is applied', async () => {
  const [left, right] = [new Lab(LEFT), new Lab(RIGHT)];
  for (const lab of [left, right]) await lab.open();
  await left.open(SESSION + 1);
  await left.put('a', '1', { id: SESSION, sequence: 1 });
  await left.put('b', '2', { id: SESSION, sequence: 2 });
  await left.put('c', '7', { id: SESSION, sequence: 7, floor: 3 });
  await right.put('m', '3', { id: SESSION, sequence: 3 });
  await right.put('n', '6', { id: SESSION, sequence: 6, floor: 3 });
  await left.step(await frozen(left, right));
  const child = await childOf(left, right);
  assert.is(child.sessions, 2);
  const send = async (id: number, sequence: number, key = 'k', floor = 0) => {
    const body = encodeWrite(MAX_VALUE_BYTES, write([operation('put', key, 'x')], { id, sequence, floor }), {
      nowMs: () => 0,
    });
    const index = child.appliedIndex + 1;
    const [result] = await child.apply(index, [{ term: 9, kind: 'command', body }]);
    if (result?.type !== 'written') return result?.type === 'refused' ? result.code : '';
    return result.write.index === index ? 'applied' : 'repeated';
  };
  // In the slot of 2 and 6, and of 3 and 7, the higher sequence counts; the other lies below the floor of its client.
  for (const sequence of [6, 7]) assert.is(await send(SESSION, sequence), 'repeated');
  for (const sequence of [2, 3]) assert.is(await send(SESSION, sequence), 'INVALID_REQUEST');
  assert.is(await send(SESSION, 1), 'repeated');
  assert.is(await send(SESSION, 4), 'applied');
  assert.is(await send(SESSION + 1, 1), 'applied');
  assert.is(await send(SESSION + 2, 1), 'SESSION_EXPIRED');
});

function result(index: number): WriteResult {
  return { applied: true, index, results: [] };
}

test('a session of which one may have dropped what it knew is dropped; one that the other never had is not', () => {
  const bornAt = 10;
  const opened = (table: Sessions, id: number, at: number) => table.open(id, 4, at);
  for (const hasDropped of [true, false]) {
    const [left, right] = [new Sessions(hasDropped ? 1 : 100), new Sessions(100)];
    if (hasDropped) {
      // The second result is one too many: the older session goes.
      for (const [i, id] of [SESSION + 90, SESSION + 91].entries()) {
        opened(left, id, 12 + i);
        left.record(id, 1, 0, { ...result(20 + i), results: [{ status: 'ok', existed: false, version: 1 }] });
      }
      assert.is(left.hasDropped, true);
    }
    opened(left, SESSION, 5);
    opened(right, SESSION, 5);
    opened(right, SESSION + 1, 6);
    opened(right, SESSION + 2, 11);
    opened(right, 57, 57);
    const united = new Sessions();
    united.unite([
      [left, bornAt],
      [right, bornAt],
    ]);
    assert.is(united.has(SESSION), true, 'both have it');
    assert.is(united.has(SESSION + 1), !hasDropped, 'the other may have had it');
    assert.is(united.has(SESSION + 2), true, 'it is younger than the tablet');
    assert.is(united.has(57), false, 'other tablets give the same number');
    assert.is(united.hasDropped, true);
    const alone = new Sessions();
    alone.unite([
      [left, bornAt],
      [new Sessions(), bornAt],
    ]);
    assert.is(alone.hasDropped, hasDropped, 'that one of the two has dropped some');
    // It is remembered: what is united with another one later may lack it.
    const restored = new Sessions();
    const written = united
      .takeChanges()
      .flatMap((each) =>
        each.type === 'put' ? [[Buffer.from(each.key), Buffer.from(each.value)] as const] : [],
      );
    const [dropped, ...table] = written;
    assert.equal(dropped?.[0], Buffer.of(18));
    restored.restore(table, true);
    assert.equal([restored.size, restored.hasDropped], [united.size, true]);
  }
});

test('of too many sessions the ones that were used longest ago go, on all replicas the same', () => {
  const [left, right] = [new Sessions(), new Sessions()];
  for (let i = 0; i < MAX_SESSIONS; i++) {
    left.open(SESSION + 2 * i, 1, 100 + i);
    right.open(SESSION + 2 * i + 1, 1, 100 + i);
  }
  const united = new Sessions();
  united.unite([
    [left, 0],
    [right, 0],
  ]);
  assert.is(united.size, MAX_SESSIONS);
  // Those of one age go by their ids.
  const half = MAX_SESSIONS / 2;
  assert.equal(
    [0, 1, MAX_SESSIONS - 2, MAX_SESSIONS - 1, MAX_SESSIONS].map((i) => united.has(SESSION + i)),
    [false, false, false, false, true],
    `the first ${half} of each have gone`,
  );
});

test('the changes of both are told in the order of their versions, from where both keep them', () => {
  const budget = new HistoryBudget({ nowMs: () => 0 });
  const of = (key: string, versions: readonly number[], from: number, through: number) => {
    const history = new ChangeHistory(budget);
    history.reset(from - 1);
    for (const version of versions) history.add(0, version, Buffer.from(`.${key}`), Buffer.from('v'));
    history.publish(through);
    return history;
  };
  const left = of('a', [3, 5, 5, 9], 1, 9);
  const right = of('m', [4, 5, 8], 4, 12);
  const child = new ChangeHistory(budget);
  child.reset(12);
  child.follow([left, right], () => true);
  const told: string[] = [];
  for (let at = child.start; at < child.end; ) {
    const view = child.read(at);
    told.push(`${view.change().key}${view.version}`);
    at = view.next;
  }
  assert.is(told.join(' '), 'a3 m4 a5 a5 m5 m8 a9');
  assert.is(child.oldestVersion, 4);
  assert.is(child.throughVersion, 12);
  child.dropOldest();
  assert.is(child.oldestVersion, 10);
});

test.run();
