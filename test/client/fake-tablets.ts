/**
 * Tablets of a scripted cluster that tell changes: each with a log of its own, and with the history of those that it
 * came from. They are split and merged as real ones are; every node tells of all of them.
 */
import { CHANGE_OVERHEAD_BYTES } from '../../src/kv/watch/watcher.js';
import type { Channel } from '../../src/net/channel.js';
import { hashOfKey } from '../../src/placement/partition-key.js';
import { type PlacementKind, ringPoint } from '../../src/placement/placement.js';
import { TabletRange } from '../../src/placement/tablet-map.js';
import type { MessageOf, OutboundMessage, OutboundOf, Request } from '../../src/protocol/messages.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import type { FakeCluster, Fate } from './fake-cluster.js';

export interface FakeChange {
  readonly key: string;
  readonly version: number;
}

interface Watcher {
  readonly channel: Channel;
  readonly watchId: number;
  readonly tablet: FakeTablet;
  readonly from: Buffer;
  readonly to: Buffer | undefined;
  /** All changes before this version were told. */
  next: number;
  /** Of this version so many. */
  toldOfNext: number;
  creditBytes: number;
}

export class FakeTablet {
  readonly id: number;
  readonly start: Buffer;
  readonly end: Buffer | undefined;
  readonly generation: number;
  readonly range: TabletRange;
  /** In the order of their versions; those of the tablets that it came from, too. */
  readonly changes: FakeChange[];
  through: number;
  oldest = 1;
  /** Where what it became begins. */
  successorFrom: number | undefined;

  constructor(
    by: PlacementKind,
    id: number,
    [start, end]: readonly [Buffer, Buffer | undefined],
    generation: number,
    history: readonly FakeChange[],
    through: number,
  ) {
    this.id = id;
    this.start = start;
    this.end = end;
    this.generation = generation;
    this.range = new TabletRange(by, { start, end });
    this.changes = history.filter(({ key }) => this.range.owns(Buffer.from(key)));
    this.through = through;
  }
}

export class FakeTablets {
  readonly by: PlacementKind;
  readonly #cluster: FakeCluster;
  readonly #random: SeededRandom;
  readonly all = new Map<number, FakeTablet>();
  readonly asked: MessageOf<'watch'>[] = [];
  #watchers: Watcher[] = [];
  #lastId: number;
  /** Whether who ends with a merge says where what it became begins. */
  saysSuccessor = true;
  /** Most changes in a message. */
  maxChanges = Number.POSITIVE_INFINITY;
  /** Nothing is told. */
  isSilent = false;

  /** `bounds`: where the second and each further tablet begins. */
  constructor(cluster: FakeCluster, by: PlacementKind, bounds: readonly (string | number)[], seed = 1) {
    this.#cluster = cluster;
    this.by = by;
    this.#random = new SeededRandom(seed);
    const starts = [Buffer.alloc(0), ...bounds.map(pointOf)];
    for (const [i, start] of starts.entries())
      this.all.set(i + 1, new FakeTablet(by, i + 1, [start, starts[i + 1]], 1, [], 0));
    this.#lastId = starts.length;
  }

  get present(): FakeTablet[] {
    return [...this.all.values()]
      .filter(({ successorFrom }) => successorFrom === undefined)
      .sort((one, other) => Buffer.compare(one.start, other.start));
  }

  get map(): (request: Request) => OutboundMessage {
    const tablets = this.present.map(({ id, start, end, generation }) => ({
      ...{ id, start, end, generation, leaderId: 1, term: 1, replicas: [1], splitVersion: 0 },
    }));
    const answer = this.#cluster.map(tablets);
    const hashVersion = this.by === 'hash' ? 1 : 0;
    return (request) => ({ ...answer(request), by: this.by, hashVersion });
  }

  ownerOf(key: string): FakeTablet {
    return this.present.find(({ range }) => range.owns(Buffer.from(key))) as FakeTablet;
  }

  /** One write to keys of one tablet. Returns its version. */
  write(...keys: readonly string[]): number {
    const tablet = this.ownerOf(keys[0] as string);
    tablet.through++;
    for (const key of keys) {
      if (this.ownerOf(key) !== tablet) throw new Error('the keys belong to several tablets');
      tablet.changes.push({ key, version: tablet.through });
    }
    return tablet.through;
  }

  split(tablet: FakeTablet, at: string | number): readonly [FakeTablet, FakeTablet] {
    const base = ++tablet.through;
    const point = pointOf(at);
    const generation = tablet.generation + 1;
    const made = (bounds: readonly [Buffer, Buffer | undefined]) =>
      this.#make(bounds, generation, tablet.changes, base, tablet.oldest);
    const children = [made([tablet.start, point]), made([point, tablet.end])] as const;
    tablet.successorFrom = base + 1;
    return children;
  }

  /** `right` begins where `left` ends. */
  merge(left: FakeTablet, right: FakeTablet): FakeTablet {
    const base = Math.max(left.through, right.through) + this.#random.between(1, 4);
    const generation = Math.max(left.generation, right.generation) + 1;
    const history = [...left.changes, ...right.changes].sort((one, other) => one.version - other.version);
    const oldest = Math.max(left.oldest, right.oldest);
    const merged = this.#make([left.start, right.end], generation, history, base, oldest);
    left.successorFrom = base + 1;
    right.successorFrom = base + 1;
    return merged;
  }

  /** What a request about tablets is answered. */
  fateOf(request: Request, node: number): Fate {
    const message = request as Request | MessageOf<'watchCredit'> | MessageOf<'watchCancel'>;
    if (message.type === 'watchCredit' || message.type === 'watchCancel') {
      this.#take(message);
      return 'silent before';
    }
    if (request.type === 'tablets') return this.map;
    if (request.type !== 'watch') return undefined;
    this.asked.push(request);
    const { requestId, watchId, from, to, fromVersion, creditBytes, tablet: id } = request;
    const tablet = this.all.get(id);
    if (!tablet || tablet.successorFrom !== undefined || !tablet.range.covers(from, to))
      return 'WRONG_TABLET';
    // One that was broken off may be there still.
    const channel = [...(this.#cluster.open.get(node) ?? [])].at(-1);
    const next = fromVersion ?? tablet.through + 1;
    if (next < tablet.oldest) {
      const end = { code: 'HISTORY_GONE', message: 'it is not kept', fromVersion: tablet.oldest };
      this.#cluster.world.scheduler.after(1, () => channel?.write({ type: 'watchEnded', watchId, ...end }));
    } else
      this.#watchers.push({
        ...{ channel: channel as Channel, watchId, tablet, from, to, next, toldOfNext: 0, creditBytes },
      });
    return () => ({ type: 'watching', requestId, fromVersion: next });
  }

  /** Tells what there is to tell, as far as there is credit. Returns whether there was anything. */
  tell(): boolean {
    if (this.isSilent) return false;
    let isTold = false;
    for (const watcher of [...this.#watchers]) {
      if (!this.#isOpen(watcher)) this.#watchers = this.#watchers.filter((other) => other !== watcher);
      else if (this.#tellOne(watcher)) isTold = true;
    }
    return isTold;
  }

  /** All connections break. */
  breakConnections(): void {
    for (const channels of this.#cluster.open.values()) for (const channel of [...channels]) channel.abort();
    this.#watchers = [];
  }

  #isOpen({ channel }: Watcher): boolean {
    return [...this.#cluster.open.values()].some((channels) => channels.has(channel));
  }

  #make(
    bounds: readonly [Buffer, Buffer | undefined],
    generation: number,
    history: readonly FakeChange[],
    base: number,
    oldest: number,
  ): FakeTablet {
    const tablet = new FakeTablet(this.by, ++this.#lastId, bounds, generation, history, base);
    tablet.oldest = oldest;
    this.all.set(tablet.id, tablet);
    return tablet;
  }

  #take(message: MessageOf<'watchCredit'> | MessageOf<'watchCancel'>): void {
    // Ids of watches are those of a connection: a test with several clients gives each a node.
    const watcher = this.#watchers.find(({ watchId }) => watchId === message.watchId);
    if (!watcher) return;
    if (message.type === 'watchCredit') watcher.creditBytes += message.bytes;
    else this.#watchers = this.#watchers.filter((other) => other !== watcher);
  }

  #tellOne(watcher: Watcher): boolean {
    const { channel, watchId, tablet, from, to } = watcher;
    const waiting = tablet.changes
      .filter(({ version }) => version >= watcher.next)
      .filter(({ key }) => Buffer.compare(Buffer.from(key), from) >= 0)
      .filter(({ key }) => to === undefined || Buffer.compare(Buffer.from(key), to) < 0)
      .slice(watcher.toldOfNext);
    const told: FakeChange[] = [];
    while (watcher.creditBytes > 0 && told.length < this.maxChanges && told.length < waiting.length) {
      const change = waiting[told.length] as FakeChange;
      watcher.creditBytes -= change.key.length + 1 + CHANGE_OVERHEAD_BYTES;
      told.push(change);
    }
    const following = waiting[told.length];
    const throughVersion = following ? following.version - 1 : tablet.through;
    const isNew = throughVersion >= watcher.next;
    if (told.length > 0 || isNew) {
      const changes: OutboundOf<'changes'>['changes'] = told.map(({ key, version }) => ({
        ...{ type: 'put', key: Buffer.from(key), value: Buffer.from('v'), version },
      }));
      channel.write({ type: 'changes', watchId, throughVersion, changes });
      const ofNext = told.filter(({ version }) => version > throughVersion).length;
      watcher.toldOfNext = isNew ? ofNext : watcher.toldOfNext + ofNext;
      watcher.next = Math.max(watcher.next, throughVersion + 1);
    }
    if (following || tablet.successorFrom === undefined) return told.length > 0 || isNew;
    const end = { code: 'WRONG_TABLET', message: 'it has ended' };
    const more = this.saysSuccessor ? { fromVersion: tablet.successorFrom } : {};
    channel.write({ type: 'watchEnded', watchId, ...end, ...more });
    this.#watchers = this.#watchers.filter((other) => other !== watcher);
    return true;
  }
}

export function pointOf(bound: string | number): Buffer {
  return typeof bound === 'number' ? ringPoint(bound) : Buffer.from(bound);
}

/** Where a key lies: what divides it from others. */
export function placeOf(by: PlacementKind, key: string): Buffer {
  return by === 'hash' ? ringPoint(hashOfKey(Buffer.from(key))) : Buffer.from(key);
}
