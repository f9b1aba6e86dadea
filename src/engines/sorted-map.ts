/**
 * An ordered map from bytes to values, in memory. The keys lie in chunks of a few hundred. A view is taken in constant
 * time: while one may be in use, a change copies the chunk that it changes, and the list of chunks once per view.
 *
 * Keys are ordered by unsigned bytes, a prefix before what it begins. The map keeps the buffers that it is given.
 */
interface Chunk<V> {
  /** The number of views taken before the chunk was made. A view that was taken later may hold the chunk. */
  readonly views: number;
  readonly keys: Buffer[];
  readonly values: V[];
}

export interface SortedRange {
  readonly gte?: Uint8Array;
  readonly lt?: Uint8Array;
  readonly reverse?: boolean;
}

const MAX_CHUNK_KEYS = 512;
/** Two neighbours with at most this many keys together are merged. */
const MERGED_CHUNK_KEYS = MAX_CHUNK_KEYS / 2;

export class SortedMap<V> {
  /** No chunk is empty. */
  #chunks: Chunk<V>[] = [];
  /** A view holds this list of chunks. */
  #isViewed = false;
  #views = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(key: Uint8Array): V | undefined {
    const chunk = this.#chunks[this.#chunkFor(key)];
    if (!chunk) return undefined;
    const at = lowerBound(chunk.keys, key);
    return isAt(chunk.keys, at, key) ? chunk.values[at] : undefined;
  }

  set(key: Buffer, value: V): void {
    const i = this.#chunkFor(key);
    const chunk = this.#changeable(i);
    const { keys, values } = chunk;
    const at = lowerBound(keys, key);
    if (isAt(keys, at, key)) {
      values[at] = value;
      return;
    }
    keys.splice(at, 0, key);
    values.splice(at, 0, value);
    this.#size++;
    if (keys.length <= MAX_CHUNK_KEYS) return;
    // If keys arrive in order, full chunks stay full.
    const half = at === keys.length - 1 && i === this.#chunks.length - 1 ? at : keys.length >> 1;
    const upper = { views: this.#views, keys: keys.splice(half), values: values.splice(half) };
    this.#chunks.splice(i + 1, 0, upper);
  }

  delete(key: Uint8Array): boolean {
    const i = this.#chunkFor(key);
    const present = this.#chunks[i];
    if (!present) return false;
    const at = lowerBound(present.keys, key);
    if (!isAt(present.keys, at, key)) return false;
    const { keys, values } = this.#changeable(i);
    keys.splice(at, 1);
    values.splice(at, 1);
    this.#size--;
    if (keys.length === 0) this.#chunks.splice(i, 1);
    else this.#mergeWithNext(i);
    return true;
  }

  /** The entries of a range as they are now; later changes do not change what the iterator gives. */
  entries(range: SortedRange): Generator<readonly [Buffer, V]> {
    this.#isViewed = true;
    return entriesOf(this.#chunks, range);
  }

  #chunkFor(key: Uint8Array): number {
    return chunkFor(this.#chunks, key);
  }

  /** Returns the chunk after making sure that no view holds it. Creates it if the map is empty. */
  #changeable(i: number): Chunk<V> {
    if (this.#isViewed) {
      this.#chunks = this.#chunks.slice();
      this.#isViewed = false;
      this.#views++;
    }
    const chunk = this.#chunks[i];
    if (chunk && chunk.views === this.#views) return chunk;
    const own = {
      views: this.#views,
      keys: chunk ? chunk.keys.slice() : [],
      values: chunk ? chunk.values.slice() : [],
    };
    this.#chunks[i] = own;
    return own;
  }

  /** The chunk `i` must be changeable. */
  #mergeWithNext(i: number): void {
    const [chunk, next] = [this.#chunks[i], this.#chunks[i + 1]];
    if (!chunk || !next || chunk.keys.length + next.keys.length > MERGED_CHUNK_KEYS) return;
    chunk.keys.push(...next.keys);
    chunk.values.push(...next.values);
    this.#chunks.splice(i + 1, 1);
  }
}

function* entriesOf<V>(
  chunks: readonly Chunk<V>[],
  { gte, lt, reverse = false }: SortedRange,
): Generator<readonly [Buffer, V]> {
  const isWithin = (key: Buffer) => !(gte && compare(key, gte) < 0) && !(lt && compare(key, lt) >= 0);
  const step = reverse ? -1 : 1;
  const edge = reverse ? lt : gte;
  let i = edge ? chunkFor(chunks, edge) : reverse ? chunks.length - 1 : 0;
  /** The index of the first key in the first chunk. */
  let at = edge ? lowerBound(chunks[i]?.keys ?? [], edge) + (reverse ? -1 : 0) : undefined;
  for (; i >= 0 && i < chunks.length; i += step, at = undefined) {
    const { keys, values } = chunks[i] as Chunk<V>;
    for (let j = at ?? (reverse ? keys.length - 1 : 0); j >= 0 && j < keys.length; j += step) {
      const key = keys[j] as Buffer;
      if (!isWithin(key)) return;
      yield [key, values[j] as V];
    }
  }
}

/** The chunk that holds the key or would hold it: the last one that does not begin after it, or the first. */
function chunkFor<V>(chunks: readonly Chunk<V>[], key: Uint8Array): number {
  let low = 0;
  let high = chunks.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compare(chunks[middle]?.keys[0] ?? key, key) <= 0) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}

function compare(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b);
}

/** The first key that is not before this one. */
function lowerBound(keys: readonly Buffer[], key: Uint8Array): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compare(keys[middle] as Buffer, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function isAt(keys: readonly Buffer[], at: number, key: Uint8Array): boolean {
  const found = keys[at];
  return found !== undefined && compare(found, key) === 0;
}
