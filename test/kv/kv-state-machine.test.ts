/** The replicated store: each kind of command by example, and random histories against a model. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { commandOf, encodeOpenSession, encodeWrite, isCommandEntry } from '../../src/kv/command.js';
import { APPLIED_KEY, encodeApplied } from '../../src/kv/keys.js';
import { type CommandResult, KvStateMachine } from '../../src/kv/kv-state-machine.js';
import type { Entry } from '../../src/raft/types.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import {
  AT_0,
  Clients,
  MAX_VALUE_BYTES,
  MemoryEngine,
  Model,
  openSessionEntry,
  operation,
  renderMachine,
  type Write,
  type WriteOperation,
  write,
  writeEntry,
} from './kv-lab.js';

/** A machine that is fed one call at a time; every call may hold several commands. */
class Store {
  readonly engine = new MemoryEngine();
  machine = new KvStateMachine(this.engine, this.engine.reopen);

  apply(...entries: Entry[]): CommandResult[] {
    return this.machine.apply(this.machine.appliedIndex + 1, entries) as CommandResult[];
  }

  write(...operations: WriteOperation[]): string {
    return this.send(write(operations));
  }

  send(command: Write): string {
    return show(this.apply(writeEntry(command))[0]);
  }

  get(key: string): string {
    const found = this.machine.get(Buffer.from(key));
    return found ? `${found.value} @${found.version}` : 'none';
  }
}

function show(result: CommandResult | undefined): string {
  if (result?.type === 'refused') return result.code;
  if (result?.type !== 'written') return result?.type ?? 'nothing';
  const { applied, results } = result.write;
  const each = results.map(
    ({ status, existed, version }) => `${status}${existed ? ' existed' : ''} @${version}`,
  );
  return `${applied ? 'applied' : 'not applied'}: ${each.join(', ')}`;
}

test('each key carries the index of its last change', () => {
  const store = new Store();
  assert.is(store.write(operation('put', 'a', '1')), 'applied: ok @1');
  assert.is(store.write(operation('put', 'b', '2')), 'applied: ok @2');
  assert.is(store.write(operation('append', 'a', '+')), 'applied: ok existed @3');
  assert.is(store.get('a'), '1+ @3');
  assert.is(
    store.write(operation('check', 'a', '', { condition: 'versionIs', conditionVersion: 3 })),
    'applied: ok existed @3',
  );
  assert.is(store.get('a'), '1+ @3');
  assert.is(store.write(operation('delete', 'a')), 'applied: ok existed @0');
  assert.is(store.write(operation('delete', 'a')), 'applied: ok @0');
  assert.is(store.get('a'), 'none');
});

test('conditions look at what is there', () => {
  const store = new Store();
  store.write(operation('put', 'a', 'x'));
  const when = (condition: Partial<WriteOperation>) => store.write(operation('check', 'a', '', condition));
  assert.is(when({ condition: 'exists' }), 'applied: ok existed @1');
  assert.is(when({ condition: 'absent' }), 'not applied: conditionFailed existed @1');
  assert.is(when({ condition: 'valueIs', conditionValue: Buffer.from('x') }), 'applied: ok existed @1');
  assert.is(
    when({ condition: 'valueIs', conditionValue: Buffer.from('y') }),
    'not applied: conditionFailed existed @1',
  );
  assert.is(when({ condition: 'versionIs', conditionVersion: 0 }), 'not applied: conditionFailed existed @1');
  const missing = (condition: Partial<WriteOperation>) => store.write(operation('check', 'm', '', condition));
  assert.is(missing({ condition: 'versionIs', conditionVersion: 0 }), 'applied: ok @0');
  assert.is(missing({ condition: 'valueIs' }), 'not applied: conditionFailed @0');
});

test('the operations of a batch take effect in order, each on what the ones before it left', () => {
  const store = new Store();
  store.write(operation('put', 'a', '1'));
  assert.is(
    store.write(operation('delete', 'a'), operation('append', 'a', '2'), operation('append', 'a', '3')),
    'applied: ok existed @0, ok @2, ok existed @2',
  );
  assert.is(store.get('a'), '23 @2');
  assert.is(
    store.write(operation('put', 'a', 'x'), operation('append', 'a', 'y')),
    'applied: ok @3, ok existed @3',
  );
  assert.is(store.get('a'), 'xy @3');
  assert.is(
    store.write(operation('append', 'b', '1'), operation('delete', 'b'), operation('delete', 'b')),
    'applied: ok @4, ok existed @0, ok @0',
  );
  assert.is(store.get('b'), 'none');
  assert.is(
    store.write(operation('delete', 'a'), operation('put', 'a', 'z')),
    'applied: ok existed @0, ok @5',
  );
  assert.is(store.get('a'), 'z @5');
});

test('the conditions of a batch look at the keys as they were before it', () => {
  const store = new Store();
  store.write(operation('put', 'a', '1'));
  const absent = { condition: 'absent' as const };
  const exists = { condition: 'exists' as const };
  const valueIs = (text: string) => ({ condition: 'valueIs' as const, conditionValue: Buffer.from(text) });
  const versionIs = (version: number) => ({ condition: 'versionIs' as const, conditionVersion: version });
  assert.is(
    store.write(operation('delete', 'a'), operation('put', 'a', '2', absent)),
    'not applied: notApplied @0, conditionFailed existed @1',
  );
  assert.is(
    store.write(operation('put', 'm', '2'), operation('append', 'm', '3', exists)),
    'not applied: notApplied @0, conditionFailed @0',
  );
  assert.is(
    store.write(operation('put', 'a', '2'), operation('check', 'a', '', valueIs('2'))),
    'not applied: notApplied @0, conditionFailed existed @1',
  );
  assert.is(
    store.write(operation('put', 'a', '2'), operation('check', 'a', '', versionIs(5))),
    'not applied: notApplied @0, conditionFailed existed @1',
  );
  assert.is(store.get('a'), '1 @1');
  assert.is(
    store.write(
      operation('put', 'a', '2', valueIs('1')),
      operation('delete', 'a', '', versionIs(1)),
      operation('put', 'a', '3', exists),
      operation('check', 'a', '', valueIs('1')),
      operation('put', 'm', 'x', absent),
      operation('put', 'm', 'y', absent),
    ),
    'applied: ok existed @6, ok existed @0, ok @6, ok existed @6, ok @6, ok existed @6',
  );
  assert.is(store.get('a'), '3 @6');
  assert.is(store.get('m'), 'y @6');
});

test('what has no condition and needs no value is not looked up', () => {
  const store = new Store();
  const asked: string[] = [];
  const { get } = store.engine;
  store.engine.get = (key) => {
    asked.push(Buffer.from(key.subarray(1)).toString());
    return get.call(store.engine, key);
  };
  store.write(operation('put', 'a', '1'), operation('put', 'a', '2'), operation('put', 'b', '1'));
  assert.equal(asked, []);
  store.write(
    operation('put', 'b', '1', { condition: 'exists' }),
    operation('append', 'b', '2', { condition: 'exists' }),
    operation('put', 'a', '1'),
    operation('append', 'a', '2'),
  );
  assert.equal(asked, ['b'], 'once, and not what the batch itself has written');
});

test('no operation of a batch that was not applied claims that it was', () => {
  const store = new Store();
  store.write(operation('put', 'a', '1'));
  assert.is(
    store.write(
      operation('put', 'a', '9'),
      operation('append', 'b', '9'),
      operation('check', 'c', '', { condition: 'exists' }),
      operation('delete', 'a', '', { condition: 'absent' }),
      operation('check', 'a', '', { condition: 'exists' }),
    ),
    'not applied: notApplied @0, notApplied @0, conditionFailed @0, conditionFailed existed @1, notApplied @0',
  );
  const large = 'x'.repeat(MAX_VALUE_BYTES);
  assert.is(
    store.write(
      operation('append', 'a', '2'),
      operation('append', 'a', large),
      operation('append', 'a', large),
      operation('put', 'b', '2'),
    ),
    'not applied: notApplied @0, valueTooLarge existed @1, notApplied @0, notApplied @0',
    'the key as it is, not as the append before would have made it',
  );
  assert.is(
    store.write(operation('append', 'a', large), operation('check', 'a', '', { condition: 'absent' })),
    'not applied: notApplied @0, conditionFailed existed @1',
    'conditions come first',
  );
  assert.is(store.get('a'), '1 @1');
  assert.is(store.get('b'), 'none');
});

test('commands that are applied in one call see each other', () => {
  const store = new Store();
  const results = store.apply(
    writeEntry(write([operation('append', 'a', '1')])),
    writeEntry(write([operation('append', 'a', '2')])),
    writeEntry(write([operation('put', 'a', 'x', { condition: 'absent' }), operation('put', 'b', 'x')])),
    writeEntry(write([operation('delete', 'a')])),
    { term: 1, kind: 'noop', body: Buffer.alloc(0) },
    writeEntry(write([operation('append', 'a', '3', { condition: 'absent' })])),
  );
  assert.equal(results.map(show), [
    'applied: ok @1',
    'applied: ok existed @2',
    'not applied: conditionFailed existed @2, notApplied @0',
    'applied: ok existed @0',
    'none',
    'applied: ok @6',
  ]);
  assert.is(store.get('a'), '3 @6');
  assert.is(store.get('b'), 'none');
  assert.is(store.engine.batches, 1);
});

test('an append beyond the limit that its leader named changes nothing', () => {
  const store = new Store();
  store.apply(writeEntry(write([operation('put', 'a', '123')]), 4));
  const results = store.apply(
    writeEntry(write([operation('append', 'a', '45')]), 4),
    writeEntry(write([operation('append', 'a', '4')]), 4),
    writeEntry(write([operation('append', 'a', '5')]), 5),
  );
  assert.equal(results.map(show), [
    'not applied: valueTooLarge existed @1',
    'applied: ok existed @3',
    'applied: ok existed @4',
  ]);
  assert.is(store.get('a'), '12345 @4');
});

test('keys are bytes: order, prefixes and bytes above 127', () => {
  const store = new Store();
  const keys = [
    Buffer.of(0xff, 0xff),
    Buffer.of(0),
    Buffer.of(0x80),
    Buffer.from('a'),
    Buffer.from('a\0'),
    Buffer.of(0xff),
  ];
  for (const key of keys) store.write({ ...operation('put', ''), key });
  const page = store.machine.scan({
    from: Buffer.alloc(0),
    to: undefined,
    reverse: false,
    maxEntries: 100,
    maxBytes: 10_000,
  });
  assert.equal(
    page.entries.map(({ key }) => key.toString('hex')),
    ['00', '61', '6100', '80', 'ff', 'ffff'],
  );
  assert.not(page.more);
});

test('a scan keeps to its bounds and its limits, forwards and backwards', () => {
  const store = new Store();
  for (const key of ['a', 'b', 'c', 'd', 'e']) store.write(operation('put', key, key.repeat(20)));
  const scan = (
    from: string,
    to: string | undefined,
    limits: { reverse?: boolean; entries?: number; bytes?: number } = {},
  ) => {
    const { entries, more } = store.machine.scan({
      from: Buffer.from(from),
      to: to === undefined ? undefined : Buffer.from(to),
      reverse: limits.reverse ?? false,
      maxEntries: limits.entries ?? 100,
      maxBytes: limits.bytes ?? 10_000,
    });
    return `${entries.map(({ key }) => key).join('')}${more ? ' more' : ''}`;
  };
  assert.is(scan('', undefined), 'abcde');
  assert.is(scan('b', 'd'), 'bc');
  assert.is(scan('b', 'd', { reverse: true }), 'cb');
  assert.is(scan('bb', undefined, { entries: 2 }), 'cd more');
  assert.is(scan('bb', undefined, { entries: 3 }), 'cde');
  assert.is(scan('', 'd', { reverse: true, entries: 2 }), 'cb more');
  assert.is(scan('', undefined, { bytes: 65 }), 'ab more');
  assert.is(scan('', undefined, { bytes: 1 }), 'a more', 'at least one, or the scan would never end');
  assert.is(scan('d', 'b'), '');
  assert.is(scan('b', 'b'), '');
  assert.is(scan('', ''), '');
});

test('a repeated write of a session gets the answer of the first and changes nothing', () => {
  const store = new Store();
  const [opened] = store.apply(openSessionEntry(4));
  assert.equal(opened, { type: 'sessionOpened', sessionId: 1, window: 4 });
  const first = write([operation('append', 'a', 'x')], { id: 1, sequence: 1 });
  const failing = write([operation('put', 'a', 'y', { condition: 'absent' })], { id: 1, sequence: 2 });
  assert.is(store.send(first), 'applied: ok @2');
  assert.is(store.send(failing), 'not applied: conditionFailed existed @2');
  store.write(operation('delete', 'a'));
  assert.is(store.send(failing), 'not applied: conditionFailed existed @2');
  assert.is(store.send(first), 'applied: ok @2');
  assert.is(store.get('a'), 'none');
});

test('ledger 13: a write that is retried after a timeout does not overwrite a newer one', async () => {
  const store = new Store();
  store.apply(openSessionEntry(4), openSessionEntry(4));
  const first = write([operation('put', 'a', 'old')], { id: 1, sequence: 1 });
  const newer = write([operation('put', 'a', 'new')], { id: 2, sequence: 1 });
  assert.is(store.send(first), 'applied: ok @3');
  assert.is(store.send(newer), 'applied: ok @4');
  // Its sender has not seen the answer, and repeats it: to the same node, and to one that has restarted.
  assert.is(store.send(first), 'applied: ok @3');
  assert.is(store.get('a'), 'new @4');
  store.machine = new KvStateMachine(store.engine, store.engine.reopen);
  assert.is(store.send(first), 'applied: ok @3');
  assert.is(store.get('a'), 'new @4');
  // Without a session nobody can tell it from a write of its own: that is why the client library sends none so.
  assert.is(store.write(operation('put', 'a', 'old')), 'applied: ok @7');
  assert.is(store.get('a'), 'old @7');
});

test('pipelined writes of a session may arrive in any order', () => {
  const store = new Store();
  store.apply(openSessionEntry(3));
  const send = (sequence: number, floor = 0) =>
    store.send(write([operation('append', 'a', String(sequence))], { id: 1, sequence, floor }));
  assert.is(send(3), 'applied: ok @2');
  assert.is(send(1), 'applied: ok existed @3');
  assert.is(send(4), 'INVALID_REQUEST', 'beyond the window');
  assert.is(send(2), 'applied: ok existed @5');
  assert.is(send(6, 3), 'applied: ok existed @6');
  assert.is(send(3), 'INVALID_REQUEST', 'its answer has been acknowledged');
  assert.is(send(5, 1), 'applied: ok existed @8');
  assert.is(send(6, 3), 'applied: ok existed @6');
  assert.is(send(0), 'INVALID_REQUEST', 'sequences begin at 1');
  assert.is(store.get('a'), '31265 @8');
});

test('a session that nobody opened changes nothing', () => {
  const store = new Store();
  assert.is(store.send(write([operation('put', 'a', 'x')], { id: 77, sequence: 1 })), 'SESSION_EXPIRED');
  assert.is(store.get('a'), 'none');
});

test('what is durable follows the engine, batch by batch', async () => {
  const store = new Store();
  store.write(operation('put', 'a', '1'));
  store.apply(openSessionEntry(1), writeEntry(write([operation('put', 'b', '1')])));
  assert.is(store.machine.appliedIndex, 3);
  assert.is(store.machine.durableIndex, 0);
  store.engine.durableSequence = 1;
  assert.is(store.machine.durableIndex, 1);
  await store.machine.flush();
  assert.is(store.machine.durableIndex, 3);
});

test('what the engine before a snapshot had not made durable says nothing of the one that came with it', async () => {
  const source = new Store();
  for (let i = 0; i < 5; i++) source.write(operation('put', 'a', `${i}`));
  await source.machine.checkpoint('/snapshot');
  const target = new Store();
  const before = new MemoryEngine(new Map(), source.engine.checkpoints);
  target.machine = new KvStateMachine(before, before.reopen);
  target.write(operation('put', 'not durable', '1'));
  target.write(operation('put', 'not durable', '2'));
  await target.machine.restore('/snapshot');
  target.write(operation('put', 'a', 'after'));
  await target.machine.flush();
  assert.equal([target.machine.appliedIndex, target.machine.durableIndex], [6, 6]);
});

test('a record of the applied index that cannot have been written is corruption', () => {
  const whole = encodeApplied({ first: 3, last: 5, term: 2 });
  const openWith = (record: Buffer) => {
    const engine = new MemoryEngine(new Map([[APPLIED_KEY.toString('latin1'), record]]));
    return new KvStateMachine(engine, engine.reopen);
  };
  assert.is(openWith(whole).appliedIndex, 5);
  for (const record of [whole.subarray(1), encodeApplied({ first: 6, last: 5, term: 2 })])
    assert.throws(
      () => openWith(record),
      (error: Error) => errorCode(error) === 'CORRUPTION',
    );
});

test('entries that do not follow the last one applied are refused', () => {
  const store = new Store();
  store.write(operation('put', 'a', '1'));
  for (const first of [1, 3]) {
    assert.throws(
      () => store.machine.apply(first, [writeEntry(write([operation('put', 'a', '2')]))]),
      (error: Error) => errorCode(error) === 'CORRUPTION',
    );
  }
});

interface Variant {
  /** A chance per burst that the machine is opened anew. */
  readonly restarts: number;
  readonly alter?: (machine: KvStateMachine) => void;
}

/** What differs between the machine and the model over a random history. */
function differences(seed: number, { restarts, alter }: Variant): { faults: string[]; kinds: Set<string> } {
  const random = new SeededRandom(seed);
  const store = new Store();
  const model = new Model();
  const clients = new Clients(random);
  const faults: string[] = [];
  const kinds = new Set<string>();
  alter?.(store.machine);
  for (let burst = 0; burst < 60 && faults.length === 0; burst++) {
    const first = store.machine.appliedIndex + 1;
    const commands = clients.burst(first, random.between(1, 8));
    const results = store.apply(...commands.map(({ entry }) => entry));
    commands.forEach(({ meaning }, i) => {
      const expected = model.apply(first + i, meaning);
      if (JSON.stringify(results[i]) !== JSON.stringify(expected)) {
        faults.push(`entry ${first + i}: ${JSON.stringify(results[i])}, not ${JSON.stringify(expected)}`);
      }
      kinds.add(expected.type === 'refused' ? expected.code : expected.type);
      if (expected.type === 'written') {
        if (expected.write.index < first + i) kinds.add('repeated');
        for (const { status } of expected.write.results) kinds.add(status);
      }
    });
    if (random.chance(restarts)) store.machine = new KvStateMachine(store.engine, store.engine.reopen);
    for (const reverse of [false, true]) {
      if (renderMachine(store.machine, reverse) !== model.render(reverse))
        faults.push(`the keys after ${first}`);
    }
  }
  return { faults, kinds };
}

test('random histories, repetitions in any order included, are what the model says', () => {
  const kinds = new Set<string>();
  for (let seed = 1; seed <= 60; seed++) {
    const run = differences(seed, { restarts: 0 });
    assert.equal(run.faults, [], `seed ${seed}`);
    for (const kind of run.kinds) kinds.add(kind);
  }
  const expected = ['written', 'sessionOpened', 'SESSION_EXPIRED', 'INVALID_REQUEST', 'repeated'];
  for (const kind of [...expected, 'ok', 'conditionFailed', 'valueTooLarge', 'notApplied'])
    assert.ok(kinds.has(kind), kind);
});

test('the same through restarts: what is restored is what was live', () => {
  for (let seed = 101; seed <= 140; seed++) {
    assert.equal(differences(seed, { restarts: 0.4 }).faults, [], `seed ${seed}`);
  }
});

test('a checkpoint gives another machine keys, versions, sessions and the applied index', async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const source = new Store();
    const clients = new Clients(new SeededRandom(seed));
    const model = new Model();
    /** Commands, repetitions of earlier ones among them, for one or both. */
    const apply = (count: number, ...stores: Store[]) => {
      for (let i = 0; i < count; i++) {
        const first = source.machine.appliedIndex + 1;
        const commands = clients.burst(first, 5);
        const expected = commands.map(({ meaning }, at) => model.apply(first + at, meaning));
        const entries = commands.map(({ entry }) => entry);
        for (const store of stores) assert.equal(store.apply(...entries), expected, `seed ${seed}`);
      }
    };
    apply(30, source);
    await source.machine.checkpoint('/snapshot');

    const target = new Store();
    const before = new MemoryEngine(new Map(), source.engine.checkpoints);
    target.machine = new KvStateMachine(before, before.reopen);
    target.write(operation('put', 'of another past', 'x'));
    await target.machine.restore('/snapshot');
    assert.ok(before.isClosed);
    const { appliedIndex } = source.machine;
    assert.equal([target.machine.appliedIndex, target.machine.durableIndex], [appliedIndex, appliedIndex]);
    assert.is(renderMachine(target.machine), model.render());
    apply(30, source, target);
    assert.is(renderMachine(target.machine), model.render());
  }
});

test('a machine that is closed during a takeover leaves no engine open', async () => {
  const source = new Store();
  source.write(operation('put', 'a', '1'));
  await source.machine.checkpoint('/snapshot');
  const opened: MemoryEngine[] = [];
  const before = new MemoryEngine(new Map(), source.engine.checkpoints);
  let isThere = () => {};
  const wait = new Promise<void>((resolve) => {
    isThere = resolve;
  });
  const machine = new KvStateMachine(before, async (directory) => {
    const engine = (await before.reopen(directory)) as MemoryEngine;
    opened.push(engine);
    await wait;
    return engine;
  });
  const restored = machine.restore('/snapshot');
  await machine.close();
  isThere();
  await restored;
  assert.is(opened.length, 1);
  assert.ok(before.isClosed && opened[0]?.isClosed);
});

const commandEntry = (body: Uint8Array): Entry => ({ term: 1, kind: 'command', body });

/** What no leader accepts, and no machine can apply. */
const VOID: readonly (readonly [string, Uint8Array])[] = [
  ['nothing', Buffer.alloc(0)],
  ['an unknown kind', Buffer.of(9, 1, 2, 3)],
  ['a head alone', Buffer.of(1, 0, 0)],
  ['a session that ends early', Buffer.of(2, 1)],
  ['a write that ends early', writeEntry(write([operation('put', 'a', 'b')])).body.subarray(0, -1)],
  ['bytes too many', Buffer.concat([writeEntry(write([operation('put', 'a', 'b')])).body, Buffer.of(0)])],
  ['a key that no engine holds', writeEntry(write([operation('put', 'k'.repeat(65_536), 'b')])).body],
  [
    'more operations than a session keeps results of',
    writeEntry(write(Array.from({ length: 65_536 }, () => operation('check', 'a', '')))).body,
  ],
];

test('an entry that nobody can apply changes nothing, is told, and stops nobody', () => {
  for (const [what, body] of VOID) {
    const told: string[] = [];
    const engine = new MemoryEngine();
    const machine = new KvStateMachine(engine, engine.reopen, 0, (index, reason) =>
      told.push(`${index} ${reason}`),
    );
    const before = writeEntry(write([operation('put', 'a', '1')]));
    const after = writeEntry(write([operation('append', 'a', '2')]));
    const results = machine.apply(1, [before, commandEntry(body), after]) as CommandResult[];
    assert.equal(results.map(show), ['applied: ok @1', 'void', 'applied: ok existed @3'], what);
    assert.is(machine.get(Buffer.from('a'))?.value.toString(), '12');
    assert.equal([told.length, machine.voidEntries, machine.appliedIndex], [1, 1, 3], what);
    assert.match(told[0] ?? '', /^2 ./);
    const restarted = new KvStateMachine(engine, engine.reopen);
    assert.equal([restarted.appliedIndex, restarted.voidEntries], [3, 0], 'it is not applied again');
  }
});

test('whether an entry has the form of a command is told without reading it', () => {
  const whole = writeEntry(
    write([operation('append', 'a', 'b', { condition: 'valueIs', conditionValue: Buffer.from('c') })]),
  ).body;
  assert.ok(isCommandEntry(whole));
  assert.ok(isCommandEntry(encodeOpenSession(7)));
  for (let length = 0; length < whole.length; length++)
    assert.not.ok(isCommandEntry(whole.subarray(0, length)), `${length}`);
  // Bytes that are lengths, counts and enumerations, changed.
  for (let at = 0; at < whole.length; at++) {
    const changed = Buffer.from(whole);
    changed[at] = 0xff;
    assert.is(isCommandEntry(changed), commandOf(changed).type !== 'void', `byte ${at}`);
  }
});

test('an engine that cannot read is no reason to call an entry void', () => {
  const store = new Store();
  store.engine.get = () => {
    throw new Error('EIO');
  };
  assert.throws(() => store.write(operation('append', 'a', '1')), /EIO/);
  assert.is(store.machine.voidEntries, 0);
});

const MIB = 1024 * 1024;
const large = (bytes: number): Write['operations'][number]['value'] => Buffer.alloc(bytes, 'x');

test('small appends to large values make no batch that an engine cannot take', () => {
  const engine = new MemoryEngine();
  const machine = new KvStateMachine(engine, engine.reopen);
  const sizes: number[] = [];
  const write1 = engine.write.bind(engine);
  engine.write = (operations) => {
    sizes.push(operations.reduce((sum, each) => sum + (each.type === 'put' ? each.value.length : 0), 0));
    return write1(operations);
  };
  const entryOf = (operations: WriteOperation[]) =>
    commandEntry(encodeWrite(16 * MIB, write(operations), AT_0));
  const keys = Array.from({ length: 20 }, (_, i) => `key ${i}`);
  for (const key of keys)
    machine.apply(machine.appliedIndex + 1, [
      entryOf([{ ...operation('put', key, ''), value: large(8 * MIB) }]),
    ]);
  // Of many entries that come together.
  sizes.length = 0;
  const { appliedIndex } = machine;
  const results = machine.apply(
    appliedIndex + 1,
    keys.map((key) => entryOf([operation('append', key, '+')])),
  ) as CommandResult[];
  assert.is(results.length, keys.length);
  assert.ok(results.every((result) => show(result).startsWith('applied')));
  assert.ok(sizes.length > 1 && Math.max(...sizes) < 96 * MIB, sizes.join());
  assert.is(machine.appliedIndex, appliedIndex + keys.length);
  // Of one.
  const [refused] = machine.apply(machine.appliedIndex + 1, [
    entryOf(keys.map((key) => operation('append', key, '+'))),
  ]) as CommandResult[];
  assert.match(show(refused), /^not applied: .*valueTooLarge/);
});

test('a planted bug is caught: a machine that forgets what it did in a session', () => {
  const caught = [1, 2, 3, 4, 5].filter((seed) => {
    const alter = (machine: KvStateMachine) => {
      const apply = machine.apply.bind(machine);
      machine.apply = (first, entries) => apply(first, entries.map(withoutSession));
    };
    return differences(seed, { restarts: 0, alter }).faults.length > 0;
  });
  assert.is(caught.length, 5);
});

/** The session number of a write lies behind its kind and its limit of values. */
function withoutSession(entry: Entry): Entry {
  if (entry.body[0] !== 1) return entry;
  const body = Buffer.from(entry.body);
  body.fill(0, 5, 13);
  return { ...entry, body };
}

test.run();
