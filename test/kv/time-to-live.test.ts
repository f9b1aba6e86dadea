/** Lives of keys in the state machine: replicated time, deadlines, expiries, increments. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { type ExpiredKey, encodeExpiry, encodeWrite } from '../../src/kv/command.js';
import { TIME_KEY } from '../../src/kv/keys.js';
import { type CommandResult, KvStateMachine } from '../../src/kv/kv-state-machine.js';
import { ReplicatedTime } from '../../src/kv/replicated-time.js';
import type { Life } from '../../src/kv/requests.js';
import type { Entry } from '../../src/raft/types.js';
import { MAX_VALUE_BYTES, MemoryEngine, openSessionEntry, operation, write } from './kv-lab.js';

type Operation = ReturnType<typeof operation>;

/** A machine with a leader whose clock and term the test sets. */
class Lab {
  engine = new MemoryEngine();
  machine = new KvStateMachine(this.engine, this.engine.reopen);
  term = 1;
  nowMs = 1000;

  entry(operations: readonly Operation[], session?: Parameters<typeof write>[1]): Entry {
    const clock = { nowMs: () => this.nowMs };
    const body = encodeWrite(MAX_VALUE_BYTES, write(operations, session), clock);
    return { term: this.term, kind: 'command', body };
  }

  expiry(...keys: readonly ExpiredKey[]): Entry {
    return { term: this.term, kind: 'command', body: encodeExpiry(keys, { nowMs: () => this.nowMs }) };
  }

  apply(...entries: Entry[]): CommandResult[] {
    return this.machine.apply(this.machine.appliedIndex + 1, entries) as CommandResult[];
  }

  /** `status existed version`, and the value of the result, of each operation. */
  write(...operations: Operation[]): string {
    const [result] = this.apply(this.entry(operations));
    if (result?.type !== 'written') return result?.type ?? 'nothing';
    return result.write.results
      .map(
        ({ status, existed, version, value }) => `${status} ${existed} ${version}${value ? ` ${value}` : ''}`,
      )
      .join(', ');
  }

  /** Time passes, and the leader stamps. */
  pass(ms: number): void {
    this.nowMs += ms;
    this.apply(this.expiry());
  }

  get(key: string): string {
    const found = this.machine.get(Buffer.from(key));
    if (!found) return 'absent';
    return `${found.value} @${found.version}${found.remainingMs === undefined ? '' : ` for ${found.remainingMs}`}`;
  }

  scan(reverse = false): string {
    const page = this.machine.scan({
      from: Buffer.alloc(0),
      to: undefined,
      reverse,
      maxEntries: 100,
      maxBytes: 1e6,
    });
    return page.entries.map(({ key }) => key.toString()).join(' ');
  }

  /** The index of deadlines. */
  get deadlines(): string {
    return [...this.machine.deadlines({ deadlineMs: 0, key: Buffer.alloc(0) })]
      .map(({ key, deadlineMs }) => `${key}:${deadlineMs}`)
      .join(' ');
  }

  /** As after a kill: from what the engine has. */
  reopen(): void {
    this.engine = new MemoryEngine(this.engine.stored);
    this.machine = new KvStateMachine(this.engine, this.engine.reopen);
  }
}

const life = (ttlMs: number, change: Life['change'] = 'set', when: Life['when'] = 'always') => ({
  life: { change, ttlMs, when },
});
const put = (key: string, value: string, ttlMs?: number) =>
  operation('put', key, value, ttlMs === undefined ? {} : life(ttlMs));
const expire = (key: string, ttlMs: number, when?: Life['when']) =>
  operation('expire', key, '', life(ttlMs, 'set', when));
const increment = (key: string, by: number | bigint, more = {}) =>
  operation('increment', key, String(by), more);

test('a key is absent from its deadline on, for every request, before it is deleted', () => {
  const lab = new Lab();
  lab.write(put('a', '1', 100), put('b', '2'));
  assert.is(lab.get('a'), '1 @1 for 100');
  lab.pass(99);
  assert.equal([lab.get('a'), lab.scan(), lab.scan(true)], ['1 @1 for 1', 'a b', 'b a']);
  lab.pass(1);
  assert.equal([lab.get('a'), lab.scan(), lab.scan(true)], ['absent', 'b', 'b']);
  assert.is(lab.machine.keysWithDeadline, 1, 'it is still there');
  assert.is(lab.write(operation('put', 'a', 'x', { condition: 'exists' })), 'conditionFailed false 0');
  assert.is(
    lab.write(operation('put', 'a', 'x', { condition: 'versionIs', conditionVersion: 1 })),
    'conditionFailed false 0',
  );
  assert.is(lab.write(operation('delete', 'a')), 'ok false 0');
  assert.is(lab.write(expire('a', 1000)), 'ok false 0');
  assert.is(lab.write(operation('persist', 'a')), 'ok false 0');
  assert.is(lab.write(operation('put', 'a', 'x', { condition: 'absent' })), 'ok false 9');
  assert.equal([lab.get('a'), lab.deadlines, lab.machine.keysWithDeadline], ['x @9', '', 0]);
});

test('what is written into a key that has expired does not see what it held', () => {
  const lab = new Lab();
  lab.write(put('a', 'old', 10), put('n', '41', 10));
  lab.pass(10);
  lab.write(operation('append', 'a', 'new'), increment('n', 1));
  assert.equal([lab.get('a'), lab.get('n'), lab.deadlines], ['new @3', '1 @3', '']);
});

test('put takes a deadline away, append and increment leave it, keep leaves it, persist takes it away', () => {
  const lab = new Lab();
  lab.write(put('a', '1', 100));
  lab.write(operation('append', 'a', '2'));
  assert.is(lab.get('a'), '12 @2 for 100');
  lab.write(increment('a', 1));
  assert.is(lab.get('a'), '13 @3 for 100');
  lab.write(operation('put', 'a', 'kept', life(0, 'keep')));
  assert.is(lab.get('a'), 'kept @4 for 100');
  lab.write(put('a', 'plain'));
  assert.equal([lab.get('a'), lab.deadlines], ['plain @5', '']);
  lab.write(expire('a', 50));
  assert.equal([lab.get('a'), lab.deadlines], ['plain @5 for 50', 'a:50'], 'version and value stay');
  assert.is(lab.write(operation('persist', 'a')), 'ok true 5');
  assert.is(lab.write(operation('persist', 'a')), 'unchanged true 5');
  assert.equal([lab.get('a'), lab.deadlines, lab.machine.keysWithDeadline], ['plain @5', '', 0]);
});

test('an expire with a condition on the deadline; no deadline is the latest', () => {
  const lab = new Lab();
  lab.write(put('a', 'v'));
  const tried = (ttlMs: number, when: Life['when']) => [lab.write(expire('a', ttlMs, when)), lab.get('a')];
  assert.equal(tried(10, 'ifSome'), ['unchanged true 1', 'v @1']);
  assert.equal(tried(10, 'ifLater'), ['unchanged true 1', 'v @1']);
  assert.equal(tried(20, 'ifSooner'), ['ok true 1', 'v @1 for 20']);
  assert.equal(tried(10, 'ifNone'), ['unchanged true 1', 'v @1 for 20']);
  assert.equal(tried(20, 'ifLater'), ['unchanged true 1', 'v @1 for 20']);
  assert.equal(tried(30, 'ifLater'), ['ok true 1', 'v @1 for 30']);
  assert.equal(tried(30, 'ifSooner'), ['unchanged true 1', 'v @1 for 30']);
  assert.equal(tried(40, 'ifSome'), ['ok true 1', 'v @1 for 40']);
  assert.equal(tried(0, 'always'), ['ok true 0', 'absent']);
  assert.equal([lab.deadlines, lab.machine.keysWithDeadline], ['', 0]);
});

test('an increment is computed from 64 bits, and refuses what is no number', () => {
  const lab = new Lab();
  assert.is(lab.write(increment('n', 5, life(100, 'setIfNew'))), 'ok false 1 5');
  assert.is(lab.get('n'), '5 @1 for 100');
  lab.pass(40);
  assert.is(lab.write(increment('n', -7, life(100, 'setIfNew'))), 'ok true 3 -2');
  assert.is(lab.get('n'), '-2 @3 for 60', 'the life is that of the key that was created');
  const most = 2n ** 63n - 1n;
  lab.write(put('n', String(most)), put('m', String(-most - 1n)));
  assert.is(lab.write(increment('n', 1)), 'overflow true 4');
  assert.is(lab.write(increment('m', -1)), 'overflow true 4');
  assert.is(lab.write(put('x', 'y'), increment('m', most)), 'ok false 7, ok true 7 -1');
  for (const text of [
    '',
    ' 1',
    '1 ',
    '+1',
    '01',
    '-0',
    '1.0',
    '1e3',
    '0x1',
    '9223372036854775808',
    'NaN',
    '٣',
  ]) {
    lab.write(put('n', text));
    assert.is(
      lab.write(put('x', 'z'), increment('n', 1)),
      `notApplied false 0, notANumber true ${lab.machine.appliedIndex}`.replace(
        /\d+$/,
        String(lab.machine.appliedIndex - 1),
      ),
      text,
    );
    assert.is(lab.get('x'), 'y @7');
  }
});

test('an increment by no number is void on every replica', () => {
  for (const by of ['', '1 ', '9223372036854775808'])
    assert.is(new Lab().write(operation('increment', 'n', by)), 'void', by);
});

test('operations of one batch see the lives that those before them left', () => {
  const lab = new Lab();
  assert.is(
    lab.write(put('a', 'v', 10), operation('persist', 'a'), expire('a', 20, 'ifNone')),
    'ok false 1, ok true 1, ok true 1',
  );
  assert.equal([lab.get('a'), lab.deadlines], ['v @1 for 20', 'a:20']);
  lab.write(put('a', 'w', 30), operation('delete', 'a'), put('b', 'x', 30));
  assert.equal([lab.deadlines, lab.machine.keysWithDeadline], ['b:30', 1]);
});

test('many writes to one key in one engine batch leave one entry of the index', () => {
  const lab = new Lab();
  lab.write(put('a', '1', 10));
  lab.apply(
    lab.entry([put('a', '2', 20)]),
    lab.entry([put('a', '3')]),
    lab.entry([put('a', '4', 40), put('b', '1', 5)]),
    lab.entry([operation('delete', 'b')]),
  );
  assert.equal([lab.deadlines, lab.machine.keysWithDeadline], ['a:40', 1]);
});

test('an expiry deletes only what has that deadline still, and whose deadline has passed', () => {
  const lab = new Lab();
  lab.write(put('a', '1', 10), put('b', '1', 10), put('c', '1', 10), put('d', '1', 30), put('e', '1', 10));
  const due = [...lab.machine.deadlines({ deadlineMs: 0, key: Buffer.alloc(0) })];
  lab.nowMs += 10;
  const [, , , result] = lab.apply(
    lab.entry([put('a', 'plain')]),
    lab.entry([put('b', 'again', 10)]),
    lab.entry([operation('persist', 'c')]),
    lab.expiry(...due),
  );
  // The persist came before any stamp of that moment? No: the first write with a life brought it.
  assert.equal(result, { type: 'expired', keys: 2 });
  assert.equal(
    [lab.get('a'), lab.get('b'), lab.get('c'), lab.get('d'), lab.get('e')],
    ['plain @2', 'again @3 for 10', 'absent', '1 @1 for 20', 'absent'],
  );
  assert.is(lab.deadlines, 'b:20 d:30');
});

test('the time does not pass between leaders, and never goes back', () => {
  const lab = new Lab();
  lab.write(put('a', '1', 100));
  lab.pass(90);
  lab.term = 2;
  lab.nowMs = 5_000_000;
  lab.pass(0);
  assert.is(lab.get('a'), '1 @1 for 10', 'the first stamp of a term');
  lab.pass(9);
  lab.nowMs -= 500;
  lab.pass(0);
  assert.is(lab.get('a'), '1 @1 for 1', 'a stamp that comes late');
  lab.term = 3;
  lab.nowMs = 3;
  lab.write(put('b', '1', 100));
  lab.pass(1);
  assert.equal([lab.get('a'), lab.get('b')], ['absent', '1 @6 for 99']);
});

test('a life begins with the stamp of its own entry, however long no stamp came before', () => {
  const lab = new Lab();
  lab.write(put('first', '1', 1));
  lab.pass(1);
  lab.nowMs += 3_600_000;
  lab.write(put('a', '1', 100));
  assert.is(lab.get('a'), '1 @3 for 100');
  lab.pass(99);
  assert.is(lab.get('a'), '1 @3 for 1');
});

test('a repeated write keeps the life of its first application, and an increment its answer', () => {
  const lab = new Lab();
  lab.apply(openSessionEntry(4));
  const sent = (sequence: number) => lab.entry([put('a', '1', 100), increment('n', 1)], { id: 1, sequence });
  const first = lab.apply(sent(1));
  lab.pass(50);
  lab.reopen();
  assert.equal(lab.apply(sent(1)), first, 'also after the table of sessions was read from the engine');
  assert.equal([lab.get('a'), lab.get('n')], ['1 @2 for 50', '1 @2']);
  lab.pass(50);
  assert.is(lab.get('a'), 'absent');
});

test('time and deadlines survive a reopening and a snapshot', async () => {
  const lab = new Lab();
  lab.write(put('a', '1', 100), put('b', '2'));
  lab.pass(30);
  await lab.machine.checkpoint('snapshot');
  lab.reopen();
  assert.equal([lab.get('a'), lab.machine.timeMs, lab.machine.keysWithDeadline], ['1 @1 for 70', 30, 1]);
  const other = new Lab();
  other.write(put('x', '1', 5));
  other.pass(4);
  other.engine.checkpoints.set('snapshot', new Map(lab.engine.stored));
  let told = 0;
  other.machine.onDeadlines = () => told++;
  await other.machine.restore('snapshot');
  assert.equal(
    [other.get('a'), other.get('x'), other.deadlines, told],
    ['1 @1 for 70', 'absent', 'a:100', 1],
  );
  other.nowMs = lab.nowMs;
  other.pass(69);
  assert.is(other.get('a'), '1 @1 for 1');
  other.pass(1);
  assert.is(other.get('a'), 'absent');
});

test('a record of the time that cannot be read is corruption', () => {
  for (const record of [Buffer.alloc(31), Buffer.alloc(33), Buffer.alloc(32, 0xff)]) {
    try {
      new ReplicatedTime().restore(record);
      assert.unreachable();
    } catch (error) {
      assert.is(errorCode(error), 'CORRUPTION');
    }
  }
  const lab = new Lab();
  lab.pass(1);
  assert.ok(lab.engine.get(TIME_KEY));
});

test('a page passes over a bounded number of keys that have expired, and says how far it came', () => {
  const lab = new Lab();
  for (let from = 0; from < 25_000; from += 1000)
    lab.write(
      ...Array.from({ length: 1000 }, (_, i) => put(`k${String(from + i).padStart(6, '0')}`, '', 10)),
    );
  lab.write(put('z', 'last'));
  lab.pass(10);
  for (const reverse of [false, true]) {
    let from = Buffer.alloc(0);
    let to: Buffer | undefined;
    let pages = 0;
    const found: string[] = [];
    for (;;) {
      const page = lab.machine.scan({ from, to, reverse, maxEntries: 100, maxBytes: 1e6 });
      pages++;
      found.push(...page.entries.map(({ key }) => key.toString()));
      if (!page.more) break;
      assert.ok(page.coveredTo);
      if (reverse) to = page.coveredTo;
      else from = Buffer.concat([page.coveredTo ?? from, Buffer.of(0)]);
    }
    assert.equal([found, pages], [['z'], 3]);
  }
});

test.run();
