/**
 * Whole nodes in one process, each on a simulated machine, driven by hand:
 *
 *     const cluster = new SimulatedCluster(42, { size: 3 });
 *     await cluster.run(cluster.startAll());
 *     const client = cluster.client();
 *     await cluster.run(client.put('key', 'value'));
 *     cluster.cutPower(1);
 *
 * Virtual time passes only within `run` and the scheduler's `run…` methods. The same seed gives the same events.
 */
import { type Logger, silentLogger } from '../../env/env.js';
import { type NodeConfigInput, parseNodeConfig } from '../../server/config.js';
import { Node, type NodeParts } from '../../server/node.js';
import type { Fault, FileOperation } from '../world/file-operation.js';
import type { SimNetworkOptions } from '../world/network.js';
import { SimWorld } from '../world/world.js';
import { SimulatedMachine } from './machine.js';
import { Machines } from './machines.js';
import { SECRET } from './secrets.js';

export interface SimulatedClusterOptions {
  readonly size?: number;
  /** Nodes that wait to be added: they know all others, which do not know them. */
  readonly joining?: readonly number[];
  readonly config?: Partial<NodeConfigInput> | ((id: number) => Partial<NodeConfigInput>) | undefined;
  readonly tcp?: SimNetworkOptions['tcp'];
  /** What happens in place of an operation of a disk. */
  readonly fault?: (operation: FileOperation, id: number) => Fault;
  readonly logger?: Logger | ((id: number) => Logger);
  readonly engine?: (id: number) => NodeParts['engine'];
  /** With a cluster secret, or without one and `insecure`; the seed decides unless this does. */
  readonly hasSecret?: boolean;
}

export class SimulatedCluster extends Machines<SimulatedMachine> {
  /** Why nodes gave up. */
  readonly failures: Error[] = [];
  readonly #options: SimulatedClusterOptions;
  readonly #hasSecret: boolean;

  constructor(seed: number, options: SimulatedClusterOptions = {}) {
    const hasSecret = options.hasSecret ?? seed % 4 !== 0;
    const machines = Array.from({ length: options.size ?? 3 }, (_, i) => new SimulatedMachine(i + 1));
    super(new SimWorld(seed, { tcp: options.tcp ?? 'ideal' }), machines, hasSecret);
    this.#options = options;
    this.#hasSecret = hasSecret;
  }

  get size(): number {
    return this.machines.length;
  }

  get nodes(): (Node | undefined)[] {
    return this.machines.map(({ node }) => node);
  }

  /** The one of the highest term. */
  get leader(): Node | undefined {
    return this.leadingMachine?.node;
  }

  /** What node.json of a node says. */
  config(id: number): NodeConfigInput {
    const { joining = [], config } = this.#options;
    const nodes = this.machines.map((machine) => ({ id: machine.id, ...machine.addresses }));
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

  /** Rejects if the node refuses to start. An earlier process of the machine is then left as it was. */
  async start(id: number): Promise<Node> {
    const machine = this.machine(id);
    const { scheduler, random } = this.world;
    const { fault, engine, logger = silentLogger } = this.#options;
    const process = this.world.start(machine.host, machine.disk, {
      latency: () => scheduler.sleep(random.float() * 0.5),
      ...(fault ? { fault: (operation: FileOperation) => fault(operation, id) } : {}),
    });
    const ownEngine = engine?.(id);
    const previous = machine.process;
    machine.process = process;
    try {
      machine.node = await Node.start({
        env: process.env,
        config: parseNodeConfig(this.config(id), 'test', '/'),
        logger: typeof logger === 'function' ? logger(id) : logger,
        onFailure: (error) => this.failures.push(error),
        ...(ownEngine ? { engine: ownEngine } : {}),
      });
      return machine.node;
    } catch (error) {
      machine.process = previous;
      throw error;
    }
  }

  async startAll(): Promise<void> {
    await Promise.all(this.machines.map(({ id }) => this.start(id)));
  }

  /** kill -9. */
  kill(id: number): void {
    const machine = this.machine(id);
    machine.process?.kill();
    machine.process = undefined;
    machine.node = undefined;
  }

  /** The power of one machine fails: its process is gone, and what its disk has not synced may be. */
  cutPower(id: number): void {
    const machine = this.machine(id);
    machine.process?.losePower();
    this.kill(id);
    machine.disk.powerCut(this.world.random);
  }

  cutPowerOfAll(): void {
    for (const { id } of this.machines) this.kill(id);
    for (const { disk } of this.machines) disk.powerCut(this.world.random);
  }

  async closeAll(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node?.close()));
  }
}
