/** What the options of every client's command accept. */
import { InvalidArgumentError } from 'commander';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { countUpTo, parseTimeout } from '../../src/cli/client-options.js';

test('--timeout takes whole milliseconds of any size, or infinity', () => {
  assert.is(parseTimeout('1'), 1);
  assert.is(parseTimeout('3000000000'), 3_000_000_000);
  for (const text of ['infinity', 'Infinity']) assert.is(parseTimeout(text), Number.POSITIVE_INFINITY);
  for (const text of ['0', '-1', '1.5', 'soon', '', 'NaN', '-infinity'])
    assert.throws(
      () => parseTimeout(text),
      (error: unknown) => error instanceof InvalidArgumentError,
    );
});

test('a number beyond what is taken is told what is', () => {
  const parseWindow = countUpTo(4096);
  for (const text of ['1', '4096']) assert.is(parseWindow(text), Number(text));
  for (const text of ['0', '4097', '-1', '1.5', 'x', ''])
    assert.throws(() => parseWindow(text), /expected a whole number from 1 to 4096/);
});

test.run();
