/** What the clients did and were told: the calls with their times, as the checks need them. */

export type OperationKind = 'put' | 'insert' | 'append' | 'cas' | 'delete' | 'check' | 'read' | 'staleRead';

/** One key's part of a call. */
export interface KeyOperation {
  readonly kind: OperationKind;
  readonly key: string;
  /** What is written; of a put, insert, append or cas it begins with a token of its own. */
  readonly value: string;
  /** Of a cas, or of any operation of a batch. */
  readonly expected?:
    | { readonly value: string }
    | { readonly version: number }
    | { readonly exists: boolean };
}

export interface KeyAnswer {
  /** Of a read: yes. */
  readonly applied: boolean;
  /** Of a write. */
  readonly status?: 'ok' | 'conditionFailed' | 'notApplied';
  /** Of a write, if it was told. */
  readonly existed?: boolean | undefined;
  /** Of the key afterwards, or as read; 0: it is not there. */
  readonly version: number;
  /** Of a read. */
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
  /** Of a stale read at one node: which process answered. */
  readonly process?: string | undefined;
  returnedMs: number;
  returnedAt: number;
  outcome: Outcome | undefined;
}

export class History {
  readonly calls: HistoryCall[] = [];
  #order = 0;

  begin(
    client: string,
    nowMs: number,
    operations: readonly KeyOperation[],
    process: string | undefined,
  ): HistoryCall {
    const call: HistoryCall = {
      client,
      calledMs: nowMs,
      calledAt: this.#order++,
      operations,
      process,
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
