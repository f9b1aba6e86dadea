/**
 * Requests and results as plain values. A door translates between these and the bytes of its own protocol; `KvService`
 * takes a caller and a request, and gives a result or a `KvError`. Nothing here knows how a request came in.
 *
 *     write        a Write        -> Written
 *     openSession  an OpenSession -> SessionOpened
 *     get          a Get          -> Found or Absent
 *     scan         a Scan         -> Page
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

/** One change of a write. Fields that do not matter for its action or condition are empty or 0. */
export interface WriteOperation<Bytes extends Uint8Array = Uint8Array> {
  /** `append` creates a key that does not exist. `check` changes nothing: it has only a condition. */
  readonly action: 'put' | 'append' | 'delete' | 'check';
  readonly key: Bytes;
  /** For `put` and `append`. */
  readonly value: Bytes;
  readonly condition: 'always' | 'exists' | 'absent' | 'valueIs' | 'versionIs';
  /** For `valueIs`. */
  readonly conditionValue: Bytes;
  /** For `versionIs`; 0: the key does not exist. */
  readonly conditionVersion: number;
}

/** The place of a write in its session: a repeated write of the same place is applied once. */
export interface SessionPosition {
  /** From `SessionOpened`: above 0. */
  readonly id: number;
  /** The number of this write: from 1 on, a new one for each write. */
  readonly sequence: number;
  /** The client no longer repeats writes up to this sequence. */
  readonly acknowledgedThrough: number;
}

/** One atomic change of keys: all operations take effect, or none. */
export interface Write {
  readonly type: 'write';
  /** Undefined: without a session. Repeated, such a write is applied again. */
  readonly session: SessionPosition | undefined;
  readonly operations: readonly WriteOperation[];
}

export interface OpenSession {
  readonly type: 'openSession';
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
  readonly consistency: Consistency;
  readonly key: Uint8Array;
}

/** A page of the keys in [from, to). */
export interface Scan {
  readonly type: 'scan';
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

export interface Found extends VersionedValue {
  readonly type: 'found';
}

export interface Absent {
  readonly type: 'absent';
}

export interface PageEntry extends VersionedValue {
  readonly key: Buffer;
}

export interface Page {
  readonly type: 'page';
  readonly entries: readonly PageEntry[];
  /** Other keys of the range follow. */
  readonly more: boolean;
}
