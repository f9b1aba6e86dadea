/** A file that export writes is there whole or as it was before. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../src/cli/exit-codes.js';
import { OutputFile } from '../../src/cli/output-file.js';
import { errorCode } from '../../src/env/errors.js';
import { temporaryDirectory } from '../support/process-cluster.js';

const directory = temporaryDirectory();
const at = (name: string) => path.join(directory, name);
const modeOf = (name: string) => fs.statSync(at(name)).mode & 0o777;

test.before.each(() => {
  fs.rmSync(directory, { recursive: true, force: true });
  fs.mkdirSync(directory);
});

test.after(() => fs.rmSync(directory, { recursive: true, force: true }));

test('the old file stays until the new one is whole', () => {
  fs.writeFileSync(at('backup'), 'old');
  const output = new OutputFile(at('backup'));
  output.write('new ');
  assert.is(fs.readFileSync(at('backup'), 'utf8'), 'old');
  output.write('and whole');
  output.finish();
  output.discard();
  assert.is(fs.readFileSync(at('backup'), 'utf8'), 'new and whole');
  assert.equal(fs.readdirSync(directory), ['backup']);
});

test('given up: the old file stays, nothing else is left', () => {
  fs.writeFileSync(at('backup'), 'old');
  for (const name of ['backup', 'new']) {
    const output = new OutputFile(at(name));
    output.write('part');
    output.discard();
  }
  assert.is(fs.readFileSync(at('backup'), 'utf8'), 'old');
  assert.equal(fs.readdirSync(directory), ['backup']);
});

test('a new file is its owner’s alone; an old one keeps who may read it', () => {
  fs.writeFileSync(at('old'), '');
  fs.chmodSync(at('old'), 0o644);
  for (const name of ['old', 'new']) new OutputFile(at(name)).finish();
  assert.equal([modeOf('old'), modeOf('new')], [0o644, 0o600]);
});

test('through a link to its file; what a killed process left is no hindrance', () => {
  fs.writeFileSync(at('file'), 'old');
  fs.symlinkSync('file', at('link'));
  fs.writeFileSync(at(`file.${process.pid}.tmp`), 'left');
  const output = new OutputFile(at('link'));
  output.write('new');
  output.finish();
  assert.ok(fs.lstatSync(at('link')).isSymbolicLink());
  assert.is(fs.readFileSync(at('file'), 'utf8'), 'new');
  assert.equal(fs.readdirSync(directory).sort(), ['file', 'link']);
});

test('where nothing can be written: usage, before anything is done', () => {
  fs.writeFileSync(at('file'), '');
  for (const name of [at('missing/backup'), directory, at('file/backup'), ''])
    assert.throws(
      () => new OutputFile(name),
      (error: unknown) => error instanceof UsageError && error.message.includes(name),
    );
});

test('a device is written as it is, and a full one is an error', () => {
  if (!fs.existsSync('/dev/full')) return;
  const output = new OutputFile('/dev/full');
  assert.throws(
    () => output.write('x'),
    (error: unknown) => errorCode(error) === 'OUTPUT_FAILED' && /ENOSPC/.test(String(error)),
  );
  output.discard();
  assert.ok(fs.statSync('/dev/full').isCharacterDevice());
});

test('a pipe is written to under the name that it was given by: it has no other', () => {
  const program =
    `import { OutputFile } from ${JSON.stringify(new URL('../../src/cli/output-file.js', import.meta.url).href)};` +
    "const output = new OutputFile('/dev/stdout'); output.write('all'); output.finish();";
  const { stdout } = spawnSync('sh', [
    '-c',
    '"$0" --input-type=module -e "$1" | cat',
    process.execPath,
    program,
  ]);
  assert.is(stdout.toString(), 'all');
});

test.run();
