/** Programs with a node each, on simulated machines. */
import { RaftreeNode, type RaftreeNodeSettings } from '../../src/embed/raftree-node.js';
import type { NodeConfigInput } from '../../src/server/config.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { type SimProcess, SimWorld } from '../../src/sim/world/world.js';

export const SECRET = 'a secret of sixteen bytes or more';

export class Programs {
  readonly world: SimWorld;
  readonly processes = new Map<number, SimProcess>();
  readonly disks = new Map<number, SimDisk>();
  readonly #size: number;

  constructor(seed: number, size: number) {
    this.world = new SimWorld(seed);
    this.#size = size;
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.world.scheduler.run(promise, 120_000);
  }

  settings(id: number): NodeConfigInput {
    return {
      clusterId: 'programs',
      nodeId: id,
      dataDirectory: '/data',
      nodes: Array.from({ length: this.#size }, (_, i) => ({
        ...{ id: i + 1, client: `n${i + 1}:7001`, peer: `n${i + 1}:7101` },
      })),
      security: { clusterSecret: SECRET },
    };
  }

  start<C = unknown, R = unknown, Q = unknown, A = unknown>(
    id: number,
    more: Partial<RaftreeNodeSettings<C, R, Q, A>> = {},
  ): Promise<RaftreeNode<C, R, Q, A>> {
    const disk = this.disks.get(id) ?? new SimDisk();
    this.disks.set(id, disk);
    const process = this.world.start(`n${id}`, disk);
    this.processes.set(id, process);
    return RaftreeNode.start({ ...this.settings(id), ...more, env: more.env ?? process.env });
  }

  startAll<C = unknown, R = unknown, Q = unknown, A = unknown>(
    more: (id: number) => Partial<RaftreeNodeSettings<C, R, Q, A>> = () => ({}),
  ): Promise<RaftreeNode<C, R, Q, A>[]> {
    return Promise.all(Array.from({ length: this.#size }, (_, i) => this.start(i + 1, more(i + 1))));
  }

  /** kill -9. */
  kill(id: number): void {
    this.processes.get(id)?.kill();
  }

  cutPower(id: number): void {
    this.kill(id);
    this.disks.get(id)?.powerCut(this.world.random);
  }
}
