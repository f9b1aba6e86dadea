/** raftree lsm …: against the data folder of a real node, and against damage; output and exit codes. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { LsmTree } from '../../src/lsm/index.js';
import { ProcessCluster, raftree, temporaryDirectory } from '../support/process-cluster.js';

const bytes = (text: string) => Buffer.from(text);

async function run(...args: string[]) {
  const result = await raftree(['lsm', ...args]);
  assert.not.match(result.stderr, /\n\s+at /, 'no stack trace');
  return { ...result, text: result.stdout.toString() };
}

/** A closed tree with a table, a tombstone and a WAL. */
async function makeTree(): Promise<string> {
  const directory = path.join(temporaryDirectory(), 'tree');
  const tree = await LsmTree.open(directory);
  for (let i = 0; i < 200; i++) {
    await tree.write([{ type: 'put', key: bytes(`key${i}`), value: bytes(`value ${i}`.padEnd(60, '.')) }], {
      durability: 'buffered',
    });
  }
  // Whoever sees the value keeps it, and the tombstone that hides it.
  const snapshot = tree.snapshot();
  await tree.write([{ type: 'delete', key: bytes('key7') }]);
  await tree.flush();
  snapshot.release();
  await tree.write([{ type: 'put', key: bytes('last'), value: Buffer.of(0xff, 0xfe) }]);
  await tree.close();
  return directory;
}

function damage(directory: string, pattern: RegExp, offset: number): string {
  const name = fs.readdirSync(directory).find((other) => pattern.test(other)) ?? '';
  const file = path.join(directory, name);
  const content = fs.readFileSync(file);
  content[offset] = (content[offset] ?? 0) ^ 1;
  fs.writeFileSync(file, content);
  return name;
}

function treesBelow(directory: string): string[] {
  const names = fs.readdirSync(directory, { recursive: true }).map(String);
  const manifests = names.filter((name) => path.basename(name).startsWith('MANIFEST-'));
  return [...new Set(manifests.map((name) => path.join(directory, path.dirname(name))))];
}

test('the data folder of a node: refused while it runs, sound after it was killed', async () => {
  const cluster = await ProcessCluster.create(1);
  try {
    await cluster.start(1);
    const put = ['put', 'key', 'value', '--endpoints', cluster.endpoint(1)];
    assert.is((await raftree(put)).code, 0);
    const [directory = ''] = treesBelow(cluster.directory);
    const refused = await run('verify', directory);
    assert.is(refused.code, 3);
    assert.match(refused.stderr, /in use by process \d+.*LSM_LOCKED/);
    await cluster.killAll();
    const verified = await run('verify', directory);
    assert.is(verified.code, 0, verified.text + verified.stderr);
    assert.match(verified.text, /no problem found\n$/);
    const stats = JSON.parse((await run('stats', directory, '--json')).text) as { lastSequence: number };
    assert.ok(stats.lastSequence >= 0);
  } finally {
    await cluster.destroy();
  }
});

test('stats and dump of a small tree', async () => {
  const directory = await makeTree();
  const stats = await run('stats', directory);
  assert.is(stats.code, 0);
  assert.match(
    stats.text,
    /^level +files +size +entries +tombstones +keys\n0 +1 +\S+ kB +201 +1 +"key0" to "key99"\n/,
  );
  assert.match(stats.text, /sequences +\d+ to 201 in tables, flushed to 201, last 202\nWAL +\d files?/);
  const dump = await run('dump', directory);
  assert.is(dump.code, 0);
  assert.match(dump.text, /^MANIFEST-\d+ @44 edit oldest WAL 1, newest WAL 0, flushed 0/);
  assert.match(dump.text, /wal-\d+\.log @\d+ batch 202 put "last" 0xfffe\n/);
  assert.match(
    dump.text,
    /\.sst @0 table \d+ bytes, codec \w+, \d+ blocks?, 201 entries, 1 tombstone, sequences 1 to 201/,
  );
  assert.match(dump.text, /\.sst @128 block 0, \d+ bytes, up to "key/);
  assert.match(dump.text, /\.sst @\d+ "key7" @201 deleted\n/);
  const limited = await run('dump', directory, '--limit', '3');
  assert.is(limited.text.trim().split('\n').length, 3);
  const table = fs.readdirSync(directory).find((name) => name.endsWith('.sst')) ?? '';
  const lines = (await run('dump', directory, '--file', table, '--json')).text.trim().split('\n');
  const entries = lines.map((line) => JSON.parse(line)).filter((record) => record.kind === 'entry');
  assert.is(entries.length, 201);
  assert.equal(
    [entries[0].key, entries[0].sequence, entries[0].value],
    ['key0', 1, 'value 0'.padEnd(60, '.')],
  );
});

test('damage: verify finds it, dump shows the rest, repair mends it and says what is lost', async () => {
  const directory = await makeTree();
  const name = damage(directory, /\.sst$/, 200);
  const found = await run('verify', directory);
  assert.is(found.code, 1);
  assert.match(found.text, new RegExp(`problem: .*${name}.*damaged at offset 128`));
  const dump = await run('dump', directory, '--file', name);
  assert.is(dump.code, 1);
  assert.match(dump.text, /@128 DAMAGED .*checksum/);
  assert.ok(dump.text.split('\n').length > 100, 'the other blocks are shown');
  const repaired = await run('repair', directory);
  assert.is(repaired.code, 1, repaired.stderr);
  assert.match(repaired.text, new RegExp(`lost: .*${name} offset 128, \\d+ bytes, keys "key0" to "key`));
  assert.match(repaired.text, /the repaired tree verifies\n$/);
  assert.ok(fs.existsSync(path.join(directory, 'lost', name)));
  const again = await run('repair', directory, '--json');
  assert.is(again.code, 0);
  const report = JSON.parse(again.text) as { isRepaired: boolean };
  assert.is(report.isRepaired, false);
});

test('a folder that is none, a file that is none: usage', async () => {
  const directory = await makeTree();
  const results = await Promise.all(
    [
      ['verify', '/no/such/folder'],
      ['dump', directory, '--file', 'other'],
      ['repair', path.dirname(directory)],
    ].map((args) => run(...args)),
  );
  assert.equal(
    results.map((result) => result.code),
    [2, 2, 2],
  );
});

test.run();
