/**
 * Watchers of a run: real client libraries that watch a few keys, each from some version on, one watch after the other.
 * Some ask one node only, some take changes slowly. After the run those that are left must come to the end.
 */
import type { RaftreeClient } from '../../client/client.js';
import { HistoryGoneError, RaftreeClientError } from '../../client/client-error.js';
import type { Watch, WatchOptions, WatchPosition } from '../../client/watch.js';
import { checkWatch, versionsAt, type WatchRecord } from '../rules/watch-rules.js';
import type { RunCluster } from '../run/run-cluster.js';
import { REDIS_KEYS, STRING_KEYS, type WorkloadOptions } from '../setting/setting.js';
import type { SeededRandom } from '../world/seeded-random.js';

const CLIENTS = 2;
/** Of a watch that asks one node only, too. */
const ENDS = new Set(['CLIENT_CLOSED', 'NODE_REMOVED']);

/** What is watched. */
interface Scope {
  readonly keys: readonly string[];
  readonly options: WatchOptions;
  readonly isOfOneTablet: boolean;
}

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

  /** Who waits for what, for the report. */
  get waiting(): string {
    return [...this.#open]
      .filter(({ record, asksOneNode }) => !asksOneNode && this.#missing(record) > 0)
      .map(({ record: { client, keys, from, told } }) => {
        const since = from && [...from].map(([key, version]) => `${key} from ${version}`).join();
        return `${client} watches ${keys.join()}, ${since ?? 'has not begun'}, and was told ${told.length} changes`;
      })
      .join('; ');
  }

  async end(): Promise<void> {
    this.#isOver = true;
    for (const { watch } of this.#open) await watch.return();
    await Promise.all(this.#clients.map((client) => client.close()));
    await Promise.all(this.#running);
  }

  #missing({ keys, from, told }: WatchRecord): number {
    if (!from) return 1;
    const { references } = this.#cluster;
    const due = keys.flatMap((key) =>
      references
        .ofKey(key)
        .toldOf(key)
        .filter(({ version }) => version >= (from.get(key) ?? 0)),
    );
    return due.length - told.length;
  }

  async #run(name: string, client: RaftreeClient): Promise<void> {
    const random = this.#random;
    let next: { readonly scope: Scope; readonly from: WatchPosition | undefined } | undefined;
    while (!this.#isOver) {
      await this.#cluster.sleep(random.float() * 200);
      if (this.#isOver) return;
      const { scope, from } = next ?? this.#beginning();
      const resumed = await this.#watch(name, client, scope, from);
      next = resumed === undefined ? undefined : { scope, from: resumed };
    }
  }

  #beginning(): { readonly scope: Scope; readonly from: number | undefined } {
    const { references } = this.#cluster;
    const random = this.#random;
    const scope = this.#scope();
    // A version is of one tablet.
    if (!scope.isOfOneTablet) return { scope, from: undefined };
    const { lastIndex } = references.ofKey(scope.keys[0] ?? '');
    const from = random.pick([
      undefined,
      1 + random.between(0, lastIndex),
      lastIndex + random.between(1, 20),
    ]);
    return { scope, from };
  }

  /** One key, the keys of a tablet, or those of all. */
  #scope(): Scope {
    const { references } = this.#cluster;
    const random = this.#random;
    const { by, tablets } = references.map;
    const one = random.pick(this.#keys);
    if (random.chance(0.3)) return { keys: [one], options: { key: one }, isOfOneTablet: true };
    if (tablets.length === 1 || by === 'hash' || random.chance(0.5)) {
      const isOfOneTablet = tablets.length === 1;
      return { keys: this.#keys, options: { prefix: 'k' }, isOfOneTablet };
    }
    const { id, start, end } = random.pick([...tablets]);
    const range = { from: start, ...(end ? { to: end } : {}) };
    const keys = [...this.#keys, ...REDIS_KEYS, ...STRING_KEYS];
    const own = keys.filter((key) => references.ownerOf(key) === id);
    return { keys: own, options: { range }, isOfOneTablet: own.length > 0 };
  }

  /** Returns from where the next watch is to go on, if it is. */
  async #watch(
    name: string,
    client: RaftreeClient,
    { keys, options: scope }: Scope,
    from: WatchPosition | undefined,
  ): Promise<WatchPosition | undefined> {
    const random = this.#random;
    const { coverage, machines, references } = this.#cluster;
    const asksOneNode = random.chance(0.4);
    const options: WatchOptions = {
      ...scope,
      ...(from === undefined ? {} : { from }),
      ...(asksOneNode ? { endpoint: random.pick(machines).endpoint } : {}),
      bufferBytes: random.pick([1, 200, 256 * 1024]),
    };
    const begun = from === undefined ? undefined : versionsAt(from, keys);
    const record: WatchRecord = { client: name, keys, from: begun, resumeFrom: begun, told: [] };
    const open = { watch: client.watch(options), record, asksOneNode };
    this.#open.add(open);
    coverage.count('watches');
    if (new Set(keys.map((key) => references.ownerOf(key))).size > 1)
      coverage.count('watches of several tablets');
    if (from === undefined)
      void open.watch.ready.then(
        () => this.#begun(open),
        () => {},
      );
    const endsAtMs = this.#cluster.nowMs + random.pick([500, 3000, Number.POSITIVE_INFINITY]);
    const maxPauseMs = random.pick([0, 0, 30, 300]);
    try {
      for await (const change of open.watch) {
        // What the simulator itself writes in the end is no client's.
        if (references.isOfClients(change.key.toString())) record.told.push(change);
        coverage.count('changes told');
        if (this.#cluster.nowMs > endsAtMs) break;
        if (maxPauseMs > 0 && !this.#hurries) await this.#cluster.sleep(random.float() * maxPauseMs);
      }
      // Another one goes on where this one has ended.
      const { resumeFrom } = open.watch;
      if (resumeFrom === undefined || !random.chance(0.3)) return undefined;
      coverage.count('watches resumed');
      return resumeFrom;
    } catch (error) {
      if (!(error instanceof RaftreeClientError)) throw error;
      if (error instanceof HistoryGoneError) {
        coverage.count('watches that fell behind');
        return error.resumeFrom;
      }
      // The tablet of the version was split or merged meanwhile.
      const isSplit =
        error.code === 'SPANS_TABLETS' &&
        typeof from === 'number' &&
        references.splits + references.merges > 0;
      if (!isSplit && !ENDS.has(error.code)) this.#cluster.unexpectedAnswer(name, error.code, error.message);
      return undefined;
    } finally {
      const { resumeFrom } = open.watch;
      if (resumeFrom !== undefined) record.resumeFrom = versionsAt(resumeFrom, keys);
      this.#open.delete(open);
      checkWatch(record, references, (rule, detail) => this.#cluster.fail(rule, detail));
    }
  }

  #begun({ watch, record }: OpenWatch): void {
    if (record.from) return;
    const { references } = this.#cluster;
    const versions = versionsAt(watch.resumeFrom ?? 1, record.keys);
    // In the log of a tablet that had the key, too.
    const firstOf = (key: string) =>
      record.told.find(({ key: told, version }) => {
        const name = told.toString();
        return references.ofKey(name).logOf(name, version).owns(key);
      })?.version;
    record.from = new Map(
      [...versions].map(([key, version]) => [
        key,
        Math.min(version, firstOf(key) ?? Number.MAX_SAFE_INTEGER),
      ]),
    );
  }
}
