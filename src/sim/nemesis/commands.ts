/**
 * The commands of one operator, on a host of their own. Half of them go through the client library, which finds the
 * leader and tries again, half of them directly to the leader. None of them is forced.
 */
import type { RaftreeClient } from '../../client/client.js';
import { RaftreeClientError } from '../../client/client-error.js';
import { type MemberChange, toMemberChange } from '../../client/member-changes.js';
import type { Direct } from '../cluster/direct.js';
import type { RunCluster } from '../run/run-cluster.js';
import type { SeededRandom } from '../world/seeded-random.js';

const PATIENCE_MS = 5000;

export class Commands {
  readonly #cluster: RunCluster;
  readonly #random: SeededRandom;
  readonly #host: string;
  readonly #direct: Direct;
  readonly #client: RaftreeClient;

  constructor(cluster: RunCluster, random: SeededRandom, host: string) {
    this.#cluster = cluster;
    this.#random = random;
    this.#host = host;
    const env = cluster.host(host).env;
    this.#direct = cluster.direct(env);
    this.#client = cluster.client(PATIENCE_MS, { env });
  }

  async close(): Promise<void> {
    await this.#client.close();
    await this.#direct.close();
  }

  /** `done`, or the error's code. */
  async transfer(to: number): Promise<string> {
    const { tablets } = this.#cluster.references;
    if (tablets.length > 1) return this.#transferOf(this.#random.pick([undefined, ...tablets]), to);
    return this.#random.chance(0.5)
      ? this.#atLeader({ type: 'transferLeader', tablet: 0, nodeId: to })
      : this.#byLibrary(`leadership for n${to}`, () => this.#client.transferLeadership(to));
  }

  /** Of one tablet, or of all. */
  #transferOf(tablet: number | undefined, to: number): Promise<string> {
    if (tablet !== undefined && this.#random.chance(0.5))
      return this.#atLeader({ type: 'transferLeader', tablet, nodeId: to }, this.#cluster.leaderOf(tablet));
    const what = `leadership of ${tablet === undefined ? 'all tablets' : `tablet ${tablet}`} for n${to}`;
    const only = tablet === undefined ? {} : { tablet };
    return this.#byLibrary(what, () => this.#client.transferLeadership(to, only));
  }

  async change(changes: readonly MemberChange[]): Promise<string> {
    for (const { node } of changes) this.#cluster.survival.named(node);
    return this.#random.chance(0.5) ? this.#changeAtLeader(changes) : this.#changeByLibrary(changes);
  }

  #changeByLibrary(changes: readonly MemberChange[]): Promise<string> {
    const what = changes.map(({ type, node }) => `${type} n${node}`).join(', ');
    return this.#byLibrary(what, () => this.#client.changeMembers(changes));
  }

  #changeAtLeader(changes: readonly MemberChange[]): Promise<string> {
    return this.#atLeader({
      type: 'changeMembers',
      expectedIndex: undefined,
      force: false,
      changes: changes.map(toMemberChange),
    });
  }

  async #byLibrary(what: string, work: () => Promise<unknown>): Promise<string> {
    const { trace, coverage } = this.#cluster;
    trace.record(this.#host, 'call', { what });
    coverage.count('changes by the client library');
    const shown = await work().then(
      () => 'done',
      (error: unknown) => {
        if (!(error instanceof RaftreeClientError)) throw error;
        return error.code;
      },
    );
    trace.record(this.#host, 'return', { shown });
    return shown;
  }

  async #atLeader(request: Parameters<Direct['ask']>[1], leader = this.#cluster.leader): Promise<string> {
    const { trace } = this.#cluster;
    if (!leader) return 'NO_LEADER';
    trace.record(this.#host, 'call', { at: leader.host, ...request });
    const answer = await this.#direct.ask(leader.endpoint, request, PATIENCE_MS);
    const shown = typeof answer === 'string' ? answer : answer.type;
    trace.record(this.#host, 'return', { shown });
    return shown;
  }
}
