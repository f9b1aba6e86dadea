/** Stop signals: Ctrl-C (SIGINT), SIGTERM, and SIGHUP (the terminal was closed). */

/** npm and the terminal may both deliver the same Ctrl-C. */
const SAME_SIGNAL_MS = 300;
/** 128 plus the signal's number. */
const EXIT_CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 };

/**
 * Calls `stop` at the first signal. A second one, after a moment, ends the process at once. Returns what ends that.
 */
export function onStopSignal(stop: () => void): () => void {
  let firstAtMs: number | undefined;
  const received = (signal: keyof typeof EXIT_CODES) => {
    const nowMs = performance.now();
    if (firstAtMs === undefined) {
      firstAtMs = nowMs;
      stop();
    } else if (nowMs - firstAtMs > SAME_SIGNAL_MS) {
      process.exit(EXIT_CODES[signal]);
    }
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, received);
  return () => {
    for (const signal of signals) process.off(signal, received);
  };
}
