import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { VersionFilter } from '../../src/lsm/compaction/version-filter.js';
import { Memtable } from '../../src/lsm/memtable/memtable.js';

/** `12 8d 4` are versions of one key, the newest first, `d` for a tombstone; keys are separated by `|`. */
function kept(versions: string, snapshots: readonly number[], isBase: boolean): string {
  const memtable = new Memtable();
  const all = versions.split('|').flatMap((key, i) =>
    key
      .trim()
      .split(' ')
      .map((version) => ({ key: `key${i}`, version })),
  );
  all.sort((a, b) => Number.parseInt(a.version, 10) - Number.parseInt(b.version, 10));
  for (const { key, version } of all) {
    const value = version.endsWith('d') ? undefined : Buffer.from('value');
    memtable.insertPair(Number.parseInt(version, 10), Buffer.from(key), value);
  }
  const filter = new VersionFilter(snapshots, () => isBase);
  const cursor = memtable.cursor();
  const result: string[] = [];
  for (cursor.seekToFirst(); cursor.valid; cursor.next()) {
    if (!filter.keeps(cursor)) continue;
    const first = !filter.continuesKey && result.length > 0 ? '| ' : '';
    result.push(`${first}${cursor.sequence}${cursor.deleted ? 'd' : ''}`);
  }
  return result.join(' ');
}

test('without snapshots only the newest version stays', () => {
  assert.is(kept('12 8 7 4', [], false), '12');
  assert.is(kept('9 3 | 8 2 | 7', [], false), '9 | 8 | 7');
});

test('a version that a snapshot sees stays', () => {
  assert.is(kept('12 8 7 4', [5, 9], false), '12 8 4');
  assert.is(kept('12 8 7 4', [7], false), '12 7');
  assert.is(kept('12 8 7 4', [8, 12], false), '12 8');
  assert.is(kept('12 8 7 4', [1, 2, 3, 100], false), '12');
});

test('a tombstone stays above the base level, and hides what is older', () => {
  assert.is(kept('12d 8 7', [], false), '12d');
  assert.is(kept('12 8d 7', [9], false), '12 8d');
});

test('a tombstone goes at the base level, with all that it hides', () => {
  assert.is(kept('12d 8 7', [], true), '');
  assert.is(kept('12 8d 7 | 3d', [9], true), '12');
});

test('a tombstone stays at the base level while a snapshot sees what it deleted', () => {
  assert.is(kept('12d 8 7', [8], true), '12d 8');
  assert.is(kept('12d 8d 7', [7], true), '12d 7');
});

test('a tombstone goes although a snapshot sees it: the snapshot sees nothing either way', () => {
  assert.is(kept('12d 8 7', [12], true), '');
  assert.is(kept('12d 8 7', [40], true), '');
});

test.run();
