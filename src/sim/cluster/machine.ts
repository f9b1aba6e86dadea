/** One machine of a simulated cluster: a host with a disk. The process of a node runs there, or no process. */
import type { Node } from '../../server/node.js';
import { SimDisk } from '../world/disk.js';
import type { SimProcess } from '../world/world.js';

export class SimulatedMachine {
  readonly id: number;
  readonly host: string;
  disk = new SimDisk();
  process: SimProcess | undefined;
  /** Undefined until it has started. */
  node: Node | undefined;

  constructor(id: number, host = `n${id}`) {
    this.id = id;
    this.host = host;
  }

  /** Where its node listens. */
  get addresses(): { client: string; peer: string } {
    return { client: `${this.host}:7001`, peer: `${this.host}:7101` };
  }

  get endpoint(): string {
    return this.addresses.client;
  }
}
