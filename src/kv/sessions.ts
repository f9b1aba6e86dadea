/**
 * Sessions: a repeated write is applied once (dissertation, section 6.3). A command opens a session; the session's
 * number is the log index of that command. The client numbers its writes. With each write it says up to which sequence
 * it has all answers: the floor. The results of writes above the floor are kept, in as many slots as the window is
 * wide. So pipelined writes may arrive, and be repeated, in any order.
 *
 * The engine holds the table: each change is in the batch of the write that caused it. This class is its copy in
 * memory. It is the same on every replica, because only applied entries change it. So all replicas also remove the same
 * session when there are too many: the one whose last write is the oldest.
 */

import type { EngineOperation } from '../engines/storage-engine.js';
import { readUint53, writeUint53 } from '../record/record.js';
import { fromSessionKey, sessionKey } from './keys.js';

/** Must be the same on all replicas, so it is never changed: with different limits they would diverge. */
export const MAX_SESSIONS = 10_000;
export const MAX_WINDOW = 4096;
/** Results of operations that all sessions together keep. Above it the least recently used sessions are removed. */
export const MAX_KEPT_RESULTS = 4_000_000;

export type OperationStatus = 'ok' | 'conditionFailed' | 'valueTooLarge' | 'notApplied';

export interface OperationResult {
  readonly status: OperationStatus;
  readonly existed: boolean;
  readonly version: number;
}

export interface WriteResult {
  readonly applied: boolean;
  readonly index: number;
  readonly results: readonly OperationResult[];
}

interface Slot {
  readonly sequence: number;
  readonly result: WriteResult;
}

interface Session {
  readonly id: number;
  readonly window: number;
  floor: number;
  /** Log index of its last write, or of the command that opened it. */
  lastUsed: number;
  readonly slots: Map<number, Slot>;
}

export type SequenceCheck =
  | { readonly state: 'new' }
  | { readonly state: 'repeated'; readonly result: WriteResult }
  | { readonly state: 'refused'; readonly reason: 'SESSION_EXPIRED' | 'INVALID_REQUEST' };

export class Sessions {
  /** Ordered by `lastUsed`. */
  readonly #sessions = new Map<number, Session>();
  readonly #maxKeptResults: number;
  #keptResults = 0;

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

  /** Opens a session. Removes the least recently used one if there are too many. */
  open(id: number, window: number): { window: number; operations: EngineOperation[] } {
    const granted = Math.min(Math.max(1, window), MAX_WINDOW);
    const operations: EngineOperation[] = [];
    if (this.#sessions.size >= this.maxSize) {
      const [oldest] = this.#sessions.values();
      if (oldest) operations.push(...this.#remove(oldest));
    }
    this.#sessions.set(id, { id, window: granted, floor: 0, lastUsed: id, slots: new Map() });
    const value = Buffer.allocUnsafe(4);
    value.writeUInt32LE(granted, 0);
    operations.push({ type: 'put', key: sessionKey(id), value });
    return { window: granted, operations };
  }

  check(id: number, sequence: number, acknowledgedThrough: number): SequenceCheck {
    const session = this.#sessions.get(id);
    if (!session) return { state: 'refused', reason: 'SESSION_EXPIRED' };
    const floor = Math.max(session.floor, acknowledgedThrough);
    const slot = session.slots.get(sequence % session.window);
    if (slot?.sequence === sequence) return { state: 'repeated', result: slot.result };
    if (sequence <= floor || sequence > floor + session.window) {
      return { state: 'refused', reason: 'INVALID_REQUEST' };
    }
    return { state: 'new' };
  }

  /** Keeps the result of a write that `check` called new. */
  record(id: number, sequence: number, acknowledgedThrough: number, result: WriteResult): EngineOperation[] {
    const session = this.#sessions.get(id);
    if (!session) return [];
    session.floor = Math.max(session.floor, acknowledgedThrough);
    session.lastUsed = result.index;
    this.#sessions.delete(id);
    this.#sessions.set(id, session);
    const slot = sequence % session.window;
    this.#keptResults += result.results.length - (session.slots.get(slot)?.result.results.length ?? 0);
    session.slots.set(slot, { sequence, result });
    const operations: EngineOperation[] = [];
    for (const oldest of this.#sessions.values()) {
      if (this.#keptResults <= this.#maxKeptResults || oldest === session) break;
      operations.push(...this.#remove(oldest));
    }
    operations.push({
      type: 'put',
      key: sessionKey(id, slot),
      value: encodeSlot(sequence, session.floor, result),
    });
    return operations;
  }

  /** Reads the table from the engine. */
  restore(entries: Iterable<readonly [Buffer, Buffer]>): void {
    const found = new Map<number, Session>();
    for (const [key, value] of entries) {
      const { session: id, slot } = fromSessionKey(key);
      if (slot === undefined) {
        const window = value.readUInt32LE(0);
        found.set(id, { id, window, floor: 0, lastUsed: id, slots: new Map() });
        continue;
      }
      const session = found.get(id);
      if (!session) continue;
      const { sequence, floor, result } = decodeSlot(value);
      session.slots.set(slot, { sequence, result });
      session.floor = Math.max(session.floor, floor);
      session.lastUsed = Math.max(session.lastUsed, result.index);
    }
    this.#sessions.clear();
    this.#keptResults = 0;
    for (const session of [...found.values()].sort((a, b) => a.lastUsed - b.lastUsed)) {
      this.#sessions.set(session.id, session);
      for (const { result } of session.slots.values()) this.#keptResults += result.results.length;
    }
  }

  #remove(session: Session): EngineOperation[] {
    this.#sessions.delete(session.id);
    for (const { result } of session.slots.values()) this.#keptResults -= result.results.length;
    return [
      { type: 'delete', key: sessionKey(session.id) },
      ...[...session.slots.keys()].map(
        (slot): EngineOperation => ({ type: 'delete', key: sessionKey(session.id, slot) }),
      ),
    ];
  }
}

const STATUSES: readonly OperationStatus[] = ['ok', 'conditionFailed', 'valueTooLarge', 'notApplied'];
const SLOT_HEADER_BYTES = 27;
const RESULT_BYTES = 10;

/** sequence u53 | floor u53 | index u53 | applied u8 | results u16 | ( status u8 | existed u8 | version u53 ) ... */
function encodeSlot(sequence: number, floor: number, result: WriteResult): Buffer {
  const { results } = result;
  const bytes = Buffer.allocUnsafe(SLOT_HEADER_BYTES + results.length * RESULT_BYTES);
  writeUint53(bytes, sequence, 0);
  writeUint53(bytes, floor, 8);
  writeUint53(bytes, result.index, 16);
  bytes.writeUInt8(result.applied ? 1 : 0, 24);
  bytes.writeUInt16LE(results.length, 25);
  let at = SLOT_HEADER_BYTES;
  for (const { status, existed, version } of results) {
    bytes.writeUInt8(STATUSES.indexOf(status), at);
    bytes.writeUInt8(existed ? 1 : 0, at + 1);
    writeUint53(bytes, version, at + 2);
    at += RESULT_BYTES;
  }
  return bytes;
}

function decodeSlot(bytes: Buffer): { sequence: number; floor: number; result: WriteResult } {
  const results: OperationResult[] = [];
  for (let i = 0; i < bytes.readUInt16LE(25); i++) {
    const at = SLOT_HEADER_BYTES + i * RESULT_BYTES;
    results.push({
      status: STATUSES[bytes.readUInt8(at)] ?? 'ok',
      existed: bytes.readUInt8(at + 1) === 1,
      version: readUint53(bytes, at + 2),
    });
  }
  return {
    sequence: readUint53(bytes, 0),
    floor: readUint53(bytes, 8),
    result: { applied: bytes.readUInt8(24) === 1, index: readUint53(bytes, 16), results },
  };
}
