/** One storage engine for the whole cluster: chosen in node.json, remembered by the folder, compared between nodes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { lsmEngine } from '../../src/engines/lsm-engine.js';
import type { EngineKind, StorageEngine } from '../../src/engines/storage-engine.js';
import { silentLogger } from '../../src/env/env.js';
import { errorCode, errorMessage } from '../../src/env/errors.js';
import type { NodeConfigInput } from '../../src/server/config.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';

const storage = (engine: string, more: NodeConfigInput['storage'] = {}) => ({ storage: { engine, ...more } });

test('a folder made by another engine is refused, by name, and stays as it is', async () => {
  let engine = 'lsm';
  const cluster = new SimulatedCluster(1, { size: 1, config: () => storage(engine) });
  await cluster.run(cluster.start(1));
  const client = cluster.client();
  await cluster.run(client.put('a', '1'));
  await cluster.run(cluster.closeAll());
  engine = 'memory';
  const error = await cluster.run(
    cluster.start(1).then(
      () => undefined,
      (error: unknown) => error,
    ),
  );
  assert.is(errorCode(error), 'ENGINE_MISMATCH');
  assert.match(
    errorMessage(error),
    /made by the storage engine "lsm".*"memory".*set storage\.engine to "lsm"/,
  );
  engine = 'lsm';
  await cluster.run(cluster.start(1));
  assert.is((await cluster.run(client.get('a')))?.value.toString(), '1');
  await cluster.run(client.close());
  await cluster.run(cluster.closeAll());
});

test('a folder from before there were several engines is one of lsm', async () => {
  const cluster = new SimulatedCluster(2, { size: 1 });
  await cluster.run(cluster.start(1));
  await cluster.run(cluster.closeAll());
  cluster.machine(1).disk.edit('/data/identity.json', (content) => {
    const { engine, ...before } = JSON.parse(content.toString()) as Record<string, unknown>;
    assert.is(engine, 'lsm');
    return Buffer.from(JSON.stringify(before));
  });
  await cluster.run(cluster.start(1));
  await cluster.run(cluster.closeAll());
});

test('nodes with different engines refuse each other, and both name them', async () => {
  const told = new Map<number, string[]>();
  const cluster = new SimulatedCluster(3, {
    size: 2,
    config: (id) => storage(id === 2 ? 'memory' : 'lsm'),
    logger: (id) => {
      const lines: string[] = [];
      told.set(id, lines);
      const tell = (_fields: unknown, message: string) => lines.push(message);
      return { ...silentLogger, warn: tell, error: tell };
    },
  });
  await cluster.run(cluster.startAll());
  await cluster.world.scheduler.runFor(5000);
  assert.is(cluster.leader, undefined);
  for (const id of [1, 2]) {
    const lines = told.get(id)?.join('\n') ?? '';
    assert.match(lines, /storage engine "(?:lsm|memory)"/, `node ${id}: ${lines}`);
    assert.match(lines, /in "(?:lsm|memory)"; set the same storage\.engine/, `node ${id}: ${lines}`);
  }
  await cluster.run(cluster.closeAll());
});

for (const engine of ['memory', 'lsm']) {
  test(`a cluster on ${engine} keeps all over power cuts, cuts its log, and helps by snapshot`, async () => {
    const cluster = new SimulatedCluster(5, {
      config: storage(engine, {
        maxRaftLogBytes: 64 * 1024,
        raftSegmentBytes: 64 * 1024,
        trailingEntries: 10,
      }),
    });
    await cluster.run(cluster.startAll());
    const client = cluster.client();
    const expected = new Map<string, string>();
    const write = async (from: number, to: number) => {
      for (let i = from; i < to; i++) {
        const [key, value] = [`k${i % 40}`, `${i}`.repeat(200)];
        await client.put(key, value);
        expected.set(key, value);
      }
    };
    await cluster.run(write(0, 100));
    cluster.kill(3);
    await cluster.run(write(100, 500));
    await cluster.run(cluster.start(3));
    await cluster.run(write(500, 520));
    for (let round = 0; round < 3; round++) {
      cluster.cutPowerOfAll();
      await cluster.run(cluster.startAll());
      await cluster.run(write(520 + 10 * round, 530 + 10 * round));
    }
    await cluster.world.scheduler.runFor(10_000);
    for (const id of [1, 2, 3]) {
      const found = new Map<string, string>();
      const endpoint = `n${id}:7001`;
      const read = async () => {
        for await (const { key, value } of client.scan({ level: 'follower', endpoint }))
          found.set(key.toString(), value.toString());
      };
      await cluster.run(read());
      assert.equal(
        [...found],
        [...expected].sort(([a], [b]) => (a < b ? -1 : 1)),
        `node ${id}`,
      );
    }
    assert.equal(cluster.failures, []);
    await cluster.run(client.close());
    await cluster.run(cluster.closeAll());
  });
}

/** It calls everything durable, and makes nothing so. */
function lying(kind: EngineKind): EngineKind {
  return {
    name: kind.name,
    async open(directory, context) {
      const engine = await kind.open(directory, context);
      const lies: Partial<StorageEngine> = {
        durableSequence: Number.MAX_SAFE_INTEGER,
        flush: async () => {},
      };
      return new Proxy(engine, {
        get(target, name) {
          if (name in lies) return lies[name as keyof StorageEngine];
          const value: unknown = Reflect.get(target, name, target);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
    },
  };
}

test('a node whose engine lies about what is durable is stopped at its next start, and the others go on', async () => {
  const cluster = new SimulatedCluster(6, {
    config: storage('lsm', { maxRaftLogBytes: 64 * 1024, raftSegmentBytes: 64 * 1024, trailingEntries: 10 }),
    engine: (id) => (id === 2 ? ({ storage }) => lying(lsmEngine(storage)) : undefined),
  });
  await cluster.run(cluster.startAll());
  const client = cluster.client();
  const write = async (count: number) => {
    for (let i = 0; i < count; i++) await client.put(`k${i % 10}`, `${i}`.repeat(300));
  };
  await cluster.run(write(400));
  await cluster.world.scheduler.runFor(5000);
  cluster.cutPower(2);
  const error = await cluster.run(
    cluster.start(2).then(
      () => undefined,
      (error: unknown) => error,
    ),
  );
  assert.is(errorCode(error), 'CORRUPTION');
  assert.match(errorMessage(error), /storage engine "lsm" holds the entries up to .* had called durable/);
  await cluster.run(write(10));
  await cluster.run(client.close());
  await cluster.run(cluster.closeAll());
});

test('an engine that is not known, and a package that is not there, are named', async () => {
  for (const [engine, told] of [
    ['leveldb', /storage\.engine: found "leveldb"; expected "lsm", "memory", or "level:PACKAGE"/],
    ['level:no-such-package', /package "no-such-package" of storage\.engine cannot be loaded/],
    ['level:uvu', /package "uvu" of storage\.engine has no abstract-level database/],
  ] as const) {
    const cluster = new SimulatedCluster(7, { size: 1, config: storage(engine) });
    const error = await cluster.run(
      cluster.start(1).then(
        () => undefined,
        (error: unknown) => error,
      ),
    );
    assert.is(errorCode(error), 'INVALID_CONFIG', engine);
    assert.match(errorMessage(error), told);
  }
});

test.run();
