import type { Random } from '../env/env.js';

/**
 * The pause before the next attempt. It doubles with each failure up to a limit; a random part of it, at least half, is
 * waited, so that clients that failed together do not retry together ("Exponential Backoff And Jitter", AWS, 2015).
 */
export function backoffDelayMs(failures: number, firstMs: number, maximumMs: number, random: Random): number {
  const delayMs = Math.min(maximumMs, firstMs * 2 ** Math.min(failures, 30));
  return delayMs * (0.5 + random.float() / 2);
}
