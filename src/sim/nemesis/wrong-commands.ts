/**
 * Commands about members that an operator gives by mistake: twice, about nodes that are members already or are none,
 * with wrong addresses, while other nodes are away. A cluster may refuse them; it must survive them.
 */
import type { MemberChange } from '../../client/member-changes.js';
import { listed, wrongAddress } from '../run/node-json.js';
import type { RunCluster } from '../run/run-cluster.js';
import type { RunMachine } from '../run/run-machine.js';
import type { SeededRandom } from '../world/seeded-random.js';
import { Commands } from './commands.js';
import { LEAST_VOTERS } from './operator.js';

interface Members {
  readonly voters: readonly RunMachine[];
  readonly learners: readonly RunMachine[];
  readonly others: readonly RunMachine[];
}

export class WrongCommands {
  readonly #cluster: RunCluster;
  readonly #random: SeededRandom;
  /** Two operators at the same time. */
  #operators: readonly Commands[] = [];

  constructor(cluster: RunCluster, random: SeededRandom) {
    this.#cluster = cluster;
    this.#random = random;
  }

  async close(): Promise<void> {
    await Promise.all(this.#operators.map((operator) => operator.close()));
  }

  async next(): Promise<void> {
    const members = this.#members();
    if (!this.#cluster.setting.changesMembers || !members) return;
    const { voters, learners, others } = members;
    const random = this.#random;
    const type = random.pick(['addVoter', 'addLearner'] as const);
    const everybody = this.#cluster.machines;
    const mistakes: readonly (() => Promise<void>)[] = [
      () => this.#twice(this.#sensible(members)),
      () =>
        this.#give('absent removed', {
          type: 'remove',
          node: random.pick([99, random.pick([...others, { id: 98 }]).id]),
        }),
      () => this.#give('present added', this.#added(type, random.pick([...voters, ...learners]))),
      () =>
        this.#give('wrong address', {
          type,
          node: random.pick([...everybody, { id: 77 }, { id: 78 }]).id,
          ...wrongAddress(everybody, random),
        }),
      () =>
        this.#give(
          'never started',
          this.#added(
            type,
            random.pick([...others.filter(({ starts }) => starts === 0), { id: 97, host: 'n97' }]),
          ),
        ),
      () =>
        this.#give('wrong update', {
          ...{ type: 'update', node: random.pick([...voters, ...learners]).id },
          ...wrongAddress(everybody, random),
        }),
      () => this.#whileDown(random.pick(learners), ({ id }) => ({ type: 'promote', node: id })),
      () => this.#whileDown(random.pick(voters), (down) => this.#removed(members, down)),
    ];
    await random.pick(mistakes)();
  }

  /** One operator adds it, as a voter or a learner. */
  async add(machine: RunMachine): Promise<void> {
    await this.#give(
      'foreign node',
      this.#added(this.#random.pick(['addVoter', 'addLearner'] as const), machine),
    );
  }

  /** Removes it. Whether it certainly is no member any more. */
  async removeForGood({ id }: RunMachine): Promise<boolean> {
    return this.#tries({ type: 'remove', node: id }, ['done', 'NOT_A_MEMBER']);
  }

  /** Adds it. Whether it certainly is a member. */
  async addAgain(machine: RunMachine): Promise<boolean> {
    return this.#tries(this.#added(this.#random.pick(['addVoter', 'addLearner'] as const), machine), [
      'done',
    ]);
  }

  async #tries(change: MemberChange, wanted: readonly string[]): Promise<boolean> {
    const [operator] = this.#twoOperators();
    for (let tries = 0; tries < 4; tries++) {
      if (wanted.includes((await operator?.change([change])) ?? '')) return true;
      await this.#cluster.sleep(500);
    }
    return false;
  }

  #members(): Members | undefined {
    const { leader, machines } = this.#cluster;
    const status = leader?.node?.status(0);
    if (!status || status.voters.length === 0) return undefined;
    const voters = machines.filter(({ id }) => status.voters.includes(id));
    const learners = machines.filter(({ id }) => status.learners.includes(id));
    return {
      voters,
      learners,
      others: machines.filter((one) => !voters.includes(one) && !learners.includes(one)),
    };
  }

  #added(
    type: 'addVoter' | 'addLearner',
    { id, host }: { readonly id: number; readonly host: string },
  ): MemberChange {
    const { client, peer } = listed({ id, host });
    return { type, node: id, client, peer };
  }

  /** Removes a live voter other than the one given. Voters with whole disks must be left. */
  #removed({ voters }: Members, other?: RunMachine): MemberChange | undefined {
    const live = voters.filter((voter) => voter !== other && voter.state === 'up');
    const isDamaged = voters.some((voter) => voter.isDamaged);
    if (live.length === 0 || (isDamaged && voters.length <= LEAST_VOTERS)) return undefined;
    return { type: 'remove', node: this.#random.pick(live).id };
  }

  #sensible(members: Members): MemberChange | undefined {
    const random = this.#random;
    const outside = members.others.filter(({ starts }) => starts > 0);
    const changes = [
      ...(outside.length > 0 ? [this.#added('addVoter', random.pick(outside))] : []),
      ...(members.learners.length > 0
        ? [{ type: 'promote', node: random.pick(members.learners).id } as const]
        : []),
      this.#removed(members),
    ];
    return random.pick(changes);
  }

  async #give(what: string, change: MemberChange | undefined): Promise<void> {
    if (!change) return;
    const [operator] = this.#twoOperators();
    this.#note(what, change);
    await operator?.change([change]);
  }

  async #twice(change: MemberChange | undefined): Promise<void> {
    if (!change) return;
    this.#note('twice', change);
    await Promise.all(this.#twoOperators().map((operator) => operator.change([change])));
  }

  /** Members are changed while one machine is down. */
  async #whileDown(
    machine: RunMachine | undefined,
    change: (machine: RunMachine) => MemberChange | undefined,
  ): Promise<void> {
    if (machine?.state !== 'up' || machine.isOff) return;
    machine.isOff = true;
    this.#cluster.kill(machine, 'switched off');
    await this.#cluster.sleep(this.#random.float() * 2000);
    await this.#give('while one is down', change(machine));
    if (!machine.isOff) return;
    machine.isOff = false;
    this.#cluster.turnOn(machine);
  }

  #note(what: string, change: MemberChange): void {
    this.#cluster.coverage.count('mistaken commands');
    this.#cluster.trace.record('world', `mistaken command: ${what}`, { change });
  }

  /** Made when they are needed first, so that runs without mistakes do not change. */
  #twoOperators(): readonly Commands[] {
    if (this.#operators.length === 0)
      this.#operators = ['operator2', 'operator3'].map(
        (host) => new Commands(this.#cluster, this.#random, host),
      );
    return this.#operators;
  }
}
