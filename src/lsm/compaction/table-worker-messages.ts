/**
 * The messages between a tree's thread and the worker thread. A message is copied when it is sent, and with each view
 * the whole memory behind it. So every key has memory of its own.
 */
import { errorCode, errorMessage, RaftreeError } from '../../env/errors.js';
import type { KeyBounds } from '../base/key-bounds.js';
import type { SharedMemtable } from '../memtable/memtable.js';
import type { TableBuilderOptions } from '../table/table-builder.js';
import type { TableMetadata } from '../table/table-file.js';
import type { CompactionJob, TableExtent } from './compaction.js';

/** What the worker is started with. */
export interface WorkerStart {
  /** One element: how many requests were sent. It shows a busy worker that a request waits. */
  readonly sent: Int32Array;
}

interface TableRequest {
  readonly id: number;
  readonly directory: string;
  readonly table: TableBuilderOptions;
  readonly snapshots: readonly number[];
  /** The first of `fileNumbers` file numbers for new tables. */
  readonly firstFileNumber: number;
  readonly fileNumbers: number;
}

export interface FlushRequest extends TableRequest {
  readonly kind: 'flush';
  readonly memtable: SharedMemtable;
  readonly older: readonly (readonly TableExtent[])[];
}

export interface CompactRequest extends TableRequest {
  readonly kind: 'compact';
  readonly runs: readonly (readonly TableMetadata[])[];
  readonly deeper: readonly (readonly TableExtent[])[];
  readonly grandparents: readonly TableExtent[];
  readonly maxFileBytes: number;
  readonly bounds: KeyBounds | undefined;
}

/** Abandons a compaction, if it is not done yet. */
export interface AbandonRequest {
  readonly kind: 'abandon';
  readonly id: number;
}

export type WorkerRequest = FlushRequest | CompactRequest | AbandonRequest;

/** `ready` comes once, before the first request. */
export type WorkerReply = 'ready' | JobReply;

export interface JobReply {
  readonly id: number;
  readonly threadId: number;
  readonly result: readonly TableMetadata[] | 'abandoned' | SentError;
}

/** The fields of an error. Its class would be lost in the copy. */
interface SentError {
  readonly isOwn: boolean;
  readonly message: string;
  readonly code: string | undefined;
  readonly syscall: unknown;
  readonly info: Readonly<Record<string, unknown>>;
}

export function compactRequest(job: CompactionJob): Omit<CompactRequest, keyof TableRequest> {
  return {
    kind: 'compact',
    runs: job.runs.map((run) => run.map((file) => sendMetadata(file.metadata))),
    deeper: sendRuns(job.deeper),
    grandparents: job.grandparents.map(sendExtent),
    maxFileBytes: job.maxFileBytes,
    bounds: job.bounds && {
      ...job.bounds,
      start: ownCopy(job.bounds.start),
      end: job.bounds.end && ownCopy(job.bounds.end),
    },
  };
}

export function sendMetadata(metadata: TableMetadata): TableMetadata {
  return { ...metadata, smallest: ownCopy(metadata.smallest), largest: ownCopy(metadata.largest) };
}

/** A Buffer arrives as a plain Uint8Array. */
export function receiveMetadata(metadata: TableMetadata): TableMetadata {
  return { ...metadata, smallest: asBuffer(metadata.smallest), largest: asBuffer(metadata.largest) };
}

export function sendError(error: unknown): SentError {
  return {
    isOwn: error instanceof RaftreeError,
    message: errorMessage(error),
    code: errorCode(error),
    syscall: typeof error === 'object' && error !== null && 'syscall' in error ? error.syscall : undefined,
    info: error instanceof RaftreeError ? error.info : {},
  };
}

export function receiveError({ isOwn, message, code, syscall, info }: SentError): Error {
  if (isOwn && code !== undefined) return new RaftreeError(code, message, { info });
  return Object.assign(new Error(message), { code, syscall });
}

export function sendRuns(runs: readonly (readonly TableExtent[])[]): TableExtent[][] {
  return runs.map((files) => files.map(sendExtent));
}

function sendExtent({ smallest, largest, sizeBytes }: TableExtent): TableExtent {
  return { smallest: ownCopy(smallest), largest: ownCopy(largest), sizeBytes };
}

function ownCopy(bytes: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  copy.set(bytes);
  return copy;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
