/**
 * Searches for an order of the operations that a sequential object could have had, with each operation between its call
 * and its return. The algorithm is that of Wing and Gong (Testing and Verifying Concurrent Objects, 1993) with Lowe's
 * caching (Testing for Linearizability, 2017), as in Porcupine. It takes operations from a list of calls and returns; a
 * set of taken operations with the state reached is tried once.
 *
 * An operation of unknown outcome has no return. It may take effect at any time after its call, or after all others,
 * where no operation sees it.
 */
export interface Operation<Input, Output> {
  /** Operations on different keys are checked separately. */
  readonly key: string;
  readonly input: Input;
  /** Undefined: unknown. */
  readonly output: Output | undefined;
  readonly callTime: number;
  /** Infinity: it never returned, or its outcome is unknown. */
  readonly returnTime: number;
}

export interface Model<State, Input, Output> {
  readonly initial: State;
  /** The state afterwards, or undefined if the output is impossible in this state. */
  step(state: State, input: Input, output: Output | undefined): { readonly state: State } | undefined;
  /** Equal for equal states, different for different ones. */
  fingerprint(state: State): string;
}

interface Entry<Input, Output> {
  readonly operation: number;
  readonly input: Input;
  readonly output: Output | undefined;
  /** Of a call, its return; of a return, undefined. */
  readonly match: Entry<Input, Output> | undefined;
  previous: Entry<Input, Output> | undefined;
  next: Entry<Input, Output> | undefined;
}

export type Verdict =
  | { readonly linearizable: true }
  /** `key`: the first one whose history has no order. */
  | { readonly linearizable: false; readonly key: string };

export function checkLinearizability<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
): Verdict {
  const byKey = new Map<string, Operation<Input, Output>[]>();
  for (const operation of operations) {
    const group = byKey.get(operation.key);
    if (group) group.push(operation);
    else byKey.set(operation.key, [operation]);
  }
  for (const [key, group] of byKey) {
    if (!hasOrder(model, group)) return { linearizable: false, key };
  }
  return { linearizable: true };
}

function hasOrder<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
): boolean {
  const head = buildList(operations);
  const taken = new Uint32Array((operations.length + 31) >> 5);
  const tried = new Set<string>();
  const stack: { entry: Entry<Input, Output>; state: State }[] = [];
  let { initial: state } = model;
  let entry = head.next;
  while (head.next) {
    if (!entry) throw new Error('a list of calls and returns ends with a return');
    if (entry.match) {
      const result = model.step(state, entry.input, entry.output);
      if (result) {
        toggle(taken, entry.operation);
        const fingerprint = `${taken.join()} ${model.fingerprint(result.state)}`;
        if (!tried.has(fingerprint)) {
          tried.add(fingerprint);
          stack.push({ entry, state });
          state = result.state;
          lift(entry);
          entry = head.next;
          continue;
        }
        toggle(taken, entry.operation);
      }
      entry = entry.next;
    } else {
      // A return whose call was not taken: an earlier choice was wrong.
      const last = stack.pop();
      if (!last) return false;
      state = last.state;
      toggle(taken, last.entry.operation);
      putBack(last.entry);
      entry = last.entry.next;
    }
  }
  return true;
}

/** Calls and returns in order of time. At equal times calls come first, so that the operations overlap. */
function buildList<Input, Output>(operations: readonly Operation<Input, Output>[]): Entry<Input, Output> {
  const events: { time: number; isReturn: boolean; entry: Entry<Input, Output> }[] = [];
  operations.forEach(({ input, output, callTime, returnTime }, operation) => {
    const blank = { operation, input, output, previous: undefined, next: undefined };
    const end: Entry<Input, Output> = { ...blank, match: undefined };
    events.push({ time: callTime, isReturn: false, entry: { ...blank, match: end } });
    events.push({ time: returnTime, isReturn: true, entry: end });
  });
  events.sort((a, b) =>
    a.time === b.time ? Number(a.isReturn) - Number(b.isReturn) : a.time < b.time ? -1 : 1,
  );
  const head = { operation: -1, match: undefined, previous: undefined, next: undefined } as unknown as Entry<
    Input,
    Output
  >;
  let last = head;
  for (const { entry } of events) {
    last.next = entry;
    entry.previous = last;
    last = entry;
  }
  return head;
}

function lift<Input, Output>(call: Entry<Input, Output>): void {
  unlink(call);
  if (call.match) unlink(call.match);
}

/** Undoes `lift`. In reverse order, so that the neighbours are the same as before. */
function putBack<Input, Output>(call: Entry<Input, Output>): void {
  if (call.match) relink(call.match);
  relink(call);
}

function unlink<Input, Output>(entry: Entry<Input, Output>): void {
  if (entry.previous) entry.previous.next = entry.next;
  if (entry.next) entry.next.previous = entry.previous;
}

function relink<Input, Output>(entry: Entry<Input, Output>): void {
  if (entry.previous) entry.previous.next = entry;
  if (entry.next) entry.next.previous = entry;
}

function toggle(set: Uint32Array, index: number): void {
  const word = index >> 5;
  set[word] = (set[word] ?? 0) ^ (1 << (index & 31));
}
