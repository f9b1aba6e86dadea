/** The clients' calls with their times and answers, for the checks. */
import { StringHistory } from './string-rules.js';

export type OperationKind =
  | 'put'
  | 'insert'
  | 'append'
  | 'cas'
  | 'delete'
  | 'check'
  | 'expire'
  | 'persist'
  | 'read'
  | 'staleRead';

/** One key's part of a call. */
export interface KeyOperation {
  readonly kind: OperationKind;
  readonly key: string;
  /** What is written. For put, insert, append and cas it begins with a unique token. */
  readonly value: string;
  /** For a cas, or any operation of a batch. */
  readonly expected?:
    | { readonly value: string }
    | { readonly version: number }
    | { readonly exists: boolean };
  /** How long the key is to live from then on. */
  readonly ttlMs?: number;
}

export interface KeyAnswer {
  /** True for a read. */
  readonly applied: boolean;
  /** For a write. */
  readonly status?: 'ok' | 'conditionFailed' | 'notApplied' | 'unchanged';
  /** For a write, if the answer said so. */
  readonly existed?: boolean | undefined;
  /** The key's version afterwards, or as read; 0: the key does not exist. */
  readonly version: number;
  /** For a read. */
  readonly value?: string | undefined;
}

export type Outcome =
  | { readonly type: 'ok'; readonly index: number; readonly answers: readonly KeyAnswer[] }
  | { readonly type: 'notCommitted'; readonly code: string }
  | { readonly type: 'unknown'; readonly code: string };

export interface HistoryCall {
  readonly client: string;
  readonly calledMs: number;
  /** Orders calls and returns of one moment. */
  readonly calledAt: number;
  readonly operations: readonly KeyOperation[];
  /** For a stale read from one node: the process that answered. */
  readonly process?: string | undefined;
  /** A write of a lane: it keeps the order of the lane, and not that of its keys. */
  readonly lane?: string | undefined;
  returnedMs: number;
  returnedAt: number;
  outcome: Outcome | undefined;
}

export class History {
  readonly strings = new StringHistory();
  readonly calls: HistoryCall[] = [];
  #order = 0;

  begin(
    client: string,
    nowMs: number,
    operations: readonly KeyOperation[],
    process: string | undefined,
    lane?: string,
  ): HistoryCall {
    const call: HistoryCall = {
      client,
      calledMs: nowMs,
      calledAt: this.#order++,
      operations,
      process,
      lane,
      returnedMs: Number.POSITIVE_INFINITY,
      returnedAt: Number.POSITIVE_INFINITY,
      outcome: undefined,
    };
    this.calls.push(call);
    return call;
  }

  end(call: HistoryCall, nowMs: number, outcome: Outcome): void {
    call.outcome = outcome;
    call.returnedMs = nowMs;
    call.returnedAt = this.#order++;
  }
}
