/** One line per second and reason, however often something happens: the first at once, the others counted. */
import type { Timers } from '../env/env.js';

const WINDOW_MS = 1000;

export class Tally<Fields> {
  readonly #timers: Timers;
  readonly #say: (reason: string, fields: Fields, more: number) => void;
  /** The newest of each reason in the present second, and how many came after the one that was said. */
  readonly #counts = new Map<string, { fields: Fields; more: number }>();

  /** `say` is told the newest of a reason, and how many there were since the last time besides it. */
  constructor(timers: Timers, say: (reason: string, fields: Fields, more: number) => void) {
    this.#timers = timers;
    this.#say = say;
  }

  add(reason: string, fields: Fields): void {
    const count = this.#counts.get(reason);
    if (count) {
      count.fields = fields;
      count.more++;
      return;
    }
    this.#begin(reason, fields);
    this.#say(reason, fields, 0);
  }

  #begin(reason: string, fields: Fields): void {
    const count = { fields, more: 0 };
    this.#counts.set(reason, count);
    this.#timers.after(WINDOW_MS, () => {
      this.#counts.delete(reason);
      if (count.more === 0) return;
      this.#begin(reason, count.fields);
      this.#say(reason, count.fields, count.more - 1);
    });
  }
}
