/** What a full disk means to clients: a certain answer, reads, another leader; and what the log says of it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RaftreeClientError } from '../../src/client/client-error.js';
import { type Logger, silentLogger } from '../../src/env/env.js';
import { errorCode, errorMessage } from '../../src/env/errors.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';
import { type FileOperation, systemError } from '../../src/sim/world/file-operation.js';

/** What is said of space. */
function spaceLog(): { lines: string[]; logger: Logger } {
  const lines: string[] = [];
  const note = (_: unknown, message: string) => {
    if (/disk/.test(message)) lines.push(message.replace(/ \(.*/, ''));
  };
  return { lines, logger: { ...silentLogger, info: note, warn: note, error: note } };
}

const BEGINS = 'the disk is full: writes are refused until this has passed; reads continue';
const ENDS = 'the disk can be written again: writes are accepted';

/** A cluster, and the nodes whose disks are full. `tablesOnly`: what is left is enough for the Raft log. */
async function started(seed: number, size: number, logger: Logger, tablesOnly = false) {
  const full = new Set<number>();
  const fault = ({ kind, path }: FileOperation, id: number) => {
    if (!full.has(id) || (tablesOnly && !path.endsWith('.sst'))) return undefined;
    if (kind === 'write') return 'short';
    return kind === 'create' || kind === 'mkdir' ? systemError('ENOSPC', kind, path) : undefined;
  };
  const config = tablesOnly ? { storage: { writeBufferBytes: WRITE_BUFFER_BYTES } } : {};
  const cluster = new SimulatedCluster(seed, { size, logger, fault, config });
  await cluster.run(cluster.startAll());
  await cluster.world.scheduler.runUntil(() => cluster.leader !== undefined, 30_000);
  return { cluster, full };
}

const WRITE_BUFFER_BYTES = 1024 * 1024;
const LARGE = Buffer.alloc(100_000, 'v');

const refusalOf = (work: Promise<unknown>) =>
  work.then(
    () => 'done',
    (error: RaftreeClientError) => `${error.code} ${error.outcome}`,
  );

test('a node alone refuses writes for certain, serves reads, and takes writes again by itself', async () => {
  const { lines, logger } = spaceLog();
  const { cluster, full } = await started(1, 1, logger);
  const { scheduler } = cluster.world;
  const client = cluster.client();
  await cluster.run(client.put('a', '1'));
  full.add(1);
  // In the log, and not on the disk: written when there is space.
  const first = refusalOf(client.put('first', '1', { timeoutMs: 30_000 }));
  await scheduler.runFor(1000);
  const wasMs = scheduler.nowMs();
  const another = cluster.client();
  assert.is(await cluster.run(refusalOf(another.put('b', '1'))), 'DISK_FULL notCommitted');
  assert.ok(scheduler.nowMs() - wasMs < 5000);
  assert.is((await cluster.run(client.get('a')))?.value.toString(), '1');
  await scheduler.runFor(5000);
  full.delete(1);
  assert.is(await cluster.run(first), 'DISK_FULL unknown');
  await cluster.run(another.put('b', '2'));
  assert.is((await cluster.run(client.get('first')))?.value.toString(), '1');
  assert.equal(lines, [BEGINS, ENDS]);
  await cluster.run(Promise.all([client.close(), another.close(), cluster.closeAll()]));
});

test('a leader that cannot write transfers leadership at once; writes go on', async () => {
  const { lines, logger } = spaceLog();
  const { cluster, full } = await started(2, 3, logger);
  const { scheduler } = cluster.world;
  const client = cluster.client();
  await cluster.run(client.put('a', '1'));
  const { leader } = cluster;
  const id = leader?.config.nodeId ?? 1;
  full.add(id);
  const wasMs = scheduler.nowMs();
  for (let i = 0; i < 20; i++) await cluster.run(client.put(`b${i}`, '1'));
  assert.is.not(cluster.leader, leader);
  assert.ok(scheduler.nowMs() - wasMs < 1000, `${scheduler.nowMs() - wasMs} ms`);
  full.delete(id);
  await scheduler.runFor(5000);
  assert.is(leader?.status(0).appliedIndex, cluster.leader?.status(0).appliedIndex);
  assert.equal(lines, [BEGINS, ENDS]);
  await cluster.run(Promise.all([client.close(), cluster.closeAll()]));
});

test('a node alone that can write no table takes nothing that it could not apply, also if its log has room', async () => {
  const { cluster, full } = await started(6, 1, silentLogger, true);
  const { scheduler } = cluster.world;
  const client = cluster.client();
  full.add(1);
  const outcomes: string[] = [];
  for (let i = 0; i < 60 && outcomes.at(-1) !== 'DISK_FULL notCommitted'; i++) {
    const wasMs = scheduler.nowMs();
    outcomes.push(await cluster.run(refusalOf(client.put(`a${i}`, LARGE))));
    // The client has waited for another leader.
    assert.ok(scheduler.nowMs() - wasMs < 4000, `${scheduler.nowMs() - wasMs} ms: ${outcomes.join()}`);
  }
  assert.is(outcomes.at(-1), 'DISK_FULL notCommitted');
  assert.ok(outcomes.length > 5 && outcomes.slice(0, -1).every((outcome) => outcome === 'done'));
  assert.ok((await cluster.run(client.get('a0')))?.value.equals(LARGE));
  full.delete(1);
  await scheduler.runFor(10_000);
  await cluster.run(client.put('b', '2'));
  await cluster.run(Promise.all([client.close(), cluster.closeAll()]));
});

test('a leader that can write no table gives leadership to a node that can', async () => {
  const { cluster, full } = await started(8, 3, silentLogger, true);
  const { scheduler } = cluster.world;
  const client = cluster.client();
  await cluster.run(client.put('a', '1'));
  const { leader } = cluster;
  full.add(leader?.config.nodeId ?? 1);
  for (let i = 0; i < 60; i++) await cluster.run(client.put(`b${i}`, LARGE));
  assert.is.not(cluster.leader, leader);
  full.clear();
  await scheduler.runFor(10_000);
  assert.is(leader?.status(0).appliedIndex, cluster.leader?.status(0).appliedIndex);
  await cluster.run(Promise.all([client.close(), cluster.closeAll()]));
});

test('where most disks are full nothing is written, and nobody says that it was', async () => {
  const { cluster, full } = await started(4, 3, silentLogger);
  const { scheduler } = cluster.world;
  const client = cluster.client();
  await cluster.run(client.put('a', '1'));
  const id = cluster.leader?.config.nodeId ?? 1;
  const [other = 0] = [1, 2, 3].filter((one) => one !== id);
  full.add(id).add(other);
  const outcomes = await Promise.all(
    ['b', 'c'].map((key) => cluster.run(refusalOf(client.put(key, '1', { timeoutMs: 8000 })))),
  );
  assert.ok(!outcomes.includes('done'), outcomes.join());
  full.delete(other);
  await cluster.run(client.put('d', '1'));
  full.clear();
  await scheduler.runFor(5000);
  await cluster.run(client.put('e', '1'));
  await cluster.run(Promise.all([client.close(), cluster.closeAll()]));
});

test('a node starts on a full disk, serves what it holds, and takes writes when there is space', async () => {
  for (const stopped of ['closed', 'killed']) {
    const { cluster, full } = await started(5, 1, silentLogger);
    const client = cluster.client();
    await cluster.run(client.put('a', '1'));
    if (stopped === 'closed') await cluster.run(cluster.closeAll());
    cluster.kill(1);
    full.add(1);
    await cluster.run(cluster.start(1));
    // Of a node that was killed it is in the Raft log: it counts when a leader can write.
    const known = (await cluster.run(client.get('a', { stale: true })))?.value.toString();
    if (stopped === 'closed') assert.is(known, '1');
    full.delete(1);
    await cluster.world.scheduler.runFor(5000);
    await cluster.run(client.put('b', '2'));
    assert.is((await cluster.run(client.get('a')))?.value.toString(), '1');
    await cluster.run(Promise.all([client.close(), cluster.closeAll()]));
  }
});

test('a node whose folder is empty cannot begin on a full disk, and says so', async () => {
  const fault = ({ kind, path }: FileOperation) =>
    kind === 'write' ? systemError('ENOSPC', kind, path) : undefined;
  const cluster = new SimulatedCluster(5, { size: 1, logger: silentLogger, fault });
  const refusal = await cluster.run(cluster.start(1)).catch((error: unknown) => error);
  assert.is(errorCode(refusal), 'DISK_FULL');
  assert.match(
    errorMessage(refusal),
    /^the disk of the data folder \/data is full.*free some space and start it again/,
  );
});

test.run();
