/** Breaks things at random: fault after fault, each for a while, several at a time. */
import type { RunCluster } from '../run/run-cluster.js';
import { healthyDisk } from '../run/run-machine.js';
import { type FaultOf, faultsOf } from '../setting/fault-names.js';
import type { SeededRandom } from '../world/seeded-random.js';
import { DiskFaults } from './disk-faults.js';
import type { Act } from './faults.js';
import { NetworkFaults } from './network-faults.js';
import { ProcessFaults } from './process-faults.js';

/** Those of operators and strangers are made elsewhere (mistakes.ts, strangers.ts). */
type NemesisFault = FaultOf<'network' | 'crash' | 'disk'>;

export class Nemesis {
  readonly #cluster: RunCluster;
  readonly #random: SeededRandom;
  readonly #network: NetworkFaults;
  readonly #acts: Readonly<Record<NemesisFault, Act>>;
  #stopped = false;

  constructor(cluster: RunCluster, random: SeededRandom) {
    this.#cluster = cluster;
    this.#random = random;
    this.#network = new NetworkFaults(cluster, random);
    this.#acts = {
      ...this.#network.acts,
      ...new ProcessFaults(cluster, random).acts,
      ...new DiskFaults(cluster, random).acts,
    };
  }

  /** Resolves after `stop`. Faults that have begun may still end by themselves. */
  async run(): Promise<void> {
    const { faultEveryMs } = this.#cluster.setting;
    const faults = faultsOf(['network', 'crash', 'disk'], this.#cluster.setting.faults);
    if (faults.length === 0) return;
    while (!this.#stopped) {
      await this.#cluster.sleep(this.#random.float() * 2 * faultEveryMs);
      if (this.#stopped) return;
      void this.#acts[this.#random.pick(faults)]();
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Ends all faults, and starts what is down. */
  heal(): void {
    this.#cluster.trace.record('world', 'heal', {});
    this.#network.heal();
    for (const machine of this.#cluster.machines) {
      Object.assign(machine.condition, healthyDisk(this.#cluster.setting.maxDiskMs));
      this.#cluster.resume(machine);
      machine.process?.clock.setRate(1);
      if (machine.starts > 0) this.#cluster.turnOn(machine);
    }
  }
}
