/** The log of all groups: what goes in comes out, from memory or disk, before and after reopening. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { configurationOf } from '../../src/raft/configuration.js';
import { encodeChange } from '../../src/raft/configuration-codec.js';
import type { Entry } from '../../src/raft/types.js';
import { decodePayload, encodeBatch, NO_INCARNATION } from '../../src/raft-log/format.js';
import type { GroupLog } from '../../src/raft-log/raft-log.js';
import { SECTOR_BYTES } from '../../src/record/torn-write.js';
import type { SimDisk } from '../../src/sim/world/disk.js';
import { type FileOperation, systemError } from '../../src/sim/world/file-operation.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import {
  batchOf,
  CONFIGURATION,
  entry,
  groupOf,
  newDisk,
  openLog,
  render,
  renderAll,
  Script,
  STATE,
  segmentsOf,
} from './log-lab.js';

function texts(entries: readonly Entry[]): string[] {
  return entries.map((item) => Buffer.from(item.body).toString('latin1'));
}

function numbered(first: number, count: number, term = 1): Entry[] {
  return Array.from({ length: count }, (_, i) => entry(term, `entry ${first + i}`));
}

async function filledLog(
  disk: SimDisk,
  options: Parameters<typeof openLog>[1] = {},
  count = 20,
): Promise<GroupLog> {
  const log = openLog(disk, options);
  const group = await log.createGroup(1, {
    index: 0,
    term: 0,
    configuration: CONFIGURATION,
    directory: STATE,
  });
  for (let index = 1; index <= count; index++) await group.append(batchOf(index, numbered(index, 1)));
  return group;
}

/** Changes one byte in the middle of the first occurrence of a text. */
function damage(disk: SimDisk, text: string): void {
  for (const path of segmentsOf(disk)) {
    disk.edit(path, (content) => {
      const at = content.indexOf(text);
      if (at >= 0) content[at + 2] = (content[at + 2] as number) ^ 1;
      return content;
    });
  }
}

test('entries, terms, votes and configuration come back after reopening', async () => {
  const disk = newDisk();
  const log = openLog(disk);
  const group = await log.createGroup(1, {
    index: 0,
    term: 0,
    configuration: CONFIGURATION,
    directory: STATE,
  });
  const noop: Entry = { term: 2, kind: 'noop', body: new Uint8Array(0) };
  await group.append(batchOf(1, [noop, entry(2, 'a')], { vote: 3, commit: 0 }));
  await group.append(batchOf(3, [entry(5, 'b')], { vote: 2, commit: 1 }));
  await log.close();
  const reopened = groupOf(openLog(disk), 1);
  assert.equal(reopened.hardState, { term: 5, vote: 2, commit: 1 });
  const incarnation = NO_INCARNATION;
  assert.equal(reopened.base, {
    index: 0,
    term: 0,
    configuration: CONFIGURATION,
    directory: STATE,
    incarnation,
  });
  assert.is(reopened.lastIndex, 3);
  assert.equal(
    reopened.entries(1, 3).map(({ term, kind }) => `${term} ${kind}`),
    ['2 noop', '2 command', '5 command'],
  );
  assert.equal(texts(reopened.entries(2, 3)), ['a', 'b']);
  assert.equal(
    [...reopened.entrySizes()].map(({ term }) => term),
    [2, 2, 5],
  );
});

test('a vote alone is kept', async () => {
  const disk = newDisk();
  const group = await filledLog(disk, {}, 2);
  await group.append(batchOf(0, [], { term: 9, vote: 2, commit: 1 }));
  const reopened = groupOf(openLog(disk.powerCutClone(new SeededRandom(1))), 1);
  assert.equal(reopened.hardState, { term: 9, vote: 2, commit: 1 });
  assert.is(reopened.lastIndex, 2);
});

test('entries can be read as soon as they are handed over', async () => {
  const log = openLog(newDisk());
  const group = await log.createGroup(1, {
    index: 0,
    term: 0,
    configuration: CONFIGURATION,
    directory: STATE,
  });
  const written = group.append(batchOf(1, numbered(1, 3)));
  assert.equal(texts(group.entries(1, 3)), ['entry 1', 'entry 2', 'entry 3']);
  await written;
});

test('a batch replaces what lies from its first entry on, across segments', async () => {
  const disk = newDisk();
  const group = await filledLog(disk);
  assert.ok(segmentsOf(disk).length > 2);
  await group.append(batchOf(3, numbered(3, 2, 2)));
  const expected = ['1 entry 1', '1 entry 2', '2 entry 3', '2 entry 4'];
  const shown = (from: GroupLog) => from.entries(1, 4).map(({ term, body }) => `${term} ${body}`);
  assert.is(group.lastIndex, 4);
  assert.equal(shown(group), expected);
  const reopened = groupOf(openLog(disk), 1);
  assert.is(reopened.lastIndex, 4);
  assert.equal(shown(reopened), expected);
  assert.is(reopened.sizeBytes, group.sizeBytes);
});

test('a batch that would leave a gap, or reach below the base, is refused', async () => {
  const group = await filledLog(newDisk());
  await group.compact(5);
  for (const first of [22, 5]) {
    try {
      await group.append(batchOf(first, numbered(first, 1)));
      assert.unreachable();
    } catch (error) {
      assert.is(errorCode(error), 'RAFT_INVARIANT');
    }
  }
});

test('what the cache let go is read from the disk', async () => {
  const disk = newDisk();
  let reads = 0;
  const fault = ({ kind }: FileOperation) => {
    if (kind === 'read') reads++;
    return undefined;
  };
  const group = await filledLog(disk, { maxCachedBytes: 100, files: { fault } });
  assert.equal(texts(group.entries(19, 20)), ['entry 19', 'entry 20']);
  assert.is(reads, 0);
  assert.equal(
    texts(group.entries(1, 20)),
    numbered(1, 20).map((item) => `${item.body}`),
  );
  assert.ok(reads > 0);
  await group.append(batchOf(11, numbered(11, 1, 2)));
  assert.equal(texts(group.entries(9, 11)), ['entry 9', 'entry 10', 'entry 11']);
});

test('the cache of all groups has one limit; the group that was written the longest ago loses its part first', async () => {
  const disk = newDisk();
  let reads = 0;
  const fault = ({ kind }: FileOperation) => {
    if (kind === 'read') reads++;
    return undefined;
  };
  const log = openLog(disk, { maxCachedBytes: 1000, files: { fault } });
  const base = { index: 0, term: 0, configuration: CONFIGURATION, directory: STATE };
  const groups = await Promise.all([1, 2, 3].map((id) => log.createGroup(id, base)));
  const large = entry(1, 'x'.repeat(400));
  for (const group of groups) await group.append(batchOf(1, [large]));
  const readsOf = (group: GroupLog | undefined) => {
    const before = reads;
    assert.is(group?.entries(1, 1).length, 1);
    return reads - before;
  };
  assert.equal(groups.map(readsOf), [1, 0, 0]);
  // Read, but not written: it is not cached again. The next one to go is that of group 2.
  await groups[0]?.append(batchOf(2, [large]));
  assert.equal(groups.map(readsOf), [1, 1, 0]);
  assert.ok(groups.reduce((sum, { cachedBytes }) => sum + cachedBytes, 0) <= 1000);
});

test('an entry that is not written yet is in memory, however small the cache', async () => {
  // Each batch is a write of its own.
  const group = await filledLog(newDisk(), { maxCachedBytes: 0, maxGroupCommitBytes: 1 });
  const running = [1, 2, 3].map((i) => group.append(batchOf(20 + i, numbered(20 + i, 1))));
  for (const written of running) {
    assert.equal(texts(group.entries(20, 23)), ['entry 20', 'entry 21', 'entry 22', 'entry 23']);
    await written;
  }
});

test('a write that ends late does not give its place to the entry that has replaced its own', async () => {
  const group = await filledLog(newDisk(), { maxCachedBytes: 0, maxGroupCommitBytes: 1 });
  const first = group.append(batchOf(21, numbered(21, 1)));
  const second = group.append(batchOf(21, [entry(2, 'other 21')], { term: 2 }));
  await first;
  assert.equal(texts(group.entries(21, 21)), ['other 21']);
  await second;
  assert.equal(texts(group.entries(21, 21)), ['other 21']);
});

test('an entry that waits behind another group of writes is in memory, when that one is done', async () => {
  const log = openLog(newDisk(), { maxCachedBytes: 0, maxGroupCommitBytes: 1 });
  const base = { index: 0, term: 0, configuration: CONFIGURATION, directory: STATE };
  const group = await log.createGroup(1, base);
  const [first, second] = [1, 2].map((index) => group.append(batchOf(index, numbered(index, 1))));
  await first;
  assert.equal(texts(group.entries(1, 2)), ['entry 1', 'entry 2']);
  await second;
});

test('an entry whose bytes have rotted on the disk is an error, never another entry', async () => {
  const disk = newDisk();
  const group = await filledLog(disk, { maxCachedBytes: 0 });
  damage(disk, 'entry 7');
  assert.equal(texts(group.entries(1, 6)).length, 6);
  assert.equal(texts(group.entries(8, 20)).length, 13);
  assert.throws(
    () => group.entries(1, 20),
    (error: Error) => errorCode(error) === 'CORRUPTION',
  );
});

test('the same for an entry that was recovered', async () => {
  const disk = newDisk();
  await filledLog(disk);
  const group = groupOf(openLog(disk), 1);
  damage(disk, 'entry 7');
  assert.throws(
    () => group.entries(7, 7),
    (error: Error) => errorCode(error) === 'CORRUPTION',
  );
});

test('entries outside the log are an error', async () => {
  const group = await filledLog(newDisk());
  await group.compact(5);
  for (const [first, last] of [
    [5, 6],
    [1, 2],
    [20, 21],
  ] as const) {
    assert.throws(
      () => group.entries(first, last),
      (error: Error) => errorCode(error) === 'CORRUPTION',
    );
  }
});

test('a cut forgets entries and deletes the segments that held only them', async () => {
  const disk = newDisk();
  const group = await filledLog(disk);
  const before = segmentsOf(disk);
  const sizeBytes = group.sizeBytes;
  await group.compact(15);
  assert.ok(segmentsOf(disk).length < before.length);
  assert.ok(group.sizeBytes < sizeBytes / 2);
  assert.equal(texts(group.entries(16, 17)), ['entry 16', 'entry 17']);
  const reopened = groupOf(openLog(disk), 1);
  assert.is(reopened.base.index, 15);
  assert.is(reopened.base.term, 1);
  assert.is(render(reopened), render(group));
  assert.is(reopened.sizeBytes, group.sizeBytes);
});

test('a cut takes the changes of members up to it into the base, and no others', async () => {
  const changed = (node: number): Entry => {
    const changes = [{ type: 'addLearner', node } as const];
    return { term: 1, kind: 'configuration', body: encodeChange({ changes, transition: 'auto' }) };
  };
  const disk = newDisk();
  const group = await filledLog(disk, {}, 2);
  await group.append(batchOf(3, [changed(7), entry(1, 'x'), changed(8), entry(1, 'y')]));
  // Another leader knew nothing of the second change.
  await group.append(batchOf(5, [entry(2, 'z'), changed(9)]));
  for (const [index, learners] of [
    [2, []],
    [3, [7]],
    [5, [7]],
    [6, [7, 9]],
  ] as const) {
    await group.compact(index);
    for (const one of [group, groupOf(openLog(disk.powerCutClone(new SeededRandom(1))), 1)])
      assert.equal(one.base.configuration.learners, learners, `after entry ${index}`);
  }
});

test('a log that lost its oldest segment is corruption', async () => {
  const disk = newDisk();
  await filledLog(disk);
  const [oldest] = segmentsOf(disk);
  disk.mount().unlink(oldest as string);
  assert.throws(
    () => openLog(disk.powerCutClone(new SeededRandom(1))),
    (error: unknown) => errorCode(error) === 'CORRUPTION',
  );
  assert.throws(
    () => openLog(disk),
    (error: unknown) => errorCode(error) === 'CORRUPTION',
  );
});

test('a segment stays as long as any group needs an entry in it', async () => {
  const disk = newDisk();
  const log = openLog(disk);
  const busy = await log.createGroup(1, {
    index: 0,
    term: 0,
    configuration: CONFIGURATION,
    directory: STATE,
  });
  const quiet = await log.createGroup(2, {
    index: 0,
    term: 0,
    configuration: configurationOf([4]),
    directory: 'state-of-group-2',
  });
  // Too much to be copied forward.
  const large = entry(1, 'the only one'.repeat(200));
  await quiet.append(batchOf(1, [large], { term: 1, vote: 4, commit: 0 }));
  for (let index = 1; index <= 40; index++) await busy.append(batchOf(index, numbered(index, 1)));
  const before = segmentsOf(disk).length;
  await busy.compact(40);
  assert.ok(segmentsOf(disk).length >= before);
  await quiet.compact(1);
  assert.is(segmentsOf(disk).length, 1);
  const reopened = openLog(disk);
  assert.is(renderAll(reopened, [1, 2]), renderAll(log, [1, 2]));
  assert.equal(groupOf(reopened, 2).base.configuration, configurationOf([4]));
  assert.is(groupOf(reopened, 2).base.directory, 'state-of-group-2');
  assert.equal(groupOf(reopened, 2).hardState, { term: 1, vote: 4, commit: 0 });
});

test('a group that is hardly written does not keep the segments of the others', async () => {
  const disk = newDisk();
  const log = openLog(disk);
  const base = { index: 0, term: 0, configuration: CONFIGURATION, directory: STATE };
  const [busy, quiet, failed] = await Promise.all([1, 2, 3].map((id) => log.createGroup(id, base)));
  const change = encodeChange({ changes: [{ type: 'addLearner', node: 4 }], transition: 'auto' });
  await quiet?.append(
    batchOf(1, [entry(1, 'one'), { term: 2, kind: 'configuration', body: change }], { vote: 3, commit: 1 }),
  );
  // Its replica has stopped: nobody cuts its log any more.
  await failed?.append(batchOf(1, numbered(1, 3)));
  let most = 0;
  for (let index = 1; index <= 300; index++) {
    await busy?.append(batchOf(index, numbered(index, 1), { commit: index }));
    if (index % 10 === 0) await busy?.compact(index - 5);
    most = Math.max(most, segmentsOf(disk).length);
  }
  assert.ok(most < 10, `${most} segments`);
  const shown = renderAll(log, [1, 2, 3]);
  assert.is(renderAll(openLog(disk.clone()), [1, 2, 3]), shown);
  // Also what is appended after that, and cut.
  await quiet?.append(batchOf(3, [entry(3, 'three')], { vote: 2, commit: 2 }));
  await quiet?.compact(2);
  assert.is(renderAll(openLog(disk.clone()), [1, 2, 3]), renderAll(log, [1, 2, 3]));
  assert.is(groupOf(log, 2).base.configuration.learners.join(), '4');
});

test('a vote that is being written is not undone by a copy of the entries', async () => {
  const disk = newDisk();
  const log = openLog(disk);
  const group = await log.createGroup(1, {
    index: 0,
    term: 0,
    configuration: CONFIGURATION,
    directory: STATE,
  });
  await group.append(batchOf(1, numbered(1, 2)));
  await Promise.all([group.append(batchOf(0, [], { term: 9, vote: 7 })), group.copyForward()]);
  assert.equal(groupOf(openLog(disk.clone()), 1).hardState, { term: 9, vote: 7, commit: 0 });
});

test('entries that wait for space on the disk are not copied forward', async () => {
  const disk = newDisk();
  const log = openLog(disk);
  const base = { index: 0, term: 0, configuration: CONFIGURATION, directory: STATE };
  const [busy, waiting] = await Promise.all([1, 2].map((id) => log.createGroup(id, base)));
  await waiting?.append(batchOf(1, numbered(1, 2)));
  waiting?.hold(batchOf(3, numbered(3, 1, 9), { term: 9 }));
  for (let index = 1; index <= 100; index++) {
    await busy?.append(batchOf(index, numbered(index, 1), { commit: index }));
    if (index % 10 === 0) await busy?.compact(index - 5);
  }
  assert.is(groupOf(openLog(disk.clone()), 2).lastIndex, 2);
});

test('what is being replaced stays on disk until its replacement is durable', async () => {
  const disk = newDisk();
  let written: (() => void) | undefined;
  const fault = ({ kind }: FileOperation) => {
    if (kind === 'write') written?.();
    return undefined;
  };
  const latency = async () => {
    for (let turns = 0; turns < 5; turns++) await Promise.resolve();
  };
  const log = openLog(disk, { maxSegmentBytes: 100, files: { fault, latency } });
  const base = { index: 0, term: 0, configuration: CONFIGURATION, directory: STATE };
  const group = await log.createGroup(1, base);
  const other = await log.createGroup(2, base);
  await other.append(batchOf(1, numbered(1, 1)));
  await group.append(batchOf(1, numbered(1, 1)));
  await other.append(batchOf(2, numbered(2, 1)));
  await group.append(batchOf(2, numbered(2, 1)));
  for (let index = 3; index <= 6; index++) await other.append(batchOf(index, numbered(index, 1)));
  // The replacement comes while the cut is being written: too late for its record.
  let replaced: Promise<void> | undefined;
  written = () => {
    replaced ??= group.append(batchOf(1, [entry(2, 'other 1')]));
  };
  await other.compact(1);
  assert.ok(replaced);
  const reopened = groupOf(openLog(disk.powerCutClone(new SeededRandom(1))), 1);
  assert.equal(texts(reopened.entries(1, reopened.lastIndex)), ['entry 1', 'entry 2']);
  await replaced;
});

test('what was replaced goes when its replacement is durable', async () => {
  const disk = newDisk();
  const log = openLog(disk);
  const base = { index: 0, term: 0, configuration: CONFIGURATION, directory: STATE };
  const group = await log.createGroup(1, base);
  const other = await log.createGroup(2, base);
  await group.append(batchOf(1, numbered(1, 1)));
  for (let index = 1; index <= 20; index++) await other.append(batchOf(index, numbered(index, 1)));
  await group.append(batchOf(1, [entry(2, 'other 1')], { term: 2 }));
  await other.compact(20);
  assert.is(segmentsOf(disk).length, 1);
});

test('a log that lacks what it knows to be committed, or entries behind its base, does not open', async () => {
  const unknown = newDisk();
  await (await filledLog(unknown, {}, 2)).append(batchOf(0, [], { commit: 3 }));
  assert.throws(() => openLog(unknown), /holds 1 to 2 but its commit index is 3/);
  const headless = newDisk();
  await filledLog(headless);
  headless.mount().unlink(segmentsOf(headless)[0] as string);
  assert.throws(() => openLog(headless), /is incomplete: it starts after entry 0, holds [^1]/);
});

test('an intact payload with more in it than this version writes is not read', () => {
  const { payload } = encodeBatch(1, batchOf(1, numbered(1, 2)));
  const bytes = Buffer.concat(payload);
  assert.is(decodePayload(bytes).type, 'batch');
  assert.throws(
    () => decodePayload(Buffer.concat([bytes, Buffer.alloc(1)])),
    (error: Error) => errorCode(error) === 'CORRUPTION',
  );
});

test('after a full disk the same batches are given again, in order, and nothing is there twice', async () => {
  const disk = newDisk();
  let isFull = false;
  const fault = ({ kind }: FileOperation) => (isFull && kind === 'write' ? ('short' as const) : undefined);
  const group = await filledLog(disk, { files: { fault } }, 3);
  isFull = true;
  const batches = [
    batchOf(4, numbered(4, 2)),
    batchOf(6, numbered(6, 1)),
    batchOf(5, [entry(2, 'other 5')], { term: 2 }),
  ];
  const outcomes = await Promise.allSettled(batches.map((batch) => group.append(batch)));
  for (const outcome of outcomes) {
    assert.is(outcome.status === 'rejected' && errorCode(outcome.reason), 'LOG_NO_SPACE');
  }
  assert.is(groupOf(openLog(disk.powerCutClone(new SeededRandom(1))), 1).lastIndex, 3);
  isFull = false;
  await Promise.all(batches.map((batch) => group.append(batch)));
  const expected = ['entry 3', 'entry 4', 'other 5'];
  assert.equal(texts(group.entries(3, 5)), expected);
  const reopened = groupOf(openLog(disk.powerCutClone(new SeededRandom(2))), 1);
  assert.is(reopened.lastIndex, 5);
  assert.equal(texts(reopened.entries(3, 5)), expected);
});

test('a cut that the full disk refused frees nothing until a later one is durable', async () => {
  const disk = newDisk();
  let isFull = false;
  const fault = ({ kind }: FileOperation) => (isFull && kind === 'write' ? ('short' as const) : undefined);
  const log = openLog(disk, { files: { fault } });
  const groups = await Promise.all(
    [1, 2].map((id) =>
      log.createGroup(id, { index: 0, term: 0, configuration: CONFIGURATION, directory: STATE }),
    ),
  );
  const [group, other] = groups as [GroupLog, GroupLog];
  for (let index = 1; index <= 20; index++) {
    const large = entry(1, `${index}`.padEnd(100));
    await Promise.all(groups.map((each) => each.append(batchOf(index, [large]))));
  }
  const before = segmentsOf(disk).length;
  isFull = true;
  assert.is(await group.compact(15).catch(errorCode), 'LOG_NO_SPACE');
  isFull = false;
  await other.compact(20);
  assert.ok(segmentsOf(disk).length >= before);
  assert.is(groupOf(openLog(disk.clone()), 1).entries(1, 20).length, 20);
  await group.compact(16);
  assert.ok(segmentsOf(disk).length < before);
  assert.is(groupOf(openLog(disk.clone()), 1).base.index, 16);
});

test('ledger 9: after a failed sync nothing is accepted any more, and no sync is tried again (fsyncgate)', async () => {
  const disk = newDisk();
  let fails = false;
  let operations = 0;
  const fault = ({ kind, path }: FileOperation) => {
    operations++;
    return fails && kind === 'sync' ? systemError('EIO', 'fdatasync', path) : undefined;
  };
  const group = await filledLog(disk, { files: { fault } }, 3);
  fails = true;
  let before = 0;
  for (let i = 0; i < 2; i++) {
    try {
      await group.append(batchOf(4, numbered(4, 1)));
      assert.unreachable();
    } catch (error) {
      assert.is(errorCode(error), 'LOG_FAILED');
    }
    if (!fails) assert.is(operations, before, 'nothing was done on the disk');
    before = operations;
    fails = false;
  }
});

test('ledger 9: a tail that was torn or arrived out of order is cut off, and the log opens (etcd #6378)', async () => {
  const disk = newDisk();
  const group = await filledLog(disk, {}, 3);
  await group.append(batchOf(4, [entry(1, `entry 4 ${'x'.repeat(4 * SECTOR_BYTES)}`)]));
  const path = segmentsOf(disk).at(-1) as string;
  const start = disk.mount().readFile(path).indexOf('entry 4');
  for (let at = start + 1; at < start + 2 * SECTOR_BYTES; at += 100) {
    for (const tear of ['cut', 'hole'] as const) {
      const torn = disk.clone();
      const sector = Math.ceil(at / SECTOR_BYTES) * SECTOR_BYTES;
      torn.edit(path, (content) =>
        tear === 'cut' ? content.subarray(0, at) : content.fill(0, sector, sector + SECTOR_BYTES),
      );
      const reopened = groupOf(openLog(torn), 1);
      assert.equal(texts(reopened.entries(1, 3)), ['entry 1', 'entry 2', 'entry 3'], `${tear} at ${at}`);
      assert.is(reopened.lastIndex, 3);
      // What is appended now is found again.
      await reopened.append(batchOf(4, numbered(4, 1, 2)));
      assert.equal(texts(groupOf(openLog(torn), 1).entries(4, 4)), ['entry 4']);
    }
  }
});

test('ledger 9: a flipped bit anywhere gives a typed error or changes nothing', async () => {
  const disk = newDisk();
  const log = openLog(disk);
  for (const id of [1, 2])
    await log.createGroup(id, { index: 0, term: 0, configuration: CONFIGURATION, directory: STATE });
  const script = new Script(log, [1, 2], new SeededRandom(5), { steps: 14, maxBodyBytes: 20 });
  await script.run();
  let refused = 0;
  let harmless = 0;
  for (const path of segmentsOf(disk)) {
    const { length } = disk.mount().readFile(path);
    for (let at = 0; at < length; at++) {
      const damaged = disk.clone();
      damaged.edit(path, (content) => {
        content[at] = (content[at] as number) ^ 0x10;
        return content;
      });
      try {
        const reopened = openLog(damaged);
        assert.is(renderAll(reopened, [1, 2]), script.states.at(-1), `${path} at ${at}`);
        harmless++;
      } catch (error) {
        assert.is(errorCode(error), 'CORRUPTION', `${path} at ${at}`);
        refused++;
      }
    }
  }
  assert.ok(refused > 400, `${refused} were refused`);
  assert.ok(harmless < 100, `${harmless} changed nothing, as padding does`);
});

test.run();
