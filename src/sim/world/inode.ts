/** One file of a simulated disk: what is written, what is synced, and which blocks differ. */
import type { SeededRandom } from './seeded-random.js';

export const BLOCK_BYTES = 512;

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
  content: Buffer = Buffer.alloc(0);
  sizeBytes = 0;
  durable: Buffer = Buffer.alloc(0);
  durableSizeBytes = 0;
  /** Changed blocks with the number of the write that changed them last. */
  readonly dirty = new Map<number, number>();
  writes = 0;
  /** The last write that a completed sync of the whole file covers. */
  syncedWrites = 0;
  readonly #syncs = new Set<Sync>();

  reserve(sizeBytes: number): void {
    if (sizeBytes <= this.content.length) return;
    const larger = Buffer.alloc(Math.max(sizeBytes, this.content.length * 2, BLOCK_BYTES));
    this.content.copy(larger, 0, 0, this.sizeBytes);
    this.content = larger;
  }

  markDirty(from: number, to: number): void {
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
      bytes: Buffer.from(this.content.subarray(start, Math.min(end, this.sizeBytes))),
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
    this.setDurableSize(sync.isWhole ? sync.sizeBytes : Math.max(sync.sizeBytes, this.durableSizeBytes));
    for (const { start, end, bytes } of sync.pieces) {
      bytes.copy(this.durable, start);
      this.#clean(start, end, sync.upTo);
    }
    for (const other of this.#syncs) if (other.upTo < sync.upTo) overlay(other, sync);
  }

  /** Blocks whose bytes are all synced are not dirty any more. */
  #clean(from: number, to: number, upTo: number): void {
    for (let block = Math.floor(from / BLOCK_BYTES); block * BLOCK_BYTES < to; block++) {
      if ((this.dirty.get(block) ?? 0) > upTo) continue;
      const [start, end] = [block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES];
      const written = this.content.subarray(start, Math.min(end, this.sizeBytes));
      const durable = this.durable.subarray(start, Math.min(end, this.durableSizeBytes));
      if (written.equals(durable)) this.dirty.delete(block);
    }
  }

  setDurableSize(sizeBytes: number): void {
    if (sizeBytes > this.durable.length) {
      const larger = Buffer.alloc(Math.max(sizeBytes, this.durable.length * 2));
      this.durable.copy(larger, 0, 0, this.durableSizeBytes);
      this.durable = larger;
    } else {
      this.durable.fill(0, sizeBytes);
    }
    this.durableSizeBytes = sizeBytes;
  }

  powerCut(random: SeededRandom): void {
    if (this.socket) this.socket = new SocketFile(false);
    const survivor = Buffer.alloc(Math.max(this.sizeBytes, this.durableSizeBytes));
    this.durable.copy(survivor, 0, 0, this.durableSizeBytes);
    const low = Math.min(this.sizeBytes, this.durableSizeBytes);
    let sizeBytes = random.chance(0.5)
      ? this.durableSizeBytes
      : random.chance(0.5)
        ? this.sizeBytes
        : random.between(low, survivor.length);
    for (const block of [...this.dirty.keys()].sort((a, b) => a - b)) {
      if (random.chance(0.5)) continue;
      const start = block * BLOCK_BYTES;
      const end = Math.min(start + BLOCK_BYTES, this.sizeBytes);
      if (end <= start) continue;
      this.content.copy(survivor, start, start, end);
      sizeBytes = Math.max(sizeBytes, end);
    }
    this.content = survivor;
    this.sizeBytes = sizeBytes;
    this.content.fill(0, sizeBytes);
    this.durable = Buffer.from(survivor);
    this.durableSizeBytes = sizeBytes;
    this.dirty.clear();
  }
}
