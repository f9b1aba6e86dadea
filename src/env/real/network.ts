/** The operating system's TCP. */
import * as net from 'node:net';
import type { Address, Listener, Network, Socket, SocketHandler } from '../env.js';
import { KEEP_ALIVE_IDLE_MS } from '../env.js';
import { after } from './timers.js';

class RealSocket implements Socket {
  readonly remote: string;
  readonly #socket: net.Socket;

  constructor(socket: net.Socket) {
    this.#socket = socket;
    this.remote = `${socket.remoteAddress ?? '?'}:${socket.remotePort ?? 0}`;
    socket.setNoDelay(true);
    // Node.js sends ten probes, one second apart.
    socket.setKeepAlive(true, KEEP_ALIVE_IDLE_MS);
    // Without a listener, an error before a handler is set would end the process.
    socket.on('error', () => {});
    socket.pause();
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength;
  }

  handle(handler: SocketHandler): void {
    const socket = this.#socket;
    let failure: Error | undefined;
    socket.on('data', (chunk: Buffer) => handler.data(chunk));
    socket.on('drain', () => handler.drained());
    socket.on('error', (error) => {
      failure = error;
    });
    if (socket.destroyed) {
      setImmediate(() => handler.closed(undefined));
      return;
    }
    socket.once('close', () => handler.closed(failure));
    socket.resume();
  }

  write(chunks: readonly Uint8Array[]): void {
    if (this.#socket.destroyed || this.#socket.writableEnded) return;
    const [only] = chunks;
    if (only && chunks.length === 1) {
      this.#socket.write(only);
      return;
    }
    this.#socket.cork();
    for (const chunk of chunks) this.#socket.write(chunk);
    this.#socket.uncork();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#socket.end();
  }

  destroy(error?: Error): void {
    this.#socket.destroy(error);
  }
}

export const realNetwork: Network = {
  listen(address: Address, accept: (socket: Socket) => void): Promise<Listener> {
    return new Promise((resolve, reject) => {
      const server = net.createServer((socket) => accept(new RealSocket(socket)));
      server.once('error', reject);
      server.listen(address.port, address.host, () => {
        server.removeListener('error', reject);
        server.on('error', () => {});
        const bound = server.address();
        resolve({
          address: {
            host: address.host,
            port: typeof bound === 'object' && bound ? bound.port : address.port,
          },
          // Node.js calls back only when the last connection has ended. The port is free long before.
          close: () =>
            new Promise<void>((closed) => {
              server.close();
              setImmediate(closed);
            }),
        });
      });
    });
  },

  connect(address: Address, timeoutMs: number): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = net.connect(address.port, address.host);
      const timer = after(timeoutMs, () => {
        const error: NodeJS.ErrnoException = new Error(
          `no connection to ${address.host}:${address.port} within ${timeoutMs} ms`,
        );
        error.code = 'ETIMEDOUT';
        socket.destroy(error);
      });
      const failed = (error: Error) => {
        timer.cancel();
        reject(error);
      };
      socket.once('error', failed);
      socket.once('connect', () => {
        timer.cancel();
        socket.removeListener('error', failed);
        resolve(new RealSocket(socket));
      });
    });
  },
};
