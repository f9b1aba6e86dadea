/** A simulated world of hosts that share a scheduler and a network, each with a disk and a clock of its own. */
import { type Clock, type Env, type ProcessIdentity, USUAL_MAX_DESCRIPTORS } from '../../env/env.js';
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
    const identity = { pid, bootId: 'simulation', startTime, pidNamespace: '' };
    this.#alive.set(pid, startTime);
    const random = new SeededRandom(this.random.uint32());
    const clock = new SimClock(this.scheduler);
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

/** A clock that may run fast or slow, and be set by hand. */
export class SimClock implements Clock {
  readonly #scheduler: Scheduler;
  #sinceMs = 0;
  #baseMs = 0;
  #rate = 1;
  #wallOffsetMs = 0;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  get rate(): number {
    return this.#rate;
  }

  nowMs(): number {
    return this.#baseMs + (this.#scheduler.nowMs() - this.#sinceMs) * this.#rate;
  }

  wallMs(): number {
    return this.#scheduler.wallMs() + this.#wallOffsetMs;
  }

  /** Milliseconds of this clock per millisecond of the world, from now on. */
  setRate(rate: number): void {
    this.#baseMs = this.nowMs();
    this.#sinceMs = this.#scheduler.nowMs();
    this.#rate = rate;
  }

  /** Forward: time that this clock counts and no timer noticed, as of a machine that was moved while it stood still. */
  jump(byMs: number): void {
    this.#baseMs += byMs;
  }

  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
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
  /** As `kill`; the machine is silent until a process starts there again. What its disk keeps is the disk's matter. */
  losePower(): void;
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
