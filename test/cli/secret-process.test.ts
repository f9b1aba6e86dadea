/** The cluster secret on the command line, against a real node. */
import * as fs from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { OTHER_SECRET, SECRET } from '../../src/sim/cluster/secrets.js';
import { ProcessCluster, raftree } from '../support/process-cluster.js';

test('members and leaders are changed with --secret-file or RAFTREE_CLUSTER_SECRET_FILE', async () => {
  const cluster = await ProcessCluster.create(1, { security: { clusterSecretFile: 'secret' } });
  const write = (name: string, content: string) => {
    fs.writeFileSync(`${cluster.directory}/${name}`, content, { mode: 0o600 });
    return `${cluster.directory}/${name}`;
  };
  const file = write('secret', `${SECRET}\n`);
  const transfer = ['transfer', '1', '--endpoints', cluster.endpoint(1), '--timeout', '60000'];
  try {
    await cluster.start(1);
    const [without, wrong, missing, right] = await Promise.all([
      raftree(transfer),
      raftree([...transfer, '--secret-file', write('wrong', OTHER_SECRET)]),
      raftree([...transfer, '--secret-file', 'nowhere']),
      raftree([...transfer, '--secret-file', file]),
    ]);
    assert.equal([without.code, wrong.code, missing.code, right.code], [3, 3, 2, 0]);
    assert.match(without.stderr, /NOT_PERMITTED/);
    assert.match(wrong.stderr, /SECRET_MISMATCH/);
    assert.match(missing.stderr, /nowhere does not exist \(INVALID_CONFIG\)/);
    process.env.RAFTREE_CLUSTER_SECRET_FILE = file;
    assert.is((await raftree(transfer)).code, 0);
  } finally {
    delete process.env.RAFTREE_CLUSTER_SECRET_FILE;
    await cluster.destroy();
  }
});

test('a node.json with a secret that every user may read is used, with a warning', async () => {
  const cluster = await ProcessCluster.create(1, { security: { clusterSecret: SECRET } });
  try {
    fs.chmodSync(cluster.configFile(1), 0o644);
    await cluster.start(1);
    assert.match(cluster.output(1), /every user of this machine can read node\.json/);
    assert.not.match(cluster.output(1), SECRET);
  } finally {
    await cluster.destroy();
  }
});

test.run();
