import type { Env } from '../../env/env.js';
import { SimDisk } from './disk.js';
import type { SimFileSystemOptions } from './file-operation.js';
import { SimWorld } from './world.js';

/** An env for tests of one room: a simulated disk without latency, real timers, and no scheduler to run. */
export function roomEnv(
  seed: number,
  disk: SimDisk = new SimDisk(),
  options: SimFileSystemOptions = {},
): Env {
  const world = new SimWorld(seed);
  const process = world.start('room', disk, options);
  return {
    ...process.env,
    timers: {
      after: (delayMs, run) => {
        const timer = setTimeout(run, delayMs);
        return { cancel: () => clearTimeout(timer) };
      },
      endOfTurn: (run) => {
        setImmediate(run);
      },
    },
  };
}
