/**
 * What one write does: the rule of PROTOCOL.md, "Writes".
 *
 *     1. every condition is judged against the keys as they were before the write
 *     2. all hold: the operations take effect in order, each on what the one before it left
 *     3. one does not hold, or a value would grow above the limit, or all values that grow together above
 *        MAX_GROWN_BYTES, or a value that is incremented is no number or would become too large: no operation takes
 *        effect
 *
 * A key whose deadline has passed is not there. `life` decides about the deadline that an operation leaves.
 */
import type { BatchKey, BatchKeys } from './batch-keys.js';
import type { EntryOperation } from './command.js';
import { checkedInteger, parseInteger } from './integer.js';
import type { StoredKey } from './keys.js';
import type { OperationResult, WriteResult } from './sessions.js';
import {
  type Allowance,
  encodeStringResult,
  MAX_RESULT_BYTES,
  performStringOperation,
} from './string-operation.js';

/**
 * The total size of the values that the appends of one write leave. Without this limit, small appends to many large
 * values would make a batch that no engine accepts, on any replica. It must be the same on all replicas, so it is never
 * changed.
 */
export const MAX_GROWN_BYTES: number = 128 * 1024 * 1024;

/** Changes `keys` if the write is applied. A `put` without a condition reads nothing: that makes a plain put cheap. */
export function performWrite(
  operations: readonly EntryOperation[],
  { index, maxValueBytes }: { readonly index: number; readonly maxValueBytes: number },
  keys: BatchKeys,
): WriteResult {
  const [only] = operations;
  const isPlain = only?.action === 'put' && only.condition === 'always' && only.life === undefined;
  if (only && isPlain && operations.length === 1) {
    keys.put(only.key, { version: index, value: only.value });
    return { applied: true, index, results: [{ status: 'ok', existed: false, version: index }] };
  }
  const steps: readonly Step[] = operations.map((operation) => ({
    operation,
    key: keys.of(operation.key),
  }));
  const refused = (statusAt: (position: number) => OperationResult['status']): WriteResult => {
    const results = steps.map(({ key }, position): OperationResult => {
      const status = statusAt(position);
      return status === 'notApplied' ? NOT_APPLIED : { status, ...seen(keys.before(key)) };
    });
    keys.refuse();
    return { applied: false, index, results };
  };

  const met = steps.map(
    ({ operation, key }) => operation.condition === 'always' || isMet(operation, keys.before(key)),
  );
  if (met.includes(false)) return refused((position) => (met[position] ? 'notApplied' : 'conditionFailed'));

  const results: OperationResult[] = [];
  let grownBytes = 0;
  const allowance: Allowance = { maxValueBytes, grownBytes: MAX_GROWN_BYTES, resultBytes: MAX_RESULT_BYTES };
  for (const { operation, key } of steps) {
    const { life } = operation;
    if (operation.action === 'put' && operation.condition === 'always' && life === undefined) {
      keys.stage(key, { version: index, value: operation.value });
      results.push({ status: 'ok', existed: false, version: index });
      continue;
    }
    if (operation.action === 'modify') {
      const result = performStringOperation({
        ...{ operation, key, index, keys, allowance },
        deadlineMs: (present) => deadlineAfter(operation, present, keys.nowMs),
        mayExpire: (present) => mayExpire(operation, present, keys.nowMs),
      });
      results.push({ status: 'ok', ...seen(keys.present(key)), value: encodeStringResult(result) });
      continue;
    }
    const present = keys.present(key);
    const existed = present !== undefined;
    const deadlineMs = deadlineAfter(operation, present, keys.nowMs);
    const leave = (version: number, value: Buffer, result?: Buffer) => {
      const isGone = deadlineMs !== undefined && deadlineMs <= keys.nowMs;
      if (isGone) keys.stage(key, null);
      else keys.stage(key, deadlineMs === undefined ? { version, value } : { version, value, deadlineMs });
      const isTold = operation.action !== 'put' || operation.condition !== 'always';
      const found = { status: 'ok', existed: isTold && existed, version: isGone ? 0 : version } as const;
      results.push(result === undefined ? found : { ...found, value: result });
    };
    switch (operation.action) {
      case 'check':
        results.push({ status: 'ok', ...seen(present) });
        continue;
      case 'delete':
        if (existed) keys.stage(key, null);
        results.push({ status: 'ok', existed, version: 0 });
        continue;
      case 'put':
        leave(index, operation.value);
        continue;
      case 'expire':
      case 'persist': {
        const takesEffect =
          operation.action === 'expire'
            ? mayExpire(operation, present, keys.nowMs)
            : present?.deadlineMs !== undefined;
        if (present && takesEffect) leave(present.version, present.value);
        else results.push({ status: present ? 'unchanged' : 'ok', ...seen(present) });
        continue;
      }
      case 'increment': {
        const number = present ? parseInteger(present.value) : 0n;
        const by = parseInteger(operation.value) ?? 0n;
        const sum = number === undefined ? undefined : checkedInteger(number + by);
        if (sum === undefined) {
          const at = results.length;
          const status = number === undefined ? 'notANumber' : 'overflow';
          return refused((position) => (position === at ? status : 'notApplied'));
        }
        const value = Buffer.from(String(sum));
        leave(index, value, value);
        continue;
      }
      case 'append': {
        const value = present ? Buffer.concat([present.value, operation.value]) : operation.value;
        const tooLargeAt = results.length;
        grownBytes += value.length;
        if (value.length > maxValueBytes || grownBytes > MAX_GROWN_BYTES)
          return refused((position) => (position === tooLargeAt ? 'valueTooLarge' : 'notApplied'));
        leave(index, value);
      }
    }
  }
  keys.accept(index);
  return { applied: true, index, results };
}

interface Step {
  readonly operation: EntryOperation;
  readonly key: BatchKey;
}

const NOT_APPLIED: OperationResult = { status: 'notApplied', existed: false, version: 0 };

/** The deadline that an operation leaves, by its life. */
function deadlineAfter(
  { action, life }: EntryOperation,
  present: StoredKey | undefined,
  nowMs: number,
): number | undefined {
  if (action === 'persist') return undefined;
  const change = life?.change ?? (action === 'put' ? undefined : 'keep');
  if (change === undefined) return undefined;
  const isSet = change === 'set' || (change === 'setIfNew' && !present);
  return isSet ? nowMs + (life?.ttlMs ?? 0) : present?.deadlineMs;
}

/** Whether the deadline of a key is as an `expire` asks for. No deadline counts as the latest. */
function mayExpire({ life }: EntryOperation, present: StoredKey | undefined, nowMs: number): boolean {
  const oldMs = present?.deadlineMs ?? Number.POSITIVE_INFINITY;
  const newMs = nowMs + (life?.ttlMs ?? 0);
  switch (life?.when) {
    case 'ifNone':
      return oldMs === Number.POSITIVE_INFINITY;
    case 'ifSome':
      return oldMs < Number.POSITIVE_INFINITY;
    case 'ifLater':
      return newMs > oldMs;
    case 'ifSooner':
      return newMs < oldMs;
    default:
      return life !== undefined;
  }
}

function seen(present: StoredKey | undefined): { existed: boolean; version: number } {
  return { existed: present !== undefined, version: present?.version ?? 0 };
}

function isMet(operation: EntryOperation, present: StoredKey | undefined): boolean {
  switch (operation.condition) {
    case 'always':
      return true;
    case 'exists':
      return present !== undefined;
    case 'absent':
      return present === undefined;
    case 'valueIs':
      return present?.value.equals(operation.conditionValue) ?? false;
    case 'versionIs':
      return (present?.version ?? 0) === operation.conditionVersion;
  }
}
