/** LCS: the longest common subsequence of two values, or where its runs lie in them. As in Redis 7. */
import { parseInteger } from '../../kv/integer.js';
import { ErrorReply, MapReply, type Reply } from './codec/reply.js';
import { CommandError, NOT_AN_INTEGER, SYNTAX } from './command-error.js';

/** The product of the two lengths: time and memory grow with it. About 20 ms and 16 MiB. */
const MAX_CELLS = 4 * 1024 * 1024;

export interface LcsOptions {
  readonly shows: 'text' | 'length' | 'runs';
  readonly hasLengths: boolean;
  /** Shorter runs are left out. */
  readonly leastLength: number;
}

/** Throws a CommandError. */
export function lcsOptions(given: readonly Buffer[]): LcsOptions {
  let isLength = false;
  let isRuns = false;
  let hasLengths = false;
  let leastLength = 0n;
  for (let i = 0; i < given.length; i++) {
    const option = given[i]?.toString('latin1').toUpperCase();
    if (option === 'LEN') isLength = true;
    else if (option === 'IDX') isRuns = true;
    else if (option === 'WITHMATCHLEN') hasLengths = true;
    else if (option === 'MINMATCHLEN' && i + 1 < given.length) {
      const number = parseInteger(given[++i] ?? Buffer.alloc(0));
      if (number === undefined) throw new CommandError(NOT_AN_INTEGER);
      leastLength = number;
    } else throw new CommandError(SYNTAX);
  }
  if (isLength && isRuns)
    throw new CommandError('ERR If you want both the length and indexes, please just use IDX.');
  const shows = isRuns ? 'runs' : isLength ? 'length' : 'text';
  return { shows, hasLengths, leastLength: Number(leastLength) };
}

/** Bytes that both have, one after the other, at these positions. */
interface Run {
  inA: number;
  inB: number;
  length: number;
}

export function lcsReply(a: Buffer, b: Buffer, { shows, hasLengths, leastLength }: LcsOptions): Reply {
  if (a.length * b.length > MAX_CELLS)
    return new ErrorReply(
      `ERR the strings are too long for LCS: the product of their lengths is above ${MAX_CELLS}`,
    );
  const lengths = lengthsOf(a, b);
  const total = lengths.at(-1) ?? 0;
  if (shows === 'length') return total;
  const runs = runsOf(a, b, lengths);
  if (shows === 'text')
    return Buffer.concat(runs.map(({ inA, length }) => a.subarray(inA, inA + length)).reverse());
  const shown = runs
    .filter(({ length }) => length >= leastLength)
    .map(({ inA, inB, length }): Reply => {
      const places = [
        [inA, inA + length - 1],
        [inB, inB + length - 1],
      ];
      return hasLengths ? [...places, length] : places;
    });
  return new MapReply([
    ['matches', shown],
    ['len', total],
  ]);
}

/** At row i and column j, of `b.length + 1` columns: the length for the first i bytes of a and the first j of b. */
function lengthsOf(a: Buffer, b: Buffer): Uint32Array {
  const columns = b.length + 1;
  const lengths = new Uint32Array((a.length + 1) * columns);
  for (let i = 1; i <= a.length; i++) {
    const row = i * columns;
    const above = row - columns;
    for (let j = 1; j <= b.length; j++) {
      const up = lengths[above + j] as number;
      const left = lengths[row + j - 1] as number;
      lengths[row + j] =
        a[i - 1] === b[j - 1] ? (lengths[above + j - 1] as number) + 1 : up > left ? up : left;
    }
  }
  return lengths;
}

/** From the last one to the first. */
function runsOf(a: Buffer, b: Buffer, lengths: Uint32Array): Run[] {
  const columns = b.length + 1;
  const runs: Run[] = [];
  for (let i = a.length, j = b.length; i > 0 && j > 0; ) {
    if (a[i - 1] === b[j - 1]) {
      i--;
      j--;
      const last = runs.at(-1);
      if (last?.inA === i + 1 && last.inB === j + 1) {
        last.inA = i;
        last.inB = j;
        last.length++;
      } else runs.push({ inA: i, inB: j, length: 1 });
    } else if ((lengths[(i - 1) * columns + j] as number) > (lengths[i * columns + j - 1] as number)) i--;
    else j--;
  }
  return runs;
}
