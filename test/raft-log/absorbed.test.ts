/** What is absorbed may be going at the same moment. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { configurationOf } from '../../src/raft/configuration.js';
import { RaftLog } from '../../src/raft-log/raft-log.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { SimWorld } from '../../src/sim/world/world.js';

test('a group that is being removed is absorbed by none: the log can be opened again', async () => {
  const world = new SimWorld(1);
  const disk = new SimDisk();
  const open = () => {
    const { env } = world.start('n1', disk, { latency: () => world.scheduler.sleep(1) });
    if (!env.fs.exists('/raft')) env.fs.makeDirectory('/raft');
    return RaftLog.open({
      ...{ env, directory: '/raft', maxSegmentBytes: 1e6, maxGroupCommitBytes: 1e5, maxCachedBytes: 1e5 },
      preallocateBytes: 0,
    });
  };
  const log = open();
  const base = { index: 1, term: 1, configuration: configurationOf([1]), directory: 'state-1-1' };
  for (const id of [1, 2]) await world.scheduler.run(log.createGroup(id, base));
  const removed = log.removeGroup(2);
  const succeeded = log.succeed(1, [{ id: 3, base }], [2]).catch((error: Error) => error);
  await world.scheduler.run(Promise.all([removed, succeeded]));
  await world.scheduler.run(log.close());
  const again = open();
  assert.ok(!again.groupIds.includes(2));
});

test.run();
