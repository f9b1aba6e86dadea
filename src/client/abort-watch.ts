/**
 * Listens to the AbortSignals of calls, once for each signal however many calls share it: Node.js takes many listeners
 * on one signal for a leak, and warns.
 */
export class AbortWatch {
  readonly #runs = new Map<AbortSignal, { readonly runs: Set<() => void>; readonly listener: () => void }>();

  /** Runs once when the signal fires, unless the returned function is called before. */
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
