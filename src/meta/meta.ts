/**
 * The map, as a node reads and changes it:
 *
 *     const state = await meta.read();                      all that was committed before
 *     await meta.update([{ key, expectedVersion, value }]); all, if every record still has that version; or nothing
 *     const first = await meta.allocateIds(4);              first, first + 1, ... are given to nobody else
 *
 * No client can change it: `update` is carried out by the leader of meta, and other nodes ask that leader over the
 * connections between nodes. Who does not know whether an update was committed reads again: a version says what became
 * of it, and a repetition that names an old version changes nothing.
 */
import type { Clock } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import { encodeWrite } from '../kv/command.js';
import type { CommandResult } from '../kv/kv-state-machine.js';
import { MAX_VALUE_BYTES } from '../kv/limits.js';
import type { WriteOperation } from '../kv/requests.js';
import type { NodeId, Role } from '../raft/types.js';
import type { CommandLog } from '../replica/ports.js';
import type { MetaState } from './meta-state.js';
import { encodeRecord, type MetaRecord, NEXT_ID_KEY } from './records.js';

/** One change of a record. */
export interface MetaChange {
  readonly key: string;
  /** Of its last change; 0: there is none. */
  readonly expectedVersion: number;
  /** Undefined: it is deleted; null: it stays as it is, and only its version is checked. */
  readonly value: MetaRecord['value'] | undefined | null;
}

/** As it goes to another node. */
export interface EncodedChange {
  readonly key: string;
  readonly expectedVersion: number;
  readonly action: 'put' | 'delete' | 'check';
  readonly text: string;
}

export interface MetaParts {
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly nodeId: NodeId;
  readonly replica: CommandLog<CommandResult> & { readonly role: Role; readonly leader: NodeId };
  readonly state: MetaState;
  /** Asks another node, the leader, to carry out an update. Rejects as `update` does. */
  readonly forward: (leader: NodeId, changes: readonly EncodedChange[]) => Promise<boolean>;
}

const NOTHING = Buffer.alloc(0);
/** So often in a row ids are asked for when others ask for some at the same time. */
const MAX_ATTEMPTS = 20;

export class Meta {
  readonly #parts: MetaParts;

  constructor(parts: MetaParts) {
    this.#parts = parts;
  }

  /** This node leads the group. */
  get leads(): boolean {
    return this.#parts.replica.role === 'leader';
  }

  /** What this node has applied: it may be old, and is never newer than what is committed. */
  get state(): MetaState {
    return this.#parts.state;
  }

  /** The state with all that was committed before the call. Rejects as a read of a follower does. */
  async read(): Promise<MetaState> {
    await this.#parts.replica.readIndex('follower');
    return this.state;
  }

  /**
   * Resolves with whether all records had the expected versions, and the changes are committed. Rejects with
   * `NO_LEADER` or as `propose` does: then info.outcome says whether it may have been committed.
   */
  async update(changes: readonly MetaChange[]): Promise<boolean> {
    return this.updateEncoded(changes.map(encoded));
  }

  /** The same for changes that came from another node. */
  async updateEncoded(changes: readonly EncodedChange[], mayForward = true): Promise<boolean> {
    const { replica, clock, nodeId, forward } = this.#parts;
    if (replica.role !== 'leader') {
      const { leader } = replica;
      if (leader !== 0 && leader !== nodeId && mayForward) return forward(leader, changes);
      throw new RaftreeError('NO_LEADER', 'no leader of the map is known at present', {
        info: { outcome: 'notCommitted' },
      });
    }
    const operations = changes.map(operationOf);
    const body = encodeWrite(MAX_VALUE_BYTES, { type: 'write', session: undefined, operations }, clock);
    const { result } = await replica.propose(body);
    return result.type === 'written' && result.write.applied;
  }

  /** The first of so many ids that nobody else has, or will have: of tablets and replicas. Rejects as `update`. */
  async allocateIds(count: number): Promise<number> {
    for (let attempts = 0; attempts < MAX_ATTEMPTS; attempts++) {
      const { nextId, cluster } = await this.read();
      if (!cluster) break;
      const expectedVersion = this.state.versionOf(NEXT_ID_KEY);
      if (await this.update([{ key: NEXT_ID_KEY, expectedVersion, value: nextId + count }])) return nextId;
    }
    throw new RaftreeError('NO_LEADER', 'no ids can be had from the map at present; try again', {
      info: { outcome: 'notCommitted' },
    });
  }
}

function encoded({ key, expectedVersion, value }: MetaChange): EncodedChange {
  const action = value === undefined ? 'delete' : value === null ? 'check' : 'put';
  return { key, expectedVersion, action, text: value == null ? '' : encodeRecord(value) };
}

function operationOf({ key, expectedVersion, action, text }: EncodedChange): WriteOperation {
  return {
    ...{ action, key: Buffer.from(key), value: text === '' ? NOTHING : Buffer.from(text) },
    ...{ condition: 'versionIs', conditionValue: NOTHING, conditionVersion: expectedVersion },
  };
}
