/** The directory lock in the simulated world: who gets it, what a power cut leaves, and openers that interleave. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { currentHolder, isLockName, lockDirectory } from '../../src/env/directory-lock.js';
import type { Env, FileSystem } from '../../src/env/env.js';
import { errorCode } from '../../src/env/errors.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { type Fault, type FileOperation, systemError } from '../../src/sim/world/file-operation.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { type SimProcess, SimWorld } from '../../src/sim/world/world.js';

const DIRECTORY = '/data';
const NO_SOCKETS = ({ kind, path }: FileOperation): Fault =>
  kind === 'bind' || kind === 'link' ? systemError('EPERM', kind, path) : undefined;
/** A file system with sockets, and one without, and without hard links. */
const KINDS: readonly (readonly [string, { fault?: (operation: FileOperation) => Fault }])[] = [
  ['sockets', {}],
  ['files', { fault: NO_SOCKETS }],
];

function newDisk(): SimDisk {
  const disk = new SimDisk();
  disk.mount().makeDirectory(DIRECTORY);
  return disk;
}

/** Timers that do not wait for the world's scheduler. */
function prompt(env: Env): Env {
  return {
    ...env,
    timers: {
      ...env.timers,
      after: (_delayMs, run) => {
        setImmediate(run);
        return { cancel() {} };
      },
    },
  };
}

async function tryLock(env: Env): Promise<string> {
  try {
    await lockDirectory(prompt(env), DIRECTORY);
    return 'locked';
  } catch (error) {
    return errorCode(error) ?? String(error);
  }
}

for (const [kind, options] of KINDS) {
  test(`${kind}: a second opener is refused, in the same process and in another, and touches nothing`, async () => {
    const world = new SimWorld(1);
    const disk = newDisk();
    const { env } = world.start('a', disk, options);
    await lockDirectory(env, DIRECTORY);
    const names = env.fs.list(DIRECTORY);
    const other = world.start('a', disk, options);
    assert.is(await tryLock(env), 'LOCKED');
    assert.is(await tryLock(other.env), 'LOCKED');
    assert.equal(env.fs.list(DIRECTORY), names);
    const { pid } = env.host.self();
    assert.is((await currentHolder(other.env, DIRECTORY))?.pid, pid);
    const error: Error = await lockDirectory(env, DIRECTORY).then(
      () => assert.unreachable(),
      (thrown) => thrown,
    );
    assert.ok(error.message.includes(DIRECTORY) && error.message.includes(String(pid)), error.message);
  });

  test(`${kind}: a released lock is free, a dead holder’s too`, async () => {
    const world = new SimWorld(1);
    const disk = newDisk();
    const first = world.start('a', disk, options);
    for (let i = 0; i < 5; i++) (await lockDirectory(first.env, DIRECTORY)).release();
    assert.equal(disk.mount().list(DIRECTORY), [], 'nothing is left lying about');
    await lockDirectory(first.env, DIRECTORY);
    first.kill();
    const second = world.start('a', disk, options);
    assert.is(await currentHolder(second.env, DIRECTORY), undefined);
    assert.is(await tryLock(second.env), 'locked');
    assert.is(disk.mount().list(DIRECTORY).filter(isLockName).length, 1, 'what is obsolete is gone');
  });

  test(`${kind}: releasing twice, or late, does not free what another holds`, async () => {
    const world = new SimWorld(1);
    const disk = newDisk();
    const { env } = world.start('a', disk, options);
    const lock = await lockDirectory(env, DIRECTORY);
    lock.release();
    await lockDirectory(env, DIRECTORY);
    lock.release();
    assert.is(await tryLock(env), 'LOCKED');
  });

  test(`${kind}: a holder whose directory was replaced frees nobody else’s`, async () => {
    const world = new SimWorld(1);
    const disk = newDisk();
    const { env } = world.start('a', disk, options);
    const first = await lockDirectory(env, DIRECTORY);
    env.fs.removeTree(DIRECTORY);
    env.fs.makeDirectory(DIRECTORY);
    const second = await lockDirectory(env, DIRECTORY);
    first.release();
    assert.is(await tryLock(env), 'LOCKED');
    second.release();
    assert.is(await tryLock(env), 'locked');
  });

  test(`${kind}: a directory that is moved stays locked, and is let go of`, async () => {
    const world = new SimWorld(1);
    const disk = newDisk();
    const { env } = world.start('a', disk, options);
    const first = await lockDirectory(env, DIRECTORY);
    env.fs.rename(DIRECTORY, '/moved');
    assert.is(await lockDirectory(env, '/moved').then(() => 'locked', errorCode), 'LOCKED');
    env.fs.makeDirectory(DIRECTORY);
    assert.is(await tryLock(env), 'locked', 'what is at its old place is another directory');
    first.release();
    if (kind === 'sockets') await lockDirectory(env, '/moved');
  });

  test(`${kind}: whatever a power cut leaves of a lock, the next process gets it`, async () => {
    const disk = newDisk();
    const { env } = new SimWorld(1).start('a', disk, options);
    (await lockDirectory(env, DIRECTORY)).release();
    await lockDirectory(env, DIRECTORY);
    const name = env.fs.list(DIRECTORY)[0] ?? '';
    for (let seed = 1; seed <= 50; seed++) {
      const after = disk.powerCutClone(new SeededRandom(seed));
      assert.is(await tryLock(new SimWorld(2).start('a', after, options).env), 'locked', `seed ${seed}`);
    }
    if (kind === 'sockets') return;
    for (const bytes of ['', '{', 'null', '{"state":"held"}', '\0\0\0']) {
      const torn = disk.clone();
      torn.edit(`${DIRECTORY}/${name}`, () => Buffer.from(bytes));
      assert.is(
        await tryLock(new SimWorld(2).start('a', torn, options).env),
        'locked',
        JSON.stringify(bytes),
      );
    }
  });
}

test('what lies in the way under such a name holds nothing', async () => {
  const disk = newDisk();
  const { env } = new SimWorld(1).start('a', disk);
  env.fs.makeDirectory(`${DIRECTORY}/LOCK.99`);
  assert.is(await tryLock(env), 'locked');
  assert.is(await tryLock(env), 'LOCKED');
});

test('a directory that cannot be written says so, and nothing is left in it', async () => {
  for (const code of ['EACCES', 'EROFS', 'ENOSPC', 'EMFILE']) {
    const disk = newDisk();
    const fault = (operation: FileOperation): Fault =>
      ['bind', 'create', 'write'].includes(operation.kind)
        ? systemError(code, operation.kind, DIRECTORY)
        : undefined;
    assert.is(await tryLock(new SimWorld(1).start('a', disk, { fault }).env), code);
    assert.equal(disk.mount().list(DIRECTORY), [], code);
  }
  const { env } = new SimWorld(1).start('a', new SimDisk());
  assert.is(await tryLock(env), 'ENOENT');
});

/** A process that locks, with other processes doing something just before its n-th call that asks the system. */
function interrupt(
  env: Env,
  calls: readonly number[],
  other: (time: number) => Promise<void>,
): { env: Env; count: () => number } {
  let count = 0;
  let times = 0;
  const fs = new Proxy(env.fs, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      if (key !== 'bindSocket' && key !== 'isListening') return value.bind(target);
      return async (path: string) => {
        count++;
        if (calls.includes(count)) await other(times++);
        const result: unknown = await value.call(target, path);
        count++;
        if (calls.includes(count)) await other(times++);
        return result;
      };
    },
  }) as FileSystem;
  return { env: { ...env, fs }, count: () => count };
}

test('however an opener interleaves with others that come and go, no two hold the lock', async () => {
  let interleavings = 0;
  let late = 0;
  for (const [kind, options] of KINDS) {
    for (const before of ['nothing', 'released', 'dead']) {
      for (const last of ['holds', 'released', 'died']) {
        for (let first = 1; first <= 7; first++) {
          for (let second = first + 1; second <= 8; second++) {
            const world = new SimWorld(1);
            const disk = newDisk();
            if (before !== 'nothing') {
              const process = world.start('a', disk, options);
              const lock = await lockDirectory(process.env, DIRECTORY);
              if (before === 'released') lock.release();
              else process.kill();
            }
            const holding = new Set<string>();
            const visit = async (time: number) => {
              const process = world.start('a', disk, options);
              let lock: { release(): void };
              try {
                lock = await lockDirectory(alone(process), DIRECTORY);
              } catch (error) {
                // It was there before, and lives; or both were at it, and the visitor gave up.
                assert.ok(['LOCKED', 'GAVE_UP'].includes(errorCode(error) ?? ''), String(error));
                return;
              }
              assert.is(holding.size, 0);
              if (time === 0 || last === 'released') lock.release();
              else if (last === 'died') process.kill();
              else holding.add('visitor');
            };
            const slow = interrupt(world.start('a', disk, options).env, [first, second], visit);
            if ((await tryLock(slow.env)) === 'locked') holding.add('slow');
            if (slow.count() >= second) late++;
            assert.ok(holding.size <= 1, `${kind}, ${before}, ${last}, at ${first} and ${second}`);
            // Whoever comes now sees the holder, if there is one.
            const now = await tryLock(world.start('a', disk, options).env);
            assert.is(now, holding.size > 0 ? 'LOCKED' : 'locked');
            interleavings++;
          }
        }
      }
    }
  }
  assert.ok(interleavings > 500 && late > 40, `${interleavings} ${late}`);
});

/** A process that does not try again: who interrupts it cannot go on meanwhile. */
function alone({ env }: SimProcess): Env {
  const after = () => {
    throw Object.assign(new Error('it would try again'), { code: 'GAVE_UP' });
  };
  return { ...env, timers: { ...env.timers, after } };
}

test('of many that start together exactly one gets the lock', async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = new SeededRandom(seed);
    const world = new SimWorld(seed);
    const disk = newDisk();
    const latency = async () => {
      for (let turns = random.between(0, 5); turns > 0; turns--) {
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
    };
    const options = { latency, ...(seed % 2 === 0 ? { fault: NO_SOCKETS } : {}) };
    const openers = Array.from({ length: 4 }, () => world.start('a', disk, options).env);
    const results = await Promise.all(openers.map(tryLock));
    assert.equal(results.sort(), ['LOCKED', 'LOCKED', 'LOCKED', 'locked'], `seed ${seed}`);
  }
});

test.run();
