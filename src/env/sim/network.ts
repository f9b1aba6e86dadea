/**
 * TCP without a network: ordered byte streams between named hosts, with a delay per chunk, chunks that are cut and
 * glued at random, links that can be cut (bytes wait, as TCP would resend) and hosts whose connections break.
 */
import type { Address, Listener, Network, Socket, SocketHandler } from '../env.js';
import { formatAddress } from '../env.js';
import { systemError } from './disk.js';
import type { Scheduler } from './scheduler.js';
import type { SeededRandom } from './seeded-random.js';

export interface SimNetworkOptions {
  readonly minDelayMs?: number;
  readonly maxDelayMs?: number;
}

export class SimNetwork {
  readonly #scheduler: Scheduler;
  readonly #random: SeededRandom;
  readonly #minDelayMs: number;
  readonly #maxDelayMs: number;
  readonly #listeners = new Map<string, { host: string; accept: (socket: Socket) => void }>();
  readonly #cutLinks = new Set<string>();
  readonly #sockets = new Set<SimSocket>();
  /** How often each host has been killed: what an earlier process of it still waits for never comes. */
  readonly #deaths = new Map<string, number>();
  #nextPort = 40_000;

  constructor(scheduler: Scheduler, random: SeededRandom, options: SimNetworkOptions = {}) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.#minDelayMs = options.minDelayMs ?? 0.1;
    this.#maxDelayMs = options.maxDelayMs ?? 1;
  }

  /** The network as one host (a process) sees it. */
  attach(host: string): Network {
    const deaths = this.#deathsOf(host);
    const isAlive = () => this.#deathsOf(host) === deaths;
    return {
      listen: async (address, accept) => {
        if (!isAlive()) return new Promise<never>(() => {});
        return this.#listen(host, address, accept);
      },
      connect: (address, timeoutMs) => this.#connect(host, isAlive, address, timeoutMs),
    };
  }

  /** No bytes pass from one host to the other until the link is mended. */
  cut(from: string, to: string): void {
    this.#cutLinks.add(`${from}>${to}`);
  }

  mend(from: string, to: string): void {
    this.#cutLinks.delete(`${from}>${to}`);
    this.#resume();
  }

  mendAll(): void {
    this.#cutLinks.clear();
    this.#resume();
  }

  #resume(): void {
    for (const socket of this.#sockets) {
      this.#transmit(socket);
      if (socket.isOrphan) this.#reset(socket);
    }
  }

  #deathsOf(host: string): number {
    return this.#deaths.get(host) ?? 0;
  }

  /** The host's process died: its listeners are gone and its peers see their connections reset, if a link leads there. */
  kill(host: string): void {
    this.#deaths.set(host, this.#deathsOf(host) + 1);
    for (const [key, listener] of this.#listeners) if (listener.host === host) this.#listeners.delete(key);
    for (const socket of [...this.#sockets]) {
      if (socket.host !== host) continue;
      this.#sockets.delete(socket);
      socket.die();
      if (socket.peer) this.#reset(socket.peer);
    }
  }

  /** The other end is gone. If the link from there is cut, this end learns it when the link is mended. */
  #reset(socket: SimSocket): void {
    socket.isOrphan = true;
    if (this.#cutLinks.has(`${socket.peerHost}>${socket.host}`)) return;
    this.#scheduler.after(this.#delayMs(), () => {
      if (this.#cutLinks.has(`${socket.peerHost}>${socket.host}`)) return;
      this.#close(socket, systemError('ECONNRESET', 'read', socket.peerHost));
    });
  }

  #listen(host: string, address: Address, accept: (socket: Socket) => void): Listener {
    const bound = address.port === 0 ? { host: address.host, port: this.#nextPort++ } : address;
    const key = formatAddress(bound);
    if (this.#listeners.has(key)) throw systemError('EADDRINUSE', 'listen', key);
    const listener = { host, accept };
    this.#listeners.set(key, listener);
    return {
      address: bound,
      close: async () => {
        if (this.#listeners.get(key) === listener) this.#listeners.delete(key);
      },
    };
  }

  #connect(host: string, isAlive: () => boolean, address: Address, timeoutMs: number): Promise<Socket> {
    const key = formatAddress(address);
    return new Promise((resolve, reject) => {
      if (!isAlive()) return;
      const target = this.#listeners.get(key)?.host;
      if (target && (this.#cutLinks.has(`${host}>${target}`) || this.#cutLinks.has(`${target}>${host}`))) {
        this.#scheduler.after(timeoutMs, () => {
          if (isAlive()) reject(systemError('ETIMEDOUT', 'connect', key));
        });
        return;
      }
      this.#scheduler.after(this.#delayMs(), () => {
        if (!isAlive()) return;
        const listener = this.#listeners.get(key);
        if (!listener) {
          reject(systemError('ECONNREFUSED', 'connect', key));
          return;
        }
        const near = new SimSocket(this, host, listener.host, key);
        const far = new SimSocket(this, listener.host, host, `${host}:${this.#nextPort++}`);
        near.peer = far;
        far.peer = near;
        this.#sockets.add(near).add(far);
        listener.accept(far);
        resolve(near);
      });
    });
  }

  #delayMs(): number {
    return this.#minDelayMs + this.#random.float() * (this.#maxDelayMs - this.#minDelayMs);
  }

  /** A socket wrote or its link was mended: one delivery is under way per direction, which keeps the order. */
  send(socket: SimSocket): void {
    this.#transmit(socket);
  }

  #transmit(socket: SimSocket): void {
    if (socket.inTransit || (socket.outgoing.length === 0 && !socket.ended)) return;
    if (this.#cutLinks.has(`${socket.host}>${socket.peerHost}`)) return;
    socket.inTransit = true;
    this.#scheduler.after(this.#delayMs(), () => {
      socket.inTransit = false;
      if (!this.#sockets.has(socket)) return;
      if (this.#cutLinks.has(`${socket.host}>${socket.peerHost}`)) return;
      const peer = socket.peer;
      if (socket.outgoing.length > 0) {
        const waiting = Buffer.concat(socket.outgoing);
        const count = this.#random.chance(0.2) ? this.#random.between(1, waiting.length) : waiting.length;
        socket.outgoing = count < waiting.length ? [waiting.subarray(count)] : [];
        if (peer) peer.deliver(Buffer.from(waiting.subarray(0, count)));
        if (socket.outgoing.length === 0) socket.handler?.drained();
      }
      if (socket.outgoing.length === 0 && socket.ended) {
        this.#close(socket, undefined);
        if (peer) this.#close(peer, undefined);
      } else {
        this.#transmit(socket);
      }
    });
  }

  abort(socket: SimSocket, error: Error | undefined): void {
    this.#scheduler.after(0, () => {
      this.#close(socket, error);
      socket.finish(error);
    });
    if (socket.peer) this.#reset(socket.peer);
  }

  #close(socket: SimSocket, error: Error | undefined): void {
    if (!this.#sockets.delete(socket)) return;
    socket.close(error);
  }
}

class SimSocket implements Socket {
  readonly host: string;
  readonly peerHost: string;
  readonly remote: string;
  readonly #network: SimNetwork;
  peer: SimSocket | undefined;
  handler: SocketHandler | undefined;
  outgoing: Buffer[] = [];
  inTransit = false;
  ended = false;
  /** The other end is gone without having ended. */
  isOrphan = false;
  #closed = false;
  /** The other end has ended, and what it sent before is still to be read. */
  #isLastChunkPending = false;
  #closeError: Error | undefined;
  #paused = false;
  #incoming: Buffer[] = [];

  constructor(network: SimNetwork, host: string, peerHost: string, remote: string) {
    this.#network = network;
    this.host = host;
    this.peerHost = peerHost;
    this.remote = remote;
  }

  get bufferedBytes(): number {
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

  /** The connection is over; after an orderly end, once all that was sent is read. */
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

  /** The process behind this end is gone: nobody is called. */
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
