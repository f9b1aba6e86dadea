/**
 * What a node does of a merge of two tablets (kv/merge.ts): it proposes the entries of tablets that it leads, when the
 * map orders that, and says whether its replicas are frozen. The leader of meta
 * decides and orders (merge-driver.ts).
 */
import { refused } from '../env/errors.js';
import type { CommandResult } from '../kv/kv-state-machine.js';
import { encodeMergeStep, type Freeze, type Merge, type MergeStep } from '../kv/merge.js';
import { membersOfMerge, mergeOf } from '../meta/merges.js';
import type { Meta } from '../meta/meta.js';
import type { MergeIntent } from '../meta/records.js';
import type { OpenTablet, TabletSet } from './tablet-set.js';

export interface TabletMergesParts {
  /** Undefined: the cluster has one tablet, and keeps no map. */
  readonly meta: () => Meta | undefined;
  readonly tablets: Pick<TabletSet, 'get' | 'replicaIdOf'>;
  /** As `Publishing.publish`. */
  readonly publish: (merge: Merge) => Promise<void>;
}

export type MergeStepName = MergeStep['type'];

export type MergeProgress =
  /** Ask this node: it leads; 0: none is known. */
  | { readonly state: 'notLeader'; readonly leader: number }
  | { readonly state: 'done' }
  /** The tablet does not take part in it, and will not. */
  | { readonly state: 'refused'; readonly reason: string };

/** What a result that a session keeps costs a merge, compared with a byte of keys and values. */
const BYTES_PER_RESULT = 512;

/** In which stage of the intent a step may be ordered. */
const STAGES = { freeze: 'freezing', merge: 'merging', thaw: 'ending' } as const satisfies Record<
  MergeStepName,
  MergeIntent['stage']
>;

export class TabletMerges {
  readonly #parts: TabletMergesParts;

  constructor(parts: TabletMergesParts) {
    this.#parts = parts;
  }

  /**
   * Takes a step of an attempt, if this node leads the tablet. Done already: nothing happens. An order may be late:
   * it counts only if the map, read after it came, has the attempt in that stage. Rejects with `ORDER_OUTDATED`,
   * or as meta or the replica does.
   */
  async step(id: number, attempt: number, name: MergeStepName): Promise<MergeProgress> {
    const open = this.#parts.tablets.get(id);
    const { role, leader } = open?.group.replica ?? { role: 'follower', leader: 0 };
    if (!open || role !== 'leader') return { state: 'notLeader', leader };
    const intent = mergeOf(await this.#meta.read(), id)?.intent;
    if (intent?.attempt !== attempt || intent.stage !== STAGES[name])
      throw refused('ORDER_OUTDATED', `the map has no order to ${name} tablet ${id}`);
    if (isDone(open, attempt, name)) return { state: 'done' };
    const { result } = await open.group.replica.proposeTablet(encodeMergeStep(this.#stepOf(intent, name)));
    if (result.type === 'merged') await this.#parts.publish(result.merge).catch(() => {});
    return progressOf(result, isDone(open, attempt, name));
  }

  #stepOf(intent: MergeIntent, name: MergeStepName): MergeStep {
    const { attempt, child, frozen } = intent;
    const members = membersOfMerge(intent);
    if (name === 'freeze') return { type: 'freeze', attempt, members };
    if (name === 'thaw') return { type: 'thaw', attempt };
    const right = this.#meta.state.tablets.get(intent.right);
    if (!right || !frozen) throw refused('CHANGE_CONFLICT', 'the map of the tablets has changed meanwhile');
    const { id, generation, start, end } = right;
    return {
      type: 'merge',
      attempt,
      child: child.id,
      members,
      ...frozen,
      right: { id, generation, start, end },
    };
  }

  /** The entry that has frozen the replica here for this attempt; undefined: none has, or it is another replica. */
  frozenHere(id: number, replicaId: number, attempt: number): Pick<Freeze, 'index' | 'term'> | undefined {
    const { tablets } = this.#parts;
    const freeze = tablets.get(id)?.stateMachine.freeze;
    if (freeze?.attempt !== attempt || tablets.replicaIdOf(id) !== replicaId) return undefined;
    return { index: freeze.index, term: freeze.term };
  }

  /** About how much of it a merge copies. Of a tablet that is not here: 0. */
  async bytesOf(id: number): Promise<number> {
    const { stateMachine } = this.#parts.tablets.get(id) ?? {};
    if (!stateMachine) return 0;
    const keyBytes = (await stateMachine.survey(1))?.bytes ?? 0;
    return keyBytes + stateMachine.keptResults * BYTES_PER_RESULT;
  }

  /** Throws `CHANGE_INVALID` if there is none. */
  get #meta(): Meta {
    const meta = this.#parts.meta();
    if (meta) return meta;
    throw refused('CHANGE_INVALID', 'this cluster keeps no map');
  }
}

function isDone({ stateMachine }: OpenTablet, attempt: number, name: MergeStepName): boolean {
  if (name === 'freeze') return stateMachine.freeze?.attempt === attempt;
  // One that has ended otherwise does not stay frozen.
  if (name === 'thaw') return stateMachine.overThrough >= attempt || stateMachine.endedBy !== undefined;
  return stateMachine.endedBy !== undefined;
}

function progressOf(result: CommandResult, isDone: boolean): MergeProgress {
  if (isDone) return { state: 'done' };
  const reason = result.type === 'mergeRefused' ? result.reason : 'it has ended';
  return { state: 'refused', reason };
}
