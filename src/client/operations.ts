/** The user's write operations, and their form on the wire. */
import type { OutboundOperation } from '../protocol/messages.js';
import { invalid } from './client-options.js';

/** Text is encoded as UTF-8. Byte arrays must not change until the call is over. */
export type Bytes = string | Uint8Array;

/** The state of a key that an operation requires. */
export type Condition =
  | { readonly exists: boolean }
  | { readonly expectedValue: Bytes }
  | { readonly expectedVersion: number };

/** One operation of a batch. `check` changes nothing; it only has a condition. */
export type BatchOperation =
  | {
      readonly action: 'put' | 'append';
      readonly key: Bytes;
      readonly value: Bytes;
      readonly condition?: Condition;
    }
  | { readonly action: 'delete'; readonly key: Bytes; readonly condition?: Condition }
  | { readonly action: 'check'; readonly key: Bytes; readonly condition: Condition };

const LONE_SURROGATE = /\p{Surrogate}/u;
const NOTHING = Buffer.alloc(0);

/** Throws `INVALID_REQUEST` for text that cannot be encoded as UTF-8. */
export function toBytes(value: Bytes): Uint8Array {
  if (typeof value !== 'string') {
    if (value instanceof Uint8Array) return value;
    throw invalid(`keys and values are strings or Uint8Arrays, not ${typeof value}`);
  }
  if (LONE_SURROGATE.test(value))
    throw invalid('a string with half a surrogate pair cannot be encoded as UTF-8');
  return Buffer.from(value, 'utf8');
}

/** Throws `INVALID_REQUEST`. */
export function toOperation(given: BatchOperation): OutboundOperation {
  const key = toBytes(given.key);
  const value = 'value' in given ? toBytes(given.value) : NOTHING;
  const operation = {
    action: given.action,
    key,
    value,
    condition: 'always' as OutboundOperation['condition'],
    conditionValue: NOTHING as Uint8Array,
    conditionVersion: 0,
  };
  const { condition } = given;
  if (condition === undefined) return operation;
  if ('exists' in condition) operation.condition = condition.exists ? 'exists' : 'absent';
  else if ('expectedValue' in condition) {
    operation.condition = 'valueIs';
    operation.conditionValue = toBytes(condition.expectedValue);
  } else {
    const version = condition.expectedVersion;
    if (!Number.isSafeInteger(version) || version < 0) throw invalid(`${version} is not a valid version`);
    operation.condition = 'versionIs';
    operation.conditionVersion = version;
  }
  return operation;
}
