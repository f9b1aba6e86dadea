/** A program's state machine as an engine: what its files hold is of one moment, whatever happens meanwhile. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { COMMAND_PREFIX, machineEngine, type Outcome } from '../../src/embed/machine-engine.js';
import type { AnyStateMachine } from '../../src/embed/state-machine.js';
import type { EngineContext, EngineOperation, StorageEngine } from '../../src/engines/storage-engine.js';
import { DiskSpace } from '../../src/env/disk-space.js';
import { silentLogger } from '../../src/env/env.js';
import { errorCode } from '../../src/env/errors.js';
import { storedValue, userKey } from '../../src/kv/keys.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import type { FileOperation } from '../../src/sim/world/file-operation.js';
import { SimWorld } from '../../src/sim/world/world.js';

const MARK = Buffer.of(0);

function setting() {
  const world = new SimWorld(1);
  const disk = new SimDisk();
  const checksums: number[] = [];
  const outcomes: Outcome[] = [];
  const kind = machineEngine({
    create: () => {
      let applied: number[] = [];
      return {
        apply: (command) => {
          applied.push(command as number);
          return applied.length;
        },
        query: () => applied.length,
        toBytes: () => Buffer.from(JSON.stringify(applied)),
        fromBytes: (bytes) => {
          applied = JSON.parse(Buffer.from(bytes).toString()) as number[];
        },
      };
    },
    checksumEvery: 100,
    applied: (_id, outcome) => outcomes.push(outcome),
    checksum: (commands) => checksums.push(commands),
    told() {},
  });
  let isFull = false;
  const fault = ({ kind }: FileOperation) => (isFull && kind === 'write' ? ('short' as const) : undefined);
  const start = () => world.start('n', disk, { latency: () => world.scheduler.sleep(5), fault });
  let process = start();
  process.env.fs.makeDirectory('/state');
  const open = () => {
    const { env } = process;
    const context: EngineContext = {
      ...{ env, logger: silentLogger, diskSpace: new DiskSpace(silentLogger, env) },
    };
    return world.scheduler.run(kind.open('/state', context));
  };
  const crash = () => {
    process.kill();
    disk.powerCut(world.random);
    process = start();
  };
  const fill = (full: boolean) => {
    isFull = full;
  };
  return {
    world,
    kind,
    fill,
    open,
    crash,
    checksums,
    outcomes,
    run: <T>(work: Promise<T>) => world.scheduler.run(work),
  };
}

/** Entry `index` is a command; the batch tells how far it has applied, as the batches of a node do. */
function command(index: number): EngineOperation[] {
  const key = userKey(Buffer.from(`${COMMAND_PREFIX}${index}`));
  return [
    { type: 'put', key, value: storedValue(index, Buffer.from(`${index}`)) },
    { type: 'put', key: MARK, value: Buffer.from(`${index}`) },
  ];
}

async function write(engine: StorageEngine, from: number, to: number): Promise<void> {
  for (let index = from; index <= to; index++) await engine.write(command(index));
}

test('a power cut at any moment of a flush leaves the commands that the batches tell, no more and no fewer', async () => {
  const { world, kind, open, crash, run } = setting();
  let last = 0;
  for (let round = 0; round < 40; round++) {
    const engine = await open();
    const told = Number(engine.get(MARK)?.toString() ?? 0);
    assert.is(await run(kind.query(undefined)), told, `round ${round}`);
    last = Math.max(last, told);
    await run(write(engine, told + 1, told + 5));
    const flush = engine.flush().catch(() => {});
    void write(engine, told + 6, told + 9).catch(() => {});
    await world.scheduler.runFor(round);
    crash();
    void flush;
  }
  assert.ok(last > 20, `${last} commands were kept`);
});

test('a flush that waits for space holds the commands back: its file is of one moment', async () => {
  const { world, kind, fill, open, crash, run } = setting();
  let engine = await open();
  await run(write(engine, 1, 5));
  fill(true);
  const flush = engine.flush();
  write(engine, 6, 9).catch(() => {});
  await world.scheduler.runFor(1200);
  fill(false);
  await world.scheduler.runFor(1200);
  await run(flush);
  crash();
  engine = await open();
  assert.is(engine.get(MARK)?.toString(), '5');
  assert.is(await run(kind.query(undefined)), 5);
  await run(write(engine, 6, 6));
  fill(true);
  const waiting = engine.flush().then(
    () => 'flushed',
    () => 'ended',
  );
  await world.scheduler.runFor(700);
  await run(engine.close());
  assert.is(await run(waiting), 'ended');
});

test('closing writes the state, and opening goes on from there, with the count of commands', async () => {
  const { kind, open, run, checksums, outcomes } = setting();
  let engine = await open();
  await run(write(engine, 1, 150));
  await run(engine.close());
  engine = await open();
  assert.is(await run(kind.query(undefined)), 150);
  await run(write(engine, 151, 250));
  assert.equal(checksums, [100, 200]);
  assert.equal(outcomes.at(-1), { result: 250 });
  await run(engine.close());
});

test('a state given in pieces comes back byte by byte, whatever the pieces were; a shorter one too', async () => {
  for (const small of [false, true]) {
    const world = new SimWorld(2);
    const process = world.start('n', new SimDisk());
    process.env.fs.makeDirectory('/state');
    let state = Buffer.alloc(0);
    const given: number[] = [];
    const machine = {
      apply: (sizeBytes: unknown) => {
        state = Buffer.alloc(sizeBytes as number);
        for (let i = 0; i < state.length; i++) state[i] = (i * 31 + (i >> 8)) & 0xff;
        return state.length;
      },
      query: () => state.toString('latin1'),
    };
    const kind = machineEngine({
      create: () =>
        small
          ? {
              ...machine,
              toBytes: () => state,
              fromBytes: (bytes: Uint8Array) => {
                state = Buffer.from(bytes);
              },
            }
          : {
              ...machine,
              *snapshot() {
                // The same memory for each piece: it is the machine's again when the next one is asked for.
                const piece = Buffer.alloc(70_001);
                for (let at = 0; at < state.length; at += piece.length) {
                  yield piece.subarray(0, state.copy(piece, 0, at));
                  given.push(at);
                }
                yield Buffer.alloc(0);
              },
              async restore(pieces: AsyncIterable<Uint8Array>) {
                const all: Uint8Array[] = [];
                for await (const piece of pieces) all.push(piece);
                state = Buffer.concat(all);
              },
            },
      checksumEvery: 0,
      ...{ applied() {}, checksum() {}, told() {} },
    });
    const { env } = process;
    const open = () =>
      world.scheduler.run(
        kind.open('/state', {
          env,
          logger: silentLogger,
          diskSpace: new DiskSpace(silentLogger, env),
        }),
      );
    let index = 0;
    for (const sizeBytes of [3_000_000, 2 ** 20 - 8, 2 ** 20 - 7, 12, 0]) {
      index++;
      let engine = await open();
      const key = userKey(Buffer.from(`${COMMAND_PREFIX}${index}`));
      const value = storedValue(index, Buffer.from(`${sizeBytes}`));
      await world.scheduler.run(Promise.resolve(engine.write([{ type: 'put', key, value }])));
      const before = await world.scheduler.run(kind.query(undefined));
      assert.is((before as string).length, sizeBytes);
      await world.scheduler.run(engine.close());
      state = Buffer.from('nothing');
      engine = await open();
      assert.ok(
        (await world.scheduler.run(kind.query(undefined))) === before,
        `${sizeBytes} bytes, small ${small}`,
      );
      await world.scheduler.run(engine.close());
    }
    assert.ok(small || given.length > 40);
  }
});

test('what is no state is told: no methods for it, and pieces that are no bytes', async () => {
  const world = new SimWorld(3);
  const { env } = world.start('n', new SimDisk());
  env.fs.makeDirectory('/state');
  const context = { env, logger: silentLogger, diskSpace: new DiskSpace(silentLogger, env) };
  const kindOf = (machine: object) =>
    machineEngine({
      create: () => machine as AnyStateMachine<unknown, unknown, unknown, unknown>,
      checksumEvery: 0,
      ...{ applied() {}, checksum() {}, told() {} },
    });
  const codeOf = async (work: Promise<unknown>) => world.scheduler.run(work.then(() => 'none', errorCode));
  const half = { apply: () => 1, query: () => 1, snapshot: () => [] };
  assert.is(await codeOf(kindOf(half).open('/state', context)), 'INVALID_CONFIG');
  const wrong = { ...half, snapshot: () => ['text'], restore() {} };
  const engine = await world.scheduler.run(kindOf(wrong).open('/state', context));
  assert.is(await codeOf(engine.flush()), 'STATE_MACHINE_FAILED');
});

test('of the results the newest 10,000 are kept, also over a restart', async () => {
  const { open, run } = setting();
  let engine = await open();
  const many = async (from: number, to: number) => {
    for (let index = from; index <= to; index += 500)
      await engine.write(Array.from({ length: 500 }, (_, i) => command(index + i)).flat());
  };
  const resultOf = (index: number) => engine.get(userKey(Buffer.from(`${COMMAND_PREFIX}${index}`)));
  await run(many(1, 9500));
  await run(engine.close());
  engine = await open();
  await run(many(9501, 11_000));
  assert.is(resultOf(1000), undefined);
  assert.ok(resultOf(1001));
  assert.is(engine.approximateKeys() < 10_010, true);
  await run(engine.close());
});

test.run();
