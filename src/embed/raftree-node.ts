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
import { type NodeLoad, type NodeStatus, RaftreeClient, type ScanOptions } from '../client/client.js';
import { RaftreeClientError } from '../client/client-error.js';
import type { CallOptions, ClientOptions, ReadOptions } from '../client/client-options.js';
import type { Bytes } from '../client/operations.js';
import type { GetResult, ScanEntry } from '../client/results.js';
import type { EngineKind } from '../engines/storage-engine.js';
import { type Env, formatAddress, type Logger, silentLogger } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import { realEnv } from '../env/real/real-env.js';
import { clusterSecretsOf, type NodeConfigInput, parseNodeConfig } from '../server/config.js';
import type { LoggerOptions } from '../server/logger.js';
import { Node } from '../server/node.js';
import { LocalNetwork } from './local-network.js';
import { ProgramMachine } from './program-machine.js';
import type { AnyStateMachine, Divergence } from './state-machine.js';

/** The settings of node.json, and what only a program can give. `dataDirectory` starts from the working directory. */
export interface RaftreeNodeSettings<Command = unknown, Result = unknown, Query = unknown, Answer = unknown>
  extends NodeConfigInput {
  /** Makes the program's state machine, in its first state. All members have the same one. */
  readonly stateMachine?: (() => AnyStateMachine<Command, Result, Query, Answer>) | undefined;
  /**
   * After each so many commands the members compare checksums of what `snapshot` or `toBytes` gives. It must be the
   * same bytes for the same state. At least 100, and the same on all members. Without it they do not.
   */
  readonly checksumEvery?: number | undefined;
  /** Called on both members that disagree. Each of them also logs an error. The node continues. */
  readonly onDivergence?: ((divergence: Divergence) => void) | undefined;
  /** The node's logger. Without it, the node logs to standard error as `log` says; without `log` it logs nothing. */
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
  /** Files, sockets, time and randomness; those of the operating system by default. */
  readonly env?: Env | undefined;
}

export interface QueryOptions extends CallOptions {
  readonly level?: 'linearizable' | 'stale';
}

/** If queries of the machine have no argument, `query` needs none. */
export type QueryArguments<Query> = unknown extends Query
  ? [query?: Query, options?: QueryOptions]
  : [query: Query, options?: QueryOptions];

export class RaftreeNode<
  Command = unknown,
  Result = unknown,
  Query = unknown,
  Answer = unknown,
> extends RaftreeClient {
  readonly #node: Node;
  readonly #own: string;
  readonly #machine: ProgramMachine | undefined;
  #closing: Promise<void> | undefined;

  /**
   * Starts the node; resolves when its ports are open. Calls wait until the cluster has a leader.
   * Rejects with `INVALID_CONFIG` (every fault of the settings), `LOCKED`, `IDENTITY_MISMATCH`, `ENGINE_MISMATCH`,
   * `CORRUPTION`, `LISTEN_FAILED`, `DISK_FULL` or `DATA_DIRECTORY`. Then nothing of it is left open.
   */
  static async start<Command = unknown, Result = unknown, Query = unknown, Answer = unknown>(
    settings: RaftreeNodeSettings<Command, Result, Query, Answer>,
  ): Promise<RaftreeNode<Command, Result, Query, Answer>> {
    const { stateMachine, checksumEvery, onDivergence, ...others } = settings;
    const { logger: given, engine: ownEngine, calls, onFailure, env = realEnv(), ...input } = others;
    const config = parseNodeConfig(input, 'the configuration of this RaftreeNode', '.');
    const { nodeId } = config;
    const logger = given ?? (input.log ? await createLogger({ ...config.log, nodeId }) : silentLogger);
    const machine = stateMachine
      ? new ProgramMachine({ nodeId, logger, create: stateMachine, checksumEvery, onDivergence })
      : undefined;
    if (machine && ownEngine)
      throw new RaftreeError(
        'INVALID_CONFIG',
        'give a stateMachine or an engine, not both: a machine is kept in memory',
      );
    const engine = machine?.engine ?? ownEngine;
    const named = input.storage?.engine;
    if (engine && named !== undefined && named !== engine.name) {
      throw new RaftreeError(
        'INVALID_CONFIG',
        `storage.engine says "${named}", but the engine that is given is "${engine.name}"; leave out one of them`,
      );
    }
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
    const otherNodes = config.nodes.filter(({ id }) => id !== nodeId).map(({ client }) => client);
    const [clusterSecret] = clusterSecretsOf(config.security, env, silentLogger);
    const options: ClientOptions = {
      ...calls,
      endpoints: [own, ...otherNodes],
      env: { ...env, net },
      clusterId: config.clusterId,
      clusterSecret,
    };
    const started = new RaftreeNode<Command, Result, Query, Answer>(node, own, machine, options);
    machine?.start({ client: started, own, env });
    return started;
  }

  private constructor(node: Node, own: string, machine: ProgramMachine | undefined, options: ClientOptions) {
    super(options);
    this.#machine = machine;
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

  /**
   * Has a command applied by the state machine on all members; resolves to its result. A command is applied once,
   * however often it is sent on the way. Commands that are under way together are applied in any order.
   * Rejects with `COMMAND_FAILED` if `apply` has thrown, or as any write does. With the outcome `unknown` the command
   * may have been applied, or may still be: proposed again it may be applied twice.
   */
  async propose(command: Command, options: CallOptions = {}): Promise<Result> {
    return (await this.#program.propose(command, options)) as Result;
  }

  /**
   * Asks the state machine of this node. `linearizable` (the default): it has applied every command that was
   * acknowledged before the call. `stale`: it may be behind. The answer is the machine's own: do not change it.
   * Rejects with `QUERY_FAILED` if `query` has thrown, or as any read does.
   */
  async query(...[query, options = {}]: QueryArguments<Query>): Promise<Answer> {
    return (await this.#program.query(query, options)) as Answer;
  }

  /** As with any client. `follower` and `stale` are answered by this node, unless `endpoint` names another one. */
  override get(key: Bytes, options: ReadOptions = {}): Promise<GetResult | undefined> {
    return super.get(key, this.#asked(options));
  }

  /** As `get`. */
  override scan(options: ScanOptions = {}): AsyncGenerator<ScanEntry, void, undefined> {
    return super.scan(this.#asked(options));
  }

  /** The state of the cluster as this node sees it, or as the node at the endpoint sees it. */
  override status(endpoint: string = this.#own, options: CallOptions = {}): Promise<NodeStatus> {
    return super.status(endpoint, options);
  }

  /** What this node carries, or the node at the endpoint. */
  override load(endpoint: string = this.#own, options: CallOptions = {}): Promise<NodeLoad> {
    return super.load(endpoint, options);
  }

  /**
   * Ends the node's own calls with CLIENT_CLOSED, accepts no more requests, completes those of others, transfers
   * leadership if it leads, syncs and closes. Afterwards ports, files, timers and the data folder are free. Every call
   * returns the same promise.
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

  get #program(): ProgramMachine {
    if (this.#machine) return this.#machine;
    throw new RaftreeClientError(
      'INVALID_REQUEST',
      'this node was started without a stateMachine',
      'notCommitted',
    );
  }

  #asked<T extends ReadOptions>(options: T): T {
    const isAnybodys = options.stale === true || options.level === 'follower' || options.level === 'stale';
    return isAnybodys && options.endpoint === undefined ? { ...options, endpoint: this.#own } : options;
  }
}

/** The packages behind it are loaded only if the program wants logs. */
async function createLogger(options: LoggerOptions): Promise<Logger> {
  return (await import('../server/logger.js')).createLogger(options);
}
