/**
 * Limits the memory of the active memtables of several trees. Above the limit the largest one is frozen and flushed.
 */

/** A tree, as the budget sees it. */
export interface WriteBuffer {
  /** The size of the active memtable. */
  readonly activeBytes: number;
  /** Freezes the active memtable; false if that is not possible now. */
  freeze(): boolean;
}

export class WriteBufferBudget {
  readonly #limitBytes: number;
  /** The bytes that each buffer reported last. */
  readonly #buffers = new Map<WriteBuffer, number>();
  #totalBytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get totalBytes(): number {
    return this.#totalBytes;
  }

  join(buffer: WriteBuffer): void {
    this.#buffers.set(buffer, 0);
  }

  leave(buffer: WriteBuffer): void {
    this.#totalBytes -= this.#buffers.get(buffer) ?? 0;
    this.#buffers.delete(buffer);
  }

  /** A buffer has grown or was frozen. */
  changed(buffer: WriteBuffer): void {
    const known = this.#buffers.get(buffer);
    if (known === undefined) return;
    const bytes = buffer.activeBytes;
    this.#buffers.set(buffer, bytes);
    this.#totalBytes += bytes - known;
    if (this.#totalBytes > this.#limitBytes) this.#freezeLargest();
  }

  #freezeLargest(): void {
    const bySize = [...this.#buffers].sort(([, a], [, b]) => b - a);
    for (const [buffer, bytes] of bySize) {
      if (bytes === 0) return;
      if (!buffer.freeze()) continue;
      this.#buffers.set(buffer, 0);
      this.#totalBytes -= bytes;
      return;
    }
  }
}
