/**
 * One timer for the ticks of all groups of a node. Each replica says when it needs its next tick, and is called when
 * that time has come. An idle follower needs a tick once in an election timeout, a leader all the time.
 *
 * Ticks run at the end of a turn: a process that was paused runs its timers before it reads its sockets, and what waits
 * there is no silence. A run that comes late is reported to the replicas, because much more may wait than one turn
 * reads. To notice that, the timer never sleeps for longer than half a heartbeat interval.
 */
import type { Clock, Timer, Timers } from '../env/env.js';
import type { TickHandle, TickSource } from '../replica/ports.js';

export interface TickSchedulerOptions {
  readonly clock: Clock;
  readonly timers: Timers;
  /** The least time between two runs. */
  readonly tickMs: number;
  /** A run is late if this much time has passed since the run before. */
  readonly heartbeatMs: number;
}

interface Entry {
  readonly tick: (isLate: boolean) => number;
  dueMs: number;
}

export class TickScheduler implements TickSource {
  readonly #options: TickSchedulerOptions;
  readonly #entries = new Set<Entry>();
  #lastRunMs: number;
  #timer: Timer | undefined;
  #timerDueMs = 0;
  #running = false;

  constructor(options: TickSchedulerOptions) {
    this.#options = options;
    this.#lastRunMs = options.clock.nowMs();
  }

  add(tick: (isLate: boolean) => number, dueMs: number): TickHandle {
    const entry: Entry = { tick, dueMs };
    if (this.#entries.size === 0) this.#lastRunMs = this.#options.clock.nowMs();
    this.#entries.add(entry);
    this.#arm(dueMs);
    return {
      dueBy: (timeMs) => {
        if (timeMs >= entry.dueMs || !this.#entries.has(entry)) return;
        entry.dueMs = timeMs;
        this.#arm(timeMs);
      },
      remove: () => {
        this.#entries.delete(entry);
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
    for (const entry of this.#entries) {
      // A timer may run a little early by this clock.
      if (entry.dueMs > nowMs + tickMs / 2) continue;
      entry.dueMs = Number.POSITIVE_INFINITY;
      const nextMs = entry.tick(isLate);
      entry.dueMs = Math.min(entry.dueMs, nextMs);
    }
    this.#running = false;
    let nextMs = Number.POSITIVE_INFINITY;
    for (const { dueMs } of this.#entries) nextMs = Math.min(nextMs, dueMs);
    if (this.#entries.size > 0) this.#arm(nextMs);
  }
}
