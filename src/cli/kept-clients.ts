/**
 * Clients that outlive a command: a shell keeps its connections and sessions between commands. Commands with the same
 * options use the same client.
 */
import { RaftreeClient } from '../client/client.js';
import { RaftreeClientError } from '../client/client-error.js';
import type { ClientOptions } from '../client/client-options.js';

const MAX_CLIENTS = 8;

export class KeptClients {
  /** By their options, the one that was used last at the end. */
  readonly #clients = new Map<string, RaftreeClient>();
  #cancels = 0;

  async with<T>(options: ClientOptions, run: (client: RaftreeClient) => Promise<T>): Promise<T> {
    const cancels = this.#cancels;
    try {
      return await run(this.#clientOf(options));
    } catch (error) {
      if (cancels === this.#cancels || !(error instanceof RaftreeClientError)) throw error;
      if (error.code !== 'CLIENT_CLOSED') throw error;
      throw new RaftreeClientError('ABORTED', 'cancelled', error.outcome);
    }
  }

  /** Ends what is under way, with `ABORTED`. Commands that follow use new clients. */
  cancel(): void {
    this.#cancels++;
    void this.close();
  }

  async close(): Promise<void> {
    const clients = [...this.#clients.values()];
    this.#clients.clear();
    await Promise.all(clients.map((client) => client.close()));
  }

  #clientOf(options: ClientOptions): RaftreeClient {
    const { endpoints, timeoutMs, refusedRounds, window, clusterSecret } = options;
    const secret = clusterSecret === undefined ? undefined : Buffer.from(clusterSecret).toString('base64');
    const key = [...endpoints, timeoutMs, refusedRounds, window, secret].join('\n');
    const client = this.#clients.get(key) ?? new RaftreeClient(options);
    this.#clients.delete(key);
    this.#clients.set(key, client);
    for (const [oldest, unused] of this.#clients) {
      if (this.#clients.size <= MAX_CLIENTS) break;
      this.#clients.delete(oldest);
      void unused.close();
    }
    return client;
  }
}
