/** Ctrl-C and SIGTERM. */

/** npm and the terminal may both deliver one Ctrl-C. */
const SAME_SIGNAL_MS = 300;

/** Calls `stop` at the first SIGINT or SIGTERM; a second one, a moment later, ends the process at once. */
export function onStopSignal(stop: () => void): void {
  let firstAtMs: number | undefined;
  const received = (signal: NodeJS.Signals) => {
    const nowMs = performance.now();
    if (firstAtMs === undefined) {
      firstAtMs = nowMs;
      stop();
    } else if (nowMs - firstAtMs > SAME_SIGNAL_MS) {
      process.exit(signal === 'SIGINT' ? 130 : 143);
    }
  };
  process.on('SIGINT', received);
  process.on('SIGTERM', received);
}
