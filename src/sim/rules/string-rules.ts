/**
 * Checks the calls of string operations, alone and as transactions: every answer is that of the reference at its entry,
 * a later call has a later entry, and a call that was not committed has left nothing.
 */
import type { WriteResult } from '../../kv/sessions.js';
import type { Fail } from './fail.js';
import type { Reference } from './reference.js';
import type { References } from './references.js';

/** Keys of these calls; other calls name none of them. */
export function isStringKey(key: string): boolean {
  return key.startsWith('s');
}

export interface StringCall {
  readonly client: string;
  /** One of its keys. */
  readonly key: string;
  /** Orders calls and returns of one moment. */
  readonly calledAt: number;
  /** In what it writes; empty if it writes none. */
  readonly token: string;
  returnedAt: number;
  outcome:
    | { readonly type: 'ok'; readonly result: WriteResult }
    | { readonly type: 'notCommitted' | 'unknown' };
}

export class StringHistory {
  readonly calls: StringCall[] = [];
  #order = 0;

  begin(client: string, key: string, token: string): StringCall {
    const call: StringCall = {
      ...{ client, key, token, calledAt: this.#order++ },
      returnedAt: Number.POSITIVE_INFINITY,
      outcome: { type: 'unknown' },
    };
    this.calls.push(call);
    return call;
  }

  end(call: StringCall, outcome: StringCall['outcome']): void {
    call.outcome = outcome;
    call.returnedAt = this.#order++;
  }
}

export function checkStrings({ calls }: StringHistory, references: References, fail: Fail): void {
  for (const tablet of references.tablets) {
    const own = calls.filter(({ key }) => references.ownerOf(key) === tablet);
    checkTablet(own, references, tablet, fail);
  }
}

function checkTablet(calls: readonly StringCall[], references: References, tablet: number, fail: Fail): void {
  const returned = calls.toSorted((a, b) => a.returnedAt - b.returnedAt);
  let next = 0;
  /** By log: of the writes that have ended. Those of two tablets that were merged later are in no order. */
  const latestIn = new Map<Reference, number>();
  for (const { client, key, calledAt, token, outcome } of calls) {
    for (; (returned[next]?.returnedAt ?? Number.POSITIVE_INFINITY) < calledAt; next++) {
      const { outcome: before, key: of } = returned[next] as StringCall;
      if (before?.type !== 'ok') continue;
      const { index } = before.result;
      const log = references.ofKey(of).logOf(of, index);
      latestIn.set(log, Math.max(latestIn.get(log) ?? 0, index));
    }
    const latest = Math.max(0, ...[...latestIn].map(([log, index]) => (log.owns(key) ? index : 0)));
    const effect = token === '' ? undefined : references.effects.of(token);
    if (outcome.type === 'notCommitted' && effect !== undefined)
      fail(
        'exact outcomes',
        `${client} was told that ${token} was not committed; it took effect at ${effect.index}`,
      );
    if (outcome.type !== 'ok') continue;
    const { result } = outcome;
    if (result.index <= latest)
      fail(
        'linearizability',
        `${client}'s write took effect at ${result.index}, one that had ended before at ${latest}`,
      );
    const expected = references.of(tablet).writeAt(key, result.index);
    if (expected === undefined || textOf(expected) !== textOf(result))
      fail(
        'true answers',
        `${client} was told ${textOf(result)} of entry ${result.index}, which is ${expected && textOf(expected)}`,
      );
  }
}

function textOf({ applied, results }: WriteResult): string {
  const shown = results.map(({ status, existed, version, value }) => [
    ...[status, existed, version, value === undefined ? '' : Buffer.from(value).toString('latin1')],
  ]);
  return JSON.stringify([applied, shown]);
}
