/** Targets of requests: no byte of a key is lost, and what is no target is refused. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseTarget, type RequestTarget } from '../../../src/doors/http/request-target.js';

function parsed(target: string): RequestTarget {
  const result = parseTarget(target);
  if (typeof result === 'string') throw new Error(result);
  return result;
}

test('every key comes through, whatever its bytes are', () => {
  for (const key of [
    Buffer.from('a/b?c=d&e#f%20'),
    Buffer.from('..'),
    Buffer.from('.'),
    Buffer.from('ä€😀'),
    Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
    Buffer.alloc(0),
  ]) {
    const encoded = [...key].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
    const { segments, query } = parsed(`/v1/kv/${encoded}?from=${encoded}`);
    assert.equal(segments[2], key);
    assert.equal(Buffer.from(query.get('from') ?? '', 'latin1'), key);
  }
  assert.equal(parsed('/v1/kv/a+b').segments[2], Buffer.from('a+b'), 'a plus is a plus in a path');
  assert.is(parsed('/?a=b+c%2B').query.get('a'), 'b c+', 'and a space in a query, as in forms');
  assert.equal(parsed('/a//b').segments.map(String), ['a', '', 'b'], 'nothing is made shorter');
});

test('targets in absolute form are taken', () => {
  assert.equal(parsed('http://host:80/v1/kv/a?limit=1').segments.map(String), ['v1', 'kv', 'a']);
});

test('what is no target is refused', () => {
  for (const target of ['/v1/kv/%', '/v1/kv/%4', '/v1/kv/%zz', '/?a=%', '/?%=a', '*', '', 'host:80'])
    assert.type(parseTarget(target), 'string', target);
  assert.match(String(parseTarget('/?a=1&a=2')), 'twice');
});

test('a query may have names without values, and empty parts', () => {
  assert.equal(
    [...parsed('/?keys&&a=&b=c=d?e').query],
    [
      ['keys', ''],
      ['a', ''],
      ['b', 'c=d?e'],
    ],
  );
});

test.run();
