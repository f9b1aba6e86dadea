/**
 * The tablets of this node: one group for each part of the keys, and what each needs besides. A cluster with several
 * has meta too, the group that keeps the map (meta/). Until meta has it, the map is that of the birth.
 */
import type { Env, Logger } from '../env/env.js';
import { errorCode, errorMessage } from '../env/errors.js';
import { OnceAMinute } from '../env/once-a-minute.js';
import { Expirer } from '../kv/expirer.js';
import type { ServedTablet } from '../kv/service.js';
import type { HistoryBudget } from '../kv/watch/history-budget.js';
import { MetaMachine } from '../meta/meta-machine.js';
import type { MetaState } from '../meta/meta-state.js';
import {
  clusterGroupOf,
  FIRST_TABLET,
  firstGroups,
  firstTablets,
  META_GROUP,
  ONE_TABLET,
  type Placement,
  type Tablet,
} from '../placement/placement.js';
import { TabletMap, TabletRange } from '../placement/tablet-map.js';
import type { BirthState } from './birth.js';
import type { NodeConfig } from './config.js';
import { firstBaseOf, type KvGroup, type KvStore } from './kv-group.js';
import type { NodeMetrics } from './metrics.js';
import { historyBudget, watchesOf } from './watching.js';

export interface TabletSetParts {
  readonly env: Env;
  readonly config: NodeConfig;
  readonly logger: Logger;
  readonly metrics: NodeMetrics | undefined;
  readonly store: () => KvStore;
  /** If this node was removed from its cluster: the message that says so. */
  readonly removed: () => string | undefined;
}

/** A tablet that takes part. */
export interface OpenTablet extends ServedTablet {
  readonly tablet: Tablet;
  readonly group: KvGroup;
  readonly expirer: Expirer;
}

/** The group of the map. */
export interface OpenMeta {
  readonly tablet: { readonly id: number };
  readonly group: KvGroup;
  readonly state: MetaState;
}

export class TabletSet {
  readonly #parts: TabletSetParts;
  /** What is kept for watchers, of all tablets. */
  readonly histories: HistoryBudget;
  readonly #faults: OnceAMinute;
  readonly #open = new Map<number, OpenTablet>();
  #placement: Placement | undefined;
  #firstMap: TabletMap | undefined;
  #meta: OpenMeta | undefined;

  constructor(parts: TabletSetParts) {
    this.#parts = parts;
    this.histories = historyBudget(parts.env.clock, parts.config);
    this.#faults = new OnceAMinute(parts.env.clock);
  }

  /** Undefined before the birth of the cluster. */
  get placement(): Placement | undefined {
    return this.#placement;
  }

  /** As far as this node has heard of it. */
  get map(): TabletMap | undefined {
    return this.#meta?.state.map ?? this.#firstMap;
  }

  /** Undefined in a cluster with one tablet, and before it is open. */
  get meta(): OpenMeta | undefined {
    return this.#meta;
  }

  /** The group whose members are those of the cluster. */
  get clusterGroupId(): number {
    return clusterGroupOf(this.#placement ?? ONE_TABLET);
  }

  get clusterGroup(): KvGroup | undefined {
    return this.#placement && this.#parts.store().group(this.clusterGroupId);
  }

  /** The tablets, and meta. */
  get groups(): readonly (OpenMeta | OpenTablet)[] {
    return this.#meta ? [this.#meta, ...this.#open.values()] : this.all;
  }

  /** Those that are open, in the order of their ranges. */
  get all(): readonly OpenTablet[] {
    return [...this.#open.values()];
  }

  /** The keys that a group owns; undefined: all. */
  rangeOf(group: number): TabletRange | undefined {
    const map = this.#firstMap;
    const tablet = map?.byId(group);
    if (!map || !tablet) return undefined;
    const range = new TabletRange(map.by, tablet);
    return range.isEverything ? undefined : range;
  }

  /** The tablet with this id, or with 0 the only one. Undefined: it is not here, or there are several. */
  get(id: number): OpenTablet | undefined {
    if (id !== 0) return this.#open.get(id);
    return this.#placement?.tablets === 1 ? this.#open.get(FIRST_TABLET) : undefined;
  }

  leads(id: number): boolean {
    return this.get(id)?.group.replica.role === 'leader';
  }

  /** The tablet that owns all these keys; 0: they have several, or there is none yet. */
  ownerOf(keys: Iterable<Uint8Array>): number {
    if (this.#placement?.tablets === 1) return FIRST_TABLET;
    let owner = 0;
    for (const key of keys) {
      const id = this.map?.ownerOf(key)?.id ?? 0;
      if (owner !== 0 && owner !== id) return 0;
      owner = id;
    }
    return owner;
  }

  /** The tablets of which no leader is known. */
  get leaderless(): readonly number[] {
    return this.all.filter(({ group }) => group.replica.leader === 0).map(({ tablet }) => tablet.id);
  }

  /** How many watchers are told changes. */
  get watchers(): number {
    return this.all.reduce((sum, { watches }) => sum + (watches?.size ?? 0), 0);
  }

  get fellBehind(): number {
    return this.all.reduce((sum, { watches }) => sum + (watches?.fellBehind ?? 0), 0);
  }

  get historyBytes(): number {
    return this.histories.usedBytes;
  }

  /** All tablets of the placement take part here. */
  get isOpen(): boolean {
    return this.#placement !== undefined && this.#open.size === this.#placement.tablets;
  }

  /** Makes the groups durable that the Raft log does not hold yet: a crash may have left some out. */
  async create({ placement, founders, incarnation }: BirthState): Promise<void> {
    const { config } = this.#parts;
    const store = this.#parts.store();
    const missing = firstGroups(placement).filter((id) => store.incarnationOf(id) === undefined);
    await Promise.all(missing.map((id) => store.createGroup(id, firstBaseOf(config, founders), incarnation)));
  }

  /** Takes part in all groups, one after the other. Rejects as the store does. */
  async open(placement: Placement, restarted: boolean, promisedMs: number): Promise<void> {
    const { env, metrics } = this.#parts;
    this.#placement = placement;
    this.#firstMap = new TabletMap(placement.by, firstTablets(placement));
    if (this.clusterGroupId === META_GROUP) await this.#openMeta(restarted, promisedMs);
    for (const tablet of this.#firstMap.tablets) {
      const group = await this.#parts.store().openGroup(tablet.id, { restarted, promisedMs });
      const { replica, stateMachine } = group;
      const expirer = new Expirer({
        ...{ ...env, replica, stateMachine },
        onFault: (error) => this.report('READ_FAILED', error),
      });
      const log = metrics?.measuredLog(replica) ?? replica;
      const watches = watchesOf({ env, replica, stateMachine, removed: this.#parts.removed });
      this.#open.set(tablet.id, { tablet, group, expirer, replica: log, stateMachine, watches });
    }
  }

  async #openMeta(restarted: boolean, promisedMs: number): Promise<void> {
    const group = await this.#parts.store().openGroup(META_GROUP, { restarted, promisedMs });
    const { stateMachine } = group;
    if (!(stateMachine instanceof MetaMachine)) throw new TypeError('group 0 is not meta');
    this.#meta = { tablet: { id: META_GROUP }, group, state: stateMachine.state };
  }

  /** The role of this node in a group has changed. */
  statusChanged(group: number): void {
    this.#open.get(group)?.expirer.statusChanged();
  }

  /** A fault of this node for its log, once a minute. */
  report(code: string, error: unknown): void {
    const message = errorMessage(error);
    if (this.#faults.isDue(`${code} ${message}`))
      this.#parts.logger.error({ code, cause: errorCode(error) }, message);
  }

  close(): void {
    for (const { expirer } of this.#open.values()) expirer.close();
  }
}
