/** The split of a tablet in its state machine: who it is refused, what ends, and what its children begin with. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeExpiry } from '../../src/kv/command.js';
import { type CommandResult, KvStateMachine, type TabletOwner } from '../../src/kv/kv-state-machine.js';
import { DEFAULT_KV_LIMITS } from '../../src/kv/limits.js';
import type { Caller } from '../../src/kv/requests.js';
import { KvService } from '../../src/kv/service.js';
import { decodeSplitEntry, encodeSplitEntry, splitPointOf } from '../../src/kv/split.js';
import { ChangeHistory } from '../../src/kv/watch/change-history.js';
import { HistoryBudget } from '../../src/kv/watch/history-budget.js';
import { hashOfKey } from '../../src/placement/partition-key.js';
import {
  firstTablets,
  ONE_TABLET,
  placementByHash,
  placementByRange,
} from '../../src/placement/placement.js';
import { contextsOf } from '../../src/placement/replica-context.js';
import { type Configuration, configurationOf } from '../../src/raft/configuration.js';
import type { Entry } from '../../src/raft/types.js';
import { MemoryEngine, openSessionEntry, operation, renderMachine, write, writeEntry } from './kv-lab.js';

const MEMBERS = configurationOf([1, 2, 3]);
const CALLER: Caller = { door: 'test', rights: { read: true, write: true, administrate: false } };
const WRONG = { type: 'refused', code: 'WRONG_TABLET' };
const [ONLY] = firstTablets(ONE_TABLET).map((born): TabletOwner => ({ id: 1, by: 'range', born }));
const NO_TURN = async () => {};
const FIRST = { deadlineMs: 0, key: Buffer.alloc(0) };

function machineOf(owner: TabletOwner | undefined) {
  const engine = new MemoryEngine();
  return new KvStateMachine(engine, engine.reopen, 0, undefined, owner);
}

async function applied(machine: KvStateMachine, ...entries: Entry[]): Promise<readonly CommandResult[]> {
  return await machine.apply(machine.appliedIndex + 1, entries);
}

function splitEntry(key: string, left = 7, right = 8, by: 'range' | 'hash' = 'range'): Entry {
  const point = splitPointOf(by, Buffer.from(key));
  return { term: 3, kind: 'tablet', body: encodeSplitEntry({ left, right, point }) };
}

function split(
  machine: KvStateMachine,
  entry: Entry,
  members: Configuration = MEMBERS,
): Promise<CommandResult> {
  return machine.applyTablet(machine.appliedIndex + 1, entry, members, NO_TURN);
}

const BEGIN = { absorbed: undefined, workDirectory: 'work', turn: NO_TURN };

/** The machine of a child, as a node opens it when the child exists. */
async function childOf(
  machine: KvStateMachine,
  engine: MemoryEngine,
  id: number,
  by: 'range' | 'hash' = 'range',
) {
  await machine.begin(id, `state of ${id}`, BEGIN);
  const own = (await engine.reopen(`state of ${id}`)) as MemoryEngine;
  return new KvStateMachine(own, own.reopen, 0, undefined, { id, by, born: undefined });
}

function lab(owner = ONLY) {
  const engine = new MemoryEngine();
  return { engine, machine: new KvStateMachine(engine, engine.reopen, 0, undefined, owner) };
}

const put = (...keys: string[]) => writeEntry(write(keys.map((key) => operation('put', key, 'v'))));
const at = (key: string, sequence: number, value = 'v', after = 0) =>
  writeEntry(write([operation('put', key, value)], { id: 1, sequence, after }));
const mortal = (key: string, ttlMs: number) =>
  writeEntry(write([{ ...operation('put', key, 'v'), life: { change: 'set', ttlMs, when: 'always' } }]));

function followers(machine: KvStateMachine): number[] | undefined {
  return machine.succession?.groups.map(({ id }) => id);
}

test('replicas of the children have the ids of the entry, also after a restart; of other members it is refused', async () => {
  const { engine, machine } = lab();
  const of = (...nodes: number[]): Entry => {
    const replicas = nodes.map((node) => ({ node, left: 10 + node, right: 20 + node }));
    const command = { left: 7, right: 8, point: Buffer.from('m'), replicas };
    return { term: 3, kind: 'tablet', body: encodeSplitEntry(command) };
  };
  for (const nodes of [
    [1, 2],
    [1, 2, 4],
    [1, 2, 3, 3],
  ])
    assert.is((await split(machine, of(...nodes))).type, 'splitRefused', `${nodes}`);
  assert.is((await split(machine, of(3, 1, 2))).type, 'split');
  const restarted = new KvStateMachine(engine, engine.reopen, 0, undefined, ONLY);
  for (const ended of [machine, restarted])
    assert.equal(
      ended.succession?.groups.map(({ id, configuration: { voters, contexts } }) => [id, voters, contexts]),
      [
        [7, [1, 2, 3], contextsOf([1, 2, 3].map((node) => ({ node, replicaId: 10 + node })))],
        [8, [1, 2, 3], contextsOf([1, 2, 3].map((node) => ({ node, replicaId: 20 + node })))],
      ],
    );
});

test('each key is in one child, with its version; the parent has ended, also after a restart', async () => {
  const { engine, machine } = lab();
  await applied(machine, put('a', 'm'), put('z'), put('g'));
  const result = await split(machine, splitEntry('m'));
  assert.is(result.type, 'split');
  assert.equal(followers(machine), [7, 8]);
  assert.is(machine.succession?.index, 4);
  assert.is(machine.succession?.term, 3);
  for (const ended of [machine, new KvStateMachine(engine, engine.reopen, 0, undefined, ONLY)]) {
    assert.is(ended.appliedIndex, 4);
    assert.equal(followers(ended), [7, 8]);
    assert.is(ended.range?.owns(Buffer.from('a')), false);
  }
  const left = await childOf(machine, engine, 7);
  const right = await childOf(machine, engine, 8);
  assert.is(renderMachine(left), 'a 1 v\ng 3 v');
  assert.is(renderMachine(right), 'm 1 v\nz 2 v');
  // Versions go on above those of the parent.
  assert.is(left.appliedIndex, 4);
  await applied(left, put('a'), put('m'));
  assert.is(renderMachine(left), 'a 5 v\ng 3 v');
  assert.equal([left.tablet?.generation, right.tablet?.generation, machine.tablet?.generation], [2, 2, 1]);
});

test('entries behind the split are void: writes, sessions, expiries, another split (yugabyte #27150)', async () => {
  const { engine, machine } = lab();
  await applied(machine, openSessionEntry(4), mortal('a', 1));
  await split(machine, splitEntry('m'));
  const body = encodeExpiry([{ key: Buffer.from('a'), deadlineMs: 1 }], { nowMs: () => 10 });
  const results = await applied(machine, put('a'), at('z', 1), openSessionEntry(4), {
    term: 3,
    kind: 'command',
    body,
  });
  assert.equal(results, [WRONG, WRONG, WRONG, { type: 'expired', keys: 0 }]);
  assert.equal(await split(machine, splitEntry('q', 20, 21)), WRONG);
  assert.equal(followers(machine), [7, 8]);
  const left = await childOf(machine, engine, 7);
  assert.is(renderMachine(left), 'a 2 v');
});

test('watchers of a tablet that has ended are told nothing of entries behind its end: its children have others there', async () => {
  const engine = new MemoryEngine();
  const historyOf = () => new ChangeHistory(new HistoryBudget({ nowMs: () => 0 }));
  const history = historyOf();
  const machine = new KvStateMachine(engine, engine.reopen, 0, () => {}, ONLY, history);
  await applied(machine, put('a'), put('m'));
  await split(machine, splitEntry('m'));
  await applied(machine, put('a'), put('m'));
  assert.is(machine.appliedIndex, 5);
  assert.is(history.throughVersion, 3);
  const again = historyOf();
  const restarted = new KvStateMachine(engine, engine.reopen, 0, () => {}, ONLY, again);
  assert.is(restarted.appliedIndex, 5);
  assert.is(again.throughVersion, 3);
});

test('the order at apply is retired, range, session; a part knows what it deduplicated by itself (yugabyte #32697)', async () => {
  const { engine, machine } = lab();
  await applied(machine, openSessionEntry(4), at('a', 1, 'before'));
  await split(machine, splitEntry('m'));
  // The same write again, and the next one: not a repetition's answer, and no slot.
  assert.equal(await applied(machine, at('a', 1), at('a', 2)), [WRONG, WRONG]);
  const left = await childOf(machine, engine, 7);
  const right = await childOf(machine, engine, 8);
  const [repeated, next] = await applied(left, at('a', 1, 'again'), at('a', 2, 'after'));
  assert.is(repeated?.type === 'written' && repeated.write.index, 2);
  assert.is(next?.type === 'written' && next.write.index, 5);
  // A sequence is free where its key is: the other child does not know it, and takes it once.
  const [first, second] = await applied(right, at('z', 3), at('z', 3));
  assert.is(first?.type === 'written' && first.write.index, 4);
  assert.equal(second, first);
  assert.equal(await applied(right, at('a', 4)), [WRONG]);
});

test('a split is refused, and changes nothing, on all replicas alike', async () => {
  const joint = { ...MEMBERS, outgoing: [1, 2] };
  const learner = { ...MEMBERS, learners: [4] };
  const byRange: TabletOwner = { id: 2, by: 'range', born: firstTablets(placementByRange(['g', 'n']))[1] };
  const { machine } = lab(byRange);
  await applied(machine, put('h'));
  const cases: [string, Entry, Configuration?][] = [
    ['a change of its members is under way', splitEntry('k'), joint],
    ['one of its members is a learner', splitEntry('k'), learner],
    ['a tablet begins there already', splitEntry('g')],
    ['a tablet begins there already', splitEntry('n')],
    ['a tablet begins there already', splitEntry('')],
    ['the tablet does not have this key', splitEntry('a')],
    ['the tablet does not have this key', splitEntry('z')],
    ['its parts must have new ids', splitEntry('k', 7, 7)],
    ['its parts must have new ids', splitEntry('k', 2, 8)],
  ];
  for (const [reason, entry, members] of cases) {
    assert.equal(await split(machine, entry, members), { type: 'splitRefused', reason });
    assert.is(machine.succession, undefined);
  }
  const unknown: Entry = { term: 1, kind: 'tablet', body: Buffer.of(9, 1, 2, 3) };
  assert.equal(await split(machine, unknown), { type: 'void' });
  assert.is(machine.appliedIndex, 11);
  assert.is((await applied(machine, put('h')))[0]?.type, 'written');
  assert.is(decodeSplitEntry(splitEntry('k').body.subarray(0, 13)), undefined);
  assert.is((await split(machine, splitEntry('k'))).type, 'split');
});

test('a split is applied alone: entries around it have calls of their own', async () => {
  const { machine } = lab();
  const entries = [put('a'), put('z'), splitEntry('m'), put('b')];
  const results = await machine.apply(1, entries);
  assert.is(results.length, 2);
  assert.is(machine.appliedIndex, 2);
});

test('by hash a child shows its own part of the ring only, and splits again', async () => {
  const owner: TabletOwner = { id: 1, by: 'hash', born: firstTablets(placementByHash(1))[0] };
  const { engine, machine } = lab(owner);
  const names = Array.from({ length: 60 }, (_, i) => `key${i}`);
  for (const name of names) await applied(machine, put(name));
  await split(machine, splitEntry('key7', 7, 8, 'hash'));
  const point = hashOfKey(Buffer.from('key7'));
  const [left, right] = [
    await childOf(machine, engine, 7, 'hash'),
    await childOf(machine, engine, 8, 'hash'),
  ];
  const shown = (of: KvStateMachine) =>
    renderMachine(of)
      .split('\n')
      .map((line) => line.split(' ')[0])
      .sort();
  const below = names.filter((name) => hashOfKey(Buffer.from(name)) < point).sort();
  assert.equal(shown(left), below);
  assert.equal(shown(right), names.filter((name) => !below.includes(name)).sort());
  assert.ok(shown(right).includes('key7'));
  // The key at which it begins is a boundary now.
  assert.is((await split(right, splitEntry('key7', 9, 10, 'hash'))).type, 'splitRefused');
});

test('deadlines follow their keys, each is counted once, and the time goes on', async () => {
  const { engine, machine } = lab();
  await applied(machine, mortal('a', 100), mortal('b', 200), mortal('z', 50), put('q'));
  const stamp = { term: 1, kind: 'command' as const, body: encodeExpiry([], { nowMs: () => 30 }) };
  await applied(machine, stamp);
  await split(machine, splitEntry('m'));
  const left = await childOf(machine, engine, 7);
  const right = await childOf(machine, engine, 8);
  assert.equal([left.keysWithDeadline, right.keysWithDeadline], [2, 1]);
  assert.equal(
    [...left.deadlines(FIRST)].map(({ key }) => key.toString()),
    ['a', 'b'],
  );
  assert.equal(
    [...right.deadlines(FIRST)].map(({ key }) => key.toString()),
    ['z'],
  );
  assert.equal([left.timeMs, right.timeMs], [30, 30]);
  assert.is(right.get(Buffer.from('z'))?.remainingMs, 20);
  // The count is the child's own from its first change on, over restarts too.
  await applied(right, { term: 4, kind: 'command', body: encodeExpiry([], { nowMs: () => 1000 }) });
  await applied(right, {
    term: 4,
    kind: 'command',
    body: encodeExpiry([...right.deadlines(FIRST)], { nowMs: () => 1100 }),
  });
  assert.is(right.keysWithDeadline, 0);
});

test('a read that was confirmed before the split is not answered after it by the parent (tikv #14699)', async () => {
  const { machine } = lab();
  await applied(machine, put('a'));
  const service = new KvService({
    ...{ clock: { nowMs: () => 0 }, random: { uint32: () => 7 } },
    tablet: () => ({
      replica: {
        propose: () => Promise.reject(new Error()),
        readIndex: async () => 1,
        yieldLeadership() {},
      },
      stateMachine: machine,
    }),
    tablets: () => [],
    limits: DEFAULT_KV_LIMITS,
    clientAddressOf: () => '',
    onFault: (_code, error) => {
      throw error;
    },
  });
  const get = { type: 'get', tablet: 1, consistency: 'linearizable', key: Buffer.from('a') } as const;
  const scan = {
    ...({ type: 'scan', tablet: 1, consistency: 'lease', from: Buffer.of(), to: undefined } as const),
    ...{ limit: 0, reverse: false, keysOnly: false },
  };
  const reads = [await service.prepareRead(CALLER, get), await service.prepareRead(CALLER, scan)];
  assert.equal(
    reads.map((read) => read(1).type),
    ['found', 'page'],
  );
  await split(machine, splitEntry('m'));
  for (const read of reads) {
    const answer = read(1);
    assert.is(answer.type === 'error' && answer.code, 'WRONG_TABLET');
  }
});

test('the state of another tablet is damage', async () => {
  const { engine, machine } = lab();
  await split(machine, splitEntry('m'));
  await machine.begin(7, 'x', BEGIN);
  const own = (await engine.reopen('x')) as MemoryEngine;
  assert.throws(
    () => new KvStateMachine(own, own.reopen, 0, undefined, { id: 12, by: 'range', born: undefined }),
    /that of tablet 1/,
  );
  assert.is(machineOf(undefined).range, undefined);
});

test.run();
