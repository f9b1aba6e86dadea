/** Nodes inside a program, in the simulated world: their own calls, where those are answered, and how they end. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeClientError } from '../../src/client/client-error.js';
import { RaftreeNode } from '../../src/embed/raftree-node.js';
import { lsmEngine } from '../../src/engines/lsm-engine.js';
import type { Network } from '../../src/env/env.js';
import { errorCode, errorMessage } from '../../src/env/errors.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import type { SimProcess } from '../../src/sim/world/world.js';
import { Programs } from './programs-lab.js';

/** A network on which nothing connects. */
const listening = (net: Network): Network => ({
  listen: (address, accept) => net.listen(address, accept),
  connect: () => Promise.reject(Object.assign(new Error('no connection is allowed'), { code: 'EACCES' })),
});

async function everyCall(node: RaftreeNode, prefix: string): Promise<void> {
  const key = (name: string) => `${prefix}/${name}`;
  const { version } = await node.put(key('a'), '1');
  assert.is((await node.insert(key('a'), '2')).applied, false);
  assert.is((await node.update(key('a'), '2')).applied, true);
  assert.is((await node.cas(key('a'), '3', { expectedVersion: version })).applied, false);
  assert.is((await node.cas(key('a'), '3', { expectedValue: '2' })).applied, true);
  await node.append(key('a'), '+');
  await node.batch([
    { action: 'put', key: key('b'), value: 'b' },
    { action: 'put', key: key('c'), value: 'c' },
  ]);
  assert.is((await node.delete(key('c'))).existed, true);
  for (const level of ['linearizable', 'lease', 'follower'] as const)
    assert.is((await node.get(key('a'), { level }))?.value.toString(), '3+', level);
  const found: string[] = [];
  for await (const entry of node.scan({ prefix: `${prefix}/` })) found.push(`${entry.key}=${entry.value}`);
  assert.equal(found, [key('a=3+'), key('b=b')]);
}

test('a node answers its own calls without a connection', async () => {
  const programs = new Programs(1, 1);
  const disk = new SimDisk();
  const { env } = programs.world.start('n1', disk);
  const node = await programs.run(programs.start(1, { env: { ...env, net: listening(env.net) } }));
  await programs.run(everyCall(node, 'alone'));
  const { nodeId, leaderId } = await programs.run(node.status());
  assert.equal([nodeId, leaderId, node.nodeId, node.isLeader], [1, 1, 1, true]);
  assert.is(node.addresses.client, 'n1:7001');
  await programs.run(node.close());
});

test('every node of three answers all calls; stale reads and its status are its own', async () => {
  const programs = new Programs(2, 3);
  const nodes = await programs.run(programs.startAll());
  for (const node of nodes) await programs.run(everyCall(node, `${node.nodeId}`));
  await programs.world.scheduler.runFor(3000);
  programs.world.network.cut('n1', 'n2');
  programs.world.network.cut('n2', 'n1');
  programs.world.network.cut('n3', 'n2');
  programs.world.network.cut('n2', 'n3');
  const [, second] = nodes as [RaftreeNode, RaftreeNode, RaftreeNode];
  assert.is((await programs.run(second.get('1/a', { level: 'stale' })))?.value.toString(), '3+');
  assert.is((await programs.run(second.status())).nodeId, 2);
  const error = await programs.run(
    second.put('x', '1', { timeoutMs: 3000 }).then(
      () => undefined,
      (e: unknown) => e,
    ),
  );
  assert.ok(error instanceof RaftreeClientError);
  await programs.run(Promise.all(nodes.map((node) => node.close())));
});

test('a node whose leader dies goes on with the next one, and each write counts once', async () => {
  const programs = new Programs(3, 3);
  const nodes = await programs.run(programs.startAll());
  await programs.run((nodes[0] as RaftreeNode).put('count', ''));
  const leader = nodes.find((node) => node.isLeader) as RaftreeNode;
  const follower = nodes.find((node) => node !== leader) as RaftreeNode;
  const appends = (async () => {
    for (let i = 0; i < 60; i++) await follower.append('count', `${i},`, { timeoutMs: 60_000 });
  })();
  await programs.world.scheduler.runFor(20);
  programs.processes.get(leader.nodeId)?.kill();
  await programs.run(appends);
  const { value } = (await programs.run(follower.get('count'))) ?? {};
  assert.is(value?.toString(), Array.from({ length: 60 }, (_, i) => `${i},`).join(''));
  await programs.run(Promise.all(nodes.filter((node) => node !== leader).map((node) => node.close())));
});

test('errors are those of a client, and exact', async () => {
  const programs = new Programs(4, 1);
  const node = await programs.run(programs.start(1, { limits: { maxValueBytes: 1000 } }));
  const failure = (call: Promise<unknown>) =>
    programs.run(
      call.then(
        () => 'done',
        (error: unknown) =>
          error instanceof RaftreeClientError ? `${error.code} ${error.outcome}` : String(error),
      ),
    );
  assert.is(await failure(node.put('k', Buffer.alloc(1001))), 'VALUE_TOO_LARGE notCommitted');
  assert.is(await failure(node.put('', '1')), 'KEY_EMPTY notCommitted');
  assert.is(await failure(node.get('k', { timeoutMs: -1 })), 'INVALID_REQUEST notCommitted');
  assert.is(await failure(node.transferLeadership(7)), 'CHANGE_INVALID notCommitted');
  const pending = failure(node.put('k', '1'));
  const closing = node.close();
  assert.is(node.close(), closing);
  assert.match(await pending, /^CLIENT_CLOSED/);
  await programs.run(closing);
  assert.is(await failure(node.put('k', '1')), 'CLIENT_CLOSED notCommitted');
});

test('many large values at once, in and out', async () => {
  const programs = new Programs(5, 1);
  const node = await programs.run(programs.start(1, { limits: { maxValueBytes: 4 * 1024 * 1024 } }));
  const values = Array.from({ length: 12 }, (_, i) => Buffer.alloc(3 * 1024 * 1024, `${i} `));
  await programs.run(Promise.all(values.map((value, i) => node.put(`k${i}`, value))));
  const found = await programs.run(Promise.all(values.map((_, i) => node.get(`k${i}`))));
  for (const [i, value] of values.entries()) assert.ok(found[i]?.value.equals(value), `value ${i}`);
  await programs.run(node.close());
});

test('every fault of the settings is told at once, and nothing is left open', async () => {
  const programs = new Programs(6, 1);
  const settings = { ...programs.settings(1), nodeId: 7, colour: 'red', raft: { heartbeatMs: 1 } };
  const error = await programs.run(
    RaftreeNode.start(settings).then(
      () => undefined,
      (e: unknown) => e,
    ),
  );
  assert.is(errorCode(error), 'INVALID_CONFIG');
  for (const told of [/nodeId: found 7/, /colour: unknown key/, /raft\.heartbeatMs: found 1/])
    assert.match(errorMessage(error), told);
  const engine = {
    ...lsmEngine({ treeLog: 'none', writeBufferBytes: 65_536, blockCacheBytes: 0 }),
    name: 'my own',
  };
  const unnamed = await programs.run(
    programs.start(1, { engine }).then(
      () => undefined,
      (e: unknown) => e,
    ),
  );
  assert.match(errorMessage(unnamed), /name of a storage engine/);
  const other = { ...engine, name: 'mine' };
  const both = await programs.run(
    programs.start(1, { engine: other, storage: { engine: 'lsm' } }).then(
      () => undefined,
      (e: unknown) => e,
    ),
  );
  assert.match(errorMessage(both), /storage\.engine says "lsm", but the engine that is given is "mine"/);
  const node = await programs.run(programs.start(1, { engine: other }));
  await programs.run(node.put('k', '1'));
  const twice = await programs.run(
    RaftreeNode.start({
      ...programs.settings(1),
      engine: other,
      env: (programs.processes.get(1) as SimProcess).env,
    }).then(
      () => undefined,
      (e: unknown) => e,
    ),
  );
  assert.is(errorCode(twice), 'LOCKED');
  await programs.run(node.close());
});

test('a node that fails says so, and its calls go to the others', async () => {
  const programs = new Programs(7, 3);
  let isBroken = false;
  const failures: string[] = [];
  const disk = new SimDisk();
  const { env } = programs.world.start('n1', disk, {
    fault: ({ kind }) => (isBroken && kind === 'sync' ? 'lose' : undefined),
  });
  const starting = [
    programs.start(1, { env, onFailure: (error) => failures.push(error.code) }),
    programs.start(2),
    programs.start(3),
  ];
  const [node, ...others] = (await programs.run(Promise.all(starting))) as [RaftreeNode, ...RaftreeNode[]];
  await programs.run(node.put('k', '1'));
  isBroken = true;
  const write = async () => {
    for (let i = 0; i < 5; i++) await node.put('k', '2', { timeoutMs: 60_000 });
  };
  await programs.run(write());
  assert.match(failures.join(), /^[A-Z]+_FAILED$/);
  assert.is((await programs.run(node.get('k')))?.value.toString(), '2');
  await programs.run(node.close());
  await programs.run(Promise.all(others.map((other) => other.close())));
});

test.run();
