/** Gathers what is written within one turn of the event loop into one write to the socket. */
import type { Socket } from 'node:net';

const INITIAL_BYTES = 64 * 1024;

export class TurnWriter {
  readonly #socket: Socket;
  #buffer = Buffer.allocUnsafe(INITIAL_BYTES);
  #length = 0;
  #isScheduled = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  bytes(bytes: Uint8Array): void {
    const at = this.#reserve(bytes.length);
    this.#buffer.set(bytes, at);
  }

  text(text: string): void {
    const at = this.#reserve(text.length);
    this.#buffer.write(text, at, 'latin1');
  }

  /** The start of so many bytes in `target`, to be filled in at once. */
  space(bytes: number): { readonly target: Buffer; readonly at: number } {
    const at = this.#reserve(bytes);
    return { target: this.#buffer, at };
  }

  #reserve(bytes: number): number {
    const at = this.#length;
    this.#length += bytes;
    if (this.#length > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(2 * this.#length);
      this.#buffer.copy(larger, 0, 0, at);
      this.#buffer = larger;
    }
    if (!this.#isScheduled) {
      this.#isScheduled = true;
      setImmediate(() => this.#flush());
    }
    return at;
  }

  #flush(): void {
    this.#isScheduled = false;
    const bytes = this.#buffer.subarray(0, this.#length);
    this.#length = 0;
    // The socket may keep the bytes until they are sent.
    this.#buffer = Buffer.allocUnsafe(Math.min(this.#buffer.length, 16 * INITIAL_BYTES));
    if (!this.#socket.destroyed) this.#socket.write(bytes);
  }
}
