/** The directory lock in the simulated world: who gets it, what a power cut leaves, and every interleaving of two. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { isLockName, lockDirectory } from '../../src/env/directory-lock.js';
import type { Env, FileSystem } from '../../src/env/env.js';
import { errorCode } from '../../src/env/errors.js';
import { type Fault, SimDisk, systemError } from '../../src/env/sim/disk.js';
import { SeededRandom } from '../../src/env/sim/seeded-random.js';
import { SimWorld } from '../../src/env/sim/sim-env.js';

const DIRECTORY = '/data';

function newDisk(): SimDisk {
  const disk = new SimDisk();
  disk.mount().makeDirectory(DIRECTORY);
  return disk;
}

function tryLock(env: Env): string {
  try {
    lockDirectory(env, DIRECTORY);
    return 'locked';
  } catch (error) {
    return errorCode(error) ?? String(error);
  }
}

test('a second opener is refused, in the same process and in another', () => {
  const world = new SimWorld(1);
  const disk = newDisk();
  const { env } = world.start('a', disk);
  lockDirectory(env, DIRECTORY);
  assert.is(tryLock(env), 'LOCKED');
  assert.is(tryLock(world.start('a', disk).env), 'LOCKED');
  assert.throws(
    () => lockDirectory(env, DIRECTORY),
    (error: Error) =>
      error.message.includes(DIRECTORY) && error.message.includes(String(env.host.self().pid)),
  );
});

test('a released lock is free, a dead holder’s too', () => {
  const world = new SimWorld(1);
  const disk = newDisk();
  const first = world.start('a', disk);
  for (let i = 0; i < 5; i++) lockDirectory(first.env, DIRECTORY).release();
  lockDirectory(first.env, DIRECTORY);
  first.kill();
  const second = world.start('a', disk);
  assert.is(tryLock(second.env), 'locked');
  assert.equal(disk.mount().list(DIRECTORY), ['LOCK.7'], 'what is obsolete is gone');
  assert.ok(disk.mount().list(DIRECTORY).every(isLockName));
});

test('releasing twice, or late, does not free what another holds', () => {
  const world = new SimWorld(1);
  const disk = newDisk();
  const { env } = world.start('a', disk);
  const lock = lockDirectory(env, DIRECTORY);
  lock.release();
  lockDirectory(env, DIRECTORY);
  lock.release();
  assert.is(tryLock(env), 'LOCKED');
});

test('a lock is let go of on a full disk too', () => {
  for (const kind of ['create', 'write', 'rename']) {
    const disk = newDisk();
    let isFull = false;
    const fault = (operation: { kind: string }): Fault =>
      isFull && operation.kind === kind ? systemError('ENOSPC', kind, DIRECTORY) : undefined;
    const { env } = new SimWorld(1).start('a', disk, { fault });
    const lock = lockDirectory(env, DIRECTORY);
    isFull = true;
    lock.release();
    isFull = false;
    assert.equal(disk.mount().list(DIRECTORY), ['LOCK.1'], kind);
    assert.is(tryLock(env), 'locked', kind);
  }
});

test('whatever a power cut leaves of a lock, the next process gets it', () => {
  const disk = newDisk();
  const { env } = new SimWorld(1).start('a', disk);
  lockDirectory(env, DIRECTORY).release();
  lockDirectory(env, DIRECTORY);
  for (let seed = 1; seed <= 100; seed++) {
    const after = disk.powerCutClone(new SeededRandom(seed));
    assert.is(tryLock(new SimWorld(2).start('a', after).env), 'locked', `seed ${seed}`);
  }
  for (const bytes of ['', '{', 'null', '{"state":"held"}', '\0\0\0']) {
    const torn = disk.clone();
    torn.edit(`${DIRECTORY}/LOCK.2`, () => Buffer.from(bytes));
    assert.is(tryLock(new SimWorld(2).start('a', torn).env), 'locked', JSON.stringify(bytes));
  }
});

test('a directory that cannot be written says so, and nothing is left in it', () => {
  for (const code of ['EACCES', 'EROFS', 'ENOSPC']) {
    for (const kind of ['create', 'write', 'link']) {
      const disk = newDisk();
      const fault = (operation: { kind: string }): Fault =>
        operation.kind === kind ? systemError(code, kind, DIRECTORY) : undefined;
      assert.is(tryLock(new SimWorld(1).start('a', disk, { fault }).env), code);
      assert.equal(disk.mount().list(DIRECTORY), [], `${code} at ${kind}`);
    }
  }
  const { env } = new SimWorld(1).start('a', new SimDisk());
  assert.is(tryLock(env), 'ENOENT');
});

/** A process that locks, with other processes doing something just before its n-th call to the file system. */
function interrupt(
  env: Env,
  calls: readonly number[],
  other: (time: number) => void,
): { env: Env; count: () => number } {
  let count = 0;
  let times = 0;
  const fs = new Proxy(env.fs, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      return (...parameters: unknown[]) => {
        count++;
        if (calls.includes(count)) other(times++);
        return value.apply(target, parameters);
      };
    },
  }) as FileSystem;
  return { env: { ...env, fs }, count: () => count };
}

test('however two openers interleave with others that come and go, no two hold the lock', () => {
  let interleavings = 0;
  for (const before of ['nothing', 'released', 'dead']) {
    for (const last of ['holds', 'released', 'died']) {
      for (let first = 1; first <= 13; first++) {
        for (let second = first + 1; second <= 14; second++) {
          const world = new SimWorld(1);
          const disk = newDisk();
          if (before !== 'nothing') {
            const process = world.start('a', disk);
            const lock = lockDirectory(process.env, DIRECTORY);
            if (before === 'released') lock.release();
            else process.kill();
          }
          const holding = new Set<string>();
          const visit = (time: number) => {
            const process = world.start('a', disk);
            let lock: { release(): void };
            try {
              lock = lockDirectory(process.env, DIRECTORY);
            } catch (error) {
              assert.is(errorCode(error), 'LOCKED');
              return;
            }
            assert.is(holding.size, 0);
            if (time === 0 || last === 'released') lock.release();
            else if (last === 'died') process.kill();
            else holding.add('visitor');
          };
          const slow = interrupt(world.start('a', disk).env, [first, second], visit);
          if (tryLock(slow.env) === 'locked') holding.add('slow');
          assert.ok(holding.size <= 1, `${before}, ${last}, before calls ${first} and ${second}`);
          // Whoever comes now sees the holder, if there is one.
          assert.is(tryLock(world.start('a', disk).env), holding.size > 0 ? 'LOCKED' : 'locked');
          interleavings++;
        }
      }
    }
  }
  assert.ok(interleavings > 500);
});

test.run();
