/**
 * What requests over HTTP and RESP are carried out by: this node, where it can answer, else the client library inside
 * it, which speaks the binary protocol with the node that leads. That protocol passes nothing on, so no request can go
 * in circles.
 *
 *     read at level stale or follower      this node
 *     any other read, a write              this node if it leads the tablet, else passed on
 *
 * A write here is proposed once, without a session: nobody repeats it. One that is passed on goes through the session
 * of the client library, which may repeat it: it is applied once.
 */
import type { RaftreeClient } from '../client/client.js';
import { RaftreeClientError } from '../client/client-error.js';
import { type MemberChange, type MembersChanged, toMemberChange } from '../client/member-changes.js';
import { type BatchOperation, toOperation } from '../client/operations.js';
import { type BatchResult, batchResult, withinLimits } from '../client/results.js';
import { rangeAfter, type ScanRange } from '../client/scan-range.js';
import { isWrongTablet, type LocatedTablets } from '../client/tablet-cache.js';
import { type ScannedPage, scanTablets } from '../client/tablet-scan.js';
import type { Watch, WatchOptions } from '../client/watch.js';
import type { Outcome } from '../env/errors.js';
import { SPANS_TABLETS } from '../kv/kv-error.js';
import { isLargeWrite } from '../kv/large-writes.js';
import type {
  Caller,
  Consistency,
  Watch as KvWatch,
  LivingKey,
  PageEntry,
  WriteOperation,
} from '../kv/requests.js';
import type { KvService } from '../kv/service.js';
import type { WriteResult } from '../kv/sessions.js';
import { furtherKeys } from '../kv/string-operation.js';
import type { Watcher } from '../kv/watch/watcher.js';
import { FIRST_TABLET } from '../placement/placement.js';
import type { TabletMap } from '../placement/tablet-map.js';
import type { Administration, Balance, BalanceShown } from './ports.js';
import type { WriteLine } from './write-line.js';

/** The tablets of this node. */
export interface BackendTablets {
  /** Undefined before the birth of the cluster. */
  readonly map: TabletMap | undefined;
  leads(tablet: number): boolean;
  /** This node leads the group whose members are those of the cluster. */
  readonly leadsCluster: boolean;
  /** This node has a replica of it. */
  has(tablet: number): boolean;
  /** The tablet that owns all these keys; 0: they have several. */
  ownerOf(keys: Iterable<Uint8Array>): number;
}

export interface BackendParts {
  /** Undefined before the birth of the cluster. */
  readonly service: () => { readonly kv: KvService; readonly admin: Administration } | undefined;
  readonly tablets: BackendTablets;
  /** If this node was removed from its cluster: the message that says so. */
  readonly removed: () => string | undefined;
  /** Connects to the members of the cluster, this node among them. */
  readonly cluster: RaftreeClient;
}

export interface EntriesWanted {
  readonly range: ScanRange;
  readonly limit: number;
  readonly reverse: boolean;
  readonly keysOnly: boolean;
  readonly level: Consistency;
}

type Kind = 'read' | 'write' | 'administration';

/** The methods throw a RaftreeClientError: with the code and outcome of whoever refused. */
export class Backend {
  /** Requests passed on to the node that leads. */
  readonly passedOn: Record<Kind, number> = { read: 0, write: 0, administration: 0 };
  readonly #parts: BackendParts;
  /** Scans that are being answered: the more there are, the smaller their pages. */
  #scans = 0;

  constructor(parts: BackendParts) {
    this.#parts = parts;
  }

  async write(caller: Caller, operations: readonly BatchOperation[], line: WriteLine): Promise<BatchResult> {
    const result = await this.operate(caller, operations.map(toOperation), line);
    return batchResult(withinLimits(result), operations);
  }

  /** A write in the form of kv/, after all writes of the line before it (write-line.ts). */
  async operate(
    caller: Caller,
    operations: readonly WriteOperation[],
    line: WriteLine,
  ): Promise<WriteResult> {
    const { kv } = this.#service();
    const tablet = this.#parts.tablets.ownerOf(keysOf(operations));
    if (tablet === 0) throw new RaftreeClientError('SPANS_TABLETS', SPANS_TABLETS, 'notCommitted');
    return line.begin(tablet, async (place) => {
      if (this.#parts.tablets.leads(tablet) && !line.passesOn(tablet)) {
        const written = kv.write(caller, { type: 'write', tablet, session: undefined, operations });
        if (kv.holdsLargeWrites && isLargeWrite(operations)) line.hold(place);
        const result = await written;
        if (result.type === 'written') return result.write;
        if (!leadsNoMore(result) && !isOfOthers(result)) throw failure(result);
      }
      if (!line.isFirst(place)) await line.first(place);
      this.passedOn.write++;
      const outbound = operations.map((each) => ({ ...each, life: each.life }));
      return line.passOn(place, (lane) => this.#parts.cluster.write(outbound, {}, lane));
    });
  }

  /** The keys apart by their tablets: what is deleted at once has one. */
  byTablet(keys: readonly Buffer[]): readonly (readonly Buffer[])[] {
    const parts = new Map<number, Buffer[]>();
    for (const key of keys) {
      const tablet = this.#parts.tablets.ownerOf([key]);
      const part = parts.get(tablet);
      if (part) part.push(key);
      else parts.set(tablet, [key]);
    }
    return [...parts.values()];
  }

  async get(caller: Caller, key: Uint8Array, level: Consistency): Promise<LivingKey | undefined> {
    const { kv } = this.#service(level);
    const tablet = this.#parts.tablets.ownerOf([key]);
    if (this.#answersHere(level, tablet)) {
      const result = await kv.get(caller, { type: 'get', tablet, consistency: level, key });
      if (result.type === 'found') return result;
      if (result.type === 'absent') return undefined;
      if (!isPassedOn(level, result)) throw failure(result);
    }
    this.passedOn.read++;
    return this.#parts.cluster.get(key, { level });
  }

  /** The tablets, and where they are. */
  tablets(): Promise<LocatedTablets> {
    return this.#parts.cluster.tablets();
  }

  /** The changes of some keys, of one tablet or of several, as any node tells them. */
  watch(options: WatchOptions): Watch {
    return this.#parts.cluster.watch(options);
  }

  /** The entries of a range, in order, as they are asked for. */
  async *entries(caller: Caller, wanted: EntriesWanted): AsyncGenerator<PageEntry> {
    const { range, reverse, keysOnly, level } = wanted;
    let { limit } = wanted;
    let last: Buffer | undefined;
    try {
      for await (const entry of this.#entriesByTablet(caller, wanted)) {
        last = entry.key;
        limit--;
        yield entry;
      }
    } catch (error) {
      if (!isWrongTablet(error)) throw error;
      // A tablet has ended meanwhile: the client library finds out what it has become.
      const { from, to } = last ? rangeAfter(range, last, reverse) : range;
      yield* this.#parts.cluster.scan({ from, ...(to ? { to } : {}), limit, reverse, keysOnly, level });
    }
  }

  /** Throws `WRONG_TABLET` if one that is asked has ended. */
  async *#entriesByTablet(caller: Caller, wanted: EntriesWanted): AsyncGenerator<PageEntry> {
    const { range, limit, reverse } = wanted;
    this.#scans++;
    /** Of each tablet its leader is asked, once this node does not lead it. */
    const passed = new Set<number>();
    try {
      const parts = scanTablets<PageEntry>({
        ...{ range, limit, reverse, pageEntries: PAGE_ENTRIES, readsAhead: false },
        map: () => this.#parts.tablets.map,
        page: (tablet, part, most, share) =>
          this.#page(caller, wanted, { tablet, range: part, most, share, passed }),
        isRefreshed: async () => false,
      });
      for await (const entries of parts) yield* entries;
    } finally {
      this.#scans--;
    }
  }

  async #page(
    caller: Caller,
    { reverse, keysOnly, level }: EntriesWanted,
    page: {
      readonly tablet: number;
      readonly range: ScanRange;
      readonly most: number;
      readonly share: number;
      readonly passed: Set<number>;
    },
  ): Promise<ScannedPage<PageEntry>> {
    const { tablet, range, passed } = page;
    const { kv } = this.#service(level);
    const how = { limit: page.most, reverse, keysOnly };
    if (!passed.has(tablet) && this.#answersHere(level, tablet)) {
      const scan = { type: 'scan', tablet, consistency: level, ...range, ...how } as const;
      const found = (await kv.prepareRead(caller, scan))(page.share / this.#scans);
      if (found.type === 'page') return found;
      const refused = found as Refused;
      if (!isPassedOn(level, refused)) throw failure(refused);
    }
    if (passed.size === 0) this.passedOn.read++;
    passed.add(tablet);
    return this.#parts.cluster.tabletPage(tablet, range, how, { level });
  }

  /** The changes of keys, told by this node. `onReady`: see `KvService.watch`. */
  watchHere(caller: Caller, watch: KvWatch, onReady: () => void): Watcher {
    const watcher = this.#service().kv.watch(caller, watch, onReady);
    if ('code' in watcher) throw failure(watcher);
    return watcher;
  }

  /** The only tablet of a cluster that began with one. Undefined: there may be more, now or later, and elsewhere. */
  get onlyTablet(): number | undefined {
    const [first, ...others] = this.#parts.tablets.map?.tablets ?? [];
    const isFirst = first === undefined || first.id === FIRST_TABLET;
    return isFirst && others.length === 0 ? FIRST_TABLET : undefined;
  }

  /** Calls `tick` about once a second while keys of a tablet are watched. Returns how to end that. */
  everyWatchTick(tablet: number, tick: () => void): () => void {
    return this.#service().kv.everyWatchTick(tablet, tick);
  }

  /** The caller has the right to do this. */
  async changeMembers(change: MemberChange, force: boolean): Promise<MembersChanged> {
    const { admin } = this.#service();
    if (this.#parts.tablets.leadsCluster) {
      const changes = [toMemberChange(change)];
      const result = await admin.handle({ type: 'changeMembers', force, changes });
      if (result.type === 'done') return result;
      if (!leadsNoMore(result)) throw failure(result);
    }
    this.passedOn.administration++;
    return this.#parts.cluster.changeMembers([change], { force });
  }

  /** The caller has the right to do this. Resolves with whether anything was changed. */
  async drainNode(nodeId: number, isDraining: boolean): Promise<boolean> {
    const result = await this.#service().admin.handle({ type: 'drainNode', nodeId, isDraining });
    if (result.type === 'done') return result.changed;
    throw failure(result);
  }

  /** The caller has the right to do this. */
  async balance(action: Balance['action']): Promise<BalanceShown> {
    const result = await this.#service().admin.balance({ type: 'balance', action });
    if (result.type === 'balance') return result;
    throw failure(result);
  }

  /** The caller has the right to do this. */
  async transferLeadership(nodeId: number): Promise<void> {
    const { admin } = this.#service();
    for (const tablet of await this.#tabletsOn(nodeId)) {
      if (this.#parts.tablets.leads(tablet)) {
        const result = await admin.handle({ type: 'transferLeader', tablet, nodeId });
        if (result.type === 'done') continue;
        if (!leadsNoMore(result)) throw failure(result);
      }
      this.passedOn.administration++;
      await this.#parts.cluster.transferLeadership(nodeId, { tablet });
    }
  }

  /** The tablets of which a node has a replica. If there are none, all: who leads them says what is wrong. */
  async #tabletsOn(nodeId: number): Promise<readonly number[]> {
    const all = this.#parts.tablets.map?.tablets ?? [];
    if (all.length < 2) return all.map(({ id }) => id);
    const { tablets } = await this.#parts.cluster.tablets();
    const held = tablets.filter(({ replicas }) => replicas.includes(nodeId));
    return (held.length > 0 ? held : tablets).map(({ id }) => id);
  }

  #answersHere(level: Consistency, tablet: number): boolean {
    return isOfAnyNode(level) ? this.#parts.tablets.has(tablet) : this.#parts.tablets.leads(tablet);
  }

  #service(level?: Consistency) {
    const removed = level === 'stale' ? undefined : this.#parts.removed();
    if (removed !== undefined) throw new RaftreeClientError('NODE_REMOVED', removed, 'notCommitted');
    const service = this.#parts.service();
    if (service) return service;
    const reason = 'this cluster has not begun: not all of its first members have met yet';
    throw new RaftreeClientError('NO_LEADER', reason, 'notCommitted');
  }
}

/** The most entries of one page that is passed on. */
const PAGE_ENTRIES = 1000;

function* keysOf(operations: readonly WriteOperation[]): Generator<Uint8Array> {
  for (const { action, key, value } of operations) {
    yield key;
    if (action === 'modify') yield* furtherKeys(value);
  }
}

function isOfAnyNode(level: Consistency): boolean {
  return level === 'stale' || level === 'follower';
}

interface Refused {
  readonly code: string;
  readonly message: string;
  readonly outcome: Outcome;
}

/** Whether a read is passed on after this node has refused it so. */
function isPassedOn(level: Consistency, refused: Refused): boolean {
  return isOfOthers(refused) || (leadsNoMore(refused) && !isOfAnyNode(level));
}

/** The tablet has ended, or is about to: the client library finds out what it becomes. */
function isOfOthers({ code }: Refused): boolean {
  return code === 'WRONG_TABLET' || code === 'TABLET_FROZEN';
}

/** Nothing was done: another node is to be asked. */
function leadsNoMore({ code, outcome }: Refused): boolean {
  return (
    code === 'NOT_LEADER' ||
    code === 'NO_LEADER' ||
    (code === 'LEADERSHIP_LOST' && outcome === 'notCommitted')
  );
}

function failure({ code, message, outcome }: Refused) {
  return new RaftreeClientError(code, message, outcome);
}
