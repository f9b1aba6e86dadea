/**
 * What is due when: a binary heap, in which each element knows its place, so that its time can be changed. Of equal
 * times the one that was added first comes first: a run must not depend on the history of the heap.
 */
export interface Due {
  /** Change it with `move` only. */
  dueMs: number;
  /** In the heap, and the order of adding. Undefined outside of the heap. */
  place: { at: number; readonly serial: number } | undefined;
}

export class DueTimes<Element extends Due> {
  readonly #heap: Element[] = [];
  #serial = 0;

  get size(): number {
    return this.#heap.length;
  }

  /** The earliest time; Infinity if there is none. */
  get firstMs(): number {
    return this.#heap[0]?.dueMs ?? Number.POSITIVE_INFINITY;
  }

  add(element: Element): void {
    element.place = { at: this.#heap.length, serial: this.#serial++ };
    this.#heap.push(element);
    this.#rise(element);
  }

  /** Gives an element that is in the heap another time. */
  move(element: Element, dueMs: number): void {
    element.dueMs = dueMs;
    this.#rise(element);
    this.#sink(element);
  }

  remove(element: Element): void {
    const { place } = element;
    if (!place) return;
    element.place = undefined;
    const last = this.#heap.pop();
    if (!last || last === element) return;
    this.#put(last, place.at);
    this.#rise(last);
    this.#sink(last);
  }

  /** The elements that are due by this time, in order. They stay, and are never due until they are moved. */
  takeDue(byMs: number): Element[] {
    const due: Element[] = [];
    for (let first = this.#heap[0]; first && first.dueMs <= byMs; first = this.#heap[0]) {
      due.push(first);
      this.move(first, Number.POSITIVE_INFINITY);
    }
    return due;
  }

  #rise(element: Element): void {
    for (let at = placeOf(element); at > 0; ) {
      const parentAt = (at - 1) >> 1;
      const parent = this.#heap[parentAt] as Element;
      if (!isBefore(element, parent)) return;
      this.#put(parent, at);
      this.#put(element, parentAt);
      at = parentAt;
    }
  }

  #sink(element: Element): void {
    for (let at = placeOf(element); ; ) {
      const left = this.#heap[2 * at + 1];
      const right = this.#heap[2 * at + 2];
      const child = left && right && isBefore(right, left) ? right : left;
      if (!child || !isBefore(child, element)) return;
      const childAt = placeOf(child);
      this.#put(child, at);
      this.#put(element, childAt);
      at = childAt;
    }
  }

  #put(element: Element, at: number): void {
    this.#heap[at] = element;
    if (element.place) element.place.at = at;
  }
}

const placeOf = ({ place }: Due): number => place?.at ?? 0;

function isBefore(one: Due, other: Due): boolean {
  if (one.dueMs !== other.dueMs) return one.dueMs < other.dueMs;
  return (one.place?.serial ?? 0) < (other.place?.serial ?? 0);
}
