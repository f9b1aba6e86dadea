/** The checker is itself checked: on small histories, and on recorded ones with known verdicts. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkLinearizability, type Operation } from '../../src/sim/rules/linearizability.js';
import { parseJepsen, parseKv } from './histories.js';
import { type RegisterInput, type RegisterOutput, registerModel, textModel } from './models.js';

type RegisterOperation = Operation<RegisterInput, RegisterOutput>;

const write = (value: string, callTime: number, returnTime: number): RegisterOperation => ({
  key: 'k',
  input: { type: 'write', value },
  output: undefined,
  callTime,
  returnTime,
});
const read = (output: string | null, callTime: number, returnTime: number, key = 'k'): RegisterOperation => ({
  key,
  input: { type: 'read' },
  output,
  callTime,
  returnTime,
});
const isLinearizable = (...operations: RegisterOperation[]) =>
  checkLinearizability(registerModel, operations).linearizable;

test('a read returns the last value written before it', () => {
  assert.ok(isLinearizable(write('a', 0, 1), read('a', 2, 3)));
  assert.not(isLinearizable(write('a', 0, 1), read(null, 2, 3)));
  assert.not(isLinearizable(write('a', 0, 1), write('b', 2, 3), read('a', 4, 5)));
});

test('operations that overlap may take effect in either order', () => {
  assert.ok(isLinearizable(write('a', 0, 10), read(null, 1, 2)));
  assert.ok(isLinearizable(write('a', 0, 10), read('a', 1, 2)));
  assert.not(
    isLinearizable(write('a', 0, 10), read('a', 1, 2), read(null, 3, 4)),
    'a value that was read stays read',
  );
});

test('a write whose outcome is unknown may take effect late, or never', () => {
  const open = write('a', 0, Number.POSITIVE_INFINITY);
  assert.ok(isLinearizable(open, read(null, 5, 6)));
  assert.ok(isLinearizable(open, read(null, 5, 6), read('a', 7, 8)));
  assert.not(isLinearizable(open, read('a', 5, 6), read(null, 7, 8)));
});

test('keys are checked apart, and the one that fails is named', () => {
  const verdict = checkLinearizability(registerModel, [
    write('a', 0, 1),
    read(null, 2, 3, 'other'),
    read('b', 4, 5),
  ]);
  assert.equal(verdict, { linearizable: false, key: 'k' });
});

const folder = process.env.RAFTREE_TEST_DATA;
if (folder) {
  test('recorded histories get their recorded verdicts', () => {
    const root = path.join(folder, 'linearizability');
    const verdicts = JSON.parse(fs.readFileSync(path.join(root, 'verdicts.json'), 'utf8')) as Record<
      string,
      boolean
    >;
    const wrong = Object.entries(verdicts).filter(([file, expected]) => {
      const text = fs.readFileSync(path.join(root, file), 'utf8');
      const verdict = file.startsWith('kv/')
        ? checkLinearizability(textModel, parseKv(text))
        : checkLinearizability(registerModel, parseJepsen(text));
      return verdict.linearizable !== expected;
    });
    assert.equal(wrong, []);
    assert.ok(Object.keys(verdicts).length > 50);
  });
} else {
  process.stdout.write('recorded histories: skipped, RAFTREE_TEST_DATA is not set\n');
}

test.run();
