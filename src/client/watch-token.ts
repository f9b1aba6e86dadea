/**
 * Where a watch over several tablets has come to, as a text that programs keep and give to another watch. Each tablet
 * has a log, and so versions, of its own. A token names no tablets but where their ranges begin: versions rise along
 * the tablets that own a key one after the other, so a token is good after tablets were split or merged, too.
 *
 *     token     "w1." and base64url of: CRC-32 of the rest u32 | cluster u32 | placement u8 | pieces | end
 *     pieces    their number, and for each: bytes shared with the start before it | further bytes | these | version
 *     end       0, or 1 and the number of bytes and the bytes: where the last piece ends, if it does
 *
 * Numbers without a size are varints: seven bits a byte, the lowest first. `cluster` is the fingerprint that nodes tell
 * with the map: a token of another cluster would name other logs.
 */
import type { PlacementKind } from '../placement/placement.js';
import { crc32 } from '../record/checksum.js';
import { RaftreeClientError } from './client-error.js';
import { invalid } from './client-options.js';
import { type Places, placesIn, type ReachedPiece } from './watch-places.js';

/** One piece at least. */
export interface WatchToken extends Places<ReachedPiece> {
  readonly cluster: number;
  readonly by: PlacementKind;
}

const PREFIX = 'w1.';
const MAX_TOKEN_LENGTH = 1024 * 1024;
/** All starts together: each may share most of its bytes with the one before. */
const MAX_STARTS_BYTES = 16 * 1024 * 1024;
const KINDS: readonly PlacementKind[] = ['range', 'hash'];
const HEADER_BYTES = 9;

export function encodeToken({ cluster, by, pieces, end }: WatchToken): string {
  const parts: Uint8Array[] = [varint(pieces.length)];
  let before: Uint8Array = Buffer.alloc(0);
  for (const { start, version } of pieces) {
    const shared = sharedBytes(before, start);
    const further = start.subarray(shared);
    parts.push(varint(shared), varint(further.length), further, varint(version));
    before = start;
  }
  parts.push(...(end ? [varint(1), varint(end.length), end] : [varint(0)]));
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(cluster, 4);
  header[8] = KINDS.indexOf(by);
  const bytes = Buffer.concat([header, ...parts]);
  bytes.writeUInt32BE(crc32(bytes.subarray(4)), 0);
  return PREFIX + bytes.toString('base64url');
}

/** Throws `INVALID_REQUEST` for what is no token, whatever it is. */
export function decodeToken(text: string): WatchToken {
  if (!text.startsWith(PREFIX)) throw damaged('begins otherwise');
  if (text.length > MAX_TOKEN_LENGTH) throw damaged(`has more than ${MAX_TOKEN_LENGTH} characters`);
  const bytes = Buffer.from(text.slice(PREFIX.length), 'base64url');
  if (bytes.length < HEADER_BYTES || PREFIX + bytes.toString('base64url') !== text)
    throw damaged('is cut off, or has other characters');
  if (bytes.readUInt32BE(0) !== crc32(bytes.subarray(4))) throw damaged('is damaged');
  const by = KINDS[bytes[8] as number];
  if (!by) throw damaged('is of a later version');
  const reader = new Reader(bytes, HEADER_BYTES);
  const count = reader.varint();
  const pieces: ReachedPiece[] = [];
  let before = Buffer.alloc(0);
  let startsBytes = 0;
  for (let i = 0; i < count; i++) {
    const shared = reader.varint();
    if (shared > before.length) throw damaged('is damaged');
    const start = Buffer.concat([before.subarray(0, shared), reader.bytes(reader.varint())]);
    startsBytes += start.length;
    if (startsBytes > MAX_STARTS_BYTES) throw damaged('names too many keys');
    const version = reader.varint();
    if (version < 1 || (i > 0 && Buffer.compare(before, start) >= 0)) throw damaged('is damaged');
    pieces.push({ start, version });
    before = start;
  }
  const end = reader.varint() === 0 ? undefined : reader.bytes(reader.varint());
  if (!reader.isAtEnd || pieces.length === 0 || (end && Buffer.compare(before, end) >= 0))
    throw damaged('is damaged');
  return { cluster: bytes.readUInt32BE(4), by, pieces, end };
}

/** Where a watch of [from, to) goes on. Undefined: the token does not tell of all these keys. */
export function placesOf(
  token: WatchToken,
  from: Buffer,
  to: Buffer | undefined,
): Places<ReachedPiece> | undefined {
  const { pieces, end } = token;
  const [first] = pieces;
  const isPastEnd = end !== undefined && (to === undefined || Buffer.compare(to, end) > 0);
  return first && Buffer.compare(from, first.start) >= 0 && !isPastEnd
    ? placesIn(token, from, to)
    : undefined;
}

/** Throws `IDENTITY_MISMATCH` for a token of another cluster. */
export function checkCluster({ cluster, by }: WatchToken, here: Pick<WatchToken, 'cluster' | 'by'>): void {
  if (cluster === here.cluster && by === here.by) return;
  throw new RaftreeClientError(
    'IDENTITY_MISMATCH',
    'the token to resume from is of another cluster, or of an earlier one of the same name: read the keys anew, and ' +
      'watch without it',
    'notCommitted',
  );
}

function damaged(why: string) {
  return invalid(`from must be a version or the token that a watch has given, and this text ${why}`);
}

function sharedBytes(one: Uint8Array, other: Uint8Array): number {
  const most = Math.min(one.length, other.length);
  let shared = 0;
  while (shared < most && one[shared] === other[shared]) shared++;
  return shared;
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) + 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** Of the eighth byte. */
const MAX_SCALE = 0x80 ** 7;

class Reader {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  varint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined || scale > MAX_SCALE) throw damaged('is damaged');
      value += (byte % 0x80) * scale;
      if (value > Number.MAX_SAFE_INTEGER) throw damaged('is damaged');
      if (byte < 0x80) return value;
    }
  }

  bytes(length: number): Buffer {
    const from = this.#at;
    if (length > this.#bytes.length - from) throw damaged('is damaged');
    this.#at += length;
    return this.#bytes.subarray(from, this.#at);
  }
}
