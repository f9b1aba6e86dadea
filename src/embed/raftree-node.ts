/**
 * A member of a cluster inside a program:
 *
 *     const node = await RaftreeNode.start({
 *       clusterId: 'demo', nodeId: 1, dataDirectory: 'data/1',
 *       nodes: [{ id: 1, client: '127.0.0.1:7001', peer: '127.0.0.1:7101' }, ...],
 *     });
 *     await node.put('colour/apple', 'red');
 *     await node.close();
 *
 * The node is a client of its cluster too: its calls are those of `RaftreeClient`, with the same results, order and
 * errors. They reach this node without a socket. If another node leads, they go on to that one.
 */
import {
  type GetResult,
  type NodeStatus,
  RaftreeClient,
  type ScanEntry,
  type ScanOptions,
} from '../client/client.js';
import type { CallOptions, ClientOptions, ReadOptions } from '../client/client-options.js';
import type { Bytes } from '../client/operations.js';
import type { EngineKind } from '../engines/storage-engine.js';
import { type Env, formatAddress, type Logger, silentLogger } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import { realEnv } from '../env/real/real-env.js';
import { clusterSecretsOf, type NodeConfigInput, parseNodeConfig } from '../server/config.js';
import { createLogger } from '../server/logger.js';
import { Node } from '../server/node.js';
import { LocalNetwork } from './local-network.js';

/** The settings of node.json, and what only a program can give. `dataDirectory` starts from the working directory. */
export interface RaftreeNodeSettings extends NodeConfigInput {
  /** Where the node logs to. Otherwise it logs as `log` says, to standard error; without `log` it logs nothing. */
  readonly logger?: Logger | undefined;
  /** A storage engine of the program's own, in place of the one that `storage.engine` names. */
  readonly engine?: EngineKind | undefined;
  /** For the node's own calls: `timeoutMs`, `window` … */
  readonly calls?: Omit<ClientOptions, 'endpoints' | 'env' | 'clusterId' | 'clusterSecret'>;
  /**
   * The node cannot go on (its disk failed, say) and closes itself. Its calls go to the other nodes from then on. Start
   * it anew, or end the program.
   */
  readonly onFailure?: ((error: RaftreeError) => void) | undefined;
  /** Files, sockets, time and chance; the operating system's unless given. */
  readonly env?: Env | undefined;
}

export class RaftreeNode extends RaftreeClient {
  readonly #node: Node;
  readonly #own: string;
  #closing: Promise<void> | undefined;

  /**
   * Starts the node; resolves when its ports are open. Calls wait until the cluster has a leader.
   * Rejects with `INVALID_CONFIG` (every fault of the settings), `LOCKED`, `IDENTITY_MISMATCH`, `ENGINE_MISMATCH`,
   * `CORRUPTION`, `LISTEN_FAILED`, `DISK_FULL` or `DATA_DIRECTORY`. Then nothing of it is left open.
   */
  static async start(settings: RaftreeNodeSettings): Promise<RaftreeNode> {
    const { logger: given, engine, calls, onFailure, env = realEnv(), ...input } = settings;
    const config = parseNodeConfig(input, 'the configuration of this RaftreeNode', '.');
    const named = input.storage?.engine;
    if (engine && named !== undefined && named !== engine.name) {
      throw new RaftreeError(
        'INVALID_CONFIG',
        `storage.engine says "${named}", but the engine that is given is "${engine.name}"; leave out one of them`,
      );
    }
    const { nodeId } = config;
    const logger = given ?? (input.log ? createLogger({ ...config.log, nodeId }) : silentLogger);
    const net = new LocalNetwork(env.net, env.timers);
    const node = await Node.start({
      env: { ...env, net },
      config,
      logger,
      ...(engine ? { engine: () => engine } : {}),
      ...(onFailure ? { onFailure } : {}),
    });
    const { client: address } = node.addresses;
    const own = config.nodes.find(({ id }) => id === nodeId)?.client ?? '';
    if (address) net.name(own, address);
    const others = config.nodes.filter(({ id }) => id !== nodeId).map(({ client }) => client);
    const [clusterSecret] = clusterSecretsOf(config.security, env, silentLogger);
    const options: ClientOptions = {
      ...calls,
      endpoints: [own, ...others],
      env: { ...env, net },
      clusterId: config.clusterId,
      clusterSecret,
    };
    return new RaftreeNode(node, own, options);
  }

  private constructor(node: Node, own: string, options: ClientOptions) {
    super(options);
    this.#node = node;
    this.#own = own;
  }

  get nodeId(): number {
    return this.#node.config.nodeId;
  }

  /** Where clients and other nodes reach this node, with the real ports. */
  get addresses(): { readonly client: string; readonly peer: string } {
    const { client, peer } = this.#node.addresses;
    return { client: client ? formatAddress(client) : '', peer: peer ? formatAddress(peer) : '' };
  }

  /** Whether this node leads, as far as it knows. Only a linearizable read proves it. */
  get isLeader(): boolean {
    return this.#node.role === 'leader';
  }

  /** As of any client; `follower` and `stale` are answered by this node, unless `endpoint` names another one. */
  override get(key: Bytes, options: ReadOptions = {}): Promise<GetResult | undefined> {
    return super.get(key, this.#asked(options));
  }

  /** As `get`. */
  override scan(options: ScanOptions = {}): AsyncGenerator<ScanEntry, void, undefined> {
    return super.scan(this.#asked(options));
  }

  /** How this node sees the cluster, or the one at the endpoint. */
  override status(endpoint: string = this.#own, options: CallOptions = {}): Promise<NodeStatus> {
    return super.status(endpoint, options);
  }

  /**
   * Ends the node's own calls with CLIENT_CLOSED, takes no more requests, finishes those of others, hands over if it
   * leads, syncs and closes. Afterwards ports, files, timers and the data folder are free. The same promise for every
   * call.
   */
  override close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    try {
      await super.close();
    } finally {
      await this.#node.close();
    }
  }

  #asked<T extends ReadOptions>(options: T): T {
    const isAnybodys = options.stale === true || options.level === 'follower' || options.level === 'stale';
    return isAnybodys && options.endpoint === undefined ? { ...options, endpoint: this.#own } : options;
  }
}
