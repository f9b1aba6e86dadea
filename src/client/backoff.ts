import type { Random } from '../env/env.js';

/**
 * The pause before another attempt: doubles with each failure up to a limit, of which a random half is waited for, so
 * that those who failed together do not come back together ("Exponential Backoff And Jitter", AWS, 2015).
 */
export function backoffDelayMs(failures: number, firstMs: number, maximumMs: number, random: Random): number {
  const delayMs = Math.min(maximumMs, firstMs * 2 ** Math.min(failures, 30));
  return delayMs * (0.5 + random.float() / 2);
}
