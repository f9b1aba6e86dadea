/** One file of a simulated disk: what is written, what is synced, and which blocks differ. */
import type { SeededRandom } from './seeded-random.js';

export const BLOCK_BYTES = 512;
const NOTHING = Buffer.alloc(0);

export interface Range {
  readonly start: number;
  readonly end: number;
}

/** A sync that has begun, with the bytes and the size that it will make durable. */
export interface Sync {
  readonly isWhole: boolean;
  /** The last write that it covers. */
  readonly upTo: number;
  readonly pieces: readonly (Range & { readonly bytes: Buffer })[];
  sizeBytes: number;
}

/** An earlier sync may end after a later one. It must not replace what the later one has made durable. */
function overlay(earlier: Sync, later: Sync): void {
  earlier.sizeBytes = Math.max(earlier.sizeBytes, later.sizeBytes);
  for (const piece of earlier.pieces) {
    for (const { start, bytes } of later.pieces) {
      const from = Math.max(start, piece.start);
      const end = Math.min(start + bytes.length, piece.start + piece.bytes.length);
      if (from < end) bytes.copy(piece.bytes, from - piece.start, from - start, end - start);
    }
  }
}

/** A UNIX socket: a name on the disk. After a copy or a power cut nobody listens on it. */
export class SocketFile {
  isListening: boolean;

  constructor(isListening: boolean) {
    this.isListening = isListening;
  }
}

export class Inode {
  /** Of a UNIX socket. */
  socket: SocketFile | undefined;
  /** What is written: `sizeBytes` of it, and zeros behind them. */
  #content: Buffer = NOTHING;
  sizeBytes = 0;
  /** What is synced: `#durableSizeBytes` of it, and zeros behind them. */
  #durable: Buffer = NOTHING;
  #durableSizeBytes = 0;
  /** Copies have the same bytes as long as nobody changes them: who does so takes bytes of its own first. */
  #sharesContent = true;
  #sharesDurable = true;
  /** Changed blocks with the number of the write that changed them last. */
  readonly dirty = new Map<number, number>();
  writes = 0;
  /** The last write that a completed sync of the whole file covers. */
  syncedWrites = 0;
  readonly #syncs = new Set<Sync>();

  /** A copy in every detail, of which nothing is being synced. */
  copy(): Inode {
    const copy = new Inode();
    if (this.socket) copy.socket = new SocketFile(false);
    this.#sharesContent = true;
    this.#sharesDurable = true;
    copy.#content = this.#content;
    copy.sizeBytes = this.sizeBytes;
    copy.#durable = this.#durable;
    copy.#durableSizeBytes = this.#durableSizeBytes;
    copy.writes = this.writes;
    copy.syncedWrites = this.syncedWrites;
    for (const [block, write] of this.dirty) copy.dirty.set(block, write);
    return copy;
  }

  /** Not to be changed. */
  content(): Buffer {
    return this.#content.subarray(0, this.sizeBytes);
  }

  /** Returns how many bytes it read. */
  read(target: Uint8Array, position: number): number {
    const count = Math.max(0, Math.min(target.length, this.sizeBytes - position));
    if (count > 0) this.#content.copy(target, 0, position, position + count);
    return count;
  }

  /** Changes what is written and what is synced. */
  replace(content: Buffer): void {
    this.#setBoth(content, content.length);
  }

  /** Writes the first `count` bytes. */
  write(bytes: Buffer, position: number, count: number): void {
    const end = position + count;
    this.#reserve(end);
    bytes.copy(this.#content, position, 0, count);
    this.#markDirty(Math.min(position, this.sizeBytes), end);
    this.sizeBytes = Math.max(this.sizeBytes, end);
  }

  truncate(sizeBytes: number): void {
    this.#reserve(sizeBytes);
    const low = Math.min(sizeBytes, this.sizeBytes);
    this.#markDirty(low, Math.max(sizeBytes, this.sizeBytes));
    this.#content.fill(0, low);
    this.sizeBytes = sizeBytes;
  }

  #setBoth(bytes: Buffer, sizeBytes: number): void {
    this.#content = bytes;
    this.#durable = bytes;
    this.#sharesContent = true;
    this.#sharesDurable = true;
    this.sizeBytes = sizeBytes;
    this.#durableSizeBytes = sizeBytes;
    this.dirty.clear();
  }

  /** Room for so many bytes of its own. */
  #reserve(sizeBytes: number): void {
    const isEnough = sizeBytes <= this.#content.length;
    if (isEnough && !this.#sharesContent) return;
    const length = isEnough
      ? this.#content.length
      : Math.max(sizeBytes, this.#content.length * 2, BLOCK_BYTES);
    this.#content = copyOf(this.#content, this.sizeBytes, length);
    this.#sharesContent = false;
  }

  #reserveDurable(sizeBytes: number): void {
    const isEnough = sizeBytes <= this.#durable.length;
    if (isEnough && !this.#sharesDurable) return;
    const length = isEnough ? this.#durable.length : Math.max(sizeBytes, this.#durable.length * 2);
    this.#durable = copyOf(this.#durable, this.#durableSizeBytes, length);
    this.#sharesDurable = false;
  }

  #markDirty(from: number, to: number): void {
    this.writes++;
    for (let block = Math.floor(from / BLOCK_BYTES); block * BLOCK_BYTES < to; block++) {
      this.dirty.set(block, this.writes);
    }
  }

  /** Begins a sync of all written bytes, or of some bytes only. */
  beginSync(only?: Range): Sync {
    const blocks = [...this.dirty.keys()].map((block) => ({
      start: block * BLOCK_BYTES,
      end: (block + 1) * BLOCK_BYTES,
    }));
    const pieces = (only ? [only] : blocks).map(({ start, end }) => ({
      start,
      end,
      bytes: Buffer.from(this.#content.subarray(start, Math.min(end, this.sizeBytes))),
    }));
    const sizeBytes = only ? Math.min(only.end, this.sizeBytes) : this.sizeBytes;
    const sync: Sync = { isWhole: !only, upTo: this.writes, pieces, sizeBytes };
    this.#syncs.add(sync);
    return sync;
  }

  /** The sync has ended: what it covers is durable. */
  endSync(sync: Sync): void {
    this.#syncs.delete(sync);
    // Of two overlapping syncs the earlier may end later. It adds nothing to a later sync of the whole file.
    if (sync.upTo < this.syncedWrites) return;
    if (sync.isWhole) this.syncedWrites = sync.upTo;
    this.#setDurableSize(sync.isWhole ? sync.sizeBytes : Math.max(sync.sizeBytes, this.#durableSizeBytes));
    for (const { start, end, bytes } of sync.pieces) {
      bytes.copy(this.#durable, start);
      this.#clean(start, end, sync.upTo);
    }
    for (const other of this.#syncs) if (other.upTo < sync.upTo) overlay(other, sync);
  }

  /** Blocks whose bytes are all synced are not dirty any more. */
  #clean(from: number, to: number, upTo: number): void {
    for (let block = Math.floor(from / BLOCK_BYTES); block * BLOCK_BYTES < to; block++) {
      if ((this.dirty.get(block) ?? 0) > upTo) continue;
      const [start, end] = [block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES];
      const written = this.#content.subarray(start, Math.min(end, this.sizeBytes));
      const durable = this.#durable.subarray(start, Math.min(end, this.#durableSizeBytes));
      if (written.equals(durable)) this.dirty.delete(block);
    }
  }

  #setDurableSize(sizeBytes: number): void {
    this.#reserveDurable(sizeBytes);
    if (sizeBytes < this.#durableSizeBytes) this.#durable.fill(0, sizeBytes, this.#durableSizeBytes);
    this.#durableSizeBytes = sizeBytes;
  }

  powerCut(random: SeededRandom): void {
    if (this.socket) this.socket = new SocketFile(false);
    const low = Math.min(this.sizeBytes, this.#durableSizeBytes);
    const high = Math.max(this.sizeBytes, this.#durableSizeBytes);
    let sizeBytes = random.chance(0.5)
      ? this.#durableSizeBytes
      : random.chance(0.5)
        ? this.sizeBytes
        : random.between(low, high);
    if (this.dirty.size === 0 && low === high) {
      this.#setBoth(this.#durable, sizeBytes);
      return;
    }
    const survivor = copyOf(this.#durable, this.#durableSizeBytes, high);
    for (const block of [...this.dirty.keys()].sort((a, b) => a - b)) {
      if (random.chance(0.5)) continue;
      const start = block * BLOCK_BYTES;
      const end = Math.min(start + BLOCK_BYTES, this.sizeBytes);
      if (end <= start) continue;
      this.#content.copy(survivor, start, start, end);
      sizeBytes = Math.max(sizeBytes, end);
    }
    this.#setBoth(survivor.fill(0, sizeBytes), sizeBytes);
  }
}

/** The first bytes of a buffer, and zeros behind them. */
function copyOf(bytes: Buffer, count: number, length: number): Buffer {
  const copy = Buffer.alloc(length);
  bytes.copy(copy, 0, 0, count);
  return copy;
}
