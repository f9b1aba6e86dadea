/** A simulated world of hosts that share a scheduler and a network, each with a disk and a clock of its own. */
import { type Env, type ProcessIdentity, USUAL_MAX_DESCRIPTORS } from '../../env/env.js';
import { SimClock } from './clock.js';
import type { SimDisk } from './disk.js';
import type { SimFileSystemOptions } from './file-operation.js';
import type { SimFileSystem } from './file-system.js';
import { SimNetwork, type SimNetworkOptions } from './network.js';
import { Scheduler } from './scheduler.js';
import { SeededRandom } from './seeded-random.js';

/** Between what the clocks of two processes show at the same moment. */
const CLOCK_DISTANCE_MS = 1_000_000;

export class SimWorld {
  readonly random: SeededRandom;
  readonly scheduler = new Scheduler();
  readonly network: SimNetwork;
  /** Start times of the running processes, by pid. */
  readonly #alive = new Map<number, string>();
  #nextPid = 1000;
  /** Processes so far. */
  #started = 0;

  constructor(seed: number, options: SimNetworkOptions = {}) {
    this.random = new SeededRandom(seed);
    this.network = new SimNetwork(this.scheduler, new SeededRandom(this.random.uint32()), options);
  }

  /** Starts a process on a host, with the disk it finds there. */
  start(host: string, disk: SimDisk, options: SimFileSystemOptions = {}): SimProcess {
    const pid = this.#nextPid++;
    const fs = disk.mount(options);
    // Pids repeat in another world that continues with the disk; start times do not.
    const startTime = String(disk.mounts);
    const identity = { pid, bootId: 'simulation', startTime, pidNamespace: '' };
    this.#alive.set(pid, startTime);
    const random = new SeededRandom(this.random.uint32());
    const clock = new SimClock(this.scheduler, CLOCK_DISTANCE_MS * this.#started++);
    let running = true;
    /** While the process is paused: what was due. */
    let held: (() => void)[] | undefined;
    const guarded = (run: () => void) => () => {
      if (!running) return;
      if (held) held.push(run);
      else run();
    };
    const env: Env = {
      clock,
      timers: {
        after: (delayMs, run) => {
          let wanted = true;
          const due = guarded(() => {
            if (wanted) run();
          });
          const timer = this.scheduler.after(delayMs / clock.rate, due);
          return {
            cancel() {
              wanted = false;
              timer.cancel();
            },
          };
        },
        endOfTurn: (run) => this.scheduler.endOfTurn(guarded(run)),
      },
      random,
      fs,
      net: this.network.attach(host),
      host: {
        self: () => identity,
        isAlive: (other: ProcessIdentity) => this.#alive.get(other.pid) === other.startTime,
        maxDescriptors: () => USUAL_MAX_DESCRIPTORS,
      },
    };
    const end = () => {
      if (!running) return false;
      running = false;
      fs.detach();
      this.#alive.delete(pid);
      return true;
    };
    return {
      env,
      fs,
      disk,
      clock,
      pause: () => {
        if (!running) return;
        held ??= [];
        fs.pause();
        this.network.pause(host);
      },
      resume: (order = 'timers first') => {
        const due = held ?? [];
        held = undefined;
        if (order === 'network first') this.network.resume(host);
        for (const run of due) this.scheduler.after(0, guarded(run));
        fs.resume();
        this.network.resume(host);
      },
      kill: () => {
        if (end()) this.network.kill(host);
      },
      losePower: () => {
        if (end()) this.network.losePower(host);
      },
    };
  }
}

export interface SimProcess {
  readonly env: Env;
  readonly fs: SimFileSystem;
  readonly disk: SimDisk;
  readonly clock: SimClock;
  /** SIGSTOP: nothing happens in this process until `resume`; its clock goes on. */
  pause(): void;
  resume(order?: 'timers first' | 'network first'): void;
  /** kill -9: no callback of this process runs again; what it wrote stays on its disk. */
  kill(): void;
  /** As `kill`, and the machine does not answer until a process starts there again. It does not change the disk. */
  losePower(): void;
}
