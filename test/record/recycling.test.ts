/** Files that are written over: what they held before is neither replayed nor taken for damage. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RECORD_HEADER_BYTES } from '../../src/record/record.js';
import type { RecordLog, RecordLogOptions } from '../../src/record/record-log.js';
import type { SimDisk } from '../../src/sim/world/disk.js';
import type { FileOperation } from '../../src/sim/world/file-operation.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { bytesOf, DIRECTORY, newDisk, openLog } from '../support/record-lab.js';

const RECYCLING: Partial<RecordLogOptions> = { recycles: true };

function path(number: number): string {
  return `${DIRECTORY}/wal-0000000${number}.log`;
}

function filesOf(disk: SimDisk): string[] {
  return disk.mount().list(DIRECTORY);
}

/** A log in whose third file, recycled from the first, a few short records stand before many stale ones. */
async function recycled(operations?: FileOperation[]): Promise<{ disk: SimDisk; log: RecordLog }> {
  const disk = newDisk();
  const files = {
    fault: (operation: FileOperation) => {
      operations?.push(operation);
      return undefined;
    },
  };
  const { log } = openLog(disk, { ...RECYCLING, files });
  for (let i = 0; i < 20; i++) await log.append(bytesOf(`stale ${i}: ${'s'.repeat(40)}`), true);
  log.rotate();
  await log.append(bytesOf('second file'), true);
  log.removeBefore(2);
  log.rotate();
  await log.append(bytesOf('third file, one'), true);
  await log.append(bytesOf('third file, two'), true);
  return { disk, log };
}

test('a file that is not needed any more becomes the next new one', async () => {
  const operations: FileOperation[] = [];
  const { disk, log } = await recycled(operations);
  assert.equal(filesOf(disk), ['wal-00000002.log', 'wal-00000003.log']);
  assert.is(operations.filter(({ kind }) => kind === 'create').length, 2);
  assert.is(operations.filter(({ kind }) => kind === 'unlink').length, 0);
  assert.ok(disk.mount().readFile(path(3)).includes('stale 19'), 'the old bytes are there');
  await log.close();
  assert.not.ok(disk.mount().readFile(path(3)).includes('stale 19'), 'closing cuts them off');
});

test('a file that one large payload has made large is not kept', async () => {
  const disk = newDisk();
  const { log } = openLog(disk, { ...RECYCLING, maxSpareBytes: 4096 });
  const sizeOfFiles = () =>
    disk.files(DIRECTORY).reduce((sum, name) => sum + (disk.contentOf(name)?.length ?? 0), 0);
  for (const bytes of [100_000, 100, 100, 2000, 100]) {
    await log.append([Buffer.alloc(bytes, 'x')], true);
    log.rotate();
    await log.append(bytesOf('next'), true);
    log.removeBefore(log.currentFile);
    log.rotate();
    await log.append(bytesOf('and next'), true);
    log.removeBefore(log.currentFile);
    assert.ok(sizeOfFiles() < 10_000, `${sizeOfFiles()} bytes after one of ${bytes}`);
  }
  assert.equal(filesOf(disk).filter((name) => name.endsWith('.spare')).length <= 1, true);
  await log.close();
});

test('stale records are not replayed and are no damage', async () => {
  const { disk } = await recycled();
  const { recovered, log } = openLog(disk, RECYCLING);
  assert.equal(recovered, ['second file', 'third file, one', 'third file, two']);
  assert.is(log.recovery.discarded, undefined);
});

test('an old name comes back with an old file, never with new bytes', async () => {
  const disk = newDisk();
  const random = new SeededRandom(5);
  const cuts: SimDisk[] = [];
  const files = {
    fault: () => {
      cuts.push(disk.powerCutClone(random));
      return undefined;
    },
  };
  const { log } = openLog(disk, { ...RECYCLING, files });
  for (let file = 1; file < 12; file++) {
    await log.append(bytesOf(`file ${file} one`), true);
    await log.append(bytesOf(`file ${file} two`), false);
    log.rotate();
    log.removeBefore(file);
  }
  for (const cut of cuts) {
    const { recovered } = openLog(cut, RECYCLING);
    const numbers = recovered.map((text) => Number(/\d+/.exec(text)?.[0]));
    assert.equal(
      numbers,
      [...numbers].sort((a, b) => a - b),
    );
    assert.not.ok(
      filesOf(cut).some((name) => name.endsWith('.spare')),
      'spares of a dead process are removed',
    );
  }
});

test('every flipped bit of a last record in one sector is corruption, also before stale bytes', async () => {
  const { disk } = await recycled();
  const content = disk.mount().readFile(path(3));
  const start = content.indexOf('third file, two') - 44;
  const end = start + 44 + 'third file, two'.length;
  for (let at = start; at < end; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const damaged = disk.clone();
      damaged.edit(path(3), (bytes) => {
        bytes[at] = (bytes[at] as number) ^ (1 << bit);
        return bytes;
      });
      assert.throws(
        () => openLog(damaged, RECYCLING),
        (error: { code: string; info: { offset: number } }) =>
          error.code === 'CORRUPTION' && error.info.offset === start,
        `byte ${at - start}, bit ${bit}`,
      );
    }
  }
});

test('a flipped bit before a synced record is corruption, also in a recycled file', async () => {
  const { disk } = await recycled();
  const at = disk.mount().readFile(path(3)).indexOf('third file, one');
  disk.edit(path(3), (bytes) => {
    bytes[at] = (bytes[at] as number) ^ 1;
    return bytes;
  });
  // The next record says that this one had been synced.
  assert.throws(
    () => openLog(disk, RECYCLING),
    (error: { code: string; info: { offset: number } }) =>
      error.code === 'CORRUPTION' && error.info.offset === 0,
  );
});

test('a later record of the file whose predecessor was lost is discarded, reported, and never comes back', async () => {
  const { disk, log } = await recycled();
  await log.append(bytesOf('lost one'), false);
  await log.append(bytesOf('held two'), false);
  const lost = disk.mount().readFile(path(3)).indexOf('lost one') - 44;
  disk.edit(path(3), (bytes) => bytes.fill(0, lost, lost + 44));
  const first = openLog(disk, RECYCLING);
  assert.is(first.recovered.at(-1), 'third file, two');
  assert.is(first.log.recovery.discarded?.at.offset, lost);
  // As long as what was lost: what stood behind it would follow.
  await first.log.append(bytesOf('new one!'), true);
  const second = openLog(disk, RECYCLING);
  assert.equal(second.recovered.slice(-2), ['third file, two', 'new one!']);
});

test('durable appends write zeros ahead, which are no damage and are taken back at the end of a file', async () => {
  const disk = newDisk();
  const sizes: number[] = [];
  const { log } = openLog(disk, { preallocateBytes: 2000 });
  for (let i = 0; i < 12; i++) {
    await log.append(bytesOf(`record ${i}`), true);
    sizes.push(disk.mount().readFile(path(1)).length);
  }
  assert.is(new Set(sizes).size, 1, 'the size changes once');
  const reopened = openLog(disk.clone(), { preallocateBytes: 2000 });
  assert.is(reopened.recovered.length, 12);
  assert.is(reopened.log.recovery.discarded, undefined);
  assert.is(log.sizeBytes(), 12 * 56);
  log.rotate();
  await log.append(bytesOf('next'), true);
  assert.is(disk.mount().readFile(path(1)).length, 12 * 56 + RECORD_HEADER_BYTES, 'and the end record');
  await log.close();
  assert.is(openLog(disk, { preallocateBytes: 2000 }).recovered.length, 13);
});

test('on a full disk nothing is asked for in advance', async () => {
  const disk = newDisk();
  let limit = Number.POSITIVE_INFINITY;
  const files = {
    fault: ({ kind, sizeBytes = 0 }: FileOperation) =>
      kind === 'write' && sizeBytes > limit ? ('short' as const) : undefined,
  };
  const { log } = openLog(disk, { preallocateBytes: 2000, files });
  limit = 100;
  const code = await log.append(bytesOf('one'), true).then(
    () => 'written',
    (error) => error.code,
  );
  assert.is(code, 'LOG_NO_SPACE');
  await log.append(bytesOf('two'), true);
  assert.equal(openLog(disk).recovered, ['two']);
});

test.run();
