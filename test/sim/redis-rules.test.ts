/** Each rule about what clients of Redis are told can be broken. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkRedis, type RedisCall } from '../../src/sim/rules/redis-rules.js';
import type { References } from '../../src/sim/rules/references.js';

/** The rules that these calls of one connection break; `orders`: when the tokens took effect, if they did. */
function broken(
  calls: readonly (readonly [key: string, token: string, answer: RedisCall['answer']])[],
  orders: Readonly<Record<string, number>>,
): string[] {
  const effects = {
    of: (token: string) =>
      orders[token] === undefined ? undefined : { tablet: 1, index: 7, order: orders[token] },
  };
  const rules: string[] = [];
  checkRedis(
    calls.map(([key, token, answer]) => ({ connection: 'r.1', key, token, answer })),
    { effects } as unknown as References,
    (rule) => rules.push(rule),
  );
  return rules;
}

test('what is answered with OK is there, what is refused is not, and the rest may be', () => {
  assert.equal(broken([['r1', 'a', 'ok']], {}), ['durability']);
  assert.equal(broken([['r1', 'a', 'notCommitted']], { a: 1 }), ['exact outcomes']);
  assert.equal(
    broken(
      [
        ['r1', 'a', 'unknown'],
        ['r1', 'b', 'unknown'],
        ['r1', 'c', 'ok'],
      ],
      { b: 1, c: 2 },
    ),
    [],
  );
});

test('writes of a connection to a key take effect in their order', () => {
  const two = (key: string) =>
    [
      ['r1', 'a', 'unknown'],
      [key, 'b', 'ok'],
    ] as const;
  assert.equal(broken(two('r1'), { a: 2, b: 1 }), ['order of calls']);
  assert.equal(broken(two('r1'), { a: 1, b: 2 }), []);
  assert.equal(broken(two('r2'), { a: 2, b: 1 }), [], 'of two keys, perhaps in two tablets, nothing is said');
});

test.run();
