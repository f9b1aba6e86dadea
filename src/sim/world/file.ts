/** An open file of a simulated disk. */
import { type File, SYNC_CALL } from '../../env/env.js';
import { type Fault, type FileOperation, type FileOperationKind, systemError } from './file-operation.js';
import type { SimFileSystem } from './file-system.js';
import { BLOCK_BYTES, type Inode, type Range } from './inode.js';

export class SimFile implements File {
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

  writeDurableNow(chunks: readonly Uint8Array[], position: number): void {
    this.writeSync(chunks, position);
    this.#syncAtOnce({ start: position, end: position + total(chunks) });
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
    this.#syncAtOnce();
  }

  #syncAtOnce(only?: Range): void {
    const { fault } = this.#beginSync();
    if (fault === 'lose') this.#loseUnsynced();
    if (fault !== 'ignore') this.#inode.endSync(this.#inode.beginSync(only));
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
    this.#inode.truncate(sizeBytes);
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
    return this.#inode.read(target, position);
  }

  #copyIn(chunks: readonly Uint8Array[], position: number, fault: Fault): void {
    if (fault === 'ignore') return;
    const bytes = Buffer.concat(chunks);
    // A disk that becomes full has written whole blocks.
    const middle = Math.floor((position + bytes.length / 2) / BLOCK_BYTES) * BLOCK_BYTES;
    const count = fault === 'short' ? Math.max(0, middle - position) : bytes.length;
    if (count > 0) this.#inode.write(bytes, position, count);
    if (fault === 'short') throw systemError('ENOSPC', 'write', this.path);
  }
}

function total(chunks: readonly Uint8Array[]): number {
  return chunks.reduce((sum, chunk) => sum + chunk.length, 0);
}
