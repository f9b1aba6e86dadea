/**
 * Listens for clients of Redis.
 *
 *     a connection      one of `maxConnections`, and of `maxConnectionsPerAddress` from another machine
 *     a command         at most `limits.maxRequestBytes`; what has arrived of it counts in the budget of the node
 *     its answers       of all connections together `maxBufferedBytes`; who does not read them is cut off
 *     silence           `idleTimeoutMs`; who has subscribed may be silent
 */
import type { Address, Env, Logger } from '../../env/env.js';
import { errorCode, errorMessage } from '../../env/errors.js';
import { OnceAMinute } from '../../env/once-a-minute.js';
import type { RequestLimits } from '../../kv/limits.js';
import type { Exposition } from '../../metrics/exposition.js';
import type { BufferBudget } from '../../net/buffer-budget.js';
import { ChannelListener } from '../../net/channel-listener.js';
import { IdleTimeout } from '../../net/idle-timeout.js';
import { Tally } from '../../net/tally.js';
import { Backend, type BackendParts } from '../backend.js';
import { REDIS_VERSION } from './commands.js';
import { Connection, type ConnectionParts } from './connection.js';
import { Cursors } from './keyspace.js';
import { Notifications } from './notifications.js';

export interface RespDoorOptions extends BackendParts {
  readonly env: Env;
  readonly logger: Logger;
  readonly budget: BufferBudget;
  readonly limits: RequestLimits;
  /** If there are any, every client needs one of them. */
  readonly tokens: readonly Uint8Array[];
  readonly allowFlush: boolean;
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  readonly maxBufferedBytes: number;
  readonly idleTimeoutMs: number;
  readonly version: string;
}

/** Arguments of a command beside those that make operations. */
const OTHER_ARGUMENTS = 16;

export class RespDoor {
  readonly #options: RespDoorOptions;
  readonly #backend: Backend;
  readonly #notifications: Notifications;
  readonly #requests = new Map<
    string,
    { readonly labels: Readonly<Record<string, string>>; count: number }
  >();
  readonly #replies: { heldBytes: number; readonly maxBytes: number };
  #listener: ChannelListener | undefined;
  #connections = 0;

  /** Resolves when connections are accepted. Rejects with the system's code (`EADDRINUSE` …). */
  static async listen(options: RespDoorOptions, address: Address): Promise<RespDoor> {
    const door = new RespDoor(options);
    await door.#listen(address);
    return door;
  }

  private constructor(options: RespDoorOptions) {
    this.#options = options;
    this.#backend = new Backend(options);
    const { timers } = options.env;
    this.#notifications = new Notifications(
      (keys) => this.#backend.watch(keys),
      (delayMs, run) => timers.after(delayMs, run),
    );
    this.#replies = { heldBytes: 0, maxBytes: options.maxBufferedBytes };
  }

  get address(): Address {
    return this.#listener?.address ?? { host: '', port: 0 };
  }

  get connections(): number {
    return this.#listener?.channels.size ?? 0;
  }

  stopAccepting(): void {
    this.#listener?.stopAccepting();
  }

  async close(): Promise<void> {
    await this.#listener?.close('gracefully');
  }

  async #listen(address: Address): Promise<void> {
    const { env, logger, limits, budget, tokens, allowFlush } = this.#options;
    const { maxConnections, maxConnectionsPerAddress, idleTimeoutMs, maxBufferedBytes } = this.#options;
    const faults = new OnceAMinute(env.clock);
    const closings = new Tally<{ remote: string; message: string }>(
      env.timers,
      (code, { remote, message }, more) =>
        logger.warn({ remote, code, ...(more > 0 ? { more } : {}) }, `RESP connection closed: ${message}`),
    );
    const parts: ConnectionParts = {
      env,
      backend: this.#backend,
      cursors: new Cursors(),
      notifications: this.#notifications,
      tokens,
      allowFlush,
      limits: {
        maxArguments: 2 * limits.maxOperationsPerRequest + OTHER_ARGUMENTS,
        maxArgumentBytes: limits.maxRequestBytes,
        maxCommandBytes: limits.maxRequestBytes,
      },
      maxOperationsPerRequest: limits.maxOperationsPerRequest,
      replies: this.#replies,
      count: (command, outcome) => this.#count(command, outcome),
      info: () => this.#info(),
      fault: (error) => {
        const message = errorMessage(error);
        if (faults.isDue(message)) logger.error({ code: 'INTERNAL' }, message);
        return 'UNKNOWN INTERNAL: a fault in this node; its log says more';
      },
    };
    this.#listener = await ChannelListener.listen(env, address, {
      maxConnections,
      maxConnectionsPerAddress,
      budget: { of: budget, kind: 'client' },
      channel: { maxBufferedBytes: Math.max(MIN_BUFFERED_BYTES, 2 * maxBufferedBytes) },
      initialise: (channel) => {
        const connection = new Connection(parts, ++this.#connections);
        channel.pipeline
          .add(new IdleTimeout<Buffer, Uint8Array>(idleTimeoutMs, () => connection.isSubscribed))
          .add(connection);
      },
      closed: (channel, reason) => {
        if (reason)
          closings.add(errorCode(reason) ?? 'ERROR', { remote: channel.remote, message: reason.message });
      },
    });
  }

  #count(command: string, outcome: 'ok' | 'error'): void {
    const name = `${command} ${outcome}`;
    const counted = this.#requests.get(name);
    if (counted) counted.count++;
    else this.#requests.set(name, { labels: { command, outcome }, count: 1 });
  }

  #info(): string {
    const { version } = this.#options;
    const fields = {
      redis_version: REDIS_VERSION,
      redis_mode: 'standalone',
      raftree_version: version,
      role: this.#options.tablets.leadsCluster ? 'master' : 'slave',
      connected_clients: this.connections,
      tcp_port: this.address.port,
      loading: 0,
      async_loading: 0,
    };
    const lines = Object.entries(fields).map(([name, value]) => `${name}:${value}\r\n`);
    return `# Server\r\n${lines.join('')}`;
  }

  writeMetrics(to: Exposition): void {
    to.counter(
      'raftree_resp_requests_total',
      'Answers to commands of RESP; "other" are unknown ones.',
      [...this.#requests.values()].map(({ labels, count }) => [labels, count] as const),
    );
    to.counter(
      'raftree_resp_passed_on_total',
      'Requests of RESP passed on to the node that leads.',
      Object.entries(this.#backend.passedOn).map(([kind, count]) => [{ kind }, count] as const),
    );
    to.gauge(
      'raftree_resp_watches',
      'Ranges of keys that are watched for subscribers of RESP.',
      this.#notifications.watches,
    );
    to.gauge('raftree_resp_buffered_bytes', 'Answers of RESP in memory.', this.#replies.heldBytes);
  }
}

const MIN_BUFFERED_BYTES = 128 * 1024 * 1024;
