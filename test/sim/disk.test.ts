/** What a simulated power cut may lose, and what it must keep. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { type FileOperation, systemError } from '../../src/sim/world/file-operation.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

const BLOCK = 512;
const SEEDS = Array.from({ length: 200 }, (_, i) => i + 1);

const blocks = (count: number, fill: string) => [Buffer.alloc(count * BLOCK, fill)];

/** The distinct results over many cuts, sorted. */
function outcomes(disk: SimDisk, look: (after: SimDisk) => string): string[] {
  return [...new Set(SEEDS.map((seed) => look(disk.powerCutClone(new SeededRandom(seed)))))].sort();
}

function content(disk: SimDisk, path: string): string {
  const files = disk.mount();
  if (!files.exists(path)) return 'gone';
  const bytes = files.readFile(path);
  let summary = '';
  for (let at = 0; at < bytes.length; at += BLOCK) {
    summary += bytes[at] === 0 ? '.' : String.fromCharCode(bytes[at] ?? 0);
  }
  return summary;
}

const names = (disk: SimDisk) => disk.mount().list('/').join(',');

test('of unsynced blocks any subset survives, holes too; synced ones always do', async () => {
  const disk = new SimDisk();
  const files = disk.mount();
  const file = files.open('/a', 'create');
  files.syncDirectory('/');
  await file.write(blocks(2, 's'), 0);
  await file.sync();
  await file.write(blocks(2, 'u'), 2 * BLOCK);
  assert.equal(
    outcomes(disk, (after) => content(after, '/a')),
    ['ss', 'ss.', 'ss..', 'ss.u', 'ssu', 'ssu.', 'ssuu'],
  );
  assert.is(content(disk.clone(), '/a'), 'ssuu', 'the original goes on');
  await file.sync();
  assert.equal(
    outcomes(disk, (after) => content(after, '/a')),
    ['ssuu'],
  );
});

test('an overwritten block is old or new, and a cut file may be as long as it was', async () => {
  const disk = new SimDisk();
  const files = disk.mount();
  const file = files.open('/a', 'create');
  files.syncDirectory('/');
  await file.writeDurable(blocks(2, 'o'), 0);
  await file.write(blocks(1, 'n'), 0);
  assert.equal(
    outcomes(disk, (after) => content(after, '/a')),
    ['no', 'oo'],
  );
  await file.sync();
  file.truncate(BLOCK);
  const after = outcomes(disk, (cut) => content(cut, '/a'));
  assert.ok(after.includes('no') && after.includes('n'), after.join(' '));
  assert.ok(after.every((summary) => summary.startsWith('n')));
});

test('a durable write covers its own bytes and the size they need, nothing that was written before', async () => {
  const disk = new SimDisk();
  const files = disk.mount();
  const file = files.open('/a', 'create');
  files.syncDirectory('/');
  file.writeSync(blocks(1, 'u'), 0);
  await file.writeDurable(blocks(1, 'd'), BLOCK);
  file.writeSync(blocks(1, 'u'), 2 * BLOCK);
  assert.equal(
    outcomes(disk, (after) => content(after, '/a')),
    ['.d', '.d.', '.du', 'ud', 'ud.', 'udu'],
  );
  // Nor other bytes of the same block.
  file.writeSync([Buffer.from('b')], 0);
  await file.writeDurable([Buffer.from('c')], 1);
  const starts = outcomes(disk, (after) => after.mount().readFile('/a').toString('latin1', 0, 2));
  assert.equal(starts, ['\0c', 'bc']);
  file.truncate(BLOCK);
  await file.writeDurable(blocks(1, 'e'), BLOCK);
  await file.sync();
  assert.equal(
    outcomes(disk, (after) => content(after, '/a')),
    ['be'],
  );
});

test('a durable write that ends within a sync of before is not taken back by it', async () => {
  const waiting: (() => void)[] = [];
  let slow = false;
  const disk = new SimDisk();
  const latency = ({ kind }: FileOperation) =>
    slow && kind === 'sync' ? new Promise<void>((go) => waiting.push(go)) : Promise.resolve();
  const files = disk.mount({ latency });
  const file = files.open('/a', 'create');
  files.syncDirectory('/');
  file.writeSync(blocks(3, '1'), 0);
  slow = true;
  const whole = file.sync();
  const own = file.writeDurable(blocks(3, '2'), BLOCK);
  await new Promise((resolve) => setImmediate(resolve));
  waiting.pop()?.();
  await own;
  assert.equal(
    outcomes(disk, (after) => content(after, '/a')),
    ['.222', '1222'],
  );
  waiting.pop()?.();
  await whole;
  assert.equal(
    outcomes(disk, (after) => content(after, '/a')),
    ['1222'],
  );
});

test('a write that a sync ran beside is not covered by it, and a late older sync takes nothing back', async () => {
  const waiting: { kind: string; go: () => void }[] = [];
  let slow = false;
  const disk = new SimDisk();
  const latency = ({ kind }: FileOperation) =>
    slow ? new Promise<void>((go) => waiting.push({ kind, go })) : Promise.resolve();
  const files = disk.mount({ latency });
  const file = files.open('/a', 'create');
  files.syncDirectory('/');
  await file.write(blocks(1, '1'), 0);
  slow = true;
  const first = file.sync();
  file.writeSync(blocks(1, '2'), BLOCK);
  waiting.shift()?.go();
  await first;
  assert.ok(outcomes(disk, (after) => content(after, '/a')).includes('1'), 'the second block can be lost');

  const older = file.sync();
  file.writeSync(blocks(1, '3'), 2 * BLOCK);
  const newer = file.sync();
  waiting.pop()?.go();
  await newer;
  assert.equal(
    outcomes(disk, (after) => content(after, '/a')),
    ['123'],
  );
  waiting.pop()?.go();
  await older;
  assert.equal(
    outcomes(disk, (after) => content(after, '/a')),
    ['123'],
  );
});

test('names survive as a subset until the directory is synced', () => {
  const disk = new SimDisk();
  const files = disk.mount();
  for (const name of ['/a', '/b']) files.open(name, 'create');
  assert.equal(outcomes(disk, names), ['', 'a', 'a,b', 'b']);
  files.syncDirectory('/');
  assert.equal(outcomes(disk, names), ['a,b']);
  files.unlink('/a');
  assert.equal(outcomes(disk, names), ['a,b', 'b']);
});

test('a rename is done or not done: never both names, never none', async () => {
  const disk = new SimDisk();
  const files = disk.mount();
  await files.open('/old', 'create').writeDurable(blocks(1, 'o'), 0);
  await files.open('/new', 'create').writeDurable(blocks(1, 'n'), 0);
  files.syncDirectory('/');
  files.rename('/new', '/old');
  assert.equal(
    outcomes(disk, (after) => `${content(after, '/old')} ${content(after, '/new')}`),
    ['n gone', 'o n'],
  );
  files.syncDirectory('/');
  assert.equal(
    outcomes(disk, (after) => `${content(after, '/old')} ${content(after, '/new')}`),
    ['n gone'],
  );
});

test('a tree that is being removed may be left in part', () => {
  const disk = new SimDisk();
  const files = disk.mount();
  files.makeDirectory('/tree');
  for (const name of ['a', 'b']) files.open(`/tree/${name}`, 'create');
  files.syncDirectory('/tree');
  files.removeTree('/tree');
  const left = outcomes(disk, (after) =>
    after.mount().exists('/tree') ? after.mount().list('/tree').join('') : 'gone',
  );
  assert.equal(left, ['', 'a', 'ab', 'b', 'gone']);
});

test('clones are independent, also of what is still unsynced', async () => {
  const disk = new SimDisk();
  const files = disk.mount();
  const file = files.open('/a', 'create');
  files.link('/a', '/b');
  await file.write(blocks(1, 'x'), 0);
  const clone = disk.clone();
  const copy = clone.mount().open('/a', 'modify');
  copy.writeSync(blocks(1, 'y'), 0);
  assert.is(content(clone, '/b'), 'y', 'two names of one file stay one file');
  assert.is(content(disk, '/a'), 'x');
  await file.sync();
  files.syncDirectory('/');
  assert.ok(outcomes(clone, names).length > 1, 'syncs of the original do not count for the clone');
  assert.equal(outcomes(disk, names), ['a,b']);
});

test('one seed, one outcome', () => {
  const disk = new SimDisk();
  const files = disk.mount();
  const file = files.open('/a', 'create');
  files.syncDirectory('/');
  file.writeSync(blocks(40, 'x'), 0);
  for (const seed of SEEDS.slice(0, 20)) {
    const [one, two] = [1, 2].map(() => content(disk.powerCutClone(new SeededRandom(seed)), '/a'));
    assert.is(one, two);
  }
  assert.ok(outcomes(disk, (after) => content(after, '/a')).length > 50);
});

test('faults: an error, a short write, a sync that does nothing, a sync that loses', async () => {
  const disk = new SimDisk();
  let fault: Error | 'short' | 'ignore' | 'lose' | undefined;
  const files = disk.mount({ fault: () => fault });
  const file = files.open('/a', 'create');
  files.syncDirectory('/');
  fault = systemError('EIO', 'write', '/a');
  assert.throws(() => file.writeSync(blocks(1, 'x'), 0), /EIO/);
  assert.is(disk.clone().mount().readFile('/a').length, 0);
  fault = 'short';
  assert.throws(
    () => file.writeSync(blocks(4, 'x'), 0),
    (error: unknown) => errorCode(error) === 'ENOSPC',
  );
  assert.is(content(disk.clone(), '/a'), 'xx');
  fault = 'ignore';
  await file.sync();
  assert.ok(outcomes(disk, (after) => content(after, '/a')).includes(''));
  fault = 'lose';
  const failed = await file.sync().then(
    () => undefined,
    (error: unknown) => error,
  );
  assert.is(errorCode(failed), 'EIO');
  fault = undefined;
  await file.sync();
  assert.is(content(disk.clone(), '/a'), 'xx', 'it reads as if all were well');
  assert.equal(
    outcomes(disk, (after) => content(after, '/a')),
    ['..'],
  );
});

test('a dead process cannot touch the disk, and never hears from it', async () => {
  const disk = new SimDisk();
  let release = () => {};
  const files = disk.mount({
    latency: () =>
      new Promise((resolve) => {
        release = resolve;
      }),
  });
  const file = files.open('/a', 'create');
  let heard = false;
  void file.write(blocks(1, 'x'), 0).finally(() => {
    heard = true;
  });
  files.detach();
  release();
  await new Promise((resolve) => setImmediate(resolve));
  assert.is(heard, false);
  assert.throws(
    () => file.writeSync(blocks(1, 'y'), 0),
    (error: unknown) => errorCode(error) === 'SIM_DETACHED',
  );
  assert.is(content(disk, '/a'), 'x');
});

test.run();
