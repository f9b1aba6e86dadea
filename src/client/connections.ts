/** The client's connections: at most one per node, opened when first needed. */
import { RaftreeError } from '../env/errors.js';
import { backoffDelayMs } from './backoff.js';
import type { ClientSettings } from './client-options.js';
import { NodeConnection } from './node-connection.js';

interface Node {
  opening: Promise<NodeConnection> | undefined;
  connection: NodeConnection | undefined;
  failures: number;
  /** Until then `get` fails with `failure` instead of a new attempt. */
  restUntilMs: number;
  failure: RaftreeError | undefined;
}

export class Connections {
  readonly #settings: ClientSettings;
  readonly #nodes = new Map<string, Node>();
  #closed = false;

  constructor(settings: ClientSettings) {
    this.#settings = settings;
  }

  /** An open connection. Rejects as `NodeConnection.open` does; for a short time after a failure it rejects at once. */
  get(endpoint: string): NodeConnection | Promise<NodeConnection> {
    if (this.#closed) return Promise.reject(new RaftreeError('UNREACHABLE', 'the client is closed'));
    let node = this.#nodes.get(endpoint);
    if (!node) {
      node = { opening: undefined, connection: undefined, failures: 0, restUntilMs: 0, failure: undefined };
      this.#nodes.set(endpoint, node);
    }
    if (node.connection?.isOpen) return node.connection;
    if (node.opening) return node.opening;
    if (node.failure && this.#settings.env.clock.nowMs() < node.restUntilMs) {
      return Promise.reject(node.failure);
    }
    node.opening = this.#open(endpoint, node);
    return node.opening;
  }

  /** The connection, if it is open. */
  opened(endpoint: string): NodeConnection | undefined {
    const connection = this.#nodes.get(endpoint)?.connection;
    return connection?.isOpen && !this.#closed ? connection : undefined;
  }

  /** Resolves when all sockets are closed and no connect is in progress. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(
      [...this.#nodes.values()].map(async (node) => {
        await node.opening?.catch(() => {});
        await node.connection?.close();
      }),
    );
  }

  async #open(endpoint: string, node: Node): Promise<NodeConnection> {
    try {
      node.connection = await NodeConnection.open(endpoint, this.#settings);
      node.failures = 0;
      node.failure = undefined;
      return node.connection;
    } catch (error) {
      const { env, backoffMs, maxBackoffMs } = this.#settings;
      node.failure = error instanceof RaftreeError ? error : new RaftreeError('UNREACHABLE', String(error));
      node.restUntilMs =
        env.clock.nowMs() + backoffDelayMs(node.failures++, backoffMs, maxBackoffMs, env.random);
      throw node.failure;
    } finally {
      node.opening = undefined;
    }
  }
}
