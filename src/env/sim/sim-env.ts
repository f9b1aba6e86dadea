/** A simulated world of hosts that share a scheduler and a network, each with a disk of its own. */
import type { Env, ProcessIdentity } from '../env.js';
import { SimDisk, type SimFileSystem, type SimFileSystemOptions } from './disk.js';
import { SimNetwork, type SimNetworkOptions } from './network.js';
import { Scheduler } from './scheduler.js';
import { SeededRandom } from './seeded-random.js';

export class SimWorld {
  readonly random: SeededRandom;
  readonly scheduler = new Scheduler();
  readonly network: SimNetwork;
  /** Start times of the running processes, by pid. */
  readonly #alive = new Map<number, string>();
  #nextPid = 1000;

  constructor(seed: number, options: SimNetworkOptions = {}) {
    this.random = new SeededRandom(seed);
    this.network = new SimNetwork(this.scheduler, new SeededRandom(this.random.uint32()), options);
  }

  /** Starts a process on a host, with the disk it finds there. */
  start(host: string, disk: SimDisk, options: SimFileSystemOptions = {}): SimProcess {
    const pid = this.#nextPid++;
    const fs = disk.mount(options);
    // Unlike the pid this is not given again by another world that goes on with the disk.
    const startTime = String(disk.mounts);
    const identity = { pid, bootId: 'simulation', startTime };
    this.#alive.set(pid, startTime);
    const random = new SeededRandom(this.random.uint32());
    let running = true;
    const guarded = (run: () => void) => () => {
      if (running) run();
    };
    const env: Env = {
      clock: this.scheduler,
      timers: {
        after: (delayMs, run) => this.scheduler.after(delayMs, guarded(run)),
        endOfTurn: (run) => this.scheduler.endOfTurn(guarded(run)),
      },
      random,
      fs,
      net: this.network.attach(host),
      host: {
        self: () => identity,
        isAlive: (other: ProcessIdentity) => this.#alive.get(other.pid) === other.startTime,
      },
    };
    return {
      env,
      fs,
      disk,
      kill: () => {
        running = false;
        fs.detach();
        this.#alive.delete(pid);
        this.network.kill(host);
      },
    };
  }
}

export interface SimProcess {
  readonly env: Env;
  readonly fs: SimFileSystem;
  readonly disk: SimDisk;
  /** kill -9: no callback of this process runs again; what it wrote stays on its disk. */
  kill(): void;
}

/** An env for one room under test: real enough, without a scheduler to run; its disk calls have no latency. */
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
