/**
 * String operations: the commands of Redis that read a key, compute, and write it. Each is one operation of a write
 * (action `modify`), computed when the write is applied, so it is the same on every replica, and a repeated one has the
 * result of the first. It never refuses the write that it is in: what it cannot do is its result, as inside of MULTI.
 *
 *     the value of the operation    opcode u8 | argument ...       argument: length u32, then the bytes
 *     its result                    kind u8 | bytes                kind: nothing 0, number 1, bytes 2, done 3, error 4
 *
 * Numbers are decimal text. A key that it leaves has the version of the write, also if only its deadline has changed.
 * The life of the operation decides about the deadline (requests.ts); without one the deadline stays, but for `set`.
 */
import { BatchKey, type BatchKeys, living } from './batch-keys.js';
import type { EntryOperation } from './command.js';
import { addDecimals } from './decimal.js';
import { checkedInteger, parseInteger } from './integer.js';
import type { StoredKey } from './keys.js';
import type { LivingKey } from './requests.js';

/** Name, and the least and the largest number of arguments. The opcodes never change. */
const OPERATIONS = {
  get: [1, 0, 0],
  /** condition (`always`, `exists`, `absent`), what to answer (`done`, `old`, `count`), value */
  set: [2, 3, 3],
  getDelete: [3, 0, 0],
  append: [4, 1, 1],
  length: [5, 0, 0],
  /** first and last position, from the end if negative */
  getRange: [6, 2, 2],
  /** offset, bytes */
  setRange: [7, 2, 2],
  exists: [8, 0, 0],
  increment: [9, 1, 1],
  incrementFloat: [10, 1, 1],
  /** What the life of the operation says; the value stays. Answers 1 if it did. */
  expire: [11, 0, 0],
  persist: [12, 0, 0],
  /** ms that the key still lives; -1: no deadline, -2: no key. */
  remaining: [13, 0, 0],
  /** another key; `always` or `absent`: what that key must be */
  rename: [14, 2, 2],
  copy: [15, 2, 2],
  /** Sets all keys if none exists: further keys and values follow the value. */
  setAllIfAbsent: [16, 1, Number.POSITIVE_INFINITY],
  /** The value, and the deadline changes by the life. */
  getExpire: [17, 0, 0],
  getBit: [18, 1, 1],
  /** offset, 0 or 1 */
  setBit: [19, 2, 2],
  /** As `expire`, of a key that has a deadline. */
  expireMortal: [20, 0, 0],
  /** The value; it takes the deadline away. */
  getPersist: [21, 0, 0],
} as const satisfies Readonly<Record<string, readonly [opcode: number, least: number, most: number]>>;

export type StringOperationName = keyof typeof OPERATIONS;

const NAMES: ReadonlyMap<number, StringOperationName> = new Map(
  Object.entries(OPERATIONS).map(([name, [opcode]]) => [opcode, name as StringOperationName]),
);

const RESULT_KINDS = ['nothing', 'number', 'bytes', 'done', 'error'] as const;

export type StringError =
  | 'malformed'
  | 'notAnInteger'
  | 'notAFloat'
  | 'overflow'
  | 'floatOverflow'
  | 'tooLarge'
  | 'answerTooLarge'
  | 'noSuchKey';

export type StringResult =
  | { readonly kind: 'nothing' | 'done' }
  | { readonly kind: 'number'; readonly number: bigint }
  | { readonly kind: 'bytes'; readonly bytes: Buffer }
  | { readonly kind: 'error'; readonly code: StringError };

/**
 * The values that the results of one write hold together. Must be the same on all replicas, so it is never changed.
 * With it the largest value can be answered.
 */
export const MAX_RESULT_BYTES: number = 64 * 1024 * 1024;
/** What an engine can hold: as in command.ts. */
const MAX_STORED_KEY_BYTES = 64 * 1024 - 1;
/** The highest bit of the largest string: that of Redis. */
const MAX_BIT_OFFSET = 2n ** 32n - 1n;

/** The value of an operation with the action `modify`. */
export function encodeStringOperation(
  name: StringOperationName,
  ...given: readonly (Uint8Array | string)[]
): Buffer {
  const parts: Uint8Array[] = [Buffer.of(OPERATIONS[name][0])];
  for (const argument of given) {
    const bytes = typeof argument === 'string' ? Buffer.from(argument, 'latin1') : argument;
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32BE(bytes.length);
    parts.push(length, bytes);
  }
  return Buffer.concat(parts);
}

interface StringOperation {
  readonly name: StringOperationName;
  readonly given: readonly Buffer[];
}

/** Undefined for bytes that `encodeStringOperation` does not write. */
export function decodeStringOperation(value: Uint8Array): StringOperation | undefined {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
  const name = NAMES.get(bytes[0] ?? 0);
  if (name === undefined) return undefined;
  const given: Buffer[] = [];
  let at = 1;
  while (at < bytes.length) {
    if (bytes.length - at < 4) return undefined;
    const from = at + 4;
    at = from + bytes.readUInt32BE(at);
    if (at > bytes.length) return undefined;
    given.push(bytes.subarray(from, at));
  }
  const [, least, most] = OPERATIONS[name];
  if (given.length < least || given.length > most) return undefined;
  if (name === 'setAllIfAbsent' && given.length % 2 === 0) return undefined;
  const areStorable = furtherKeysOf({ name, given }).every(
    ({ length }) => length > 0 && length <= MAX_STORED_KEY_BYTES,
  );
  return areStorable ? { name, given } : undefined;
}

/** Keys beside that of the operation which it may change. */
export function furtherKeys(value: Uint8Array): readonly Buffer[] {
  const decoded = decodeStringOperation(value);
  return decoded ? furtherKeysOf(decoded) : [];
}

function furtherKeysOf({ name, given }: StringOperation): readonly Buffer[] {
  if (name === 'rename' || name === 'copy') return given.slice(0, 1);
  return name === 'setAllIfAbsent' ? given.filter((_each, i) => i % 2 === 1) : [];
}

export function encodeStringResult(result: StringResult): Buffer {
  const kind = Buffer.of(RESULT_KINDS.indexOf(result.kind));
  switch (result.kind) {
    case 'number':
      return Buffer.concat([kind, Buffer.from(String(result.number), 'latin1')]);
    case 'bytes':
      return Buffer.concat([kind, result.bytes]);
    case 'error':
      return Buffer.concat([kind, Buffer.from(result.code, 'latin1')]);
    default:
      return kind;
  }
}

export function decodeStringResult(encoded: Uint8Array): StringResult {
  const kind = RESULT_KINDS[encoded[0] ?? 0] ?? 'nothing';
  const bytes = Buffer.from(encoded.buffer, encoded.byteOffset + 1, Math.max(0, encoded.length - 1));
  if (kind === 'number') return { kind, number: BigInt(bytes.toString('latin1')) };
  if (kind === 'bytes') return { kind, bytes };
  return kind === 'error' ? { kind, code: bytes.toString('latin1') as StringError } : { kind };
}

/** What all operations of one write may still add. */
export interface Allowance {
  maxValueBytes: number;
  /** Of values that grow. */
  grownBytes: number;
  resultBytes: number;
}

export interface Modification {
  readonly operation: EntryOperation;
  readonly key: BatchKey;
  /** The version that it leaves. */
  readonly index: number;
  readonly keys: Pick<BatchKeys, 'of' | 'present' | 'stage' | 'nowMs'>;
  readonly allowance: Allowance;
  /** The deadline that the life of the operation leaves to a key that is so. */
  readonly deadlineMs: (present: StoredKey | undefined) => number | undefined;
  /** Whether its deadline is as the life asks for. */
  readonly mayExpire: (present: StoredKey) => boolean;
}

/** Changes what `keys` holds, and returns what the caller gets. */
export function performStringOperation(modification: Modification): StringResult {
  const decoded = decodeStringOperation(modification.operation.value);
  if (!decoded) return failed('malformed');
  return new Performer(modification).perform(decoded);
}

/** The result of an operation that changes nothing, of what a read has found: also outside of a write. */
export function readString(
  value: Uint8Array,
  found: LivingKey | undefined,
  allowance: Allowance,
): StringResult {
  const key = new BatchKey(EMPTY);
  const deadline = found?.remainingMs === undefined ? {} : { deadlineMs: found.remainingMs };
  const present = found && { version: found.version, value: found.value, ...deadline };
  const decoded = decodeStringOperation(value);
  if (!decoded) return failed('malformed');
  return new Performer({
    operation: { ...READ, value: Buffer.from(value) },
    ...{ key, index: 0, allowance, deadlineMs: () => undefined, mayExpire: () => false },
    keys: { of: (name) => new BatchKey(name), present: () => present, stage: () => {}, nowMs: 0 },
  }).perform(decoded);
}

const NOTHING: StringResult = { kind: 'nothing' };
const DONE: StringResult = { kind: 'done' };
const EMPTY = Buffer.alloc(0);
const READ: EntryOperation = {
  ...{ action: 'modify', key: EMPTY, value: EMPTY },
  ...{ condition: 'always', conditionValue: EMPTY, conditionVersion: 0 },
};

class Performer {
  readonly #of: Modification;
  readonly #present: StoredKey | undefined;

  constructor(of: Modification) {
    this.#of = of;
    this.#present = of.keys.present(of.key);
  }

  perform({ name, given }: StringOperation): StringResult {
    const present = this.#present;
    const [first = EMPTY, second = EMPTY, third = EMPTY] = given;
    switch (name) {
      case 'get':
        return this.#bytes(present?.value);
      case 'set':
        return this.#set(first.toString('latin1'), second.toString('latin1'), third);
      case 'getDelete': {
        const result = this.#bytes(present?.value);
        if (result.kind === 'bytes') this.#of.keys.stage(this.#of.key, null);
        return result;
      }
      case 'getExpire': {
        const result = this.#bytes(present?.value);
        if (result.kind === 'bytes' && present && this.#of.operation.life)
          this.#leave(present.value, this.#of.deadlineMs(present));
        return result;
      }
      case 'append':
        return this.#append(present?.value ?? EMPTY, first);
      case 'length':
        return count(present?.value.length ?? 0);
      case 'exists':
        return count(present ? 1 : 0);
      case 'getRange':
        return this.#getRange(first, second);
      case 'setRange':
        return this.#setRange(first, second);
      case 'increment':
        return this.#increment(first);
      case 'incrementFloat':
        return this.#incrementFloat(first);
      case 'getPersist': {
        const result = this.#bytes(present?.value);
        if (result.kind === 'bytes' && present?.deadlineMs !== undefined)
          this.#leave(present.value, undefined);
        return result;
      }
      case 'expire':
      case 'expireMortal':
        if (name === 'expireMortal' && present?.deadlineMs === undefined) return count(0);
        if (!present || !this.#of.operation.life || !this.#of.mayExpire(present)) return count(0);
        this.#leave(present.value, this.#of.deadlineMs(present));
        return count(1);
      case 'persist':
        if (present?.deadlineMs === undefined) return count(0);
        this.#leave(present.value, undefined);
        return count(1);
      case 'remaining':
        if (!present) return count(-2);
        return count(present.deadlineMs === undefined ? -1 : present.deadlineMs - this.#of.keys.nowMs);
      case 'rename':
        return this.#copy(first, second, true);
      case 'copy':
        return this.#copy(first, second, false);
      case 'setAllIfAbsent':
        return this.#setAllIfAbsent(given);
      case 'getBit':
      case 'setBit':
        return this.#bit(name, first, second);
    }
  }

  #set(condition: string, answer: string, value: Buffer): StringResult {
    const present = this.#present;
    const old = answer === 'old' ? this.#bytes(present?.value) : DONE;
    if (old.kind === 'error') return old;
    if (value.length > this.#of.allowance.maxValueBytes) return failed('tooLarge');
    const isMet = condition === 'always' || (condition === 'exists') === (present !== undefined);
    if (isMet) this.#leave(value, this.#of.operation.life ? this.#of.deadlineMs(present) : undefined);
    if (answer === 'old') return old;
    if (answer === 'count') return count(isMet ? 1 : 0);
    return isMet ? DONE : NOTHING;
  }

  #getRange(from: Buffer, to: Buffer): StringResult {
    const value = this.#present?.value ?? EMPTY;
    const [first, last] = [position(from, value.length), position(to, value.length)];
    if (first === undefined || last === undefined) return failed('notAnInteger');
    return this.#bytes(first > last ? EMPTY : value.subarray(first, last + 1));
  }

  #setRange(at: Buffer, bytes: Buffer): StringResult {
    const offset = parseInteger(at);
    if (offset === undefined || offset < 0n) return failed('notAnInteger');
    const old = this.#present?.value ?? EMPTY;
    if (bytes.length === 0) return count(old.length);
    if (offset + BigInt(bytes.length) > BigInt(this.#of.allowance.maxValueBytes)) return failed('tooLarge');
    const from = Number(offset);
    const sizeBytes = Math.max(old.length, from + bytes.length);
    if (!this.#mayLeave(sizeBytes)) return failed('tooLarge');
    const value = Buffer.alloc(sizeBytes);
    value.set(old);
    value.set(bytes, from);
    this.#leave(value, this.#present?.deadlineMs);
    return count(sizeBytes);
  }

  #bit(name: 'getBit' | 'setBit', at: Buffer, to: Buffer): StringResult {
    const offset = parseInteger(at);
    if (offset === undefined || offset < 0n || offset > MAX_BIT_OFFSET) return failed('notAnInteger');
    const byte = Number(offset / 8n);
    const mask = 0x80 >> Number(offset % 8n);
    const old = this.#present?.value ?? EMPTY;
    const before = ((old[byte] ?? 0) & mask) === 0 ? 0 : 1;
    if (name === 'getBit') return count(before);
    const sizeBytes = Math.max(old.length, byte + 1);
    if (!this.#mayLeave(sizeBytes)) return failed('tooLarge');
    const value = Buffer.alloc(sizeBytes);
    value.set(old);
    const cleared = (value[byte] ?? 0) & ~mask;
    value[byte] = to.toString('latin1') === '1' ? cleared | mask : cleared;
    this.#leave(value, this.#present?.deadlineMs);
    return count(before);
  }

  #increment(by: Buffer): StringResult {
    const before = this.#present ? parseInteger(this.#present.value) : 0n;
    const added = parseInteger(by);
    if (before === undefined || added === undefined) return failed('notAnInteger');
    const sum = checkedInteger(before + added);
    if (sum === undefined) return failed('overflow');
    const bytes = Buffer.from(String(sum));
    if (bytes.length > this.#of.allowance.maxValueBytes) return failed('tooLarge');
    this.#leave(bytes, this.#present?.deadlineMs);
    return { kind: 'number', number: sum };
  }

  #incrementFloat(by: Buffer): StringResult {
    const sum = addDecimals(this.#present?.value ?? Buffer.from('0'), by);
    if (sum === 'notANumber') return failed('notAFloat');
    if (sum === 'overflow') return failed('floatOverflow');
    const bytes = Buffer.from(sum);
    if (!this.#mayLeave(bytes.length)) return failed('tooLarge');
    this.#leave(bytes, this.#present?.deadlineMs);
    return this.#bytes(bytes);
  }

  /** Both keys keep nothing of the other but value and deadline. */
  #copy(name: Buffer, condition: Buffer, isMove: boolean): StringResult {
    const { keys, key, index } = this.#of;
    const present = this.#present;
    if (!present) return isMove ? failed('noSuchKey') : count(0);
    const target = keys.of(name);
    const mustBeAbsent = condition.toString('latin1') === 'absent';
    if (mustBeAbsent && keys.present(target)) return count(0);
    if (target === key) return isMove && !mustBeAbsent ? DONE : count(0);
    if (!this.#isAllowed(present.value.length)) return failed('tooLarge');
    const { value, deadlineMs } = present;
    keys.stage(
      target,
      deadlineMs === undefined ? { version: index, value } : { version: index, value, deadlineMs },
    );
    if (isMove) keys.stage(key, null);
    return isMove && !mustBeAbsent ? DONE : count(1);
  }

  #setAllIfAbsent(given: readonly Buffer[]): StringResult {
    const { keys, key, index, allowance } = this.#of;
    const pairs = [{ key, value: given[0] ?? EMPTY }];
    for (let i = 1; i < given.length; i += 2)
      pairs.push({ key: keys.of(given[i] ?? EMPTY), value: given[i + 1] ?? EMPTY });
    if (pairs.some(({ value }) => value.length > allowance.maxValueBytes)) return failed('tooLarge');
    if (pairs.some((pair) => keys.present(pair.key) !== undefined)) return count(0);
    for (const pair of pairs) keys.stage(pair.key, { version: index, value: pair.value });
    return count(1);
  }

  #append(old: Buffer, bytes: Buffer): StringResult {
    const sizeBytes = old.length + bytes.length;
    if (!this.#mayLeave(sizeBytes)) return failed('tooLarge');
    if (bytes.length > 0 || !this.#present)
      this.#leave(Buffer.concat([old, bytes]), this.#present?.deadlineMs);
    return count(sizeBytes);
  }

  /** Asked before the value is made: a write has thousands of operations, and each could make the largest value. */
  #mayLeave(sizeBytes: number): boolean {
    return sizeBytes <= this.#of.allowance.maxValueBytes && this.#isAllowed(sizeBytes);
  }

  #isAllowed(sizeBytes: number): boolean {
    if (sizeBytes > this.#of.allowance.grownBytes) return false;
    this.#of.allowance.grownBytes -= sizeBytes;
    return true;
  }

  #leave(value: Buffer, deadlineMs: number | undefined): void {
    const { keys, key, index } = this.#of;
    const left = deadlineMs === undefined ? { version: index, value } : { version: index, value, deadlineMs };
    keys.stage(key, living(left, keys.nowMs) ?? null);
  }

  /** Of a key that is not there: nothing. */
  #bytes(value: Buffer | undefined): StringResult {
    if (value === undefined) return NOTHING;
    if (value.length > this.#of.allowance.resultBytes) return failed('answerTooLarge');
    this.#of.allowance.resultBytes -= value.length;
    return { kind: 'bytes', bytes: value };
  }
}

function count(number: number): StringResult {
  return { kind: 'number', number: BigInt(number) };
}

function failed(code: StringError): StringResult {
  return { kind: 'error', code };
}

/** Negative positions count from the end; what lies before the first byte is the first. */
function position(text: Buffer, length: number): number | undefined {
  const given = parseInteger(text);
  if (given === undefined) return undefined;
  const at = given < 0n ? given + BigInt(length) : given;
  return Number(at < 0n ? (given < 0n ? 0n : at) : at);
}
