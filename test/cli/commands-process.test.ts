/** The command line against a real node: what it prints, and its exit codes. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { freePorts } from '../../bench/free-ports.js';
import { ProcessCluster, raftree } from '../support/process-cluster.js';

let cluster: ProcessCluster;

test.before(async () => {
  cluster = await ProcessCluster.create(1);
  await cluster.start(1);
});

test.after(() => cluster.destroy());

async function run(args: readonly string[], input?: string | Buffer) {
  const [command = '', ...rest] = args;
  const result = await raftree([command, ...rest, '--endpoints', cluster.endpoint(1)], input);
  assert.not.match(result.stderr, /\n\s+at /, 'no stack trace');
  return { ...result, text: result.stdout.toString() };
}

test('put, get, insert, update, append, cas, delete', async () => {
  assert.is((await run(['get', 'a'])).code, 1);
  assert.is((await run(['update', 'a', 'x'])).code, 1);
  assert.is((await run(['insert', 'a', 'one'])).code, 0);
  assert.is((await run(['insert', 'a', 'two'])).code, 1);
  assert.is((await run(['get', 'a'])).text, 'one');
  const appended = JSON.parse((await run(['append', 'a', '+', '--json'])).text) as {
    version: number;
    existed: boolean;
  };
  assert.ok(appended.existed);
  assert.is((await run(['cas', 'a', 'three', '--expect', 'other'])).code, 1);
  assert.is((await run(['cas', 'a', 'three', '--expect', 'one+'])).code, 0);
  assert.is((await run(['cas', 'a', 'four', '--expect-version', String(appended.version)])).code, 1);
  assert.is((await run(['cas', 'new', 'n', '--expect-version', '0'])).code, 0);
  assert.is((await run(['set', 'a', 'five'])).code, 0);
  assert.is((await run(['get', 'a'])).text, 'five');
  for (const level of ['lease', 'follower', 'stale']) {
    assert.is((await run(['get', 'a', '--level', level])).text, 'five');
  }
  const removed = await run(['delete', 'a']);
  assert.equal([removed.code, removed.text], [0, 'deleted\n']);
  const again = await run(['remove', 'a']);
  assert.equal([again.code, again.text, again.stderr], [1, '', 'not found\n']);
});

test('values are bytes, from an argument, a file or standard input', async () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  assert.is((await run(['put', 'bytes'], bytes)).code, 0);
  assert.equal((await run(['get', 'bytes'])).stdout, bytes);
  const file = path.join(cluster.directory, 'value');
  fs.writeFileSync(file, 'from a file\n');
  assert.is((await run(['put', 'file', '--value-file', file])).code, 0);
  assert.is((await run(['get', 'file'])).text, 'from a file\n');
  assert.is((await run(['put', 'file', '--value-file', `${file}.missing`])).code, 2);
  const shown = JSON.parse((await run(['get', 'bytes', '--json'])).text) as { valueBase64: string };
  assert.equal(Buffer.from(shown.valueBase64, 'base64'), bytes);
});

test('scan: from, to, prefix, limit, reverse, keys only', async () => {
  await run(['import'], ['s/a', 's/b', 's/c', 's/d'].map((key) => `${key}\t${key.toUpperCase()}\n`).join(''));
  assert.is((await run(['scan', '--prefix', 's/'])).text, 's/a\tS/A\ns/b\tS/B\ns/c\tS/C\ns/d\tS/D\n');
  assert.is((await run(['scan', '--from', 's/b', '--to', 's/d', '--keys-only'])).text, 's/b\ns/c\n');
  assert.is(
    (await run(['scan', '--prefix', 's/', '--reverse', '--limit', '2', '--keys-only'])).text,
    's/d\ns/c\n',
  );
  assert.is((await run(['scan', '--prefix', 'none/'])).text, '');
});

test('import reports bad lines with their numbers and goes on; --strict stops', async () => {
  const lines =
    '{"key":"i/1","value":"one"}\nnot json\n{"key":"i/2"}\n\n{"key":"i/3","value":"three"}\n{"key":"","value":"x"}\n';
  const result = await run(['import', '--json'], lines);
  assert.is(result.code, 1);
  const { records, badLines } = JSON.parse(result.text) as { records: number; badLines: number };
  assert.equal([records, badLines], [2, 3]);
  assert.match(result.stderr, /line 2: it is not JSON\nline 3: it needs "value".*\nline 6: the key is empty/);
  const strict = await run(['import', '--strict'], lines);
  assert.is(strict.code, 2);
  assert.match(strict.stderr, /stopped at line 2/);
  assert.is(
    (await run(['export', '--prefix', 'i/'])).text,
    '{"key":"i/1","value":"one"}\n{"key":"i/3","value":"three"}\n',
  );
});

test('import of TSV; export of bytes that are no UTF-8 and back', async () => {
  const tsv = Buffer.concat([Buffer.from('t/a\tx\ty\nt/b\t'), Buffer.of(0xff, 0xfe), Buffer.from('\n')]);
  assert.is((await run(['import'], tsv)).code, 0);
  const exported = (await run(['export', '--prefix', 't/'])).text;
  assert.is(exported, '{"key":"t/a","value":"x\\ty"}\n{"key":"t/b","valueBase64":"//4="}\n');
  await run(['delete', 't/b']);
  assert.is((await run(['import'], exported)).code, 0);
  assert.equal((await run(['get', 't/b'])).stdout, Buffer.of(0xff, 0xfe));
});

test('status', async () => {
  const [node] = JSON.parse((await run(['status', '--json'])).text) as {
    nodeId: number;
    role: string;
    leaderId: number;
  }[];
  assert.equal([node?.nodeId, node?.role, node?.leaderId], [1, 'leader', 1]);
  assert.match((await run(['status'])).text, /^node +role +term[^\n]+\n1 +leader/);
});

test('usage faults end with 2 and do nothing', async () => {
  const faults = [
    ['get'],
    ['fly', 'away'],
    ['get', 'a', '--endpoints', 'nowhere'],
    ['get', 'a', '--timeout', 'soon'],
    ['get', 'a', '--level', 'lease', '--stale'],
    ['member', 'add', '4', '--client', '127.0.0.1:7004'],
    ['cas', 'a', 'b'],
    ['cas', 'a', 'b', '--expect', 'x', '--expect-version', '1'],
    ['import', '/no/such/file'],
    ['start', '/no/such/node.json'],
    ['put', '', 'x', '--endpoints', cluster.endpoint(1)],
    ['cluster', '--nodes', '10', '--directory', path.join(cluster.directory, 'many')],
  ];
  const results = await Promise.all(faults.map((args) => raftree(args)));
  results.forEach((result, i) => {
    assert.is(result.code, 2, `${faults[i]?.join(' ')}: ${result.stderr}`);
    assert.ok(result.stderr.length > 0);
  });
  assert.is((await raftree(['--help'])).code, 0);
});

test('lives of keys: put --ttl, expire, ttl, persist; incr', async () => {
  assert.is((await run(['put', 'life', 'x', '--ttl', '1h'])).code, 0);
  const { remainingMs } = JSON.parse((await run(['ttl', 'life', '--json'])).text) as { remainingMs: number };
  assert.ok(remainingMs > 3_000_000 && remainingMs <= 3_600_000);
  assert.equal(await run(['expire', 'life', '2h', '--if', 'later']).then(shown), [
    0,
    'expires in 7200s\n',
    '',
  ]);
  const exported = (await run(['export', '--prefix', 'life'])).text;
  assert.ok((JSON.parse(exported) as { ttlMs: number }).ttlMs > 7_000_000);
  assert.equal(await run(['persist', 'life']).then(shown), [0, 'stays\n', '']);
  assert.equal(await run(['ttl', 'life']).then(shown), [0, 'no deadline\n', '']);
  assert.is((await run(['import'], exported)).code, 0);
  assert.equal(await run(['expire', 'life', '2d', '--if', 'sooner']).then(shown), [
    1,
    '',
    'the deadline is another\n',
  ]);
  assert.equal(await run(['incr', 'count', '5', '--ttl', '1m']).then(shown), [0, '5\n', '']);
  assert.is((await run(['put', 'a', 'b', '--ttl', '5'])).code, 2);
});

function shown({ code, text, stderr }: { code: number | null; text: string; stderr: string }) {
  return [code, text, stderr];
}

test('where no node listens a command ends long before its time: not committed; with --wait it goes on', async () => {
  const [port] = await freePorts(1);
  const endpoints = ['--endpoints', `127.0.0.1:${port}`];
  for (const args of [['put', 'a', 'b'], ['status']]) {
    const result = await raftree([...args, ...endpoints, '--timeout', 'infinity']);
    assert.is(result.code, 5, result.stderr);
    assert.match(result.stderr, /no node listens at 127.0.0.1:\d+.*CONNECTION_REFUSED; nothing was changed/);
  }
  const waiting = await raftree(['put', 'a', 'b', ...endpoints, '--wait', '--timeout', '700', '--json']);
  assert.equal([waiting.code, waiting.stdout.length], [3, 0], waiting.stderr);
  const { error } = JSON.parse(waiting.stderr) as { error: { code: string; outcome: string } };
  assert.equal([error.code, error.outcome], ['UNREACHABLE', 'notCommitted']);
});

test.run();
