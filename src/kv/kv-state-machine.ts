/**
 * The replicated key-value store. Each call of `apply` turns committed commands into one engine batch. Data, sessions
 * and the applied index are in the same atomic batch, so after any crash the three agree. What the engine has lost, the
 * Raft log replays.
 */

import type { EngineOperation, OpenEngine, StorageEngine } from '../engines/storage-engine.js';
import { RaftreeError } from '../env/errors.js';
import type { Entry } from '../raft/types.js';
import type { GroupStateMachine } from '../replica/group-state-machine.js';
import { performWrite } from './atomic-write.js';
import { BatchKeys } from './batch-keys.js';
import { type Command, commandOf, type VoidEntry } from './command.js';
import {
  AFTER_USER_KEYS,
  APPLIED_KEY,
  decodeApplied,
  encodeApplied,
  fromStoredValue,
  fromUserKey,
  SESSION_RANGE,
  storedValue,
  userKey,
  type VersionedValue,
} from './keys.js';
import type { PageEntry, SessionOpened, Written } from './requests.js';
import { Sessions } from './sessions.js';

export type CommandResult =
  | { readonly type: 'none' }
  | Written
  | SessionOpened
  | { readonly type: 'refused'; readonly code: 'SESSION_EXPIRED' | 'INVALID_REQUEST' }
  /** No replica can apply the entry: it changed nothing. */
  | { readonly type: 'void' };

/** The changes of the entries of one engine batch. */
interface PendingBatch {
  readonly keys: BatchKeys;
  /** Changes of sessions. */
  readonly operations: EngineOperation[];
}

/** When a batch has so many bytes of keys and values, it is written, and the next entry begins another. */
const FULL_BATCH_BYTES = 64 * 1024 * 1024;
const NO_RESULT: CommandResult = { type: 'none' };

export class KvStateMachine implements GroupStateMachine<CommandResult> {
  #engine: StorageEngine;
  readonly #reopen: OpenEngine;
  readonly #sessions = new Sessions();
  #appliedIndex = 0;
  #durableIndex = 0;
  #isClosed = false;
  /** Batches that the engine has taken and not yet made durable. */
  #undurable: { readonly sequence: number; readonly index: number }[] = [];
  readonly #onVoid: (index: number, reason: string) => void;
  #voidEntries = 0;

  /**
   * `reopen` opens the engine of a snapshot. `emptyAt` is the applied index of an empty engine. `onVoid` is called for
   * each entry that no replica can apply. Throws `CORRUPTION` if the parts of the engine's state contradict each other.
   */
  constructor(
    engine: StorageEngine,
    reopen: OpenEngine,
    emptyAt = 0,
    onVoid: (index: number, reason: string) => void = () => {},
  ) {
    this.#engine = engine;
    this.#reopen = reopen;
    this.#onVoid = onVoid;
    this.#load(emptyAt);
  }

  get appliedIndex(): number {
    return this.#appliedIndex;
  }

  /** How many entries that no replica can apply were given to this process. */
  get voidEntries(): number {
    return this.#voidEntries;
  }

  get durableIndex(): number {
    const { durableSequence } = this.#engine;
    let count = 0;
    for (const { sequence, index } of this.#undurable) {
      if (sequence > durableSequence) break;
      this.#durableIndex = index;
      count++;
    }
    if (count > 0) this.#undurable = this.#undurable.slice(count);
    return this.#durableIndex;
  }

  apply(
    first: number,
    entries: readonly Entry[],
  ): readonly CommandResult[] | Promise<readonly CommandResult[]> {
    if (first !== this.#appliedIndex + 1) {
      throw new RaftreeError(
        'CORRUPTION',
        `entry ${first} does not follow entry ${this.#appliedIndex}, the last one applied`,
      );
    }
    return this.#applyOnwards(first, entries, []);
  }

  /** Writes several batches if one would be too large: an append changes a whole value and brings a few bytes. */
  #applyOnwards(
    first: number,
    entries: readonly Entry[],
    before: readonly CommandResult[],
  ): readonly CommandResult[] | Promise<readonly CommandResult[]> {
    const keys = new BatchKeys((stored) => this.#read(stored));
    const operations: EngineOperation[] = [];
    const batch: PendingBatch = { keys, operations };
    const own: CommandResult[] = [];
    for (const { kind, body } of entries) {
      if (keys.changedBytes > FULL_BATCH_BYTES) break;
      const index = first + own.length;
      own.push(kind === 'command' ? this.#applyCommand(commandOf(body), index, batch) : NO_RESULT);
    }
    const last = first + own.length - 1;
    const rest = entries.slice(own.length);
    for (const { stored: key, left } of keys.changed) {
      if (left) operations.push({ type: 'put', key, value: storedValue(left.version, left.value) });
      else operations.push({ type: 'delete', key });
    }
    operations.push({
      type: 'put',
      key: APPLIED_KEY,
      value: encodeApplied({ first, last, term: entries[own.length - 1]?.term ?? 0 }),
    });
    const done = (sequence: number) => {
      this.#appliedIndex = last;
      this.#undurable.push({ sequence, index: last });
      const results = before.length > 0 ? [...before, ...own] : own;
      return rest.length > 0 ? this.#applyOnwards(last + 1, rest, results) : results;
    };
    const sequence = this.#engine.write(operations);
    return typeof sequence === 'number' ? done(sequence) : sequence.then(done);
  }

  flush(): Promise<void> {
    return this.#engine.flush();
  }

  checkpoint(directory: string): Promise<void> {
    return this.#engine.checkpoint(directory);
  }

  check(directory: string): Promise<void> {
    return this.#engine.check(directory);
  }

  async restore(directory: string): Promise<void> {
    const before = this.#engine;
    const opened = await this.#reopen(directory);
    if (this.#isClosed) {
      // No other code closes this engine.
      await opened.close();
      return;
    }
    this.#engine = opened;
    this.#load(0);
    await before.close();
  }

  close(): Promise<void> {
    this.#isClosed = true;
    return this.#engine.close();
  }

  get(key: Uint8Array): VersionedValue | undefined {
    return this.#read(userKey(key));
  }

  /** A page of keys in [from, to); without `to`, to the last key. `more`: other keys follow. */
  scan(options: {
    from: Uint8Array;
    to: Uint8Array | undefined;
    reverse: boolean;
    maxEntries: number;
    maxBytes: number;
  }): { entries: PageEntry[]; more: boolean } {
    const entries: PageEntry[] = [];
    let bytes = 0;
    const range = {
      gte: userKey(options.from),
      lt: options.to ? userKey(options.to) : AFTER_USER_KEYS,
      reverse: options.reverse,
    };
    if (Buffer.compare(range.gte, range.lt) >= 0) return { entries, more: false };
    for (const [key, stored] of this.#engine.entries(range)) {
      if (entries.length >= options.maxEntries) return { entries, more: true };
      bytes += key.length + stored.length;
      if (entries.length > 0 && bytes > options.maxBytes) return { entries, more: true };
      entries.push({ key: fromUserKey(key), ...fromStoredValue(stored) });
    }
    return { entries, more: false };
  }

  approximateKeys(): number {
    return this.#engine.approximateKeys();
  }

  #load(emptyAt: number): void {
    const applied = this.#engine.get(APPLIED_KEY);
    this.#appliedIndex = applied ? decodeApplied(applied).last : emptyAt;
    this.#durableIndex = this.#appliedIndex;
    this.#undurable = [];
    this.#sessions.restore(this.#engine.entries(SESSION_RANGE));
  }

  #applyCommand(command: Command | VoidEntry, index: number, batch: PendingBatch): CommandResult {
    if (command.type === 'void') {
      this.#voidEntries++;
      this.#onVoid(index, command.reason);
      return { type: 'void' };
    }
    if (command.type === 'openSession') {
      const opened = this.#sessions.open(index, command.window);
      batch.operations.push(...opened.operations);
      return { type: 'sessionOpened', sessionId: index, window: opened.window };
    }
    const { session, operations, maxValueBytes } = command;
    const perform = () => performWrite(operations, { index, maxValueBytes }, batch.keys);
    if (session === undefined) return { type: 'written', write: perform() };
    const { id, sequence, acknowledgedThrough } = session;
    const check = this.#sessions.check(id, sequence, acknowledgedThrough);
    if (check.state === 'refused') return { type: 'refused', code: check.reason };
    if (check.state === 'repeated') return { type: 'written', write: check.result };
    const write = perform();
    batch.operations.push(...this.#sessions.record(id, sequence, acknowledgedThrough, write));
    return { type: 'written', write };
  }

  #read(stored: Buffer): VersionedValue | undefined {
    const value = this.#engine.get(stored);
    return value && fromStoredValue(value);
  }
}
