/** Work that a tree waits for before it releases its directory. */
export class BackgroundWork {
  readonly #running = new Set<Promise<void>>();

  /** Adds work, and returns it. */
  add<T>(work: Promise<T>): Promise<T> {
    const settled = work.then(
      () => {},
      () => {},
    );
    this.#running.add(settled);
    void settled.then(() => this.#running.delete(settled));
    return work;
  }

  /** Resolves when all work has ended, with success or failure. */
  async settled(): Promise<void> {
    await Promise.all(this.#running);
  }
}
