/**
 * Merges tablets with their neighbours, as an operator does by the client library; now and then those that cannot be
 * merged. And proposes again, late, that a tablet is frozen for an attempt that may be over: an order of the map may
 * have come to a leader long before it proposes.
 */
import type { RaftreeClient } from '../../client/client.js';
import { RaftreeClientError } from '../../client/client-error.js';
import { encodeMergeStep } from '../../kv/merge.js';
import { membersOfMerge } from '../../meta/merges.js';
import type { MergeIntent } from '../../meta/records.js';
import type { RunCluster } from '../run/run-cluster.js';
import type { SeededRandom } from '../world/seeded-random.js';
import { isRefused } from './order-answers.js';

/** Each tablet costs the simulator time. */
const MAX_MERGES = 4;
const HOST = 'merger';
const PATIENCE_MS = 5000;
const LATEST_STEP_MS = 1000;
const LOOK_EVERY_MS = 20;
/** After a merge has begun. */
const LATEST_DEATH_MS = 300;

export class Merges {
  readonly #cluster: RunCluster;
  readonly #random: SeededRandom;
  #client: RaftreeClient | undefined;
  #stopped = false;

  constructor(cluster: RunCluster, random: SeededRandom) {
    this.#cluster = cluster;
    this.#random = random;
  }

  async run(): Promise<void> {
    const { setting, references } = this.#cluster;
    const { mergeEveryMs } = setting;
    if (mergeEveryMs === 0) return;
    const { env } = this.#cluster.host(HOST);
    this.#client = this.#cluster.client(PATIENCE_MS, { env });
    const disturbed = this.#disturb();
    while (!this.#stopped) {
      await this.#cluster.sleep(this.#random.float() * 2 * mergeEveryMs);
      if (this.#stopped || references.merges >= MAX_MERGES) break;
      void this.#merge(this.#client);
    }
    await this.#client.close();
    await disturbed;
  }

  stop(): void {
    this.#stopped = true;
  }

  async #merge(client: RaftreeClient): Promise<void> {
    const { coverage, trace, references } = this.#cluster;
    const random = this.#random;
    const { tablets } = references;
    const at = random.between(0, Math.max(0, tablets.length - 2));
    const isMistake = tablets.length < 2 || random.chance(0.1);
    const [left = 0, right = 0] = isMistake
      ? [random.pick(tablets), random.pick([...tablets, ...references.ended, 9999])]
      : tablets.slice(at, at + 2);
    trace.record(HOST, 'merge', { left, right });
    try {
      await client.mergeTablets(left, right);
      coverage.count('tablets merged');
      trace.record(HOST, 'return', { left, right });
    } catch (error) {
      if (!(error instanceof RaftreeClientError)) throw error;
      if (isRefused(this.#cluster, HOST, 'merge', error.code)) coverage.count('merges refused');
      trace.record(HOST, 'return', { left, right, code: error.code });
    }
  }

  /** Looks at merges. While some are under way a node dies; and what was to be frozen for one is frozen again late. */
  async #disturb(): Promise<void> {
    const seen = new Map<number, MergeIntent>();
    const late = new Set<number>();
    while (!this.#stopped) {
      for (const intent of this.#cluster.leader?.node?.meta?.state.intents.values() ?? []) {
        if (intent.type !== 'merge' || seen.has(intent.attempt)) continue;
        seen.set(intent.attempt, intent);
        if (this.#random.chance(0.5)) this.#killOne();
      }
      for (const [attempt, intent] of seen)
        for (const tablet of [intent.left, intent.right]) {
          if (late.has(attempt) || !this.#isThawed(tablet, attempt)) continue;
          late.add(attempt);
          this.#freezeLate(tablet, intent);
        }
      await this.#cluster.sleep(LOOK_EVERY_MS);
    }
  }

  /**
   * The leader that had the order is that of a term in which the map had the attempt: it proposes no more when the
   * tablet has been thawed in a later one. Then there is a thaw in its log, or none ever comes.
   */
  #isThawed(tablet: number, attempt: number): boolean {
    const { references } = this.#cluster;
    return references.tablets.includes(tablet) && references.of(tablet).isOver(attempt);
  }

  #killOne(): void {
    const cluster = this.#cluster;
    const random = this.#random;
    cluster.world.scheduler.after(random.float() * LATEST_DEATH_MS, () => {
      const up = cluster.machines.filter(({ state }) => state === 'up');
      if (this.#stopped || up.length === 0) return;
      cluster.coverage.count('nodes that die during a merge');
      const machine = random.pick(up);
      if (random.chance(0.5)) cluster.kill(machine);
      else cluster.cutPower(machine);
    });
  }

  #freezeLate(tablet: number, intent: MergeIntent): void {
    const { attempt } = intent;
    const body = encodeMergeStep({ type: 'freeze', attempt, members: membersOfMerge(intent) });
    this.#cluster.world.scheduler.after(this.#random.float() * LATEST_STEP_MS, () => {
      if (this.#stopped || !this.#isThawed(tablet, attempt)) return;
      this.#cluster.coverage.count('late freezes');
      const replica = this.#cluster.leaderOf(tablet)?.store?.group(tablet)?.replica;
      replica?.proposeTablet(body).catch(() => {});
    });
  }
}
