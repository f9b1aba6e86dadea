/** Changes of membership and of leadership, and reads of every level, as a client asks for them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type MemberChange,
  RaftreeClient,
  RaftreeClientError,
  type ReadLevel,
} from '../../src/client/index.js';
import type { MessageOf } from '../../src/protocol/messages.js';
import { clientFailure } from '../support/client-failure.js';
import { FakeCluster, type Fate } from './fake-cluster.js';

const ADDRESSES = { client: 'node4:7000', peer: 'node4:7100' };

async function open(seed: number): Promise<{ cluster: FakeCluster; client: RaftreeClient }> {
  const cluster = await FakeCluster.start(seed);
  const client = new RaftreeClient({ endpoints: cluster.endpoints, env: cluster.client.env });
  return { cluster, client };
}

/** The leader's first requests of a type meet these fates, one each. */
function fates(cluster: FakeCluster, type: string, ...list: Fate[]): void {
  cluster.script = (request, node) =>
    request.type === type && node === cluster.leader ? list.shift() : undefined;
}

function scenario(name: string, body: (client: RaftreeClient, cluster: FakeCluster) => Promise<void>): void {
  test(name, async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const { cluster, client } = await open(seed);
      await cluster.world.scheduler.run(body(client, cluster));
      await cluster.world.scheduler.run(client.close());
    }
  });
}

scenario('members are added, promoted and removed', async (client, cluster) => {
  const { index } = await client.changeMembers([{ type: 'addLearner', node: 4, ...ADDRESSES }]);
  assert.ok(index > 0);
  assert.equal([cluster.voters, cluster.learners], [[1, 2, 3], [4]]);
  await client.changeMembers([
    { type: 'promote', node: 4 },
    { type: 'remove', node: 2 },
  ]);
  assert.equal([cluster.voters, cluster.learners], [[1, 3, 4], []]);
  const sent = cluster.requests('changeMembers').map(({ request }) => request as MessageOf<'changeMembers'>);
  assert.equal(sent[0]?.changes, [
    { type: 'addLearner', nodeId: 4, clientAddress: 'node4:7000', peerAddress: 'node4:7100' },
  ]);
  assert.equal(sent.at(-1)?.changes.at(-1), {
    type: 'remove',
    nodeId: 2,
    clientAddress: '',
    peerAddress: '',
  });
});

scenario('the leader is asked, wherever it is', async (client, cluster) => {
  cluster.leader = 3;
  await client.changeMembers([{ type: 'remove', node: 2 }]);
  cluster.leader = 1;
  await client.changeMembers([{ type: 'promote', node: 2 }]);
  assert.equal(cluster.voters, [1, 2, 3]);
});

scenario('a change that waits for another is tried until there is no time left', async (client, cluster) => {
  fates(cluster, 'changeMembers', 'CHANGE_PENDING', 'CHANGE_PENDING', 'CHANGE_PENDING');
  await client.changeMembers([{ type: 'remove', node: 2 }]);
  assert.equal(cluster.voters, [1, 3]);
  cluster.script = (request) => (request.type === 'changeMembers' ? 'CHANGE_PENDING' : undefined);
  const before = cluster.seen.length;
  const error = await clientFailure(client.changeMembers([{ type: 'remove', node: 3 }], { timeoutMs: 2000 }));
  assert.equal([error.code, error.outcome], ['TIMEOUT', 'notCommitted']);
  assert.match(error.message, 'CHANGE_PENDING');
  assert.ok(cluster.seen.slice(before).every(({ node }) => node === cluster.leader));
});

scenario('a change that the membership does not allow was certainly not made', async (client) => {
  const all = [1, 2, 3].map((node) => ({ type: 'remove', node }) as const);
  const error = await clientFailure(client.changeMembers(all));
  assert.equal([error.code, error.outcome], ['CHANGE_INVALID', 'notCommitted']);
});

scenario('no answer: the outcome is unknown, whatever later attempts are told', async (client, cluster) => {
  const remove = [{ type: 'remove', node: 2 }] as const;
  cluster.script = (request) => (request.type === 'changeMembers' ? 'silent before' : undefined);
  const late = await clientFailure(client.changeMembers(remove, { timeoutMs: 3000 }));
  assert.equal([late.code, late.outcome], ['TIMEOUT', 'unknown']);
  fates(cluster, 'changeMembers', 'break after', 'CHANGE_INVALID');
  const again = await clientFailure(client.changeMembers(remove));
  assert.equal([again.code, again.outcome], ['CHANGE_INVALID', 'unknown']);
  assert.equal(cluster.voters, [1, 3]);
  fates(cluster, 'changeMembers', 'LEADERSHIP_LOST', 'CHANGE_PENDING');
  await client.changeMembers([{ type: 'promote', node: 2 }]);
  assert.equal(cluster.voters, [1, 2, 3]);
});

scenario('a change is sent again, whether or not it was carried out', async (client, cluster) => {
  fates(cluster, 'changeMembers', 'break before', 'break after');
  await client.changeMembers([{ type: 'remove', node: 2 }]);
  assert.equal(cluster.voters, [1, 3]);
});

/** Another operator puts everything back, between the change that a client lost sight of and its repetition. */
function changedBetween(cluster: FakeCluster, first: Fate, change: () => void): void {
  let attempts = 0;
  cluster.script = (request, node) => {
    if (request.type !== 'changeMembers' || node !== cluster.leader) return undefined;
    attempts++;
    if (attempts === 1) return first;
    if (attempts === 2) {
      change();
      cluster.configurationIndex = ++cluster.index;
    }
    return undefined;
  };
}

scenario('a repetition does not undo what another operator did since', async (client, cluster) => {
  changedBetween(cluster, 'break after', () => {
    cluster.voters = [1, 2, 3];
  });
  const error = await clientFailure(client.changeMembers([{ type: 'remove', node: 2 }]));
  assert.equal([error.code, error.outcome], ['CHANGE_CONFLICT', 'unknown']);
  assert.match(error.message, 'another operator');
  assert.equal(cluster.voters, [1, 2, 3]);
});

scenario('a repetition is not needed where all is as asked for', async (client, cluster) => {
  changedBetween(cluster, 'break after', () => {
    cluster.learners = [9];
  });
  const { index } = await client.changeMembers([{ type: 'remove', node: 2 }]);
  assert.is(index, cluster.configurationIndex);
  assert.equal([cluster.voters, cluster.learners], [[1, 3], [9]]);
});

scenario('what is asked for must be so to the last detail', async (client, cluster) => {
  const others = { matchIndex: 0, reachable: true, heardMsAgo: 0, problem: '' };
  const expected = async (change: MemberChange | MemberChange[], isThere: boolean, set: () => void) => {
    Object.assign(cluster, { voters: [1, 2, 3], learners: [], peers: [] });
    changedBetween(cluster, 'break before', set);
    const answer = await client.changeMembers([change].flat()).then(
      () => true,
      (error: RaftreeClientError) => error.code,
    );
    assert.is(answer, isThere ? true : 'CHANGE_CONFLICT');
  };
  const set = (state: Partial<Pick<FakeCluster, 'voters' | 'learners' | 'peers'>>) => () =>
    void Object.assign(cluster, state);
  const four = { nodeId: 4, clientAddress: ADDRESSES.client, peerAddress: ADDRESSES.peer, ...others };
  const elsewhere = { ...four, peerAddress: 'node5:7100' };
  await expected({ type: 'demote', node: 4 }, true, set({ learners: [4] }));
  await expected({ type: 'demote', node: 4 }, false, set({ voters: [1, 2, 3, 4] }));
  await expected({ type: 'promote', node: 4 }, true, set({ voters: [1, 2, 3, 4] }));
  await expected({ type: 'promote', node: 4 }, false, set({ learners: [4] }));
  await expected({ type: 'remove', node: 4 }, false, set({ learners: [4] }));
  await expected({ type: 'remove', node: 2 }, false, set({}));
  const swap: MemberChange[] = [
    { type: 'promote', node: 4 },
    { type: 'remove', node: 2 },
  ];
  await expected(swap, true, set({ voters: [1, 3, 4] }));
  await expected(swap, false, set({ voters: [1, 2, 3, 4] }));
  await expected(swap, false, set({ voters: [1, 3] }));
  const twice: MemberChange[] = [
    { type: 'promote', node: 4 },
    { type: 'demote', node: 4 },
  ];
  await expected(twice, true, set({ learners: [4] }));
  const add = { type: 'addLearner', node: 4, ...ADDRESSES } as const;
  await expected(add, true, set({ learners: [4], peers: [four] }));
  await expected(add, false, set({ learners: [4], peers: [elsewhere] }));
  await expected(add, false, set({ learners: [4], peers: [{ ...four, clientAddress: 'node5:7000' }] }));
  const { leader } = cluster;
  await expected({ type: 'update', node: leader, client: cluster.endpoint(leader) }, true, set({}));
  await expected({ type: 'update', node: leader, client: 'node5:7000' }, false, set({}));
  await expected({ type: 'update', node: leader, peer: 'node5:7100' }, false, set({}));
});

scenario('whoever comes second, with nothing of its own in a log, asks anew', async (client, cluster) => {
  let others = 3;
  cluster.script = (request, node) => {
    if (request.type === 'changeMembers' && node === cluster.leader && others-- > 0) {
      cluster.learners = [...cluster.learners, 10 + others];
      cluster.configurationIndex = ++cluster.index;
    }
    return undefined;
  };
  await client.changeMembers([{ type: 'remove', node: 2 }]);
  assert.equal(
    [cluster.voters, cluster.learners],
    [
      [1, 3],
      [12, 11, 10],
    ],
  );
});

scenario('the configuration is the leader’s, when no change is half done', async (client, cluster) => {
  cluster.outgoing = [1, 2];
  cluster.leader = 2;
  let waited = 0;
  cluster.script = (request, node) => {
    if (request.type === 'status' && node === 2 && ++waited === 3) cluster.outgoing = [];
    return request.type === 'changeMembers' && cluster.outgoing.length > 0 ? 'CHANGE_INVALID' : undefined;
  };
  await client.changeMembers([{ type: 'remove', node: 3 }]);
  assert.is(waited, 3);
  const sent = cluster.requests('changeMembers').map(({ node, request }) => ({ node, request }));
  assert.equal(
    sent.map(({ node }) => node),
    [2],
  );
  assert.ok(sent[0]?.request.type === 'changeMembers' && sent[0].request.expectedIndex === 0);
});

scenario('a change that takes its time is not sent again meanwhile', async (client, cluster) => {
  fates(cluster, 'changeMembers', 'hold');
  cluster.world.scheduler.after(8000, () => cluster.held.pop()?.());
  await client.changeMembers([{ type: 'remove', node: 2 }]);
  assert.is(cluster.requests('changeMembers').filter(({ node }) => node === cluster.leader).length, 1);
});

scenario('leadership is transferred', async (client, cluster) => {
  await client.transferLeadership(3);
  assert.is(cluster.leader, 3);
  fates(cluster, 'transferLeader', 'break after');
  await client.transferLeadership(2);
  assert.is(cluster.leader, 2);
  cluster.script = (request) => (request.type === 'transferLeader' ? 'TRANSFER_FAILED' : undefined);
  const failed = await clientFailure(client.transferLeadership(1));
  assert.equal([failed.code, failed.outcome], ['TRANSFER_FAILED', 'unknown']);
  cluster.script = (request) => (request.type === 'transferLeader' ? 'CHANGE_INVALID' : undefined);
  const invalid = await clientFailure(client.transferLeadership(9));
  assert.equal([invalid.code, invalid.outcome], ['CHANGE_INVALID', 'notCommitted']);
});

scenario('what cannot be asked for is refused before it is sent', async (client, cluster) => {
  const bad = [
    client.changeMembers([]),
    client.changeMembers([{ type: 'remove', node: 0 }]),
    client.changeMembers([{ type: 'addVoter', node: 4, client: 'node4:7000', peer: '' }]),
    client.changeMembers([{ type: 'update', node: 4 }]),
    client.changeMembers([{ type: 'addVoter', node: 4, client: 'node4:7000', peer: 'nowhere' }]),
    client.get('k', { level: 'lease', stale: true }),
    client.get('k', { level: 'lease', endpoint: cluster.endpoint(1) }),
  ];
  for (const attempt of bad) assert.is((await clientFailure(attempt)).code, 'INVALID_REQUEST');
  assert.equal(cluster.seen, []);
});

scenario(
  'each level of reading asks for its consistency, and the leader or any node',
  async (client, cluster) => {
    await client.put('k', 'v');
    cluster.leader = 2;
    const levels: readonly ReadLevel[] = ['linearizable', 'lease', 'follower', 'stale'];
    for (const level of levels) {
      for (const endpoint of level === 'linearizable' || level === 'lease'
        ? [undefined]
        : cluster.endpoints) {
        cluster.seen.length = 0;
        const where = endpoint === undefined ? {} : { endpoint };
        assert.is((await client.get('k', { level, ...where }))?.value.toString(), 'v');
        for await (const { key } of client.scan({ level, ...where })) assert.is(key.toString(), 'k');
        for (const { node, request } of cluster.seen) {
          assert.ok('consistency' in request && request.consistency === level);
          if (endpoint !== undefined) assert.is(cluster.endpoint(node), endpoint);
        }
        assert.is(
          cluster.seen.filter(({ node }) => node === 2).length > 0,
          (endpoint ?? 'node2:7000') === 'node2:7000',
        );
      }
    }
  },
);

scenario('a follower that cannot confirm a read is left for another node', async (client, cluster) => {
  await client.put('k', 'v');
  let lost = 0;
  cluster.script = (request, node) => {
    if (request.type !== 'get' || node === 3) return undefined;
    lost++;
    return 'LEADERSHIP_LOST';
  };
  for (let i = 0; i < 3; i++) assert.ok(await client.get('k', { level: 'follower' }));
  assert.ok(lost <= 2, `${lost} attempts failed`);
});

scenario(
  'a change that waits for another until its time is up ends as any call does',
  async (client, cluster) => {
    cluster.outgoing = [1, 2];
    const ended = client.changeMembers([{ type: 'remove', node: 3 }], { timeoutMs: 300 });
    const error = await ended.catch((failure: unknown) => failure);
    assert.instance(error, RaftreeClientError, String(error));
    assert.is((error as RaftreeClientError).outcome, 'notCommitted');
  },
);

test.run();
