/** Secrets as people give them, and which addresses are this machine's own. */
import * as fs from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RaftreeError } from '../../src/env/errors.js';
import { realFileSystem } from '../../src/env/real/file-system.js';
import { isLoopback } from '../../src/net/hosts.js';
import { readSecretFile } from '../../src/security/cluster-secret.js';
import { temporaryDirectory } from '../support/process-cluster.js';

const A = 'a'.repeat(16);
const B = 'b'.repeat(44);
const directory = temporaryDirectory();
const file = `${directory}/secret`;

function written(content: string | Buffer, mode = 0o600): string[] {
  fs.writeFileSync(file, content);
  fs.chmodSync(file, mode);
  return readSecretFile(realFileSystem, file).secrets.map(String);
}

test('a file holds a secret, or one a line; how its lines end does not matter', () => {
  for (const content of [A, `${A}\n`, `${A}\r\n`, `${A}\n\n`]) assert.equal(written(content), [A]);
  for (const content of [`${A}\n${B}`, `${A}\r\n${B}\r\n`]) assert.equal(written(content), [A, B]);
  assert.equal(written(` ${A} `), [` ${A} `], 'spaces are part of a secret');
});

test('a file that cannot be used is refused with its name and the reason, and nothing of it is shown', () => {
  const faults: readonly (readonly [string | Buffer, RegExp])[] = [
    ['', /secret is empty/],
    ['\n\n', /secret is empty/],
    ['hunter2\n', /fault in line 1: it has 7 bytes; expected 16 to 1024/],
    [`${A}\nhunter2`, /fault in line 2: it has 7 bytes/],
    [`\n${A}`, /fault in line 1: it has 0 bytes/],
    [`${A}\n`.repeat(5), /has 5 lines/],
    [Buffer.alloc(2000, 7), /it has 2000 bytes/],
  ];
  for (const [content, reason] of faults) {
    const error = failure(() => written(content));
    assert.is(error.code, 'INVALID_CONFIG');
    assert.match(error.message, reason);
    assert.match(error.message, file);
    assert.not.match(error.message, /hunter2|aaaa/);
  }
  assert.match(
    failure(() => readSecretFile(realFileSystem, `${directory}/none`)).message,
    /none does not exist/,
  );
  assert.match(failure(() => readSecretFile(realFileSystem, directory)).message, /cannot be read/);
});

test('a file that every user may read is noticed', () => {
  written(A, 0o600);
  assert.is(readSecretFile(realFileSystem, file).isReadableByOthers, false);
  written(A, 0o640);
  assert.is(readSecretFile(realFileSystem, file).isReadableByOthers, false);
  written(A, 0o644);
  assert.is(readSecretFile(realFileSystem, file).isReadableByOthers, true);
});

test('loopback is what this machine alone reaches', () => {
  for (const host of ['127.0.0.1', '127.1.2.3', '::1', 'localhost', 'LocalHost', '::ffff:127.0.0.1'])
    assert.is(isLoopback(host), true, host);
  for (const host of [
    '0.0.0.0',
    '::',
    '10.0.0.1',
    '128.0.0.1',
    'localhost.example.com',
    '127.0.0.1.example.com',
    '127',
    '',
  ])
    assert.is(isLoopback(host), false, host);
});

function failure(run: () => unknown): RaftreeError {
  try {
    run();
  } catch (error) {
    return error as RaftreeError;
  }
  throw new Error('it was accepted');
}

test.run();
