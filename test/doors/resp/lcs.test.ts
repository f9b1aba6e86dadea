/** LCS against a plain search, and the answers that Redis gives for its own examples. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeReply } from '../../../src/doors/resp/codec/reply.js';
import { lcsOptions, lcsReply } from '../../../src/doors/resp/lcs.js';
import { SeededRandom } from '../../../src/sim/world/seeded-random.js';

function answer(a: string, b: string, ...options: readonly string[]): string {
  const reply = lcsReply(
    Buffer.from(a),
    Buffer.from(b),
    lcsOptions(options.map((each) => Buffer.from(each))),
  );
  return encodeReply(reply, 2).toString().replaceAll('\r\n', ' ').trim();
}

/** All subsequences of a, the longest first. */
function longest(a: string, b: string): number {
  let best = 0;
  for (let mask = 0; mask < 1 << a.length; mask++) {
    const chosen = [...a].filter((_each, i) => mask & (1 << i));
    if (chosen.length > best && isWithin(chosen, b)) best = chosen.length;
  }
  return best;
}

function isWithin(chosen: readonly string[], text: string): boolean {
  let at = 0;
  for (const each of text) if (each === chosen[at]) at++;
  return at === chosen.length;
}

test('the length is the largest, and the text is within both, of so many bytes', () => {
  const random = new SeededRandom(5);
  for (let i = 0; i < 200; i++) {
    const [a, b] = [0, 1].map(() =>
      Array.from({ length: random.between(0, 9) }, () => random.pick(['a', 'b', 'c'])).join(''),
    ) as [string, string];
    const length = longest(a, b);
    assert.is(answer(a, b, 'LEN'), `:${length}`);
    const text = answer(a, b).split(' ')[1] ?? '';
    assert.is(text.length, length);
    assert.ok(isWithin([...text], a) && isWithin([...text], b), `${text} of ${a} and ${b}`);
  }
});

test('runs are told from the last one on, with their lengths, without the short ones', () => {
  const [a, b] = ['ohmytext', 'mynewtext'];
  assert.is(answer(a, b), '$6 mytext');
  const last = '*2 *2 :4 :7 *2 :5 :8';
  const first = '*2 *2 :2 :3 *2 :0 :1';
  assert.is(answer(a, b, 'IDX'), `*4 $7 matches *2 ${last} ${first} $3 len :6`);
  assert.is(answer(a, b, 'IDX', 'MINMATCHLEN', '4'), `*4 $7 matches *1 ${last} $3 len :6`);
  assert.is(
    answer(a, b, 'idx', 'minmatchlen', '4', 'withmatchlen'),
    '*4 $7 matches *1 *3 *2 :4 :7 *2 :5 :8 :4 $3 len :6',
  );
  assert.is(answer('', b, 'IDX'), '*4 $7 matches *0 $3 len :0');
});

test('what would block the node, and options that contradict each other, are refused', () => {
  assert.match(answer('x'.repeat(4096), 'y'.repeat(1025)), /^-ERR the strings are too long for LCS/);
  assert.is(answer('x'.repeat(5_000_000), ''), '$0');
  assert.throws(() => lcsOptions([Buffer.from('LEN'), Buffer.from('IDX')]), /please just use IDX/);
  assert.throws(() => lcsOptions([Buffer.from('MINMATCHLEN')]), /syntax error/);
  assert.throws(() => lcsOptions([Buffer.from('MINMATCHLEN'), Buffer.from('x')]), /not an integer/);
});

test.run();
