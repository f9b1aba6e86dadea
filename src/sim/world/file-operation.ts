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
 * What happens in place of an operation. `undefined`: the operation itself. An Error is thrown. `short` writes half of
 * the bytes, up to the end of a block, and throws ENOSPC. `ignore` reports success and does nothing: a disk that lies
 * about syncs. `lose` is a sync that fails with EIO as on Linux: the file still reads as written, but its unsynced
 * bytes count as clean, so that the next sync succeeds without them.
 */
export type Fault = undefined | Error | 'short' | 'ignore' | 'lose';

export interface SimFileSystemOptions {
  /** Asked before every operation. */
  readonly fault?: (operation: FileOperation) => Fault;
  /** Every asynchronous operation waits for it: the disk's latency. */
  readonly latency?: (operation: FileOperation) => Promise<void>;
}

/** An error as the operating system would give it. */
export function systemError(code: string, call: string, path: string): Error {
  return Object.assign(new Error(`${code}: simulated, ${call} '${path}'`), { code, syscall: call, path });
}
