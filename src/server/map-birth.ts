/**
 * How a cluster that began with one tablet gets a map, without copying data: when that is to be split, or to move.
 *
 *     1  the leader of the tablet asks all members for a promise. Each makes durable that its data folder is never
 *        opened by an earlier version, which does not know the entry of step 2 (identity.json)
 *     2  the leader proposes the entry (kv/map-birth.ts), tied to the configuration whose members have promised
 *     3  each replica that applies it makes the group of the map, meta, and the members of the cluster are those of
 *        meta from then on
 *     4  the first leader of meta writes the map: one tablet, with the id and the data that it had
 *
 * Why this is safe while nodes are restarted with this version one by one:
 *   - Until step 2 nothing has changed but promises, and nodes of both versions say the same to each other. An earlier
 *     version, or a node that is away, gives no promise: then the map does not begin, and the caller is told which node
 *     that is. Nothing is lost if step 2 never comes.
 *   - The members at the entry are those that have promised. The core takes no change of members while a `tablet`
 *     entry is not applied, and a new leader none before it has applied all entries of earlier terms. So no change
 *     comes between the look at the configuration and the entry, and none behind the entry by a leader that has not
 *     applied it; who has applied it changes the members of meta (`Admin`). Replicas look again when they apply it.
 *   - So each replica that ever applies the entry knows it, and finds the same: the index, the term and the members
 *     with which meta begins. A node that was added later holds no replica of the tablet before the map gives it one.
 *   - Meta begins behind the entry, so the indexes and terms that configurations are compared by go on.
 *
 * A node that joins makes a replica of the only tablet first. While that has no entry, it asks to be registered, as in
 * a cluster with a map. When it is, it gets meta, and the replica goes.
 */
import type { Env, Timer } from '../env/env.js';
import { errorCode, errorMessage, refused } from '../env/errors.js';
import { encodeMapEntry, mapRefusal } from '../kv/map-birth.js';
import { FIRST_TABLET } from '../placement/placement.js';
import { membersOf } from '../raft/configuration.js';
import type { NodeConfig } from './config.js';
import { askToJoin } from './joining.js';
import type { KvGroup } from './kv-group.js';
import type { NodeCalls } from './node-calls.js';
import type { OpenMeta } from './tablet-set.js';

export interface MapBirthParts {
  readonly env: Pick<Env, 'timers'>;
  readonly config: Pick<NodeConfig, 'nodeId' | 'nodes' | 'join' | 'raft'>;
  /** The group of the first tablet; undefined: it is not here. */
  readonly tablet: () => Pick<KvGroup, 'replica'> | undefined;
  readonly meta: () => Pick<OpenMeta, 'state'> | undefined;
  readonly calls: Pick<NodeCalls, 'call'>;
  readonly isConnected: (node: number) => boolean;
  /** Durable when it returns. Throws what the disk throws. */
  readonly promise: () => void;
  /** Why the tablet cannot be divided. */
  readonly refusal: () => string | undefined;
  /** This node is registered in a cluster that keeps a map. */
  readonly joined: () => Promise<void>;
  readonly onFault: (error: unknown) => void;
}

const LOOK_AGAIN_MS = 20;
/** How long the first leader of meta may take to write the map. */
const PATIENCE_MS = 10_000;

export class MapBirth {
  readonly #parts: MapBirthParts;
  #beginning: Promise<void> | undefined;
  #joining: Timer | undefined;
  #isClosed = false;

  constructor(parts: MapBirthParts) {
    this.#parts = parts;
  }

  /**
   * Resolves when the cluster keeps a map. Rejects with `NOT_LEADER`, `CHANGE_INVALID`, `CHANGE_PENDING`,
   * `CHANGE_CONFLICT`, `MEMBER_UNREACHABLE`, or as a proposal does.
   */
  begin(): Promise<void> {
    this.#beginning ??= this.#begin().finally(() => {
      this.#beginning = undefined;
    });
    return this.#beginning;
  }

  /** Another node asks. Throws why this node does not promise. */
  promise(): true {
    const { tablet, promise } = this.#parts;
    // A replica without entries may be that of a node which joins.
    if ((tablet()?.replica.lastIndex ?? 0) === 0)
      throw refused('CHANGE_INVALID', 'it has nothing of the tablet yet; try again when it has caught up');
    promise();
    return true;
  }

  /** A node that joins registers itself, if the cluster keeps a map. Otherwise an operator adds it. */
  seek(): void {
    const { env, config, tablet, meta, joined, onFault } = this.#parts;
    if (this.#isClosed || !config.join || meta() || tablet()?.replica.lastIndex !== 0) return;
    const again = () => {
      this.#joining = env.timers.after(config.raft.electionTimeoutMaxMs, () => this.seek());
    };
    askToJoin(this.#parts)
      .then((isMember) => (isMember && !this.#isClosed ? joined() : undefined))
      .catch(onFault)
      .then(again);
  }

  close(): void {
    this.#isClosed = true;
    this.#joining?.cancel();
  }

  async #begin(): Promise<void> {
    const { config, tablet, meta, promise } = this.#parts;
    if (!meta()) {
      const replica = tablet()?.replica;
      if (replica?.role !== 'leader')
        throw refused('NOT_LEADER', 'this node does not lead the tablet', { leader: replica?.leader ?? 0 });
      const { configuration } = replica;
      const problem = this.#parts.refusal() ?? mapRefusal(FIRST_TABLET, configuration.index, configuration);
      if (problem !== undefined) throw refused('CHANGE_INVALID', `the map cannot begin: ${problem}`);
      await this.#askAll(membersOf(configuration).filter((node) => node !== config.nodeId));
      promise();
      if (replica.configuration !== configuration)
        throw refused('CHANGE_CONFLICT', 'the members have changed meanwhile; try again');
      const { result } = await replica.proposeTablet(encodeMapEntry(configuration.index));
      if (result.type === 'mapRefused')
        throw refused('CHANGE_CONFLICT', `the map cannot begin: ${result.reason}`);
    }
    await this.#written();
  }

  async #askAll(nodes: readonly number[]): Promise<void> {
    const { calls } = this.#parts;
    const ask = async (node: number) => {
      try {
        await calls.call(node, { type: 'promiseMap' });
      } catch (error) {
        const why = errorMessage(error);
        if (errorCode(error) === 'UNSUPPORTED')
          throw refused(
            'CHANGE_INVALID',
            `node ${node} runs an earlier version: start this version on all nodes first`,
          );
        const isAway = errorCode(error) === 'MEMBER_UNREACHABLE';
        throw refused(
          isAway ? 'MEMBER_UNREACHABLE' : 'CHANGE_INVALID',
          isAway ? `${why}; all members must be there when the map begins` : `node ${node}: ${why}`,
        );
      }
    };
    await Promise.all(nodes.map(ask));
  }

  async #written(): Promise<void> {
    const { env, meta } = this.#parts;
    for (let waitedMs = 0; meta()?.state.cluster === undefined; waitedMs += LOOK_AGAIN_MS) {
      if (this.#isClosed || waitedMs >= PATIENCE_MS)
        throw refused('NO_LEADER', 'the map has begun, and has no leader yet; try again shortly');
      await new Promise<void>((resolve) => env.timers.after(LOOK_AGAIN_MS, resolve));
    }
  }
}
