/** Tokens of watches: whatever text is given as one, it is a token or refused. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeToken, encodeToken, placesOf, type WatchToken } from '../../src/client/watch-token.js';
import { errorCode } from '../../src/env/errors.js';
import { crc32 } from '../../src/record/checksum.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

const bytes = (text: string) => Buffer.from(text, 'latin1');
const random = new SeededRandom(7);

function someToken(): WatchToken {
  const starts = new Set(
    Array.from({ length: random.between(1, 40) }, () => randomText(random.between(0, 12))),
  );
  const pieces = [...starts]
    .map(bytes)
    .sort(Buffer.compare)
    .map((start) => ({ start, version: random.pick([1, 127, 128, 2 ** 32, Number.MAX_SAFE_INTEGER]) }));
  const end = random.chance(0.5) ? undefined : bytes(`\xff\xff${randomText(3)}`);
  return { cluster: random.uint32(), by: random.pick(['range', 'hash']), pieces, end };
}

function randomText(length: number): string {
  return Array.from({ length }, () => random.pick(['a', 'b', '\0', '\xff']))
    .join('')
    .slice(0, length);
}

/** A text with the right checksum, whatever its content is. */
function sealed(content: Buffer): string {
  const whole = Buffer.concat([Buffer.alloc(4), content]);
  whole.writeUInt32BE(crc32(content), 0);
  return `w1.${whole.toString('base64url')}`;
}

function outcomeOf(text: string): string {
  try {
    decodeToken(text);
    return 'token';
  } catch (error) {
    return errorCode(error) ?? `${error}`;
  }
}

test('a token comes back as it was', () => {
  for (let i = 0; i < 200; i++) {
    const token = someToken();
    if (token.pieces.some(({ start }) => token.end && Buffer.compare(start, token.end) >= 0)) continue;
    assert.equal(decodeToken(encodeToken(token)), token);
  }
});

test('a text that is cut off, changed, too long or made up is refused, and quickly', () => {
  const text = encodeToken(someToken());
  for (let i = 0; i < text.length; i++) assert.is(outcomeOf(text.slice(0, i)), 'INVALID_REQUEST');
  for (let i = 0; i < 200; i++) {
    const at = random.between(0, text.length - 1);
    const other = text[at] === 'A' ? 'B' : 'A';
    assert.is(outcomeOf(text.slice(0, at) + other + text.slice(at + 1)), 'INVALID_REQUEST', `${at}`);
  }
  for (const made of ['', 'w1.', 'w2.AAAA', `${text} `, `${text}=`, `w1.${'A'.repeat(2_000_000)}`])
    assert.is(outcomeOf(made), 'INVALID_REQUEST', made.slice(0, 20));
  const header = Buffer.from([0, 0, 0, 7, 0]);
  const contents = [
    // No pieces; a number without an end, and one of zeros only; bytes behind the end; a placement that nobody knows.
    Buffer.concat([header, Buffer.from([0, 0])]),
    Buffer.concat([header, Buffer.alloc(60, 0xff)]),
    Buffer.concat([header, Buffer.alloc(2000, 0x80), Buffer.from([1])]),
    Buffer.concat([header, Buffer.from([1, 0, 0, 1, 0, 9])]),
    Buffer.concat([Buffer.from([0, 0, 0, 7, 9]), Buffer.from([1, 0, 0, 1, 0])]),
    // More bytes than there are; more shared than there are; version 0; the same start twice; an end before the start.
    Buffer.concat([header, Buffer.from([1, 0, 200, 1, 1, 1, 0])]),
    Buffer.concat([header, Buffer.from([1, 5, 0, 1, 0])]),
    Buffer.concat([header, Buffer.from([1, 0, 0, 0, 0])]),
    Buffer.concat([header, Buffer.from([2, 0, 1, 97, 1, 1, 0, 1, 0])]),
    Buffer.concat([header, Buffer.from([1, 0, 1, 97, 1, 1, 1, 97])]),
  ];
  for (const [i, content] of contents.entries())
    assert.is(outcomeOf(sealed(content)), 'INVALID_REQUEST', `made up ${i}`);
  assert.is(outcomeOf(sealed(Buffer.concat([header, Buffer.from([1, 0, 0, 1, 0])]))), 'token');
  // Each start shares all of the one before it: 100 KB of text that would be gigabytes.
  const first = Buffer.alloc(60_000, 97);
  const shared = Array.from({ length: 4000 }, (_, i) => {
    const length = 60_000 + i;
    return Buffer.from([
      (length % 128) + 128,
      (Math.floor(length / 128) % 128) + 128,
      Math.floor(length / 16384),
      1,
      97,
      1,
    ]);
  });
  const bomb = [
    header,
    Buffer.from([0xa1, 0x1f, 0, 0xe0, 0xd4, 3]),
    first,
    Buffer.from([1]),
    ...shared,
    Buffer.from([0]),
  ];
  assert.is(outcomeOf(sealed(Buffer.concat(bomb))), 'INVALID_REQUEST');
});

test('a token says of a range what its pieces do; it says nothing of other keys', () => {
  const token: WatchToken = {
    cluster: 1,
    by: 'range',
    pieces: [
      { start: bytes('b'), version: 5 },
      { start: bytes('d'), version: 3 },
      { start: bytes('f'), version: 9 },
    ],
    end: bytes('h'),
  };
  const of = (from: string, to?: string) => {
    const places = placesOf(token, bytes(from), to === undefined ? undefined : bytes(to));
    return places && [...places.pieces.map(({ start, version }) => `${start} ${version}`), `${places.end}`];
  };
  assert.equal(of('b', 'c'), ['b 5', 'c']);
  assert.equal(of('b', 'd'), ['b 5', 'd']);
  assert.equal(of('b', 'd\0'), ['b 5', 'd 3', 'd\0']);
  assert.equal(of('e', 'g'), ['e 3', 'f 9', 'g']);
  assert.equal(of('b', 'h'), ['b 5', 'd 3', 'f 9', 'h']);
  assert.equal([of('a', 'c'), of('g', 'i'), of('g')], [undefined, undefined, undefined]);
});

test.run();
