/**
 * Moves replicas from node to node, drains nodes, lets nodes join, and kills the leader of the map meanwhile; now and
 * then orders what cannot be done, or the same twice.
 */

import type { RaftreeClient } from '../../client/client.js';
import { RaftreeClientError } from '../../client/client-error.js';
import type { Direct } from '../cluster/direct.js';
import type { RunCluster } from '../run/run-cluster.js';
import type { SeededRandom } from '../world/seeded-random.js';
import { isRefused } from './order-answers.js';

type Order =
  | { readonly type: 'moveReplica'; readonly tablet: number; readonly from: number; readonly to: number }
  | { readonly type: 'drainNode'; readonly nodeId: number; readonly isDraining: boolean };

const HOST = 'mover';
const PATIENCE_MS = 5000;

export class Moves {
  readonly #cluster: RunCluster;
  readonly #random: SeededRandom;
  readonly #draining = new Set<number>();
  #direct: Direct | undefined;
  #client: RaftreeClient | undefined;
  #stopped = false;

  constructor(cluster: RunCluster, random: SeededRandom) {
    this.#cluster = cluster;
    this.#random = random;
  }

  async run(): Promise<void> {
    const { moveEveryMs } = this.#cluster.setting;
    if (moveEveryMs === 0) return;
    const { env } = this.#cluster.host(HOST);
    this.#direct = this.#cluster.direct(env);
    this.#client = this.#cluster.client(PATIENCE_MS, { env });
    while (!this.#stopped) {
      await this.#cluster.sleep(this.#random.float() * 2 * moveEveryMs);
      if (this.#stopped) break;
      this.#act();
    }
    await this.#client.close();
    await this.#direct.close();
  }

  stop(): void {
    this.#stopped = true;
  }

  #act(): void {
    const random = this.#random;
    const dice = random.float();
    if (dice < 0.65) this.#move();
    else if (dice < 0.8) this.#drain();
    else if (dice < 0.9) this.#join();
    else this.#killLeaderOfMap();
  }

  #move(): void {
    const { references, machines } = this.#cluster;
    const random = this.#random;
    const tablet = random.pick([...references.tablets]);
    const voters = references.of(tablet).members?.voters ?? [];
    const others = machines.filter(({ id }) => !voters.includes(id)).map(({ id }) => id);
    if (voters.length === 0 || others.length === 0) return;
    const order = {
      type: 'moveReplica',
      tablet,
      from: random.pick(voters),
      to: random.pick(others),
    } as const;
    const wrong = random.pick([
      { to: random.pick(voters) },
      { from: random.pick(others) },
      { to: 99 },
      { tablet: random.pick([0, 9999, ...references.ended]) },
    ]);
    this.#order(random.chance(0.9) ? order : { ...order, ...wrong });
  }

  /** One that drains may be one that is needed again soon. */
  #drain(): void {
    const random = this.#random;
    const isDraining = this.#draining.size === 0 || random.chance(0.3);
    const nodeId = isDraining ? random.pick(this.#cluster.machines).id : random.pick([...this.#draining]);
    if (isDraining) this.#draining.add(nodeId);
    else this.#draining.delete(nodeId);
    this.#order({ type: 'drainNode', nodeId, isDraining });
  }

  #join(): void {
    const { machines, coverage } = this.#cluster;
    const unused = machines.filter(({ starts, edit }) => starts === 0 && !edit);
    if (unused.length === 0) return;
    coverage.count('nodes that join');
    this.#cluster.turnOn(this.#random.pick(unused));
  }

  #killLeaderOfMap(): void {
    const leader = this.#cluster.leader;
    if (!leader) return;
    this.#cluster.coverage.count('leaders of the map killed');
    if (this.#random.chance(0.5)) this.#cluster.kill(leader);
    else this.#cluster.cutPower(leader);
  }

  /** Does not wait for the answer. */
  #order(order: Order): void {
    this.#cluster.trace.record(HOST, 'call', order);
    const times = this.#random.chance(0.1) ? 2 : 1;
    for (let i = 0; i < times; i++)
      void this.#answerTo(order).then((answer) => {
        this.#cluster.trace.record(HOST, 'return', { answer });
        this.#count(order, answer);
      });
  }

  #count({ type }: Order, answer: string): void {
    const { coverage } = this.#cluster;
    if (answer === 'done') coverage.count(type === 'moveReplica' ? 'replicas moved' : 'nodes drained');
    else if (isRefused(this.#cluster, HOST, type, answer)) coverage.count('moves refused');
  }

  /** `done`, or a code. Half of the orders go through the client library, half to any node. */
  async #answerTo(order: Order): Promise<string> {
    const random = this.#random;
    if (random.chance(0.5)) {
      const up = this.#cluster.machines.filter(({ state }) => state === 'up');
      const { endpoint } = random.pick(up.length > 0 ? up : this.#cluster.machines);
      const answer = await this.#direct?.ask(endpoint, order, PATIENCE_MS);
      if (typeof answer === 'object' && answer.type === 'error') return answer.code;
      return typeof answer === 'object' ? answer.type : (answer ?? '');
    }
    try {
      if (order.type === 'moveReplica') await this.#client?.moveReplica(order);
      else await this.#client?.drainNode(order.nodeId, order.isDraining);
      return 'done';
    } catch (error) {
      if (!(error instanceof RaftreeClientError)) throw error;
      return error.code;
    }
  }
}
