/**
 * Orders writes to the same key: they are sent one after the other, in the order of the calls. If two were sent
 * together, the first could be lost and its repetition applied after the second. Writes to different keys do not wait
 * for each other. A batch waits for the earlier writes to each of its keys.
 */

export interface Turn {
  /** Resolves when all earlier writes to the keys are over; undefined if there are none. */
  readonly ready: Promise<unknown> | undefined;
  /** Call it when this write is over: it was answered, can no longer be applied, or was not sent. */
  leave(): void;
}

export class KeyOrder {
  /** By key: settles when the latest write to it, and all before, are over. */
  readonly #last = new Map<string, Promise<unknown>>();

  /** Registers a write after all earlier writes to any of the keys. */
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
    // If a write gives up while it waits, later writes must still wait for the ones before it.
    const over = Promise.all([left, ready]);
    for (const key of keys) this.#last.set(key, over);
    void over.then(() => {
      for (const key of keys) if (this.#last.get(key) === over) this.#last.delete(key);
    });
    return { ready, leave };
  }
}
