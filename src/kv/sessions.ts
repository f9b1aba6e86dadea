/**
 * Sessions: a repeated write is applied once (dissertation, section 6.3). A command opens a session, and
 * names it (session-id.ts). The client numbers its writes. With each write it says up to which sequence
 * it has all answers: the floor. The results of writes above the floor are kept, in as many slots as the window is
 * wide. So pipelined writes may arrive, and be repeated, in any order; but one that names another, as `after`, is
 * refused until that one was carried out or can no longer be.
 *
 * This table is in memory. It is the same on every replica, because only applied entries change it. So all replicas
 * also remove the same session when there are too many: the one whose last write is the oldest. The engine has an image
 * of the table: `takeChanges` gives what has changed since the last call. Whenever the engine makes data and image
 * durable, both must be of the same entry; in between the image may be older (see kv-state-machine.ts).
 */

import type { EngineOperation } from '../engines/storage-engine.js';
import { readUint53, writeUint53 } from '../record/record.js';
import { DROPPED_KEY, fromSessionKey, sessionKey } from './keys.js';
import { isDrawnId } from './session-id.js';

/** Must be the same on all replicas, so it is never changed: with different limits they would diverge. */
export const MAX_SESSIONS = 10_000;
export const MAX_WINDOW = 4096;
/**
 * Results of operations that all sessions together keep. 64 bytes of a value count as one more, so values take at most
 * 256 MB: a result may be as large as a value, since a repetition must be answered as the first was. Above it the least
 * recently used sessions are removed.
 */
export const MAX_KEPT_RESULTS = 4_000_000;

/**
 * `unchanged`: of an `expire` or `persist` whose key has not the deadline that it asks for; the other operations took
 * effect. `notANumber`, `overflow`: of an `increment`, because of which no operation took effect.
 */
export type OperationStatus =
  | 'ok'
  | 'conditionFailed'
  | 'valueTooLarge'
  | 'notApplied'
  | 'unchanged'
  | 'notANumber'
  | 'overflow';

export interface OperationResult {
  readonly status: OperationStatus;
  readonly existed: boolean;
  readonly version: number;
  /** Of an `increment`: the number that it left, as decimal text. Of a `modify`: see string-operation.ts. */
  readonly value?: Buffer | undefined;
}

export interface WriteResult {
  readonly applied: boolean;
  readonly index: number;
  readonly results: readonly OperationResult[];
}

interface Slot {
  sequence: number;
  result: WriteResult;
  /** The engine has an older image of it, or none. */
  isChanged: boolean;
}

interface Session {
  readonly id: number;
  readonly window: number;
  floor: number;
  /** Log index of the command that opened it. */
  readonly opened: number;
  /** Log index of its last write, or of the command that opened it. */
  lastUsed: number;
  readonly slots: Map<number, Slot>;
  /** The engine does not know it yet. */
  isNew: boolean;
  /** Numbers of the slots that have changed. */
  changed: number[];
}

type RefusedReason = 'SESSION_EXPIRED' | 'INVALID_REQUEST' | 'OUT_OF_ORDER';

export type SequenceCheck =
  | { readonly state: 'new' }
  | { readonly state: 'repeated'; readonly result: WriteResult }
  | { readonly state: 'refused'; readonly reason: RefusedReason };

const NEW: SequenceCheck = { state: 'new' };

export class Sessions {
  readonly #sessions = new Map<number, Session>();
  readonly #maxKeptResults: number;
  #keptResults = 0;
  /**
   * The sessions by age, the oldest last, as they were when one had to go: to keep them in order would cost something
   * at every write. What was used since is newer than all that was not.
   */
  #aged: { readonly session: Session; readonly lastUsed: number }[] = [];
  /** Sessions with changes that the engine has not. */
  #changed = new Set<Session>();
  /** Removed sessions of which the engine may have an image. */
  #removed: Session[] = [];
  #changedResults = 0;
  #hasDropped = false;
  #isDroppedWritten = false;

  /** The limit is a parameter for tests only: replicas must have the same one. */
  constructor(maxKeptResults: number = MAX_KEPT_RESULTS) {
    this.#maxKeptResults = maxKeptResults;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Always MAX_SESSIONS, except in the simulator, which lowers it to reach it. */
  get maxSize(): number {
    return MAX_SESSIONS;
  }

  get keptResults(): number {
    return this.#keptResults;
  }

  has(id: number): boolean {
    return this.#sessions.has(id);
  }

  /** Some were removed that clients may still use. */
  get hasDropped(): boolean {
    return this.#hasDropped;
  }

  /** How much `takeChanges` will give: about one per changed slot, and one per result in it. */
  get changedResults(): number {
    return this.#changedResults;
  }

  /**
   * Opens a session by the command of that index. Removes the least recently used one if there are too many. Gives the
   * window; undefined: there is one with this id.
   */
  open(id: number, window: number, index = id): number | undefined {
    if (this.#sessions.has(id)) return undefined;
    const granted = Math.min(Math.max(1, window), MAX_WINDOW);
    if (this.#sessions.size >= this.maxSize) this.#removeOldest();
    const session = sessionOf(id, granted, index, true);
    this.#sessions.set(id, session);
    this.#changed.add(session);
    this.#changedResults++;
    return granted;
  }

  /** `after`: the sequence that must be carried out, or be past the floor, before this one; 0 for none. */
  check(id: number, sequence: number, acknowledgedThrough: number, after = 0): SequenceCheck {
    const session = this.#sessions.get(id);
    if (!session) return { state: 'refused', reason: 'SESSION_EXPIRED' };
    const floor = Math.max(session.floor, acknowledgedThrough);
    const slot = session.slots.get(sequence % session.window);
    if (slot?.sequence === sequence) return { state: 'repeated', result: slot.result };
    if (sequence <= floor || sequence > floor + session.window) {
      return { state: 'refused', reason: 'INVALID_REQUEST' };
    }
    if (after > floor && session.slots.get(after % session.window)?.sequence !== after)
      return { state: 'refused', reason: 'OUT_OF_ORDER' };
    return NEW;
  }

  /** Keeps the result of a write that `check` called new. */
  record(id: number, sequence: number, acknowledgedThrough: number, result: WriteResult): void {
    const session = this.#sessions.get(id);
    if (!session) return;
    session.floor = Math.max(session.floor, acknowledgedThrough);
    session.lastUsed = result.index;
    this.#changedResults += 1 + result.results.length;
    this.#keptResults += weightOf(result);
    const number = sequence % session.window;
    const slot = session.slots.get(number);
    if (slot) {
      this.#keptResults -= weightOf(slot.result);
      if (slot.isChanged) this.#changedResults -= 1 + slot.result.results.length;
      slot.sequence = sequence;
      slot.result = result;
    } else session.slots.set(number, { sequence, result, isChanged: true });
    if (!slot?.isChanged) {
      if (slot) slot.isChanged = true;
      if (session.changed.length === 0) this.#changed.add(session);
      session.changed.push(number);
    }
    // The session itself is the newest, and stays.
    while (this.#keptResults > this.#maxKeptResults && this.#sessions.size > 1) this.#removeOldest();
  }

  /** What has changed in the image since the last call. For sessions that stay it is in the order of the keys. */
  takeChanges(): EngineOperation[] {
    const operations: EngineOperation[] = [];
    if (this.#hasDropped && !this.#isDroppedWritten) {
      this.#isDroppedWritten = true;
      operations.push({ type: 'put', key: DROPPED_KEY, value: Buffer.alloc(0) });
    }
    for (const { id, slots } of this.#removed) {
      operations.push({ type: 'delete', key: sessionKey(id) });
      for (const slot of slots.keys()) operations.push({ type: 'delete', key: sessionKey(id, slot) });
    }
    const changed = this.#changed.size > 1 ? [...this.#changed].sort((a, b) => a.id - b.id) : this.#changed;
    for (const session of changed) {
      const { id, floor, slots } = session;
      if (session.isNew) operations.push({ type: 'put', key: sessionKey(id), value: encodeOpened(session) });
      session.isNew = false;
      if (session.changed.length > 1) session.changed.sort((a, b) => a - b);
      for (const number of session.changed) {
        const slot = slots.get(number) as Slot;
        slot.isChanged = false;
        const value = encodeSlot(slot.sequence, floor, slot.result);
        operations.push({ type: 'put', key: sessionKey(id, number), value });
      }
      session.changed = [];
    }
    this.#changed.clear();
    this.#removed = [];
    this.#changedResults = 0;
    return operations;
  }

  /** Reads the table from the engine. */
  restore(entries: Iterable<readonly [Buffer, Buffer]>, hasDropped = false): void {
    this.#hasDropped = hasDropped;
    this.#isDroppedWritten = hasDropped;
    const found = new Map<number, Session>();
    for (const [key, value] of entries) {
      const { session: id, slot } = fromSessionKey(key);
      if (slot === undefined) {
        const opened = value.length > WINDOW_BYTES ? readUint53(value, WINDOW_BYTES) : id;
        found.set(id, sessionOf(id, value.readUInt32LE(0), opened, false));
        continue;
      }
      const session = found.get(id);
      if (!session) continue;
      const { sequence, floor, result } = decodeSlot(value);
      session.slots.set(slot, { sequence, result, isChanged: false });
      session.floor = Math.max(session.floor, floor);
      session.lastUsed = Math.max(session.lastUsed, result.index);
    }
    this.#sessions.clear();
    this.#aged = [];
    this.#keptResults = 0;
    this.#changed.clear();
    this.#removed = [];
    this.#changedResults = 0;
    for (const session of found.values()) {
      this.#sessions.set(session.id, session);
      for (const { result } of session.slots.values()) this.#keptResults += weightOf(result);
    }
  }

  /**
   * The table of a tablet that is made of two. A session that both have goes on with what both know: in the slot of two
   * writes, the one with the lower sequence lies below the floor of its client. One that only one of them has is
   * dropped if the other may have dropped it: there a write of it may have been applied, and would be applied again.
   * `bornAt`: a session that was opened later is unknown to the other one.
   */
  unite(tables: readonly (readonly [sessions: Sessions, bornAt: number])[]): void {
    const united = new Map<number, Session>();
    for (const [i, [table, bornAt]] of tables.entries()) {
      this.#hasDropped ||= table.#hasDropped;
      const [other] = tables[1 - i] ?? [];
      for (const session of table.#sessions.values()) {
        const isInBoth = other?.has(session.id) ?? false;
        const mayBeGone = !isInBoth && session.opened <= bornAt && (other?.hasDropped ?? false);
        if (!isDrawnId(session.id) || mayBeGone) this.#hasDropped = true;
        else uniteSession(united, session);
      }
    }
    const byAge = [...united.values()].sort((a, b) => a.lastUsed - b.lastUsed || a.id - b.id);
    for (const session of byAge) {
      this.#sessions.set(session.id, session);
      this.#changed.add(session);
      session.changed = [...session.slots.keys()];
      for (const { result } of session.slots.values()) this.#keptResults += weightOf(result);
    }
    while (this.#sessions.size > this.maxSize) this.#removeOldest();
    while (this.#keptResults > this.#maxKeptResults && this.#sessions.size > 1) this.#removeOldest();
    this.#removed = [];
  }

  #removeOldest(): void {
    this.#hasDropped = true;
    while (this.#sessions.size > 0) {
      const next = this.#aged.pop();
      if (!next) {
        this.#aged = [...this.#sessions.values()]
          .sort((a, b) => b.lastUsed - a.lastUsed || b.id - a.id)
          .map((session) => ({ session, lastUsed: session.lastUsed }));
      } else if (
        this.#sessions.get(next.session.id) === next.session &&
        next.session.lastUsed === next.lastUsed
      ) {
        this.#remove(next.session);
        return;
      }
    }
  }

  #remove(session: Session): void {
    this.#sessions.delete(session.id);
    this.#changed.delete(session);
    this.#removed.push(session);
    this.#changedResults += 1 + session.slots.size;
    for (const { result } of session.slots.values()) this.#keptResults -= weightOf(result);
  }
}

function uniteSession(united: Map<number, Session>, { slots, ...session }: Session): void {
  const known = united.get(session.id) ?? sessionOf(session.id, session.window, session.opened, true);
  united.set(session.id, known);
  known.floor = Math.max(known.floor, session.floor);
  for (const [number, { sequence, result }] of slots) {
    const present = known.slots.get(number);
    if (!present || present.sequence < sequence)
      known.slots.set(number, { sequence, result, isChanged: true });
  }
  for (const { result } of known.slots.values()) known.lastUsed = Math.max(known.lastUsed, result.index);
}

/** Bytes of a value that count as much as a result. Must be the same on all replicas, so it is never changed. */
const VALUE_BYTES_PER_RESULT = 64;

function weightOf({ results }: WriteResult): number {
  let weight = results.length;
  for (const { value } of results) if (value) weight += Math.floor(value.length / VALUE_BYTES_PER_RESULT);
  return weight;
}

function sessionOf(id: number, window: number, opened: number, isNew: boolean): Session {
  return { id, window, floor: 0, opened, lastUsed: opened, slots: new Map(), isNew, changed: [] };
}

const WINDOW_BYTES = 4;

/** window u32, and for an id that was drawn: opened u53 */
function encodeOpened({ id, window, opened }: Session): Buffer {
  const isDrawn = isDrawnId(id);
  const value = Buffer.allocUnsafe(isDrawn ? WINDOW_BYTES + 8 : WINDOW_BYTES);
  value.writeUInt32LE(window, 0);
  if (isDrawn) writeUint53(value, opened, WINDOW_BYTES);
  return value;
}

const STATUSES: readonly OperationStatus[] = [
  'ok',
  'conditionFailed',
  'valueTooLarge',
  'notApplied',
  'unchanged',
  'notANumber',
  'overflow',
];
const SLOT_HEADER_BYTES = 27;
const RESULT_BYTES = 10;
/** In the byte `existed`. */
const EXISTED = 1;
const HAS_VALUE = 2;

/**
 * sequence u53 | floor u53 | index u53 | applied u8 | results u16 | result ...
 * result: status u8 | existed u8: 1, with a value + 2 | version u53 | the value, if there is one: length u32, bytes
 */
function encodeSlot(sequence: number, floor: number, result: WriteResult): Buffer {
  const { results } = result;
  let sizeBytes = SLOT_HEADER_BYTES + results.length * RESULT_BYTES;
  for (const { value } of results) if (value) sizeBytes += 4 + value.length;
  const bytes = Buffer.allocUnsafe(sizeBytes);
  writeUint53(bytes, sequence, 0);
  writeUint53(bytes, floor, 8);
  writeUint53(bytes, result.index, 16);
  bytes.writeUInt8(result.applied ? 1 : 0, 24);
  bytes.writeUInt16LE(results.length, 25);
  let at = SLOT_HEADER_BYTES;
  for (const { status, existed, version, value } of results) {
    bytes.writeUInt8(STATUSES.indexOf(status), at);
    bytes.writeUInt8((existed ? EXISTED : 0) + (value ? HAS_VALUE : 0), at + 1);
    writeUint53(bytes, version, at + 2);
    at += RESULT_BYTES;
    if (!value) continue;
    bytes.set(value, bytes.writeUInt32LE(value.length, at));
    at += 4 + value.length;
  }
  return bytes;
}

function decodeSlot(bytes: Buffer): { sequence: number; floor: number; result: WriteResult } {
  const results: OperationResult[] = [];
  let at = SLOT_HEADER_BYTES;
  for (let left = bytes.readUInt16LE(25); left > 0; left--) {
    const flags = bytes.readUInt8(at + 1);
    const result = {
      status: STATUSES[bytes.readUInt8(at)] ?? 'ok',
      existed: (flags & EXISTED) > 0,
      version: readUint53(bytes, at + 2),
    };
    at += RESULT_BYTES;
    if ((flags & HAS_VALUE) === 0) results.push(result);
    else {
      const from = at + 4;
      at = from + bytes.readUInt32LE(at);
      results.push({ ...result, value: Buffer.from(bytes.subarray(from, at)) });
    }
  }
  return {
    sequence: readUint53(bytes, 0),
    floor: readUint53(bytes, 8),
    result: { applied: bytes.readUInt8(24) === 1, index: readUint53(bytes, 16), results },
  };
}
