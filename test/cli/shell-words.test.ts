/** Quotes in the shell, and commands to the shell itself. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../src/cli/exit-codes.js';
import { metaCommand } from '../../src/cli/shell/meta-commands.js';
import { quoted, Words } from '../../src/cli/shell/words.js';

/** The words of lines, or undefined if they go on. */
function wordsOf(...lines: string[]): readonly string[] | undefined {
  const words = new Words();
  lines.forEach((line, i) => {
    words.add(line);
    if (i < lines.length - 1) assert.ok(words.isOpen, `${JSON.stringify(line)} goes on`);
  });
  return words.isOpen ? undefined : words.end();
}

test('words are separated by spaces; quotes and backslashes keep them together', () => {
  assert.equal(wordsOf('  put a\tb '), ['put', 'a', 'b']);
  assert.equal(wordsOf(''), []);
  assert.equal(wordsOf(`put 'a b' "c d" e\\ f`), ['put', 'a b', 'c d', 'e f']);
  assert.equal(wordsOf(`put '' "" --prefix="us er"/x`), ['put', '', '', '--prefix=us er/x']);
  assert.equal(wordsOf(`'{"a":"b\\n"}' 'it\\'s' "say \\"hi\\""`), ['{"a":"b\\n"}', `it's`, 'say "hi"']);
  assert.equal(wordsOf(`"1\\n2\\t3\\\\4\\$5" a\\nb`), ['1\n2\t3\\4$5', 'anb']);
  assert.equal(wordsOf(`"\\xc3\\xa4\\x41\\xZ" ä\\😀`), ['äAxZ', 'ä😀']);
});

test('a quote, and a backslash at the end, go on in the next line', () => {
  assert.is(wordsOf(`put a 'x`), undefined);
  assert.is(wordsOf('put a "x\\'), undefined);
  assert.is(wordsOf('put a \\'), undefined);
  assert.equal(wordsOf(`put a 'x`, '', `  y' z`), ['put', 'a', 'x\n\n  y', 'z']);
  assert.equal(wordsOf('put a "x', '\\ty"'), ['put', 'a', 'x\n\ty']);
  assert.equal(wordsOf('put "x\\', 'y" \\', 'z'), ['put', 'xy', 'z']);
});

test('bytes that are no UTF-8 are refused', () => {
  assert.throws(
    () => wordsOf('"\\xff"'),
    (error: Error) => {
      assert.instance(error, UsageError);
      return error.message.includes('--key-base64');
    },
  );
});

test('the word under the cursor, for completion', () => {
  const at = (line: string) => {
    const words = new Words();
    words.add(line);
    return words.partial;
  };
  assert.equal(at('get us'), { words: ['get'], text: 'us', start: 4 });
  assert.equal(at('get '), { words: ['get'], text: '', start: undefined });
  assert.equal(at('get "a b'), { words: ['get'], text: 'a b', start: 4 });
});

test('what is quoted is read as it was', () => {
  for (const word of [
    '',
    'plain',
    'a b',
    `it's`,
    'say "x"',
    'a\\b',
    'two\nlines\t\r\x00\x7f',
    '#x',
    '\\q',
    'ä😀',
    '\u0085',
  ])
    assert.equal(wordsOf(quoted(word)), [word], quoted(word));
  assert.is(quoted('users/ada'), 'users/ada');
});

test('commands to the shell begin with a backslash; unknown ones and wrong arguments are told', () => {
  assert.is(metaCommand('get \\timing'), undefined);
  assert.equal(metaCommand('\\timing'), { name: 'timing', on: undefined });
  assert.equal(metaCommand(' \\timing off '), { name: 'timing', on: false });
  assert.equal(metaCommand('\\help member add'), { name: 'help', of: ['member', 'add'] });
  for (const text of ['\\q', '\\quit', 'quit', 'exit']) assert.equal(metaCommand(text), { name: 'quit' });
  for (const text of ['\\', '\\nothing', '\\timing soon', '\\timing on off', '\\quit now'])
    assert.is(metaCommand(text)?.name, 'unknown', text);
});

test.run();
