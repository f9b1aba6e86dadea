/** Work that a tree waits for before it releases its directory. */
export class BackgroundWork {
  readonly #running = new Set<Promise<void>>();

  /** Gives the work back, as it is. */
  add<T>(work: Promise<T>): Promise<T> {
    const settled = work.then(
      () => {},
      () => {},
    );
    this.#running.add(settled);
    void settled.then(() => this.#running.delete(settled));
    return work;
  }

  /** Resolves when all of it has ended, in whichever way. */
  async settled(): Promise<void> {
    await Promise.all(this.#running);
  }
}
