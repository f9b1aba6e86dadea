/**
 * The calls in progress of one client. A call knows its place in the list: the last one takes the place of one that is
 * removed. A Set would be slower by more than it costs itself: while entries come and go, it replaces its table again
 * and again, and each replaced table keeps the calls that it held alive until the old generation is collected.
 */
import type { Call, EndCode } from './call.js';
import type { ClientEnv } from './client-options.js';
import { DeadlineTimer } from './deadline-timer.js';

export class Calls {
  readonly #calls: Call[] = [];
  readonly #timer: DeadlineTimer;

  constructor(env: ClientEnv) {
    this.#timer = new DeadlineTimer(env, (nowMs) => this.#expire(nowMs));
  }

  add(call: Call): void {
    call.slot = this.#calls.length;
    this.#calls.push(call);
    this.#timer.add(call.deadlineMs);
  }

  remove(call: Call): void {
    if (this.#calls[call.slot] !== call) return;
    const last = this.#calls.pop();
    if (!last || last === call) return;
    this.#calls[call.slot] = last;
    last.slot = call.slot;
  }

  endAll(code: EndCode): void {
    for (const call of [...this.#calls]) call.end(code);
    this.#timer.stop();
  }

  #expire(nowMs: number): number {
    for (const call of this.#calls.filter(({ deadlineMs }) => deadlineMs <= nowMs)) call.end('TIMEOUT');
    return this.#calls.reduce(
      (soonestMs, call) => (call.isEnded ? soonestMs : Math.min(soonestMs, call.deadlineMs)),
      Number.POSITIVE_INFINITY,
    );
  }
}
