/** What a client meets: limits, pages, and for every error the truth about whether the write may be there. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorMessage, RaftreeError } from '../../src/env/errors.js';
import type { KvError } from '../../src/kv/kv-error.js';
import { type CommandResult, KvStateMachine } from '../../src/kv/kv-state-machine.js';
import { DEFAULT_KV_LIMITS, type KvLimits } from '../../src/kv/limits.js';
import type { Caller, Rights, Scan } from '../../src/kv/requests.js';
import { KvService } from '../../src/kv/service.js';
import { ChangeHistory } from '../../src/kv/watch/change-history.js';
import { HistoryBudget } from '../../src/kv/watch/history-budget.js';
import type { Watcher } from '../../src/kv/watch/watcher.js';
import { Watches } from '../../src/kv/watch/watches.js';
import type { Applied, CommandLog } from '../../src/replica/ports.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { MemoryEngine, operation, type Write, write } from './kv-lab.js';

const callerWith = (rights: Partial<Rights>): Caller => ({
  door: 'test',
  rights: { read: true, write: true, administrate: false, ...rights },
});
const CALLER = callerWith({});

/** In the replica's place: commits at once, unless it is told to fail or to wait. */
class InstantReplica implements CommandLog<CommandResult> {
  readonly machine: KvStateMachine;
  failure: Error | undefined;
  gate: Promise<void> | undefined;
  proposals = 0;
  readIndexes = 0;
  yields = 0;

  constructor(machine: KvStateMachine) {
    this.machine = machine;
  }

  async propose(body: Uint8Array): Promise<Applied<CommandResult>> {
    this.proposals++;
    await this.#passGate();
    const index = this.machine.appliedIndex + 1;
    const results = await this.machine.apply(index, [{ term: 1, kind: 'command', body }]);
    return { index, result: results[0] as CommandResult };
  }

  async readIndex(): Promise<number> {
    this.readIndexes++;
    await this.#passGate();
    return this.machine.appliedIndex;
  }

  yieldLeadership(): void {
    this.yields++;
  }

  async #passGate(): Promise<void> {
    await this.gate;
    if (this.failure) throw this.failure;
  }
}

function open(limits: Partial<KvLimits> = {}) {
  const engine = new MemoryEngine();
  const stateMachine = new KvStateMachine(engine, engine.reopen);
  const replica = new InstantReplica(stateMachine);
  const faults: string[] = [];
  const clock = { nowMs: () => 0 };
  const watches = new Watches({
    timers: { after: () => ({ cancel() {} }), endOfTurn() {} },
    random: new SeededRandom(1),
    history: new ChangeHistory(new HistoryBudget(clock)),
  });
  const service = new KvService({
    ...{ clock, random: new SeededRandom(1) },
    tablet: (id) => (id <= 1 ? { replica, stateMachine, watches } : undefined),
    tablets: () => [{ watches }],
    limits: { ...DEFAULT_KV_LIMITS, ...limits },
    clientAddressOf: (node) => `host${node}:7001`,
    onFault: (code, error) => faults.push(`${code}: ${errorMessage(error)}`),
  });
  return {
    engine,
    replica,
    service,
    faults,
    write: (command: Write) => service.write(CALLER, command),
    get: (key: string, consistency: 'linearizable' | 'stale' = 'linearizable') =>
      service.get(CALLER, { type: 'get', consistency, key: Buffer.from(key) }),
  };
}

function errorOf(answer: KvError | { readonly type: string }): string {
  return 'outcome' in answer ? `${answer.code} ${answer.outcome}` : answer.type;
}

test('a write gives its results, a read what is there', async () => {
  const { write: send, get } = open();
  assert.equal(await send(write([operation('put', 'a', '1')])), {
    type: 'written',
    write: { applied: true, index: 1, results: [{ status: 'ok', existed: false, version: 1 }] },
  });
  assert.equal(await get('a'), { type: 'found', version: 1, value: Buffer.from('1') });
  assert.equal(await get('b'), { type: 'absent' });
});

test('a caller without a right is refused, and nothing is asked of the replica', async () => {
  const { service, replica } = open();
  const put = write([operation('put', 'a', '1')]);
  const read = { type: 'get', consistency: 'linearizable', key: Buffer.from('a') } as const;
  const refusals = [
    await service.write(callerWith({ write: false }), put),
    await service.openSession(callerWith({ write: false }), { type: 'openSession', window: 1 }),
    await service.get(callerWith({ read: false }), read),
    (await service.prepareRead(callerWith({ read: false }), read))(1),
  ];
  assert.equal(refusals.map(errorOf), Array(4).fill('NOT_PERMITTED notCommitted'));
  assert.equal([replica.proposals, replica.readIndexes], [0, 0]);
  assert.is(errorOf(await service.write(callerWith({ read: false }), put)), 'written');
  assert.is(errorOf(await service.get(callerWith({ write: false }), read)), 'found');
});

test('what no entry can hold is refused before it is proposed', async () => {
  const { service, write: send, replica } = open();
  const put = operation('put', 'a', '1');
  const refused = async (command: Write) =>
    assert.is(errorOf(await send(command)), 'INVALID_REQUEST notCommitted');
  for (const id of [0, -1, 1.5, Number.NaN, 2 ** 53]) await refused(write([put], { id, sequence: 1 }));
  for (const sequence of [-1, 1.5, Number.NaN, 2 ** 53])
    await refused(write([put], { id: 1, sequence, floor: -9 }));
  await refused(write([{ ...put, conditionVersion: -1 }]));
  const text = 'text' as unknown as Uint8Array;
  for (const change of [{ key: text }, { value: text }, { conditionValue: text }])
    await refused(write([{ ...put, ...change }]));
  await refused(write([{ ...put, action: 'toString' as 'put' }]));
  await refused(write([{ ...put, condition: 'never' as 'always' }]));
  for (const window of [-1, 0.5, 2 ** 32, Number.NaN]) {
    const opened = await service.openSession(CALLER, { type: 'openSession', window });
    assert.is(errorOf(opened), 'INVALID_REQUEST notCommitted');
  }
  assert.is(replica.proposals, 0);
});

test('a read that is no read is refused: it is not taken for a stale one, nor for an endless scan', async () => {
  const { service, replica, get } = open();
  assert.is(errorOf(await get('a', 'constructor' as 'stale')), 'INVALID_REQUEST notCommitted');
  const scan: Scan = {
    ...{ type: 'scan', consistency: 'linearizable', from: Buffer.alloc(0), to: undefined },
    ...{ limit: 0, reverse: false, keysOnly: false },
  };
  for (const limit of [-1, 0.5, Number.NaN])
    assert.is(errorOf(await service.scan(CALLER, { ...scan, limit })), 'INVALID_REQUEST notCommitted');
  const text = 'text' as unknown as Uint8Array;
  for (const change of [{ from: text }, { to: text }])
    assert.is(errorOf(await service.scan(CALLER, { ...scan, ...change })), 'INVALID_REQUEST notCommitted');
  const textKey = { type: 'get', consistency: 'stale', key: text } as const;
  assert.is(errorOf(await service.get(CALLER, textKey)), 'INVALID_REQUEST notCommitted');
  assert.is(replica.readIndexes, 0);
});

test('a linearizable read asks for an index, a stale one does not', async () => {
  const { replica, get } = open();
  await get('a', 'stale');
  assert.is(replica.readIndexes, 0);
  await get('a');
  assert.is(replica.readIndexes, 1);
  replica.failure = new RaftreeError('NOT_LEADER', '', { info: { leader: 2, outcome: 'notCommitted' } });
  assert.is(errorOf(await get('a', 'stale')), 'absent');
});

test('what is over a limit is refused before it is proposed', async () => {
  const limits = { maxKeyBytes: 8, maxValueBytes: 16, maxRequestBytes: 40, maxOperationsPerRequest: 3 };
  const { replica, write: send, get } = open(limits);
  const put = (key: string, value: string) => operation('put', key, value);
  const refused = async (command: Write) => errorOf(await send(command));
  assert.is(await refused(write([])), 'INVALID_REQUEST notCommitted');
  assert.is(await refused(write([put('', 'x')])), 'KEY_EMPTY notCommitted');
  assert.is(await refused(write([put('k'.repeat(9), 'x')])), 'KEY_TOO_LARGE notCommitted');
  assert.is(await refused(write([put('a', 'x'.repeat(17))])), 'VALUE_TOO_LARGE notCommitted');
  assert.is(
    await refused(write([1, 2, 3].map(() => put('a', 'x'.repeat(15))))),
    'REQUEST_TOO_LARGE notCommitted',
  );
  assert.is(await refused(write([1, 2, 3, 4].map(() => put('a', '')))), 'REQUEST_TOO_LARGE notCommitted');
  const condition = { condition: 'valueIs' as const, conditionValue: Buffer.alloc(40) };
  assert.is(await refused(write([operation('check', 'a', '', condition)])), 'REQUEST_TOO_LARGE notCommitted');
  assert.is(
    await refused(write([put('a', '')], { id: 1, sequence: 4, floor: 4 })),
    'INVALID_REQUEST notCommitted',
  );
  assert.is(errorOf(await get('')), 'KEY_EMPTY notCommitted');
  assert.is(errorOf(await get('k'.repeat(9))), 'KEY_TOO_LARGE notCommitted');
  assert.is(replica.proposals, 0);
  assert.is(await refused(write([put('k'.repeat(8), 'x'.repeat(16))])), 'written');
});

test('the limit of values holds for what an append would make', async () => {
  const { write: send } = open({ maxValueBytes: 4 });
  await send(write([operation('put', 'a', '123')]));
  const answer = await send(write([operation('append', 'a', '45')]));
  assert.ok(answer.type === 'written' && !answer.write.applied);
  assert.is(answer.write.results[0]?.status, 'valueTooLarge');
});

test('each failure says whether the write may be there', async () => {
  const { replica, faults, write: send, get } = open();
  const fail = async (code: string, info: Record<string, unknown> = {}) => {
    replica.failure = new RaftreeError(code, 'a planted failure', { info });
    const put = errorOf(await send(write([operation('put', 'a', '1')])));
    return `${put}; ${errorOf(await get('a'))}`;
  };
  assert.is(
    await fail('OVERLOADED', { outcome: 'notCommitted' }),
    'OVERLOADED notCommitted; OVERLOADED notCommitted',
  );
  assert.is(
    await fail('LEADERSHIP_LOST', { outcome: 'unknown' }),
    'LEADERSHIP_LOST unknown; LEADERSHIP_LOST notCommitted',
  );
  assert.is(
    await fail('LEADERSHIP_LOST', { outcome: 'notCommitted' }),
    'LEADERSHIP_LOST notCommitted; LEADERSHIP_LOST notCommitted',
  );
  assert.is(
    await fail('DISK_FULL', { outcome: 'unknown' }),
    'DISK_FULL unknown; DISK_FULL notCommitted',
    'it may be in the log',
  );
  assert.is(
    await fail('REPLICA_STOPPED', { outcome: 'unknown' }),
    'SHUTTING_DOWN unknown; SHUTTING_DOWN notCommitted',
  );
  assert.is(await fail('NOT_LEADER', { leader: 0 }), 'NO_LEADER notCommitted; NO_LEADER notCommitted');
  assert.ok((await fail('SOMETHING_NEW')).startsWith('INTERNAL unknown'));
  replica.failure = new TypeError('a planted fault');
  assert.is(errorOf(await send(write([operation('put', 'a', '1')]))), 'INTERNAL unknown');
  const planted = 'INTERNAL: a planted failure';
  assert.equal(faults, [planted, planted, 'INTERNAL: a planted fault'], 'only its own faults, and each');
});

test('whoever asks a follower learns where the leader is', async () => {
  const { replica, get } = open();
  replica.failure = new RaftreeError('NOT_LEADER', '', { info: { leader: 3, outcome: 'notCommitted' } });
  const answer = await get('a');
  assert.ok(answer.type === 'error');
  assert.equal(answer.leader, { id: 3, address: 'host3:7001' });
});

test('a read that the disk fails is told as such, and another node should lead', async () => {
  const { engine, faults, get, replica } = open();
  await get('a');
  assert.is(replica.yields, 0);
  engine.get = () => {
    throw new RaftreeError('CORRUPTION', 'a planted fault');
  };
  assert.is(errorOf(await get('a')), 'READ_FAILED notCommitted');
  assert.equal(faults, ['READ_FAILED: a planted fault']);
  assert.is(replica.yields, 1);
});

test('an unknown session and a sequence outside the window are refused', async () => {
  const { service, write: send } = open();
  const opened = await service.openSession(CALLER, { type: 'openSession', window: 2 });
  assert.ok(opened.type === 'sessionOpened' && opened.window === 2);
  const id = opened.sessionId;
  const put = [operation('put', 'a', '1')];
  assert.is(errorOf(await send(write(put, { id: 9, sequence: 1 }))), 'SESSION_EXPIRED notCommitted');
  assert.is(errorOf(await send(write(put, { id, sequence: 3 }))), 'INVALID_REQUEST notCommitted');
  assert.is(errorOf(await send(write(put, { id, sequence: 2 }))), 'written');
});

test('a scan comes in pages, at most as long as both sides want', async () => {
  const { service, write: send } = open({ maxScanEntries: 3 });
  for (const key of ['a', 'b', 'c', 'd', 'e']) await send(write([operation('put', key, key.repeat(3))]));
  const scan = async (limit: number, reverse = false, keysOnly = false) => {
    const answer = await service.scan(CALLER, {
      type: 'scan',
      consistency: 'linearizable',
      from: Buffer.from('a'),
      to: Buffer.from('e'),
      limit,
      reverse,
      keysOnly,
    });
    assert.ok(answer.type === 'page');
    return `${answer.entries.map(({ key, value }) => `${key}=${value}`).join(' ')}${answer.more ? ' more' : ''}`;
  };
  assert.is(await scan(0), 'a=aaa b=bbb c=ccc more');
  assert.is(await scan(100), 'a=aaa b=bbb c=ccc more');
  assert.is(await scan(2), 'a=aaa b=bbb more');
  assert.is(await scan(3, true), 'd=ddd c=ccc b=bbb more');
  assert.is(await scan(2, false, true), 'a= b= more');
});

test('requests beyond the limit of pending ones are refused, and let in again later', async () => {
  const { replica, get } = open({ maxPendingRequests: 2 });
  let release = () => {};
  replica.gate = new Promise((resolve) => (release = resolve));
  const pending = [get('a'), get('b')];
  assert.is(errorOf(await get('c')), 'OVERLOADED notCommitted');
  release();
  assert.equal((await Promise.all(pending)).map(errorOf), ['absent', 'absent']);
  assert.is(errorOf(await get('c')), 'absent');
});

test('draining lets what is under way finish and refuses what comes', async () => {
  const { replica, service, get, write: send } = open();
  let release = () => {};
  replica.gate = new Promise((resolve) => (release = resolve));
  const pending = send(write([operation('put', 'a', '1')]));
  let drained = 0;
  const all = [service.drain(), service.drain()].map((drain) => drain.then(() => drained++));
  assert.is(errorOf(await get('a')), 'SHUTTING_DOWN notCommitted');
  assert.is(drained, 0);
  release();
  assert.is(errorOf(await pending), 'written');
  await Promise.all(all);
  assert.is(drained, 2);
});

test('large writes go a few at a time, in order; small ones pass them', async () => {
  const { replica, write: send } = open();
  let openGate = () => {};
  replica.gate = new Promise<void>((resolve) => {
    openGate = resolve;
  });
  const MIB = 1024 * 1024;
  const order: string[] = [];
  const large = Array.from({ length: 20 }, (_, i) =>
    send(write([operation('put', `large ${i}`, 'x'.repeat(MIB - 100))])).then(({ type }) =>
      order.push(`${type} ${i}`),
    ),
  );
  await new Promise((resolve) => setImmediate(resolve));
  assert.is(replica.proposals, 8);
  const small = send(write([operation('put', 'small', 'x')]));
  await new Promise((resolve) => setImmediate(resolve));
  assert.is(replica.proposals, 9);
  openGate();
  await Promise.all([...large, small]);
  assert.equal(
    order,
    Array.from({ length: 20 }, (_, i) => `written ${i}`),
  );
});

test('a write that is larger than all that may be under way goes alone; one that fails makes room', async () => {
  const MIB = 1024 * 1024;
  const { replica, write: send } = open({ maxValueBytes: 64 * MIB, maxRequestBytes: 64 * MIB });
  const answers = Array.from({ length: 3 }, (_, i) =>
    send(write([operation('put', `k${i}`, 'x'.repeat(9 * MIB))])),
  );
  assert.is(replica.proposals, 1);
  replica.failure = new RaftreeError('OVERLOADED', 'full', { info: { outcome: 'notCommitted' } });
  assert.equal((await Promise.all(answers)).map(errorOf), Array(3).fill('OVERLOADED notCommitted'));
});

test('where many wait, pages of a scan are smaller, but not of next to nothing', async () => {
  const { service, write: send } = open();
  for (let i = 0; i < 400; i += 100) {
    const operations = Array.from({ length: 100 }, (_, j) =>
      operation('put', `k${String(i + j).padStart(4, '0')}`, 'v'),
    );
    await send(write(operations));
  }
  const scan: Scan = {
    type: 'scan',
    consistency: 'stale',
    from: Buffer.alloc(0),
    to: undefined,
    reverse: false,
    keysOnly: false,
    limit: 0,
  };
  const answer = await service.prepareRead(CALLER, scan);
  const pageOf = (share: number) => {
    const page = answer(share);
    return page.type === 'page' ? [page.entries.length, page.more] : page;
  };
  assert.equal([1, 0.25, 0.001].map(pageOf), [
    [400, false],
    [250, true],
    [100, true],
  ]);
});

test('ranges that are watched take bounded memory, which is free again when their watchers are gone', () => {
  const { service } = open();
  const bound = (i: number) => {
    const key = Buffer.alloc(DEFAULT_KV_LIMITS.maxKeyBytes);
    key.writeUInt32BE(i);
    return key;
  };
  const watch = (i: number) =>
    service.watch(
      CALLER,
      { type: 'watch', tablet: 1, from: bound(i), to: bound(i + 1), fromVersion: undefined },
      () => {},
    );
  const begun: Watcher[] = [];
  for (let i = 0; i < 65_536; i++) {
    const watcher = watch(i);
    if ('code' in watcher) {
      assert.is(errorOf(watcher), 'OVERLOADED notCommitted');
      break;
    }
    begun.push(watcher);
  }
  assert.is(begun.length, (64 * 1024 * 1024) / 2 / DEFAULT_KV_LIMITS.maxKeyBytes);
  const [first] = begun;
  first?.close();
  first?.close();
  const again = watch(0);
  assert.not('code' in again);
  assert.ok('code' in watch(begun.length));
});

test.run();
