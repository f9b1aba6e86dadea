/**
 * The merge of several cursors in internal order, in one direction: a binary heap whose top is the cursor with the
 * smallest entry (forward) or the largest (reverse). A merged entry is read from the top itself, without a copy.
 */
import { type Cursor, compareCursors } from '../base/cursor.js';

export class MergeCursor {
  readonly #all: readonly Cursor[];
  readonly #reverse: boolean;
  readonly #heap: Cursor[] = [];
  /** The index in the heap of the cursor that comes next after the top; 0 if it is not known. */
  #rival = 0;

  constructor(cursors: readonly Cursor[], reverse = false) {
    this.#all = cursors;
    this.#reverse = reverse;
  }

  /** The cursor with the current entry; undefined after the last entry. */
  get top(): Cursor | undefined {
    return this.#heap[0];
  }

  /** Moves to the first entry; in reverse, to the last one. */
  seekToStart(): void {
    for (const cursor of this.#all) {
      if (this.#reverse) cursor.seekToLast();
      else cursor.seekToFirst();
    }
    this.#rebuild();
  }

  /** Moves to the first entry at or after a position; in reverse, to the last entry before it. */
  seek(key: Uint8Array, sequence: number): void {
    for (const cursor of this.#all) {
      if (this.#reverse) cursor.seekBefore(key, sequence);
      else cursor.seek(key, sequence);
    }
    this.#rebuild();
  }

  /** Needs a current entry. */
  advance(): void {
    const heap = this.#heap;
    const top = heap[0] as Cursor;
    if (this.#reverse) top.previous();
    else top.next();
    this.#settleTop();
  }

  /** Restores the heap after the top has moved. */
  #settleTop(): void {
    const heap = this.#heap;
    const top = heap[0] as Cursor;
    if (!top.valid) {
      this.#rival = 0;
      const last = heap.pop() as Cursor;
      if (heap.length > 0 && last !== top) heap[0] = last;
      if (heap.length > 1) this.#siftDown(0);
      return;
    }
    if (heap.length === 1) return;
    // While the same cursor stays at the top, it is compared with one other cursor only.
    if (this.#rival === 0) this.#rival = this.#firstChild(0);
    const rival = heap[this.#rival] as Cursor;
    if (!this.#isBefore(rival, top)) return;
    heap[0] = rival;
    heap[this.#rival] = top;
    this.#siftDown(this.#rival);
    this.#rival = 0;
  }

  /** The child that comes first. The parent must have a child. */
  #firstChild(parent: number): number {
    const heap = this.#heap;
    const child = 2 * parent + 1;
    const isSecond =
      child + 1 < heap.length && this.#isBefore(heap[child + 1] as Cursor, heap[child] as Cursor);
    return isSecond ? child + 1 : child;
  }

  /**
   * Moves the top, and no other cursor, in the direction of the merge. Forward: to its first entry at or after a
   * position. In reverse: to its last entry before the position (`to` is before), or to its first entry at or after it
   * (`to` is at).
   */
  moveTop(key: Uint8Array, sequence: number, to: 'before' | 'at'): void {
    const top = this.#heap[0] as Cursor;
    if (to === 'before') top.seekBefore(key, sequence);
    else top.seek(key, sequence);
    this.#settleTop();
  }

  close(): void {
    this.#heap.length = 0;
    for (const cursor of this.#all) cursor.close();
  }

  #rebuild(): void {
    const heap = this.#heap;
    heap.length = 0;
    this.#rival = 0;
    for (const cursor of this.#all) if (cursor.valid) heap.push(cursor);
    for (let at = (heap.length >> 1) - 1; at >= 0; at--) this.#siftDown(at);
  }

  #siftDown(from: number): void {
    const heap = this.#heap;
    const cursor = heap[from] as Cursor;
    let at = from;
    while (2 * at + 1 < heap.length) {
      const child = this.#firstChild(at);
      if (!this.#isBefore(heap[child] as Cursor, cursor)) break;
      heap[at] = heap[child] as Cursor;
      at = child;
    }
    heap[at] = cursor;
  }

  #isBefore(a: Cursor, b: Cursor): boolean {
    const order = compareCursors(a, b);
    return this.#reverse ? order > 0 : order < 0;
  }
}
