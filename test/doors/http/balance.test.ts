/** `/v1/balance`: what is told, and who may switch it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { balanceRoute } from '../../../src/doors/http/balance-route.js';
import { type HttpRequest, Refusal } from '../../../src/doors/http/request.js';
import { balanceAnswer } from '../../../src/doors/http/schemas.js';
import { SAMPLES } from '../../protocol/samples.js';

const actions: string[] = [];
const route = balanceRoute({
  backend: {
    balance: async (action) => {
      actions.push(action);
      return { ...(SAMPLES.balanceReply as object), type: 'balance', isOn: action === 'on' } as never;
    },
  },
  admit: ({ caller }) => {
    if (!caller.rights.administrate) throw new Refusal('NOT_PERMITTED', 'no operator');
  },
});

async function ask(method: 'GET' | 'PUT', body?: object, administrate = true) {
  const caller = { door: 'http', rights: { read: true, write: true, administrate } };
  const request = { caller, query: new Map(), parameters: [], json: async () => body };
  try {
    const answer = await route.operations[method]?.handle(request as unknown as HttpRequest);
    return balanceAnswer.parse(JSON.parse(String(answer?.body)));
  } catch (error) {
    if (error instanceof Refusal) return (JSON.parse(String(error.answer.body)) as { code: string }).code;
    throw error;
  }
}

test('an operator is told what moves and why, and switches the balancer; nobody else is or does', async () => {
  assert.is(await ask('GET', undefined, false), 'NOT_PERMITTED');
  assert.is(await ask('PUT', { isOn: false }, false), 'NOT_PERMITTED');
  assert.is(await ask('PUT', {}), 'INVALID_REQUEST');
  assert.equal(actions, []);
  const told = await ask('GET');
  assert.ok(typeof told === 'object');
  assert.equal(told.steps, [{ kind: 'move', tablet: 5, from: 1, to: 4, reason: 'drain', state: 'underWay' }]);
  for (const isOn of [false, true]) assert.is(((await ask('PUT', { isOn })) as { isOn: boolean }).isOn, isOn);
  assert.equal(actions, ['show', 'off', 'on']);
});

test.run();
