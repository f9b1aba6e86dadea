/**
 * What a cluster survives. Operators destroy data folders of voters only as long as a quorum is left, and only while nothing
 * is on its way that would make it too small: that would be their doing, and not the cluster's.
 */
import type { Entry } from '../../src/raft/types.js';
import type { Cluster } from './cluster.js';
import type { SimulatedMachine } from './machine.js';

export class Survival {
  readonly #cluster: Cluster;
  /** Index of the newest change of members that lies in any log. */
  #newestChange = 0;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  appended(first: number, entries: readonly Pick<Entry, 'kind'>[]): void {
    entries.forEach(({ kind }, i) => {
      if (kind === 'configuration') this.#newestChange = Math.max(this.#newestChange, first + i);
    });
  }

  /**
   * The voters, if all of them whose disks are whole follow, and know for good that they are the voters. `without`: it need not.
   * Undefined while that is not so, or a change of members may come about.
   */
  voters(without?: SimulatedMachine): SimulatedMachine[] | undefined {
    const { leader, machines } = this.#cluster;
    const status = leader?.node?.status(0);
    if (!status || status.outgoing.length > 0 || this.#newestChange > status.configurationIndex)
      return undefined;
    const voters = machines.filter(({ id }) => status.voters.includes(id));
    const follow = voters.filter((voter) => voter !== without && !isDestroyed(voter));
    const doFollow = follow.every(({ state, node, isPaused }) => {
      const { appliedIndex = 0, configurationIndex } = node?.status(0) ?? {};
      return (
        state === 'up' &&
        !isPaused &&
        configurationIndex === status.configurationIndex &&
        appliedIndex > status.configurationIndex
      );
    });
    return doFollow && voters.length === status.voters.length ? voters : undefined;
  }

  /** Whether the others go on if this one never comes back. */
  canDoWithout(machine: SimulatedMachine): boolean {
    const voters = this.voters(machine);
    if (!voters) return false;
    const left = voters.filter((voter) => voter !== machine && !isDestroyed(voter));
    return 2 * left.length > voters.length;
  }
}

export function isDestroyed({ isDamaged, state }: SimulatedMachine): boolean {
  return isDamaged || state === 'lost';
}
