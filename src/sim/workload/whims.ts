/** Callers who hardly wait: some of their calls have little time, others are aborted, at once or a little later. */
import type { CallOptions } from '../../client/client-options.js';
import type { Coverage } from '../rules/coverage.js';
import type { Scheduler } from '../world/scheduler.js';
import type { SeededRandom } from '../world/seeded-random.js';

export class Whims {
  readonly #random: SeededRandom;
  readonly #coverage: Coverage;
  readonly #scheduler: Pick<Scheduler, 'after'>;
  readonly #areHasty: boolean;

  constructor(
    random: SeededRandom,
    coverage: Coverage,
    scheduler: Pick<Scheduler, 'after'>,
    areHasty: boolean,
  ) {
    this.#random = random;
    this.#coverage = coverage;
    this.#scheduler = scheduler;
    this.#areHasty = areHasty;
  }

  /** For the next call. */
  next(often?: 'often'): CallOptions {
    if (!this.#areHasty || !this.#random.chance(often ? 0.3 : 0.1)) return {};
    const waitMs = this.#random.pick([
      0,
      this.#random.float() * 5,
      this.#random.float() * 50,
      this.#random.float() * 500,
    ]);
    if (this.#random.chance(0.5)) {
      this.#coverage.count('calls with little time');
      return { timeoutMs: 1 + Math.floor(waitMs) };
    }
    this.#coverage.count('calls aborted');
    const controller = new AbortController();
    this.#scheduler.after(waitMs, () => controller.abort());
    return { signal: controller.signal };
  }
}
