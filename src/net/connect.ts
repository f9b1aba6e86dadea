/** Opens a channel to an address. */
import type { Address, Env } from '../env/env.js';
import type { AccountKind } from './buffer-account.js';
import type { BufferBudget } from './buffer-budget.js';
import { Channel } from './channel.js';
import { type ChannelOptions, channelOptions } from './channel-options.js';

export interface ConnectOptions {
  /** Limit for the connect alone. */
  readonly connectTimeoutMs: number;
  /** `readsWhileNotWritable` defaults to true here: the connecting side is the client. */
  readonly channel?: Partial<ChannelOptions>;
  /** The budget that the connection's buffers count in. */
  readonly budget?: { readonly of: BufferBudget; readonly kind: AccountKind };
  /** Fills the pipeline. */
  initialise(channel: Channel): void;
}

/**
 * Resolves with a started channel as soon as the socket is connected. Handshakes of handlers come later. Rejects with
 * the system's code (`ECONNREFUSED`, `ETIMEDOUT` …), or with what `initialise` throws.
 */
export async function connectChannel(
  env: Pick<Env, 'clock' | 'timers' | 'net'>,
  address: Address,
  options: ConnectOptions,
): Promise<Channel> {
  const limits = channelOptions({ readsWhileNotWritable: true, ...options.channel });
  const socket = await env.net.connect(address, options.connectTimeoutMs);
  const channel = new Channel(env, socket, limits);
  if (options.budget) channel.chargeTo(options.budget.of, options.budget.kind);
  try {
    options.initialise(channel);
  } catch (error) {
    channel.abort();
    throw error;
  }
  channel.start();
  return channel;
}
