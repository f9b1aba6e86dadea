/** What calls give back, and how it is made of the answers of nodes. */
import type { WriteResult as NodeResult } from '../kv/sessions.js';
import type { MessageOf } from '../protocol/messages.js';
import { RaftreeClientError } from './client-error.js';
import type { BatchOperation } from './operations.js';
import type { WriteReply } from './session-writer.js';
import { unexpected } from './unexpected.js';

/** The tablet has ended, and its keys are in two others: below the key, and from the key on. */
export interface TabletSplitResult {
  readonly tablet: number;
  readonly children: readonly [left: number, right: number];
}

export interface PutResult {
  /** Whether the change was made; false if a condition was not met. */
  readonly applied: boolean;
  /** The key's version afterwards: the log index of its last change; 0 if the key does not exist. */
  readonly version: number;
  /** The log index of this write. */
  readonly index: number;
}

export interface WriteResult extends PutResult {
  /** Whether the key existed before. A plain put does not say: it does not look the key up. */
  readonly existed: boolean;
}

export interface ExpireResult extends WriteResult {
  /** Whether the key has another deadline now, or none any more. */
  readonly changed: boolean;
}

export interface IncrementResult extends WriteResult {
  /** The number that the key holds now. */
  readonly value: bigint;
}

/** How long a key still lives. */
export interface TtlResult {
  /** Undefined: the key has no deadline. */
  readonly remainingMs: number | undefined;
  readonly version: number;
}

/** The result of one operation of a batch. Operations are `ok` or `unchanged` only if the batch was applied. */
export type OperationResult =
  /**
   * `existed`: whether the key existed when the operation ran; undefined for a put without a condition. `value`: the
   * number that an increment left.
   */
  | {
      readonly status: 'ok';
      readonly existed: boolean | undefined;
      readonly version: number;
      readonly value?: bigint;
    }
  /** The key of an expire or persist has not the deadline that it asks for. */
  | { readonly status: 'unchanged'; readonly existed: boolean; readonly version: number }
  /** This operation's condition was not met. `existed` and `version` describe the key as it is. */
  | { readonly status: 'conditionFailed'; readonly existed: boolean; readonly version: number }
  /** Another operation's condition was not met. */
  | { readonly status: 'notApplied' };

export interface BatchResult {
  /** Whether all operations were applied. Otherwise none was. */
  readonly applied: boolean;
  readonly index: number;
  /** One result per operation, in order. */
  readonly results: readonly OperationResult[];
}

export interface GetResult {
  readonly value: Buffer;
  readonly version: number;
  /** How long the key still lives. Absent: it has no deadline. */
  readonly remainingMs?: number;
}

export interface ScanEntry {
  readonly key: Buffer;
  /** Empty with `keysOnly`. */
  readonly value: Buffer;
  readonly version: number;
  /** How long the key still lives. Absent: it has no deadline. */
  readonly remainingMs?: number;
}

export function getResult({
  found,
  value,
  version,
  remainingMs,
}: MessageOf<'getReply'>): GetResult | undefined {
  return found ? withLife({ value: Buffer.from(value), version }, remainingMs) : undefined;
}

export function ttlResult({ found, version, remainingMs }: MessageOf<'getReply'>): TtlResult | undefined {
  return found ? { remainingMs, version } : undefined;
}

export function withLife<Result extends object>(
  found: Result,
  remainingMs: number | undefined,
): Result | (Result & { remainingMs: number }) {
  return remainingMs === undefined ? found : { ...found, remainingMs };
}

/** Copies: otherwise a kept result would keep the whole received chunk in memory. */
export function nodeResult({ applied, index, results }: WriteReply): NodeResult {
  return {
    applied,
    index,
    results: results.map((result) =>
      result.value ? { ...result, value: Buffer.from(result.value) } : result,
    ),
  };
}

/** The result of the one operation of a write. Throws as `withinLimits`. */
export function writeResult(answer: WriteReply): WriteResult {
  const { applied, index, results } = withinLimits(answer);
  const [result] = results;
  if (!result) throw unexpected('writeReply without a result', 'write');
  return { applied, index, existed: result.existed, version: result.version };
}

/** A put does not say whether the key existed. */
export function putResult(answer: WriteReply): PutResult {
  const { applied, index, version } = writeResult(answer);
  return { applied, version, index };
}

export function expireResult(answer: WriteReply): ExpireResult {
  const result = writeResult(answer);
  return { ...result, changed: answer.results[0]?.status === 'ok' && result.existed };
}

export function incrementResult(answer: WriteReply): IncrementResult {
  return { ...writeResult(answer), value: BigInt(answer.results[0]?.value?.toString('latin1') ?? 0) };
}

const IMPOSSIBLE: Partial<Record<NodeResult['results'][number]['status'], readonly [string, string]>> = {
  valueTooLarge: ['VALUE_TOO_LARGE', 'a value would be above the limit'],
  notANumber: ['NOT_A_NUMBER', 'the value to increment is no whole number of 64 bits'],
  overflow: ['NUMBER_OVERFLOW', 'the sum would not be within -2^63 to 2^63-1'],
};

/**
 * Throws `VALUE_TOO_LARGE` if an append would have made a value too large, `NOT_A_NUMBER` or `NUMBER_OVERFLOW` if an
 * increment could not be made: nothing was changed.
 */
export function withinLimits<Result extends Pick<NodeResult, 'results'>>(answer: Result): Result {
  for (const { status } of answer.results) {
    const [code, reason] = IMPOSSIBLE[status] ?? [];
    if (code) throw new RaftreeClientError(code, `${reason}; nothing was changed`, 'notCommitted');
  }
  return answer;
}

/** The result of these operations, as a node gives it. */
export function batchResult(
  { applied, index, results }: NodeResult,
  operations: readonly BatchOperation[],
): BatchResult {
  return {
    applied,
    index,
    results: results.map(({ status, existed, version, value }, i): OperationResult => {
      if (status === 'conditionFailed' || status === 'unchanged') return { status, existed, version };
      if (status !== 'ok') return { status: 'notApplied' };
      const operation = operations[i];
      const isLookedUp = operation?.action !== 'put' || operation.condition !== undefined;
      const sum = value === undefined ? {} : { value: BigInt(value.toString('latin1')) };
      return { status, existed: isLookedUp ? existed : undefined, version, ...sum };
    }),
  };
}
