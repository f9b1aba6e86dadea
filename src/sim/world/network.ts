/**
 * TCP without a network: ordered byte streams between named hosts, with a delay per chunk, chunks that are cut and
 * glued at random, links that can be slow, narrow or cut, connections that break, and hosts that are killed, paused or
 * without power.
 *
 *     tcp            ideal (the default)                    real
 *     cut link       bytes wait, and go on when mended      sent again at the next back-off only: 0.2, 0.4, 0.8 … 120 s
 *     lost reset     arrives when the link is mended        never; what is sent, or keep-alive, meets it later
 *     lost power     as a kill: the others see resets       silence, and no answer to whoever connects
 *     sent bytes     are unsent until they arrive           the system takes 1 MiB of them at once
 */
import type { Address, Listener, Network, Socket } from '../../env/env.js';
import { formatAddress, KEEP_ALIVE_TIMEOUT_MS } from '../../env/env.js';
import { systemError } from './file-operation.js';
import type { Scheduler } from './scheduler.js';
import type { SeededRandom } from './seeded-random.js';
import { SimSocket } from './socket.js';

export interface SimNetworkOptions {
  readonly minDelayMs?: number;
  readonly maxDelayMs?: number;
  readonly tcp?: 'ideal' | 'real';
  /** Called for every chunk that arrives, every connection that opens or breaks, every link that is cut or mended. */
  readonly observe?: (event: NetworkEvent) => void;
}

export interface NetworkEvent {
  readonly kind: 'connect' | 'refuse' | 'deliver' | 'reset' | 'cut' | 'mend';
  readonly from: string;
  readonly to: string;
  readonly bytes?: Buffer;
  /** The stream of the bytes. Each connection has two, one per direction. */
  readonly stream?: number;
}

/** Linux: the first retransmission, the longest pause between two, and how many there are. */
const MIN_RETRANSMISSION_MS = 200;
const MAX_RETRANSMISSION_MS = 120_000;
const MAX_RETRANSMISSIONS = 15;
/** Linux: the first repetition of an attempt to connect. */
const CONNECT_AGAIN_MS = 1000;
/** So many written bytes the operating system holds before they are sent. */
const SEND_BUFFER_BYTES = 1024 * 1024;
/** On a narrow link streams take turns; each sends at most so much. */
const SLICE_BYTES = 16 * 1024;

interface Bandwidth {
  readonly bytesPerMs: number;
  /** Until then the link is busy with what was sent so far. */
  busyUntilMs: number;
}

export class SimNetwork {
  readonly #scheduler: Scheduler;
  readonly #random: SeededRandom;
  readonly #minDelayMs: number;
  readonly #maxDelayMs: number;
  readonly #listeners = new Map<string, { host: string; accept: (socket: Socket) => void }>();
  readonly #observe: (event: NetworkEvent) => void;
  readonly #isReal: boolean;
  readonly #cutLinks = new Set<string>();
  readonly #bandwidths = new Map<string, Bandwidth>();
  /** Hosts without power. */
  readonly #dark = new Set<string>();
  /** The host that listened last on an address. */
  readonly #homes = new Map<string, string>();
  readonly #linkDelays = new Map<string, { readonly minMs: number; readonly maxMs: number }>();
  /** What will happen on a paused host when it resumes. */
  readonly #paused = new Map<string, (() => void)[]>();
  readonly #sockets = new Set<SimSocket>();
  /** How often each host was killed: an earlier process of a host gets no answer any more. */
  readonly #deaths = new Map<string, number>();
  #nextPort = 40_000;
  #nextStream = 1;

  constructor(scheduler: Scheduler, random: SeededRandom, options: SimNetworkOptions = {}) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.#minDelayMs = options.minDelayMs ?? 0.1;
    this.#maxDelayMs = options.maxDelayMs ?? 1;
    this.#observe = options.observe ?? (() => {});
    this.#isReal = options.tcp === 'real';
  }

  /** The network as one host (a process) sees it. */
  attach(host: string): Network {
    this.#dark.delete(host);
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
    if (this.#cutLinks.has(`${from}>${to}`)) return;
    this.#cutLinks.add(`${from}>${to}`);
    this.#observe({ kind: 'cut', from, to });
  }

  mend(from: string, to: string): void {
    if (this.#cutLinks.delete(`${from}>${to}`)) this.#observe({ kind: 'mend', from, to });
    this.#resume();
  }

  mendAll(): void {
    for (const [from, to] of this.cutLinks) this.#observe({ kind: 'mend', from, to });
    this.#cutLinks.clear();
    this.#resume();
  }

  /** Links that are cut, as [from, to]. */
  get cutLinks(): readonly (readonly [string, string])[] {
    return [...this.#cutLinks].map((link) => link.split('>') as [string, string]);
  }

  /** Sets the delay of chunks from one host to the other; without a range it is that of all links. */
  slow(from: string, to: string, range?: { readonly minMs: number; readonly maxMs: number }): void {
    if (range) this.#linkDelays.set(`${from}>${to}`, range);
    else this.#linkDelays.delete(`${from}>${to}`);
  }

  /** Limits the bandwidth of a link, for all its streams together; without a number there is no limit. */
  narrow(from: string, to: string, bytesPerSecond?: number): void {
    if (bytesPerSecond === undefined) this.#bandwidths.delete(`${from}>${to}`);
    else this.#bandwidths.set(`${from}>${to}`, { bytesPerMs: bytesPerSecond / 1000, busyUntilMs: 0 });
  }

  /** A firewall between two hosts loses their connections: no bytes and no resets pass on them any more. */
  forgetConnections(one: string, other: string): void {
    for (const socket of this.#sockets) if (isBetween(socket, one, other)) socket.isForgotten = true;
  }

  /** Resets every connection between two hosts. Bytes in transit are lost. */
  breakConnections(one: string, other: string): void {
    for (const socket of [...this.#sockets]) {
      if (isBetween(socket, one, other))
        this.#close(socket, systemError('ECONNRESET', 'read', socket.peerHost));
    }
  }

  /** The host's process does nothing until `resume`. What arrives meanwhile waits. */
  pause(host: string): void {
    if (!this.#paused.has(host)) this.#paused.set(host, []);
  }

  resume(host: string): void {
    const waiting = this.#paused.get(host) ?? [];
    this.#paused.delete(host);
    for (const run of waiting) this.#scheduler.after(0, () => this.#on(host, run));
  }

  #on(host: string, run: () => void): void {
    const waiting = this.#paused.get(host);
    if (waiting) waiting.push(run);
    else run();
  }

  #resume(): void {
    if (this.#isReal) return;
    for (const socket of this.#sockets) {
      this.#transmit(socket);
      if (socket.isOrphan) this.#reset(socket);
    }
  }

  #deathsOf(host: string): number {
    return this.#deaths.get(host) ?? 0;
  }

  /** The host's process died: its listeners are gone. Its peers see resets, if the link to them is not cut. */
  kill(host: string): void {
    this.#deaths.set(host, this.#deathsOf(host) + 1);
    this.#paused.delete(host);
    for (const [key, listener] of this.#listeners) if (listener.host === host) this.#listeners.delete(key);
    for (const socket of [...this.#sockets]) {
      if (socket.host !== host) continue;
      this.#sockets.delete(socket);
      socket.die();
      if (socket.peer) this.#reset(socket.peer);
    }
  }

  /** The host's machine has no power until a process starts there again. */
  losePower(host: string): void {
    if (this.#isReal) this.#dark.add(host);
    this.kill(host);
  }

  #isCut(from: string, to: string): boolean {
    return this.#cutLinks.has(`${from}>${to}`) || this.#dark.has(from) || this.#dark.has(to);
  }

  #isThrough({ host, peerHost, isForgotten }: SimSocket): boolean {
    return !isForgotten && !this.#isCut(host, peerHost);
  }

  /** The other end is gone. This end sees it now, unless the link from there is cut: see the table above. */
  #reset(socket: SimSocket): void {
    socket.isOrphan = true;
    if (this.#isReal) this.#scheduler.after(KEEP_ALIVE_TIMEOUT_MS, () => this.#keepAliveFailed(socket));
    if (socket.isForgotten || this.#isCut(socket.peerHost, socket.host)) return;
    this.#scheduler.after(this.#delayMs(socket.peerHost, socket.host), () => {
      if (this.#isCut(socket.peerHost, socket.host)) return;
      this.#close(socket, systemError('ECONNRESET', 'read', socket.peerHost));
    });
  }

  /** With unsent bytes TCP retransmits those instead of keep-alives. */
  #keepAliveFailed(socket: SimSocket): void {
    if (socket.outgoing.length > 0) return;
    const isUnheard = !this.#isThrough(socket) || this.#isCut(socket.peerHost, socket.host);
    this.#close(socket, systemError(isUnheard ? 'ETIMEDOUT' : 'ECONNRESET', 'read', socket.peerHost));
  }

  #retransmitLater(socket: SimSocket): void {
    if (!this.#isReal || socket.awaitsRetransmission) return;
    if (socket.retransmissions === MAX_RETRANSMISSIONS) {
      this.#close(socket, systemError('ETIMEDOUT', 'write', socket.peerHost));
      return;
    }
    const delayMs = Math.min(MIN_RETRANSMISSION_MS * 2 ** socket.retransmissions++, MAX_RETRANSMISSION_MS);
    socket.awaitsRetransmission = true;
    this.#scheduler.after(delayMs, () => {
      socket.awaitsRetransmission = false;
      if (this.#sockets.has(socket)) this.#transmit(socket);
    });
  }

  #listen(host: string, address: Address, accept: (socket: Socket) => void): Listener {
    const bound = address.port === 0 ? { host: address.host, port: this.#nextPort++ } : address;
    const key = formatAddress(bound);
    if (this.#listeners.has(key)) throw systemError('EADDRINUSE', 'listen', key);
    const listener = { host, accept };
    this.#listeners.set(key, listener);
    this.#homes.set(key, host);
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
      const connected = () => {
        if (!isAlive()) return;
        const listener = this.#listeners.get(key);
        this.#observe({ kind: listener ? 'connect' : 'refuse', from: host, to: key });
        if (!listener) {
          reject(systemError('ECONNREFUSED', 'connect', key));
          return;
        }
        const bufferBytes = this.#isReal ? SEND_BUFFER_BYTES : 0;
        const near = new SimSocket(this, host, listener.host, key, bufferBytes, this.#nextStream++);
        const far = new SimSocket(
          this,
          listener.host,
          host,
          `${host}:${this.#nextPort++}`,
          bufferBytes,
          this.#nextStream++,
        );
        near.peer = far;
        far.peer = near;
        this.#sockets.add(near).add(far);
        this.#on(listener.host, () => listener.accept(far));
        resolve(near);
      };
      const deadlineMs = this.#scheduler.nowMs() + timeoutMs;
      const timedOut = () => {
        if (isAlive()) reject(systemError('ETIMEDOUT', 'connect', key));
      };
      const attempt = (againMs: number) => {
        const target = this.#isReal ? this.#homes.get(key) : this.#listeners.get(key)?.host;
        if (target === undefined || !(this.#isCut(host, target) || this.#isCut(target, host))) {
          this.#scheduler.after(this.#delayMs(host, target ?? ''), () => this.#on(host, connected));
          return;
        }
        const leftMs = deadlineMs - this.#scheduler.nowMs();
        if (this.#isReal && againMs < leftMs) this.#scheduler.after(againMs, () => attempt(2 * againMs));
        else this.#scheduler.after(leftMs, () => this.#on(host, timedOut));
      };
      attempt(CONNECT_AGAIN_MS);
    });
  }

  #delayMs(from: string, to: string): number {
    const { minMs, maxMs } = this.#linkDelays.get(`${from}>${to}`) ?? {
      minMs: this.#minDelayMs,
      maxMs: this.#maxDelayMs,
    };
    return minMs + this.#random.float() * (maxMs - minMs);
  }

  /** A socket wrote, or its link was mended. There is one delivery at a time per direction, which keeps the order. */
  send(socket: SimSocket): void {
    this.#transmit(socket);
  }

  #transmit(socket: SimSocket): void {
    if (socket.inTransit || socket.awaitsRetransmission) return;
    if (socket.outgoing.length === 0 && !socket.ended) return;
    if (!this.#isThrough(socket)) {
      this.#retransmitLater(socket);
      return;
    }
    socket.inTransit = true;
    const { sliceBytes, waitMs } = this.#turnOnLink(socket);
    const arrive = () => {
      socket.inTransit = false;
      if (!this.#sockets.has(socket)) return;
      if (!this.#isThrough(socket)) {
        this.#retransmitLater(socket);
        return;
      }
      if (this.#isReal && socket.isOrphan) {
        this.#reset(socket);
        this.#retransmitLater(socket);
        return;
      }
      socket.retransmissions = 0;
      const peer = socket.peer;
      if (socket.outgoing.length > 0) {
        const hadUntaken = socket.bufferedBytes > 0;
        const waiting =
          socket.outgoing.length === 1 ? (socket.outgoing[0] as Buffer) : Buffer.concat(socket.outgoing);
        const most = Math.min(waiting.length, sliceBytes);
        const count = this.#random.chance(0.2) ? this.#random.between(1, most) : most;
        socket.outgoing = count < waiting.length ? [waiting.subarray(count)] : [];
        if (peer) {
          // Not shared: `write` copied these bytes.
          const bytes = count < waiting.length ? waiting.subarray(0, count) : waiting;
          const { host, peerHost, stream } = socket;
          this.#observe({ kind: 'deliver', from: host, to: peerHost, bytes, stream });
          peer.deliver(bytes);
        }
        if (hadUntaken && socket.bufferedBytes === 0) this.#on(socket.host, () => socket.handler?.drained());
      }
      if (socket.outgoing.length === 0 && socket.ended) {
        this.#close(socket, undefined);
        if (peer) this.#close(peer, undefined);
      } else {
        this.#transmit(socket);
      }
    };
    this.#scheduler.after(waitMs + this.#delayMs(socket.host, socket.peerHost), () =>
      this.#on(socket.peerHost, arrive),
    );
  }

  /** How many bytes of a stream are sent next, and how long the link needs for them. */
  #turnOnLink(socket: SimSocket): { sliceBytes: number; waitMs: number } {
    const bandwidth = this.#bandwidths.get(`${socket.host}>${socket.peerHost}`);
    if (!bandwidth) return { sliceBytes: Number.POSITIVE_INFINITY, waitMs: 0 };
    const nowMs = this.#scheduler.nowMs();
    const sliceBytes = Math.min(SLICE_BYTES, Math.max(1, socket.outgoingBytes));
    bandwidth.busyUntilMs = Math.max(nowMs, bandwidth.busyUntilMs) + sliceBytes / bandwidth.bytesPerMs;
    return { sliceBytes, waitMs: bandwidth.busyUntilMs - nowMs };
  }

  abort(socket: SimSocket, error: Error | undefined): void {
    this.#scheduler.after(0, () =>
      this.#on(socket.host, () => {
        this.#close(socket, error);
        socket.finish(error);
      }),
    );
    if (socket.peer) this.#reset(socket.peer);
  }

  #close(socket: SimSocket, error: Error | undefined): void {
    if (!this.#sockets.delete(socket)) return;
    if (error) this.#observe({ kind: 'reset', from: socket.peerHost, to: socket.host });
    this.#on(socket.host, () => socket.close(error));
  }
}

function isBetween({ host, peerHost }: SimSocket, one: string, other: string): boolean {
  return (host === one && peerHost === other) || (host === other && peerHost === one);
}
