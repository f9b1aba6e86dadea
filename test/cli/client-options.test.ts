/** What the options of every client's command accept. */
import { InvalidArgumentError } from 'commander';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseTimeout } from '../../src/cli/client-options.js';

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

test.run();
