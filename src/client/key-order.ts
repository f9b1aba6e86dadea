/**
 * Writes to the same key go one after the other, in the order of their calls: the next one is sent when the one before
 * it is over. Sent together, the first could be lost and repeated after the second was applied. Writes to different
 * keys do not wait for each other. A batch waits for the earlier writes to each of its keys.
 */

export interface Turn {
  /** Resolves when all earlier writes to the keys are over; undefined if there is none. */
  readonly ready: Promise<unknown> | undefined;
  /** This write is over: it is answered, or it can never be applied any more, or it is not sent at all. */
  leave(): void;
}

export class KeyOrder {
  /** By key: settles when its latest write, and all before it, are over. */
  readonly #last = new Map<string, Promise<unknown>>();

  /** A turn behind all earlier writes to any of the keys. */
  enter(keys: ReadonlySet<string>): Turn {
    const before = new Set<Promise<unknown>>();
    for (const key of keys) {
      const last = this.#last.get(key);
      if (last) before.add(last);
    }
    const ready = before.size > 0 ? Promise.all(before) : undefined;
    let leave: () => void = () => {};
    const left = new Promise<void>((resolve) => {
      leave = resolve;
    });
    // A write that gives up while it waits lets nobody past those that it waits for.
    const over = Promise.all([left, ready]);
    for (const key of keys) this.#last.set(key, over);
    void over.then(() => {
      for (const key of keys) if (this.#last.get(key) === over) this.#last.delete(key);
    });
    return { ready, leave };
  }
}
