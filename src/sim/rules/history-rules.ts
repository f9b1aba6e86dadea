/**
 * Checks the clients' history: every key is linearizable, no acknowledged write is lost, no write is applied that was
 * answered as not applied, a client's writes keep their order, and stale reads from one process never go back.
 */

import type { Effect } from './effects.js';
import type { Fail } from './fail.js';
import type { History, HistoryCall, KeyAnswer, KeyOperation } from './history.js';
import { checkLinearizability, type Model, type Operation } from './linearizability.js';
import { type Reference, tokenOf } from './reference.js';
import type { References } from './references.js';
import { checkStrings, isStringKey } from './string-rules.js';

export function checkHistory(history: History, references: References, fail: Fail, hasClocks: boolean): void {
  if (hasClocks) checkLives(history, references, fail);
  checkOutcomes(history, references, fail);
  checkOrder(history, references, fail);
  checkStrings(history.strings, references, fail);
  checkStaleReads(history, references, fail);
  const verdict = checkLinearizability(keyModel(), linearizableOperations(history, references));
  if (!verdict.linearizable) fail('linearizability', `no order explains the answers about ${verdict.key}`);
}

/** How much faster the clock of a leader may run than that of the world. */
const CLOCK_DRIFT = 0.05;

/** No key is gone before its life is over, whoever has led meanwhile. */
function checkLives({ calls }: History, references: References, fail: Fail): void {
  for (const { operations, outcome, calledMs } of calls) {
    if (outcome?.type !== 'ok') continue;
    for (const [i, { key, ttlMs }] of operations.entries()) {
      // The last operation on a key decides.
      if (ttlMs === undefined || operations.findLastIndex((each) => each.key === key) !== i) continue;
      const reference = references.ofKey(key);
      const end = reference.endOfLife(key, outcome.index);
      const endedMs = end === undefined ? undefined : reference.appliedAtMs(key, end);
      if (endedMs === undefined || endedMs - calledMs >= ttlMs * (1 - CLOCK_DRIFT) - 1) continue;
      fail(
        'no life is shortened',
        `${key} got ${ttlMs} ms to live at entry ${outcome.index}, asked for at ${calledMs.toFixed(3)}, and was gone ` +
          `with entry ${end} at ${endedMs.toFixed(3)}`,
      );
    }
  }
}

function checkOutcomes({ calls }: History, references: References, fail: Fail): void {
  for (const { client, operations, outcome } of calls) {
    // The keys of one call that writes are of one tablet.
    const { lastIndex } = references.ofKey(operations[0]?.key ?? '');
    if (outcome?.type === 'ok' && outcome.index > lastIndex)
      fail('durability', `${client} was told of entry ${outcome.index}, but there are ${lastIndex}`);
    if (outcome?.type === 'ok' && !isWhole(outcome.answers))
      fail(
        'whole or not at all',
        `${client} was told ${JSON.stringify(outcome.answers)} of one write at entry ${outcome.index}`,
      );
    operations.forEach(({ value }, i) => {
      const token = tokenOf(Buffer.from(value));
      if (token === '') return;
      const effect = references.effects.of(token)?.index;
      if (outcome?.type === 'notCommitted' && effect !== undefined)
        fail(
          'exact outcomes',
          `${client} was told that ${token} was not committed; it took effect at ${effect}`,
        );
      const answer = outcome?.type === 'ok' ? outcome.answers[i] : undefined;
      if (answer?.applied && outcome?.type === 'ok' && effect !== outcome.index)
        fail(
          'durability',
          `${client} was told that ${token} took effect at ${outcome.index}; it did at ${effect}`,
        );
      if (answer?.applied === false && effect !== undefined)
        fail(
          'exact outcomes',
          `${client} was told that ${token} changed nothing; it took effect at ${effect}`,
        );
    });
  }
}

/**
 * A client's writes to one key, and those of one lane, took effect in the order of calls, also those given up. But of
 * a lane with keys of several tablets a write that was given up may take effect after a later one to another tablet.
 */
function checkOrder({ calls }: History, references: References, fail: Fail): void {
  const { effects } = references;
  const latest = new Map<string, { readonly token: string; readonly effect: Effect }>();
  const latestIn = new Map<string, Map<number, { readonly token: string; readonly effect: Effect }>>();
  for (const { client, operations, lane, outcome } of calls) {
    for (const { key, value } of operations) {
      const token = tokenOf(Buffer.from(value));
      const effect = token === '' ? undefined : effects.of(token);
      if (!effect) continue;
      const order = lane === undefined ? `${client}'s writes to ${key}` : `${client}'s writes of ${lane}`;
      // The tablets that own a key one after the other count as one.
      const inTablets = [...(latestIn.get(order) ?? [])].filter(([tablet]) =>
        references.of(tablet).owns(key),
      );
      for (const before of [...inTablets.map(([, each]) => each), latest.get(order)]) {
        if (!before || before.effect.order <= effect.order) continue;
        const [first, second] = [before.effect, effect].map(
          ({ index, tablet }) => `${index} of tablet ${tablet}`,
        );
        fail(
          'order of calls',
          `of ${order} ${before.token} took effect at ${first}, and ${token} at ${second}`,
        );
      }
      const own =
        latestIn.get(order) ?? new Map<number, { readonly token: string; readonly effect: Effect }>();
      latestIn.set(order, own.set(effect.tablet, { token, effect }));
      if (outcome?.type === 'ok') latest.set(order, { token, effect });
    }
  }
}

/** All parts of a write took effect, or no part did because a condition was not met. */
function isWhole(answers: readonly KeyAnswer[]): boolean {
  const statuses = answers.flatMap(({ status }) => status ?? []);
  if (answers.every(({ applied }) => applied))
    return statuses.every((status) => status === 'ok' || status === 'unchanged');
  return statuses.includes('conditionFailed') && !statuses.includes('ok');
}

/** The state of a tablet after this entry was shown. */
interface Floor {
  readonly log: Reference;
  readonly index: number;
  readonly returnedAt: number;
}

/** A process must not show an older state of a key than it has shown before. */
function checkStaleReads({ calls }: History, references: References, fail: Fail): void {
  const shown = new Map<string, Floor[]>();
  const reads = calls.filter(({ process, outcome }) => process !== undefined && outcome?.type === 'ok');
  for (const call of reads.sort((a, b) => a.returnedAt - b.returnedAt)) {
    if (call.outcome?.type !== 'ok' || call.process === undefined) continue;
    for (const [i, { key }] of call.operations.entries()) {
      const answer = call.outcome.answers[i];
      if (!answer) continue;
      const reference = references.ofKey(key);
      const floors = shown.get(call.process) ?? [];
      shown.set(call.process, floors);
      let floor = 0;
      for (const { log, index, returnedAt } of floors)
        if (returnedAt < call.calledAt && log.owns(key)) floor = Math.max(floor, index);
      const periods = reference.periods(key, answer.version);
      const fits = periods.find((period) => period.until > floor);
      if (!fits) {
        const what = periods.length === 0 ? 'which it never had' : `which was over before entry ${floor}`;
        fail(
          'stale reads do not go back',
          `${call.process} shows version ${answer.version} of ${key}, ${what}`,
        );
      } else {
        const { since: index } = fits;
        floors.push({ log: reference.logOf(key, index), index, returnedAt: call.returnedAt });
      }
      const state = reference.stateAt(key, fits?.since ?? 0);
      if (fits && answer.value !== state?.value.toString('latin1'))
        fail(
          'true values',
          `${call.process} shows a value of ${key} that version ${answer.version} never had`,
        );
    }
  }
}

/** What one call does to one key, in order: a read, or one or more parts of a write. */
type Input = readonly KeyOperation[];

/** A write of unknown outcome may have been applied: then its `index` is known, and its answers are not. */
interface Output {
  readonly applied: boolean;
  readonly index: number;
  readonly answers: readonly KeyAnswer[] | undefined;
}

interface State {
  readonly version: number;
  readonly value: string;
}

/**
 * Leaves out calls that certainly failed, and writes of unknown outcome that no node applied: they can have no effect
 * any more. A write of unknown outcome that was applied has no return time, but its index is known.
 */
function linearizableOperations({ calls }: History, references: References): Operation<Input, Output>[] {
  const said = calls.flatMap(({ operations, outcome, calledAt, returnedAt }) => {
    if (outcome?.type === 'notCommitted') return [];
    const parts = operations.map((operation, i) => ({
      operation,
      answer: outcome?.type === 'ok' ? outcome.answers[i] : undefined,
    }));
    const tokens = operations.map(({ value }) => tokenOf(Buffer.from(value))).filter((token) => token !== '');
    const effect = tokens.flatMap((token) => references.effects.of(token) ?? [])[0]?.index;
    return [...new Set(operations.map(({ key }) => key))].flatMap((key): Operation<Input, Output>[] => {
      const own = parts.filter(({ operation }) => operation.key === key);
      const input = own.map(({ operation }) => operation);
      const base = { key, input, callTime: calledAt };
      if (input.some(({ kind }) => kind === 'staleRead')) return [];
      if (outcome?.type === 'ok') {
        const answers = own.flatMap(({ answer }) => answer ?? []);
        const applied = answers.every((answer) => answer.applied);
        return [{ ...base, output: { applied, index: outcome.index, answers }, returnTime: returnedAt }];
      }
      if (input.some(({ kind }) => kind === 'read')) return [];
      const open = { ...base, returnTime: Number.POSITIVE_INFINITY };
      // A write without a value leaves nothing by which to see that it took effect.
      if (tokens.length === 0) return [{ ...open, output: undefined }];
      return effect === undefined
        ? []
        : [{ ...open, output: { applied: true, index: effect, answers: undefined } }];
    });
  });
  return [
    ...said,
    ...references.keys
      .filter((key) => !isStringKey(key))
      .flatMap((key) => endings(key, references.ofKey(key))),
  ];
}

/** The end of a life is as a delete that nobody has called, of exactly that version. */
function endings(key: string, reference: Reference): Operation<Input, Output>[] {
  return reference.endedLives(key).map(({ index, version }) => ({
    key,
    input: [{ kind: 'delete', key, value: '', expected: { version } }],
    output: { applied: true, index, answers: undefined },
    callTime: 0,
    returnTime: Number.POSITIVE_INFINITY,
  }));
}

/** One key with its version: the index of its last change, which only grows; 0 while it is not there. */
function keyModel(): Model<State, Input, Output> {
  const names = new Map<string, number>();
  return {
    initial: ABSENT,
    step(state, input, output) {
      if (input[0]?.kind === 'read') {
        const answer = output?.answers?.[0];
        const same = answer?.version === state.version && (answer.value ?? '') === state.value;
        return same ? { state } : undefined;
      }
      const met = input.map((operation) => isMet(operation, state));
      if (!output) return { state: met.includes(false) ? state : input.reduce(after(0), state) };
      const { applied, index, answers } = output;
      if (!applied) {
        const isTrue = answers?.every(({ status, existed, version }, i) =>
          met[i]
            ? status === 'notApplied'
            : status === 'conditionFailed' && existed === (state.version !== 0) && version === state.version,
        );
        return isTrue ? { state } : undefined;
      }
      if (met.includes(false) || index <= state.version) return undefined;
      let present = state;
      for (const [i, operation] of input.entries()) {
        const existed = present.version !== 0;
        present = after(index)(present, operation);
        const answer = answers?.[i];
        const isTold = operation.kind !== 'put' || operation.expected !== undefined;
        if (!answer) continue;
        if (answer.version !== present.version) return undefined;
        if (answer.existed !== (isTold ? existed : undefined)) return undefined;
      }
      return { state: present };
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

const ABSENT: State = { version: 0, value: '' };

/** What a part of a write that is applied at this index makes of the key. */
function after(index: number): (state: State, operation: KeyOperation) => State {
  return (state, { kind, value }) => {
    if (kind === 'check' || kind === 'expire' || kind === 'persist') return state;
    if (kind === 'delete') return ABSENT;
    return { version: index, value: kind === 'append' ? state.value + value : value };
  };
}

function isMet({ kind, expected }: KeyOperation, state: State): boolean {
  if (kind === 'insert') return state.version === 0;
  if (!expected) return true;
  if ('exists' in expected) return expected.exists === (state.version !== 0);
  return 'version' in expected
    ? expected.version === state.version
    : state.version !== 0 && expected.value === state.value;
}

/** For the report of a failure: everything that was said about one key. */
export function callsAbout({ calls }: History, key: string): HistoryCall[] {
  return calls.filter(({ operations }) => operations.some((operation) => operation.key === key));
}
