/**
 * Adds one listener per AbortSignal, however many calls share the signal. Node.js warns of a leak when a signal has
 * many listeners.
 */
export class AbortWatch {
  readonly #runs = new Map<AbortSignal, { readonly runs: Set<() => void>; readonly listener: () => void }>();

  /** Runs once when the signal is aborted, unless the returned function was called before. */
  add(signal: AbortSignal, run: () => void): () => void {
    let watched = this.#runs.get(signal);
    if (!watched) {
      const runs = new Set<() => void>();
      const listener = () => {
        this.#runs.delete(signal);
        for (const each of runs) each();
      };
      watched = { runs, listener };
      this.#runs.set(signal, watched);
      signal.addEventListener('abort', listener, { once: true });
    }
    const { runs, listener } = watched;
    runs.add(run);
    return () => {
      runs.delete(run);
      if (runs.size > 0 || this.#runs.get(signal)?.runs !== runs) return;
      this.#runs.delete(signal);
      signal.removeEventListener('abort', listener);
    };
  }
}
