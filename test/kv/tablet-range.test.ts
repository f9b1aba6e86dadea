/** A group that owns a part of the keys: what is asked of it about others, by writes, reads and expiries. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeExpiry } from '../../src/kv/command.js';
import { type CommandResult, KvStateMachine, type TabletOwner } from '../../src/kv/kv-state-machine.js';
import { DEFAULT_KV_LIMITS } from '../../src/kv/limits.js';
import type { Caller } from '../../src/kv/requests.js';
import { KvService } from '../../src/kv/service.js';
import { encodeStringOperation } from '../../src/kv/string-operation.js';
import { hashOfKey } from '../../src/placement/partition-key.js';
import { firstTablets, placementByHash, placementByRange } from '../../src/placement/placement.js';
import type { Entry } from '../../src/raft/types.js';
import { MemoryEngine, openSessionEntry, operation, renderMachine, write, writeEntry } from './kv-lab.js';

const [, MIDDLE] = firstTablets(placementByRange(['g', 'n'])).map(
  (born): TabletOwner => ({ id: born.id, by: 'range', born }),
);
const CALLER: Caller = { door: 'test', rights: { read: true, write: true, administrate: false } };
const WRONG = { type: 'refused', code: 'WRONG_TABLET' };

function machineOf(owner: TabletOwner | undefined) {
  const engine = new MemoryEngine();
  return new KvStateMachine(engine, engine.reopen, 0, undefined, owner);
}

async function applied(machine: KvStateMachine, ...entries: Entry[]): Promise<readonly CommandResult[]> {
  return await machine.apply(machine.appliedIndex + 1, entries);
}

const put = (...keys: string[]) => writeEntry(write(keys.map((key) => operation('put', key, 'v'))));

test('a write with a key of another tablet changes nothing when it is applied', async () => {
  const machine = machineOf(MIDDLE);
  const results = await applied(machine, put('h'), put('a'), put('n'), put('k', 'z'), put('g', 'm~'));
  assert.equal(
    results.map((result) => (result.type === 'written' ? 'written' : result)),
    ['written', WRONG, WRONG, WRONG, 'written'],
  );
  assert.is(renderMachine(machine), 'g 5 v\nh 1 v\nm~ 5 v');
});

test('the other keys of a string operation count too', async () => {
  const machine = machineOf(MIDDLE);
  const copyTo = (key: string) =>
    writeEntry(
      write([
        {
          ...operation('modify', 'h'),
          value: encodeStringOperation('copy', key, 'any'),
        },
      ]),
    );
  const results = await applied(machine, put('h'), copyTo('z'), copyTo('i'));
  assert.equal(results[1], WRONG);
  assert.is(results[2]?.type, 'written');
});

test('the session keeps nothing of such a write: its sequence is free for the same write elsewhere', async () => {
  const machine = machineOf(MIDDLE);
  const at = (key: string, sequence: number) =>
    writeEntry(write([operation('put', key, 'v')], { id: 1, sequence }));
  const results = await applied(machine, openSessionEntry(4), at('a', 1), at('a', 1), at('h', 1), at('h', 1));
  assert.equal(results.slice(1, 3), [WRONG, WRONG]);
  assert.is(results[3]?.type, 'written');
  assert.equal(results[4], results[3]);
  // The range comes before the session: also if the session is not known.
  const [unknown] = await applied(
    machine,
    writeEntry(write([operation('put', 'a')], { id: 99, sequence: 1 })),
  );
  assert.equal(unknown, WRONG);
});

test('an expiry deletes no key of another tablet', async () => {
  const engine = new MemoryEngine();
  const all = new KvStateMachine(engine, engine.reopen);
  const mortal = (key: string) =>
    writeEntry(write([{ ...operation('put', key, 'v'), life: { change: 'set', ttlMs: 1, when: 'always' } }]));
  await applied(all, mortal('a'), mortal('h'));
  // The same tree, of which a part is this tablet's.
  const part = new KvStateMachine(engine, engine.reopen, 0, undefined, MIDDLE);
  const due = [...part.deadlines({ deadlineMs: 0, key: Buffer.alloc(0) })];
  assert.is(due.length, 2);
  const body = encodeExpiry(due, { nowMs: () => 10 });
  const results = await applied(part, { term: 1, kind: 'command', body });
  assert.equal(results, [{ type: 'expired', keys: 1 }]);
});

function serviceOf(owner: TabletOwner | undefined) {
  const machine = machineOf(owner);
  let proposals = 0;
  const replica = {
    propose: async (body: Uint8Array) => {
      proposals++;
      const results = await applied(machine, { term: 1, kind: 'command', body });
      return { index: machine.appliedIndex, result: results[0] as CommandResult };
    },
    readIndex: async () => machine.appliedIndex,
    yieldLeadership() {},
  };
  const service = new KvService({
    ...{ clock: { nowMs: () => 0 }, random: { uint32: () => 7 } },
    tablet: (id) => (id === 2 ? { replica, stateMachine: machine } : undefined),
    tablets: () => [],
    limits: DEFAULT_KV_LIMITS,
    clientAddressOf: () => '',
    onFault: (_code, error) => {
      throw error;
    },
  });
  const codeOf = (result: { readonly type: string }) => ('code' in result ? result.code : result.type);
  return {
    machine,
    proposals: () => proposals,
    write: async (tablet: number, ...keys: string[]) => {
      const operations = keys.map((key) => operation('put', key, 'v'));
      return codeOf(await service.write(CALLER, { ...write(operations), tablet }));
    },
    get: async (tablet: number, key: string) => {
      const get = { type: 'get', tablet, consistency: 'stale', key: Buffer.from(key) } as const;
      return codeOf(await service.get(CALLER, get));
    },
    scan: async (tablet: number, from: string, to?: string) => {
      const range = { from: Buffer.from(from), to: to === undefined ? undefined : Buffer.from(to) };
      const how = { consistency: 'stale', limit: 0, reverse: false, keysOnly: false } as const;
      return codeOf(await service.scan(CALLER, { type: 'scan', tablet, ...range, ...how }));
    },
    openSession: async (tablet: number) =>
      codeOf(await service.openSession(CALLER, { type: 'openSession', tablet, window: 1 })),
  };
}

test('a request for a tablet that is not here, or for keys that it does not own, is told so, and not proposed', async () => {
  const service = serviceOf(MIDDLE);
  assert.is(await service.write(2, 'h', 'i'), 'written');
  assert.is(await service.write(2, 'a'), 'WRONG_TABLET');
  assert.is(await service.write(2, 'a', 'z'), 'WRONG_TABLET');
  assert.is(await service.write(2, 'h', 'z'), 'SPANS_TABLETS');
  for (const tablet of [0, 1, 3]) {
    assert.is(await service.write(tablet, 'h'), 'WRONG_TABLET');
    assert.is(await service.get(tablet, 'h'), 'WRONG_TABLET');
    assert.is(await service.scan(tablet, 'h', 'i'), 'WRONG_TABLET');
    assert.is(await service.openSession(tablet), 'WRONG_TABLET');
  }
  assert.is(service.proposals(), 1);
  assert.is(await service.get(2, 'h'), 'found');
  assert.is(await service.get(2, 'j'), 'absent');
  assert.is(await service.get(2, 'n'), 'WRONG_TABLET');
  assert.is(await service.scan(2, 'g', 'n'), 'page');
  assert.is(await service.scan(2, 'g'), 'WRONG_TABLET');
  assert.is(await service.scan(2, 'a', 'n'), 'WRONG_TABLET');
});

test('by hash a scan gives what the tablet has, and a read of another key is refused', async () => {
  const [first] = firstTablets(placementByHash(2)).map(
    (born): TabletOwner => ({ id: born.id, by: 'hash', born }),
  );
  const names = Array.from({ length: 40 }, (_, i) => `key${i}`);
  const [own, other] = [true, false].map((low) =>
    names.filter((name) => hashOfKey(Buffer.from(name)) < 2 ** 31 === low),
  ) as [string[], string[]];
  const service = serviceOf(first);
  for (const key of own) assert.is(await service.write(2, key), 'written');
  assert.is(await service.write(2, other[0] as string), 'WRONG_TABLET');
  assert.is(await service.get(2, other[0] as string), 'WRONG_TABLET');
  assert.is(await service.scan(2, ''), 'page');
  assert.is(
    service.machine.scan({ from: Buffer.of(), to: undefined, reverse: false, maxEntries: 99, maxBytes: 9999 })
      .entries.length,
    own.length,
  );
});

test.run();
