/** `/v1/balance`: what the balancer does, what it would do next, and why (GET); it is switched on or off (PUT). */
import type { Backend } from '../backend.js';
import { json } from './answer.js';
import type { HttpRequest } from './request.js';
import { checked, operation, type Route } from './route.js';
import { balanceAnswer, balanceBody, noQuery } from './schemas.js';

const MAX_BODY_BYTES = 1024;

export interface BalanceRouteParts {
  readonly backend: Pick<Backend, 'balance'>;
  /** Throws a Refusal if the caller may not administrate. */
  readonly admit: (request: HttpRequest) => void;
}

export function balanceRoute({ backend, admit }: BalanceRouteParts): Route {
  const answers = { 200: { description: 'The balancer', content: balanceAnswer } } as const;
  return {
    path: '/v1/balance',
    operations: {
      GET: operation({
        id: 'getBalance',
        summary: 'What the balancer does, what it would do next, and why',
        query: noQuery,
        answers,
        handle: async (request) => {
          admit(request);
          return json(balanceAnswer.parse(await backend.balance('show')));
        },
      }),
      PUT: operation({
        id: 'setBalance',
        summary: 'Switches the balancer on or off, for all nodes',
        query: noQuery,
        body: balanceBody,
        answers,
        handle: async (request) => {
          admit(request);
          const body = await request.json(MAX_BODY_BYTES);
          const { isOn } = checked(balanceBody, body, 'INVALID_REQUEST');
          return json(balanceAnswer.parse(await backend.balance(isOn ? 'on' : 'off')));
        },
      }),
    },
  };
}
