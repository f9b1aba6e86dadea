/**
 * Repair: whatever is damaged, the repaired tree verifies, and every key that differs from what was written lies in a
 * loss that the report names, with the older keys that may show there.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { LsmTree } from '../../src/lsm/index.js';
import { type RepairReport, repairTree } from '../../src/lsm/tools/repair.js';
import { type FileOperation, systemError } from '../../src/sim/world/file-operation.js';
import { contents, flipped, paths, QUIET, type Sample, sampleTree, stateOf } from './tools-lab.js';
import {
  DIRECTORY,
  openTree,
  processEnv,
  put,
  remove,
  render,
  SeededRandom,
  SimDisk,
  type State,
} from './tree-lab.js';

function repair(disk: SimDisk): Promise<RepairReport> {
  return repairTree(processEnv(2, disk), DIRECTORY);
}

function isInRange(key: string, { smallest, largest }: RepairReport['losses'][number]): boolean {
  return (
    (smallest === undefined || key >= smallest.toString('latin1')) &&
    (largest === undefined || key <= largest.toString('latin1'))
  );
}

/** Keys that are not as they were and that no loss accounts for. */
function unexplained(report: RepairReport, before: State, now: State): string[] {
  const keys = [...new Set([...before.keys(), ...now.keys()])];
  return keys.filter((key) => {
    if (before.get(key) === now.get(key)) return false;
    const losses = report.losses.filter((loss) => isInRange(key, loss));
    if (losses.length === 0) return true;
    // What shows although it should not comes from an older table.
    return now.has(key) && losses.every((loss) => loss.olderKeys === 0);
  });
}

function assertVerifies(report: RepairReport, what: string): void {
  assert.equal(report.verified.problems, [], what);
}

test('nothing wrong: nothing is changed', async () => {
  const { disk } = await sampleTree();
  const before = contents(disk);
  const report = await repair(disk);
  assert.equal([report.isRepaired, report.originals, report.losses], [false, [], []]);
  assert.equal(contents(disk), before);
});

test('a flipped byte of any table: only its block is lost, named, and nothing comes back silently', async () => {
  const { disk, state } = await sampleTree();
  let lossless = 0;
  let resurfaced = 0;
  for (const path of paths(disk, /\.sst$/)) {
    const original = disk.mount().readFile(path);
    for (let offset = 0; offset < original.length; offset += 19) {
      const what = `flip at ${offset} of ${path}`;
      const copy = flipped(disk, path, offset);
      const report = await repair(copy);
      assert.ok(report.isRepaired, what);
      assertVerifies(report, what);
      assert.ok(report.losses.length <= 1, what);
      if (report.losses.length === 0) lossless++;
      for (const loss of report.losses) {
        assert.is(loss.path, path);
        assert.ok(loss.offset <= offset && offset < loss.offset + loss.bytes, what);
      }
      const kept = copy.mount().readFile(`${DIRECTORY}/lost/${path.slice(DIRECTORY.length + 1)}`);
      assert.is(kept.length, original.length);
      const now = await stateOf(copy);
      assert.equal(unexplained(report, state, now), [], what);
      for (const [key, value] of now) if (state.get(key) !== value) resurfaced++;
    }
  }
  assert.ok(lossless > 15, 'damage outside the blocks loses nothing');
  assert.ok(resurfaced > 3, 'older values do show, and are accounted for');
});

test('a lost tombstone: the key that comes back is counted', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk, QUIET);
  await tree.write([put('a', 'kept'), put('b', 'deleted'), put('c', 'kept')]);
  await tree.compactRange();
  await tree.write([remove('b')]);
  await tree.flush();
  await tree.close();
  const [, newest = ''] = paths(disk, /\.sst$/);
  const report = await repair(flipped(disk, newest, 130));
  assertVerifies(report, '');
  const [loss] = report.losses;
  assert.equal([loss?.smallest?.toString(), loss?.largest?.toString(), loss?.olderKeys], ['b', 'b', 1]);
});

test('a table that is missing or cut off', async () => {
  const { disk, state } = await sampleTree();
  for (const path of paths(disk, /\.sst$/)) {
    const size = disk.mount().readFile(path).length;
    for (const length of [0, 100, 400, size >> 1, size - 1, undefined]) {
      const copy = disk.clone();
      if (length === undefined) copy.mount().unlink(path);
      else copy.edit(path, (content) => content.subarray(0, length));
      const report = await repair(copy);
      assertVerifies(report, path);
      assert.equal(unexplained(report, state, await stateOf(copy)), [], `${path} cut at ${length}`);
      if (length === undefined || length <= 100) assert.is(report.losses.length, 1);
      if (length === size - 1) assert.is(report.losses.length, 0);
    }
  }
});

test('a MANIFEST that is missing or damaged anywhere: all tables and the WAL, and a warning', async () => {
  const { disk, state } = await sampleTree();
  const [path = ''] = paths(disk, /MANIFEST/);
  const size = disk.mount().readFile(path).length;
  const copies = [undefined, ...Array.from({ length: Math.ceil(size / 23) }, (_, i) => i * 23)].map(
    (offset) => {
      if (offset !== undefined) return flipped(disk, path, offset);
      const copy = disk.clone();
      copy.mount().unlink(path);
      return copy;
    },
  );
  let rebuilt = 0;
  for (const copy of copies) {
    const report = await repair(copy);
    assertVerifies(report, path);
    assert.is(render(await stateOf(copy)), render(state));
    if (report.isRepaired) rebuilt++;
    if (report.isRepaired) assert.match(report.warnings.join(), /deleted keys may be back/);
  }
  assert.ok(rebuilt > 20, `${rebuilt} rebuilt`);
});

test('a table that had been replaced: left out if the MANIFEST still says so, otherwise the warning holds', async () => {
  const disk = new SimDisk();
  const tree = await openTree(disk, QUIET);
  await tree.write([put('a', 'deleted'), put('b', 'kept')]);
  await tree.flush();
  const before = disk.clone();
  const [old = ''] = paths(before, /\.sst$/);
  await tree.write([remove('a')]);
  await tree.compactRange();
  const damaged = disk.clone();
  await tree.close();
  const fs = damaged.mount();
  if (!fs.exists(old)) fs.open(old, 'create').writeSync([before.mount().readFile(old)], 0);
  const [manifest = ''] = paths(damaged, /MANIFEST/);
  const start = damaged.clone();
  start.edit(manifest, (content) => {
    content[20] = 99;
    return content;
  });
  assertVerifies(await repair(start), 'the edit that replaced it is still there');
  assert.equal([...(await stateOf(start))], [['b', 'kept']]);
  damaged.mount().unlink(manifest);
  const report = await repair(damaged);
  assert.match(report.warnings.join(), /deleted keys may be back/);
  assert.ok((await stateOf(damaged)).has('b'));
});

test('a damaged WAL: its beginning is kept, and what is left out is said', async () => {
  const { disk, state } = await sampleTree();
  const path = paths(disk, /wal-/).at(-1) ?? '';
  const size = disk.mount().readFile(path).length;
  let counted = 0;
  for (let offset = 0; offset < size; offset += 5) {
    const copy = flipped(disk, path, offset);
    const report = await repair(copy);
    assertVerifies(report, `flip at ${offset}`);
    if (!report.isRepaired) continue;
    const [loss] = report.losses;
    assert.is(loss?.path, path);
    assert.ok((loss?.bytes ?? 0) > 0);
    if (/\d+ intact batches behind it/.test(loss?.message ?? '')) counted++;
    const now = await stateOf(copy);
    assert.not.equal(now, state);
    assert.is(now.get('round'), '2', 'the last batch is not there without the others');
  }
  assert.ok(counted > 20, `${counted} with batches behind the damage`);
});

/** One to three files flipped, cut, zeroed in part, or gone. */
function damageAtRandom(disk: SimDisk, random: SeededRandom): string[] {
  const done: string[] = [];
  for (let i = random.between(1, 3); i > 0; i--) {
    const path = random.pick(paths(disk, /MANIFEST|wal-|\.sst$/));
    const size = disk.mount().readFile(path).length;
    const at = random.between(0, Math.max(0, size - 1));
    const way = random.pick(['flip', 'cut', 'zero', 'remove'] as const);
    done.push(`${way} ${path} at ${at}`);
    if (way === 'remove') disk.mount().unlink(path);
    else {
      disk.edit(path, (content) => {
        if (way === 'cut') return content.subarray(0, at);
        if (way === 'zero') return content.fill(0, at, Math.min(content.length, at + random.between(1, 200)));
        if (size > 0) content[at] = (content[at] as number) ^ 64;
        return content;
      });
    }
    if (paths(disk, /MANIFEST|wal-|\.sst$/).length === 0) break;
  }
  return done;
}

test('random damage, up to three files at once: what is left verifies, opens, and is accounted for', async () => {
  let repaired = 0;
  let explained = 0;
  let held = 0;
  const samples = await Promise.all([1, 2, 3].map((seed) => sampleTree(seed)));
  for (let seed = 1; seed <= 60; seed++) {
    const { disk: sound, state } = samples[seed % 3] as Sample;
    const disk = sound.clone();
    const random = new SeededRandom(seed);
    const what = `seed ${seed}: ${damageAtRandom(disk, random).join(', ')}`;
    const report = await repair(disk);
    assertVerifies(report, what);
    if (report.isRepaired) repaired++;
    const now = await stateOf(disk);
    if (render(now) !== render(state)) explained++;
    // A WAL without its end, or a MANIFEST that is put together again, cannot be held to every key.
    if (report.warnings.length > 0 || !report.isRepaired || what.includes('wal-')) continue;
    assert.equal(unexplained(report, state, now), [], what);
    assert.is((await repair(disk)).isRepaired, false, what);
    held++;
  }
  assert.ok(repaired > 40 && explained > 20 && held > 10, `${repaired}, ${explained}, ${held}`);
});

test('the power may be cut at any operation of a repair: repairing again gives the same tree', async () => {
  const { disk } = await sampleTree();
  const damages = [
    flipped(disk, paths(disk, /\.sst$/)[0] ?? '', 200),
    flipped(disk, paths(disk, /MANIFEST/)[0] ?? '', 100),
    flipped(disk, paths(disk, /wal-/).at(-1) ?? '', 60),
  ];
  let cuts = 0;
  for (const damaged of damages) {
    const whole = damaged.clone();
    const random = new SeededRandom(3);
    const clones: SimDisk[] = [];
    const running = whole;
    const env = processEnv(2, running, {
      fault: ({ kind }) => {
        if (kind !== 'read' && kind !== 'open') clones.push(running.powerCutClone(random));
        return undefined;
      },
    });
    await repairTree(env, DIRECTORY);
    const expected = await stateOf(whole);
    for (const clone of clones) {
      cuts++;
      const report = await repair(clone);
      assertVerifies(report, 'after a cut');
      assert.equal(await stateOf(clone), expected);
    }
  }
  assert.ok(cuts > 40, `${cuts} cuts`);
});

test('any operation of a repair may fail: repairing again gives the same tree', async () => {
  const { disk } = await sampleTree();
  const failures = { EIO: 0, ENOSPC: 0, short: 0 };
  for (const damaged of [
    flipped(disk, paths(disk, /\.sst$/)[0] ?? '', 200),
    flipped(disk, paths(disk, /MANIFEST/)[0] ?? '', 100),
  ]) {
    const whole = damaged.clone();
    const operations: FileOperation[] = [];
    const note = (operation: FileOperation) => {
      operations.push(operation);
      return undefined;
    };
    await repairTree(processEnv(2, whole, { fault: note }), DIRECTORY);
    const expected = render(await stateOf(whole));
    for (const kind of ['EIO', 'ENOSPC', 'short'] as const) {
      for (const { number, kind: call, path } of operations) {
        if (call === 'read' || call === 'open' || (kind === 'short' && call !== 'write')) continue;
        const copy = damaged.clone();
        const fault = (operation: FileOperation) =>
          operation.number !== number ? undefined : kind === 'short' ? kind : systemError(kind, call, path);
        const failed = await repairTree(processEnv(2, copy, { fault }), DIRECTORY).catch(errorCode);
        if (typeof failed === 'string') failures[kind]++;
        assertVerifies(await repair(copy), `${kind} at ${call} ${path}`);
        assert.is(render(await stateOf(copy)), expected, `${kind} at ${call} ${path}`);
      }
    }
  }
  assert.ok(failures.EIO > 10 && failures.ENOSPC > 10 && failures.short > 4, JSON.stringify(failures));
});

test('a tree that is open, or is none, is left alone', async () => {
  const { disk } = await sampleTree();
  const env = processEnv(9, disk);
  const tree = await LsmTree.open(DIRECTORY, { ...QUIET, env });
  assert.is(await repairTree(env, DIRECTORY).catch(errorCode), 'LSM_LOCKED');
  await tree.close();
  assert.is(await repairTree(env, '/elsewhere').catch(errorCode), 'LSM_INVALID');
});

test.run();
