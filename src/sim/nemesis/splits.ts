/**
 * Splits tablets, at keys of clients and between them, and now and then where a tablet cannot be split. In half of the
 * runs an operator does it by the client library; in the others the entries of the log are made here, with ids that
 * the map does not give.
 */
import type { RaftreeClient } from '../../client/client.js';
import { RaftreeClientError } from '../../client/client-error.js';
import { encodeSplitEntry } from '../../kv/split.js';
import { hashOfKey } from '../../placement/partition-key.js';
import { ringPoint } from '../../placement/placement.js';
import type { RunCluster } from '../run/run-cluster.js';
import { STRING_KEYS } from '../setting/setting.js';
import type { SeededRandom } from '../world/seeded-random.js';
import { isRefused } from './order-answers.js';

/** Each tablet costs the simulator time. */
const MAX_SPLITS = 4;
const HOST = 'splitter';
const PATIENCE_MS = 5000;
/** The map gives lower ids to tablets and replicas: none is given twice. */
const FIRST_ID = 1_000_000;

export class Splits {
  readonly #cluster: RunCluster;
  readonly #random: SeededRandom;
  readonly #isByOperator: boolean;
  #client: RaftreeClient | undefined;
  #nextId = FIRST_ID;
  #stopped = false;

  constructor(cluster: RunCluster, random: SeededRandom) {
    this.#cluster = cluster;
    this.#random = random;
    // Where replicas move, ids of replicas are compared with those of tablets. And the map decides what is merged.
    const { moveEveryMs, mergeEveryMs } = cluster.setting;
    this.#isByOperator = random.chance(0.5) || moveEveryMs + mergeEveryMs > 0;
  }

  async run(): Promise<void> {
    const { setting, references } = this.#cluster;
    const { splitEveryMs } = setting;
    if (splitEveryMs === 0) return;
    const { env } = this.#cluster.host(HOST);
    this.#client = this.#cluster.client(PATIENCE_MS, { env });
    while (!this.#stopped) {
      await this.#cluster.sleep(this.#random.float() * 2 * splitEveryMs);
      if (this.#stopped || references.splits >= MAX_SPLITS) break;
      if (this.#isByOperator) void this.#splitByOperator(this.#client);
      else this.#split();
    }
    await this.#client.close();
  }

  stop(): void {
    this.#stopped = true;
  }

  async #splitByOperator(client: RaftreeClient): Promise<void> {
    const { coverage, trace } = this.#cluster;
    const key = this.#key();
    trace.record(HOST, 'split', { key });
    try {
      await client.splitTablet(key);
      coverage.count('tablets split');
      trace.record(HOST, 'return', { key });
    } catch (error) {
      if (!(error instanceof RaftreeClientError)) throw error;
      if (isRefused(this.#cluster, HOST, 'split', error.code)) coverage.count('splits refused');
      trace.record(HOST, 'return', { key, code: error.code });
    }
  }

  /** Asks the leader, and does not wait for the answer: it may lose power first. */
  #split(): void {
    const { references, coverage, trace } = this.#cluster;
    const random = this.#random;
    const point = this.#point();
    const isMistake = random.chance(0.1);
    const owner = references.map.tablets.find(({ start, end }) => isWithin(point, start, end))?.id ?? 0;
    const tablet = isMistake ? random.pick([...references.tablets, ...references.ended]) : owner;
    const replica = this.#cluster.leaderOf(tablet)?.store?.group(tablet)?.replica;
    if (!replica) return;
    // A request may be repeated with the same ids.
    const [left, right] = [this.#nextId, this.#nextId + 1];
    this.#nextId += 2;
    trace.record('world', 'split', { tablet, left, right, point: point.toString('latin1') });
    const times = random.chance(0.1) ? 2 : 1;
    for (let i = 0; i < times; i++)
      replica.proposeTablet(encodeSplitEntry({ left, right, point })).then(
        ({ result }) => {
          if (result.type === 'split') coverage.count('tablets split');
          else coverage.count('splits refused');
        },
        () => coverage.count('splits refused'),
      );
  }

  #point(): Buffer {
    const random = this.#random;
    const key = this.#key();
    if (this.#cluster.references.map.by === 'range') return Buffer.from(key);
    return random.chance(0.5) ? ringPoint(hashOfKey(Buffer.from(key))) : ringPoint(random.uint32());
  }

  #key(): string {
    const random = this.#random;
    const key = random.pick([`k${random.between(1, this.#cluster.setting.workload.keys)}`, ...STRING_KEYS]);
    return random.chance(0.8) ? key : `${key}x`;
  }
}

function isWithin(point: Uint8Array, start: Uint8Array, end: Uint8Array | undefined): boolean {
  return Buffer.compare(point, start) >= 0 && (end === undefined || Buffer.compare(point, end) < 0);
}
