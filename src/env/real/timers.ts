/** Timers of any length. Node.js' own fire at once if the delay is above 2^31-1 ms. */
import type { Timer } from '../env.js';

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** With Infinity, `run` is never called. */
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
