/**
 * The two uses of HPACK (RFC 7541) that a gRPC client without a header table has: to write constant headers, and to
 * find one header among literals.
 */

/** Entries of the static table (appendix A). */
const AUTHORITY = 1;
const METHOD_POST = 3;
const PATH = 4;
const SCHEME_HTTP = 6;
const CONTENT_TYPE = 31;
const STATIC_ENTRIES = 61;

const INDEXED = 0x80;
const INCREMENTAL = 0x40;
const SIZE_UPDATE = 0x20;
const HUFFMAN = 0x80;

const GRPC_STATUS = Buffer.from('grpc-status');
/** The same, Huffman-coded (appendix B). */
const GRPC_STATUS_HUFFMAN = Buffer.from('9acac8b21234da8f', 'hex');

/** An integer with a prefix of so many bits (section 5.1). */
function integer(value: number, bits: number, pattern: number): number[] {
  const most = 2 ** bits - 1;
  if (value < most) return [pattern | value];
  const bytes = [pattern | most];
  let rest = value - most;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return [...bytes, rest];
}

function text(value: string): number[] {
  return [...integer(value.length, 7, 0), ...Buffer.from(value)];
}

/** Literals without indexing, not Huffman-coded. */
export function requestHeaders(path: string, authority: string): Buffer {
  const named = (name: number, value: string) => [...integer(name, 4, 0), ...text(value)];
  return Buffer.from([
    INDEXED | METHOD_POST,
    INDEXED | SCHEME_HTTP,
    ...named(PATH, path),
    ...named(AUTHORITY, authority),
    ...named(CONTENT_TYPE, 'application/grpc'),
    0,
    ...text('te'),
    ...text('trailers'),
  ]);
}

/** The value of `grpc-status`; undefined where there is none. Throws where the table would be needed. */
export function grpcStatusOf(block: Buffer): number | undefined {
  let at = 0;
  const readInteger = (bits: number): number => {
    const most = 2 ** bits - 1;
    let value = (block[at++] ?? 0) & most;
    if (value < most) return value;
    for (let shift = 1; at < block.length; shift *= 128) {
      const byte = block[at++] as number;
      value += (byte & 0x7f) * shift;
      if (byte < 0x80) break;
    }
    return value;
  };
  const readText = (): { readonly bytes: Buffer; readonly isCoded: boolean } => {
    const isCoded = ((block[at] ?? 0) & HUFFMAN) !== 0;
    const length = readInteger(7);
    at += length;
    return { bytes: block.subarray(at - length, at), isCoded };
  };
  while (at < block.length) {
    const first = block[at] as number;
    if (first & INDEXED) {
      if (readInteger(7) > STATIC_ENTRIES)
        throw new Error('the server uses a header table, which it was asked not to');
      continue;
    }
    if (!(first & INCREMENTAL) && first & SIZE_UPDATE) {
      readInteger(5);
      continue;
    }
    const name = readInteger(first & INCREMENTAL ? 6 : 4);
    if (name > STATIC_ENTRIES) throw new Error('the server uses a header table, which it was asked not to');
    const own = name === 0 ? readText() : undefined;
    const value = readText();
    if (own?.bytes.equals(own.isCoded ? GRPC_STATUS_HUFFMAN : GRPC_STATUS))
      return value.isCoded ? codedDigits(value.bytes) : Number(value.bytes.toString('latin1'));
  }
  return undefined;
}

/** A number, Huffman-coded: 0 to 2 have the five bits of their value, 3 to 9 the six bits 011001 to 011111. */
function codedDigits(bytes: Buffer): number {
  let bits = '';
  for (const byte of bytes) bits += byte.toString(2).padStart(8, '0');
  let value = 0;
  while (bits.length >= 5) {
    const short = Number.parseInt(bits.slice(0, 5), 2);
    const long = Number.parseInt(bits.slice(0, 6), 2);
    if (short <= 2) {
      value = 10 * value + short;
      bits = bits.slice(5);
    } else if (bits.length >= 6 && long >= 0b011001 && long <= 0b011111) {
      value = 10 * value + long - 0b011001 + 3;
      bits = bits.slice(6);
    } else break; // What remains is padding.
  }
  return value;
}
