/**
 * One timer for the ticks of all groups of a node. Each replica says when it needs its next tick, and is called when
 * that time has come. An idle follower needs a tick once in an election timeout, a leader all the time. A run costs as
 * much as the replicas that are due, however many others there are (due-times.ts).
 *
 * Ticks run at the end of a turn: a process that was paused runs its timers before it reads its sockets, and what waits
 * there is no silence. A run that comes late is reported to the replicas, because much more may wait than one turn
 * reads. To notice that, the timer never sleeps for longer than half a heartbeat interval.
 */
import type { Clock, Timer, Timers } from '../env/env.js';
import type { TickHandle, TickSource } from '../replica/ports.js';
import { type Due, DueTimes } from './due-times.js';

export interface TickSchedulerOptions {
  readonly clock: Clock;
  readonly timers: Timers;
  /** The least time between two runs. */
  readonly tickMs: number;
  /** A run is late if this much time has passed since the run before. */
  readonly heartbeatMs: number;
}

interface Entry extends Due {
  readonly tick: (isLate: boolean) => number;
}

export class TickScheduler implements TickSource {
  readonly #options: TickSchedulerOptions;
  readonly #entries = new DueTimes<Entry>();
  #lastRunMs: number;
  #timer: Timer | undefined;
  #timerDueMs = 0;
  #running = false;

  constructor(options: TickSchedulerOptions) {
    this.#options = options;
    this.#lastRunMs = options.clock.nowMs();
  }

  add(tick: (isLate: boolean) => number, dueMs: number): TickHandle {
    const entry: Entry = { tick, dueMs, place: undefined };
    if (this.#entries.size === 0) this.#lastRunMs = this.#options.clock.nowMs();
    this.#entries.add(entry);
    this.#arm(dueMs);
    return {
      dueBy: (timeMs) => {
        if (timeMs >= entry.dueMs || entry.place === undefined) return;
        this.#entries.move(entry, timeMs);
        this.#arm(timeMs);
      },
      remove: () => {
        this.#entries.remove(entry);
        if (this.#entries.size > 0) return;
        this.#timer?.cancel();
        this.#timer = undefined;
      },
    };
  }

  /** Sets the timer for this time, unless it runs out before. */
  #arm(dueMs: number): void {
    if (this.#running) return;
    const { clock, timers, tickMs, heartbeatMs } = this.#options;
    const nowMs = clock.nowMs();
    const delayMs = Math.min(Math.max(tickMs, dueMs - nowMs), Math.max(tickMs, heartbeatMs / 2));
    const timerDueMs = nowMs + delayMs;
    if (this.#timer && this.#timerDueMs <= timerDueMs) return;
    this.#timer?.cancel();
    this.#timerDueMs = timerDueMs;
    const timer = timers.after(delayMs, () =>
      timers.endOfTurn(() => {
        if (this.#timer === timer) this.#run();
      }),
    );
    this.#timer = timer;
  }

  #run(): void {
    this.#timer = undefined;
    const { clock, tickMs, heartbeatMs } = this.#options;
    const nowMs = clock.nowMs();
    const isLate = nowMs - this.#lastRunMs > heartbeatMs;
    this.#lastRunMs = nowMs;
    this.#running = true;
    // A timer may run a little early by this clock. All that are due are taken first: each is called once in a run.
    for (const entry of this.#entries.takeDue(nowMs + tickMs / 2)) {
      if (entry.place === undefined) continue;
      const nextMs = entry.tick(isLate);
      if (entry.place !== undefined && nextMs < entry.dueMs) this.#entries.move(entry, nextMs);
    }
    this.#running = false;
    if (this.#entries.size > 0) this.#arm(this.#entries.firstMs);
  }
}
