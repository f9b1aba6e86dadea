/** Requests to one node for which the client library has no method, over the library's connections. */
import { clientSettings } from '../../client/client-options.js';
import { NodeConnection, type Unnumbered } from '../../client/node-connection.js';
import type { Env } from '../../env/env.js';
import { errorCode, RaftreeError } from '../../env/errors.js';
import type { ReceivedMessage } from '../../protocol/message-handlers.js';

const ATTEMPT_TIMEOUT_MS = 1500;

export class Direct {
  readonly #env: Env;
  readonly #clusterSecret: string | undefined;
  readonly #connections = new Map<string, NodeConnection>();

  constructor(env: Env, clusterSecret?: string) {
    this.#env = env;
    this.#clusterSecret = clusterSecret;
  }

  /** The answer, or the error's code. */
  async ask(
    endpoint: string,
    request: Unnumbered,
    timeoutMs = ATTEMPT_TIMEOUT_MS,
  ): Promise<ReceivedMessage | string> {
    const settings = clientSettings(
      {
        endpoints: [endpoint],
        attemptTimeoutMs: timeoutMs,
        connectTimeoutMs: 500,
        ...(this.#clusterSecret ? { clusterSecret: this.#clusterSecret } : {}),
      },
      this.#env,
    );
    try {
      let connection = this.#connections.get(endpoint);
      if (!connection?.isOpen) {
        connection = await NodeConnection.open(endpoint, settings);
        this.#connections.set(endpoint, connection);
      }
      return await connection.request(request, timeoutMs).answer;
    } catch (error) {
      if (!(error instanceof RaftreeError)) throw error;
      return errorCode(error) ?? 'UNKNOWN';
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#connections.values()].map((connection) => connection.close()));
  }
}
