/** Commands on all keys: they read the range in pages, and are no part of a transaction. */
import { RaftreeClientError } from '../../client/client-error.js';
import type { Random, Timers } from '../../env/env.js';
import type { Caller } from '../../kv/requests.js';
import type { Backend } from '../backend.js';
import type { WriteLine } from '../write-line.js';
import type { Reply } from './codec/reply.js';
import { CommandError, SYNTAX } from './command-error.js';
import { GlobSearch, globPrefix } from './glob.js';

export interface KeyspaceParts {
  readonly backend: Backend;
  readonly caller: Caller;
  readonly writes: WriteLine;
  readonly random: Random;
  readonly timers: Pick<Timers, 'endOfTurn'>;
  readonly cursors: Cursors;
  readonly maxReplyBytes: number;
}

const NOTHING = Buffer.alloc(0);
const ALL = { from: NOTHING, to: undefined };
const NO_LIMIT = Number.MAX_SAFE_INTEGER;
const DELETED_AT_ONCE = 512;
/** Of each side of the point at which RANDOMKEY looks. */
const RANDOM_NEIGHBOURS = 64;
const MAX_SCAN_COUNT = 10_000;
const MAX_CURSORS = 10_000;
/** Memory of a key in a list, beside its bytes. */
const KEY_COST_BYTES = 100;

/** Where a SCAN goes on. A cursor is a number, so this node remembers the keys of the last MAX_CURSORS. */
export class Cursors {
  readonly #keys = new Map<string, Buffer>();
  #last = 0;

  add(after: Buffer): string {
    const cursor = String(++this.#last);
    this.#keys.set(cursor, Buffer.from(after));
    const [oldest] = this.#keys.keys();
    if (this.#keys.size > MAX_CURSORS && oldest !== undefined) this.#keys.delete(oldest);
    return cursor;
  }

  /** Undefined: from the first key. Throws a CommandError for a cursor that this node has not given, or forgotten. */
  at(cursor: string): Buffer | undefined {
    if (/^0+$/.test(cursor)) return undefined;
    const found = this.#keys.get(cursor);
    if (!found) throw new CommandError('ERR invalid cursor');
    return found;
  }
}

/** Keys in order, those from `after` on without it. */
function keysOf(
  { backend, caller }: KeyspaceParts,
  prefix: Buffer,
  after?: Buffer,
  limit = NO_LIMIT,
  reverse = false,
) {
  const end = afterPrefix(prefix);
  const from = after && Buffer.compare(after, prefix) >= 0 ? Buffer.concat([after, Buffer.of(0)]) : prefix;
  return backend.entries(caller, {
    range: { from, to: end },
    ...{ limit, reverse, keysOnly: true, level: 'linearizable' },
  });
}

function afterPrefix(prefix: Buffer): Buffer | undefined {
  for (let end = prefix.length; end > 0; end--) {
    const byte = prefix[end - 1] ?? 255;
    if (byte < 255) return Buffer.concat([prefix.subarray(0, end - 1), Buffer.of(byte + 1)]);
  }
  return undefined;
}

export async function listKeys(parts: KeyspaceParts, pattern: Buffer): Promise<Reply> {
  const found: Buffer[] = [];
  let sizeBytes = 0;
  const search = searchFor(parts, pattern);
  for await (const { key } of keysOf(parts, globPrefix(pattern))) {
    if (search.isTired) await search.rest();
    if (!search.matches(key)) continue;
    found.push(Buffer.from(key));
    sizeBytes += key.length + KEY_COST_BYTES;
    if (sizeBytes > parts.maxReplyBytes) throw new CommandError('ERR too many keys for one answer; use SCAN');
  }
  return found;
}

/** Throws a CommandError. */
function searchFor({ timers }: KeyspaceParts, pattern: Buffer): GlobSearch {
  const search = new GlobSearch(pattern, timers);
  if (search.isTooLong) throw new CommandError('ERR pattern is too long');
  return search;
}

export async function countKeys(parts: KeyspaceParts): Promise<Reply> {
  let count = 0;
  for await (const _entry of keysOf(parts, NOTHING)) count++;
  return count;
}

export async function scanKeys(parts: KeyspaceParts, given: readonly Buffer[]): Promise<Reply> {
  const [cursor = NOTHING] = given;
  const text = cursor.toString('latin1');
  if (!/^\d{1,20}$/.test(text)) throw new CommandError('ERR invalid cursor');
  let [pattern, count, shows] = [undefined as Buffer | undefined, 10, true];
  for (let i = 1; i < given.length; i += 2) {
    const value = given[i + 1];
    const option = given[i]?.toString('latin1').toUpperCase();
    if (value === undefined) throw new CommandError(SYNTAX);
    if (option === 'MATCH') pattern = value;
    else if (option === 'TYPE') shows = value.toString('latin1').toLowerCase() === 'string';
    else if (option === 'COUNT') {
      const number = value.toString('latin1');
      if (!/^-?\d{1,18}$/.test(number)) throw new CommandError('ERR value is not an integer or out of range');
      count = Number(number);
      if (count < 1) throw new CommandError(SYNTAX);
    } else throw new CommandError(SYNTAX);
  }
  const limit = Math.min(count, MAX_SCAN_COUNT);
  const found: Buffer[] = [];
  let last: Buffer | undefined;
  let passed = 0;
  const search = pattern && searchFor(parts, pattern);
  for await (const { key } of keysOf(
    parts,
    pattern ? globPrefix(pattern) : NOTHING,
    parts.cursors.at(text),
    limit,
  )) {
    passed++;
    last = key;
    if (search?.isTired) await search.rest();
    if (shows && (search === undefined || search.matches(key))) found.push(Buffer.from(key));
  }
  return [Buffer.from(passed < limit || !last ? '0' : parts.cursors.add(last)), found];
}

/** One of the keys beside a random point between the first and the last. */
export async function randomKey(parts: KeyspaceParts): Promise<Reply> {
  const { backend, caller, random } = parts;
  const look = async (range: { from: Buffer; to: Buffer | undefined }, limit: number, reverse: boolean) => {
    const keys: Buffer[] = [];
    const wanted = { range, limit, reverse, keysOnly: true, level: 'linearizable' } as const;
    for await (const { key } of backend.entries(caller, wanted)) keys.push(Buffer.from(key));
    return keys;
  };
  const [first] = await look(ALL, 1, false);
  const [last] = await look(ALL, 1, true);
  if (!first || !last) return null;
  let same = 0;
  while (same < first.length && first[same] === last[same]) same++;
  const [low, high] = [first, last].map((key) =>
    Buffer.concat([key.subarray(same), Buffer.alloc(4)]).readUInt32BE(0),
  );
  const point = Buffer.alloc(4);
  point.writeUInt32BE((low ?? 0) + (random.uint32() % Math.max(1, (high ?? 0) - (low ?? 0) + 1)));
  const middle = Buffer.concat([first.subarray(0, same), point]);
  const keys = [
    ...(await look({ from: middle, to: undefined }, RANDOM_NEIGHBOURS, false)),
    ...(await look({ from: NOTHING, to: middle }, RANDOM_NEIGHBOURS, true)),
  ];
  return keys[random.uint32() % Math.max(1, keys.length)] ?? null;
}

/** Deletes the keys that are there, in several writes. */
export async function deleteAll(parts: KeyspaceParts): Promise<void> {
  const { backend, caller, writes } = parts;
  const always = { condition: 'always', conditionValue: NOTHING, conditionVersion: 0 } as const;
  const remove = (keys: readonly Buffer[]) => {
    const operations = keys.map((key) => ({ action: 'delete', key, value: NOTHING, ...always }) as const);
    return backend.operate(caller, operations, writes);
  };
  const found: Buffer[] = [];
  const removeFound = async () => {
    for (const keys of backend.byTablet(found.splice(0))) {
      try {
        await remove(keys);
      } catch (error) {
        if (!(error instanceof RaftreeClientError) || error.code !== 'SPANS_TABLETS') throw error;
        // Their tablet was split meanwhile, and this node may not know where.
        for (const key of keys) await remove([key]);
      }
    }
  };
  for await (const { key } of keysOf(parts, NOTHING)) {
    found.push(Buffer.from(key));
    if (found.length >= DELETED_AT_ONCE) await removeFound();
  }
  await removeFound();
}
