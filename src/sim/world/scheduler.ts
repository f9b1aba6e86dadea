/**
 * Virtual time: events in a heap, ordered by time, and by arrival where times are equal. Nothing waits: a simulated
 * hour takes as long as its events take to run. All promises that an event settles run to their end before the next
 * event.
 */
import type { Clock, Timer, Timers } from '../../env/env.js';

interface Event {
  readonly atMs: number;
  readonly order: number;
  run: (() => void) | undefined;
}

const EVENTS_PER_TURN = 4096;

export class Scheduler implements Clock, Timers {
  #nowMs = 0;
  #arrivals = 0;
  #turns = 0;
  readonly #heap: Event[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.#nowMs;
  }

  after(delayMs: number, run: () => void): Timer {
    const event: Event = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#arrivals++, run };
    if (event.atMs < Number.POSITIVE_INFINITY) this.#push(event);
    return {
      cancel() {
        event.run = undefined;
      },
    };
  }

  endOfTurn(run: () => void): void {
    this.after(0, run);
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.after(delayMs, resolve));
  }

  /** Runs events until none is left or `done` holds. Returns whether `done` held. */
  async runUntil(done: () => boolean, limitMs = Number.POSITIVE_INFINITY): Promise<boolean> {
    await breathe();
    while (!done()) {
      const next = this.#heap[0];
      if (!next || next.atMs > limitMs) {
        // A real turn of the event loop may settle what microtasks did not. What is done now counts.
        await breathe();
        if (this.#heap[0] === next) return done();
        continue;
      }
      this.#pop();
      if (!next.run) continue;
      this.#nowMs = next.atMs;
      next.run();
      await (++this.#turns % EVENTS_PER_TURN === 0 ? breathe() : settle());
    }
    return true;
  }

  /** Runs everything due within the next `durationMs`, and leaves the clock at its end. */
  async runFor(durationMs: number): Promise<void> {
    const endMs = this.#nowMs + durationMs;
    await this.runUntil(() => false, endMs);
    this.#nowMs = endMs;
  }

  /** Runs virtual time until the promise settles; throws if events run out or `limitMs` passes first. */
  async run<T>(promise: Promise<T>, limitMs = 600_000): Promise<T> {
    let settled = false;
    const mark = () => {
      settled = true;
    };
    promise.then(mark, mark);
    const endMs = this.#nowMs + limitMs;
    if (!(await this.runUntil(() => settled, endMs))) {
      throw new Error(`the simulation stood still at ${this.#nowMs} ms of virtual time`);
    }
    return promise;
  }

  #before(a: Event, b: Event): boolean {
    return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Event;
      if (!this.#before(event, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (!last || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && this.#before(heap[child + 1] as Event, heap[child] as Event)) child++;
      if (!this.#before(heap[child] as Event, last)) break;
      heap[at] = heap[child] as Event;
      at = child;
    }
    heap[at] = last;
  }
}

/** Resolves when all promise callbacks that are ready, and all that follow from them, have run. */
function settle(): Promise<void> {
  // nextTick runs when no microtask is left. A turn of the event loop would cost ten times as much.
  return new Promise((resolve) => process.nextTick(resolve));
}

/** One real turn of the event loop, for other work of this process. */
function breathe(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
