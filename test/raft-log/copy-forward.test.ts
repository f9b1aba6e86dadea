/** Entries that are copied forward, beside whatever else happens to the log. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode, errorMessage } from '../../src/env/errors.js';
import type { GroupLog } from '../../src/raft-log/raft-log.js';
import { type FileOperation, systemError } from '../../src/sim/world/file-operation.js';
import { batchOf, CONFIGURATION, entry, groupOf, newDisk, openLog, STATE, segmentsOf } from './log-lab.js';

const BASE = { index: 0, term: 0, configuration: CONFIGURATION, directory: STATE };

/** A busy group, and another with a few entries in the oldest segment. */
async function twoGroups(files: NonNullable<Parameters<typeof openLog>[1]>['files'] = {}) {
  const disk = newDisk();
  const log = openLog(disk, { files });
  const [busy, other] = (await Promise.all([1, 2].map((id) => log.createGroup(id, BASE)))) as [
    GroupLog,
    GroupLog,
  ];
  await other.append(batchOf(1, numbered(1, 6)));
  /** Fills segments. */
  const write = async (count: number) => {
    for (let i = 0; i < count; i++) {
      const index = busy.lastIndex + 1;
      await busy.append(batchOf(index, numbered(index, 1), { commit: index }));
    }
  };
  return { disk, log, busy, other, write };
}

function numbered(first: number, count: number) {
  return Array.from({ length: count }, (_, i) => entry(1, `entry ${first + i}`));
}

test('a cut that the full disk refused, then appends, then another group’s cut: the log still opens', async () => {
  let isFull = false;
  const fault = ({ kind }: FileOperation) => (isFull && kind === 'write' ? ('short' as const) : undefined);
  const { disk, busy, other, write } = await twoGroups({ fault });
  isFull = true;
  assert.is(await other.compact(4).catch(errorCode), 'LOG_NO_SPACE');
  isFull = false;
  await write(20);
  await other.append(batchOf(7, numbered(7, 1)));
  await write(20);
  await busy.compact(30);
  const reopened = groupOf(openLog(disk.clone()), 2);
  assert.is(reopened.lastIndex, 7);
  assert.is(reopened.entries(reopened.base.index + 1, 7).length, 7 - reopened.base.index);
  // Once it is cut, it keeps no segment any more.
  await other.compact(7);
  await busy.compact(busy.lastIndex);
  assert.is(segmentsOf(disk).length, 1);
  assert.is(groupOf(openLog(disk.clone()), 2).base.index, 7);
});

test('a cut that the full disk refused keeps its segments beyond the next append, also where nothing is copied', async () => {
  let isFull = false;
  const fault = ({ kind }: FileOperation) => (isFull && kind === 'write' ? ('short' as const) : undefined);
  const { disk, busy, other, write } = await twoGroups({ fault });
  while (segmentsOf(disk).length === 1) await write(1);
  await other.append(batchOf(7, numbered(7, 2)));
  isFull = true;
  assert.is(await other.compact(6).catch(errorCode), 'LOG_NO_SPACE');
  isFull = false;
  await other.append(batchOf(9, numbered(9, 1)));
  await busy.compact(busy.lastIndex);
  const reopened = groupOf(openLog(disk.clone()), 2);
  assert.is(reopened.entries(reopened.base.index + 1, 9).length, 9 - reopened.base.index);
});

test('the same for a group that is copied forward: its base comes along, and it keeps no old segment', async () => {
  let isFull = false;
  const fault = ({ kind }: FileOperation) => (isFull && kind === 'write' ? ('short' as const) : undefined);
  for (const cut of [4, 6]) {
    const { disk, busy, other, write } = await twoGroups({ fault });
    isFull = true;
    assert.is(await other.compact(cut).catch(errorCode), 'LOG_NO_SPACE');
    isFull = false;
    let most = 0;
    for (let round = 0; round < 20; round++) {
      await write(10);
      await busy.compact(busy.lastIndex - 5);
      most = Math.max(most, segmentsOf(disk).length);
      const reopened = groupOf(openLog(disk.clone()), 2);
      assert.is(reopened.lastIndex, 6);
    }
    assert.ok(most < 10, `${most} segments`);
    assert.is(groupOf(openLog(disk.clone()), 2).base.index, cut);
  }
});

test('a snapshot or a group that waits for space on the disk is not copied forward', async () => {
  let isFull = false;
  const fault = ({ kind }: FileOperation) => (isFull && kind === 'write' ? ('short' as const) : undefined);
  const { disk, log, busy, other, write } = await twoGroups({ fault });
  isFull = true;
  const snapshot = { index: 4, term: 2, configuration: CONFIGURATION };
  const batch = { ...batchOf(5, [], { term: 2, commit: 4 }), snapshot };
  const install = () => other.install({ ...snapshot, directory: 'state-4-2' }, batch);
  assert.is(await install().catch(errorCode), 'LOG_NO_SPACE');
  assert.is(await log.createGroup(3, BASE).catch(errorCode), 'LOG_NO_SPACE');
  isFull = false;
  await write(60);
  await busy.compact(50);
  const before = openLog(disk.clone());
  assert.equal(before.groupIds, [1, 2]);
  assert.is(groupOf(before, 2).base.directory, STATE);
  assert.is(groupOf(before, 2).entries(1, 6).length, 6);
  await install();
  const after = groupOf(openLog(disk.clone()), 2);
  assert.is(after.base.directory, 'state-4-2');
  assert.is(after.lastIndex, 4);
});

test('a segment that cannot be removed after a copy is removed with a later one', async () => {
  let isBroken = false;
  const fault = ({ kind, path }: FileOperation) =>
    isBroken && (kind === 'unlink' || path.endsWith('.spare'))
      ? systemError('EIO', 'rename', path)
      : undefined;
  const unhandled: unknown[] = [];
  const note = (error: unknown) => void unhandled.push(error);
  process.on('unhandledRejection', note);
  try {
    const { disk, busy, write } = await twoGroups({ fault });
    await write(20);
    assert.is(await busy.compact(18), undefined);
    isBroken = true;
    await write(40);
    await new Promise((turn) => setImmediate(turn));
    assert.is(unhandled.map(errorMessage).join(), '');
    const before = segmentsOf(disk).length;
    isBroken = false;
    await busy.compact(busy.lastIndex - 1);
    assert.ok(segmentsOf(disk).length < before);
    assert.is(groupOf(openLog(disk.clone()), 2).entries(1, 6).length, 6);
  } finally {
    process.off('unhandledRejection', note);
  }
});

test('very many small entries are copied, too', async () => {
  const disk = newDisk();
  const log = openLog(disk, { maxSegmentBytes: 64 * 1024 * 1024, maxCachedBytes: 0 });
  const group = await log.createGroup(1, BASE);
  const count = 200_000;
  const small = entry(1, '');
  for (let first = 1; first < count; first += 1000)
    await group.append(
      batchOf(
        first,
        Array.from({ length: 1000 }, () => small),
      ),
    );
  // What was copied lies in one piece.
  for (let copy = 0; copy < 2; copy++) await group.copyForward();
  assert.is(group.entries(count, count).length, 1);
  assert.is(groupOf(openLog(disk), 1).lastIndex, count);
});

test.run();
