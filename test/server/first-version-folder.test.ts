/** A data folder of the first version, opened by this one: its log entries mean what they meant. */
import { gunzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Direct } from '../../src/sim/cluster/direct.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';
import type { SimDisk } from '../../src/sim/world/disk.js';
import { FIRST_VERSION_FOLDER } from './first-version-folder.js';

function put(disk: SimDisk, path: string, content: Buffer): void {
  const files = disk.mount({});
  const folders = path.split('/').slice(1, -1);
  for (let depth = 1; depth <= folders.length; depth++)
    files.makeDirectory(`/${folders.slice(0, depth).join('/')}`);
  const file = files.open(path, 'create');
  file.writeSync([content], 0);
  file.close();
}

test('a node goes on from the first version’s log: keys, versions, sessions and what was repeated', async () => {
  const cluster = new SimulatedCluster(5, { size: 1, hasSecret: false });
  const { disk } = cluster.machine(1);
  for (const [path, content] of FIRST_VERSION_FOLDER)
    put(disk, path, gunzipSync(Buffer.from(content, 'base64')));
  await cluster.run(cluster.startAll());
  assert.is(
    String((await cluster.run(cluster.client().get('a')))?.value),
    '12',
    'the client waits for a leader',
  );
  const direct = new Direct(cluster.host('client').env);
  const ask = async (request: Parameters<Direct['ask']>[1]) => {
    const answer = await cluster.run(direct.ask('n1:7001', request));
    assert.ok(typeof answer !== 'string', String(answer));
    return answer;
  };
  const operation = { condition: 'always', conditionValue: Buffer.alloc(0), conditionVersion: 0 } as const;
  const append = (sequence: number) =>
    ask({
      ...{ type: 'write', tablet: 0, sessionId: 3, sequence, acknowledgedThrough: 1, after: 0 },
      operations: [{ ...operation, action: 'append', key: Buffer.from('a'), value: Buffer.from('!') }],
    });

  const scanned = await ask({
    ...{ type: 'scan', tablet: 0, consistency: 'linearizable', from: Buffer.alloc(0), to: undefined },
    ...{ limit: 0, reverse: false, keysOnly: false },
  });
  assert.ok(scanned.type === 'scanReply');
  assert.equal(
    scanned.entries.map(({ key, version, value }) => [key.toString('hex'), version, value.toString('hex')]),
    [
      ['00ff80', 7, 'ff00'],
      ['61', 5, '3132'],
      ['64', 10, '79'],
    ],
  );
  for (const [sequence, applied, index] of [
    [2, false, 6],
    [3, true, 5],
  ] as const) {
    const repeated = await append(sequence);
    assert.ok(repeated.type === 'writeReply');
    assert.equal([repeated.applied, repeated.index], [applied, index], `sequence ${sequence}, repeated`);
  }
  const next = await append(4);
  assert.ok(next.type === 'writeReply' && next.applied && next.index > 10);
  const found = await ask({
    type: 'get',
    tablet: 0,
    consistency: 'linearizable',
    key: Buffer.from('a'),
    omitValue: false,
  });
  assert.ok(found.type === 'getReply');
  assert.is(found.value.toString(), '12!');
});

test.run();
