/** What an engine that defers is told when it asks: at any moment, of whole batches only, and of its own data only. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { EngineOperation } from '../../src/engines/storage-engine.js';
import { errorCode } from '../../src/env/errors.js';
import { APPLIED_KEY, type Applied, decodeApplied } from '../../src/kv/keys.js';
import { type CommandResult, KvStateMachine } from '../../src/kv/kv-state-machine.js';
import { LsmTree } from '../../src/lsm/lsm-tree.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { roomEnv } from '../../src/sim/world/room-env.js';
import { MemoryEngine, openSessionEntry, operation, write, writeEntry } from './kv-lab.js';

class DeferringEngine extends MemoryEngine {
  ask: () => readonly EngineOperation[] = () => [];
  fails: 'before' | 'halfway' | 'read' | undefined;
  waiting: Promise<void> | undefined;
  askedAtClose: readonly EngineOperation[] = [];
  readonly written: (readonly EngineOperation[])[] = [];

  defer(ask: () => readonly EngineOperation[]): void {
    this.ask = ask;
  }

  room(): Promise<void> | undefined {
    return this.waiting;
  }

  override get(key: Uint8Array): Buffer | undefined {
    if (this.fails === 'read') throw new Error('a read fails');
    return super.get(key);
  }

  override write(operations: readonly EngineOperation[]): number {
    if (this.fails === 'before') throw new Error('the batch is refused');
    if (this.fails === 'halfway') super.write(operations.slice(0, 1));
    if (this.fails) throw new Error('the batch fails');
    this.written.push([...operations]);
    return super.write(operations);
  }

  override async close(): Promise<void> {
    this.askedAtClose = this.ask();
  }
}

function machineOn(engine: DeferringEngine): KvStateMachine {
  return new KvStateMachine(engine, engine.reopen);
}

const put = (key: string, session?: { id: number; sequence: number }) =>
  writeEntry(write([operation('put', key, 'v'), operation('append', key, 'w')], session));

function appliedOf(operations: readonly EngineOperation[]): Applied | undefined {
  const found = operations.find(({ key }) => Buffer.compare(key, APPLIED_KEY) === 0);
  return found?.type === 'put' ? decodeApplied(found.value) : undefined;
}

for (const fails of ['before', 'halfway', 'read'] as const) {
  test(`after a batch that fails the engine gets no index and no session (${fails})`, () => {
    const engine = new DeferringEngine();
    const machine = machineOn(engine);
    machine.apply(1, [openSessionEntry(8), put('a', { id: 1, sequence: 1 })]);
    engine.fails = fails;
    assert.throws(() => machine.apply(3, [put('b', { id: 1, sequence: 2 })]));
    engine.fails = undefined;
    for (let ask = 0; ask < 2; ask++)
      assert.throws(
        () => engine.ask(),
        (error: unknown) => errorCode(error) === 'CORRUPTION',
      );
    assert.is(machine.appliedIndex, 2);
  });
}

test('while a batch waits for room, what was applied before it can be made durable, and nothing of it', async () => {
  const engine = new DeferringEngine();
  const machine = machineOn(engine);
  machine.apply(1, [openSessionEntry(8)]);
  let open = () => {};
  engine.waiting = new Promise<void>((resolve) => {
    open = resolve;
  });
  const results = machine.apply(2, [{ ...put('a', { id: 1, sequence: 1 }), term: 7 }]);
  assert.ok(results instanceof Promise);
  assert.equal(appliedOf(engine.ask()), { first: 1, last: 1, term: 1 });
  assert.equal(engine.ask(), []);
  engine.waiting = undefined;
  open();
  await results;
  assert.equal(appliedOf(engine.ask()), { first: 2, last: 2, term: 7 });
});

test('the engine before a snapshot is told of its own data, however late it asks', async () => {
  const engine = new DeferringEngine();
  const machine = machineOn(engine);
  machine.apply(1, [openSessionEntry(8), put('a', { id: 1, sequence: 1 })]);
  engine.write([{ type: 'put', key: APPLIED_KEY, value: Buffer.from('0900000000000000'.repeat(3), 'hex') }]);
  await engine.checkpoint('snapshot');
  await machine.restore('snapshot');
  assert.is(machine.appliedIndex, 9);
  assert.is(appliedOf(engine.askedAtClose)?.last, 2);
});

test('the changes of sessions are given with a batch when they are very many', () => {
  const engine = new DeferringEngine();
  const machine = machineOn(engine);
  machine.apply(1, [openSessionEntry(4096)]);
  const operations = Array.from({ length: 5000 }, (_, i) => operation('put', `${i}`, 'v'));
  for (let sequence = 1; sequence <= 9; sequence++) {
    const [result] = machine.apply(1 + sequence, [
      writeEntry(write(operations, { id: 1, sequence })),
    ]) as readonly CommandResult[];
    assert.is(result?.type, 'written');
  }
  assert.is(engine.written[7]?.length, 5000);
  assert.ok((engine.written[8]?.length ?? 0) > 5000);
});

test('a tree that does not get what was deferred makes nothing durable any more', async () => {
  const tree = await LsmTree.open('/tree', { env: roomEnv(1, new SimDisk()), durability: 'none' });
  tree.writeSync([{ type: 'put', key: Buffer.from('a'), value: Buffer.from('1') }]);
  tree.beforeFreeze(() => {
    throw new Error('the sessions are ahead');
  });
  assert.is(await tree.flush().catch(errorCode), 'LSM_READ_ONLY');
  tree.beforeFreeze(() => []);
  assert.is(await tree.flush().catch(errorCode), 'LSM_READ_ONLY');
  assert.is(tree.flushedSequence, 0);
  assert.throws(
    () => tree.writeSync([{ type: 'delete', key: Buffer.from('a') }]),
    (error: unknown) => errorCode(error) === 'LSM_READ_ONLY',
  );
  assert.is(await tree.close().catch(errorCode), 'LSM_NOT_DURABLE');
});

test.run();
