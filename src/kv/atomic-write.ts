/**
 * What one write does: PROTOCOL.md's rule, as a function of its operations and the keys that it looks up.
 *
 *     1. every condition is judged against the keys as they were before the write
 *     2. all hold: the operations take effect in order, each on what the one before it left
 *     3. one does not, or a value would grow above the limit, or all values that grow together above MAX_GROWN_BYTES:
 *        no operation takes effect
 */
import type { WriteOperation } from './command.js';
import type { VersionedValue } from './keys.js';
import type { OperationResult, WriteResult } from './sessions.js';

/** What a write changes, by the key's latin1 name; null: the key is deleted. */
export type Changes = Map<string, VersionedValue | null>;

export interface AtomicWrite {
  readonly write: WriteResult;
  /** Empty if the write was not applied. */
  readonly changes: Changes;
}

/**
 * All values together that the appends of one write leave: a few small ones to many large values would make a batch
 * that no engine takes, on any replica. The same for all replicas, for ever.
 */
export const MAX_GROWN_BYTES: number = 128 * 1024 * 1024;

/** `find`: a key before the write. It is not called for a `put` without a condition: that makes a plain put cheap. */
export function performWrite(
  operations: readonly WriteOperation[],
  { index, maxValueBytes }: { readonly index: number; readonly maxValueBytes: number },
  find: (name: string, key: Uint8Array) => VersionedValue | undefined,
): AtomicWrite {
  const found = new Map<string, VersionedValue | undefined>();
  const before = ({ key }: WriteOperation): VersionedValue | undefined => {
    const name = nameOf(key);
    if (!found.has(name)) found.set(name, find(name, key));
    return found.get(name);
  };
  const refused = (statusAt: (position: number) => OperationResult['status']): AtomicWrite => ({
    write: {
      applied: false,
      index,
      results: operations.map((operation, position) => {
        const status = statusAt(position);
        return status === 'notApplied' ? NOT_APPLIED : { status, ...seen(before(operation)) };
      }),
    },
    changes: new Map(),
  });

  const met = operations.map(
    (operation) => operation.condition === 'always' || isMet(operation, before(operation)),
  );
  if (met.includes(false)) return refused((position) => (met[position] ? 'notApplied' : 'conditionFailed'));

  const changes: Changes = new Map();
  const results: OperationResult[] = [];
  let grownBytes = 0;
  for (const operation of operations) {
    const name = nameOf(operation.key);
    if (operation.action === 'put' && operation.condition === 'always') {
      changes.set(name, { version: index, value: operation.value });
      results.push({ status: 'ok', existed: false, version: index });
      continue;
    }
    const change = changes.get(name);
    const present = change === undefined ? before(operation) : (change ?? undefined);
    const existed = present !== undefined;
    switch (operation.action) {
      case 'check':
        results.push({ status: 'ok', ...seen(present) });
        continue;
      case 'delete':
        if (existed) changes.set(name, null);
        results.push({ status: 'ok', existed, version: 0 });
        continue;
      case 'put':
        changes.set(name, { version: index, value: operation.value });
        break;
      case 'append': {
        const value = present ? Buffer.concat([present.value, operation.value]) : operation.value;
        const tooLargeAt = results.length;
        grownBytes += value.length;
        if (value.length > maxValueBytes || grownBytes > MAX_GROWN_BYTES)
          return refused((position) => (position === tooLargeAt ? 'valueTooLarge' : 'notApplied'));
        changes.set(name, { version: index, value });
      }
    }
    results.push({ status: 'ok', existed, version: index });
  }
  return { write: { applied: true, index, results }, changes };
}

const NOT_APPLIED: OperationResult = { status: 'notApplied', existed: false, version: 0 };

function nameOf(key: Buffer): string {
  return key.toString('latin1');
}

function seen(present: VersionedValue | undefined): { existed: boolean; version: number } {
  return { existed: present !== undefined, version: present?.version ?? 0 };
}

function isMet(operation: WriteOperation, present: VersionedValue | undefined): boolean {
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
