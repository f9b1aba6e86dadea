/** The machines of one simulated world: who leads, and the clients and programs beside them. */
import { RaftreeClient } from '../../client/client.js';
import type { ClientOptions } from '../../client/client-options.js';
import type { Env } from '../../env/env.js';
import { SimDisk } from '../world/disk.js';
import type { SimProcess, SimWorld } from '../world/world.js';
import { Direct } from './direct.js';
import type { SimulatedMachine } from './machine.js';
import { SECRET } from './secrets.js';

export abstract class Machines<M extends SimulatedMachine> {
  readonly world: SimWorld;
  readonly machines: readonly M[];
  readonly #hasSecret: boolean;
  #clients = 0;

  /** `hasSecret`: clients prove the cluster secret. */
  constructor(world: SimWorld, machines: readonly M[], hasSecret: boolean) {
    this.world = world;
    this.machines = machines;
    this.#hasSecret = hasSecret;
  }

  /** Throws if there is none of that id. */
  machine(id: number): M {
    const machine = this.machines.find((one) => one.id === id);
    if (!machine) throw new RangeError(`there is no machine ${id}`);
    return machine;
  }

  get nowMs(): number {
    return this.world.scheduler.nowMs();
  }

  sleep(delayMs: number): Promise<void> {
    return this.world.scheduler.sleep(delayMs);
  }

  /** Runs virtual time until the promise settles. Rejects if it does not within the limit. */
  run<T>(promise: Promise<T>, limitMs = 120_000): Promise<T> {
    return this.world.scheduler.run(promise, limitMs);
  }

  get endpoints(): string[] {
    return this.machines.map(({ endpoint }) => endpoint);
  }

  /** All nodes that believe that they lead; after a partition there may be two. */
  get leadingMachines(): M[] {
    return this.machines.filter(({ node }) => node?.role === 'leader');
  }

  /** The one of the highest term. */
  get leadingMachine(): M | undefined {
    const termOf = ({ node }: M) => node?.status(0).term ?? 0;
    return this.leadingMachines.reduce<M | undefined>(
      (best, one) => (best && termOf(best) >= termOf(one) ? best : one),
      undefined,
    );
  }

  /** A machine that is no node. */
  host(name: string): SimProcess {
    return this.world.start(name, new SimDisk());
  }

  /** A client; without an `env` it runs on a host of its own. */
  client(timeoutMs = 60_000, options: Partial<ClientOptions> = {}): RaftreeClient {
    return new RaftreeClient({
      endpoints: this.endpoints,
      env: options.env ?? this.host(`client${++this.#clients}`).env,
      timeoutMs,
      attemptTimeoutMs: 1000,
      connectTimeoutMs: 500,
      ...(this.#hasSecret ? { clusterSecret: SECRET } : {}),
      ...options,
    });
  }

  /** Requests to one node for which the client library has no method. */
  direct(env: Env): Direct {
    return new Direct(env, this.#hasSecret ? SECRET : undefined);
  }

  /** Calls `act` with each pair of different nodes' hosts, in both orders. */
  forEachLink(act: (from: string, to: string) => void): void {
    for (const { host: from } of this.machines)
      for (const { host: to } of this.machines) if (from !== to) act(from, to);
  }
}
