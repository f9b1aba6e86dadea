/** `/v1/nodes`: what is told of nodes that answer, that are silent, and that are another node. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { NodeLoad, NodeStatus } from '../../../src/client/client.js';
import { nodesRoutes } from '../../../src/doors/http/nodes-route.js';
import { type HttpRequest, Refusal } from '../../../src/doors/http/request.js';
import { drainedAnswer, nodesAnswer } from '../../../src/doors/http/schemas.js';
import type { OutboundOf } from '../../../src/protocol/messages.js';
import { SAMPLES } from '../../protocol/samples.js';

const SAMPLE = SAMPLES.statusReply as OutboundOf<'statusReply'>;
const LOAD = SAMPLES.loadReply as OutboundOf<'loadReply'>;

function statusOf(nodeId: number): NodeStatus {
  return { ...(SAMPLE as unknown as NodeStatus), nodeId };
}

const drained: (readonly [number, boolean])[] = [];
const [route, drainRoute] = nodesRoutes({
  isDraining: (node) => node === 3,
  backend: {
    drainNode: async (node, drains) => {
      drained.push([node, drains]);
      return node === 3 && !drains;
    },
  },
  admit: ({ caller }) => {
    if (!caller.rights.administrate) throw new Refusal('NOT_PERMITTED', 'no operator');
  },
  status: () => ({
    ...statusOf(1),
    ...{ clientAddress: 'h:1', peerAddress: 'h:101', voters: [1, 2, 3], outgoing: [], learners: [4] },
    peers: [2, 3, 4].map((id) => ({
      ...{ nodeId: id, clientAddress: id === 4 ? '' : `h:${id}`, peerAddress: `h:10${id}`, matchIndex: 0 },
      ...{ reachable: id === 2, heardMsAgo: id === 2 ? 40 : undefined, problem: id === 3 ? 'refused' : '' },
    })),
  }),
  cluster: {
    status: async (address) => {
      if (address === 'h:3') throw new Error('nobody is there');
      return statusOf(address === 'h:1' ? 1 : 9);
    },
    load: async () => LOAD as unknown as NodeLoad,
  },
});

async function nodesFor(administrate: boolean) {
  const caller = { door: 'http', rights: { read: true, write: true, administrate } };
  const request = { caller, query: new Map() } as unknown as HttpRequest;
  const answer = await route?.operations.GET?.handle(request);
  return nodesAnswer.parse(JSON.parse(String(answer?.body))).nodes;
}

test('a node that answers tells of itself; one that is silent, or another node, is what is known here', async () => {
  const nodes = await nodesFor(false);
  assert.equal(
    nodes.map(({ id, role, state, heardMsAgo, problem, isDraining }) => [
      ...[id, role, state, heardMsAgo, problem],
      isDraining,
    ]),
    [
      [1, 'voter', 'answers', 0, '', false],
      [2, 'voter', 'silent', 40, '', false],
      [3, 'voter', 'silent', null, 'refused', true],
      [4, 'learner', 'silent', null, '', false],
    ],
  );
  const [own, impostor] = nodes;
  assert.equal(own?.tablets, { holds: SAMPLE.tablets, leads: SAMPLE.leads, failed: 1 });
  assert.equal([own?.version, own?.disk?.writtenBytes], [SAMPLE.version, LOAD.writtenBytes]);
  assert.equal([impostor?.version, impostor?.disk, impostor?.peer], [undefined, undefined, undefined]);
});

test('only an operator is told where nodes reach each other', async () => {
  assert.equal(
    (await nodesFor(true)).map(({ peer }) => peer),
    ['h:101', 'h:102', 'h:103', 'h:104'],
  );
});

test('an operator drains a node, and lets it take part again', async () => {
  const ask = async (method: 'POST' | 'DELETE', id: string, administrate = true) => {
    const caller = { door: 'http', rights: { read: true, write: true, administrate } };
    const request = { caller, query: new Map(), parameters: [Buffer.from(id)] } as unknown as HttpRequest;
    try {
      const answer = await drainRoute?.operations[method]?.handle(request);
      return drainedAnswer.parse(JSON.parse(String(answer?.body))).changed;
    } catch (error) {
      if (error instanceof Refusal) return (JSON.parse(String(error.answer.body)) as { code: string }).code;
      throw error;
    }
  };
  assert.equal(await ask('POST', '2', false), 'NOT_PERMITTED');
  assert.equal(await ask('POST', 'x'), 'INVALID_REQUEST');
  assert.equal([await ask('POST', '3'), await ask('DELETE', '3')], [false, true]);
  assert.equal(drained, [
    [3, true],
    [3, false],
  ]);
});

test.run();
