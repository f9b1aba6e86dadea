/** Data folders that cannot or must not be used: refused with a clear error, or mended and said so. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Logger } from '../../src/env/env.js';
import { RaftreeError } from '../../src/env/errors.js';
import { SimulatedCluster, type SimulatedClusterOptions } from '../../src/sim/cluster/simulated-cluster.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { systemError } from '../../src/sim/world/file-operation.js';

async function refusal(cluster: SimulatedCluster): Promise<RaftreeError> {
  try {
    await cluster.run(cluster.start(1));
  } catch (error) {
    assert.instance(error, RaftreeError, String(error));
    return error as RaftreeError;
  }
  throw new Error('the node started');
}

/** One node that has run and written, then was killed. */
async function usedFolder(
  options: SimulatedClusterOptions = {},
): Promise<{ cluster: SimulatedCluster; disk: SimDisk }> {
  const cluster = new SimulatedCluster(1, { size: 1, ...options });
  await cluster.run(cluster.startAll());
  const client = cluster.client();
  for (let i = 0; i < 20; i++) await cluster.run(client.put(`key ${i}`, `value ${i}`));
  cluster.kill(1);
  return { cluster, disk: cluster.machine(1).disk };
}

for (const code of ['EROFS', 'EACCES']) {
  test(`a data folder that cannot be written (${code})`, async () => {
    const cluster = new SimulatedCluster(1, {
      size: 1,
      fault: ({ kind, path }) =>
        kind === 'mkdir' || kind === 'create' ? systemError(code, kind, path) : undefined,
    });
    const error = await refusal(cluster);
    assert.is(error.code, 'DATA_DIRECTORY');
    assert.match(error.message, new RegExp(`/data cannot be written: ${code}.*dataDirectory`));
  });
}

test('a data folder of another node, or of another cluster', async () => {
  for (const change of [
    { clusterId: 'other' },
    { nodeId: 2, nodes: [{ id: 2, client: 'n1:7001', peer: 'n1:7101' }] },
  ]) {
    const { cluster } = await usedFolder();
    const other = new SimulatedCluster(2, { size: 1, config: change });
    other.machine(1).disk = cluster.machine(1).disk;
    const error = await refusal(other);
    assert.is(error.code, 'IDENTITY_MISMATCH');
    assert.match(error.message, /belongs to node 1 of cluster "simulated"/);
  }
});

test('a data folder that a living process holds; one whose holder was killed is taken over', async () => {
  const cluster = new SimulatedCluster(1, { size: 1 });
  await cluster.run(cluster.startAll());
  const error = await refusal(cluster);
  assert.is(error.code, 'LOCKED');
  assert.match(error.message, /in use by process \d+/);
  cluster.kill(1);
  await cluster.run(cluster.start(1));
});

test('the members are those of the log: node.json names only the first ones', async () => {
  const { cluster } = await usedFolder();
  const nodes = [1, 2, 3].map((id) => ({ id, client: `n${id}:7001`, peer: `n${id}:7101` }));
  const other = new SimulatedCluster(2, { size: 1, config: { nodes } });
  other.machine(1).disk = cluster.machine(1).disk;
  const node = await other.run(other.start(1));
  const client = other.client();
  await other.run(client.put('key 0', 'written by node 1 alone'));
  const { voters, learners, peers } = node.status(0);
  assert.equal({ voters, learners, peers }, { voters: [1], learners: [], peers: [] });
});

/** Up to the last byte that is not zero: logs are written ahead with zeros. */
function usedBytes(content: Buffer): number {
  let end = content.length;
  while (end > 0 && content[end - 1] === 0) end--;
  return end;
}

const LOGS = [
  { name: 'Raft', path: '/data/raft/raft-00000001.log', config: {} },
  {
    name: 'WAL',
    path: '/data/groups/1/state-0-0/wal-00000001.log',
    config: { storage: { treeLog: 'buffered' } },
  },
] as const;

for (const { name, path, config } of LOGS) {
  test(`a torn last ${name} record is cut off, and that is said`, async () => {
    const warnings: string[] = [];
    const note = (_fields: unknown, message: string) => warnings.push(message);
    const logger: Logger = { debug() {}, info() {}, warn: note, error: note };
    const { cluster, disk } = await usedFolder({ config, logger });
    disk.edit(path, (content) => content.subarray(0, usedBytes(content) - 9));
    warnings.length = 0;
    await cluster.run(cluster.start(1));
    assert.ok(
      warnings.some((message) => /torn|discarded|cut off/.test(message)),
      warnings.join('\n'),
    );
    const client = cluster.client();
    assert.is((await cluster.run(client.get('key 18')))?.value.toString(), 'value 18');
  });
}

test('a flipped byte in the middle of a synced Raft record is refused, with file and offset', async () => {
  const { cluster, disk } = await usedFolder();
  let at = 0;
  disk.edit('/data/raft/raft-00000001.log', (content) => {
    at = usedBytes(content) >> 1;
    content[at] = (content[at] ?? 0) ^ 0x40;
    return content;
  });
  const error = await refusal(cluster);
  assert.is(error.code, 'CORRUPTION');
  assert.match(error.message, /raft-00000001\.log is damaged at offset \d+/);
  const { offset } = error.info as { offset: number };
  assert.ok(offset <= at && at - offset < 1024, `offset ${offset} is that of the record around ${at}`);
});

test('a damaged identity or an empty one is refused, never replaced by a new one', async () => {
  for (const damage of ['', '{"clusterId":', '{}']) {
    const { cluster, disk } = await usedFolder();
    disk.edit('/data/identity.json', () => Buffer.from(damage));
    assert.is((await refusal(cluster)).code, 'CORRUPTION');
  }
});

test('ledger 11: a node that lost its data folder is not let in again under its old id: it neither follows nor votes', async () => {
  const cluster = new SimulatedCluster(1);
  await cluster.run(cluster.startAll());
  const client = cluster.client();
  await cluster.run(client.put('a', '1'));
  cluster.kill(3);
  cluster.machine(3).disk = new SimDisk();
  await cluster.run(cluster.start(3));
  await cluster.world.scheduler.runFor(10_000);
  const status = cluster.nodes[2]?.status(0);
  assert.is(status?.leaderId, 0, 'it follows nobody');
  assert.is(status?.lastIndex, 0, 'it received nothing');
  await cluster.run(client.put('a', '2'));
  // Two of three run, and one of them has forgotten what it voted and acknowledged.
  cluster.kill(cluster.leader === cluster.nodes[0] ? 1 : 2);
  await cluster.world.scheduler.runFor(10_000);
  assert.is(cluster.leader, undefined);
});

test.run();
