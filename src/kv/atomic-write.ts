/**
 * What one write does: the rule of PROTOCOL.md, "Writes".
 *
 *     1. every condition is judged against the keys as they were before the write
 *     2. all hold: the operations take effect in order, each on what the one before it left
 *     3. one does not hold, or a value would grow above the limit, or all values that grow together above
 *        MAX_GROWN_BYTES: no operation takes effect
 */
import type { BatchKey, BatchKeys } from './batch-keys.js';
import type { EntryOperation } from './command.js';
import type { VersionedValue } from './keys.js';
import type { OperationResult, WriteResult } from './sessions.js';

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
  for (const { operation, key } of steps) {
    if (operation.action === 'put' && operation.condition === 'always') {
      keys.stage(key, { version: index, value: operation.value });
      results.push({ status: 'ok', existed: false, version: index });
      continue;
    }
    const present = keys.present(key);
    const existed = present !== undefined;
    switch (operation.action) {
      case 'check':
        results.push({ status: 'ok', ...seen(present) });
        continue;
      case 'delete':
        if (existed) keys.stage(key, null);
        results.push({ status: 'ok', existed, version: 0 });
        continue;
      case 'put':
        keys.stage(key, { version: index, value: operation.value });
        break;
      case 'append': {
        const value = present ? Buffer.concat([present.value, operation.value]) : operation.value;
        const tooLargeAt = results.length;
        grownBytes += value.length;
        if (value.length > maxValueBytes || grownBytes > MAX_GROWN_BYTES)
          return refused((position) => (position === tooLargeAt ? 'valueTooLarge' : 'notApplied'));
        keys.stage(key, { version: index, value });
      }
    }
    results.push({ status: 'ok', existed, version: index });
  }
  keys.accept();
  return { applied: true, index, results };
}

interface Step {
  readonly operation: EntryOperation;
  readonly key: BatchKey;
}

const NOT_APPLIED: OperationResult = { status: 'notApplied', existed: false, version: 0 };

function seen(present: VersionedValue | undefined): { existed: boolean; version: number } {
  return { existed: present !== undefined, version: present?.version ?? 0 };
}

function isMet(operation: EntryOperation, present: VersionedValue | undefined): boolean {
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
