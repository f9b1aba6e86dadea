/** The operations of a simulated disk, and what may happen in their place. */

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

/** An error as the operating system would give it. */
export function systemError(code: string, call: string, path: string): Error {
  return Object.assign(new Error(`${code}: simulated, ${call} '${path}'`), { code, syscall: call, path });
}
