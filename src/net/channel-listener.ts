/** Accepts connections, creates a channel with a pipeline for each, and keeps the set of open channels. */
import type { Address, Env, Listener, Socket } from '../env/env.js';
import type { AccountKind } from './buffer-account.js';
import type { BufferBudget } from './buffer-budget.js';
import { Channel } from './channel.js';
import { type ChannelOptions, channelOptions } from './channel-options.js';
import { hostOf, isLoopback } from './hosts.js';

export interface ListenOptions {
  /** Connections above this number are closed as soon as they are accepted. */
  readonly maxConnections: number;
  /** Further connections from this machine, so that an administrator can always connect. */
  readonly reservedForLoopback?: number;
  /** Limit per remote address; addresses of this machine have no such limit. */
  readonly maxConnectionsPerAddress?: number;
  /** The budget that the connections' buffers count in. */
  readonly budget?: { readonly of: BufferBudget; readonly kind: AccountKind };
  readonly channel?: Partial<ChannelOptions>;
  /** Fills the pipeline of a new connection. */
  initialise(channel: Channel): void;
  /** Called when a connection is closed; with the reason if it was an error. */
  readonly closed?: (channel: Channel, reason: Error | undefined) => void;
  /** Called when a connection was refused. */
  readonly refused?: (remote: string, reason: Refusal) => void;
}

export type Refusal = 'maxConnections' | 'maxConnectionsPerAddress';

export class ChannelListener {
  readonly #env: Pick<Env, 'clock' | 'timers'>;
  readonly #options: ListenOptions;
  readonly #limits: ChannelOptions;
  readonly #channels = new Set<Channel>();
  readonly #perAddress = new Map<string, number>();
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

  /** The listening address, with the port that was picked. */
  get address(): Address {
    return this.#listener?.address ?? { host: '', port: 0 };
  }

  get channels(): ReadonlySet<Channel> {
    return this.#channels;
  }

  /** Accepts no more connections, effective at once. Open channels stay open. */
  stopAccepting(): void {
    this.#stopped ??= this.#listener?.close() ?? Promise.resolve();
  }

  /**
   * Accepts no more connections and closes every channel. `gracefully` first sends what is written (bounded by each
   * channel's `closeTimeoutMs`); `at once` does not. Resolves when all are closed.
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
    const { initialise, closed, refused, budget } = this.#options;
    // The connection was already on its way when we stopped accepting.
    if (this.#stopped) {
      socket.destroy();
      return;
    }
    const host = hostOf(socket.remote);
    const refusal = this.#refuse(host);
    if (refusal) {
      refused?.(socket.remote, refusal);
      socket.destroy();
      return;
    }
    const channel = new Channel(this.#env, socket, this.#limits);
    if (budget) channel.chargeTo(budget.of, budget.kind);
    this.#channels.add(channel);
    this.#count(host, 1);
    void channel.closed.then((reason) => {
      this.#channels.delete(channel);
      this.#count(host, -1);
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

  #refuse(host: string): Refusal | undefined {
    const { maxConnections, reservedForLoopback = 0, maxConnectionsPerAddress } = this.#options;
    const isLocal = isLoopback(host);
    if (this.#channels.size >= maxConnections + (isLocal ? reservedForLoopback : 0)) return 'maxConnections';
    if (isLocal || maxConnectionsPerAddress === undefined) return undefined;
    return (this.#perAddress.get(host) ?? 0) >= maxConnectionsPerAddress
      ? 'maxConnectionsPerAddress'
      : undefined;
  }

  #count(host: string, change: number): void {
    const count = (this.#perAddress.get(host) ?? 0) + change;
    if (count > 0) this.#perAddress.set(host, count);
    else this.#perAddress.delete(host);
  }
}
