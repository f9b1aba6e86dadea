/**
 * What a cluster survives. Operators destroy data folders of voters only while a quorum is left, and while no pending
 * change of members could make it too small. Otherwise the failure would be theirs, not the cluster's.
 */
import type { Entry } from '../../raft/types.js';
import type { RunCluster } from './run-cluster.js';
import type { RunMachine } from './run-machine.js';

export class Survival {
  readonly #cluster: RunCluster;
  /** Index of the newest change of members in any log. */
  #newestChange = 0;
  /** When each node was last named in a command. */
  readonly #namedMs = new Map<number, number>();

  constructor(cluster: RunCluster) {
    this.#cluster = cluster;
  }

  appended(first: number, entries: readonly Pick<Entry, 'kind'>[]): void {
    entries.forEach(({ kind }, i) => {
      if (kind === 'configuration') this.#newestChange = Math.max(this.#newestChange, first + i);
    });
  }

  /** A command names this node. */
  named(node: number): void {
    this.#namedMs.set(node, this.#cluster.nowMs);
    // Nodes forget a removed member, and with it its number of starts.
    this.#cluster.copies.end(node);
  }

  /** No command about this node is still running. */
  isLeftAlone({ id }: RunMachine): boolean {
    const { nowMs } = this.#cluster;
    return nowMs - (this.#namedMs.get(id) ?? Number.NEGATIVE_INFINITY) > LONGEST_COMMAND_MS;
  }

  /**
   * The voters, if all of them with whole disks follow the leader and have applied the configuration (except
   * `without`). Undefined otherwise, and while a change of members may be pending.
   */
  voters(without?: RunMachine): RunMachine[] | undefined {
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

  isMember({ id }: RunMachine): boolean {
    const { voters, outgoing, learners } = this.#cluster.leader?.node?.status(0) ?? {};
    return [voters, outgoing, learners].some((ids) => ids?.includes(id) ?? true);
  }

  /** Whether the others go on if this one never comes back. */
  canDoWithout(machine: RunMachine): boolean {
    const voters = this.voters(machine);
    if (!voters || !this.isLeftAlone(machine)) return false;
    const left = voters.filter((voter) => voter !== machine && !isDestroyed(voter));
    return 2 * left.length > voters.length;
  }
}

/** No command runs longer, also at a leader whose client has stopped waiting. */
const LONGEST_COMMAND_MS = 6000;

export function isDestroyed({ isDamaged, state }: RunMachine): boolean {
  return isDamaged || state === 'lost';
}
