/**
 * Callers that wait for an index to read at. First the core confirms the index, then the state machine reaches it.
 */
import type { RaftreeError } from '../env/errors.js';

interface PendingRead {
  readonly resolve: (index: number) => void;
  readonly reject: (error: RaftreeError) => void;
}

export class PendingReads {
  readonly #unconfirmed = new Map<number, PendingRead>();
  /** Confirmed, and their index is not applied yet; ordered by index. */
  #confirmed: { readonly index: number; readonly atMs: number; readonly read: PendingRead }[] = [];

  get isEmpty(): boolean {
    return this.#unconfirmed.size === 0 && this.#confirmed.length === 0;
  }

  add(id: number, read: PendingRead): void {
    this.#unconfirmed.set(id, read);
  }

  confirm(id: number, index: number, atMs: number): void {
    const read = this.#take(id);
    if (read) this.#confirmed.push({ index, atMs, read });
  }

  reject(id: number, error: RaftreeError): void {
    this.#take(id)?.reject(error);
  }

  /** The state machine has reached this index. */
  answerThrough(appliedIndex: number): void {
    let count = 0;
    for (const { index, read } of this.#confirmed) {
      if (index > appliedIndex) break;
      read.resolve(index);
      count++;
    }
    if (count > 0) this.#confirmed.splice(0, count);
  }

  /** Rejects reads that were confirmed before that time: a node that gets no entries never reaches their index. */
  rejectConfirmedBefore(timeMs: number, error: () => RaftreeError): void {
    const overdue = this.#confirmed.filter(({ atMs }) => atMs < timeMs);
    if (overdue.length === 0) return;
    this.#confirmed = this.#confirmed.filter(({ atMs }) => atMs >= timeMs);
    for (const { read } of overdue) read.reject(error());
  }

  rejectAll(error: RaftreeError): void {
    const reads = [...this.#unconfirmed.values(), ...this.#confirmed.map(({ read }) => read)];
    for (const read of reads) read.reject(error);
    this.#unconfirmed.clear();
    this.#confirmed = [];
  }

  #take(id: number): PendingRead | undefined {
    const read = this.#unconfirmed.get(id);
    this.#unconfirmed.delete(id);
    return read;
  }
}
