/**
 * What a tree's thread and the worker thread tell each other. A message is copied when it is sent, with the whole
 * memory that any view in it stands in: every key is in memory of its own.
 */
import { errorCode, errorMessage, RaftreeError } from '../../env/errors.js';
import type { SharedMemtable } from '../memtable/memtable.js';
import type { TableBuilderOptions } from '../table/table-builder.js';
import type { TableMetadata } from '../table/table-file.js';
import type { CompactionJob, TableExtent } from './compaction.js';

/** What the worker is started with. */
export interface WorkerStart {
  /** One element: how many requests were sent. Tells a busy worker that there is mail. */
  readonly sent: Int32Array;
}

interface TableRequest {
  readonly id: number;
  readonly directory: string;
  readonly table: TableBuilderOptions;
  readonly snapshots: readonly number[];
  /** The first of `fileNumbers` numbers to give to tables. */
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
}

/** Gives up a compaction, if it is not done yet. */
export interface AbandonRequest {
  readonly kind: 'abandon';
  readonly id: number;
}

export type WorkerRequest = FlushRequest | CompactRequest | AbandonRequest;

/** `ready` comes once, before anything is asked. */
export type WorkerReply = 'ready' | JobReply;

export interface JobReply {
  readonly id: number;
  readonly threadId: number;
  readonly result: readonly TableMetadata[] | 'abandoned' | SentError;
}

/** An error, whose own class would be lost on the way. */
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
  };
}

export function sendMetadata(metadata: TableMetadata): TableMetadata {
  return { ...metadata, smallest: ownCopy(metadata.smallest), largest: ownCopy(metadata.largest) };
}

/** A Buffer arrives as the plain array that it is an extension of. */
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
