/**
 * The newest changes of a group's keys, in the order in which they were applied: what watchers are told from. Each node
 * has its own, filled by the entries that it applies.
 *
 *     chunk            chunk            chunk
 *     [.. 17 18 18 18] [18 19 21 22 ..] [25 26 ....        a record is a change; it has the version of its entry
 *      ^ oldest position                         ^ published         ^ written, and not in the engine yet
 *
 * A position counts the bytes of all records before it, from the start of the process. Changes are written while
 * entries are applied, and published when the engine has them. When the oldest chunk goes, the history is complete from
 * the version after the last one in that chunk: of a version that lies in two chunks no half counts.
 *
 *     record   type u8 | key bytes u32 | value bytes u32 | version u53 | key | value
 *
 * A change is copied once, here; neither objects nor the memory of received frames are kept for it.
 */
import { CHUNK_BYTES, type HistoryBudget } from './history-budget.js';

/** `expire`: the deadline of the key has passed. */
export const CHANGE_TYPES = ['put', 'delete', 'expire'] as const;
export type ChangeType = (typeof CHANGE_TYPES)[number];

export interface Change {
  readonly type: ChangeType;
  readonly key: Buffer;
  /** Empty unless it is a put. */
  readonly value: Buffer;
  /** The index of the entry that made it. Changes of one version were made by one write. */
  readonly version: number;
}

export const PUT = 0;
export const DELETE = 1;
export const EXPIRE = 2;
type TypeNumber = typeof PUT | typeof DELETE | typeof EXPIRE;

const HEADER_BYTES = 17;
const FIRST_CHUNK_BYTES = 1024;
const SHORT_BYTES = 48;

class Chunk {
  readonly bytes: Buffer;
  /** The position of its first record. */
  readonly start: number;
  usedBytes = 0;
  lastVersion = 0;
  /** When something was written to it last. */
  lastMs = 0;
  /** Views of its memory were given away. */
  isShared = false;
  next: Chunk | undefined;

  constructor(bytes: Buffer, start: number) {
    this.bytes = bytes;
    this.start = start;
  }

  get end(): number {
    return this.start + this.usedBytes;
  }
}

/** Where a record lies: filled by `ChangeHistory.read`. */
export class RecordView {
  chunk: Chunk | undefined;
  type: TypeNumber = PUT;
  version = 0;
  keyAt = 0;
  keyBytes = 0;
  valueBytes = 0;
  /** The position of the next record. */
  next = 0;

  get bytes(): Buffer {
    return (this.chunk as Chunk).bytes;
  }

  get sizeBytes(): number {
    return this.keyBytes + this.valueBytes;
  }

  /** With views of the history's memory, which does not change. */
  change(): Change {
    const chunk = this.chunk as Chunk;
    chunk.isShared = true;
    const valueAt = this.keyAt + this.keyBytes;
    return {
      type: CHANGE_TYPES[this.type],
      key: chunk.bytes.subarray(this.keyAt, valueAt),
      value: chunk.bytes.subarray(valueAt, valueAt + this.valueBytes),
      version: this.version,
    };
  }
}

export class ChangeHistory {
  readonly #budget: HistoryBudget;
  readonly #chunks: Chunk[] = [];
  #sizeBytes = 0;
  #tail: Chunk | undefined;
  #end = 0;
  #published = 0;
  #through = 0;
  #oldest = 1;
  #view = new RecordView();
  /**
   * Where tablets were merged into this one, changes up to this version have versions of the logs of several: it is no
   * place for all keys. 0: there are none such.
   */
  mergedThrough = 0;
  /** Told that changes from this position on were published, or that the index has moved on. */
  onPublished: (from: number) => void = () => {};
  /** Told that the history begins anew; before, it went up to this version. */
  onReset: (throughBefore: number) => void = () => {};

  constructor(budget: HistoryBudget) {
    this.#budget = budget;
    budget.add(this);
  }

  get droppableBytes(): number {
    const [first] = this.#chunks;
    return first && first.end <= this.#published ? this.#sizeBytes : 0;
  }

  /** All changes from this version on are here, but for those that come. */
  get oldestVersion(): number {
    return this.#oldest;
  }

  /** The last entry that is applied: later changes have later versions. */
  get throughVersion(): number {
    return this.#through;
  }

  /** Where the oldest record lies. */
  get start(): number {
    return this.#chunks[0]?.start ?? this.#published;
  }

  /** Behind the last record that is published. */
  get end(): number {
    return this.#published;
  }

  /**
   * The state is that after entry `throughVersion`, and what came before is not known: after a start, or when a
   * snapshot has replaced the state.
   */
  reset(throughVersion: number): void {
    for (const { bytes, isShared } of this.#chunks.splice(0)) this.#budget.give(bytes, isShared);
    this.#sizeBytes = 0;
    this.#tail = undefined;
    this.#view = new RecordView();
    this.#published = this.#end;
    const before = this.#through;
    this.#through = throughVersion;
    this.#oldest = throughVersion + 1;
    this.onReset(before);
  }

  /** `stored`: the key as the engine stores it, with one byte before it. */
  add(type: TypeNumber, version: number, stored: Uint8Array, value: Uint8Array): void {
    const keyBytes = stored.length - 1;
    const valueBytes = value.length;
    const sizeBytes = HEADER_BYTES + keyBytes + valueBytes;
    let chunk = this.#tail;
    if (chunk === undefined || chunk.bytes.length - chunk.usedBytes < sizeBytes)
      chunk = this.#grow(sizeBytes);
    const { bytes, usedBytes: at } = chunk;
    bytes[at] = type;
    writeUint32(bytes, keyBytes, at + 1);
    writeUint32(bytes, valueBytes, at + 5);
    writeUint32(bytes, version, at + 9);
    writeUint32(bytes, version / 2 ** 32, at + 13);
    copy(stored, 1, bytes, at + HEADER_BYTES);
    copy(value, 0, bytes, at + HEADER_BYTES + keyBytes);
    chunk.usedBytes += sizeBytes;
    chunk.lastVersion = version;
    this.#end += sizeBytes;
  }

  /** The engine has all that was added; entries up to this one are applied. */
  publish(throughVersion: number): void {
    const from = this.#published;
    this.#published = this.#end;
    this.#through = throughVersion;
    if (this.#tail && from < this.#end) this.#tail.lastMs = this.#budget.nowMs();
    this.onPublished(from);
  }

  /**
   * Goes on where others end, with the changes of some keys, in the order of their versions. Nothing was added to this
   * one yet, and it begins behind the last entry of each.
   */
  follow(before: readonly ChangeHistory[], owns: (key: Buffer) => boolean): void {
    const sources = before.map((history) => ({ history, at: history.start }));
    const versionOf = ({ history, at }: (typeof sources)[number]) =>
      at < history.end ? history.read(at).version : Number.POSITIVE_INFINITY;
    for (;;) {
      let source: (typeof sources)[number] | undefined;
      for (const each of sources) {
        // To make room for what is added here, what it is read from may have been let go.
        each.at = Math.max(each.at, each.history.start);
        if (!source || versionOf(each) < versionOf(source)) source = each;
      }
      if (!source || source.at >= source.history.end) break;
      const { type, version, bytes, keyAt, keyBytes, valueBytes, next } = source.history.read(source.at);
      source.at = next;
      const valueAt = keyAt + keyBytes;
      if (!owns(bytes.subarray(keyAt, valueAt))) continue;
      const record = Buffer.from(bytes.subarray(keyAt - 1, valueAt + valueBytes));
      this.add(type, version, record.subarray(0, keyBytes + 1), record.subarray(keyBytes + 1));
    }
    // Of several, what one does not keep any more lacks.
    this.#oldest = Math.max(...before.map(({ oldestVersion }) => oldestVersion));
    this.mergedThrough = Math.max(this.mergedThrough, ...before.map(({ mergedThrough }) => mergedThrough));
    this.publish(this.#through);
  }

  /** Lets go what is too old. */
  dropExpired(): void {
    const oldestMs = this.#budget.nowMs() - this.#budget.limits.keepMs;
    for (let first = this.#chunks[0]; first && first.lastMs < oldestMs; first = this.#chunks[0])
      if (!this.dropOldest()) return;
  }

  /** What is not published stays. */
  dropOldest(): boolean {
    const [first] = this.#chunks;
    if (!first || first.end > this.#published) return false;
    this.#chunks.shift();
    this.#sizeBytes -= first.bytes.length;
    this.#oldest = Math.max(this.#oldest, first.lastVersion + 1);
    if (first === this.#tail) this.#tail = undefined;
    if (this.#view.chunk === first) this.#view = new RecordView();
    this.#budget.give(first.bytes, first.isShared);
    return true;
  }

  /** A position from which on all published changes of this version, and of later ones, lie. */
  positionOf(version: number): number {
    for (const { start, lastVersion } of this.#chunks) if (lastVersion >= version) return start;
    return this.#published;
  }

  /**
   * The record at a position from `start` up to, not including, `end`. Good until the next call, or until something is
   * dropped.
   */
  read(position: number): RecordView {
    const view = this.#view;
    let chunk = view.chunk;
    if (chunk && position === chunk.end) chunk = chunk.next;
    if (!chunk || position < chunk.start || position >= chunk.end) chunk = this.#find(position);
    const { bytes } = chunk;
    const at = position - chunk.start;
    view.chunk = chunk;
    view.type = bytes[at] as TypeNumber;
    view.keyAt = at + HEADER_BYTES;
    view.keyBytes = readUint32(bytes, at + 1);
    view.valueBytes = readUint32(bytes, at + 5);
    view.version = readUint32(bytes, at + 9) + readUint32(bytes, at + 13) * 2 ** 32;
    view.next = position + HEADER_BYTES + view.keyBytes + view.valueBytes;
    return view;
  }

  close(): void {
    this.reset(this.#through);
    this.#budget.remove(this);
  }

  #find(position: number): Chunk {
    let low = 0;
    let high = this.#chunks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#chunks[middle] as Chunk).start <= position) low = middle;
      else high = middle - 1;
    }
    return this.#chunks[low] as Chunk;
  }

  /** A group with few changes takes little memory: chunks become larger as it grows. */
  #grow(sizeBytes: number): Chunk {
    this.dropExpired();
    const wanted = Math.max(FIRST_CHUNK_BYTES, Math.min(CHUNK_BYTES, this.#sizeBytes));
    const bytes = this.#budget.take(Math.max(sizeBytes, wanted));
    const chunk = new Chunk(bytes, this.#end);
    chunk.lastMs = this.#budget.nowMs();
    if (this.#tail) this.#tail.next = chunk;
    this.#tail = chunk;
    this.#chunks.push(chunk);
    this.#sizeBytes += bytes.length;
    return chunk;
  }
}

function writeUint32(bytes: Buffer, value: number, at: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

function readUint32(bytes: Buffer, at: number): number {
  return (
    (bytes[at] as number) +
    (bytes[at + 1] as number) * 0x100 +
    (bytes[at + 2] as number) * 0x1_0000 +
    (bytes[at + 3] as number) * 0x100_0000
  );
}

/** A loop is faster for short ones. */
function copy(source: Uint8Array, from: number, target: Buffer, at: number): void {
  const { length } = source;
  if (length - from > SHORT_BYTES) {
    target.set(from === 0 ? source : source.subarray(from), at);
    return;
  }
  for (let i = from; i < length; i++) target[at + i - from] = source[i] as number;
}
