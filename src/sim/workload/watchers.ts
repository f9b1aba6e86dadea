/**
 * Watchers of a run: real client libraries that watch a few keys, each from some version on, one watch after the other.
 * Some ask one node only, some take changes slowly. After the run those that are left must come to the end.
 */
import type { RaftreeClient } from '../../client/client.js';
import { HistoryGoneError, RaftreeClientError } from '../../client/client-error.js';
import type { Watch, WatchOptions, WatchPosition } from '../../client/watch.js';
import { checkWatch, type WatchRecord } from '../rules/watch-rules.js';
import type { RunCluster } from '../run/run-cluster.js';
import { STRING_KEYS, type WorkloadOptions } from '../setting/setting.js';
import type { SeededRandom } from '../world/seeded-random.js';

const CLIENTS = 2;
/** Of a watch that asks one node only, too. */
const ENDS = new Set(['CLIENT_CLOSED', 'NODE_REMOVED']);

interface OpenWatch {
  readonly watch: Watch;
  readonly record: WatchRecord;
  readonly asksOneNode: boolean;
}

export class Watchers {
  readonly #cluster: RunCluster;
  readonly #random: SeededRandom;
  readonly #keys: readonly string[];
  readonly #open = new Set<OpenWatch>();
  readonly #clients: RaftreeClient[] = [];
  readonly #running: Promise<void>[] = [];
  #hurries = false;
  #isOver = false;

  constructor(cluster: RunCluster, random: SeededRandom, { keys }: WorkloadOptions) {
    this.#cluster = cluster;
    this.#random = random;
    this.#keys = Array.from({ length: keys }, (_, i) => `k${i + 1}`);
  }

  start(): void {
    for (let i = 1; i <= CLIENTS; i++) {
      const name = `w${i}`;
      const client = this.#cluster.client(Number.POSITIVE_INFINITY, { env: this.#cluster.host(name).env });
      this.#clients.push(client);
      this.#running.push(this.#run(name, client));
    }
  }

  /** From now on all take changes at once. */
  hurry(): void {
    this.#hurries = true;
  }

  /** Those that are left were told all that there is. */
  get isComplete(): boolean {
    return [...this.#open].every(({ record, asksOneNode }) => asksOneNode || this.#missing(record) <= 0);
  }

  async end(): Promise<void> {
    this.#isOver = true;
    for (const { watch } of this.#open) await watch.return();
    await Promise.all(this.#clients.map((client) => client.close()));
    await Promise.all(this.#running);
  }

  #missing({ keys, fromVersion, told }: WatchRecord): number {
    if (fromVersion === undefined) return 1;
    const due = keys.flatMap((key) => this.#cluster.references.ofKey(key).toldOf(key));
    return due.filter(({ version }) => version >= fromVersion).length - told.length;
  }

  async #run(name: string, client: RaftreeClient): Promise<void> {
    const random = this.#random;
    const { references } = this.#cluster;
    let from: number | undefined;
    let tablet = references.first.tablet;
    while (!this.#isOver) {
      await this.#cluster.sleep(random.float() * 200);
      if (this.#isOver) return;
      if (references.tablets.length > 1 && from === undefined) tablet = random.pick(references.tablets);
      const { lastIndex } = references.of(tablet);
      from ??= random.pick([undefined, 1 + random.between(0, lastIndex), lastIndex + random.between(1, 20)]);
      from = await this.#watch(name, client, tablet, from);
    }
  }

  /** Keys of one tablet. */
  #scope(tablet: number): { readonly keys: readonly string[]; readonly options: WatchOptions } {
    const { references } = this.#cluster;
    const random = this.#random;
    const { by, tablets } = references.map;
    const last = references.lastKeyOf(tablet);
    const own = [...this.#keys, last].filter((key) => references.ownerOf(key) === tablet);
    const one = random.pick(tablets.length === 1 ? this.#keys : own);
    if (random.chance(0.3) || by === 'hash') return { keys: [one], options: { key: one } };
    if (tablets.length === 1) return { keys: own, options: { prefix: 'k' } };
    const { start, end } = tablets.find(({ id }) => id === tablet) ?? {
      start: Buffer.alloc(0),
      end: undefined,
    };
    const range = { from: start, ...(end ? { to: end } : {}) };
    return {
      keys: [...new Set([...own, ...STRING_KEYS.filter((key) => references.ownerOf(key) === tablet)])],
      options: { range },
    };
  }

  /** Returns from which version on the next watch is to begin, if that matters. */
  async #watch(
    name: string,
    client: RaftreeClient,
    tablet: number,
    from: number | undefined,
  ): Promise<number | undefined> {
    const random = this.#random;
    const { coverage, machines, references } = this.#cluster;
    const { keys, options: scope } = this.#scope(tablet);
    const asksOneNode = random.chance(0.4);
    const options: WatchOptions = {
      ...scope,
      ...(from === undefined ? {} : { from }),
      ...(asksOneNode ? { endpoint: random.pick(machines).endpoint } : {}),
      bufferBytes: random.pick([1, 200, 256 * 1024]),
    };
    const record: WatchRecord = { client: name, keys, fromVersion: from, resumeFrom: from, told: [] };
    const open = { watch: client.watch(options), record, asksOneNode };
    this.#open.add(open);
    coverage.count('watches');
    if (from === undefined)
      void open.watch.ready.then(
        () => this.#begun(open),
        () => {},
      );
    const endsAtMs = this.#cluster.nowMs + random.pick([500, 3000, Number.POSITIVE_INFINITY]);
    const maxPauseMs = random.pick([0, 0, 30, 300]);
    try {
      for await (const change of open.watch) {
        record.told.push(change);
        record.resumeFrom = versionOf(open.watch.resumeFrom);
        coverage.count('changes told');
        if (this.#cluster.nowMs > endsAtMs) break;
        if (maxPauseMs > 0 && !this.#hurries) await this.#cluster.sleep(random.float() * maxPauseMs);
      }
      return undefined;
    } catch (error) {
      if (!(error instanceof RaftreeClientError)) throw error;
      if (error instanceof HistoryGoneError) {
        coverage.count('watches that fell behind');
        return versionOf(error.resumeFrom);
      }
      if (!ENDS.has(error.code)) this.#cluster.unexpectedAnswer(name, error.code, error.message);
      return undefined;
    } finally {
      record.resumeFrom = versionOf(open.watch.resumeFrom) ?? record.resumeFrom;
      this.#open.delete(open);
      checkWatch(record, references.of(tablet), (rule, detail) => this.#cluster.fail(rule, detail));
    }
  }

  #begun({ watch, record }: OpenWatch): void {
    record.fromVersion ??= Math.min(
      versionOf(watch.resumeFrom) ?? 1,
      record.told[0]?.version ?? Number.MAX_SAFE_INTEGER,
    );
  }
}

/** Of a cluster with one tablet. */
function versionOf(position: WatchPosition | undefined): number | undefined {
  return typeof position === 'string' ? undefined : position;
}
