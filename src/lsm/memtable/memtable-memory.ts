/** The memory of memtables: shared between threads, and reused by later memtables. */

/** One element per node; see `memtable.ts`. */
export interface MemtableNodes {
  readonly left: Int32Array;
  readonly right: Int32Array;
  readonly parent: Int32Array;
  readonly red: Uint8Array;
  readonly prefix: Float64Array;
  readonly sequence: Float64Array;
  readonly chunk: Uint32Array;
  readonly offset: Uint32Array;
  readonly keyLength: Uint32Array;
  readonly valueLength: Uint32Array;
}

export interface MemtableMemory {
  nodes: MemtableNodes;
  /** Hold keys and values. */
  readonly chunks: Uint8Array[];
}

const FIRST_CAPACITY = 16;
/** Smaller chunks are not kept: each table begins with some. */
const LEAST_KEPT_CHUNK_BYTES = 32 * 1024;

export function newNodes(capacity: number): MemtableNodes {
  const shared = (bytes: number) => new SharedArrayBuffer(capacity * bytes);
  return {
    left: new Int32Array(shared(4)),
    right: new Int32Array(shared(4)),
    parent: new Int32Array(shared(4)),
    red: new Uint8Array(shared(1)),
    prefix: new Float64Array(shared(8)),
    sequence: new Float64Array(shared(8)),
    chunk: new Uint32Array(shared(4)),
    offset: new Uint32Array(shared(4)),
    keyLength: new Uint32Array(shared(4)),
    valueLength: new Uint32Array(shared(4)),
  };
}

export function newMemory(): MemtableMemory {
  return { nodes: newNodes(FIRST_CAPACITY), chunks: [] };
}

/** Returns `to`, which is at least as large. */
export function copyNodes(from: MemtableNodes, to: MemtableNodes): MemtableNodes {
  to.left.set(from.left);
  to.right.set(from.right);
  to.parent.set(from.parent);
  to.red.set(from.red);
  to.prefix.set(from.prefix);
  to.sequence.set(from.sequence);
  to.chunk.set(from.chunk);
  to.offset.set(from.offset);
  to.keyLength.set(from.keyLength);
  to.valueLength.set(from.valueLength);
  return to;
}

/** Gives memory to memtables, and takes it back when no reader uses it any more. */
export interface MemtablePool {
  take(): MemtableMemory | undefined;
  give(memory: MemtableMemory): void;
}

/** Keeps free memory up to a number of bytes; the garbage collector frees the rest. */
export class BoundedMemtablePool implements MemtablePool {
  #maxBytes: number;
  readonly #free: MemtableMemory[] = [];
  #sizeBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  take(): MemtableMemory | undefined {
    const memory = this.#free.pop();
    if (memory) this.#sizeBytes -= bytesOf(memory);
    return memory;
  }

  give({ nodes, chunks }: MemtableMemory): void {
    const memory = { nodes, chunks: chunks.filter(({ length }) => length >= LEAST_KEPT_CHUNK_BYTES) };
    const bytes = bytesOf(memory);
    if (this.#sizeBytes + bytes > this.#maxBytes) return;
    this.#sizeBytes += bytes;
    this.#free.push(memory);
  }

  /** Frees the memory that it keeps, and keeps none from now on. */
  close(): void {
    this.#maxBytes = 0;
    this.#sizeBytes = 0;
    this.#free.length = 0;
  }
}

/** Bytes of one node in all arrays. */
export const NODE_BYTES = 45;

function bytesOf({ nodes, chunks }: MemtableMemory): number {
  return chunks.reduce((sum, chunk) => sum + chunk.length, nodes.left.length * NODE_BYTES);
}
