/**
 * The newest writes, in memory: a red-black tree (Cormen, Leiserson, Rivest, Stein: Introduction to Algorithms,
 * chapter 13) in structure-of-arrays form. A node is an index into typed arrays; 0 is the nil node.
 *
 *     left, right, parent   Int32Array      tree links
 *     red                   Uint8Array      colour
 *     prefix                Float64Array    six bytes of the key behind what all keys share, see `orderPrefix`
 *     sequence              Float64Array    integers to 2^53 - 1
 *     chunk, offset         Uint32Array     where key and value stand, one behind the other, in the arena
 *     keyLength             Uint32Array
 *     valueLength           Uint32Array     TOMBSTONE for a deletion
 *
 * Nothing is ever removed or moved, so that a node index stays good for the life of the table and a cursor may be
 * left open while entries are inserted. All of it stands in shared memory: another thread reads a frozen table
 * through `share` and `attach` without a copy.
 *
 * A table begins with little memory. When that is full it takes memory of the `MemtablePool`, which may be large. So a
 * tree that is hardly written holds little. The pool gets the memory back when the table's flush is durable and no
 * reader pins it.
 */
import {
  ALIGNED_BYTES,
  alignmentGap,
  compareRanges,
  copyBytes,
  copyRange,
  NO_BYTES,
  ORDER_PREFIX_BYTES,
  orderPrefix,
  sharedLength,
} from '../base/bytes.js';
import { Cursor } from '../base/cursor.js';
import { hashKey, type KeyHash } from '../base/key-hash.js';
import { KeyFilter } from './key-filter.js';
import {
  copyNodes,
  type MemtableMemory,
  type MemtableNodes,
  type MemtablePool,
  NODE_BYTES,
  newMemory,
  newNodes,
} from './memtable-memory.js';

const TOMBSTONE = 0xffffffff;
const FIRST_CHUNK_BYTES = 1024;
const LARGEST_CHUNK_BYTES = 1024 * 1024;
/** After this many times that a key shortened the common prefix, no common prefix is used any more. */
const MOST_SHARED_CHANGES = 40;
/** A search in a smaller table is as fast as the filter. */
const LEAST_FILTERED = 64;
/** Hashing a longer key takes longer than searching it. */
export const MOST_FILTERED_BYTES = 1024;

const nodeHash: KeyHash = { first: 0, second: 0 };

/** A frozen memtable as it is sent to another thread. */
export interface SharedMemtable {
  readonly memory: MemtableMemory;
  readonly root: number;
  readonly rightmost: number;
  readonly count: number;
  readonly shared: number;
  readonly sharedBytes: Uint8Array;
}

export class Memtable {
  readonly #pool: MemtablePool | undefined;
  readonly #memory: MemtableMemory;
  /** No memory of the pool was asked for yet. */
  #isSmall = true;
  #left: Int32Array;
  #right: Int32Array;
  #parent: Int32Array;
  #red: Uint8Array;
  #prefix: Float64Array;
  #sequence: Float64Array;
  #chunk: Uint32Array;
  #offset: Uint32Array;
  #keyLength: Uint32Array;
  #valueLength: Uint32Array;
  readonly #chunks: Buffer[];
  /** How many of `#chunks` hold data. */
  #chunksUsed = 0;
  #chunkUsed = 0;
  #arenaBytes = 0;
  #capacity: number;
  #count = 0;
  #root = 0;
  #rightmost = 0;
  #pins = 0;
  #isDropped = false;
  /** All keys begin with the first `#shared` bytes of this. */
  #sharedBytes: Buffer = NO_BYTES;
  #shared = 0;
  #sharedChanges = 0;
  #filter: KeyFilter | undefined;
  /** The nodes up to this one are in the filter. */
  #filtered = 0;

  /** The oldest WAL file that has entries of this table; undefined while it is empty, or without a WAL. */
  oldestWal: number | undefined;
  firstSequence = 0;
  lastSequence = 0;
  tombstones = 0;

  constructor(pool?: MemtablePool, memory = newMemory()) {
    this.#pool = pool;
    this.#memory = memory;
    const { nodes } = this.#memory;
    this.#left = nodes.left;
    this.#right = nodes.right;
    this.#parent = nodes.parent;
    this.#red = nodes.red;
    this.#prefix = nodes.prefix;
    this.#sequence = nodes.sequence;
    this.#chunk = nodes.chunk;
    this.#offset = nodes.offset;
    this.#keyLength = nodes.keyLength;
    this.#valueLength = nodes.valueLength;
    this.#capacity = nodes.left.length;
    this.#chunks = this.#memory.chunks.map(viewOf);
  }

  /** A frozen table for another thread to read. It must not be dropped until that thread has finished. */
  share(): SharedMemtable {
    return {
      memory: { nodes: this.#memory.nodes, chunks: this.#memory.chunks.slice(0, this.#chunksUsed) },
      root: this.#root,
      rightmost: this.#rightmost,
      count: this.#count,
      shared: this.#shared,
      sharedBytes: Uint8Array.from(this.#sharedBytes),
    };
  }

  /** Opens a table that another thread shares, for reading. */
  static attach(shared: SharedMemtable): Memtable {
    const table = new Memtable(undefined, shared.memory);
    table.#root = shared.root;
    table.#rightmost = shared.rightmost;
    table.#count = shared.count;
    table.#shared = shared.shared;
    table.#sharedBytes = viewOf(shared.sharedBytes);
    return table;
  }

  /** A reader that uses the table for more than one turn of the event loop pins it, and unpins it once. */
  pin(): void {
    this.#pins++;
  }

  unpin(): void {
    this.#pins--;
    this.#giveBack();
  }

  /** Call this when the table is in durable files and no new reader finds it. */
  drop(): void {
    this.#isDropped = true;
    this.#giveBack();
  }

  #giveBack(): void {
    if (!this.#isDropped || this.#pins > 0) return;
    this.#isDropped = false;
    if (!this.#isSmall) this.#pool?.give(this.#memory);
    // A reader without a pin finds an empty table here, not the keys of another table.
    this.#root = 0;
    this.#rightmost = 0;
    this.#count = 0;
    this.#filter = undefined;
    this.#filtered = 0;
  }

  get count(): number {
    return this.#count;
  }

  /** Memory in use: keys, values and nodes. */
  get sizeBytes(): number {
    return this.#arenaBytes + this.#count * NODE_BYTES;
  }

  /** Inserts a version; no value means a deletion. Sequences must rise from call to call. Copies the bytes. */
  insertPair(sequence: number, key: Uint8Array, value: Uint8Array | undefined): void {
    this.insert(sequence, key, 0, key.length, value ?? NO_BYTES, 0, value === undefined ? -1 : value.length);
  }

  /** As `insertPair`, for ranges of bytes; a `valueEnd` below `valueStart` means a deletion. */
  insert(
    sequence: number,
    keySource: Uint8Array,
    keyStart: number,
    keyEnd: number,
    valueSource: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): void {
    const deleted = valueEnd < valueStart;
    const node = this.#store(
      keySource,
      keyStart,
      keyEnd,
      valueSource,
      valueStart,
      Math.max(valueStart, valueEnd),
    );
    if (node === 1) {
      this.#sharedBytes = Buffer.from(keySource.subarray(keyStart, keyEnd));
      this.#shared = keyEnd - keyStart;
      this.firstSequence = sequence;
    } else {
      const shared = sharedLength(this.#sharedBytes, 0, this.#shared, keySource, keyStart, keyEnd);
      if (shared < this.#shared) this.#shrinkShared(shared);
    }
    const prefix = orderPrefix(keySource, keyStart + this.#shared, keyEnd);
    this.#prefix[node] = prefix;
    this.#sequence[node] = sequence;
    if (deleted) {
      this.#valueLength[node] = TOMBSTONE;
      this.tombstones++;
    }
    this.lastSequence = sequence;
    this.#link(node, prefix, keySource, keyStart, keyEnd);
    this.#count = node;
  }

  /**
   * The newest version of a key at or below a sequence: its node, or 0. With the hash of the key, the filter is asked
   * first, which holds keys of up to `MOST_FILTERED_BYTES`.
   */
  find(key: Uint8Array, sequence: number, hash?: KeyHash): number {
    const isFiltered = this.#count >= LEAST_FILTERED && key.length <= MOST_FILTERED_BYTES;
    if (hash && isFiltered && !this.#mayContain(hash)) return 0;
    const node = this.#lowerBound(key, sequence);
    if (node === 0 || this.#keyLength[node] !== key.length) return 0;
    const chunk = this.#chunks[this.#chunk[node] as number] as Buffer;
    const start = this.#offset[node] as number;
    return compareRanges(chunk, start, start + key.length, key, 0, key.length) === 0 ? node : 0;
  }

  #mayContain(hash: KeyHash): boolean {
    if (this.#filtered < this.#count) this.#filterNewest();
    return (this.#filter as KeyFilter).mayContain(hash);
  }

  /** Adds what was inserted since the last time. */
  #filterNewest(): void {
    if (this.#filter === undefined || this.#count > this.#filter.capacity) {
      this.#filter = new KeyFilter(2 * this.#count);
      this.#filtered = 0;
    }
    while (this.#filtered < this.#count) {
      const node = ++this.#filtered;
      const length = this.#keyLength[node] as number;
      if (length > MOST_FILTERED_BYTES) continue;
      const start = this.#offset[node] as number;
      hashKey(this.#chunks[this.#chunk[node] as number] as Buffer, start, start + length, nodeHash);
      this.#filter.add(nodeHash);
    }
  }

  isDeleted(node: number): boolean {
    return this.#valueLength[node] === TOMBSTONE;
  }

  /** A copy of a node's value. */
  value(node: number): Buffer {
    const chunk = this.#chunks[this.#chunk[node] as number] as Buffer;
    const start = (this.#offset[node] as number) + (this.#keyLength[node] as number);
    return copyRange(chunk, start, start + (this.#valueLength[node] as number));
  }

  cursor(): MemtableCursor {
    return new MemtableCursor(this);
  }

  first(): number {
    let node = this.#root;
    if (node === 0) return 0;
    for (;;) {
      const left = this.#left[node] as number;
      if (left === 0) return node;
      node = left;
    }
  }

  last(): number {
    return this.#rightmost;
  }

  /** The first node at or after a position, or 0. */
  seek(key: Uint8Array, sequence: number): number {
    return this.#lowerBound(key, sequence);
  }

  successor(node: number): number {
    return neighbour(node, this.#right, this.#left, this.#parent);
  }

  predecessor(node: number): number {
    return neighbour(node, this.#left, this.#right, this.#parent);
  }

  /** Estimates the share of the nodes before this one, as if the tree were balanced; node 0 is the end. */
  shareBefore(node: number): number {
    if (node === 0) return 1;
    if (node === this.first()) return 0;
    let share = 0.5;
    for (let child = node, above = this.#parent[node] as number; above !== 0; ) {
      share = this.#left[above] === child ? share / 2 : 0.5 + share / 2;
      child = above;
      above = this.#parent[above] as number;
    }
    return share;
  }

  /** Points a cursor at a node. */
  load(cursor: Cursor, node: number): void {
    if (node === 0) {
      cursor.valid = false;
      return;
    }
    const chunk = this.#chunks[this.#chunk[node] as number] as Buffer;
    const start = this.#offset[node] as number;
    const keyEnd = start + (this.#keyLength[node] as number);
    const valueLength = this.#valueLength[node] as number;
    cursor.valid = true;
    cursor.keyBytes = chunk;
    cursor.keyStart = start;
    cursor.keyEnd = keyEnd;
    cursor.sequence = this.#sequence[node] as number;
    cursor.deleted = valueLength === TOMBSTONE;
    cursor.valueBytes = chunk;
    cursor.valueStart = keyEnd;
    cursor.valueEnd = valueLength === TOMBSTONE ? keyEnd : keyEnd + valueLength;
  }

  /** What is wrong with the tree, or undefined: colours, black heights, links and order. */
  findViolation(): string | undefined {
    if (this.#red[0] === 1 || this.#red[this.#root] === 1) return 'the root or nil is red';
    const shape = this.#checkSubtree(this.#root);
    if (typeof shape === 'string') return shape;
    if (shape.nodes !== this.#count) return `${shape.nodes} nodes are linked, ${this.#count} were inserted`;
    let before = 0;
    for (let node = this.first(); node !== 0; node = this.successor(node)) {
      if (before !== 0 && this.#compareNodes(before, node) >= 0) return `node ${node} is out of order`;
      if (this.predecessor(node) !== before) return `node ${node} has a wrong predecessor`;
      before = node;
    }
    return before === this.#rightmost ? undefined : 'the rightmost node is not the last';
  }

  #checkSubtree(node: number): { nodes: number; blackHeight: number } | string {
    if (node === 0) return { nodes: 0, blackHeight: 0 };
    for (const child of [this.#left[node] as number, this.#right[node] as number]) {
      if (child === 0) continue;
      if (this.#parent[child] !== node) return `node ${child} does not know its parent ${node}`;
      if (this.#red[node] === 1 && this.#red[child] === 1) return `red node ${node} has a red child`;
    }
    const left = this.#checkSubtree(this.#left[node] as number);
    if (typeof left === 'string') return left;
    const right = this.#checkSubtree(this.#right[node] as number);
    if (typeof right === 'string') return right;
    if (left.blackHeight !== right.blackHeight) return `node ${node} has unequal black heights`;
    return {
      nodes: left.nodes + right.nodes + 1,
      blackHeight: left.blackHeight + (this.#red[node] === 1 ? 0 : 1),
    };
  }

  /** Copies key and value into the arena and gives them a node that is not linked yet. */
  #store(
    keySource: Uint8Array,
    keyStart: number,
    keyEnd: number,
    valueSource: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): number {
    const keyLength = keyEnd - keyStart;
    const valueLength = valueEnd - valueStart;
    const bytes = keyLength + valueLength;
    let chunk = this.#chunks[this.#chunksUsed - 1];
    // With room for a gap before the key, so that the value is aligned like its source.
    if (chunk === undefined || this.#chunkUsed + bytes + 7 > chunk.length) {
      chunk = this.#nextChunk(bytes + 7);
      this.#chunkUsed = 0;
    }
    let at = this.#chunkUsed;
    if (valueLength >= ALIGNED_BYTES) at += alignmentGap(chunk, at + keyLength, valueSource, valueStart);
    copyBytes(chunk, at, keySource, keyStart, keyEnd);
    copyBytes(chunk, at + keyLength, valueSource, valueStart, valueEnd);
    this.#chunkUsed = at + bytes;
    this.#arenaBytes += bytes;
    const node = this.#count + 1;
    if (node >= this.#capacity) this.#grow();
    // The memory may have held another table.
    this.#left[node] = 0;
    this.#right[node] = 0;
    this.#chunk[node] = this.#chunksUsed - 1;
    this.#offset[node] = at;
    this.#keyLength[node] = keyLength;
    this.#valueLength[node] = valueLength;
    return node;
  }

  /** A chunk with room for this many bytes. Chunks of reused memory that are too small are skipped. */
  #nextChunk(bytes: number): Buffer {
    if (this.#chunksUsed > 0) this.#takePooled();
    for (;;) {
      const known = this.#chunks[this.#chunksUsed];
      if (known === undefined) break;
      this.#chunksUsed++;
      if (known.length >= bytes) return known;
    }
    const size = Math.min(LARGEST_CHUNK_BYTES, FIRST_CHUNK_BYTES * 2 ** this.#chunks.length);
    const chunk = new Uint8Array(new SharedArrayBuffer(Math.max(size, bytes)));
    this.#memory.chunks.push(chunk);
    const view = viewOf(chunk);
    this.#chunks.push(view);
    this.#chunksUsed++;
    return view;
  }

  #grow(): void {
    this.#takePooled();
    if (this.#count + 1 >= this.#capacity)
      this.#use(copyNodes(this.#memory.nodes, newNodes(2 * this.#capacity)));
  }

  /** Once: after that the table grows by new memory. */
  #takePooled(): void {
    if (!this.#isSmall) return;
    this.#isSmall = false;
    const pooled = this.#pool?.take();
    if (!pooled) return;
    if (pooled.nodes.left.length > this.#capacity) this.#use(copyNodes(this.#memory.nodes, pooled.nodes));
    this.#memory.chunks.push(...pooled.chunks);
    this.#chunks.push(...pooled.chunks.map(viewOf));
  }

  #use(nodes: MemtableNodes): void {
    this.#memory.nodes = nodes;
    this.#left = nodes.left;
    this.#right = nodes.right;
    this.#parent = nodes.parent;
    this.#red = nodes.red;
    this.#prefix = nodes.prefix;
    this.#sequence = nodes.sequence;
    this.#chunk = nodes.chunk;
    this.#offset = nodes.offset;
    this.#keyLength = nodes.keyLength;
    this.#valueLength = nodes.valueLength;
    this.#capacity = nodes.left.length;
  }

  /** Recomputes all prefixes. The order of the keys stays the same, and so does the tree. */
  #shrinkShared(shared: number): void {
    this.#sharedChanges++;
    this.#shared = this.#sharedChanges < MOST_SHARED_CHANGES ? shared : 0;
    for (let node = 1; node <= this.#count; node++) {
      const chunk = this.#chunks[this.#chunk[node] as number] as Buffer;
      const start = this.#offset[node] as number;
      const end = start + (this.#keyLength[node] as number);
      this.#prefix[node] = orderPrefix(chunk, start + this.#shared, end);
    }
  }

  #link(node: number, prefix: number, source: Uint8Array, keyStart: number, keyEnd: number): void {
    const prefixes = this.#prefix;
    const left = this.#left;
    const right = this.#right;
    const rightmost = this.#rightmost;
    if (rightmost !== 0) {
      // Keys that arrive in order go to the end without a descent.
      const last = prefixes[rightmost] as number;
      if (prefix > last || (prefix === last && this.#compareKey(source, keyStart, keyEnd, rightmost) > 0)) {
        right[rightmost] = node;
        this.#parent[node] = rightmost;
        this.#red[node] = 1;
        this.#rightmost = node;
        this.#balance(node);
        return;
      }
    }
    let parent = 0;
    let at = this.#root;
    let before = false;
    while (at !== 0) {
      parent = at;
      const other = prefixes[at] as number;
      // A newer version of the same key is placed before the older ones.
      before = prefix < other || (prefix === other && this.#compareKey(source, keyStart, keyEnd, at) <= 0);
      at = (before ? left[at] : right[at]) as number;
    }
    this.#parent[node] = parent;
    this.#red[node] = 1;
    if (parent === 0) {
      this.#root = node;
      this.#rightmost = node;
    } else if (before) left[parent] = node;
    else right[parent] = node;
    this.#balance(node);
  }

  /** Restores the red-black properties after an insertion (CLRS 13.3). */
  #balance(inserted: number): void {
    const left = this.#left;
    const right = this.#right;
    const parent = this.#parent;
    const red = this.#red;
    let node = inserted;
    for (;;) {
      let up = parent[node] as number;
      if (red[up] !== 1) break;
      const grand = parent[up] as number;
      const upIsLeft = left[grand] === up;
      const uncle = (upIsLeft ? right[grand] : left[grand]) as number;
      if (red[uncle] === 1) {
        red[up] = 0;
        red[uncle] = 0;
        red[grand] = 1;
        node = grand;
        continue;
      }
      if ((upIsLeft ? right[up] : left[up]) === node) {
        this.#rotate(up, upIsLeft);
        node = up;
        up = parent[node] as number;
      }
      red[up] = 0;
      red[grand] = 1;
      this.#rotate(grand, !upIsLeft);
      break;
    }
    red[this.#root] = 0;
  }

  /** Rotates a node down: to the left if `toLeft`, with its right child coming up, otherwise the mirror image. */
  #rotate(node: number, toLeft: boolean): void {
    const near = toLeft ? this.#left : this.#right;
    const far = toLeft ? this.#right : this.#left;
    const parents = this.#parent;
    const risen = far[node] as number;
    const inner = near[risen] as number;
    far[node] = inner;
    if (inner !== 0) parents[inner] = node;
    const above = parents[node] as number;
    parents[risen] = above;
    if (above === 0) this.#root = risen;
    else if (this.#left[above] === node) this.#left[above] = risen;
    else this.#right[above] = risen;
    near[risen] = node;
    parents[node] = risen;
  }

  /** Compares a key whose prefix equals a node's with that node's key. */
  #compareKey(source: Uint8Array, keyStart: number, keyEnd: number, node: number): number {
    const known = this.#shared + ORDER_PREFIX_BYTES;
    const length = keyEnd - keyStart;
    const nodeLength = this.#keyLength[node] as number;
    if (length <= known || nodeLength <= known) return length - nodeLength;
    const start = this.#offset[node] as number;
    const chunk = this.#chunks[this.#chunk[node] as number] as Buffer;
    return compareRanges(source, keyStart + known, keyEnd, chunk, start + known, start + nodeLength);
  }

  #compareNodes(a: number, b: number): number {
    const chunk = this.#chunks[this.#chunk[a] as number] as Buffer;
    const start = this.#offset[a] as number;
    const order =
      (this.#prefix[a] as number) - (this.#prefix[b] as number) ||
      this.#compareKey(chunk, start, start + (this.#keyLength[a] as number), b);
    return order || (this.#sequence[b] as number) - (this.#sequence[a] as number);
  }

  #lowerBound(key: Uint8Array, sequence: number): number {
    if (this.#root === 0) return 0;
    const shared = this.#shared;
    if (sharedLength(this.#sharedBytes, 0, shared, key, 0, key.length) < shared) {
      const order = compareRanges(key, 0, key.length, this.#sharedBytes, 0, shared);
      return order < 0 ? this.first() : 0;
    }
    const prefix = orderPrefix(key, shared, key.length);
    const prefixes = this.#prefix;
    let result = 0;
    let node = this.#root;
    while (node !== 0) {
      const other = prefixes[node] as number;
      let atOrBehind = other > prefix;
      if (other === prefix) {
        const order = this.#compareKey(key, 0, key.length, node);
        atOrBehind = order < 0 || (order === 0 && (this.#sequence[node] as number) <= sequence);
      }
      if (atOrBehind) {
        result = node;
        node = this.#left[node] as number;
      } else {
        node = this.#right[node] as number;
      }
    }
    return result;
  }
}

/**
 * In-order neighbour: `towards` and `away` are right and left for the successor, left and right for the predecessor.
 */
function neighbour(node: number, towards: Int32Array, away: Int32Array, parents: Int32Array): number {
  let at = towards[node] as number;
  if (at !== 0) {
    for (;;) {
      const further = away[at] as number;
      if (further === 0) return at;
      at = further;
    }
  }
  let child = node;
  at = parents[child] as number;
  while (at !== 0 && towards[at] === child) {
    child = at;
    at = parents[at] as number;
  }
  return at;
}

function viewOf(chunk: Uint8Array): Buffer {
  return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
}

export class MemtableCursor extends Cursor {
  readonly #memtable: Memtable;
  #node = 0;

  constructor(memtable: Memtable) {
    super();
    this.#memtable = memtable;
  }

  seekToFirst(): void {
    this.#move(this.#memtable.first());
  }

  seekToLast(): void {
    this.#move(this.#memtable.last());
  }

  seek(key: Uint8Array, sequence: number): void {
    this.#move(this.#memtable.seek(key, sequence));
  }

  seekBefore(key: Uint8Array, sequence: number): void {
    const node = this.#memtable.seek(key, sequence);
    this.#move(node === 0 ? this.#memtable.last() : this.#memtable.predecessor(node));
  }

  next(): void {
    this.#move(this.#memtable.successor(this.#node));
  }

  previous(): void {
    this.#move(this.#memtable.predecessor(this.#node));
  }

  close(): void {
    this.valid = false;
  }

  #move(node: number): void {
    this.#node = node;
    this.#memtable.load(this, node);
  }
}
