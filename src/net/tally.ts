/**
 * Limits repeated log lines: one line per second and reason. The first occurrence is logged at once, the others are
 * counted.
 */
import type { Timers } from '../env/env.js';

const WINDOW_MS = 1000;

export class Tally<Fields> {
  readonly #timers: Timers;
  readonly #say: (reason: string, fields: Fields, more: number) => void;
  /** For each reason of the current second: the newest occurrence, and how many came after the logged one. */
  readonly #counts = new Map<string, { fields: Fields; more: number }>();

  /** `say` gets the newest occurrence of a reason, and the number of others since the last call. */
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
