/**
 * What a cluster survives. Operators destroy data folders of voters only while a quorum is left, and while no pending
 * change of members could make it too small. Otherwise the failure would be theirs, not the cluster's.
 */
import type { Entry } from '../../raft/types.js';
import type { RunCluster } from './run-cluster.js';
import type { RunMachine } from './run-machine.js';

export class Survival {
  readonly #cluster: RunCluster;
  /** By tablet: index of the newest change of members in any log. */
  readonly #newestChanges = new Map<number, number>();
  /** When each node was last named in a command. */
  readonly #namedMs = new Map<number, number>();

  constructor(cluster: RunCluster) {
    this.#cluster = cluster;
  }

  appended(tablet: number, first: number, entries: readonly Pick<Entry, 'kind'>[]): void {
    entries.forEach(({ kind }, i) => {
      if (kind !== 'configuration') return;
      this.#newestChanges.set(tablet, Math.max(this.#newestChanges.get(tablet) ?? 0, first + i));
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
   * The voters, if all of them with whole disks follow the leaders of all tablets and have applied the configurations
   * (except `without`). Undefined otherwise, and while a change of members may be pending.
   */
  voters(without?: RunMachine): RunMachine[] | undefined {
    const voters = new Set<RunMachine>();
    for (const tablet of this.#cluster.references.groups) {
      const own = this.#votersOf(tablet, without);
      if (!own) return undefined;
      for (const voter of own) voters.add(voter);
    }
    return [...voters];
  }

  #votersOf(tablet: number, without: RunMachine | undefined): RunMachine[] | undefined {
    const { machines } = this.#cluster;
    const status = this.#cluster.leaderOf(tablet)?.statusOf(tablet);
    const newestChange = this.#newestChanges.get(tablet) ?? 0;
    if (!status || status.outgoing.length > 0 || newestChange > status.configurationIndex) return undefined;
    const voters = machines.filter(({ id }) => status.voters.includes(id));
    const follow = voters.filter((voter) => voter !== without && !isDestroyed(voter));
    const doFollow = follow.every((voter) => {
      const { appliedIndex = 0, configurationIndex } = voter.statusOf(tablet) ?? {};
      return (
        voter.state === 'up' &&
        !voter.isPaused &&
        configurationIndex === status.configurationIndex &&
        appliedIndex > status.configurationIndex
      );
    });
    return doFollow && voters.length === status.voters.length ? voters : undefined;
  }

  /** Of a tablet, or of one whose leader is not known. */
  isMember({ id }: RunMachine): boolean {
    return this.#cluster.references.groups.some((tablet) => {
      const status = this.#cluster.leaderOf(tablet)?.statusOf(tablet);
      return !status || [...status.voters, ...status.outgoing, ...status.learners].includes(id);
    });
  }

  /** Whether the others go on if this one never comes back: in each tablet that it is a voter of. */
  canDoWithout(machine: RunMachine): boolean {
    if (!this.isLeftAlone(machine)) return false;
    return this.#cluster.references.groups.every((tablet) => {
      const voters = this.#votersOf(tablet, machine);
      const left = voters?.filter((voter) => voter !== machine && !isDestroyed(voter)) ?? [];
      return voters !== undefined && 2 * left.length > voters.length;
    });
  }
}

/** No command runs longer, also at a leader whose client has stopped waiting. */
const LONGEST_COMMAND_MS = 6000;

export function isDestroyed({ isDamaged, state }: RunMachine): boolean {
  return isDamaged || state === 'lost';
}
