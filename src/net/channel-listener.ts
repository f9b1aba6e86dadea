/** Accepts connections, gives each a channel with its pipeline, and knows which are open. */
import type { Address, Env, Listener, Socket } from '../env/env.js';
import { Channel } from './channel.js';
import { type ChannelOptions, channelOptions } from './channel-options.js';

export interface ListenOptions {
  /** Connections above this are closed as soon as they are accepted. */
  readonly maxConnections: number;
  readonly channel?: Partial<ChannelOptions>;
  /** Fills the pipeline of a new connection. */
  initialise(channel: Channel): void;
  /** A connection is gone, with the reason if it was an error. */
  readonly closed?: (channel: Channel, reason: Error | undefined) => void;
  /** A connection was turned away because `maxConnections` are open. */
  readonly refused?: (remote: string) => void;
}

export class ChannelListener {
  readonly #env: Pick<Env, 'clock' | 'timers'>;
  readonly #options: ListenOptions;
  readonly #limits: ChannelOptions;
  readonly #channels = new Set<Channel>();
  #listener: Listener | undefined;
  #stopped: Promise<void> | undefined;

  private constructor(env: Pick<Env, 'clock' | 'timers'>, options: ListenOptions) {
    this.#env = env;
    this.#options = options;
    this.#limits = channelOptions(options.channel);
  }

  /** Resolves when connections are accepted. Rejects with the system's code (`EADDRINUSE` …) or `INVALID_OPTION`. */
  static async listen(
    env: Pick<Env, 'clock' | 'timers' | 'net'>,
    address: Address,
    options: ListenOptions,
  ): Promise<ChannelListener> {
    const listener = new ChannelListener(env, options);
    listener.#listener = await env.net.listen(address, (socket) => listener.#accept(socket));
    return listener;
  }

  /** Where connections are accepted, with the real port. */
  get address(): Address {
    return this.#listener?.address ?? { host: '', port: 0 };
  }

  get channels(): ReadonlySet<Channel> {
    return this.#channels;
  }

  /** Accepts no more, from now on. Open channels stay. */
  stopAccepting(): void {
    this.#stopped ??= this.#listener?.close() ?? Promise.resolve();
  }

  /**
   * Accepts no more and closes every channel: `gracefully` sends what is written first (bounded by each channel's
   * `closeTimeoutMs`), `at once` does not. Resolves when all are gone.
   */
  async close(how: 'gracefully' | 'at once' = 'gracefully'): Promise<void> {
    this.stopAccepting();
    const channels = [...this.#channels];
    for (const channel of channels) {
      if (how === 'gracefully') channel.close();
      else channel.abort();
    }
    await Promise.all(channels.map((channel) => channel.closed));
    await this.#stopped;
  }

  #accept(socket: Socket): void {
    const { maxConnections, initialise, closed, refused } = this.#options;
    // One that was under way when we stopped accepting.
    if (this.#stopped) {
      socket.destroy();
      return;
    }
    if (this.#channels.size >= maxConnections) {
      refused?.(socket.remote);
      socket.destroy();
      return;
    }
    const channel = new Channel(this.#env, socket, this.#limits);
    this.#channels.add(channel);
    void channel.closed.then((reason) => {
      this.#channels.delete(channel);
      closed?.(channel, reason);
    });
    try {
      initialise(channel);
    } catch (error) {
      channel.abort(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    channel.start();
  }
}
