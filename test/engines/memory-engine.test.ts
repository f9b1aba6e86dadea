/** The memory engine on a disk that is slow or full, and checkpoints that are taken over in two attempts. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { memoryEngine } from '../../src/engines/memory-engine.js';
import { type PlainEngineKind, withSortedCheckpoints } from '../../src/engines/sorted-checkpoints.js';
import type { EngineContext } from '../../src/engines/storage-engine.js';
import { DiskSpace } from '../../src/env/disk-space.js';
import { silentLogger } from '../../src/env/env.js';
import { errorCode } from '../../src/env/errors.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import type { FileOperation } from '../../src/sim/world/file-operation.js';
import { SimWorld } from '../../src/sim/world/world.js';

const put = (key: string, value: string) =>
  ({ type: 'put', key: Buffer.from(key), value: Buffer.from(value) }) as const;
const KEY = Buffer.from('key');

function setting(isFull: () => boolean = () => false) {
  const world = new SimWorld(1);
  const disk = new SimDisk();
  const fault = ({ kind }: FileOperation) =>
    isFull() && (kind === 'write' || kind === 'create') ? ('short' as const) : undefined;
  const { env } = world.start('n', disk, { latency: () => world.scheduler.sleep(5), fault });
  env.fs.makeDirectory('/state');
  const context: EngineContext = {
    env,
    logger: silentLogger,
    diskSpace: new DiskSpace(silentLogger, env),
  };
  return { world, disk, context, run: <T>(promise: Promise<T>) => world.scheduler.run(promise) };
}

test('what is written while a flush is under way is not durable with it', async () => {
  const { world, context, run } = setting();
  const engine = await run(memoryEngine.open('/state', context));
  const first = await engine.write([put('key', 'first')]);
  const flush = engine.flush();
  await world.scheduler.runFor(7);
  const second = await engine.write([put('key', 'second')]);
  await run(flush);
  assert.ok(engine.durableSequence >= first);
  assert.ok(engine.durableSequence < second);
  await run(engine.close());
  const again = await run(memoryEngine.open('/state', context));
  assert.is(again.get(KEY)?.toString(), 'second');
  await run(again.close());
});

test('a flush waits for space, and writes go on', async () => {
  let full = true;
  const { world, context, run } = setting(() => full);
  const engine = await run(memoryEngine.open('/state', context));
  const sequence = await engine.write([put('key', '1')]);
  const flush = engine.flush();
  await world.scheduler.runFor(3000);
  assert.ok(engine.durableSequence < sequence);
  assert.ok(context.diskSpace.isFull);
  await engine.write([put('key', '2')]);
  full = false;
  await run(flush);
  assert.ok(engine.durableSequence >= sequence);
  assert.not(context.diskSpace.isFull);
  await run(engine.close());
});

test('closing ends a flush that waits for space', async () => {
  const { world, context, run } = setting(() => true);
  const engine = await run(memoryEngine.open('/state', context));
  await engine.write([put('key', '1')]);
  const flush = engine.flush().catch(errorCode);
  await world.scheduler.runFor(1000);
  await run(engine.close());
  assert.is(await run(flush), 'ENGINE_CLOSED');
  assert.throws(() => engine.get(KEY), /closed/);
});

test('a checkpoint that was taken over in part is taken over again, from its beginning', async () => {
  const { context, run } = setting();
  const source = await run(memoryEngine.open('/state', context));
  await source.write([put('a', '1'), put('key', '1')]);
  let failures = 1;
  const plain: PlainEngineKind = {
    name: 'plain',
    async open(directory, inner) {
      const engine = await memoryEngine.open(directory, inner);
      if (failures-- > 0) {
        await engine.write([put('left behind', 'by the first attempt')]);
        await engine.flush();
        engine.flush = () => Promise.reject(new Error('the process ends here'));
      }
      return engine;
    },
  };
  const kind = withSortedCheckpoints(plain);
  const made = withSortedCheckpoints({ name: 'plain', open: async () => source });
  context.env.fs.makeDirectory('/other');
  await run((await run(made.open('/other', context))).checkpoint('/checkpoint'));
  const first = await run(kind.open('/checkpoint', context).then(() => 'opened', String));
  assert.match(first, /the process ends here/);
  const engine = await run(kind.open('/checkpoint', context));
  assert.equal(
    [...engine.entries({})].map(([key, value]) => `${key}=${value}`),
    ['a=1', 'key=1'],
  );
  await run(engine.close());
  await run(source.close());
});

test.run();
