/** Timers of any length: those of Node.js fire at once above 2^31-1 ms. */
import type { Timer } from '../env.js';

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** A delay of Infinity never ends. */
export function after(delayMs: number, run: () => void): Timer {
  if (delayMs === Number.POSITIVE_INFINITY) return { cancel() {} };
  let timer: NodeJS.Timeout;
  const wait = (restMs: number) => {
    if (restMs <= LONGEST_TIMER_MS) timer = setTimeout(run, restMs);
    else timer = setTimeout(() => wait(restMs - LONGEST_TIMER_MS), LONGEST_TIMER_MS);
  };
  wait(delayMs);
  return { cancel: () => clearTimeout(timer) };
}
