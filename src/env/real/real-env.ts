/** The real environment: monotonic time, the kernel's randomness, real files and sockets. */
import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import type { Env } from '../env.js';
import { realFileSystem } from './file-system.js';
import { realHost } from './host.js';
import { realNetwork } from './network.js';
import { realThreads } from './threads.js';
import { after } from './timers.js';

export function realEnv(): Env {
  return {
    clock: { nowMs: () => performance.now(), wallMs: () => Date.now() },
    timers: {
      after,
      endOfTurn: (run) => {
        setImmediate(run);
      },
    },
    random: {
      float: Math.random,
      uint32: () => randomBytes(4).readUInt32LE(0),
      bytes: (count) => randomBytes(count),
    },
    fs: realFileSystem,
    net: realNetwork,
    host: realHost,
    threads: realThreads,
  };
}
