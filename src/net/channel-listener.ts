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
  readonly #listener: Listener;
  readonly #channels: Set<Channel>;

  private constructor(listener: Listener, channels: Set<Channel>) {
    this.#listener = listener;
    this.#channels = channels;
  }

  /** Resolves when connections are accepted. Rejects with the system's code (`EADDRINUSE` …) or `INVALID_OPTION`. */
  static async listen(
    env: Pick<Env, 'clock' | 'timers' | 'net'>,
    address: Address,
    options: ListenOptions,
  ): Promise<ChannelListener> {
    const limits = channelOptions(options.channel);
    const channels = new Set<Channel>();
    const accept = (socket: Socket) => {
      if (channels.size >= options.maxConnections) {
        options.refused?.(socket.remote);
        socket.destroy();
        return;
      }
      const channel = new Channel(env, socket, limits);
      channels.add(channel);
      void channel.closed.then((reason) => {
        channels.delete(channel);
        options.closed?.(channel, reason);
      });
      try {
        options.initialise(channel);
      } catch (error) {
        channel.abort(error instanceof Error ? error : new Error(String(error)));
        return;
      }
      channel.start();
    };
    return new ChannelListener(await env.net.listen(address, accept), channels);
  }

  /** Where connections are accepted, with the real port. */
  get address(): Address {
    return this.#listener.address;
  }

  get channels(): ReadonlySet<Channel> {
    return this.#channels;
  }

  /** Accepts no more. Open channels stay. */
  stopAccepting(): Promise<void> {
    return this.#listener.close();
  }

  /**
   * Accepts no more and closes every channel: `gracefully` sends what is written first (bounded by each channel's
   * `closeTimeoutMs`), `at once` does not. Resolves when all are gone.
   */
  async close(how: 'gracefully' | 'at once' = 'gracefully'): Promise<void> {
    const stopped = this.#listener.close();
    const channels = [...this.#channels];
    for (const channel of channels) {
      if (how === 'gracefully') channel.close();
      else channel.abort();
    }
    await Promise.all(channels.map((channel) => channel.closed));
    await stopped;
  }
}
