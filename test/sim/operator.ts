/**
 * The one who runs the cluster: changes its members and its leader while everything else goes on, and does not always
 * learn whether that worked.
 */
import type { RaftreeClient } from '../../src/client/client.js';
import { RaftreeClientError } from '../../src/client/client-error.js';
import type { SeededRandom } from '../../src/env/sim/seeded-random.js';
import type { Cluster } from './cluster.js';
import type { Direct } from './direct.js';
import type { SimulatedMachine } from './machine.js';

interface Change {
  readonly type: 'addVoter' | 'addLearner' | 'promote' | 'demote' | 'remove';
  readonly machine: SimulatedMachine;
}

function isNew(type: Change['type']): type is 'addVoter' | 'addLearner' {
  return type === 'addVoter' || type === 'addLearner';
}

/** Fewer voters than this are not left. */
export const LEAST_VOTERS = 3;

export class Operator {
  readonly #cluster: Cluster;
  readonly #random: SeededRandom;
  readonly #direct: Direct;
  readonly #client: RaftreeClient;
  #stopped = false;

  constructor(cluster: Cluster, random: SeededRandom) {
    this.#cluster = cluster;
    this.#random = random;
    const env = cluster.hostEnv('operator');
    this.#direct = cluster.direct(env);
    this.#client = cluster.client(env, { timeoutMs: 5000 });
  }

  async run(): Promise<void> {
    const { operateEveryMs, changesMembers } = this.#cluster.setting;
    if (operateEveryMs === 0) return;
    while (!this.#stopped) {
      await this.#cluster.sleep(this.#random.float() * 2 * operateEveryMs);
      if (this.#stopped) break;
      // Now and then the next change is asked for before the last one is answered.
      if (changesMembers && this.#random.chance(0.2)) void this.#changeMembers();
      else if (changesMembers && this.#random.chance(0.6)) await this.#changeMembers();
      else await this.#transfer();
    }
    await this.#client.close();
    await this.#direct.close();
  }

  stop(): void {
    this.#stopped = true;
  }

  async #transfer(): Promise<void> {
    const { leader } = this.#cluster;
    if (!leader) return;
    const to = this.#random.pick(this.#cluster.machines);
    const answer = this.#random.chance(0.5)
      ? await this.#ask(leader, { type: 'transferLeader', nodeId: to.id })
      : await this.#askAny(`leadership for ${to.host}`, this.#client.transferLeadership(to.id));
    if (answer === 'done') this.#cluster.coverage.count('leaders transferred');
  }

  async #changeMembers(): Promise<void> {
    const { leader, coverage } = this.#cluster;
    const changes = leader ? this.#planned(leader) : [];
    if (!leader || changes.length === 0) return;
    for (const { type, machine } of changes) {
      if (isNew(type) && machine.starts === 0) this.#cluster.start(machine);
    }
    const answer = this.#random.chance(0.5)
      ? await this.#ask(leader, {
          type: 'changeMembers',
          expectedIndex: undefined,
          force: this.#random.chance(0.5),
          changes: changes.map(({ type, machine }) => ({
            type,
            nodeId: machine.id,
            clientAddress: isNew(type) ? `${machine.host}:7001` : '',
            peerAddress: isNew(type) ? `${machine.host}:7101` : '',
          })),
        })
      : await this.#askAny(
          changes.map(({ type, machine }) => `${type} ${machine.host}`).join(', '),
          this.#client.changeMembers(
            changes.map(({ type, machine: { id, host } }) =>
              isNew(type)
                ? { type, node: id, client: `${host}:7001`, peer: `${host}:7101` }
                : { type, node: id },
            ),
          ),
        );
    if (answer === 'done') coverage.count('members changed', changes.length);
  }

  /** One voter more or less, a learner more or less, or several changes at once. */
  #planned(leader: SimulatedMachine): Change[] {
    const random = this.#random;
    const status = leader.node?.status(0);
    if (!status) return [];
    const { machines } = this.#cluster;
    const voters = machines.filter(({ id }) => status.voters.includes(id));
    const learners = machines.filter(({ id }) => status.learners.includes(id));
    const outside = machines.filter((machine) => !voters.includes(machine) && !learners.includes(machine));
    const changes: Change[] = [];
    const count = random.chance(0.6) ? 1 : random.between(2, 3);
    let voterCount = voters.length;
    for (let i = 0; i < count; i++) {
      const dice = random.float();
      const machine = random.pick(machines);
      if (changes.some((change) => change.machine === machine)) continue;
      if (outside.includes(machine) || learners.includes(machine)) {
        const becomesVoter = dice < 0.6;
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

  /** By the client library, which finds the leader itself, and tries again. */
  async #askAny(what: string, work: Promise<unknown>): Promise<string> {
    const { trace, coverage } = this.#cluster;
    trace.record('operator', 'call', { what });
    coverage.count('changes by the client library');
    const shown = await work.then(
      () => 'done',
      (error: unknown) => {
        if (!(error instanceof RaftreeClientError)) throw error;
        return error.code;
      },
    );
    trace.record('operator', 'return', { shown });
    return shown;
  }

  /** The type of the answer, or the code of what went wrong. */
  async #ask(leader: SimulatedMachine, request: Parameters<Direct['ask']>[1]): Promise<string> {
    this.#cluster.trace.record('operator', 'call', { at: leader.host, ...request });
    const answer = await this.#direct.ask(leader.endpoint, request, 5000);
    const shown = typeof answer === 'string' ? answer : answer.type;
    this.#cluster.trace.record('operator', 'return', { shown });
    return shown;
  }
}
