import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { File, FileSystem } from '../../src/env/env.js';
import { errorCode, errorMessage } from '../../src/env/errors.js';
import { RECORD_HEADER_BYTES } from '../../src/record/record.js';
import { RecordLog } from '../../src/record/record-log.js';
import { SECTOR_BYTES } from '../../src/record/torn-write.js';
import type { SimDisk } from '../../src/sim/world/disk.js';
import { type Fault, type FileOperation, systemError } from '../../src/sim/world/file-operation.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { bytesOf, DIRECTORY, newDisk, openLog, promptEnv, Script, violation } from '../support/record-lab.js';

const path = (number: number) => `${DIRECTORY}/wal-${String(number).padStart(8, '0')}.log`;

async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  try {
    await promise;
    return 'no error';
  } catch (error) {
    return errorCode(error) ?? errorMessage(error);
  }
}

function openCode(disk: SimDisk): string | undefined {
  try {
    openLog(disk);
    return 'no error';
  } catch (error) {
    return errorCode(error);
  }
}

/** Faults that a test switches on and off. */
function faultSwitch(): {
  fault: (operation: FileOperation) => Fault;
  next: (kind: string, fault: Fault) => void;
} {
  let armed: { kind: string; fault: Fault } | undefined;
  return {
    fault(operation) {
      if (operation.kind !== armed?.kind) return undefined;
      const { fault } = armed;
      armed = undefined;
      return fault;
    },
    next(kind, fault) {
      armed = { kind, fault };
    },
  };
}

/** The disk as some power cuts may leave it. */
function powerCuts(disk: SimDisk, count = 20): SimDisk[] {
  const random = new SeededRandom(7);
  return Array.from({ length: count }, () => disk.powerCutClone(random));
}

test('appends resolve to positions that read back, and are recovered in order', async () => {
  const disk = newDisk();
  const { log } = openLog(disk, { maxFileBytes: 200 });
  const texts = Array.from({ length: 30 }, (_, i) => `${i}:${'x'.repeat(i * 3)}`);
  for (const [i, text] of texts.entries()) {
    const position = await log.append([...bytesOf(text.slice(0, 1)), ...bytesOf(text.slice(1))], i % 2 === 0);
    assert.is(log.read(position, text.length).toString('latin1'), text);
  }
  assert.ok(log.currentFile > 3);
  await log.close();
  const again = openLog(disk);
  assert.equal(again.recovered, texts);
  assert.is(again.log.recovery.discarded, undefined);
  assert.is(again.log.sizeBytes(), totalBytes(disk));
});

function totalBytes(disk: SimDisk): number {
  const fs = disk.mount();
  return fs.list(DIRECTORY).reduce((sum, name) => sum + fs.readFile(`${DIRECTORY}/${name}`).length, 0);
}

test('a position past the end is corruption, not garbage', async () => {
  const { log } = openLog(newDisk());
  const { file, offset } = await log.append(bytesOf('abc'), true);
  assert.throws(
    () => log.read({ file, offset }, 1000),
    (error: unknown) => errorCode(error) === 'CORRUPTION',
  );
});

test('64 concurrent durable appends share few syncs', async () => {
  let syncs = 0;
  const disk = newDisk();
  const fault = (operation: FileOperation): Fault => {
    if (operation.kind === 'sync') syncs++;
    return undefined;
  };
  const { log } = openLog(disk, { files: { fault }, maxFileBytes: 1e6, maxGroupBytes: 1e6 });
  await Promise.all(Array.from({ length: 64 }, (_, i) => log.append(bytesOf(`early ${i}`), true)));
  assert.ok(syncs <= 2, `${syncs} syncs for 64 appends at once`);
  assert.is(log.syncs, syncs);
  syncs = 0;
  const client = async (id: number) => {
    for (let i = 0; i < 10; i++) await log.append(bytesOf(`${id} ${i}`), true);
  };
  await Promise.all(Array.from({ length: 64 }, (_, id) => client(id)));
  assert.ok(syncs <= 20, `${syncs} syncs for 64 clients with 10 appends each`);
});

test('buffered appends need no sync, and a kill of the process loses none', async () => {
  const disk = newDisk();
  let syncs = 0;
  const fault = (operation: FileOperation): Fault => {
    if (operation.kind === 'sync') syncs++;
    return undefined;
  };
  const { log } = openLog(disk, { files: { fault } });
  for (let i = 0; i < 5; i++) await log.append(bytesOf(`${i}`), false);
  assert.is(syncs, 0);
  assert.is(log.syncs, 0);
  assert.equal(openLog(disk.clone()).recovered, ['0', '1', '2', '3', '4']);
});

test('a group holds no more than its limit, but always one payload', async () => {
  const disk = newDisk();
  const { log } = openLog(disk, { maxGroupBytes: 100, maxFileBytes: 1e6 });
  await Promise.all(Array.from({ length: 10 }, () => log.append(bytesOf('x'.repeat(60)), false)));
  await log.append(bytesOf('y'.repeat(500)), false);
  await log.close();
  assert.is(openLog(disk).log.recovery.records, 11);
});

test('rotate sends what is appended afterwards to a new file, also of what is queued', async () => {
  const { log } = openLog(newDisk());
  const before = log.append(bytesOf('a'), false);
  log.rotate();
  log.rotate();
  const after = log.append(bytesOf('b'), false);
  assert.is((await after).file, (await before).file + 1);
});

test('removeBefore deletes whole files and never the current one', async () => {
  const disk = newDisk();
  const { log } = openLog(disk);
  for (const text of ['a', 'b', 'c']) {
    await log.append(bytesOf(text), true);
    log.rotate();
  }
  log.removeBefore(3);
  assert.equal(disk.mount().list(DIRECTORY), ['wal-00000003.log']);
  log.removeBefore(100);
  assert.is(log.oldestFile, 3);
  await log.close();
  assert.equal(openLog(disk).recovered, ['c']);
});

test('files below the oldest needed are deleted unread; if that one is missing it is corruption', async () => {
  const disk = newDisk();
  const { log } = openLog(disk);
  for (const text of ['a', 'b', 'c']) {
    await log.append(bytesOf(text), true);
    log.rotate();
  }
  await log.close();
  disk.edit(path(1), (content) => content.fill(0xff));
  const damaged = disk.clone();
  assert.equal(openLog(disk, { oldestNeeded: 2 }).recovered, ['b', 'c']);
  damaged.mount().unlink(path(2));
  assert.throws(
    () => openLog(damaged, { oldestNeeded: 2 }),
    (error: unknown) => errorCode(error) === 'CORRUPTION',
  );
});

test('a file missing in the middle is corruption', async () => {
  const disk = newDisk();
  const { log } = openLog(disk);
  for (const text of ['a', 'b', 'c']) {
    await log.append(bytesOf(text), true);
    log.rotate();
  }
  await log.close();
  disk.mount().unlink(path(2));
  assert.is(openCode(disk), 'CORRUPTION');
});

test('a full disk refuses what is queued, keeps what it had, and goes on when there is space', async () => {
  const disk = newDisk();
  const switched = faultSwitch();
  const { log } = openLog(disk, { files: { fault: switched.fault } });
  await log.append(bytesOf('a'), false);
  for (const full of [
    'short',
    systemError('ENOSPC', 'write', 'x'),
    systemError('EDQUOT', 'write', 'x'),
  ] as const) {
    switched.next('write', full);
    assert.is(await codeOf(log.append(bytesOf('lost'.repeat(300)), true)), 'LOG_NO_SPACE');
  }
  await log.append(bytesOf('b'), true);
  log.rotate();
  switched.next('create', systemError('ENOSPC', 'open', 'x'));
  assert.is(await codeOf(log.append(bytesOf('lost'), true)), 'LOG_NO_SPACE');
  assert.is((await log.append(bytesOf('c'), true)).file, 2);
  log.rotate();
  switched.next('sync-directory', systemError('ENOSPC', 'fsync', 'x'));
  assert.is(await codeOf(log.append(bytesOf('lost'), true)), 'LOG_NO_SPACE');
  assert.is((await log.append(bytesOf('d'), true)).file, 3);
  assert.is(log.failure, undefined);
  for (const cut of powerCuts(disk)) assert.equal(openLog(cut).recovered, ['a', 'b', 'c', 'd']);
});

test('an append behind one that found no space is refused too: the log has no holes', async () => {
  const disk = newDisk();
  const switched = faultSwitch();
  const { log } = openLog(disk, { files: { fault: switched.fault }, maxGroupBytes: 10 });
  switched.next('write', 'short');
  const first = codeOf(log.append(bytesOf('first'.repeat(9)), true));
  const second = codeOf(log.append(bytesOf('second'), true));
  log.rotate();
  const third = codeOf(log.append(bytesOf('third'), true));
  assert.equal(await Promise.all([first, second, third]), ['LOG_NO_SPACE', 'LOG_NO_SPACE', 'LOG_NO_SPACE']);
  assert.is(log.queuedBytes, 0);
  const { file } = await log.append(bytesOf('later'), true);
  assert.is(file, log.currentFile);
  assert.equal(openLog(disk.clone()).recovered, ['later']);
});

test('a single payload that comes alone is written by this thread, unless the disk is slow', async () => {
  const disk = newDisk();
  const switched = faultSwitch();
  const env = promptEnv(disk, { fault: switched.fault });
  let nowMs = 0;
  let isSlow = false;
  const calls: string[] = [];
  const wrap = (file: File): File =>
    new Proxy(file, {
      get(target, key) {
        if (key === 'writeDurable' || key === 'writeDurableNow') {
          calls.push(key === 'writeDurable' ? 'pool' : 'here');
          if (isSlow) nowMs += 3;
        }
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  const fs = new Proxy(env.fs, {
    get(target, key) {
      if (key === 'open')
        return (...parameters: Parameters<FileSystem['open']>) => wrap(target.open(...parameters));
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  let onTurn = () => {};
  const endOfTurn = (run: () => void) => {
    onTurn();
    env.timers.endOfTurn(run);
  };
  const log = RecordLog.open({
    env: { ...env, fs, timers: { ...env.timers, endOfTurn }, clock: { ...env.clock, nowMs: () => nowMs } },
    directory: DIRECTORY,
    name: 'wal',
    maxFileBytes: 1_000_000,
    maxGroupBytes: 1000,
    recovered: () => {},
  });
  const taken = async (write: () => Promise<unknown>) => {
    calls.length = 0;
    await write();
    return calls.join(' ');
  };
  const single = (text = 'a') => log.append(bytesOf(text), true, true);
  await single();
  assert.is(await taken(single), 'here');
  assert.is(await taken(() => single('x'.repeat(70_000))), 'pool', 'large');
  assert.is(await taken(() => log.append(bytesOf('a'), true)), 'pool', 'several entries');
  assert.is(await taken(() => Promise.all([single(), single()])), 'pool', 'two');
  let turns = 0;
  let second: Promise<unknown> | undefined;
  onTurn = () => {
    if (++turns === 2) second = single();
  };
  assert.is(
    await taken(() => single().then(() => second)),
    'pool here',
    'one came while it waited for its turn',
  );
  await log.append(bytesOf('unsynced'), false);
  assert.is(await taken(single), '', 'bytes before it are not synced: a write, and a sync of all');
  assert.is(await taken(single), 'here');
  isSlow = true;
  assert.is(await taken(single), 'here');
  isSlow = false;
  for (let i = 0; i < 16; i++) assert.is(await taken(single), 'pool', 'after a slow write');
  assert.is(await taken(single), 'here');
  isSlow = true;
  const full = async () => {
    switched.next('write', 'short');
    assert.is(await codeOf(single()), 'LOG_NO_SPACE');
  };
  assert.is(await taken(full), 'here');
  assert.is(await taken(full), 'pool', 'after a slow write that failed');
  await log.close();
});

test('a rotation that was queued behind a full disk still happens', async () => {
  const switched = faultSwitch();
  const { log } = openLog(newDisk(), { files: { fault: switched.fault }, maxGroupBytes: 10 });
  const { file } = await log.append(bytesOf('a'), true);
  switched.next('write', 'short');
  const refused = codeOf(log.append(bytesOf('refused'), true));
  log.rotate();
  const behind = codeOf(log.append(bytesOf('behind'), true));
  assert.equal(await Promise.all([refused, behind]), ['LOG_NO_SPACE', 'LOG_NO_SPACE']);
  assert.is((await log.append(bytesOf('b'), true)).file, file + 1);
});

test('what was refused for want of space is certainly not written, whatever had reached the disk', async () => {
  const disk = newDisk();
  const env = promptEnv(disk);
  let full = false;
  // O_DSYNC as it can be: all bytes on the disk, and then an error.
  const wrap = (file: File): File =>
    new Proxy(file, {
      get(target, key) {
        if (key === 'writeDurable' && full) {
          return async (chunks: readonly Uint8Array[], position: number) => {
            await target.writeDurable(chunks, position);
            throw systemError('ENOSPC', 'write', target.path);
          };
        }
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  const fs = new Proxy(env.fs, {
    get(target, key) {
      if (key === 'open') {
        return (...parameters: Parameters<FileSystem['open']>) => wrap(target.open(...parameters));
      }
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const log = RecordLog.open({
    env: { ...env, fs },
    directory: DIRECTORY,
    name: 'wal',
    maxFileBytes: 4096,
    maxGroupBytes: 4096,
    recovered: () => {},
  });
  await log.append(bytesOf('a'), true);
  full = true;
  assert.is(await codeOf(log.append(bytesOf('refused'), true)), 'LOG_NO_SPACE');
  for (const cut of powerCuts(disk)) assert.equal(openLog(cut).recovered, ['a']);
});

test('a failed sync stops the log for ever, whatever its code', async () => {
  for (const code of ['EIO', 'ENOSPC', 'EDQUOT']) {
    const disk = newDisk();
    const switched = faultSwitch();
    const { log } = openLog(disk, { files: { fault: switched.fault } });
    await log.append(bytesOf('a'), false);
    switched.next('sync', systemError(code, 'fdatasync', 'x'));
    const unknown = codeOf(log.append(bytesOf('unknown'), true));
    assert.is(await unknown, 'LOG_FAILED', code);
    assert.is(await codeOf(log.append(bytesOf('b'), false)), 'LOG_FAILED', code);
    assert.is(log.failure?.code, 'LOG_FAILED');
    await log.close();
    assert.is(await codeOf(log.append(bytesOf('b'), false)), 'LOG_FAILED', code);
  }
});

test('a failed sync or directory sync at a rotation stops the log, and what is queued', async () => {
  for (const kind of ['sync', 'sync-directory', 'create']) {
    const switched = faultSwitch();
    const { log } = openLog(newDisk(), { files: { fault: switched.fault } });
    await log.append(bytesOf('a'), true);
    log.rotate();
    switched.next(kind, systemError('EIO', kind, 'x'));
    const b = codeOf(log.append(bytesOf('b'), true));
    log.rotate();
    const c = codeOf(log.append(bytesOf('c'), true));
    assert.equal(await Promise.all([b, c]), ['LOG_FAILED', 'LOG_FAILED'], kind);
    assert.is(log.queuedBytes, 0);
  }
});

test('records that a failed sync left in the page cache only are made durable before they count', async () => {
  const disk = newDisk();
  const switched = faultSwitch();
  const first = openLog(disk, { files: { fault: switched.fault } });
  await first.log.append(bytesOf('a'), true);
  await first.log.append(bytesOf('b'), false);
  switched.next('sync', 'lose');
  assert.is(await codeOf(first.log.append(bytesOf('c'), true)), 'LOG_FAILED');
  await first.log.close();

  const second = openLog(disk);
  assert.equal(second.recovered, ['a', 'b', 'c']);
  for (const cut of powerCuts(disk)) assert.equal(openLog(cut).recovered, ['a', 'b', 'c']);
  await second.log.append(bytesOf('d'), true);
  for (const cut of powerCuts(disk)) assert.equal(openLog(cut).recovered, ['a', 'b', 'c', 'd']);
});

test('a file that lost its end is noticed, although its successor was empty when the log was reopened', async () => {
  const disk = newDisk();
  const fault = ({ kind, path: name }: FileOperation): Fault =>
    kind === 'write' && name === path(2) ? systemError('EIO', 'write', name) : undefined;
  const first = openLog(disk, { files: { fault } });
  await first.log.append(bytesOf('a'), true);
  const { offset } = await first.log.append(bytesOf('b'), true);
  first.log.rotate();
  assert.is(await codeOf(first.log.append(bytesOf('unknown'), true)), 'LOG_FAILED');
  assert.equal(disk.mount().list(DIRECTORY).length, 2);
  await first.log.close();

  const second = openLog(disk);
  assert.equal(second.recovered, ['a', 'b']);
  await second.log.append(bytesOf('c'), true);
  await second.log.close();
  assert.equal(openLog(disk.clone()).recovered, ['a', 'b', 'c']);
  disk.edit(path(1), (content) => content.subarray(0, offset - 4 - RECORD_HEADER_BYTES));
  assert.is(openCode(disk), 'CORRUPTION');
});

/** Three files, each with one record; the last is the current one. */
async function threeFiles(): Promise<SimDisk> {
  const disk = newDisk();
  const { log } = openLog(disk);
  for (const text of ['a', 'b', 'c']) {
    log.rotate();
    await log.append(bytesOf(text), true);
  }
  assert.is(log.currentFile, 3);
  await log.close();
  return disk;
}

test('the loss of the last file is noticed: the one before it says that it was there', async () => {
  const disk = await threeFiles();
  assert.equal(openLog(disk.clone()).recovered, ['a', 'b', 'c']);
  disk.mount().unlink(path(3));
  try {
    openLog(disk);
    assert.unreachable();
  } catch (error) {
    assert.is(errorCode(error), 'CORRUPTION');
    assert.match(errorMessage(error), `${path(3)} is damaged at offset 0: the file is missing`);
  }
  // Nothing was changed: with the file put back all is there again.
  const whole = await threeFiles();
  disk
    .mount()
    .open(path(3), 'create')
    .writeSync([whole.mount().readFile(path(3))], 0);
  assert.equal(openLog(disk).recovered, ['a', 'b', 'c']);
});

test('files that the owner knows to exist must be there, and complete but for the newest', async () => {
  const known = { oldestNeeded: 1, newestKnown: 3 };
  const disk = await threeFiles();
  assert.equal(openLog(disk.clone(), known).recovered, ['a', 'b', 'c']);
  assert.throws(
    () => openLog(newDisk(), known),
    /wal-00000001.log is damaged at offset 0: the file is missing/,
  );
  assert.throws(() => openLog(disk.clone(), { ...known, newestKnown: 4 }), /wal-00000004.log .* is missing/);
  assert.is(openLog(newDisk(), { oldestNeeded: 4, newestKnown: 3 }).log.currentFile, 3);
  // Without a later record that vouches for it, a damaged end looks like the tail of a crash.
  disk.edit(path(3), () => Buffer.alloc(0));
  disk.edit(path(2), (content) => content.subarray(0, 20));
  assert.equal(openLog(disk.clone()).recovered, ['a']);
  assert.throws(() => openLog(disk.clone(), known), /the synced end of the file is missing/);
});

test('a file that was only begun when the process died does not count, and what it held before is not reported', async () => {
  const disk = newDisk();
  let isDead = false;
  const fault = ({ kind, path: name }: FileOperation): Fault => {
    isDead ||= kind === 'write' && name === path(4);
    return isDead ? systemError('EIO', kind, name) : undefined;
  };
  const { log } = openLog(disk, { recycles: true, files: { fault } });
  for (const text of ['old one', 'old two', 'a']) {
    log.rotate();
    await log.append(bytesOf(text), true);
  }
  log.removeBefore(3);
  await log.append(bytesOf('b'), false);
  log.rotate();
  const endIsCut = disk.clone();
  await log.append(bytesOf('c'), false).catch(() => {});
  // As it is when the end record of file 3 was never written: file 4 is a recycled one with stale records.
  const stale = disk.mount().readFile(path(4));
  assert.ok(stale.length > 0);
  endIsCut.mount().open(path(4), 'create').writeSync([stale], 0);
  const { log: again, recovered } = openLog(endIsCut, { recycles: true, oldestNeeded: 3 });
  assert.equal(recovered, ['a', 'b']);
  assert.is(again.recovery.discarded, undefined);
  assert.equal(again.recovery.end.file, 3);
  assert.not.ok(endIsCut.mount().exists(path(4)));
});

test('what the end record of a file vouches for is made durable before a successor without records is used', async () => {
  const disk = newDisk();
  const switched = faultSwitch();
  const first = openLog(disk, { files: { fault: switched.fault } });
  await first.log.append(bytesOf('a'), false);
  first.log.rotate();
  switched.next('sync', 'lose');
  assert.is(await codeOf(first.log.append(bytesOf('b'), true)), 'LOG_FAILED');
  const second = openLog(disk);
  assert.equal(second.recovered, ['a']);
  await second.log.append(bytesOf('c'), true);
  assert.is(second.log.currentFile, 2);
  for (const cut of powerCuts(disk)) assert.equal(openLog(cut).recovered, ['a', 'c']);
});

test('nothing is acknowledged as durable behind a sync in the background that failed', async () => {
  for (const isQueued of [true, false]) {
    const disk = newDisk();
    const switched = faultSwitch();
    const first = openLog(disk, { files: { fault: switched.fault }, syncStepBytes: 100 });
    await first.log.append(bytesOf('a'), true);
    switched.next('sync', 'lose');
    await first.log.append(bytesOf('x'.repeat(600)), false);
    if (!isQueued) await new Promise((resolve) => setImmediate(resolve));
    assert.is(await codeOf(first.log.append(bytesOf('b'), true)), 'LOG_FAILED');
    await first.log.close();
    for (const cut of powerCuts(disk)) assert.is(openLog(cut).recovered[0], 'a');
  }
});

test('what is appended behind a sync in the background ends with it: durable, or the first of a new file', async () => {
  for (const isDurable of [true, false]) {
    for (const fault of [undefined, 'lose'] as const) {
      const disk = newDisk();
      const switched = faultSwitch();
      let isHeld = false;
      let release = () => {};
      const latency = async ({ kind }: FileOperation) => {
        if (!isHeld || kind !== 'sync') return;
        isHeld = false;
        await new Promise<void>((resolve) => {
          release = resolve;
        });
      };
      const files = { fault: switched.fault, latency };
      const { log } = openLog(disk, { files, syncStepBytes: 100 });
      isHeld = true;
      switched.next('sync', fault);
      await log.append(bytesOf('x'.repeat(600)), false);
      if (!isDurable) log.rotate();
      let outcome: string | undefined = 'waits';
      const appended = codeOf(log.append(bytesOf('b'), isDurable)).then((code) => {
        outcome = code;
      });
      for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setImmediate(resolve));
      assert.is(outcome, 'waits');
      release();
      await appended;
      assert.is(outcome, fault ? 'LOG_FAILED' : 'no error');
      if (isDurable && !fault) for (const cut of powerCuts(disk)) assert.is(openLog(cut).recovered[1], 'b');
      await log.close();
    }
  }
});

test('a spare file whose new name could not be made durable fails the log when it is needed', async () => {
  const disk = newDisk();
  let syncsUntilFailure = Number.POSITIVE_INFINITY;
  const fault = ({ kind }: FileOperation): Fault =>
    kind === 'sync-directory' && syncsUntilFailure-- === 0
      ? systemError('EIO', 'sync-directory', DIRECTORY)
      : undefined;
  const { log } = openLog(disk, { files: { fault }, recycles: true });
  for (const text of ['a', 'b']) {
    await log.append(bytesOf(text), true);
    log.rotate();
  }
  await log.append(bytesOf('c'), true);
  // The first is of the old name.
  syncsUntilFailure = 1;
  await log.removeBeforeLater(2);
  log.rotate();
  assert.is(await codeOf(log.append(bytesOf('d'), true)), 'LOG_FAILED');
  await log.close();
});

test('removing files can be tried again after it failed', async () => {
  for (const [kind, recycles] of [
    ['unlink', false],
    ['sync-directory', false],
    ['rename', true],
    ['sync-directory', true],
  ] as const) {
    const disk = newDisk();
    const switched = faultSwitch();
    const { log } = openLog(disk, { files: { fault: switched.fault }, recycles });
    for (const text of ['a', 'b', 'c']) {
      await log.append(bytesOf(text), true);
      log.rotate();
    }
    switched.next(kind, systemError('EIO', kind, 'x'));
    assert.throws(() => log.removeBefore(3), /EIO/, kind);
    assert.ok(log.sizeBytes() > 0, `${kind}: its size can still be told`);
    log.removeBefore(3);
    assert.is(log.oldestFile, 3, kind);
    for (const cut of powerCuts(disk)) assert.equal(openLog(cut).recovered, ['c'], kind);
  }
});

test('a file with a preamble outlives its successor until the successor begins durably', async () => {
  const disk = newDisk();
  const { log } = openLog(disk, { preamble: () => bytesOf('what must be known') });
  await log.append(bytesOf('a'), true);
  log.rotate();
  const { file } = await log.append(bytesOf('b'), false);
  log.removeBefore(file);
  for (const cut of powerCuts(disk)) assert.is(openLog(cut).recovered[0], 'what must be known');
  await log.append(bytesOf('c'), true);
  log.removeBefore(file);
  for (const cut of powerCuts(disk)) assert.equal(openLog(cut).recovered, ['what must be known', 'b', 'c']);
});

test('records of another file behind the last one are corruption where files are not written over', async () => {
  const disk = newDisk();
  const old = openLog(disk);
  for (const text of ['old a', 'old b', 'old c']) await old.log.append(bytesOf(text), true);
  await old.log.close();
  const stale = disk.mount().readFile(path(1));

  const recycled = newDisk();
  const { log } = openLog(recycled);
  await log.append(bytesOf('file 1'), true);
  log.rotate();
  await log.append(bytesOf('new a'), true);
  await log.close();
  recycled.edit(path(2), (content) => Buffer.concat([content, stale.subarray(content.length)]));
  assert.is(openCode(recycled), 'CORRUPTION');
});

test('what recovery discards is gone before anything is appended, and it says what it was', async () => {
  const disk = newDisk();
  const { log } = openLog(disk);
  const { offset } = await log.append(bytesOf('a'), true);
  await log.append(bytesOf('b'.repeat(600)), false);
  await log.append(bytesOf('c'), false);
  await log.close();
  const endOfA = offset + 8 - 4;
  disk.edit(path(1), (content) => content.fill(0, endOfA, SECTOR_BYTES));
  const size = disk.mount().readFile(path(1)).length;
  const again = openLog(disk);
  assert.equal(again.recovered, ['a']);
  assert.equal(again.log.recovery.discarded, {
    bytes: size - endOfA,
    path: path(1),
    at: { file: 1, offset: endOfA },
    mayBeDamage: false,
  });
  for (const cut of powerCuts(disk)) assert.is(cut.mount().readFile(path(1)).length, endOfA);
  await again.log.append(bytesOf('d'), true);
  assert.equal(openLog(disk).recovered, ['a', 'd']);
});

test('close writes and syncs what was appended, and refuses more', async () => {
  const disk = newDisk();
  const { log } = openLog(disk);
  const pending = [log.append(bytesOf('a'), false), log.append(bytesOf('b'), false)];
  const closing = log.close();
  assert.is(await codeOf(log.append(bytesOf('late'), true)), 'LOG_CLOSED');
  await Promise.all([...pending, closing]);
  for (const cut of powerCuts(disk)) assert.equal(openLog(cut).recovered, ['a', 'b']);
});

for (const kind of ['truncate', 'sync']) {
  test(`close resolves although its ${kind} fails, if everything was durable before`, async () => {
    for (const options of [{}, { recycles: true, preallocateBytes: 500 }, { preallocateBytes: 500 }]) {
      const disk = newDisk();
      const { fault, next } = faultSwitch();
      const { log } = openLog(disk, { files: { fault }, maxFileBytes: 1000, ...options });
      await log.append(bytesOf('a'), true);
      next(kind, systemError('ENOSPC', kind, path(1)));
      await log.close();
      for (const cut of [disk, ...powerCuts(disk)]) assert.equal(openLog(cut, options).recovered, ['a']);
    }
  });
}

test('close syncs although its truncation fails', async () => {
  const disk = newDisk();
  const { fault, next } = faultSwitch();
  const options = { preallocateBytes: 500 };
  const { log } = openLog(disk, { files: { fault }, ...options });
  await log.append(bytesOf('a'), true);
  await log.append(bytesOf('b'), false);
  next('truncate', systemError('ENOSPC', 'truncate', path(1)));
  await log.close();
  for (const cut of powerCuts(disk)) assert.equal(openLog(cut, options).recovered, ['a', 'b']);
});

test('close rejects if its sync fails and something was not durable', async () => {
  const { fault, next } = faultSwitch();
  const { log } = openLog(newDisk(), { files: { fault } });
  await log.append(bytesOf('a'), true);
  await log.append(bytesOf('b'), false);
  next('sync', systemError('ENOSPC', 'fdatasync', path(1)));
  assert.is(await codeOf(log.close()), 'ENOSPC');
  assert.is(log.syncedEnd, undefined);
});

test('a group too large to be a record is refused, and the log goes on', async () => {
  const { log } = openLog(newDisk());
  const large = new Uint8Array(600 * 1024 * 1024);
  assert.is(await codeOf(log.append([large, large], true)), 'RECORD_TOO_LARGE');
  await log.append(bytesOf('a'), true);
});

for (const [name, log] of [
  ['new files', {}],
  ['recycled and preallocated files', { recycles: true, preallocateBytes: 500 }],
  ['syncs in the background', { recycles: true, syncStepBytes: 150 }],
] as const) {
  test(`an error at any operation leaves a log that keeps its promises (${name})`, async () => {
    const faults: Fault[] = [systemError('EIO', 'x', 'x'), systemError('ENOSPC', 'x', 'x'), 'short', 'lose'];
    let seen = 0;
    for (const fault of faults) {
      for (let n = 1; n <= 60; n++) {
        const disk = newDisk();
        let hit = false;
        const files = {
          fault: (operation: FileOperation): Fault => {
            hit ||= operation.number === n;
            return operation.number === n ? fault : undefined;
          },
        };
        const where = `${fault instanceof Error ? errorCode(fault) : fault} at operation ${n}`;
        const opened = openLog(disk, { files, maxFileBytes: 300, maxGroupBytes: 300, ...log });
        const script = new Script(opened, { seed: 5, steps: 30, mark: 'a', maxPayloadBytes: 200 });
        await script.run('faulty');
        await opened.log.close().catch(() => {});
        if (!hit) continue;
        seen++;
        for (const cut of [disk.clone(), ...powerCuts(disk, 5)]) {
          assert.is(violation(openLog(cut, log).recovered, script.expected()), undefined, where);
        }
      }
    }
    assert.ok(seen > 150, `${seen} errors`);
  });
}

test.run();
