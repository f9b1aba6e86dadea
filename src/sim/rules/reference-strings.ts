/**
 * A second implementation of string operations (kv/string-operation.ts), in the plainest way, which every replica must
 * equal. It has no allowances: values in a run are small.
 */
import type { EntryOperation } from '../../kv/command.js';
import { decodeStringOperation } from '../../kv/string-operation.js';
import type { KeyState } from './reference.js';

/** The keys as the operations before have left them. */
export interface StringKeys {
  get(name: string): KeyState | undefined;
  set(name: string, state: KeyState | undefined): void;
}

export interface StringMoment {
  readonly version: number;
  readonly nowMs: number;
  readonly maxValueBytes: number;
}

/** The keys that an operation names beside its own. */
export function otherKeysOf(encoded: Uint8Array): readonly Buffer[] {
  const { name, given } = decodeStringOperation(encoded) ?? { name: undefined, given: [] };
  switch (name) {
    case 'rename':
    case 'copy':
      return given.slice(0, 1);
    case 'setAllIfAbsent':
      // The first value, and then keys with their values.
      return given.filter((_each, i) => i % 2 === 1);
    default:
      return [];
  }
}

/** Carries out an operation, and returns its result as it is in an answer. */
export function stringEffect(
  { key, value: encoded, life }: EntryOperation,
  keys: StringKeys,
  { version, nowMs, maxValueBytes }: StringMoment,
): Buffer {
  const decoded = decodeStringOperation(encoded);
  if (!decoded) return failure('malformed');
  const { name, given } = decoded;
  const [first = '', second = '', third = ''] = given.map((each) => each.toString('latin1'));
  const self = key.toString();
  const present = keys.get(self);
  const old = present?.value.toString('latin1') ?? '';
  const leave = (text: string, deadlineMs: number | undefined) => {
    const isOver = deadlineMs !== undefined && deadlineMs <= nowMs;
    keys.set(self, isOver ? undefined : { version, value: Buffer.from(text, 'latin1'), deadlineMs });
  };
  const found = () => (present ? bytes(old) : NOTHING);
  const newDeadlineMs = nowMs + (life?.ttlMs ?? 0);
  const longText = (text: string, answer: Buffer) => {
    if (text.length > maxValueBytes) return failure('tooLarge');
    leave(text, present?.deadlineMs);
    return answer;
  };
  switch (name) {
    case 'get':
      return found();
    case 'exists':
      return number(present ? 1 : 0);
    case 'length':
      return number(old.length);
    case 'getRange': {
      const [from, to] = [first, second].map((text) =>
        Number(text) < 0 ? Math.max(0, Number(text) + old.length) : Number(text),
      );
      return bytes(old.slice(from, (to ?? 0) + 1));
    }
    case 'set': {
      const isMet = first === 'always' || (first === 'exists') === (present !== undefined);
      const answers = { old: found(), count: number(isMet ? 1 : 0), done: isMet ? DONE : NOTHING };
      if (third.length > maxValueBytes) return failure('tooLarge');
      const deadlineMs = life?.change === 'keep' ? present?.deadlineMs : newDeadlineMs;
      if (isMet) leave(third, life ? deadlineMs : undefined);
      return answers[second as keyof typeof answers];
    }
    case 'getDelete': {
      if (present) keys.set(self, undefined);
      return found();
    }
    case 'append':
      if (first === '' && present) return number(old.length);
      return longText(old + first, number(old.length + first.length));
    case 'setRange': {
      if (second === '') return number(old.length);
      const at = Number(first);
      const text = old.slice(0, at).padEnd(at, '\0') + second + old.slice(at + second.length);
      return longText(text, number(text.length));
    }
    case 'increment': {
      const before = present ? wholeNumber(old) : 0;
      if (before === undefined) return failure('notAnInteger');
      return longText(String(before + Number(first)), number(before + Number(first)));
    }
    case 'incrementFloat': {
      const before = present ? old : '0';
      if (!/^[+-]?\d+(\.\d+)?$/.test(before) || before.length > 255) return failure('notAFloat');
      const sum = decimalSum(before, first.toString());
      return longText(sum, bytes(sum));
    }
    case 'expire':
    case 'expireMortal': {
      const oldMs = present?.deadlineMs ?? Number.POSITIVE_INFINITY;
      if (!present || !life || (name === 'expireMortal' && oldMs === Number.POSITIVE_INFINITY))
        return number(0);
      const isWanted = {
        always: true,
        ifNone: oldMs === Number.POSITIVE_INFINITY,
        ifSome: oldMs !== Number.POSITIVE_INFINITY,
        ifLater: newDeadlineMs > oldMs,
        ifSooner: newDeadlineMs < oldMs,
      }[life.when];
      if (isWanted) leave(old, newDeadlineMs);
      return number(isWanted ? 1 : 0);
    }
    case 'persist':
      if (present?.deadlineMs === undefined) return number(0);
      leave(old, undefined);
      return number(1);
    case 'getPersist':
      if (present?.deadlineMs !== undefined) leave(old, undefined);
      return found();
    case 'getExpire':
      if (present && life) leave(old, newDeadlineMs);
      return found();
    case 'remaining':
      if (!present) return number(-2);
      return number(present.deadlineMs === undefined ? -1 : present.deadlineMs - nowMs);
    case 'rename':
    case 'copy': {
      if (!present) return name === 'rename' ? failure('noSuchKey') : number(0);
      const isForced = second === 'always';
      if (!isForced && keys.get(first)) return number(0);
      const answer = name === 'rename' && isForced ? DONE : number(1);
      if (first === self) return name === 'rename' && isForced ? answer : number(0);
      keys.set(first, { ...present, version });
      if (name === 'rename') keys.set(self, undefined);
      return answer;
    }
    case 'setAllIfAbsent': {
      const all = [self, ...given.slice(1).map(String)];
      const names = all.filter((_each, i) => i === 0 || i % 2 === 1);
      const values = given.filter((_each, i) => i % 2 === 0);
      if (values.some(({ length }) => length > maxValueBytes)) return failure('tooLarge');
      if (names.some((each) => keys.get(each))) return number(0);
      for (const [i, each] of names.entries())
        keys.set(each, { version, value: Buffer.from(values[i] ?? ''), deadlineMs: undefined });
      return number(1);
    }
    case 'getBit':
    case 'setBit': {
      const at = Math.floor(Number(first) / 8);
      const mask = 128 >> (Number(first) % 8);
      const before = old.charCodeAt(at) & mask ? 1 : 0;
      if (name === 'getBit') return number(before);
      const code = (old.charCodeAt(at) || 0) & ~mask;
      const byte = String.fromCharCode(second === '1' ? code | mask : code);
      return longText(old.slice(0, at).padEnd(at, '\0') + byte + old.slice(at + 1), number(before));
    }
  }
}

const NOTHING = Buffer.of(0);
const DONE = Buffer.of(3);

function number(value: number): Buffer {
  return Buffer.from(`\x01${value}`, 'latin1');
}

function bytes(text: string): Buffer {
  return Buffer.from(`\x02${text}`, 'latin1');
}

function failure(code: string): Buffer {
  return Buffer.from(`\x04${code}`, 'latin1');
}

function wholeNumber(text: string): number | undefined {
  return /^(0|-?[1-9]\d*)$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : undefined;
}

/** In units of the last of 17 digits behind the point, the half to the even one. */
function decimalSum(left: string, right: string): string {
  const digits = Math.max(17, ...[left, right].map((text) => (text.split('.')[1] ?? '').length));
  const units = (text: string): bigint => {
    const [whole = '', fraction = ''] = text.split('.');
    return BigInt(whole + fraction.padEnd(digits, '0'));
  };
  const cut = 10n ** BigInt(digits - 17);
  const sum = units(left) + units(right);
  const size = sum < 0n ? -sum : sum;
  const [kept, rest] = [size / cut, (size % cut) * 2n];
  const text = String(kept + (rest > cut || (rest === cut && kept % 2n === 1n) ? 1n : 0n)).padStart(18, '0');
  const short = `${text.slice(0, -17)}.${text.slice(-17)}`.replace(/\.?0+$/, '');
  return sum < 0n && short !== '0' ? `-${short}` : short;
}
