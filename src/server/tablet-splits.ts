/**
 * Splits tablets, on the node that leads the tablet:
 *
 *     1  meta records the intent, with ids that nobody else has
 *     2  the tablet ends by an entry of its log, on all replicas alike (kv/split.ts)
 *     3  meta takes the children into the map, and lets parent and intent go
 *
 * Each step may be repeated. After a crash, or without an answer, the intent stays: another attempt has the same ids,
 * so that only one of the entries takes effect. The leader of meta asks for one (`resume`) until the intent has gone.
 * What a tablet's own log says is true: step 3 is done by that (publishing.ts).
 */
import { errorCode, type RaftreeError, refused } from '../env/errors.js';
import { isMerge } from '../kv/lineage.js';
import { encodeSplitEntry, type Split, splitPointOf, splitRefusal } from '../kv/split.js';
import type { Meta } from '../meta/meta.js';
import { intentKey, type SplitIntent, tabletKey } from '../meta/records.js';
import { ONE_TABLET } from '../placement/placement.js';
import type { ChangeProgress } from './replica-change.js';
import type { OpenTablet, TabletSet } from './tablet-set.js';

export interface TabletSplitsParts {
  /** Undefined: the cluster has one tablet, and keeps no map. */
  readonly meta: () => Meta | undefined;
  /** Resolves when it keeps one. Rejects as `split`. */
  readonly beginMap: () => Promise<void>;
  readonly tablets: Pick<TabletSet, 'get' | 'placement'>;
  /** As `Publishing.publish`. */
  readonly publish: (split: Split) => Promise<void>;
}

/** The proposal is in no log. */
const CERTAIN: ReadonlySet<string | undefined> = new Set([
  'CHANGE_PENDING',
  'CHANGE_INVALID',
  'NOT_LEADER',
  'DISK_FULL',
]);

export class TabletSplits {
  readonly #parts: TabletSplitsParts;
  /** By tablet: the attempt that this node makes. */
  readonly #underWay = new Map<number, { readonly point: Buffer; readonly done: Promise<Split> }>();

  constructor(parts: TabletSplitsParts) {
    this.#parts = parts;
  }

  /**
   * Splits a tablet (0: the only one) so that this key begins the second part. Resolves when the parts exist here.
   * Rejects with `WRONG_TABLET` if the tablet does not have the key (any more), `NOT_LEADER`, `CHANGE_INVALID`,
   * `CHANGE_PENDING`, `CHANGE_CONFLICT`, or as a proposal does.
   */
  async split(named: number, key: Uint8Array): Promise<Split> {
    const tablet = this.#parts.tablets.get(named);
    const { placement } = this.#parts.tablets;
    if (!tablet || !placement || tablet.stateMachine.range?.owns(key) === false)
      throw refused('WRONG_TABLET', `tablet ${named} is not here, or does not have this key`);
    return this.splitAt(tablet, splitPointOf(placement.by, key));
  }

  /** The same at a point, which is a bound as in `Tablet`. Who asks for the same meanwhile has the same answer. */
  async splitAt(tablet: OpenTablet, point: Buffer): Promise<Split> {
    const { id } = tablet.tablet;
    const present = this.#underWay.get(id);
    if (present && Buffer.compare(present.point, point) === 0) return present.done;
    if (present) throw anotherSplit(id);
    const done = this.#split(tablet, point).finally(() => this.#underWay.delete(id));
    this.#underWay.set(id, { point, done });
    return done;
  }

  async #split(tablet: OpenTablet, point: Buffer): Promise<Split> {
    const { by } = this.#parts.tablets.placement ?? ONE_TABLET;
    const { replica } = tablet.group;
    const { id } = tablet.tablet;
    if (replica.role !== 'leader')
      throw refused('NOT_LEADER', `this node does not lead tablet ${id}`, { leader: replica.leader });
    const trial = { left: id + 1, right: id + 2, point };
    const problem = splitRefusal(trial, by, tablet.tablet, replica.configuration);
    if (problem !== undefined)
      throw refused('CHANGE_INVALID', `tablet ${id} cannot be split there: ${problem}`);
    if (!this.#parts.meta()) await this.#parts.beginMap();
    const { intent, isNew } = await this.#intent(this.#meta, tablet, point);
    return this.#carryOut(tablet, intent, isNew);
  }

  /**
   * Goes on with a split whose intent is recorded, and of which whoever recorded it may not know any more: it is done,
   * or its intent goes. The leader of the tablet is to be asked. Rejects as `split`.
   */
  async resume(id: number): Promise<ChangeProgress> {
    const tablet = this.#parts.tablets.get(id);
    const { role, leader } = tablet?.group.replica ?? { role: 'follower', leader: 0 };
    if (!tablet || role !== 'leader') return { state: 'notLeader', leader };
    const underWay = { state: 'underWay' } as const;
    if (this.#underWay.has(id)) return underWay;
    const intent = (await this.#meta.read()).intents.get(id);
    if (intent?.type !== 'split' || this.#underWay.has(id)) return underWay;
    const point = Buffer.from(intent.at);
    const done = this.#carryOut(tablet, intent, false).finally(() => this.#underWay.delete(id));
    this.#underWay.set(id, { point, done });
    await done;
    return underWay;
  }

  /** `isNew`: it has just been recorded, so no log has its entry yet. */
  async #carryOut(tablet: OpenTablet, { at, children }: SplitIntent, isNew: boolean): Promise<Split> {
    const meta = this.#meta;
    const { id } = tablet.tablet;
    const [left, right] = children;
    if (!tablet.stateMachine.endedBy) {
      const replicas = left.replicas.map(({ node, replicaId }, i) => ({
        ...{ node, left: replicaId, right: right.replicas[i]?.replicaId ?? 0 },
      }));
      const command = { left: left.id, right: right.id, point: Buffer.from(at), replicas };
      const result = await this.#propose(meta, tablet, command, isNew);
      if (result.type === 'splitRefused') {
        await this.#drop(meta, id);
        throw refused('CHANGE_INVALID', `tablet ${id} cannot be split there: ${result.reason}`);
      }
    }
    // An earlier attempt with these ids may have done it.
    const split = tablet.stateMachine.endedBy;
    if (!split || isMerge(split)) throw refused('CHANGE_CONFLICT', `tablet ${id} was not split: try again`);
    // What fails here is done again by whoever leads a child.
    await this.#parts.publish(split).catch(() => {});
    if (split.children[0].id !== left.id) throw refused('WRONG_TABLET', `tablet ${id} was split elsewhere`);
    return split;
  }

  /** Throws `CHANGE_INVALID` if there is none. */
  get #meta(): Meta {
    const meta = this.#parts.meta();
    if (meta) return meta;
    throw refused('CHANGE_INVALID', 'this cluster keeps no map');
  }

  async #propose(
    meta: Meta,
    { tablet, group }: OpenTablet,
    command: Parameters<typeof encodeSplitEntry>[0],
    isNew: boolean,
  ) {
    try {
      return (await group.replica.proposeTablet(encodeSplitEntry(command))).result;
    } catch (error) {
      // An earlier attempt may be in the log, and a leader that is new may not have applied it.
      if (isNew && CERTAIN.has(errorCode(error))) await this.#drop(meta, tablet.id).catch(() => {});
      if (errorCode(error) === 'CHANGE_PENDING')
        throw refused(
          'CHANGE_PENDING',
          `a change of the members of tablet ${tablet.id} is under way; try again`,
          isNew ? {} : { outcome: 'unknown' },
        );
      throw error;
    }
  }

  /** The one that is recorded, or a new one. */
  async #intent(
    meta: Meta,
    { tablet: { id }, group }: OpenTablet,
    point: Buffer,
  ): Promise<{ readonly intent: SplitIntent; readonly isNew: boolean }> {
    const first = await meta.read();
    const present = first.intents.get(id);
    if (present) {
      if (present.type === 'split' && Buffer.compare(present.at, point) === 0)
        return { intent: present, isNew: false };
      if (present.type === 'split') throw anotherSplit(id);
      throw refused(
        'CHANGE_PENDING',
        `a ${present.type} of tablet ${id} is under way; try again when it is done`,
      );
    }
    const nodes = group.replica.configuration.voters;
    const firstId = await meta.allocateIds(2 + 2 * nodes.length);
    let nextId = firstId + 2;
    const childOf = (child: number): SplitIntent['children'][number] => ({
      id: child,
      replicas: nodes.map((node) => ({ replicaId: nextId++, node, role: 'voter' })),
    });
    const descriptor = meta.state.tablets.get(id);
    if (!descriptor) throw refused('CHANGE_CONFLICT', `the map has no tablet ${id}; try again`);
    const { generation } = descriptor;
    const children = [childOf(firstId), childOf(firstId + 1)] as const;
    const intent: SplitIntent = { type: 'split', generation, at: Uint8Array.from(point), children };
    const isRecorded = await meta.update([
      { key: intentKey(id), expectedVersion: 0, value: intent },
      { key: tabletKey(id), expectedVersion: meta.state.versionOf(tabletKey(id)), value: null },
    ]);
    if (!isRecorded)
      throw refused('CHANGE_CONFLICT', `the map of tablet ${id} has changed meanwhile; try again`);
    return { intent, isNew: true };
  }

  async #drop(meta: Meta, id: number): Promise<void> {
    const state = await meta.read();
    if (state.intents.get(id)?.type !== 'split') return;
    const key = intentKey(id);
    await meta.update([{ key, expectedVersion: state.versionOf(key), value: undefined }]);
  }
}

function anotherSplit(id: number): RaftreeError {
  return refused(
    'CHANGE_PENDING',
    `a split of tablet ${id} at another key is under way; try again when it is done`,
  );
}
