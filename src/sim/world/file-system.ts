/**
 * One process' view of a simulated disk. When the process is killed its view is detached: later operations fail, and
 * what it had written stays.
 */
import type { BoundSocket, File, FileSystem, OpenMode } from '../../env/env.js';
import { RaftreeError } from '../../env/errors.js';
import { baseName, Directory, find, segments } from './directory.js';
import type { SimDisk } from './disk.js';
import { SimFile } from './file.js';
import {
  type Fault,
  type FileOperation,
  type FileOperationKind,
  type SimFileSystemOptions,
  systemError,
} from './file-operation.js';
import { Inode, SocketFile } from './inode.js';

export class SimFileSystem implements FileSystem {
  readonly #disk: SimDisk;
  readonly #options: SimFileSystemOptions;
  readonly #sockets = new Set<SocketFile>();
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

  /** No operation completes for the process until `resume`. */
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
    // A dead process gets no answer.
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
    return Buffer.from(node.content());
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

  /** Removes name by name, as real systems do: a crash leaves a part of the tree. */
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

  async freeBytes(): Promise<number | undefined> {
    return undefined;
  }

  async bindSocket(path: string): Promise<BoundSocket> {
    const { operation } = this.begin('bind', path);
    await this.delay(operation);
    const inode = new Inode();
    const socket = new SocketFile(true);
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
