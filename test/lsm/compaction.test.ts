/** What a compaction writes, byte for byte: entries that it passes on as they are stored come out as if packed anew. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Codec } from '../../src/lsm/base/block-codec.js';
import { compact } from '../../src/lsm/compaction/compaction.js';
import { flushMemtable } from '../../src/lsm/compaction/job-runner.js';
import { writeTables } from '../../src/lsm/compaction/output-tables.js';
import { VersionFilter } from '../../src/lsm/compaction/version-filter.js';
import { Memtable } from '../../src/lsm/memtable/memtable.js';
import { MergeCursor } from '../../src/lsm/read/merge-cursor.js';
import { RunCursor } from '../../src/lsm/read/run-cursor.js';
import { BlockCache } from '../../src/lsm/table/block-cache.js';
import type { TableBuilderOptions } from '../../src/lsm/table/table-builder.js';
import { TableCache } from '../../src/lsm/table/table-cache.js';
import { TableFile, type TableMetadata, tableName } from '../../src/lsm/table/table-file.js';
import { DIRECTORY, processEnv, SeededRandom, SimDisk } from './tree-lab.js';

const BLOCK_BYTES = 512;

/** Small values, values that fill a block or several, some that do not compress, long keys, tombstones. */
function randomMemtable(random: SeededRandom, firstSequence: number): Memtable {
  const memtable = new Memtable();
  for (let i = 0; i < 300; i++) {
    const key = Buffer.from(
      `key${random.between(0, 400)}${random.chance(0.1) ? 'k'.repeat(random.between(0, 900)) : ''}`,
    );
    const bytes =
      random.pick([0, 20, BLOCK_BYTES - 40, BLOCK_BYTES, 4 * BLOCK_BYTES]) + random.between(0, 30);
    const half = random.bytes(bytes >> 1);
    const value = random.chance(0.5) ? Buffer.concat([half, half]) : random.bytes(bytes);
    memtable.insertPair(firstSequence + i, key, random.chance(0.1) ? undefined : value);
  }
  return memtable;
}

function contentOf(tables: TableCache, metadata: TableMetadata): string[] {
  const cursor = new RunCursor(tables, [new TableFile(metadata)], { readAheadBytes: 4096, scan: true });
  const content: string[] = [];
  for (cursor.seekToFirst(); cursor.valid; cursor.next()) {
    const { keyBytes, keyStart, keyEnd, sequence, deleted, valueBytes, valueStart, valueEnd } = cursor;
    const key = keyBytes.toString('latin1', keyStart, keyEnd);
    content.push(`${key} ${sequence} ${deleted} ${valueBytes.toString('latin1', valueStart, valueEnd)}`);
  }
  cursor.close();
  return content;
}

for (const [from, to] of [
  ['lz4', 'lz4'],
  ['none', 'none'],
  ['none', 'lz4'],
  ['lz4', 'none'],
] as const satisfies readonly (readonly [Codec, Codec])[]) {
  test(`entries passed on as stored come out as those packed anew, ${from} to ${to}`, async () => {
    let passed = 0;
    for (let seed = 1; seed <= 10; seed++) {
      const random = new SeededRandom(seed);
      const env = processEnv(1, new SimDisk());
      env.fs.makeDirectory(DIRECTORY);
      let next = 1;
      const tableOf = (codec: Codec): TableBuilderOptions => ({
        blockBytes: BLOCK_BYTES,
        restartInterval: 4,
        bloomBitsPerKey: 10,
        codec,
      });
      const context = (codec: Codec) => ({
        env,
        directory: DIRECTORY,
        table: tableOf(codec),
        newFileNumber: () => next++,
        breathe: () => undefined,
      });
      const files: TableMetadata[] = [];
      for (let i = 0; i < 3; i++) {
        files.push(
          ...(await flushMemtable(
            { memtable: randomMemtable(random, 1 + 1000 * i), older: [], snapshots: [] },
            context(from),
          )),
        );
      }
      const runs = files.map((file) => [new TableFile(file)]);
      const snapshots = [1500];
      const table = tableOf(to);
      const tables = new TableCache(env, DIRECTORY, 16, new BlockCache(0, 1));
      const job = { runs, deeper: [], grandparents: [], maxFileBytes: 1 << 30, snapshots, table };
      const [fast] = await compact(job, tables, context(to));
      const cursors = runs.map((run) => new RunCursor(tables, run, { readAheadBytes: 4096, scan: true }));
      const source = new MergeCursor(cursors);
      source.seekToStart();
      const filter = new VersionFilter(snapshots, () => true);
      const [plain] = await writeTables(source, filter, () => false, context(to));
      source.close();
      const made = [fast, plain].map((metadata) => metadata as TableMetadata);
      if (to === 'lz4' && from === 'lz4') {
        // Which blocks are tried depends on how many were packed before, so that only the content is the same.
        const [fastContent, plainContent] = made.map((metadata) => contentOf(tables, metadata));
        assert.equal(fastContent, plainContent, `seed ${seed}`);
      } else {
        const [fastBytes, plainBytes] = made.map(({ number }) =>
          env.fs.readFile(`${DIRECTORY}/${tableName(number)}`),
        );
        assert.ok(fastBytes?.equals(plainBytes ?? Buffer.alloc(0)), `seed ${seed}`);
      }
      assert.equal({ ...fast, number: 0, sizeBytes: 0 }, { ...plain, number: 0, sizeBytes: 0 });
      const counted = new RunCursor(tables, runs[0] ?? [], {
        readAheadBytes: 4096,
        scan: true,
        writesTo: table,
      });
      for (counted.seekToFirst(); counted.valid; counted.next()) if (counted.storedEnd > 0) passed++;
      counted.close();
      tables.closeAll();
    }
    assert.is(passed > 100, from === to, `${passed} were passed on`);
  });
}

test.run();
