/** One end of a simulated connection. */
import type { Socket, SocketHandler } from '../../env/env.js';
import type { SimNetwork } from './network.js';

export class SimSocket implements Socket {
  readonly host: string;
  readonly peerHost: string;
  readonly remote: string;
  /** What this end sends. */
  readonly stream: number;
  readonly #network: SimNetwork;
  peer: SimSocket | undefined;
  handler: SocketHandler | undefined;
  outgoing: Buffer[] = [];
  inTransit = false;
  ended = false;
  /** The other end is gone, without an orderly end. */
  isOrphan = false;
  /** No bytes pass on it any more. */
  isForgotten = false;
  /** Their number since bytes arrived last. */
  retransmissions = 0;
  awaitsRetransmission = false;
  readonly #sendBufferBytes: number;
  #closed = false;
  /** The other end has ended; what it sent before is not read yet. */
  #isLastChunkPending = false;
  #closeError: Error | undefined;
  #paused = false;
  #incoming: Buffer[] = [];

  constructor(
    network: SimNetwork,
    host: string,
    peerHost: string,
    remote: string,
    sendBufferBytes: number,
    stream: number,
  ) {
    this.stream = stream;
    this.#network = network;
    this.host = host;
    this.peerHost = peerHost;
    this.remote = remote;
    this.#sendBufferBytes = sendBufferBytes;
  }

  get bufferedBytes(): number {
    return Math.max(0, this.outgoingBytes - this.#sendBufferBytes);
  }

  get outgoingBytes(): number {
    return this.outgoing.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  handle(handler: SocketHandler): void {
    this.handler = handler;
    if (this.#closed) handler.closed(this.#closeError);
    else this.#flushIncoming();
  }

  write(chunks: readonly Uint8Array[]): void {
    if (this.#closed || this.#isLastChunkPending || this.ended) return;
    for (const chunk of chunks) if (chunk.length > 0) this.outgoing.push(Buffer.from(chunk));
    this.#network.send(this);
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#flushIncoming();
  }

  end(): void {
    if (this.ended || this.#closed) return;
    this.ended = true;
    this.#network.send(this);
  }

  destroy(error?: Error): void {
    if (this.#closed) return;
    this.#incoming = [];
    this.#network.abort(this, error);
  }

  deliver(chunk: Buffer): void {
    if (this.#closed) return;
    this.#incoming.push(chunk);
    this.#flushIncoming();
  }

  /** Closes this end. After an orderly end it closes when everything that was sent is read. */
  close(error: Error | undefined): void {
    this.#flushIncoming();
    if (error === undefined && this.#incoming.length > 0) this.#isLastChunkPending = true;
    else this.finish(error);
  }

  finish(error: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#closeError = error;
    this.#incoming = [];
    this.handler?.closed(error);
  }

  /** The process of this end is gone: no callback runs any more. */
  die(): void {
    this.#closed = true;
    this.handler = undefined;
    this.#incoming = [];
  }

  #flushIncoming(): void {
    while (this.handler && !this.#paused && !this.#closed) {
      const chunk = this.#incoming.shift();
      if (!chunk) break;
      this.handler.data(chunk);
    }
    if (this.#isLastChunkPending && this.#incoming.length === 0) this.finish(undefined);
  }
}
