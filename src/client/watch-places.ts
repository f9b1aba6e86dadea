/**
 * How far a watch has come, along the keys: from the start of a piece to that of the next, changes before its version
 * were told. Each tablet has a log, and so versions, of its own. When two are merged, the one that has the keys of both
 * goes on behind them, but up to there each version is of the log of the tablet that owned the key then.
 *
 *     L told up to 40, R up to 7      ""        m
 *     pieces in what they became      |---41----|---8---
 *
 * Starts are keys, and by hash points of the ring.
 */
import { hashOfKey } from '../placement/partition-key.js';
import { type PlacementKind, ringPoint } from '../placement/placement.js';

export interface Piece {
  readonly start: Buffer;
  /** Undefined: that of the next change. */
  readonly version: number | undefined;
}

export interface Places<Of extends Piece = Piece> {
  /** In ascending order of their starts. */
  readonly pieces: readonly Of[];
  /** Where the last piece ends. Undefined: it has no end. */
  readonly end: Buffer | undefined;
}

/** Pieces of which each has a version. */
export interface ReachedPiece extends Piece {
  readonly version: number;
}

/** What they say of [from, to). */
export function placesIn<Of extends Piece>(
  { pieces, end }: Places<Of>,
  from: Buffer,
  to: Buffer | undefined,
): Places<Of> {
  const within: Of[] = [];
  for (const [i, piece] of pieces.entries()) {
    const next = pieces[i + 1]?.start ?? end;
    if (next && Buffer.compare(next, from) <= 0) continue;
    if (to && Buffer.compare(piece.start, to) >= 0) break;
    within.push(Buffer.compare(piece.start, from) < 0 ? { ...piece, start: from } : piece);
  }
  return { pieces: within, end: !end || (to && Buffer.compare(to, end) < 0) ? to : end };
}

/** Of neighbours, in order. */
export function joinedPlaces(all: readonly Places[]): Places {
  return { pieces: all.flatMap(({ pieces }) => pieces), end: all.at(-1)?.end };
}

/** Each piece has come to this version at least. */
export function raisedTo({ pieces, end }: Places, version: number): Places<ReachedPiece> {
  const raised = pieces.map(({ start, version: reached = version }) => ({
    start,
    version: Math.max(reached, version),
  }));
  return { pieces: shortest(raised), end };
}

/** The same keys, and no version of any. */
export function unreached({ pieces, end }: Places): Places {
  return { pieces: pieces.slice(0, 1).map(({ start }) => ({ start, version: undefined })), end };
}

/** Where the next change was to be the first, it is this version. */
export function filledWith({ pieces, end }: Places, next: number): Places<ReachedPiece> {
  return { pieces: shortest(pieces.map(({ start, version = next }) => ({ start, version }))), end };
}

/** Undefined: some piece has no version yet. */
export function lowestOf({ pieces }: Places): number | undefined {
  const versions = pieces.map(({ version }) => version ?? Number.NaN);
  const lowest = Math.min(...versions);
  return Number.isFinite(lowest) ? lowest : undefined;
}

/** 0: no piece has a version yet. */
export function highestOf({ pieces }: Places): number {
  return pieces.reduce((highest, { version = 0 }) => Math.max(highest, version), 0);
}

export function isReached(places: Places): places is Places<ReachedPiece> {
  return places.pieces.every(({ version }) => version !== undefined);
}

/** What they say of a key. 0: nothing. */
export function versionAt({ pieces }: Places, by: PlacementKind, key: Uint8Array): number {
  const point = by === 'hash' ? ringPoint(hashOfKey(key)) : key;
  let version = 0;
  for (const piece of pieces) {
    if (Buffer.compare(piece.start, point) > 0) break;
    version = piece.version ?? 0;
  }
  return version;
}

/** A piece that has come as far as the one before it is one with that. */
function shortest<Of extends Piece>(pieces: readonly Of[]): Of[] {
  return pieces.filter(({ version }, i) => i === 0 || version !== pieces[i - 1]?.version);
}
