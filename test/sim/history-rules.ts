/**
 * The history of the clients held against what a store may answer: every key linearizable, nothing acknowledged lost,
 * nothing applied that was said not to be, stale reads of one process never going back.
 */
import { checkLinearizability, type Model, type Operation } from '../linearizability/checker.js';
import type { History, HistoryCall, KeyAnswer, KeyOperation } from './history.js';
import { type Reference, tokenOf } from './reference.js';
import type { Fail } from './rules.js';

export function checkHistory(history: History, reference: Reference, fail: Fail): void {
  checkOutcomes(history, reference, fail);
  checkStaleReads(history, reference, fail);
  const verdict = checkLinearizability(keyModel(), linearizableOperations(history, reference));
  if (!verdict.linearizable) fail('linearizability', `no order explains the answers about ${verdict.key}`);
}

function checkOutcomes({ calls }: History, reference: Reference, fail: Fail): void {
  for (const { client, operations, outcome } of calls) {
    if (outcome?.type === 'ok' && outcome.index > reference.lastIndex)
      fail(
        'durability',
        `${client} was told of entry ${outcome.index}, but there are ${reference.lastIndex}`,
      );
    operations.forEach(({ value }, i) => {
      const token = tokenOf(Buffer.from(value));
      if (token === '') return;
      const effect = reference.effectOf(token);
      if (outcome?.type === 'notCommitted' && effect !== undefined)
        fail(
          'exact outcomes',
          `${client} was told that ${token} was not committed; it took effect at ${effect}`,
        );
      const answer = outcome?.type === 'ok' ? outcome.answers[i] : undefined;
      if (answer?.applied && effect !== answer.version)
        fail(
          'durability',
          `${client} was told that ${token} took effect at ${answer.version}; it did at ${effect}`,
        );
      if (answer?.applied === false && effect !== undefined)
        fail(
          'exact outcomes',
          `${client} was told that ${token} changed nothing; it took effect at ${effect}`,
        );
    });
  }
}

/** What one process has shown of a key bounds from below what it may show later. */
function checkStaleReads({ calls }: History, reference: Reference, fail: Fail): void {
  const shown = new Map<string, { readonly index: number; readonly returnedAt: number }[]>();
  const reads = calls.filter(({ process, outcome }) => process !== undefined && outcome?.type === 'ok');
  for (const call of reads.sort((a, b) => a.returnedAt - b.returnedAt)) {
    if (call.outcome?.type !== 'ok' || call.process === undefined) continue;
    const floors = shown.get(call.process) ?? [];
    shown.set(call.process, floors);
    let floor = 0;
    for (const { index, returnedAt } of floors)
      if (returnedAt < call.calledAt) floor = Math.max(floor, index);
    call.operations.forEach(({ key }, i) => {
      const answer = call.outcome?.type === 'ok' ? call.outcome.answers[i] : undefined;
      if (!answer) return;
      const periods = reference.periods(key, answer.version);
      const fits = periods.find((period) => period.until > floor);
      if (!fits) {
        const what = periods.length === 0 ? 'which it never had' : `which was over before entry ${floor}`;
        fail(
          'stale reads do not go back',
          `${call.process} shows version ${answer.version} of ${key}, ${what}`,
        );
      } else floors.push({ index: fits.since, returnedAt: call.returnedAt });
      const state = reference.stateAt(key, fits?.since ?? 0);
      if (fits && answer.value !== state?.value.toString('latin1'))
        fail(
          'true values',
          `${call.process} shows a value of ${key} that version ${answer.version} never had`,
        );
    });
  }
}

type Input = KeyOperation;

interface State {
  readonly version: number;
  readonly value: string;
}

/**
 * A call that failed for certain is left out; so is a write of unknown outcome that no node ever applied: it can have
 * no effect any more. One that was applied is open to the end, but its version is known.
 */
function linearizableOperations({ calls }: History, reference: Reference): Operation<Input, KeyAnswer>[] {
  return calls.flatMap((call) => {
    const { outcome } = call;
    if (outcome?.type === 'notCommitted') return [];
    return call.operations.flatMap((operation, i) => {
      if (operation.kind === 'staleRead') return [];
      const base = { key: operation.key, input: operation, callTime: call.calledAt };
      if (outcome?.type === 'ok')
        return [{ ...base, output: outcome.answers[i], returnTime: call.returnedAt }];
      if (operation.kind === 'read') return [];
      const open = { ...base, returnTime: Number.POSITIVE_INFINITY };
      if (operation.kind === 'delete') return [{ ...open, output: undefined }];
      const effect = reference.effectOf(tokenOf(Buffer.from(operation.value)));
      return effect === undefined ? [] : [{ ...open, output: { applied: true, version: effect } }];
    });
  });
}

/** One key with its version: the index of its last change, which only grows; 0 while it is not there. */
function keyModel(): Model<State, Input, KeyAnswer> {
  const names = new Map<string, number>();
  const absent: State = { version: 0, value: '' };
  return {
    initial: absent,
    step(state, input, output) {
      if (input.kind === 'read') {
        if (!output) return { state };
        const same = output.version === state.version && (output.value ?? '') === state.value;
        return same ? { state } : undefined;
      }
      if (input.kind === 'delete') {
        if (output && output.version !== 0) return undefined;
        return { state: absent };
      }
      const may = isMet(input, state);
      if (!output) return undefined;
      if (output.applied !== may) return undefined;
      if (!may) return output.version === state.version ? { state } : undefined;
      if (output.version <= state.version) return undefined;
      const value = input.kind === 'append' ? state.value + input.value : input.value;
      return { state: { version: output.version, value } };
    },
    fingerprint({ version, value }) {
      let name = names.get(value);
      if (name === undefined) {
        name = names.size;
        names.set(value, name);
      }
      return `${version}:${name}`;
    },
  };
}

function isMet(input: Input, state: State): boolean {
  if (input.kind === 'insert') return state.version === 0;
  if (input.kind !== 'cas' || !input.expected) return true;
  return 'version' in input.expected
    ? input.expected.version === state.version
    : state.version !== 0 && input.expected.value === state.value;
}

/** For the report of a failure: everything that was said about one key. */
export function callsAbout({ calls }: History, key: string): HistoryCall[] {
  return calls.filter(({ operations }) => operations.some((operation) => operation.key === key));
}
