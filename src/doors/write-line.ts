/**
 * The writes of one connection of a door. They take effect in the order in which they came, though some are proposed
 * here and some are passed on to the node that leads:
 *
 *     to another tablet  each tablet has an order of its own: it begins when all writes before it have their answers
 *     proposed here      in the order of the calls; what comes later in this log, or in a later leader's, is after it
 *     passed on          in the lane, when all writes before it have their answers or are in the lane
 *     behind these       passed on as well, while one has no answer, or may still have an effect
 *     held back          a large one that waits to be proposed, or one that waits to be passed on: none after it begins
 */
import { RaftreeClientError } from '../client/client-error.js';
import { Lane } from '../client/key-order.js';

/** Of a write that has begun. */
export interface Place {
  readonly tablet: number;
  /** It has its answer, or is in the lane. */
  hasLeft: boolean;
  isHeld: boolean;
  /** Called when it is the first. */
  tellFirst: (() => void) | undefined;
}

export class WriteLine {
  readonly #lane = new Lane();
  /** Of writes that are neither answered nor in the lane, in the order in which they began. */
  readonly #places: Place[] = [];
  #held = 0;
  /** Where those go that have begun and have no answer, and how many they are. */
  #tablet = 0;
  #underWay = 0;
  /** Those that have not begun. */
  readonly #waiting: { readonly tablet: number; readonly begin: () => void }[] = [];
  /** How many were passed on, and how many of these have no answer. */
  #passed = 0;
  #passing = 0;
  /** By tablet: the number of the latest one that was passed on and given up. A copy of it may still arrive. */
  readonly #inDoubt = new Map<number, number>();

  /** Whether a write that begins now must be passed on. */
  passesOn(tablet: number): boolean {
    return this.#passing > 0 || this.#inDoubt.has(tablet);
  }

  begin<T>(tablet: number, write: (place: Place) => Promise<T>): Promise<T> {
    if (this.#waiting.length === 0 && this.#mayBegin(tablet)) return this.#begin(tablet, write);
    return new Promise((resolve) =>
      this.#waiting.push({ tablet, begin: () => resolve(this.#begin(tablet, write)) }),
    );
  }

  #mayBegin(tablet: number): boolean {
    return this.#held === 0 && (this.#underWay === 0 || this.#tablet === tablet);
  }

  async #begin<T>(tablet: number, write: (place: Place) => Promise<T>): Promise<T> {
    const place: Place = { tablet, hasLeft: false, isHeld: false, tellFirst: undefined };
    this.#places.push(place);
    this.#tablet = tablet;
    this.#underWay++;
    try {
      return await write(place);
    } finally {
      this.#underWay--;
      this.#leave(place);
    }
  }

  /** None after it begins until it leaves. */
  hold(place: Place): void {
    if (place.isHeld) return;
    place.isHeld = true;
    this.#held++;
  }

  isFirst(place: Place): boolean {
    return this.#places[0] === place;
  }

  /** Resolves when all writes before it have their answers or are in the lane. */
  first(place: Place): Promise<void> {
    this.hold(place);
    return new Promise((resolve) => {
      place.tellFirst = resolve;
    });
  }

  #leave(place: Place): void {
    if (!place.hasLeft) {
      place.hasLeft = true;
      if (place.isHeld) this.#held--;
      while (this.#places[0]?.hasLeft) this.#places.shift();
      this.#places[0]?.tellFirst?.();
    }
    for (let [next] = this.#waiting; next && this.#mayBegin(next.tablet); [next] = this.#waiting) {
      this.#waiting.shift();
      next.begin();
    }
  }

  /** The call of `write` takes its place in the lane. */
  async passOn<T>(place: Place, write: (lane: Lane) => Promise<T>): Promise<T> {
    const { tablet } = place;
    const number = ++this.#passed;
    this.#passing++;
    try {
      const answer = write(this.#lane);
      this.#leave(place);
      await answer;
      // The lane carries a write out only when no write before it, to this tablet, can have an effect any more.
      if (number > (this.#inDoubt.get(tablet) ?? 0)) this.#inDoubt.delete(tablet);
      return answer;
    } catch (error) {
      const isKnown = error instanceof RaftreeClientError && error.outcome === 'notCommitted';
      if (!isKnown) this.#inDoubt.set(tablet, Math.max(number, this.#inDoubt.get(tablet) ?? 0));
      throw error;
    } finally {
      this.#passing--;
    }
  }
}
