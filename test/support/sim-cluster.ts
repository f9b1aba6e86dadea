/** Whole nodes in one process: real rooms from the sockets' edge to the disks' edge, in a simulated world. */

import { RaftreeClient } from '../../src/client/client.js';
import type { ClientOptions } from '../../src/client/client-options.js';
import type { Logger } from '../../src/env/env.js';
import { silentLogger } from '../../src/env/env.js';
import { type NodeConfigInput, parseNodeConfig } from '../../src/server/config.js';
import { Node, type NodeParts } from '../../src/server/node.js';
import { SECRET } from '../../src/sim/setting/secrets.js';
import { type Fault, type FileOperation, SimDisk } from '../../src/sim/world/disk.js';
import type { SimNetworkOptions } from '../../src/sim/world/network.js';
import { type SimProcess, SimWorld } from '../../src/sim/world/world.js';

export interface SimClusterOptions {
  readonly size?: number;
  /** Nodes that are not there to begin with: they know all others, which have never heard of them. */
  readonly joining?: readonly number[];
  readonly config?: Partial<NodeConfigInput> | ((id: number) => Partial<NodeConfigInput>) | undefined;
  readonly tcp?: SimNetworkOptions['tcp'];
  readonly fault?: (operation: FileOperation, id: number) => Fault;
  readonly logger?: Logger;
  readonly engine?: NodeParts['engine'];
  /** With a cluster secret, or without one and `insecure`; the seed decides unless this does. */
  readonly hasSecret?: boolean;
}

export class SimCluster {
  readonly world: SimWorld;
  readonly size: number;
  readonly disks: SimDisk[];
  readonly nodes: (Node | undefined)[];
  readonly failures: Error[] = [];
  readonly #options: SimClusterOptions;
  readonly #hasSecret: boolean;
  readonly #processes: (SimProcess | undefined)[];
  #clients = 0;

  constructor(seed: number, options: SimClusterOptions = {}) {
    this.world = new SimWorld(seed, { tcp: options.tcp ?? 'ideal' });
    this.#options = options;
    this.#hasSecret = options.hasSecret ?? seed % 4 !== 0;
    this.size = options.size ?? 3;
    this.disks = Array.from({ length: this.size }, () => new SimDisk());
    this.nodes = this.disks.map(() => undefined);
    this.#processes = this.disks.map(() => undefined);
  }

  get endpoints(): string[] {
    return this.disks.map((_, i) => `n${i + 1}:7001`);
  }

  /** Runs virtual time until the promise settles. */
  run<T>(promise: Promise<T>, limitMs = 120_000): Promise<T> {
    return this.world.scheduler.run(promise, limitMs);
  }

  config(id: number): NodeConfigInput {
    const { joining = [], config } = this.#options;
    const nodes = this.disks.map((_, i) => ({ id: i + 1, ...this.addressesOf(i + 1) }));
    const join = joining.includes(id);
    return {
      clusterId: 'simulated',
      nodeId: id,
      dataDirectory: '/data',
      nodes: join ? nodes : nodes.filter((node) => !joining.includes(node.id)),
      join,
      security: this.#hasSecret ? { clusterSecret: SECRET } : { insecure: true },
      ...(typeof config === 'function' ? config(id) : config),
    };
  }

  addressesOf(id: number): { client: string; peer: string } {
    return { client: `n${id}:7001`, peer: `n${id}:7101` };
  }

  async start(id: number): Promise<Node> {
    const disk = this.disks[id - 1] as SimDisk;
    const { scheduler, random } = this.world;
    const { fault } = this.#options;
    const process = this.world.start(`n${id}`, disk, {
      latency: () => scheduler.sleep(random.float() * 0.5),
      ...(fault ? { fault: (operation: FileOperation) => fault(operation, id) } : {}),
    });
    const previous = this.#processes[id - 1];
    this.#processes[id - 1] = process;
    const starting = Node.start({
      env: process.env,
      config: parseNodeConfig(this.config(id), 'test', '/'),
      logger: this.#options.logger ?? silentLogger,
      onFailure: (error) => this.failures.push(error),
      ...(this.#options.engine ? { engine: this.#options.engine } : {}),
    });
    try {
      const node = await starting;
      this.nodes[id - 1] = node;
      return node;
    } catch (error) {
      this.#processes[id - 1] = previous;
      throw error;
    }
  }

  async startAll(): Promise<void> {
    await Promise.all(this.disks.map((_, i) => this.start(i + 1)));
  }

  /** kill -9. */
  kill(id: number): void {
    this.#processes[id - 1]?.kill();
    this.#processes[id - 1] = undefined;
    this.nodes[id - 1] = undefined;
  }

  /** The power of one machine fails: its process is gone, and whatever its disk had not synced may be. */
  cutPower(id: number): void {
    this.#processes[id - 1]?.losePower();
    this.kill(id);
    this.disks[id - 1]?.powerCut(this.world.random);
  }

  cutPowerOfAll(): void {
    for (let id = 1; id <= this.size; id++) this.kill(id);
    for (const disk of this.disks) disk.powerCut(this.world.random);
  }

  /** The leader of the highest term. */
  get leader(): Node | undefined {
    let leader: Node | undefined;
    for (const node of this.nodes) {
      if (node?.role === 'leader' && node.status(0).term > (leader?.status(0).term ?? 0)) leader = node;
    }
    return leader;
  }

  /** A client on a host of its own. */
  client(timeoutMs = 60_000, options: Partial<ClientOptions> = {}): RaftreeClient {
    const { env } = this.host(`client${++this.#clients}`);
    return new RaftreeClient({
      endpoints: this.endpoints,
      env,
      timeoutMs,
      attemptTimeoutMs: 1000,
      ...(this.#hasSecret ? { clusterSecret: SECRET } : {}),
      ...options,
    });
  }

  /** A machine that is no node. */
  host(name: string): SimProcess {
    return this.world.start(name, new SimDisk());
  }

  /** Calls `act` with each pair of different nodes' hosts, in both orders. */
  forEachLink(act: (from: string, to: string) => void): void {
    const hosts = this.disks.map((_, i) => `n${i + 1}`);
    for (const from of hosts) for (const to of hosts) if (from !== to) act(from, to);
  }

  async closeAll(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node?.close()));
  }
}
