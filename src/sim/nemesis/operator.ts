/**
 * The operator of the cluster: changes members and leaders during the run, and does not always learn whether that
 * worked.
 */

import { listed } from '../run/node-json.js';
import type { RunCluster } from '../run/run-cluster.js';
import type { RunMachine } from '../run/run-machine.js';
import type { SeededRandom } from '../world/seeded-random.js';
import { Commands } from './commands.js';

interface Change {
  readonly type: 'addVoter' | 'addLearner' | 'promote' | 'demote' | 'remove';
  readonly machine: RunMachine;
}

function isNew(type: Change['type']): type is 'addVoter' | 'addLearner' {
  return type === 'addVoter' || type === 'addLearner';
}

/** The operator leaves at least so many voters. */
export const LEAST_VOTERS = 3;
/** The longest mean time from one change to the next while there are fewer. */
const GROWTH_EVERY_MS = 500;

export class Operator {
  readonly #cluster: RunCluster;
  readonly #random: SeededRandom;
  readonly #commands: Commands;
  #stopped = false;

  constructor(cluster: RunCluster, random: SeededRandom, host = 'operator') {
    this.#cluster = cluster;
    this.#random = random;
    this.#commands = new Commands(cluster, random, host);
  }

  async run(): Promise<void> {
    const { operateEveryMs, changesMembers } = this.#cluster.setting;
    if (operateEveryMs === 0) return;
    while (!this.#stopped) {
      // A small group is to grow soon: it cannot lose a machine.
      const everyMs = this.#isSmall() ? Math.min(operateEveryMs, GROWTH_EVERY_MS) : operateEveryMs;
      await this.#cluster.sleep(this.#random.float() * 2 * everyMs);
      if (this.#stopped) break;
      // Sometimes the next change is requested before the last one is answered.
      if (this.#isSmall()) await this.#changeMembers();
      else if (changesMembers && this.#random.chance(0.2)) void this.#changeMembers();
      else if (changesMembers && this.#random.chance(0.6)) await this.#changeMembers();
      else await this.#transfer();
    }
    await this.#commands.close();
  }

  /** It was begun by one node and has not grown yet. */
  #isSmall(): boolean {
    const { changesMembers, nodes } = this.#cluster.setting;
    const { voters = [] } = this.#cluster.leader?.node?.status(0) ?? {};
    return changesMembers && nodes === 1 && voters.length < LEAST_VOTERS;
  }

  stop(): void {
    this.#stopped = true;
  }

  async #transfer(): Promise<void> {
    if (!this.#cluster.leader) return;
    const to = this.#random.pick(this.#cluster.machines);
    if ((await this.#commands.transfer(to.id)) === 'done')
      this.#cluster.coverage.count('leaders transferred');
  }

  async #changeMembers(): Promise<void> {
    const { leader, coverage } = this.#cluster;
    const changes = leader ? this.#planned(leader) : [];
    if (changes.length === 0) return;
    for (const { type, machine } of changes) {
      if (isNew(type) && machine.starts === 0) this.#cluster.turnOn(machine);
    }
    const answer = await this.#commands.change(
      changes.map(({ type, machine }) =>
        isNew(type) ? { ...listed(machine), type, node: machine.id } : { type, node: machine.id },
      ),
    );
    if (answer === 'done') coverage.count('members changed', changes.length);
  }

  /** Adds or removes a voter or a learner, or makes several changes at once. */
  #planned(leader: RunMachine): Change[] {
    const random = this.#random;
    const status = leader.node?.status(0);
    if (!status) return [];
    const { machines } = this.#cluster;
    const voters = machines.filter(({ id }) => status.voters.includes(id));
    const learners = machines.filter(({ id }) => status.learners.includes(id));
    const outside = machines.filter((machine) => !voters.includes(machine) && !learners.includes(machine));
    const changes: Change[] = [];
    const isSmall = this.#isSmall();
    const candidates = isSmall ? [...outside, ...learners] : machines;
    const count = random.chance(0.6) ? 1 : random.between(2, 3);
    let voterCount = voters.length;
    for (let i = 0; i < count; i++) {
      const dice = random.float();
      const machine = random.pick(candidates);
      if (changes.some((change) => change.machine === machine)) continue;
      if (outside.includes(machine) || learners.includes(machine)) {
        const becomesVoter = isSmall || dice < 0.6;
        if (becomesVoter) voterCount++;
        const type = learners.includes(machine)
          ? becomesVoter
            ? 'promote'
            : 'remove'
          : becomesVoter
            ? 'addVoter'
            : 'addLearner';
        changes.push({ type, machine });
      } else if (voterCount > LEAST_VOTERS) {
        voterCount--;
        changes.push({ type: dice < 0.6 ? 'remove' : 'demote', machine });
      }
    }
    return changes;
  }
}
