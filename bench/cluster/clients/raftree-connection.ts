/** A `RaftreeClient`: one session, and one socket to each node that it needs. */
import type { RaftreeClient } from '../../../src/client/client.js';
import { clientOf } from './build-client.js';
import {
  type Connection,
  type Entry,
  REQUEST_TIMEOUT_MS,
  type ReadLevel,
  type Target,
} from './connection.js';

export class RaftreeConnection implements Connection {
  readonly #client: RaftreeClient;

  private constructor(client: RaftreeClient) {
    this.#client = client;
  }

  /** Connections begin with different nodes, so that reads of any node are spread. */
  static async open(
    { endpoints, main = '' }: Target,
    number: number,
    window: number,
  ): Promise<RaftreeConnection> {
    const first = number % endpoints.length;
    const Client = await clientOf(main);
    const client = new Client({
      endpoints: [...endpoints.slice(first), ...endpoints.slice(0, first)],
      timeoutMs: REQUEST_TIMEOUT_MS,
      window: Math.max(16, window),
    });
    await client.status();
    return new RaftreeConnection(client);
  }

  async put(key: Buffer, value: Buffer): Promise<void> {
    await this.#client.put(key, value);
  }

  async get(key: Buffer, level: ReadLevel): Promise<number> {
    return (await this.#client.get(key, { level }))?.value.length ?? -1;
  }

  async scan(from: Buffer, limit: number): Promise<number> {
    let count = 0;
    for await (const _ of this.#client.scan({ from, limit })) count++;
    return count;
  }

  async putMany(entries: readonly Entry[]): Promise<void> {
    await this.#client.batch(entries.map(({ key, value }) => ({ action: 'put', key, value })));
  }

  close(): Promise<void> {
    return this.#client.close();
  }
}
