/** What the shell offers at a place, and what it reads for that. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Command } from 'commander';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { addClientCommands } from '../../src/cli/client-commands.js';
import { complete } from '../../src/cli/shell/completion.js';
import { History, historyFile, MAX_ENTRIES, MAX_ENTRY_CHARACTERS } from '../../src/cli/shell/history.js';
import { keysBeginningWith } from '../../src/cli/shell/key-completion.js';
import type { ScanOptions } from '../../src/client/client.js';
import { temporaryDirectory } from '../support/process-cluster.js';

const root = new Command('raftree');
addClientCommands(root, () => {});

const KEYS = ['users/', 'users/ada', 'us er', 'plain'];
const keys = (text: string) => Promise.resolve(KEYS.filter((key) => key.startsWith(text)));

async function offered(line: string, ...before: string[]): Promise<string[]> {
  return (await complete(root, before, line, keys))[0];
}

test('commands, subcommands, options and their values', async () => {
  assert.equal(await offered('ge'), ['get ']);
  assert.equal(await offered('member pro'), ['promote ']);
  assert.ok((await offered('')).includes('status '));
  assert.equal(await offered('scan --re'), ['--reverse ']);
  assert.equal(await offered('get a --level l'), ['linearizable ', 'lease ']);
  assert.equal(await offered('expire a 1m --if s'), ['some ', 'sooner ']);
  assert.equal(await offered('import --format t'), ['tsv ']);
  assert.equal(await offered('\\t'), ['\\timing ']);
  assert.equal(await offered('nothing x'), []);
  assert.equal(await offered('get -- --le'), [], 'a second key is not taken');
});

test('keys where a key is expected: behind options too, and in quotes', async () => {
  assert.equal(await offered('get u'), ['users/', 'users/ada ', '"us er" ']);
  assert.equal(await offered('get --level stale us'), ['users/', 'users/ada ', '"us er" ']);
  assert.equal(await offered('scan --prefix pl'), ['plain ']);
  assert.equal(await offered('scan --from '), [
    ...KEYS.slice(0, 2).map((key, i) => key + ' '.repeat(i)),
    '"us er" ',
    'plain ',
  ]);
  assert.equal(await complete(root, [], 'get "us e', keys), [['"us er" '], '"us e']);
  assert.equal(await offered('put plain u'), [], 'a value');
  const failing = () => Promise.reject(new Error('no leader'));
  assert.equal(await complete(root, [], 'get a', failing), [[], 'a']);
});

test('files where a file is expected', async () => {
  const directory = temporaryDirectory();
  try {
    fs.mkdirSync(path.join(directory, 'sub'));
    fs.writeFileSync(path.join(directory, 'a b.txt'), '');
    for (const line of ['put a --value-file', 'import', 'export --output'])
      assert.equal(await offered(`${line} ${directory}/`), [`"${directory}/a b.txt" `, `${directory}/sub/`]);
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
});

/** Counts what is read. */
function fakeClient(sorted: readonly string[]) {
  const reads = { scans: 0, keys: 0 };
  return {
    reads,
    async *scan({ prefix = '', from = '', limit = 0 }: ScanOptions) {
      reads.scans++;
      const [first, begin] = [Buffer.from(from), String(prefix)];
      const found = sorted.filter((key) => key.startsWith(begin) && Buffer.from(key).compare(first) >= 0);
      for (const key of found.slice(0, limit)) {
        reads.keys++;
        yield { key: Buffer.from(key), value: Buffer.alloc(0), version: 1 };
      }
    },
  };
}

test('of keys behind a slash only the part before is offered, and few keys are read', async () => {
  const many = Array.from({ length: 5000 }, (_, i) => `users/${String(i).padStart(5, '0')}`);
  const client = fakeClient(['a', ...many, 'users0', 'v/1', 'v/2']);
  assert.equal(await keysBeginningWith(client, '', 1000), ['a', 'users/', 'users0', 'v/']);
  assert.ok(client.reads.keys <= 100, `${client.reads.keys} keys`);
  assert.equal(await keysBeginningWith(client, 'v', 1000), ['v/']);
  assert.equal(await keysBeginningWith(client, 'v/', 1000), ['v/1', 'v/2']);
});

test('however many keys and parts there are, what is read is bounded', async () => {
  for (const name of [(i: number) => `k${i + 1e6}`, (i: number) => `k${i + 1e6}/x`]) {
    const client = fakeClient(Array.from({ length: 3000 }, (_, i) => name(i)));
    const found = await keysBeginningWith(client, 'k', 1000);
    assert.ok(found.length >= 16 && found.length <= 100, `${found.length} found`);
    assert.ok(client.reads.scans <= 16 && client.reads.keys <= 16 * 32, JSON.stringify(client.reads));
  }
});

test('the history: private, bounded, without what begins with a space; a second shell reads it', () => {
  const directory = temporaryDirectory();
  try {
    const file = historyFile({ XDG_STATE_HOME: directory }) ?? '';
    assert.is(file, path.join(directory, 'raftree', 'history'));
    const first = new History(file);
    for (const entry of ['get a', 'get a', ' put secret x', 'x'.repeat(MAX_ENTRY_CHARACTERS + 1), 'get b'])
      first.add(entry);
    assert.equal(first.entries, ['get b', 'get a']);
    assert.is(fs.statSync(file).mode & 0o777, 0o600);
    fs.chmodSync(file, 0o644);
    assert.equal(new History(file).entries, ['get b', 'get a']);
    assert.is(fs.statSync(file).mode & 0o777, 0o600, 'a file that others could read is closed to them');
    for (let i = 0; i < 3 * MAX_ENTRIES; i++) first.add(`get ${i}`);
    assert.is(first.entries.length, MAX_ENTRIES);
    assert.is(new History(file).entries[0], `get ${3 * MAX_ENTRIES - 1}`);
    assert.is(fs.readFileSync(file, 'utf8').split('\n').length, MAX_ENTRIES + 1);
    fs.writeFileSync(file, `${'y\n'.repeat(1_000_000)}get last\n`);
    assert.is(new History(file).entries[0], 'get last');
    assert.ok(fs.statSync(file).size < 10_000, 'a large file is written anew');
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
});

test('without a file, or where it cannot be used, there is a history of this shell', () => {
  for (const file of [undefined, '/proc/raftree/history', '/dev/null']) {
    const history = new History(file);
    history.add('get a');
    assert.equal(history.entries, ['get a'], file);
    assert.is(history.problem !== undefined, file === '/proc/raftree/history', file);
  }
  assert.ok(historyFile({ XDG_STATE_HOME: 'relative' })?.endsWith('/.local/state/raftree/history'));
});

test.run();
