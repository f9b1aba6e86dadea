/** The user's write operations, and their form on the wire. */
import { parseInteger } from '../kv/integer.js';
import { MAX_TTL_MS } from '../kv/replicated-time.js';
import type { Life } from '../kv/requests.js';
import type { OutboundOperation } from '../protocol/messages.js';
import { invalid } from './client-options.js';

/** Text is encoded as UTF-8. Byte arrays must not change until the call is over. */
export type Bytes = string | Uint8Array;

/** The state of a key that an operation requires. */
export type Condition =
  | { readonly exists: boolean }
  | { readonly expectedValue: Bytes }
  | { readonly expectedVersion: number };

/**
 * How long a key lives after a write. Without both, `put` takes a deadline away, and other writes leave it as it is.
 */
export interface LifeOptions {
  /** Whole milliseconds from 1 on, from when the leader takes the write. Then the key is absent. */
  readonly ttlMs?: number | undefined;
  /** The key keeps the deadline that it has. */
  readonly keepTtl?: boolean | undefined;
}

/**
 * Which deadline a key must have for an `expire`: none (`ifNone`), some (`ifSome`), one before (`ifLater`) or after
 * (`ifSooner`) the new one. No deadline counts as the latest.
 */
export type ExpireCondition = Exclude<Life['when'], 'always'>;

/** One operation of a batch. `check` changes nothing; it only has a condition. */
export type BatchOperation =
  | ({
      readonly action: 'put' | 'append';
      readonly key: Bytes;
      readonly value: Bytes;
      readonly condition?: Condition;
    } & LifeOptions)
  | {
      readonly action: 'expire';
      readonly key: Bytes;
      /** 0: the key is gone at once. */
      readonly ttlMs: number;
      readonly when?: ExpireCondition | undefined;
      readonly condition?: Condition;
    }
  | { readonly action: 'persist'; readonly key: Bytes; readonly condition?: Condition }
  | {
      readonly action: 'increment';
      readonly key: Bytes;
      /** A whole number of 64 bits with sign. 1 if it is not given. */
      readonly by?: number | bigint | undefined;
      /** For a key that the operation creates. */
      readonly ttlMs?: number | undefined;
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
  const value = toValue(given);
  const operation = {
    action: given.action,
    key,
    value,
    condition: 'always' as OutboundOperation['condition'],
    conditionValue: NOTHING as Uint8Array,
    conditionVersion: 0,
    life: toLife(given),
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

function toValue(given: BatchOperation): Uint8Array {
  if (given.action === 'put' || given.action === 'append') return toBytes(given.value);
  if (given.action !== 'increment') return NOTHING;
  const { by = 1 } = given;
  const text = Buffer.from(String(by));
  if ((typeof by !== 'bigint' && !Number.isSafeInteger(by)) || parseInteger(text) === undefined)
    throw invalid(`by must be a whole number from -2^63 to 2^63-1 (above 2^53 a bigint), not ${by}`);
  return text;
}

function toLife(given: BatchOperation): Life | undefined {
  switch (given.action) {
    case 'put':
    case 'append': {
      const { ttlMs, keepTtl = false } = given;
      if (ttlMs === undefined) return keepTtl ? { change: 'keep', ttlMs: 0, when: 'always' } : undefined;
      if (keepTtl) throw invalid('ttlMs and keepTtl contradict each other');
      return { change: 'set', ttlMs: checkedTtl(ttlMs, 1), when: 'always' };
    }
    case 'expire':
      return { change: 'set', ttlMs: checkedTtl(given.ttlMs, 0), when: given.when ?? 'always' };
    case 'increment': {
      const { ttlMs } = given;
      if (ttlMs === undefined) return undefined;
      return { change: 'setIfNew', ttlMs: checkedTtl(ttlMs, 1), when: 'always' };
    }
    default:
      return undefined;
  }
}

function checkedTtl(ttlMs: number, least: number): number {
  if (Number.isSafeInteger(ttlMs) && ttlMs >= least && ttlMs <= MAX_TTL_MS) return ttlMs;
  throw invalid(`ttlMs must be a whole number of milliseconds from ${least} to ${MAX_TTL_MS}, not ${ttlMs}`);
}
