/**
 * Commands on keys. Each is a list of operations on single keys, and how their results become the answer. So it is the
 * same alone and inside of MULTI: operations of all commands of a transaction are one write. A command that only reads
 * is, alone, answered from reads.
 */
import { parseInteger } from '../../kv/integer.js';
import { MAX_TTL_MS } from '../../kv/replicated-time.js';
import type { Life, WriteOperation } from '../../kv/requests.js';
import type { OperationResult } from '../../kv/sessions.js';
import {
  decodeStringResult,
  encodeStringOperation,
  type StringOperationName,
  type StringResult,
} from '../../kv/string-operation.js';
import { ErrorReply, OK, type Reply, SimpleReply } from './codec/reply.js';
import { CommandError, NOT_AN_INTEGER, STRING_ERRORS, SYNTAX } from './command-error.js';
import { lcsOptions, lcsReply } from './lcs.js';

/** What a command does to keys. */
export interface Step {
  readonly operations: readonly WriteOperation[];
  readonly reply: (results: readonly OperationResult[]) => Reply;
}

export interface DataCommand {
  /** Arguments with the name: exactly so many, or, negative, at least. As in Redis. */
  readonly arity: number;
  readonly reads: boolean;
  /** Its answer takes long to make: a transaction has few of these. */
  readonly isHeavy?: true;
  /** `wallMs`: the time of this node, for commands that name a time of day. Throws a CommandError. */
  readonly step: (given: readonly Buffer[], wallMs: number, name: string) => Step;
}

const NOTHING = Buffer.alloc(0);
const KEEP: Life = { change: 'keep', ttlMs: 0, when: 'always' };

function operation(
  action: WriteOperation['action'],
  key: Buffer,
  value: Uint8Array,
  life?: Life,
): WriteOperation {
  const always = { condition: 'always', conditionValue: NOTHING, conditionVersion: 0 } as const;
  return life ? { action, key, value, ...always, life } : { action, key, value, ...always };
}

function modify(
  key: Buffer,
  name: StringOperationName,
  given: readonly (Buffer | string)[] = [],
  life?: Life,
): WriteOperation {
  return operation('modify', key, encodeStringOperation(name, ...given), life);
}

/** Changes nothing: it orders the write among those to this key. */
function touch(key: Buffer): WriteOperation {
  return operation('check', key, NOTHING);
}

/** The operation has the version as its condition: WATCH. */
export function versionCheck(key: Buffer, version: number): WriteOperation {
  return { ...touch(key), condition: 'versionIs', conditionVersion: version };
}

export function resultOf(result: OperationResult | undefined): StringResult {
  return decodeStringResult(result?.value ?? NOTHING);
}

function replyOf(result: StringResult): Reply {
  switch (result.kind) {
    case 'nothing':
      return null;
    case 'number':
      return result.number;
    case 'bytes':
      return result.bytes;
    case 'done':
      return OK;
    case 'error':
      return new ErrorReply(STRING_ERRORS[result.code] ?? STRING_ERRORS.malformed);
  }
}

function single(first: WriteOperation, toReply = replyOf, ...others: readonly WriteOperation[]): Step {
  return { operations: [first, ...others], reply: ([result]) => toReply(resultOf(result)) };
}

function unlessError(toReply: (result: StringResult) => Reply) {
  return (result: StringResult) => (result.kind === 'error' ? replyOf(result) : toReply(result));
}

function integer(text: Buffer | undefined, message = NOT_AN_INTEGER): bigint {
  const number = text && parseInteger(text);
  if (number === undefined) throw new CommandError(message);
  return number;
}

function at(given: readonly Buffer[], place: number): Buffer {
  return given[place] ?? NOTHING;
}

function upper(text: Buffer | undefined): string {
  return text?.toString('latin1').toUpperCase() ?? '';
}

type Unit = 'EX' | 'PX' | 'EXAT' | 'PXAT';

/** How long from now on; at most MAX_TTL_MS. Refuses what 64 bits of ms do not hold, as Redis does. */
function ttlOf(text: Buffer | undefined, unit: Unit, wallMs: number, command: string): number {
  const given = integer(text);
  const ms = unit.startsWith('EX') ? given * 1000n : given;
  const now = BigInt(Math.floor(wallMs));
  const deadline = unit.endsWith('AT') ? ms : ms + now;
  if (ms >= 2n ** 63n || ms < -(2n ** 63n) || deadline >= 2n ** 63n)
    throw new CommandError(`ERR invalid expire time in '${command}' command`);
  const left = deadline - now;
  return left > BigInt(MAX_TTL_MS) ? MAX_TTL_MS : Number(left);
}

/** A life of a value that is written: it must be above 0, but a time of day may have passed. */
function newLife(text: Buffer | undefined, unit: Unit, wallMs: number, command: string): Life {
  if (integer(text) <= 0n) throw new CommandError(`ERR invalid expire time in '${command}' command`);
  return { change: 'set', ttlMs: Math.max(0, ttlOf(text, unit, wallMs, command)), when: 'always' };
}

function isUnit(name: string): name is Unit {
  return name === 'EX' || name === 'PX' || name === 'EXAT' || name === 'PXAT';
}

function setStep(given: readonly Buffer[], wallMs: number): Step {
  const key = at(given, 0);
  const value = at(given, 1);
  let life: Life | undefined;
  let condition: 'always' | 'exists' | 'absent' = 'always';
  let isGet = false;
  for (let i = 2; i < given.length; i++) {
    const option = upper(given[i]);
    if (isUnit(option) && life === undefined && i + 1 < given.length)
      life = newLife(given[++i], option, wallMs, 'set');
    else if (option === 'KEEPTTL' && life === undefined) life = KEEP;
    else if ((option === 'NX' || option === 'XX') && condition === 'always')
      condition = option === 'NX' ? 'absent' : 'exists';
    else if (option === 'GET') isGet = true;
    else throw new CommandError(SYNTAX);
  }
  // Reads nothing.
  if (condition === 'always' && !isGet)
    return { operations: [operation('put', key, value, life)], reply: () => OK };
  return single(modify(key, 'set', [condition, isGet ? 'old' : 'done', value], life));
}

function plainSet(key: Buffer, value: Buffer, life?: Life): Step {
  return { operations: [operation('put', key, value, life)], reply: () => OK };
}

function pairsOf(given: readonly Buffer[], command: string): (readonly [Buffer, Buffer])[] {
  if (given.length % 2 === 1)
    throw new CommandError(`ERR wrong number of arguments for '${command}' command`);
  return Array.from(
    { length: given.length / 2 },
    (_none, i) => [at(given, 2 * i), at(given, 2 * i + 1)] as const,
  );
}

function perKey(
  keys: readonly Buffer[],
  operationOf: (key: Buffer) => WriteOperation,
  counts: (result: OperationResult) => bigint,
): Step {
  return {
    operations: keys.map(operationOf),
    reply: (results) => results.reduce((sum, each) => sum + counts(each), 0n),
  };
}

function numberIn(result: OperationResult): bigint {
  const found = resultOf(result);
  return found.kind === 'number' ? found.number : 0n;
}

function incrementBy(key: Buffer, by: bigint): Step {
  return single(modify(key, 'increment', [String(by)]));
}

const LIFE_CONDITIONS: Readonly<Record<string, Life['when']>> = {
  NX: 'ifNone',
  XX: 'ifSome',
  GT: 'ifLater',
  LT: 'ifSooner',
};

function expireStep(unit: Unit) {
  return (given: readonly Buffer[], wallMs: number, command: string): Step => {
    const ttlMs = ttlOf(given[1], unit, wallMs, command);
    const names = new Set(given.slice(2).map(upper));
    for (const name of names)
      if (LIFE_CONDITIONS[name] === undefined)
        throw new CommandError(`ERR Unsupported option ${name.slice(0, 64)}`);
    if (names.has('NX') && names.size > 1)
      throw new CommandError('ERR NX and XX, GT or LT options at the same time are not compatible');
    if (names.has('GT') && names.has('LT'))
      throw new CommandError('ERR GT and LT options at the same time are not compatible');
    // With XX, GT says more: no deadline counts as the latest. LT alone also holds without a deadline.
    const strictest = ['GT', 'LT', 'NX', 'XX'].find((name) => names.has(name)) ?? '';
    const key = at(given, 0);
    const life: Life = {
      change: 'set',
      ttlMs: Math.max(0, ttlMs),
      when: LIFE_CONDITIONS[strictest] ?? 'always',
    };
    const name = names.has('XX') && strictest === 'LT' ? 'expireMortal' : 'expire';
    return single(modify(key, name, [], life));
  };
}

function getExpireStep(given: readonly Buffer[], wallMs: number): Step {
  const key = at(given, 0);
  const option = upper(given[1]);
  if (given.length === 1) return single(modify(key, 'get'));
  if (isUnit(option) && given.length === 3)
    return single(modify(key, 'getExpire', [], newLife(given[2], option, wallMs, 'getex')));
  if (option === 'PERSIST' && given.length === 2) return single(modify(key, 'getPersist'));
  throw new CommandError(SYNTAX);
}

/** What TTL and its like make of the ms that a key still lives; below 0 there is none. */
function lifeStep(show: (remainingMs: bigint, wallMs: number) => bigint) {
  return ([key = NOTHING]: readonly Buffer[], wallMs: number): Step =>
    single(
      modify(key, 'remaining'),
      unlessError((result) => {
        const ms = result.kind === 'number' ? result.number : -2n;
        return ms < 0n ? ms : show(ms, wallMs);
      }),
    );
}

function inSeconds(ms: bigint): bigint {
  return (ms + 500n) / 1000n;
}

function renameStep(condition: 'always' | 'absent') {
  return ([from = NOTHING, to = NOTHING]: readonly Buffer[]): Step =>
    single(modify(from, 'rename', [to, condition]), replyOf, touch(to));
}

function copyStep(given: readonly Buffer[]): Step {
  const [from = NOTHING, to = NOTHING] = given;
  let condition = 'absent';
  for (let i = 2; i < given.length; i++) {
    const option = upper(given[i]);
    if (option === 'REPLACE') condition = 'always';
    else if (option === 'DB' && i + 1 < given.length) {
      if (integer(given[++i]) !== 0n) throw new CommandError('ERR DB index is out of range');
    } else throw new CommandError(SYNTAX);
  }
  if (from.equals(to)) throw new CommandError('ERR source and destination objects are the same');
  return single(modify(from, 'copy', [to, condition]), replyOf, touch(to));
}

function bitOffset(text: Buffer | undefined): string {
  const message = 'ERR bit offset is not an integer or out of range';
  const offset = integer(text, message);
  if (offset < 0n || offset >= 2n ** 32n) throw new CommandError(message);
  return String(offset);
}

/** Both values are read; the answer is made of them. */
function lcsStep([first = NOTHING, second = NOTHING, ...given]: readonly Buffer[]): Step {
  const options = lcsOptions(given);
  return {
    operations: [modify(first, 'get'), modify(second, 'get')],
    reply: (results) => {
      const found = results.map(resultOf);
      const failed = found.find(({ kind }) => kind === 'error');
      if (failed) return replyOf(failed);
      const [a = NOTHING, b = NOTHING] = found.map((each) => (each.kind === 'bytes' ? each.bytes : NOTHING));
      return lcsReply(a, b, options);
    },
  };
}

function writes(arity: number, step: DataCommand['step']): DataCommand {
  return { arity, reads: false, step };
}

function reads(arity: number, step: DataCommand['step']): DataCommand {
  return { arity, reads: true, step };
}

export const DATA_COMMANDS: Readonly<Record<string, DataCommand>> = {
  get: reads(2, ([key = NOTHING]) => single(modify(key, 'get'))),
  mget: reads(-2, (keys) => ({
    operations: keys.map((key) => modify(key, 'get')),
    reply: (results) => results.map((each) => replyOf(resultOf(each))),
  })),
  strlen: reads(2, ([key = NOTHING]) => single(modify(key, 'length'))),
  getrange: reads(4, ([key = NOTHING, from, to]) =>
    single(modify(key, 'getRange', [String(integer(from)), String(integer(to))])),
  ),
  substr: reads(4, ([key = NOTHING, from, to]) =>
    single(modify(key, 'getRange', [String(integer(from)), String(integer(to))])),
  ),
  exists: reads(-2, (keys) => perKey(keys, (key) => modify(key, 'exists'), numberIn)),
  touch: reads(-2, (keys) => perKey(keys, (key) => modify(key, 'exists'), numberIn)),
  type: reads(2, ([key = NOTHING]) =>
    single(
      modify(key, 'exists'),
      (result) => new SimpleReply(result.kind === 'number' && result.number > 0n ? 'string' : 'none'),
    ),
  ),
  ttl: reads(2, lifeStep(inSeconds)),
  pttl: reads(
    2,
    lifeStep((ms) => ms),
  ),
  expiretime: reads(
    2,
    lifeStep((ms, wallMs) => inSeconds(ms + BigInt(Math.floor(wallMs)))),
  ),
  pexpiretime: reads(
    2,
    lifeStep((ms, wallMs) => ms + BigInt(Math.floor(wallMs))),
  ),
  getbit: reads(3, ([key = NOTHING, offset]) => single(modify(key, 'getBit', [bitOffset(offset)]))),

  lcs: { ...reads(-3, lcsStep), isHeavy: true },

  set: writes(-3, setStep),
  setnx: writes(3, ([key = NOTHING, value = NOTHING]) =>
    single(modify(key, 'set', ['absent', 'count', value])),
  ),
  setex: writes(4, ([key = NOTHING, ttl, value = NOTHING], wallMs) =>
    plainSet(key, value, newLife(ttl, 'EX', wallMs, 'setex')),
  ),
  psetex: writes(4, ([key = NOTHING, ttl, value = NOTHING], wallMs) =>
    plainSet(key, value, newLife(ttl, 'PX', wallMs, 'psetex')),
  ),
  getset: writes(3, ([key = NOTHING, value = NOTHING]) =>
    single(modify(key, 'set', ['always', 'old', value])),
  ),
  getdel: writes(2, ([key = NOTHING]) => single(modify(key, 'getDelete'))),
  getex: writes(-2, getExpireStep),
  append: writes(3, ([key = NOTHING, value = NOTHING]) => single(modify(key, 'append', [value]))),
  setrange: writes(4, ([key = NOTHING, offset, value = NOTHING]) => {
    const from = integer(offset);
    if (from < 0n) throw new CommandError('ERR offset is out of range');
    return single(modify(key, 'setRange', [String(from), value]));
  }),
  setbit: writes(4, ([key = NOTHING, offset, bit]) => {
    const from = bitOffset(offset);
    const text = bit?.toString('latin1');
    if (text !== '0' && text !== '1') throw new CommandError('ERR bit is not an integer or out of range');
    return single(modify(key, 'setBit', [from, text]));
  }),
  del: writes(-2, (keys) => perKey(keys, (key) => operation('delete', key, NOTHING), existed)),
  unlink: writes(-2, (keys) => perKey(keys, (key) => operation('delete', key, NOTHING), existed)),
  incr: writes(2, ([key = NOTHING]) => incrementBy(key, 1n)),
  decr: writes(2, ([key = NOTHING]) => incrementBy(key, -1n)),
  incrby: writes(3, ([key = NOTHING, by]) => incrementBy(key, integer(by))),
  decrby: writes(3, ([key = NOTHING, by]) => {
    const number = integer(by);
    if (number === -(2n ** 63n)) throw new CommandError('ERR decrement would overflow');
    return incrementBy(key, -number);
  }),
  incrbyfloat: writes(3, ([key = NOTHING, by = NOTHING]) => single(modify(key, 'incrementFloat', [by]))),
  mset: writes(-3, (given) => ({
    operations: pairsOf(given, 'mset').map(([key, value]) => operation('put', key, value)),
    reply: () => OK,
  })),
  msetnx: writes(-3, (given) => {
    const [first, ...others] = pairsOf(given, 'msetnx');
    const [key = NOTHING, value = NOTHING] = first ?? [];
    return single(
      modify(key, 'setAllIfAbsent', [value, ...others.flat()]),
      replyOf,
      ...others.map(([each]) => touch(each)),
    );
  }),
  rename: writes(3, renameStep('always')),
  renamenx: writes(3, renameStep('absent')),
  copy: writes(-3, copyStep),
  expire: writes(-3, expireStep('EX')),
  pexpire: writes(-3, expireStep('PX')),
  expireat: writes(-3, expireStep('EXAT')),
  pexpireat: writes(-3, expireStep('PXAT')),
  persist: writes(2, ([key = NOTHING]) => single(modify(key, 'persist'))),
};

function existed(result: OperationResult): bigint {
  return result.existed ? 1n : 0n;
}
