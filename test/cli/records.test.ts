/**
 * Lines of import and export: what is not exactly a record is bad, and what was exported is read back as the same
 * bytes.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  checkFirstLine,
  type Format,
  field,
  formatOf,
  formatRecord,
  lines,
  MAX_LINE_BYTES,
  parseRecord,
} from '../../src/cli/records.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

const b = (text: string) => Buffer.from(text);

const BAD: readonly (readonly [string, Buffer, Format, RegExp])[] = [
  [
    'base64 with a wrong character',
    b('{"key":"k","valueBase64":"aGk*"}'),
    'jsonl',
    /valueBase64.*not base64/,
  ],
  ['base64 without its padding', b('{"key":"k","valueBase64":"aGk"}'), 'jsonl', /not base64/],
  ['base64 with spaces', b('{"key":"k","valueBase64":"aG k="}'), 'jsonl', /not base64/],
  ['base64 of URLs', b('{"keyBase64":"_-__","value":"x"}'), 'jsonl', /keyBase64.*not base64/],
  ['bits after the end of base64', b('{"key":"k","valueBase64":"aGl="}'), 'jsonl', /not base64/],
  ['Latin-1', Buffer.from('{"key":"k","value":"caf\xe9"}', 'latin1'), 'jsonl', /not UTF-8/],
  ['UTF-16', Buffer.from('{"key":"k","value":"x"}', 'utf16le'), 'jsonl', /not JSON/],
  ['a raw NUL', b('{"key":"k","value":"a\0b"}'), 'jsonl', /not JSON/],
  [
    'half a surrogate pair, escaped',
    b('{"key":"k","value":"\\uD800"}'),
    'jsonl',
    /"value" has half a surrogate/,
  ],
  [
    'half a surrogate pair in a key',
    b('{"key":"\\uDC00x","value":""}'),
    'jsonl',
    /"key" has half a surrogate/,
  ],
  ['a number as value', b('{"key":"k","value":1}'), 'jsonl', /it needs "value"/],
  ['both forms of a value', b('{"key":"k","value":"x","valueBase64":"eA=="}'), 'jsonl', /it needs "value"/],
  ['no value', b('{"key":"k"}'), 'jsonl', /it needs "value"/],
  ['an empty key', b('{"key":"","value":"x"}'), 'jsonl', /the key is empty/],
  ['an empty key in TSV', b('\tx'), 'tsv', /the key is empty/],
  ['no tab', b('key value'), 'tsv', /no tab/],
  ['an array', b('[]'), 'jsonl', /it needs "key"/],
  ['null', b('null'), 'jsonl', /not a JSON object/],
];

for (const [name, line, format, reason] of BAD) {
  test(`bad: ${name}`, () => assert.throws(() => parseRecord(line, format), reason));
}

test('bad: a byte order mark, whatever the format', () => {
  for (const text of ['\uFEFF{"key":"k","value":"v"}', '\uFEFFk\tv'])
    assert.throws(() => checkFirstLine(b(text)), /byte order mark/);
  assert.is(
    formatOf(b('\uFEFF{"key":"k","value":"v"}')),
    'jsonl',
    'the lines behind it are read as what they are',
  );
});

test('TSV is bytes as they are, with a carriage return at the end', () => {
  const line = Buffer.concat([b('k\ta\tb'), Buffer.of(0, 0xff), b('\r')]);
  assert.equal(parseRecord(line, 'tsv'), { key: b('k'), value: line.subarray(2) });
});

test('what was exported is read back as the same bytes', () => {
  const random = new SeededRandom(1);
  const values: Uint8Array[] = [b(''), b('\0\u0001\uFEFF\uFFFD😀"\\\r\n\t'), Buffer.of(0xed, 0xa0, 0x80)];
  for (let i = 0; i < 300; i++) values.push(random.bytes(random.between(0, 40)));
  for (const value of values) {
    const key = Buffer.concat([Buffer.of(0x2f), value]);
    const line = formatRecord({ key, value: Buffer.from(value) });
    assert.is(line.indexOf('\n'), line.length - 1);
    assert.equal(parseRecord(b(line.slice(0, -1)), 'jsonl'), { key, value: Buffer.from(value) });
  }
});

test('the life of a key is in its line', () => {
  const key = b('k');
  const value = b('v');
  assert.is(formatRecord({ key, value, ttlMs: 1500 }), '{"key":"k","value":"v","ttlMs":1500}\n');
  assert.equal(parseRecord(b('{"key":"k","value":"v","ttlMs":1500}'), 'jsonl'), { key, value, ttlMs: 1500 });
  for (const bad of ['0', '-1', '1.5', '"5"', 'null', '1e300'])
    assert.throws(() => parseRecord(b(`{"key":"k","value":"v","ttlMs":${bad}}`), 'jsonl'), /ttlMs/);
});

test('the line of the largest value is one that import reads, also if JSON makes six bytes of each', () => {
  for (const bytes of [15 * 1024 * 1024, 64 * 1024 * 1024]) {
    const value = Buffer.alloc(bytes, 1);
    const line = formatRecord({ key: Buffer.alloc(4096, 1), value });
    assert.ok(line.length <= MAX_LINE_BYTES, `${line.length}`);
    assert.is(Buffer.compare(parseRecord(b(line), 'jsonl').value, value), 0);
  }
  assert.equal(Object.keys(field('value', b('short'))), ['value']);
});

async function all(chunks: readonly Uint8Array[]): Promise<(string | undefined)[]> {
  async function* stream() {
    yield* chunks;
  }
  const found: (string | undefined)[] = [];
  for await (const line of lines(stream())) found.push(line?.toString());
  return found;
}

test('lines, wherever the stream is cut; one that is too long is passed over', async () => {
  const text = 'one\n\ntwo\r\nthree';
  for (let size = 1; size <= text.length; size++) {
    const chunks = Array.from({ length: Math.ceil(text.length / size) }, (_, i) =>
      b(text.slice(i * size, (i + 1) * size)),
    );
    assert.equal(await all(chunks), ['one', '', 'two\r', 'three']);
  }
  const large = Buffer.alloc(1024 * 1024, 'x');
  const tooLong = Array.from({ length: MAX_LINE_BYTES / large.length }, () => large);
  assert.equal(await all([b('a\n'), ...tooLong, b('x\nb\n')]), ['a', undefined, 'b']);
});

test.run();
