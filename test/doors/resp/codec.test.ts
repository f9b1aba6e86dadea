/** Commands and replies as bytes: cut anywhere, too large, hostile. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  ErrorReply,
  encodeReply,
  MapReply,
  NO_ARRAY,
  OK,
  type Reply,
} from '../../../src/doors/resp/codec/reply.js';
import { ProtocolError, RequestParser } from '../../../src/doors/resp/codec/request-parser.js';
import { globPrefix, matchesGlob } from '../../../src/doors/resp/glob.js';
import { SeededRandom } from '../../../src/sim/world/seeded-random.js';

const LIMITS = { maxArguments: 16, maxArgumentBytes: 1000, maxCommandBytes: 2000 };

function parse(chunks: readonly Buffer[], limits = LIMITS): string[] {
  const parser = new RequestParser(limits);
  const found: string[] = [];
  try {
    for (const chunk of chunks) {
      parser.push(chunk);
      for (let command = parser.next(); command; command = parser.next())
        found.push(command.map((each) => each.toString('latin1')).join('|'));
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    found.push(error.message);
    assert.throws(() => parser.next(), /Protocol error/);
  }
  return found;
}

function of(text: string): string[] {
  return parse([Buffer.from(text, 'latin1')]);
}

function cut(bytes: Buffer, random: SeededRandom): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + (random.uint32() % 7);
    chunks.push(bytes.subarray(at, end));
    at = end;
  }
  return chunks;
}

test('commands are the same wherever the bytes are cut', () => {
  const random = new SeededRandom(7);
  const text =
    '*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*0\r\n\r\nPING "a b" \'c\\\'d\' "\\x41\\n"\r\n*3\r\n$3\r\nSET\r\n$0\r\n\r\n$5\r\na\r\nb\0\r\n*-1\r\nECHO x\n';
  const bytes = Buffer.from(text, 'latin1');
  const whole = parse([bytes]);
  assert.equal(whole, ['GET|k', "PING|a b|c'd|A\n", 'SET||a\r\nb\0', 'ECHO|x']);
  for (let i = 0; i < 200; i++) assert.equal(parse(cut(bytes, random)), whole);
});

test('what is no command is refused with the text of Redis', () => {
  const refused = (text: string) => of(text).at(-1);
  assert.is(refused('*abc\r\n'), 'ERR Protocol error: invalid multibulk length');
  assert.is(refused('*3000000000\r\n'), 'ERR Protocol error: invalid multibulk length');
  assert.is(refused('*17\r\n'), 'ERR Protocol error: too many arguments: 17, at most 16 are taken');
  assert.is(refused('*1\r\n!4\r\n'), "ERR Protocol error: expected '$', got '!'");
  assert.is(refused('*1\r\n$-1\r\n'), 'ERR Protocol error: invalid bulk length');
  assert.is(refused('*1\r\n$536870912\r\n'), 'ERR Protocol error: invalid bulk length');
  assert.is(refused('*1\r\n$x\r\n'), 'ERR Protocol error: invalid bulk length');
  assert.is(refused('*1\r\n$1\r\nabc'), 'ERR Protocol error: expected CRLF after bulk');
  assert.is(refused('SET "a\r\n'), 'ERR Protocol error: unbalanced quotes in request');
  assert.is(refused('"a"b\r\n'), 'ERR Protocol error: unbalanced quotes in request');
  assert.is(refused('x'.repeat(70_000)), 'ERR Protocol error: too big inline request');
  assert.is(refused(`*${'1'.repeat(70_000)}`), 'ERR Protocol error: too big mbulk count string');
  assert.is(refused(`*1\r\n$${'1'.repeat(70_000)}`), 'ERR Protocol error: too big bulk count string');
  const many = `*4\r\n${`$1000\r\n${'x'.repeat(1000)}\r\n`.repeat(3)}$1000\r\n`;
  assert.is(refused(many), 'ERR Protocol error: invalid bulk length');
});

test('random bytes are commands or a ProtocolError, and memory stays bounded', () => {
  const random = new SeededRandom(11);
  const alphabet = '*$0123456789-\r\n\r\n"\'\\x abGET\0\xff';
  let errors = 0;
  for (let i = 0; i < 3000; i++) {
    const length = random.uint32() % 60;
    const text = Array.from({ length }, () => alphabet[random.uint32() % alphabet.length]).join('');
    const bytes = Buffer.from(text, 'latin1');
    const whole = parse([bytes]);
    assert.equal(parse(cut(bytes, random)), whole, JSON.stringify(text));
    if (whole.at(-1)?.startsWith('ERR Protocol')) errors++;
  }
  assert.ok(errors > 300);
});

test('a long argument that arrives in small pieces is joined once', () => {
  const value = Buffer.alloc(4_000_000, 'v');
  const parser = new RequestParser({
    maxArguments: 4,
    maxArgumentBytes: 5_000_000,
    maxCommandBytes: 5_000_000,
  });
  parser.push(Buffer.from(`*2\r\n$4\r\nECHO\r\n$${value.length}\r\n`));
  for (let at = 0; at < value.length; at += 1000) {
    parser.push(value.subarray(at, at + 1000));
    assert.is(parser.next(), undefined);
  }
  parser.push(Buffer.from('\r\n'));
  assert.ok(parser.next()?.[1]?.equals(value));
  assert.is(parser.heldBytes, 0);
});

test('replies in both versions', () => {
  const text = (reply: Reply, version: 2 | 3) => encodeReply(reply, version).toString('latin1');
  assert.is(text(null, 2) + text(null, 3), '$-1\r\n_\r\n');
  assert.is(text(NO_ARRAY, 2) + text(NO_ARRAY, 3), '*-1\r\n_\r\n');
  assert.is(
    text([1, 2n, 'é', Buffer.from('\0\r\n'), OK], 2),
    '*5\r\n:1\r\n:2\r\n$2\r\n\xc3\xa9\r\n$3\r\n\0\r\n\r\n+OK\r\n',
  );
  const map = new MapReply([['a', [null]]]);
  assert.is(text(map, 2), '*2\r\n$1\r\na\r\n*1\r\n$-1\r\n');
  assert.is(text(map, 3), '%1\r\n$1\r\na\r\n*1\r\n_\r\n');
  assert.is(text(new ErrorReply('ERR a\r\n+OK'), 2), '-ERR a  +OK\r\n');
});

test('patterns', () => {
  const matches = (pattern: string, key: string) => matchesGlob(Buffer.from(pattern), Buffer.from(key));
  assert.ok(matches('h?llo*', 'hello world') && matches('*', '') && matches('a*b*c', 'aXbYbZc'));
  assert.ok(
    matches('[a-c]x', 'bx') && matches('[^a]x', 'bx') && matches('\\*', '*') && matches('[\\]]', ']'),
  );
  assert.not(matches('[^a]x', 'ax') || matches('h?llo', 'hllo') || matches('', 'a') || matches('a*b', 'ac'));
  assert.is(globPrefix(Buffer.from('ab*c')).toString(), 'ab');
  // Redis once took exponential time for it.
  assert.not(matches(`${'a*'.repeat(500)}b`, 'a'.repeat(4000)));
});

test.run();
