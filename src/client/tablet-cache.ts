/**
 * What the client knows of the map: which tablets there are, and which owns a key. It begins with nothing, and names
 * tablet 0, the only one of a cluster. Only who is told `WRONG_TABLET` asks for the map, of any node, in pages; all
 * that are told so at a time share one answer.
 */
import { RaftreeError } from '../env/errors.js';
import { HASH_VERSION, hashOfKey, RING_SIZE } from '../placement/partition-key.js';
import { FIRST_TABLET, type PlacementKind, ringPoint, type Tablet } from '../placement/placement.js';
import { TabletMap } from '../placement/tablet-map.js';
import type { MessageOf } from '../protocol/messages.js';
import { Call, CallEnded } from './call.js';
import { RaftreeClientError } from './client-error.js';
import type { CallUser } from './direct-call.js';
import { MetTablets } from './met-tablets.js';
import type { Router, Target } from './router.js';
import { isEmptyRange, isOneKey, type ScanRange, within } from './scan-range.js';
import { unexpected } from './unexpected.js';

/** A tablet, and where it is. */
export interface LocatedTablet extends Tablet {
  /** 0: none is known. */
  readonly leader: number;
  /** Of the replica of who told it. Undefined: it has none, or its engine does not say. */
  readonly sizeBytes: number | undefined;
  /** The nodes that hold it. */
  readonly replicas: readonly number[];
}

export interface LocatedTablets {
  readonly by: PlacementKind;
  /** The nodes of the cluster. One that drains gives its tablets to others. */
  readonly nodes: readonly {
    readonly nodeId: number;
    /** Where clients reach it; empty if that is not known. */
    readonly client: string;
    readonly isDraining: boolean;
  }[];
  readonly tablets: readonly LocatedTablet[];
}

/** A part of a range, and the tablet that owns its keys. */
export interface TabletPart {
  /** 0: the only one of a cluster. */
  readonly tablet: number;
  readonly range: ScanRange;
  readonly by: PlacementKind;
  /** By range, where `range` begins; by hash, the point of the ring where the tablet does, or where the only key is. */
  readonly start: Buffer;
  /** Undefined: it has no end. */
  readonly end: Buffer | undefined;
}

/**
 * The tablets that own keys of a range which is not empty, in order; without a map the only one. By hash each may own
 * any. Undefined: the map does not tell it of all these keys.
 */
export function partsOf(map: TabletMap | undefined, range: ScanRange): readonly TabletPart[] | undefined {
  const everywhere = { start: Buffer.alloc(0), end: undefined };
  if (!map) return [{ tablet: 0, range, by: 'range', ...everywhere }];
  const owner = map.ownerOf(range.from);
  if (isOneKey(range)) return owner && [{ ...partOf(map.by, owner, range), ...placeOf(map.by, range) }];
  if (!map.isComplete) return undefined;
  if (map.by === 'hash') return map.tablets.map((tablet) => partOf(map.by, tablet, range));
  return map.tablets
    .map((tablet) => partOf(map.by, tablet, within(range, tablet)))
    .filter((part) => !isEmptyRange(part.range));
}

function partOf(by: PlacementKind, { id, start, end }: Tablet, range: ScanRange): TabletPart {
  if (by === 'range') return { tablet: id, range, by, start: range.from, end: range.to };
  return { tablet: id, range, by, start: Buffer.from(start), end: end && Buffer.from(end) };
}

/** Where the only key of a range is. */
function placeOf(by: PlacementKind, { from, to }: ScanRange): Pick<TabletPart, 'start' | 'end'> {
  if (by === 'range') return { start: from, end: to };
  const hash = hashOfKey(from);
  return { start: ringPoint(hash), end: hash + 1 < RING_SIZE ? ringPoint(hash + 1) : undefined };
}

/** So many repetitions in a row that wait for nothing. */
const HASTY_REPETITIONS = 1;
/** A map of this age is asked for again before the keys of a batch count as those of several tablets. */
const MAX_AGE_OF_SEVERAL_MS = 1000;
/** How long a node may take to say what it leads. */
const HOLDER_TIMEOUT_MS = 1000;

export class TabletCache {
  readonly #user: CallUser;
  readonly #router: Router;
  #map: TabletMap | undefined;
  readonly #met = new MetTablets();
  #locatedMs = Number.NEGATIVE_INFINITY;
  /** By tablet: of the split that it came from, where one tablet had been all of the cluster. */
  readonly #splitVersions = new Map<number, number>();
  #refreshing: Promise<void> | undefined;
  /** Tells the cluster from others, when the map is known. */
  #fingerprint = 0;

  constructor(user: CallUser, router: Router) {
    this.#user = user;
    this.#router = router;
  }

  /** Undefined: no map was needed yet. */
  get map(): TabletMap | undefined {
    return this.#map;
  }

  get fingerprint(): number {
    return this.#fingerprint;
  }

  /** A version up to this one is a place in the log of the tablet before the split, for the keys of all its parts. */
  splitVersionOf(tablet: number): number {
    return this.#splitVersions.get(tablet) ?? 0;
  }

  /** Whether there are, or were, other tablets than the one with which a cluster begins without a placement. */
  get hasOthers(): boolean {
    const [first, ...others] = this.#map?.tablets ?? [];
    return others.length > 0 || (first !== undefined && first.id !== FIRST_TABLET);
  }

  /**
   * The tablet that owns the key; 0: it is not known, or that of a cluster which began with one, and has it still. That
   * one keeps the number with which the client began: under another one it would have another session, and writes to a
   * key keep their order in one session only.
   */
  ownerOf(key: Uint8Array): number {
    return this.hasOthers ? (this.#map?.ownerOf(key)?.id ?? 0) : 0;
  }

  /**
   * Whether this tablet has what the older one had, which is not in the map any more: its sessions, and those of its
   * keys that lie in this one. Each split and each merge hands all sessions on.
   */
  cameFrom(tablet: number, older: number): boolean {
    const map = this.#map;
    return map?.byId(tablet) !== undefined && !map.byId(older) && this.#met.cameFrom(tablet, older);
  }

  /** Of these: the ones that this tablet was split from, or merged from, last. */
  parentsOf(tablet: number, candidates: Iterable<number>): number[] {
    const ended = [...candidates].filter((older) => !this.#map?.byId(older));
    return this.#met.parentsOf(tablet, ended);
  }

  /** The tablet that owns the keys of all operations; 0: it is not known; undefined: there are several. */
  ownerOfAll(operations: readonly { readonly key: Uint8Array }[]): number | undefined {
    if (!this.#map) return 0;
    const [first] = operations;
    const owner = first ? this.ownerOf(first.key) : 0;
    for (let i = 1; i < operations.length; i++)
      if (this.ownerOf((operations[i] as { key: Uint8Array }).key) !== owner) return undefined;
    return owner;
  }

  /**
   * As `ownerOfAll`, for keys that have several owners, before they are refused: tablets may have been merged since,
   * and nobody tells. Throws as `withMap` does.
   */
  async lateOwnerOfAll(
    call: Call,
    operations: readonly { readonly key: Uint8Array }[],
  ): Promise<number | undefined> {
    const ageMs = this.#user.settings.env.clock.nowMs() - this.#locatedMs;
    if (ageMs >= MAX_AGE_OF_SEVERAL_MS) await this.refresh(call, this.#map, 0);
    return this.ownerOfAll(operations);
  }

  /**
   * Does the work, and again with a newer map when it throws `WRONG_TABLET`: that is never an answer for users. Throws
   * CallEnded, and what the work throws.
   */
  async withMap<Result>(call: Call, work: () => Promise<Result>): Promise<Result> {
    for (let repetitions = 0; ; repetitions++) {
      const used = this.#map;
      try {
        return await work();
      } catch (error) {
        if (!isWrongTablet(error)) throw error;
        call.lastFailure = error;
        // Perhaps by an attempt that was not its own.
        call.reached = true;
        await this.refresh(call, used, repetitions);
      }
    }
  }

  /** Resolves when there is another map than the one used, or at least a younger one. Throws as `withMap` does. */
  async refresh(call: Call, used: TabletMap | undefined, repetitions: number): Promise<void> {
    if (repetitions >= HASTY_REPETITIONS) await call.pause(this.#user.settings.backoffMs * repetitions);
    if (this.#map !== used) return;
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    try {
      await call.race(this.#refreshing);
    } catch (error) {
      if (!(error instanceof RaftreeError)) throw error;
      throw new RaftreeClientError(
        error.code,
        error.message,
        call.uncertain ? 'unknown' : 'notCommitted',
        error,
      );
    }
  }

  /** Asks for the whole map. */
  async locate(call: Call): Promise<LocatedTablets> {
    const located: LocatedTablet[] = [];
    let by: PlacementKind = 'range';
    let nodes: LocatedTablets['nodes'] = [];
    for await (const answer of this.#pages(call, 'any')) {
      by = answer.by;
      this.#fingerprint = answer.fingerprint;
      nodes = answer.nodes.map(({ nodeId, clientAddress: client, isDraining }) => ({
        ...{ nodeId, client, isDraining },
      }));
      const addresses = new Map(nodes.map(({ nodeId, client }) => [nodeId, client]));
      if (answer.tablets.length > 1) this.#router.learnNodes(addresses.values());
      for (const tablet of answer.tablets) {
        const { id, start, end, generation, leaderId, sizeBytes, replicas, splitVersion } = tablet;
        if (splitVersion > 0) this.#splitVersions.set(id, splitVersion);
        // Copies: otherwise the map would keep the received chunks in memory.
        const range = { start: Buffer.from(start), end: end && Buffer.from(end) };
        located.push({ id, ...range, generation, leader: leaderId, sizeBytes, replicas });
        // A node that has a replica knows who leads.
        this.#router.suggestLeader(id, addresses.get(leaderId) ?? addresses.get(replicas[0] ?? 0) ?? '');
      }
    }
    this.#map = this.#map?.by === by ? this.#map.with(located) : new TabletMap(by, located);
    this.#locatedMs = this.#user.settings.env.clock.nowMs();
    const map = this.#map;
    for (const id of this.#met.meet(located, (tablet) => map.byId(tablet) !== undefined)) {
      this.#splitVersions.delete(id);
      this.#router.forgetTablet(id);
    }
    return { by, nodes, tablets: located };
  }

  /** The whole map; of each tablet, what its leader says. Of one that does not say so: what the others know. */
  async locateWithLeaders(call: Call): Promise<LocatedTablets> {
    const located = await this.locate(call);
    const holders = new Set(located.tablets.flatMap(({ replicas }) => replicas));
    const asked = located.nodes.filter(({ nodeId, client }) => holders.has(nodeId) && client !== '');
    const told = new Map<number, Told>();
    await Promise.all(asked.map(({ nodeId, client }) => this.#askHolder(nodeId, client, told)));
    return {
      ...located,
      tablets: located.tablets.map((tablet) => ({ ...tablet, ...told.get(tablet.id)?.what })),
    };
  }

  /** A node that does not answer soon tells nothing. */
  async #askHolder(node: number, endpoint: string, told: Map<number, Told>): Promise<void> {
    await this.#apart(HOLDER_TIMEOUT_MS, async (call) => {
      for await (const { tablets } of this.#pages(call, { endpoint }))
        for (const { id, leaderId: leader, term, sizeBytes } of tablets) {
          if (leader === 0) continue;
          const says = { leads: leader === node, term, what: { leader, sizeBytes } };
          if (countsMore(says, told.get(id))) told.set(id, says);
        }
    }).catch(() => {});
  }

  async *#pages(call: Call, target: Target): AsyncGenerator<MessageOf<'tabletsReply'>> {
    let from = Buffer.alloc(0);
    for (;;) {
      const request = { type: 'tablets', from, limit: 0 } as const;
      const answer = await this.#router.ask(() => request, call, target);
      if (answer.type !== 'tabletsReply') throw unexpected(answer.type, 'tablets');
      if (answer.by === 'hash' && answer.hashVersion !== HASH_VERSION) {
        const reason = `this cluster places keys by hash version ${answer.hashVersion}, which this client does not know`;
        throw new RaftreeClientError('VERSION_MISMATCH', reason, call.uncertain ? 'unknown' : 'notCommitted');
      }
      yield answer;
      const last = answer.tablets.at(-1);
      if (!answer.more || !last) return;
      from = Buffer.concat([last.start, Buffer.of(0)]);
    }
  }

  /** Not a part of one call: others wait for it too. */
  #refresh(): Promise<void> {
    return this.#apart(this.#user.settings.timeoutMs, async (call) => {
      await this.locate(call);
    });
  }

  async #apart(timeoutMs: number, work: (call: Call) => Promise<void>): Promise<void> {
    const { settings, aborts, calls } = this.#user;
    const call = new Call(settings.env, aborts, timeoutMs, {});
    calls.add(call);
    try {
      await work(call);
    } catch (error) {
      throw error instanceof CallEnded ? call.endError() : error;
    } finally {
      call.finish();
      calls.remove(call);
    }
  }
}

/** What a node that holds a tablet says of it. */
interface Told {
  /** This very node leads. */
  readonly leads: boolean;
  readonly term: number;
  readonly what: Pick<LocatedTablet, 'leader' | 'sizeBytes'>;
}

/** Of two that say they lead, the one of the earlier term has not heard of the other. */
function countsMore(one: Told, other: Told | undefined): boolean {
  if (!other || one.leads !== other.leads) return !other || one.leads;
  return one.term > other.term;
}

export function isWrongTablet(error: unknown): error is RaftreeClientError {
  return error instanceof RaftreeClientError && error.code === 'WRONG_TABLET';
}
