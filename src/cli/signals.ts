/** Ctrl-C, SIGTERM, and SIGHUP: the terminal is gone. */

/** npm and the terminal may both deliver one Ctrl-C. */
const SAME_SIGNAL_MS = 300;
/** 128 and the number of the signal. */
const EXIT_CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 };

/** Calls `stop` at the first of them; a second one, a moment later, ends the process at once. */
export function onStopSignal(stop: () => void): void {
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
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => received(signal));
}
