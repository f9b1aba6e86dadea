/** What a node tells of its groups. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeError } from '../../src/env/errors.js';
import { parseNodeConfig } from '../../src/server/config.js';
import { statusReply } from '../../src/server/status.js';

test('a group that has failed is named, with the reason; the others are counted', () => {
  const config = parseNodeConfig(
    {
      ...{ clusterId: 'c', nodeId: 1, dataDirectory: '/data' },
      nodes: [{ id: 1, client: '127.0.0.1:7001', peer: '127.0.0.1:7101' }],
    },
    'test',
    '/',
  );
  const cause = new RaftreeError('CORRUPTION', 'table 7 is damaged');
  const failure = new RaftreeError('REPLICA_FAILED', 'this replica stopped: table 7 is damaged', { cause });
  const reply = statusReply(
    {
      config,
      membership: { members: [], removedBy: 0, find: () => undefined },
      peers: {
        isHeard: () => false,
        isConnected: () => false,
        heardMsAgo: () => undefined,
        problemOf: () => '',
      },
      tablets: { all: [], clusterGroup: undefined, get: () => undefined },
      store: {
        quietGroups: 1,
        logSyncs: 9,
        groups: [
          { id: 1, failure: undefined },
          { id: 2, failure },
        ],
      },
      peerAddress: undefined,
    },
    1,
  );
  if (!reply) throw new Error('tablet 0 is always there');
  const { groups, quietGroups, failedGroups, logSyncs } = reply;
  assert.equal([groups, quietGroups, logSyncs], [2, 1, 9]);
  assert.equal(failedGroups, [
    { group: 2, code: 'CORRUPTION', message: 'this replica stopped: table 7 is damaged' },
  ]);
});

test.run();
