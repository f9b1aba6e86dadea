/**
 * A disk that forgets, after Pebble's crashable MemFS. Per file it keeps what is written and what is synced; per
 * directory the names that are written and those that are synced. `powerCut` keeps of everything unsynced a random
 * *subset*: of a file's changed 512-byte blocks (so holes appear), of its size, and of a directory's changed names.
 * A durable write makes durable its own bytes only, whatever else its blocks hold.
 *
 * A `SimFileSystem` is one process' view of the disk. A killed process' view is detached: whatever the dead still
 * try fails, and what they had written stays.
 */
import { type BoundSocket, type File, type FileSystem, type OpenMode, SYNC_CALL } from '../../env/env.js';
import { RaftreeError } from '../../env/errors.js';
import type { SeededRandom } from './seeded-random.js';

const BLOCK_BYTES = 512;

interface Range {
  readonly start: number;
  readonly end: number;
}

/** A sync under way, with the bytes and the size that it will make durable. */
interface Sync {
  readonly isWhole: boolean;
  /** The last write that it covers. */
  readonly upTo: number;
  readonly pieces: readonly (Range & { readonly bytes: Buffer })[];
  sizeBytes: number;
}

/** What a later sync has made durable is not taken back by an earlier one that ends after it. */
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

/** That of a copy, or of before a power cut, has no listener. */
class SimSocket {
  isListening: boolean;

  constructor(isListening: boolean) {
    this.isListening = isListening;
  }
}

class Inode {
  /** Of a UNIX socket. */
  socket: SimSocket | undefined;
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

  /** A sync that starts now: of all that is written, or of some bytes only. */
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

  /** It has ended: what it covers is durable. */
  endSync(sync: Sync): void {
    this.#syncs.delete(sync);
    // Of two syncs that overlap, the one that began earlier may end later: it adds nothing to one of the whole file.
    if (sync.upTo < this.syncedWrites) return;
    if (sync.isWhole) this.syncedWrites = sync.upTo;
    this.setDurableSize(sync.isWhole ? sync.sizeBytes : Math.max(sync.sizeBytes, this.durableSizeBytes));
    for (const { start, end, bytes } of sync.pieces) {
      bytes.copy(this.durable, start);
      this.#clean(start, end, sync.upTo);
    }
    for (const other of this.#syncs) if (other.upTo < sync.upTo) overlay(other, sync);
  }

  /** Blocks without anything unsynced are not dirty any more. */
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
    if (this.socket) this.socket = new SimSocket(false);
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

type NameChange =
  | { readonly kind: 'set'; readonly name: string; readonly node: Inode | Directory }
  | { readonly kind: 'remove'; readonly name: string }
  | {
      readonly kind: 'rename';
      readonly from: string;
      readonly name: string;
      readonly node: Inode | Directory;
    };

class Directory {
  readonly names = new Map<string, Inode | Directory>();
  readonly durableNames = new Map<string, Inode | Directory>();
  readonly changes: NameChange[] = [];

  change(change: NameChange): void {
    apply(this.names, change);
    this.changes.push(change);
  }

  /** Makes changes durable: all, or those given that another sync has not made durable meanwhile. */
  sync(only: readonly NameChange[] = [...this.changes]): void {
    for (const change of only) {
      const at = this.changes.indexOf(change);
      if (at < 0) continue;
      this.changes.splice(at, 1);
      apply(this.durableNames, change);
    }
  }

  powerCut(random: SeededRandom): void {
    for (const change of this.changes) if (random.chance(0.5)) apply(this.durableNames, change);
    this.changes.length = 0;
    this.names.clear();
    for (const [name, node] of this.durableNames) {
      this.names.set(name, node);
      node.powerCut(random);
    }
  }
}

function apply(names: Map<string, Inode | Directory>, change: NameChange): void {
  if (change.kind === 'remove') names.delete(change.name);
  else {
    if (change.kind === 'rename') names.delete(change.from);
    names.set(change.name, change.node);
  }
}

export type FileOperationKind =
  | 'open'
  | 'create'
  | 'read'
  | 'write'
  | 'sync'
  | 'truncate'
  | 'rename'
  | 'link'
  | 'unlink'
  | 'mkdir'
  | 'sync-directory'
  | 'bind'
  | 'connect';

export interface FileOperation {
  /** Counted from 1 over the life of the view. */
  readonly number: number;
  readonly kind: FileOperationKind;
  readonly path: string;
  readonly sizeBytes?: number;
}

/**
 * What to do with an operation: `undefined` lets it happen; an Error is thrown in its place; `short` writes half of the
 * bytes, up to the end of a block, and then throws ENOSPC; `ignore` reports success and does nothing (a disk that lies
 * about syncs); `lose` is a sync that fails with EIO as Linux does it: the file still reads as written, but what was
 * not durable counts as clean from now on, so that the next sync succeeds without it.
 */
export type Fault = undefined | Error | 'short' | 'ignore' | 'lose';

export interface SimFileSystemOptions {
  /** Asked before every operation. */
  readonly fault?: (operation: FileOperation) => Fault;
  /** Waited for by every asynchronous operation: the disk's latency. */
  readonly latency?: (operation: FileOperation) => Promise<void>;
}

export class SimDisk {
  readonly root = new Directory();
  readonly #sockets = new Set<SimSocket>();
  #mounts = 0;

  /** Views there have been of this disk and of those it is a copy of. */
  get mounts(): number {
    return this.#mounts;
  }

  /** Whoever listens on a socket of this disk is dead. */
  endListeners(): void {
    for (const socket of this.#sockets) socket.isListening = false;
    this.#sockets.clear();
  }

  /** Of one view. */
  addListener(socket: SimSocket): void {
    this.#sockets.add(socket);
  }

  /** One process' view. */
  mount(options: SimFileSystemOptions = {}): SimFileSystem {
    this.#mounts++;
    return new SimFileSystem(this, options);
  }

  /** The power fails now. Views of before must not be used again. */
  powerCut(random: SeededRandom): void {
    this.root.powerCut(random);
  }

  /** A copy of the disk as a power cut would leave it now; this one goes on. */
  powerCutClone(random: SeededRandom): SimDisk {
    const clone = this.clone();
    clone.powerCut(random);
    return clone;
  }

  /** A copy in every detail: written and synced. */
  clone(): SimDisk {
    const copies = new Map<Inode | Directory, Inode | Directory>();
    const disk = new SimDisk();
    disk.#mounts = this.#mounts;
    copies.set(this.root, disk.root);
    copyDirectory(this.root, disk.root, copies);
    return disk;
  }

  /** The paths of all files below a directory, sorted. */
  files(directory = ''): string[] {
    const node = find(this.root, directory);
    if (!(node instanceof Directory)) return [];
    return [...node.names.entries()]
      .flatMap(([name, child]) =>
        child instanceof Directory ? this.files(`${directory}/${name}`) : [`${directory}/${name}`],
      )
      .sort();
  }

  /** What a file holds now; undefined if there is none. */
  contentOf(path: string): Buffer | undefined {
    const node = find(this.root, path);
    return node instanceof Inode ? Buffer.from(node.content.subarray(0, node.sizeBytes)) : undefined;
  }

  /** The file as it is now, for tests that damage it. */
  edit(path: string, change: (content: Buffer) => Buffer): void {
    const node = find(this.root, path);
    if (!(node instanceof Inode)) throw systemError('ENOENT', 'edit', path);
    const content = change(Buffer.from(node.content.subarray(0, node.sizeBytes)));
    node.content = content;
    node.sizeBytes = content.length;
    node.durable = Buffer.from(content);
    node.durableSizeBytes = content.length;
    node.dirty.clear();
  }
}

function copyDirectory(
  from: Directory,
  to: Directory,
  copies: Map<Inode | Directory, Inode | Directory>,
): void {
  const copyOf = (node: Inode | Directory): Inode | Directory => {
    const known = copies.get(node);
    if (known) return known;
    if (node instanceof Directory) {
      const copy = new Directory();
      copies.set(node, copy);
      copyDirectory(node, copy, copies);
      return copy;
    }
    const copy = new Inode();
    if (node.socket) copy.socket = new SimSocket(false);
    copy.content = Buffer.from(node.content);
    copy.sizeBytes = node.sizeBytes;
    copy.durable = Buffer.from(node.durable);
    copy.durableSizeBytes = node.durableSizeBytes;
    copy.writes = node.writes;
    copy.syncedWrites = node.syncedWrites;
    for (const [block, write] of node.dirty) copy.dirty.set(block, write);
    copies.set(node, copy);
    return copy;
  };
  for (const [name, node] of from.names) to.names.set(name, copyOf(node));
  for (const [name, node] of from.durableNames) to.durableNames.set(name, copyOf(node));
  for (const change of from.changes) {
    to.changes.push(change.kind === 'remove' ? change : { ...change, node: copyOf(change.node) });
  }
}

function segments(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

function find(root: Directory, path: string): Inode | Directory | undefined {
  let node: Inode | Directory | undefined = root;
  for (const part of segments(path)) {
    if (!(node instanceof Directory)) return undefined;
    node = node.names.get(part);
  }
  return node;
}

/** An error as the operating system would give it. */
export function systemError(code: string, call: string, path: string): Error {
  return Object.assign(new Error(`${code}: simulated, ${call} '${path}'`), { code, syscall: call, path });
}

export class SimFileSystem implements FileSystem {
  readonly #disk: SimDisk;
  readonly #options: SimFileSystemOptions;
  readonly #sockets = new Set<SimSocket>();
  #operations = 0;
  #detached = false;
  /** While the process is paused: what its completed operations wait for. */
  #resumed: Promise<void> | undefined;
  #resume: (() => void) | undefined;

  constructor(disk: SimDisk, options: SimFileSystemOptions) {
    this.#disk = disk;
    this.#options = options;
  }

  get operationCount(): number {
    return this.#operations;
  }

  /** The process that used this view is dead. */
  detach(): void {
    this.#detached = true;
    for (const socket of this.#sockets) socket.isListening = false;
  }

  get detached(): boolean {
    return this.#detached;
  }

  /** The process hears of no completed operation until `resume`. */
  pause(): void {
    this.#resumed ??= new Promise((resolve) => {
      this.#resume = resolve;
    });
  }

  resume(): void {
    this.#resumed = undefined;
    this.#resume?.();
  }

  /** Counts the operation and asks for a fault; throws it, or returns what is left to do. */
  begin(
    kind: FileOperationKind,
    path: string,
    sizeBytes?: number,
  ): { operation: FileOperation; fault: Fault } {
    if (this.#detached) throw new RaftreeError('SIM_DETACHED', `${kind} ${path}: this process is dead`);
    const operation: FileOperation = {
      number: ++this.#operations,
      kind,
      path,
      ...(sizeBytes === undefined ? {} : { sizeBytes }),
    };
    const fault = this.#options.fault?.(operation);
    if (fault instanceof Error) throw fault;
    // The fault hook may have cut the power or killed the process.
    if (this.#detached) throw new RaftreeError('SIM_DETACHED', `${kind} ${path}: this process is dead`);
    return { operation, fault };
  }

  async delay(operation: FileOperation): Promise<void> {
    await this.#options.latency?.(operation);
    while (this.#resumed && !this.#detached) await this.#resumed;
    // The dead never hear back.
    if (this.#detached) await new Promise<never>(() => {});
  }

  open(path: string, mode: OpenMode): File {
    const { fault } = this.begin(mode === 'create' ? 'create' : 'open', path);
    if (fault === 'short') throw systemError('ENOSPC', 'open', path);
    const existing = find(this.#disk.root, path);
    if (existing instanceof Directory && mode !== 'create') throw systemError('EISDIR', 'open', path);
    if (mode === 'create') {
      if (existing) throw systemError('EEXIST', 'open', path);
      const inode = new Inode();
      this.#parent(path, 'open').change({ kind: 'set', name: baseName(path), node: inode });
      return new SimFile(this, path, inode, true);
    }
    if (!(existing instanceof Inode)) throw systemError('ENOENT', 'open', path);
    if (existing.socket) throw systemError('ENXIO', 'open', path);
    return new SimFile(this, path, existing, mode === 'modify');
  }

  exists(path: string): boolean {
    return find(this.#disk.root, path) !== undefined;
  }

  isReadableByOthers(): boolean {
    return false;
  }

  readFile(path: string): Buffer {
    this.begin('read', path);
    const node = find(this.#disk.root, path);
    if (!node) throw systemError('ENOENT', 'open', path);
    if (node instanceof Directory) throw systemError('EISDIR', 'read', path);
    if (node.socket) throw systemError('ENXIO', 'open', path);
    return Buffer.from(node.content.subarray(0, node.sizeBytes));
  }

  list(path: string): string[] {
    return [...this.#directory(path, 'scandir').names.keys()].sort();
  }

  realPath(path: string): string {
    if (!this.exists(path)) throw systemError('ENOENT', 'realpath', path);
    return `/${segments(path).join('/')}`;
  }

  makeDirectory(path: string): void {
    let directory = this.#disk.root;
    let walked = '';
    for (const part of segments(path)) {
      walked += `/${part}`;
      const next = directory.names.get(part);
      if (next instanceof Inode) throw systemError('EEXIST', 'mkdir', walked);
      if (next) {
        directory = next;
        continue;
      }
      this.begin('mkdir', walked);
      const made = new Directory();
      directory.change({ kind: 'set', name: part, node: made });
      directory.sync();
      directory = made;
    }
  }

  rename(from: string, to: string): void {
    this.begin('rename', to);
    const node = find(this.#disk.root, from);
    if (!node) throw systemError('ENOENT', 'rename', from);
    const source = this.#parent(from, 'rename');
    const target = this.#parent(to, 'rename');
    const replaced = find(this.#disk.root, to);
    if (replaced === node) return;
    if (replaced instanceof Directory) {
      if (!(node instanceof Directory)) throw systemError('EISDIR', 'rename', to);
      if (replaced.names.size > 0) throw systemError('ENOTEMPTY', 'rename', to);
    } else if (replaced && node instanceof Directory) throw systemError('ENOTDIR', 'rename', to);
    if (source === target) {
      target.change({ kind: 'rename', from: baseName(from), name: baseName(to), node });
    } else {
      target.change({ kind: 'set', name: baseName(to), node });
      source.change({ kind: 'remove', name: baseName(from) });
    }
  }

  link(from: string, to: string): void {
    this.begin('link', to);
    const node = find(this.#disk.root, from);
    if (!node) throw systemError('ENOENT', 'link', from);
    if (node instanceof Directory) throw systemError('EPERM', 'link', from);
    if (find(this.#disk.root, to)) throw systemError('EEXIST', 'link', to);
    this.#parent(to, 'link').change({ kind: 'set', name: baseName(to), node });
  }

  unlink(path: string): void {
    this.begin('unlink', path);
    const node = find(this.#disk.root, path);
    if (!node) throw systemError('ENOENT', 'unlink', path);
    if (node instanceof Directory) throw systemError('EISDIR', 'unlink', path);
    this.#parent(path, 'unlink').change({ kind: 'remove', name: baseName(path) });
  }

  /** Name by name, as it really is: a crash leaves a part of the tree. */
  removeTree(path: string): void {
    const node = find(this.#disk.root, path);
    if (!node) return;
    if (node instanceof Directory) for (const name of this.list(path)) this.removeTree(`${path}/${name}`);
    this.begin('unlink', path);
    this.#parent(path, 'rm').change({ kind: 'remove', name: baseName(path) });
  }

  async unlinkLater(path: string): Promise<void> {
    this.unlink(path);
  }

  async syncDirectoryLater(path: string): Promise<void> {
    const { operation, fault } = this.begin('sync-directory', path);
    const directory = this.#directory(path, 'fsync');
    const changes = [...directory.changes];
    await this.delay(operation);
    if (fault !== 'ignore') directory.sync(changes);
  }

  syncDirectory(path: string): void {
    const { fault } = this.begin('sync-directory', path);
    if (fault === 'ignore') return;
    this.#directory(path, 'fsync').sync();
  }

  async bindSocket(path: string): Promise<BoundSocket> {
    const { operation } = this.begin('bind', path);
    await this.delay(operation);
    const inode = new Inode();
    const socket = new SimSocket(true);
    inode.socket = socket;
    const parent = this.#parent(path, 'bind');
    if (parent.names.has(baseName(path))) throw systemError('EADDRINUSE', 'bind', path);
    parent.change({ kind: 'set', name: baseName(path), node: inode });
    this.#sockets.add(socket);
    this.#disk.addListener(socket);
    return {
      close() {
        socket.isListening = false;
      },
    };
  }

  async isListening(path: string): Promise<boolean> {
    const { operation } = this.begin('connect', path);
    await this.delay(operation);
    const node = find(this.#disk.root, path);
    return node instanceof Inode && node.socket?.isListening === true;
  }

  #directory(path: string, call: string): Directory {
    const node = find(this.#disk.root, path);
    if (!node) throw systemError('ENOENT', call, path);
    if (!(node instanceof Directory)) throw systemError('ENOTDIR', call, path);
    return node;
  }

  #parent(path: string, call: string): Directory {
    return this.#directory(segments(path).slice(0, -1).join('/'), call);
  }
}

function baseName(path: string): string {
  return segments(path).at(-1) ?? '';
}

class SimFile implements File {
  readonly path: string;
  readonly #fs: SimFileSystem;
  readonly #inode: Inode;
  readonly #writable: boolean;
  #closed = false;

  constructor(fs: SimFileSystem, path: string, inode: Inode, writable: boolean) {
    this.#fs = fs;
    this.path = path;
    this.#inode = inode;
    this.#writable = writable;
  }

  sizeBytes(): number {
    return this.#inode.sizeBytes;
  }

  readSync(target: Uint8Array, position: number): number {
    this.#begin('read', target.length);
    return this.#copyOut(target, position);
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    const { operation } = this.#begin('read', target.length);
    await this.#fs.delay(operation);
    return this.#copyOut(target, position);
  }

  writeSync(chunks: readonly Uint8Array[], position: number): void {
    const { fault } = this.#begin('write', total(chunks));
    this.#copyIn(chunks, position, fault);
  }

  async write(chunks: readonly Uint8Array[], position: number): Promise<void> {
    const { operation, fault } = this.#begin('write', total(chunks));
    this.#copyIn(chunks, position, fault);
    await this.#fs.delay(operation);
  }

  async writeDurable(chunks: readonly Uint8Array[], position: number): Promise<void> {
    await this.write(chunks, position);
    await this.#sync({ start: position, end: position + total(chunks) });
  }

  sync(): Promise<void> {
    return this.#sync();
  }

  async #sync(only?: Range): Promise<void> {
    const { operation, fault } = this.#beginSync();
    const sync = this.#inode.beginSync(only);
    await this.#fs.delay(operation);
    if (fault === 'lose') this.#loseUnsynced();
    if (fault !== 'ignore') this.#inode.endSync(sync);
  }

  syncNow(): void {
    const { fault } = this.#beginSync();
    if (fault === 'lose') this.#loseUnsynced();
    if (fault !== 'ignore') this.#inode.endSync(this.#inode.beginSync());
  }

  #beginSync(): { operation: FileOperation; fault: Fault } {
    try {
      return this.#begin('sync');
    } catch (error) {
      throw error instanceof Error ? Object.assign(error, { syscall: SYNC_CALL }) : error;
    }
  }

  #loseUnsynced(): never {
    this.#inode.dirty.clear();
    throw systemError('EIO', SYNC_CALL, this.path);
  }

  truncate(sizeBytes: number): void {
    this.#begin('truncate', sizeBytes);
    const inode = this.#inode;
    inode.reserve(sizeBytes);
    const low = Math.min(sizeBytes, inode.sizeBytes);
    inode.markDirty(low, Math.max(sizeBytes, inode.sizeBytes));
    inode.content.fill(0, low);
    inode.sizeBytes = sizeBytes;
  }

  close(): void {
    this.#closed = true;
  }

  #begin(kind: FileOperationKind, sizeBytes?: number): { operation: FileOperation; fault: Fault } {
    if (this.#closed) throw systemError('EBADF', kind, this.path);
    if (!this.#writable && kind !== 'read' && kind !== 'sync') throw systemError('EBADF', kind, this.path);
    return this.#fs.begin(kind, this.path, sizeBytes);
  }

  #copyOut(target: Uint8Array, position: number): number {
    const count = Math.max(0, Math.min(target.length, this.#inode.sizeBytes - position));
    if (count > 0) this.#inode.content.copy(target, 0, position, position + count);
    return count;
  }

  #copyIn(chunks: readonly Uint8Array[], position: number, fault: Fault): void {
    if (fault === 'ignore') return;
    const bytes = Buffer.concat(chunks);
    const inode = this.#inode;
    // A disk that fills up takes whole blocks.
    const middle = Math.floor((position + bytes.length / 2) / BLOCK_BYTES) * BLOCK_BYTES;
    const count = fault === 'short' ? Math.max(0, middle - position) : bytes.length;
    const end = position + count;
    if (count > 0) {
      inode.reserve(end);
      bytes.copy(inode.content, position, 0, count);
      inode.markDirty(Math.min(position, inode.sizeBytes), end);
      inode.sizeBytes = Math.max(inode.sizeBytes, end);
    }
    if (fault === 'short') throw systemError('ENOSPC', 'write', this.path);
  }
}

function total(chunks: readonly Uint8Array[]): number {
  return chunks.reduce((sum, chunk) => sum + chunk.length, 0);
}
