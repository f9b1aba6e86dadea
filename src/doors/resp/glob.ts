/** Patterns of KEYS and SCAN MATCH: `*`, `?`, `[a-c]`, `[^a]`, and `\` before a byte that stands for itself. */

import type { Timers } from '../../env/env.js';

/** Behind the bytes that every key begins with. With the longest key a match takes some ms at most. */
const MAX_PATTERN_BYTES = 512;
/** Steps, at most, until other events have their turn. */
const MAX_STEPS = 1_000_000;

/** Matches many keys with one pattern, without stopping the node for long, whatever the pattern is. */
export class GlobSearch {
  readonly #prefixBytes: number;
  readonly #rest: Buffer;
  readonly #timers: Pick<Timers, 'endOfTurn'>;
  #steps = 0;

  constructor(pattern: Buffer, timers: Pick<Timers, 'endOfTurn'>) {
    this.#prefixBytes = globPrefix(pattern).length;
    this.#rest = pattern.subarray(this.#prefixBytes);
    this.#timers = timers;
  }

  get isTooLong(): boolean {
    return this.#rest.length > MAX_PATTERN_BYTES;
  }

  /** Wait for `rest` before the next key. */
  get isTired(): boolean {
    return this.#steps > MAX_STEPS;
  }

  rest(): Promise<void> {
    this.#steps = 0;
    return new Promise((resolve) => this.#timers.endOfTurn(resolve));
  }

  /** Of a key that begins with the bytes that `globPrefix` gives. */
  matches(key: Buffer): boolean {
    this.#steps += (this.#rest.length + 1) * (key.length + 1);
    return matchesGlob(this.#rest, key.subarray(this.#prefixBytes));
  }
}

/** The bytes that every key begins with that the pattern matches. */
export function globPrefix(pattern: Buffer): Buffer {
  const end = pattern.findIndex((byte) => '*?[\\'.includes(String.fromCharCode(byte)));
  return end < 0 ? pattern : pattern.subarray(0, end);
}

/** In time of the product of both lengths at most, whatever the pattern is. */
export function matchesGlob(pattern: Buffer, key: Buffer): boolean {
  let [p, k] = [0, 0];
  /** Where to go on if what follows the last `*` does not match: it takes one byte more. */
  let star: { readonly pattern: number; key: number } | undefined;
  while (k < key.length || p < pattern.length) {
    if (pattern[p] === STAR) {
      star = { pattern: ++p, key: k };
      continue;
    }
    const step = k < key.length ? matchOne(pattern, p, key[k] ?? 0) : undefined;
    if (step !== undefined) {
      p = step;
      k++;
      continue;
    }
    if (!star || star.key >= key.length) return false;
    p = star.pattern;
    k = ++star.key;
  }
  return true;
}

const [STAR, QUESTION, OPEN, CLOSE, ESCAPE, NOT, TO] = [...'*?[]\\^-'].map((each) => each.charCodeAt(0));

/** The place behind what matches the byte. */
function matchOne(pattern: Buffer, at: number, byte: number): number | undefined {
  const first = pattern[at];
  if (first === undefined) return undefined;
  if (first === QUESTION) return at + 1;
  if (first === ESCAPE && at + 1 < pattern.length) return pattern[at + 1] === byte ? at + 2 : undefined;
  if (first !== OPEN) return first === byte ? at + 1 : undefined;
  let p = at + 1;
  const isNegated = pattern[p] === NOT;
  if (isNegated) p++;
  let isIn = false;
  for (; p < pattern.length && pattern[p] !== CLOSE; p++) {
    if (pattern[p] === ESCAPE && p + 1 < pattern.length) p++;
    const low = pattern[p] ?? 0;
    if (pattern[p + 1] === TO && p + 2 < pattern.length) {
      const high = pattern[p + 2] ?? 0;
      isIn ||= byte >= Math.min(low, high) && byte <= Math.max(low, high);
      p += 2;
    } else isIn ||= low === byte;
  }
  return isIn !== isNegated ? p + 1 : undefined;
}
