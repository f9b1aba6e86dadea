/**
 * The tablets of this node: one group for each part of the keys, and what each needs besides. A cluster with several
 * has meta too, the group that keeps the map (meta/); one that began with one tablet gets it later (map-birth.ts).
 * Until meta has it, the map is that of the birth; of tablets that were split here, the state of the tablets themselves
 * says more than both.
 */
import type { Env, Logger, Timer } from '../env/env.js';
import { errorCode, errorMessage, RaftreeError } from '../env/errors.js';
import { OnceAMinute } from '../env/once-a-minute.js';
import { Expirer } from '../kv/expirer.js';
import type { KvStateMachine, TabletOwner } from '../kv/kv-state-machine.js';
import { isMerge, parentsOf, placedIn, type TabletChange } from '../kv/lineage.js';
import type { ServedTablet } from '../kv/service.js';
import { TabletLoad } from '../kv/tablet-load.js';
import type { HistoryBudget } from '../kv/watch/history-budget.js';
import { MetaMachine } from '../meta/meta-machine.js';
import type { MetaState } from '../meta/meta-state.js';
import {
  clusterGroupOf,
  FIRST_TABLET,
  firstReplicas,
  firstTablets,
  META_GROUP,
  ONE_TABLET,
  type Placement,
  type Tablet,
} from '../placement/placement.js';
import { overlap, TabletMap } from '../placement/tablet-map.js';
import { membersOf } from '../raft/configuration.js';
import type { GroupStart } from '../store/store.js';
import type { BirthState } from './birth.js';
import type { NodeConfig } from './config.js';
import { EMPTY_BASE, firstBaseOf, firstTabletBase, type KvGroup, type KvStore } from './kv-group.js';
import { type LocalReplica, type LocalReplicas, rangeOf } from './local-replicas.js';
import type { NodeMetrics } from './metrics.js';
import { historyBudget, watchesOf } from './watching.js';

export interface TabletSetParts {
  readonly env: Env;
  readonly config: NodeConfig;
  readonly logger: Logger;
  readonly metrics: NodeMetrics | undefined;
  readonly store: () => KvStore;
  /** Takes the children of a split or a merge into the map of the cluster; may be repeated. */
  readonly publish: (change: TabletChange) => Promise<void>;
  readonly isPublished: (change: TabletChange) => boolean;
  readonly local: () => LocalReplicas;
  /** `allMatchedOf` at another node. */
  readonly askAllMatched: (node: number, tablet: number) => Promise<number>;
  /** A replica is not here any more. */
  readonly forgotten: (tablet: number) => void;
  /** If this node was removed from its cluster: the message that says so. */
  readonly removed: () => string | undefined;
  /** Meta is open, in a cluster that had none when this node opened its tablets. */
  readonly metaBegan: () => void;
}

/** A tablet that takes part. */
export interface OpenTablet extends ServedTablet {
  readonly tablet: Tablet;
  readonly group: KvGroup;
  readonly stateMachine: KvStateMachine;
  readonly expirer: Expirer;
  readonly load: TabletLoad;
  /** Its log began behind this entry when it was opened. */
  readonly logBeganAt: number;
  /** It may lack what its tablet had when it moved here. */
  isNew?: boolean;
}

/** Children whose parent led here campaign so often, once in a heartbeat. */
const CAMPAIGNS = 20;
const REVIEW_ENDED_MS = 1000;
/** After children of a split could not be opened. */
const REOPEN_MS = 1000;

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
  /** In a cluster that began with one tablet: its members are those of meta by now. */
  #isMapped = false;
  #incarnation = '';
  /** Replicas are made and removed one after the other. */
  #changes: Promise<void> = Promise.resolve();
  #meta: OpenMeta | undefined;
  /** The map with what the tablets themselves say, and the map that it was made of. */
  #known: { readonly of: TabletMap; readonly map: TabletMap } | undefined;
  /** Since the start of the process: tablets here that were split, and replicas that came and went. */
  readonly counts = { splits: 0, replicasAdded: 0, replicasRemoved: 0 };
  /** Tablets here that were split, or came from a split. */
  #splits = 0;
  #isOpen = false;
  #isClosed = false;
  #opening: Promise<void> = Promise.resolve();
  #review: Timer | undefined;

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
    const of = this.#meta?.state.map ?? this.#firstMap;
    if (!of || !this.#hasSplits) return of;
    if (this.#known?.of !== of) {
      const own = [...this.#open.values()].flatMap(
        ({ tablet, stateMachine: { endedBy } }) => endedBy?.children ?? tablet,
      );
      this.#known = { of, map: of.with(own) };
    }
    return this.#known.map;
  }

  /** Some tablet was split, and what this node has heard of the map may be older than that. */
  get #hasSplits(): boolean {
    return this.#open.size > 0 && this.#splits > 0;
  }

  /** Undefined in a cluster that keeps no map, and before it is open. */
  get meta(): OpenMeta | undefined {
    return this.#meta;
  }

  /** Meta exists here, if perhaps not open yet. It does before the entry that makes it counts as applied. */
  get keepsMap(): boolean {
    return this.#parts.store().storedGroups.includes(META_GROUP);
  }

  /** The group whose members are those of the cluster. */
  get clusterGroupId(): number {
    return this.#isMapped ? META_GROUP : clusterGroupOf(this.#placement ?? ONE_TABLET);
  }

  get clusterGroup(): KvGroup | undefined {
    if (!this.#placement) return undefined;
    const store = this.#parts.store();
    // While meta is being opened, the first tablet still says who belongs to the cluster.
    return store.group(this.clusterGroupId) ?? (this.#isMapped ? store.group(FIRST_TABLET) : undefined);
  }

  /** The tablets, and meta. */
  get groups(): readonly (OpenMeta | OpenTablet)[] {
    return this.#meta ? [this.#meta, ...this.#open.values()] : this.all;
  }

  /** Those that are open, in no order, also those that have ended. */
  get here(): Iterable<OpenTablet> {
    return this.#open.values();
  }

  /** Those that go on, in the order of their ranges. */
  get all(): readonly OpenTablet[] {
    const all = [...this.#open.values()];
    return this.#splits === 0 ? all : all.filter(({ stateMachine }) => !stateMachine.endedBy).sort(byStart);
  }

  /** Those that have ended, and that other members may still need. */
  get ended(): readonly OpenTablet[] {
    return this.#splits === 0
      ? []
      : [...this.#open.values()].filter(({ stateMachine }) => stateMachine.endedBy);
  }

  ownerOfGroup(id: number): TabletOwner | undefined {
    const placement = this.#placement;
    const inMap = this.#firstMap?.byId(id) ?? this.#meta?.state.map?.byId(id);
    // A node that starts again may not have the map that named the tablet, or one that names it no more.
    const born = inMap ?? this.#parts.local().tabletOf(id);
    return placement && { id, by: placement.by, born };
  }

  /** The tablet with this id, or with 0 the only one. Undefined: it is not here, or there are several. */
  get(id: number): OpenTablet | undefined {
    if (id !== 0) return this.#open.get(id);
    if (this.#isUndivided) return this.#open.get(FIRST_TABLET);
    const [only, ...others] = this.map?.tablets ?? [];
    return only && others.length === 0 ? this.#open.get(only.id) : undefined;
  }

  /**
   * Whoever asks for keys is answered by it. A replica that moves here lacks some of them until it votes: a stale read
   * would show what was there long ago, or nothing, also after the replica that was here before had shown more.
   */
  served(id: number): OpenTablet | undefined {
    const open = this.get(id);
    if (open?.isNew) {
      const { configuration } = open.group.replica;
      open.isNew = !configuration.voters.includes(this.#parts.config.nodeId);
    }
    return open?.isNew ? undefined : open;
  }

  get leadsCluster(): boolean {
    return this.clusterGroup?.replica.role === 'leader';
  }

  has(id: number): boolean {
    return this.get(id) !== undefined;
  }

  leads(id: number): boolean {
    return this.get(id)?.group.replica.role === 'leader';
  }

  /** The tablet that owns all these keys; 0: they have several, or there is none yet. */
  ownerOf(keys: Iterable<Uint8Array>): number {
    if (this.#isUndivided) return FIRST_TABLET;
    let owner = 0;
    for (const key of keys) {
      const id = this.map?.ownerOf(key)?.id ?? 0;
      if (owner !== 0 && owner !== id) return 0;
      owner = id;
    }
    return owner;
  }

  /** As it began, the first tablet has all keys. */
  get #isUndivided(): boolean {
    if (this.#placement?.tablets !== 1) return false;
    return !this.#meta || this.map?.byId(FIRST_TABLET) !== undefined;
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

  /** All tablets take part that this node holds. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Makes the groups durable that the Raft log does not hold yet: a crash may have left some out. */
  async create({ placement, founders, incarnation }: BirthState): Promise<void> {
    const { config } = this.#parts;
    const store = this.#parts.store();
    const bases = new Map([[clusterGroupOf(placement), firstBaseOf(config, founders)]]);
    if (clusterGroupOf(placement) === META_GROUP) {
      // Of a node that joins: none.
      const { replicas } = firstReplicas(
        placement,
        founders.map(({ id }) => id),
      );
      const own = [...replicas].flatMap(([tablet, placed]) => {
        const replica = placed.find(({ node }) => node === config.nodeId);
        if (replica) bases.set(tablet, firstTabletBase(placed));
        return replica ? [{ tablet, replicaId: replica.replicaId, sinceVersion: 0 }] : [];
      });
      this.#parts.local().add(own);
    }
    const missing = [...bases].filter(([id]) => store.incarnationOf(id) === undefined);
    await Promise.all(missing.map(([id, base]) => store.createGroup(id, base, incarnation)));
  }

  /** Takes part in all groups, one after the other. Rejects as the store does. */
  async open({ placement, incarnation }: BirthState, restarted: boolean, promisedMs: number): Promise<void> {
    const store = this.#parts.store();
    this.#placement = placement;
    this.#incarnation = incarnation;
    this.#firstMap = new TabletMap(placement.by, firstTablets(placement));
    this.#isMapped = placement.tablets === 1 && store.storedGroups.includes(META_GROUP);
    // Before anything is opened: what follows from a tablet is being made then.
    store.removeUnnamed();
    if (this.clusterGroupId === META_GROUP) await this.#openMeta({ restarted, promisedMs });
    const start = { restarted, promisedMs };
    // To open one that has ended may bring its children.
    for (let id = this.#unopened; id !== undefined; id = this.#unopened) await this.#openOne(id, start);
    // The last thing before a crash may have been to make it.
    if (!this.#meta && store.storedGroups.includes(META_GROUP)) await this.#openMeta({ restarted: false });
    await this.#giveUpUnused();
    // Those that are open work already: one may have been split meanwhile. From here on its parts open by themselves.
    for (let id = this.#unopened; id !== undefined; id = this.#unopened) await this.#openOne(id, start);
    this.#isOpen = true;
    this.#reviewEnded();
    this.reconcile();
  }

  /** The first tablet that is stored here and not open. */
  get #unopened(): number | undefined {
    const [first] = this.#parts
      .store()
      .storedGroups.filter((id) => id !== META_GROUP && !this.#open.has(id))
      .sort((a, b) => a - b);
    return first;
  }

  /** The map may have changed: replicas that are no members any more go. */
  reconcile(): void {
    const { meta } = this;
    if (!meta || !this.#isOpen) return;
    for (const id of new Set([...this.#parts.local().tablets, FIRST_TABLET])) {
      if (!this.#isOutdated(id, meta)) continue;
      void this.#inTurn(async () => {
        if (this.#isOutdated(id, meta)) await this.#giveUp(id);
      }).catch((error: unknown) => this.report('REPLICA_NOT_REMOVED', error));
    }
  }

  /**
   * Whether the map has given up the replica here. A map that is older than the order that made the replica says
   * nothing about it: after a crash this node may have applied less of the map than before.
   */
  #isOutdated(id: number, { state, group }: OpenMeta): boolean {
    const own = this.#parts.local().of(id) ?? this.#firstReplica(id);
    const descriptor = state.tablets.get(id);
    if (!own || group.stateMachine.appliedIndex < own.sinceVersion) return false;
    if (!descriptor) return this.#isPassed(id, state);
    const intent = state.intents.get(id);
    if (intent?.type === 'move' && intent.add?.replicaId === own.replicaId) return false;
    return descriptor.replicas.every(({ replicaId }) => replicaId !== own.replicaId);
  }

  /**
   * The tablet has ended while this node was away, and what came of it is all elsewhere: nobody is left to tell it so,
   * and nothing here is needed. If the map names a part here that is not, this tablet has to make it. It may need a
   * neighbour for that, which it was merged with: so neither goes while the other has something to make.
   */
  #isPassed(id: number, state: MetaState): boolean {
    const { tablet } = this.#open.get(id) ?? {};
    // A map with a gap, as of a record that this version cannot read, says nothing.
    if (!state.map?.isComplete || !tablet || this.#isFollowed(id)) return false;
    const neighbours = [...this.#open.values()]
      .map((each) => each.tablet)
      .filter((each) => touch(each, tablet) && !state.tablets.has(each.id) && !this.#hasFollowers(each.id));
    return [tablet, ...neighbours].every((each) => this.#isElsewhere(each, state));
  }

  /** Of a tablet that has ended: no part of it has to be made here. */
  #isElsewhere(tablet: Tablet, { map, tablets }: MetaState): boolean {
    const { nodeId } = this.#parts.config;
    const parts = map?.tablets.filter((each) => overlap(each, tablet)) ?? [];
    return parts.every(({ id: part, generation }) => {
      if (generation <= tablet.generation) return false;
      const replicas = tablets.get(part)?.replicas ?? [];
      const isHere = ({ replicaId }: { replicaId: number }) => replicaId === this.#parts.local().idOf(part);
      return replicas.every((each) => each.node !== nodeId || isHere(each));
    });
  }

  /**
   * What came of it was made here, and it goes when others have that, too. The right one of two that were merged knows
   * that by the left one: without that it is of no use.
   */
  #isFollowed(id: number): boolean {
    if (!this.#hasFollowers(id)) return false;
    return [...this.#open.values()].some(({ tablet, stateMachine: { endedBy } }) => {
      if (!endedBy) return false;
      return tablet.id === id || parentsOf(endedBy).some((parent) => parent.id === id);
    });
  }

  /** It has ended, and what came of it was made here. */
  #hasFollowers(id: number): boolean {
    return this.#parts.store().isRetired(id);
  }

  /** Tablets here that this one came from, and that do not know it yet. */
  #olderThan(tablet: number, { tablets }: MetaState): readonly number[] {
    const wanted = tablets.get(tablet);
    return [...this.#open.values()]
      .filter(
        ({ tablet: each }) =>
          wanted &&
          !this.#hasFollowers(each.id) &&
          each.generation < wanted.generation &&
          overlap(each, wanted),
      )
      .map((each) => each.tablet.id);
  }

  /** The state of a group is opened. That of a part of a tablet says which replica this node has of it. */
  stateOpened(id: number, { begunBy }: KvStateMachine): void {
    const local = this.#parts.local();
    const { nodeId } = this.#parts.config;
    const own = begunBy && placedIn(begunBy, id).find(({ node }) => node === nodeId);
    if (!own || local.idOf(id) !== 0 || local.wasRemoved(own.replicaId)) return;
    local.add([{ tablet: id, replicaId: own.replicaId, sinceVersion: 0 }]);
  }

  /** Of the replica here; 0: there is none, or it has none. */
  replicaIdOf(id: number): number {
    return this.#parts.local().idOf(id) || this.firstIdOf(id, this.#parts.config.nodeId);
  }

  /**
   * The id that the map has given to a replica which was there before the map began: the log of the tablet does not
   * name it. 0: that node had none then. Who holds the tablet knows with which members the map began.
   */
  firstIdOf(id: number, node: number): number {
    const { companion } = this.#open.get(id)?.stateMachine ?? {};
    if (!companion || !this.#placement) return 0;
    const { replicas } = firstReplicas(this.#placement, membersOf(companion.configuration));
    return replicas.get(id)?.find((each) => each.node === node)?.replicaId ?? 0;
  }

  /** The replica here, if it was there before the map. */
  #firstReplica(id: number): LocalReplica | undefined {
    const replicaId = this.firstIdOf(id, this.#parts.config.nodeId);
    return replicaId === 0 ? undefined : { replicaId, sinceVersion: 0 };
  }

  /** In messages: of a replica of the only tablet that was there before the map; 0: of another one. */
  firstNumberOf(id: number): number {
    return id === FIRST_TABLET && this.#placement?.tablets === 1 ? id : 0;
  }

  /** Whether a member may not have begun this part of a tablet yet. Only its leader knows. */
  lacks(id: number, node: number): boolean {
    const { stateMachine, group } = this.#open.get(id) ?? {};
    const change = stateMachine?.begunBy;
    // What it came from stays until all have it.
    if (!change || !group || !parentsOf(change).some((parent) => this.#open.has(parent.id))) return false;
    return node !== this.#parts.config.nodeId && group.replica.matchIndexOf(node) <= change.index;
  }

  /**
   * Makes the replica that an intent of the map names. Done already: nothing happens. `sinceVersion`: the version of
   * the intent, which this node has applied. Rejects with `ORDER_OUTDATED` for a replica that was here before.
   */
  createReplica(tablet: number, replicaId: number, sinceVersion: number): Promise<void> {
    return this.#inTurn(async () => {
      const local = this.#parts.local();
      const { meta } = this;
      if (local.idOf(tablet) === replicaId) {
        // Otherwise the disk did not let it be made to the end, and it has taken part in nothing.
        if (this.#open.has(tablet)) return;
      } else {
        if (meta && this.#isOutdated(tablet, meta)) await this.#giveUp(tablet);
        for (const older of meta ? this.#olderThan(tablet, meta.state) : []) {
          if (meta && this.#isOutdated(older, meta)) await this.#giveUp(older);
          else
            throw new RaftreeError('CHANGE_PENDING', `tablet ${older} here has to end first`, {
              info: { outcome: 'notCommitted' },
            });
        }
        if (this.replicaIdOf(tablet) !== 0 || local.wasRemoved(replicaId))
          throw new RaftreeError(
            'ORDER_OUTDATED',
            `replica ${replicaId} of tablet ${tablet} was here before`,
            {
              info: { outcome: 'notCommitted' },
            },
          );
        const known = meta?.state.tablets.get(tablet);
        local.add([{ tablet, replicaId, sinceVersion, ...(known ? { range: rangeOf(known) } : {}) }]);
      }
      const store = this.#parts.store();
      if (store.storedGroups.includes(tablet)) await store.removeGroup(tablet);
      await store.createGroup(tablet, EMPTY_BASE, this.#incarnation, true);
      await this.#openOne(tablet, { restarted: false });
      this.counts.replicasAdded++;
    });
  }

  /** A replica that is no member goes. */
  async #giveUp(id: number): Promise<void> {
    this.counts.replicasRemoved++;
    const { store, logger } = this.#parts;
    logger.info(
      { tablet: id, replica: this.replicaIdOf(id) },
      'this replica is no member any more: it is removed',
    );
    const { expirer, watches } = this.#open.get(id) ?? {};
    this.#forget(id, this.#firstReplica(id) ? this.firstNumberOf(id) : 0);
    expirer?.close();
    watches?.close({
      type: 'ended',
      code: 'WRONG_TABLET',
      message: `tablet ${id} has moved to another node`,
    });
    await store().removeGroup(id);
  }

  /** Recorded durably before anything of it goes: what a crash leaves of it is never opened again. */
  #forget(id: number, number = 0): void {
    const { local, forgotten } = this.#parts;
    local().remove(id, number);
    this.#open.delete(id);
    this.#known = undefined;
    forgotten(id);
  }

  /** What a crash has left unfinished, before anything is opened. Rejects as the store does. */
  async finishChanges(incarnation: string): Promise<void> {
    const store = this.#parts.store();
    const local = this.#parts.local();
    for (const id of store.storedGroups)
      if (id !== META_GROUP && local.idOf(id) === 0 && local.removed.some(({ tablet }) => tablet === id))
        await store.removeGroup(id);
    for (const id of local.tablets)
      if (!store.storedGroups.includes(id) && (local.of(id)?.sinceVersion ?? 0) > 0)
        await store.createGroup(id, EMPTY_BASE, incarnation, true);
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#changes.then(() => (this.#isClosed ? undefined : work()));
    this.#changes = done.catch(() => {});
    return done;
  }

  async #openOne(id: number, start: GroupStart, parents: readonly OpenTablet[] = []): Promise<void> {
    const { env, metrics } = this.#parts;
    const group = await this.#parts.store().openGroup(id, start);
    const { replica, stateMachine } = group;
    const { tablet } = stateMachine;
    if (!tablet)
      throw new RaftreeError('CORRUPTION', `the state of tablet ${id} does not say which keys it owns`);
    const expirer = new Expirer({
      ...{ ...env, replica, stateMachine },
      onFault: (error) => {
        this.report('READ_FAILED', error);
        replica.yieldLeadership();
      },
    });
    const { history, range, endedBy } = stateMachine;
    const before = parents.flatMap((parent) => parent.stateMachine.history ?? []);
    if (before.length > 0) history?.follow(before, (key) => range?.owns(key) ?? true);
    if (endedBy) expirer.close();
    const log = metrics?.measuredLog(replica) ?? replica;
    const watches = watchesOf({ env, replica, stateMachine, removed: this.#parts.removed });
    const load = new TabletLoad(env.random, this.#placement?.by ?? 'range');
    const opened = { tablet, group, expirer, replica: log, stateMachine, watches, load };
    const isNew = (this.#parts.local().of(id)?.sinceVersion ?? 0) > 0;
    this.#open.set(id, { ...opened, logBeganAt: replica.baseIndex, isNew });
    if (stateMachine.endedBy ?? stateMachine.begunBy) this.#splits++;
    this.#known = undefined;
    this.#endAbsorbed();
  }

  /** The right one of two tablets that were merged: only the state of the left one says so. */
  #endAbsorbed(): void {
    if (this.#splits === 0) return;
    for (const { tablet, stateMachine } of this.#open.values()) {
      const { endedBy } = stateMachine;
      if (!endedBy || !isMerge(endedBy) || endedBy.parents[0].id !== tablet.id) continue;
      const right = this.#open.get(endedBy.parents[1].id)?.stateMachine;
      if (!right || right.endedBy || !this.#hasFollowers(tablet.id)) continue;
      right.endBy(endedBy);
      this.#known = undefined;
    }
  }

  /** A tablet has ended, and these begin. While the node opens its tablets, `open` does the rest. */
  succeeded(parent: number, children: readonly number[]): void {
    this.#splits++;
    this.#known = undefined;
    if (this.#isOpen) this.counts.splits++;
    if (this.#isOpen) this.#openLater(parent, children);
  }

  #openLater(parent: number, children: readonly number[]): void {
    this.#opening = this.#opening
      .then(() => this.#openChildren(parent, children))
      .catch((error: unknown) => {
        if (this.#isClosed) return;
        this.report('SPLIT_FAILED', error);
        // The disk may have refused a read: they are opened when it does not.
        this.#parts.env.timers.after(REOPEN_MS, () => this.#openLater(parent, children));
      });
  }

  async #openChildren(parent: number, children: readonly number[]): Promise<void> {
    this.#endAbsorbed();
    const { endedBy } = this.#open.get(parent)?.stateMachine ?? {};
    const ended = (endedBy ? parentsOf(endedBy) : []).flatMap(({ id }) => this.#open.get(id) ?? []);
    try {
      for (const id of children) {
        if (this.#isClosed) return;
        // It is new: it has promised nobody anything.
        if (!this.#open.has(id)) await this.#openOne(id, { restarted: false }, ended);
      }
    } finally {
      // Where the disk does not let it open them, who watches asks other nodes.
      if (!this.#isClosed) tellEnd(ended, endedBy);
    }
    if (this.#isClosed) return;
    if (this.#open.get(parent)?.group.replica.role === 'leader') this.#campaign(children, CAMPAIGNS);
    this.#reviewEnded();
    this.reconcile();
  }

  /** Where the group led that they came from. Other members may not have them yet, so it is tried a few times. */
  #campaign(groups: readonly number[], left: number): void {
    const { env, config, store } = this.#parts;
    const leaderless = groups.filter((id) => store().group(id)?.replica.leader === 0);
    if (this.#isClosed || leaderless.length === 0 || left === 0) return;
    for (const id of leaderless) store().group(id)?.replica.campaign();
    env.timers.after(config.raft.heartbeatMs, () => this.#campaign(leaderless, left - 1));
  }

  /** A tablet that has ended goes when every member has its children. */
  #reviewEnded(): void {
    if (this.#review || this.#isClosed || this.ended.length === 0) return;
    this.#review = this.#parts.env.timers.after(REVIEW_ENDED_MS, () => {
      this.#review = undefined;
      this.#endAbsorbed();
      void Promise.all(this.ended.map((ended) => this.#removeIfUnneeded(ended)))
        .catch((error: unknown) => this.report('SPLIT_FAILED', error))
        .then(() => this.#reviewEnded());
    });
  }

  /**
   * A member that stores an entry of a child has made its children. All of them have, when they hold one behind those
   * with which the child began. And the map must not name the parent any more.
   */
  async #removeIfUnneeded(ended: OpenTablet): Promise<void> {
    const { tablet, stateMachine } = ended;
    const { endedBy } = stateMachine;
    // Its state may say that it has ended, and the disk not have let it make its children: a restart does.
    if (!endedBy || !this.#parts.store().isRetired(tablet.id)) return;
    // Whoever leads a child: the leader of the parent may have died before it was done.
    if (!this.#parts.isPublished(endedBy)) {
      if (endedBy.children.some(({ id }) => this.leads(id)))
        this.#parts.publish(endedBy).catch((error: unknown) => this.report('MAP', error));
      return;
    }
    // What the left one knows is needed until the right one has gone.
    const isLeft = isMerge(endedBy) && endedBy.parents[0].id === tablet.id;
    if (isLeft && this.#isStored(endedBy.parents[1].id)) return;
    for (const { id } of endedBy.children) {
      // One that is not here was split, too, or has moved, and has gone since.
      const isHeld = this.#open.has(id)
        ? (await this.#askAllMatched(id)) > endedBy.index
        : !this.#isStored(id);
      if (!isHeld) return;
    }
    if (!this.#isClosed && this.#open.get(tablet.id) === ended) await this.#remove(ended);
  }

  #isStored(id: number): boolean {
    return this.#parts.store().storedGroups.includes(id);
  }

  /** The leader knows; the others hear of it with entries, and there may be none for long. 0: not known now. */
  async #askAllMatched(id: number): Promise<number> {
    const { role, leader } = this.#open.get(id)?.group.replica ?? { leader: 0 };
    if (leader === 0 || role === 'leader') return this.allMatchedOf(id);
    return this.#parts.askAllMatched(leader, id).catch(() => 0);
  }

  /**
   * Each member holds the log of this tablet up to here, if this node leads it, and has heard so of all since it was
   * opened. Otherwise 0.
   */
  allMatchedOf(id: number): number {
    const opened = this.#open.get(id);
    if (opened?.group.replica.role !== 'leader') return 0;
    const { allMatchedIndex } = opened.group.replica;
    return allMatchedIndex > opened.logBeganAt ? allMatchedIndex : 0;
  }

  async #remove({ tablet: { id }, watches }: OpenTablet): Promise<void> {
    this.#forget(id);
    // The children tell slow watchers the rest: they have the history of it.
    watches?.close({ type: 'ended', code: 'WRONG_TABLET', message: `tablet ${id} has ended` });
    await this.#parts.store().removeGroup(id);
    this.#parts.logger.info(
      { tablet: id },
      `tablet ${id} has ended, and all members have what came of it: it is removed`,
    );
  }

  /** It is not one of the tablets that this node knows, or not any more. */
  isPast(id: number): boolean {
    return id !== META_GROUP && this.map !== undefined && this.map.byId(id) === undefined;
  }

  /** Meta has begun here. While the node opens its tablets, `open` does the rest. */
  accompanied(): void {
    if (!this.#isOpen) return;
    this.#opening = this.#opening
      .then(() => this.#beginMeta())
      .catch((error: unknown) => {
        if (this.#isClosed) return;
        this.report('MAP', error);
        this.#parts.env.timers.after(REOPEN_MS, () => this.accompanied());
      });
  }

  async #beginMeta(): Promise<void> {
    if (this.#isClosed || this.#meta) return;
    await this.#openMeta({ restarted: false });
    if (this.#isClosed) return;
    this.#parts.metaBegan();
    if (this.#open.get(FIRST_TABLET)?.group.replica.role === 'leader')
      this.#campaign([META_GROUP], CAMPAIGNS);
  }

  /**
   * This node has joined a cluster that keeps a map: it holds meta, and no tablet before one is moved to it. It was
   * ready to hold the only tablet, and has nothing of it.
   */
  joinMap(): Promise<void> {
    return this.#inTurn(async () => {
      const store = this.#parts.store();
      if (!store.storedGroups.includes(META_GROUP))
        await store.createGroup(META_GROUP, EMPTY_BASE, this.#incarnation);
      await this.#beginMeta();
      await this.#giveUpUnused();
    });
  }

  /** Of a node that joined: its replica of the first tablet never got an entry. Who has promised a map has some. */
  async #giveUpUnused(): Promise<void> {
    const replica = this.#open.get(FIRST_TABLET)?.group.replica;
    const isUnused = replica?.lastIndex === 0 && this.#parts.local().idOf(FIRST_TABLET) === 0;
    if (this.#isMapped && isUnused) await this.#giveUp(FIRST_TABLET);
  }

  async #openMeta(start: GroupStart): Promise<void> {
    this.#isMapped = this.#placement?.tablets === 1;
    const group = await this.#parts.store().openGroup(META_GROUP, start);
    const { stateMachine } = group;
    if (!(stateMachine instanceof MetaMachine)) throw new TypeError('group 0 is not meta');
    this.#meta = { tablet: { id: META_GROUP }, group, state: stateMachine.state };
    stateMachine.onChange = () => this.reconcile();
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
    this.#isClosed = true;
    this.#review?.cancel();
    for (const { expirer } of this.#open.values()) expirer.close();
  }
}

/** Who watches is told all, and goes on in what came of them. */
function tellEnd(ended: readonly OpenTablet[], endedBy: TabletChange | undefined): void {
  for (const { tablet, expirer, watches } of ended) {
    expirer.close();
    const message = `tablet ${tablet.id} has ended: others have its keys`;
    // Who was told all goes on behind the entries of both: a merge may skip some.
    const goesOn = endedBy && isMerge(endedBy) ? { fromVersion: endedBy.index + 1 } : {};
    watches?.retire({ type: 'ended', code: 'WRONG_TABLET', message, ...goesOn });
  }
}

/** They lie side by side. */
function touch(one: Tablet, other: Tablet): boolean {
  const ends = ({ end }: Tablet, { start }: Tablet) => end !== undefined && Buffer.compare(end, start) === 0;
  return ends(one, other) || ends(other, one);
}

function byStart({ tablet: one }: OpenTablet, { tablet: other }: OpenTablet): number {
  return Buffer.compare(one.start, other.start);
}
