/**
 * Requests and results as plain values. A door translates between these and the bytes of its own protocol; `KvService`
 * takes a caller and a request, and gives a result or a `KvError`. Nothing here knows how a request came in.
 *
 *     write        a Write        -> Written
 *     openSession  an OpenSession -> SessionOpened
 *     get          a Get          -> Found or Absent
 *     scan         a Scan         -> Page
 *     watch        a Watch        -> a Watcher
 */
import type { VersionedValue } from './keys.js';
import type { WriteResult } from './sessions.js';

/** Who sends a request, as the door found out. */
export interface Caller {
  /** The door's name: `native`, and later others. */
  readonly door: string;
  /** Who the caller has proven to be; undefined if it has proven nothing. */
  readonly identity?: string;
  readonly rights: Rights;
}

export interface Rights {
  readonly read: boolean;
  readonly write: boolean;
  /** May change members and leaders. */
  readonly administrate: boolean;
}

export const PLAIN_ACTIONS = ['put', 'append', 'delete', 'check'] as const;
/** Those that are not plain are written as a newer kind of command (command.ts). */
export const ACTIONS = [...PLAIN_ACTIONS, 'expire', 'persist', 'increment', 'modify'] as const;

/** One change of a write. Fields that do not matter for its action or condition are empty or 0. */
export interface WriteOperation<Bytes extends Uint8Array = Uint8Array> {
  /**
   * `append` and `increment` create a key that does not exist. `check` changes nothing: it has only a condition.
   * `modify` has a string operation as its value (string-operation.ts).
   * `expire` gives an existing key the life `life`, `persist` takes it away; both leave value and version as they are.
   */
  readonly action: (typeof ACTIONS)[number];
  readonly key: Bytes;
  /** For `put` and `append`. For `increment`: by how much, as decimal text of 64 bits with sign. */
  readonly value: Bytes;
  readonly condition: 'always' | 'exists' | 'absent' | 'valueIs' | 'versionIs';
  /** For `valueIs`. */
  readonly conditionValue: Bytes;
  /** For `versionIs`; 0: the key does not exist. */
  readonly conditionVersion: number;
  /** For `put`, `append`, `increment` and `expire`. */
  readonly life?: Life | undefined;
}

/**
 * What becomes of the deadline of a key. Undefined: `put` takes it away, the others leave it.
 * `set`: the key lives so many ms from now on; 0: it is gone at once. `setIfNew`: the same if the operation creates the
 * key. `keep`: the deadline stays.
 */
export const LIFE_CHANGES = ['set', 'keep', 'setIfNew'] as const;
/**
 * For `expire`: whether the key must have no deadline, some deadline, or one before (`ifLater`) or after (`ifSooner`)
 * the new one; no deadline counts as the latest. If it is not so, the operation changes nothing (`unchanged`).
 */
export const LIFE_CONDITIONS = ['always', 'ifNone', 'ifSome', 'ifLater', 'ifSooner'] as const;

export interface Life {
  readonly change: (typeof LIFE_CHANGES)[number];
  /** At most MAX_TTL_MS. */
  readonly ttlMs: number;
  readonly when: (typeof LIFE_CONDITIONS)[number];
}

/** The place of a write in its session: a repeated write of the same place is applied once. */
export interface SessionPosition {
  /** From `SessionOpened`: above 0. */
  readonly id: number;
  /** The number of this write: from 1 on, a new one for each write. */
  readonly sequence: number;
  /** The client no longer repeats writes up to this sequence. */
  readonly acknowledgedThrough: number;
  /** A lower sequence, which must be carried out, or no longer repeated, before this one. 0: none. */
  readonly after: number;
}

/** Which tablet a request is for. 0 or undefined: the only one, if there is one. */
export type TabletId = number | undefined;

/** One atomic change of keys: all operations take effect, or none. */
export interface Write {
  readonly type: 'write';
  readonly tablet?: TabletId;
  /** Undefined: without a session. Repeated, such a write is applied again. */
  readonly session: SessionPosition | undefined;
  readonly operations: readonly WriteOperation[];
}

export interface OpenSession {
  readonly type: 'openSession';
  readonly tablet?: TabletId;
  /** How many writes of the session may be under way at once; the result has the number that is granted. */
  readonly window: number;
}

/**
 * `linearizable`: sees every write that finished before the read began; confirmed with a majority.
 * `lease`: the same, confirmed by the leader's clock. `follower`: the same, answered by any node.
 * `stale`: what this node has applied.
 */
export type Consistency = 'linearizable' | 'lease' | 'follower' | 'stale';

export interface Get {
  readonly type: 'get';
  readonly tablet?: TabletId;
  readonly consistency: Consistency;
  readonly key: Uint8Array;
  /** The value is left empty. */
  readonly omitValue?: boolean | undefined;
}

/** A page of the keys of a tablet in [from, to). */
export interface Scan {
  readonly type: 'scan';
  readonly tablet?: TabletId;
  readonly consistency: Consistency;
  readonly from: Uint8Array;
  /** Undefined: to the last key. */
  readonly to: Uint8Array | undefined;
  /** The most entries of the page; 0: as many as the node likes. */
  readonly limit: number;
  readonly reverse: boolean;
  /** Values are left empty. */
  readonly keysOnly: boolean;
}

/** Asks for the changes of keys of a tablet in [from, to), as they are applied: by a `Watcher` (watch/watcher.ts). */
export interface Watch {
  readonly type: 'watch';
  readonly tablet?: TabletId;
  readonly from: Uint8Array;
  /** Undefined: to the last key. */
  readonly to: Uint8Array | undefined;
  /** The first version that is told. It may lie ahead. Undefined: the next change that this node applies. */
  readonly fromVersion: number | undefined;
  /**
   * From each start on (by hash a point of the ring), changes before its version were told. None: it is the same
   * version for all keys, which somebody has named.
   */
  readonly pieces?: readonly { readonly start: Uint8Array; readonly version: number }[];
}

/** Who was told all changes up to this version has what was committed when it was asked. */
export interface CommittedVersion {
  readonly type: 'committed';
  readonly version: number;
}

/** The write is committed. `write.applied` says whether its conditions held and it took effect. */
export interface Written {
  readonly type: 'written';
  readonly write: WriteResult;
}

export interface SessionOpened {
  readonly type: 'sessionOpened';
  readonly sessionId: number;
  readonly window: number;
}

/** A key that is there. */
export interface LivingKey extends VersionedValue {
  /** How long the key still lives. Undefined: it has no deadline. */
  readonly remainingMs?: number | undefined;
}

export interface Found extends LivingKey {
  readonly type: 'found';
}

export interface Absent {
  readonly type: 'absent';
}

export interface PageEntry extends LivingKey {
  readonly key: Buffer;
}

export interface Page {
  readonly type: 'page';
  readonly entries: readonly PageEntry[];
  /** Other keys of the range follow. */
  readonly more: boolean;
  /** With `more`: the page covers the range up to this key, which is no entry. Undefined: up to its last entry. */
  readonly coveredTo?: Buffer | undefined;
}
