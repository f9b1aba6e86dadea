/** What every kind of fault needs: the cluster, chance, and a choice of machines. */
import type { RunCluster } from '../run/run-cluster.js';
import type { RunMachine } from '../run/run-machine.js';
import type { SeededRandom } from '../world/seeded-random.js';

/** Makes one fault happen, and resolves when it is over. */
export type Act = () => void | Promise<void>;

export abstract class Faults {
  protected readonly cluster: RunCluster;
  protected readonly random: SeededRandom;

  constructor(cluster: RunCluster, random: SeededRandom) {
    this.cluster = cluster;
    this.random = random;
  }

  protected get hosts(): string[] {
    const { machines, setting } = this.cluster;
    const clients = Array.from({ length: setting.workload.clients }, (_, i) => `c${i + 1}`);
    return [...machines.map(({ host }) => host), ...clients];
  }

  protected note(what: string, fields: Record<string, unknown> = {}): void {
    this.cluster.trace.record('world', what, fields);
  }

  protected whileMs(most: number): Promise<void> {
    return this.cluster.sleep(50 + this.random.float() ** 2 * most);
  }

  protected anyMachine(): RunMachine {
    return this.random.pick(this.cluster.machines);
  }

  protected runningMachine(): RunMachine | undefined {
    const running = this.cluster.machines.filter(({ process }) => process !== undefined);
    return running.length > 0 ? this.random.pick(running) : undefined;
  }

  /** A leader in half of the cases: there most can go wrong. */
  protected prominentMachine(): RunMachine {
    return (this.random.chance(0.5) ? this.cluster.someLeader(this.random) : undefined) ?? this.anyMachine();
  }

  protected cutBetween(side: readonly string[], other: readonly string[]): void {
    const { network } = this.cluster.world;
    for (const one of side)
      for (const two of other) {
        network.cut(one, two);
        network.cut(two, one);
      }
  }
}
