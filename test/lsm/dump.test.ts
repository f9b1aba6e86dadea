/** Dumping the files of a tree: every record in its place, and past damage. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { compareBytes } from '../../src/lsm/base/bytes.js';
import { type DumpRecord, dumpableFiles, dumpFile } from '../../src/lsm/tools/dump.js';
import { contents, flipped, paths, sampleTree } from './tools-lab.js';
import { DIRECTORY, processEnv, type SimDisk } from './tree-lab.js';

function dump(disk: SimDisk, pattern: RegExp): DumpRecord[] {
  const env = processEnv(3, disk);
  const files = dumpableFiles(env.fs.list(DIRECTORY)).filter((name) => pattern.test(name));
  return files.flatMap((file) => [...dumpFile(env, DIRECTORY, file)]);
}

function ofKind<K extends DumpRecord['kind']>(records: readonly DumpRecord[], kind: K) {
  return records.filter((record): record is Extract<DumpRecord, { kind: K }> => record.kind === kind);
}

test('edits, batches, headers, indexes and entries, with nothing changed', async () => {
  const { disk } = await sampleTree();
  const before = contents(disk);
  const records = dump(disk, /./);
  assert.equal(ofKind(records, 'damaged'), []);
  assert.ok(ofKind(records, 'edit').length >= 2);
  const sequences = ofKind(records, 'batch').map((batch) => batch.firstSequence);
  assert.ok(sequences.length > 10);
  assert.equal(
    sequences,
    [...sequences].sort((a, b) => a - b),
  );
  for (const table of ofKind(records, 'table')) {
    const own = records.filter((record) => record.file === table.file);
    const entries = ofKind(own, 'entry');
    assert.is(entries.length, table.header.entries);
    assert.is(ofKind(own, 'index').length, table.header.blocks);
    assert.is(entries.filter((entry) => entry.value === undefined).length, table.header.tombstones);
    for (const [i, entry] of entries.slice(1).entries()) {
      const order = compareBytes(entries[i]?.key ?? entry.key, entry.key);
      assert.ok(order < 0 || (order === 0 && (entries[i]?.sequence ?? 0) > entry.sequence));
    }
  }
  assert.equal(contents(disk), before);
});

for (const [name, pattern, kind] of [
  ['WAL', /wal-/, 'batch'],
  ['MANIFEST', /MANIFEST/, 'edit'],
] as const) {
  test(`what stands behind damage in the ${name} is shown too, and where the damage is`, async () => {
    const { disk } = await sampleTree();
    const path = paths(disk, pattern)[0] ?? '';
    const whole = ofKind(dump(disk, pattern), kind);
    const [first, second] = whole.filter((record) => path.endsWith(record.file));
    if (!first || !second) throw new Error('too little to damage');
    const records = dump(flipped(disk, path, first.offset), pattern);
    assert.is(ofKind(records, 'damaged').length, 1);
    assert.is(ofKind(records, 'damaged')[0]?.file, first.file);
    assert.equal(ofKind(records, kind), whole.slice(1));
  });
}

test.run();
