/** Where each write with a token took effect: at one entry of one tablet, or not at all. */
import type { Fail } from './fail.js';

export interface Effect {
  readonly tablet: number;
  readonly index: number;
  /** Effects in the order in which a node first applied them, of all tablets. */
  readonly order: number;
}

export class Effects {
  readonly #fail: Fail;
  readonly #byToken = new Map<string, Effect>();

  constructor(fail: Fail) {
    this.#fail = fail;
  }

  of(token: string): Effect | undefined {
    return this.#byToken.get(token);
  }

  took(token: string, tablet: number, index: number): void {
    if (token === '') return;
    const before = this.#byToken.get(token);
    const order = before?.order ?? this.#byToken.size;
    if (before && (before.tablet !== tablet || before.index !== index)) {
      const [first, second] = [before, { tablet, index }].map(
        (at) => `entry ${at.index} of tablet ${at.tablet}`,
      );
      this.#fail('applied once', `the write ${token} took effect at ${first} and at ${second}`);
    }
    this.#byToken.set(token, { tablet, index, order });
  }
}
