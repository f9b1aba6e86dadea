/**
 * A network inside one process: its own listeners are reached without a socket. What one end of a connection writes,
 * the other end reads at the end of the turn.
 */
import {
  type Address,
  formatAddress,
  type Listener,
  type Network,
  type Socket,
  type SocketHandler,
  type Timers,
} from '../env/env.js';

/** A large write arrives in pieces, as from a socket. */
const MAX_CHUNK_BYTES = 64 * 1024;
/** The rest is read in the next turn. */
const MAX_BYTES_PER_TURN = 1024 * 1024;
/** An address of this machine. */
const REMOTE = '127.0.0.1:0';

type Accept = (socket: Socket) => void;

export class LocalNetwork implements Network {
  readonly #outside: Network;
  readonly #timers: Timers;
  /** The `accept` function of each address with a listener. */
  readonly #listening = new Map<string, Accept>();
  /** Other names of these addresses. */
  readonly #names = new Map<string, string>();

  constructor(outside: Network, timers: Timers) {
    this.#outside = outside;
    this.#timers = timers;
  }

  /** Connections to this name reach the listener at the address. */
  name(name: string, address: Address): void {
    this.#names.set(name, formatAddress(address));
  }

  async listen(address: Address, accept: Accept): Promise<Listener> {
    const listener = await this.#outside.listen(address, accept);
    const key = formatAddress(listener.address);
    this.#listening.set(key, accept);
    return {
      address: listener.address,
      close: () => {
        this.#listening.delete(key);
        return listener.close();
      },
    };
  }

  async connect(address: Address, timeoutMs: number): Promise<Socket> {
    const asked = formatAddress(address);
    const own = this.#names.get(asked) ?? asked;
    const accept = this.#listening.get(own);
    if (!accept) {
      if (!this.#names.has(asked)) return this.#outside.connect(address, timeoutMs);
      const error = new Error(`this node does not listen at ${own} any more`);
      throw Object.assign(error, { code: 'ECONNREFUSED' });
    }
    const [near, far] = connectedPair(this.#timers);
    accept(far);
    return near;
  }
}

export function connectedPair(timers: Timers): [Socket, Socket] {
  const one = new LocalSocket(timers);
  const other = new LocalSocket(timers);
  one.peer = other;
  other.peer = one;
  return [one, other];
}

class LocalSocket implements Socket {
  readonly remote = REMOTE;
  peer: LocalSocket = this;
  readonly #timers: Timers;
  #handler: SocketHandler | undefined;
  /** Written by the other end, not read yet. */
  #unread: Buffer[] = [];
  #unreadBytes = 0;
  #isPaused = false;
  #isDue = false;
  /** This end writes no more. */
  #isEnded = false;
  #state: 'open' | 'closing' | 'closed' = 'open';
  #error: Error | undefined;

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  get bufferedBytes(): number {
    return this.peer.#unreadBytes;
  }

  handle(handler: SocketHandler): void {
    this.#handler = handler;
    this.#schedule();
  }

  write(chunks: readonly Uint8Array[]): void {
    const { peer } = this;
    if (this.#isEnded || this.#state !== 'open' || peer.#state !== 'open') return;
    // A copy, as with a socket: the writer may reuse its memory.
    const bytes = Buffer.concat(chunks);
    for (let at = 0; at < bytes.length; at += MAX_CHUNK_BYTES)
      peer.#unread.push(bytes.subarray(at, at + MAX_CHUNK_BYTES));
    peer.#unreadBytes += bytes.length;
    peer.#schedule();
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#schedule();
  }

  end(): void {
    this.#isEnded = true;
    this.peer.#schedule();
  }

  destroy(error?: Error): void {
    this.#close(error);
    this.peer.#close(undefined);
  }

  #close(error: Error | undefined): void {
    if (this.#state !== 'open') return;
    this.#state = 'closing';
    this.#error = error;
    this.#unread = [];
    this.#unreadBytes = 0;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    this.#timers.endOfTurn(() => {
      this.#isDue = false;
      this.#proceed();
    });
  }

  #proceed(): void {
    const handler = this.#handler;
    if (!handler) return;
    if (this.#state === 'open') this.#read(handler);
    if (this.#state === 'open' && this.peer.#isEnded && this.#unread.length === 0) this.destroy();
    if (this.#state !== 'closing') return;
    this.#state = 'closed';
    handler.closed(this.#error);
  }

  #drained(): void {
    if (this.#state === 'open') this.#handler?.drained();
  }

  #read(handler: SocketHandler): void {
    let leftBytes = MAX_BYTES_PER_TURN;
    while (!this.#isPaused && this.#state === 'open') {
      const chunk = leftBytes > 0 ? this.#unread.shift() : undefined;
      if (!chunk) break;
      this.#unreadBytes -= chunk.length;
      leftBytes -= chunk.length;
      handler.data(chunk);
      if (this.#unreadBytes === 0) this.peer.#drained();
    }
    if (!this.#isPaused && this.#unread.length > 0) this.#schedule();
  }
}
