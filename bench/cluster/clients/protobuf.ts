/**
 * As much of the wire format of Protocol Buffers as etcd's messages need.
 * https://protobuf.dev/programming-guides/encoding/
 */

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** Field numbers from 1 to 15 only; absent fields are left out by the caller. */
export function bytesField(field: number, bytes: Buffer): Buffer[] {
  return [Buffer.from([field * 8 + BYTES, ...varint(bytes.length)]), bytes];
}

export function numberField(field: number, value: number): Buffer {
  return Buffer.from([field * 8 + VARINT, ...varint(value)]);
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return [...bytes, rest];
}

/** Calls back for each field that holds bytes, with where they are. Throws for a message that is cut short. */
export function forEachBytes(
  message: Buffer,
  from: number,
  to: number,
  visit: (field: number, from: number, to: number) => void,
): void {
  let at = from;
  const read = (): number => {
    let value = 0;
    for (let scale = 1; at < to; scale *= 128) {
      const byte = message[at++] as number;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    throw new Error('a protobuf message is cut short');
  };
  while (at < to) {
    const tag = read();
    const kind = tag % 8;
    if (kind === VARINT) read();
    else if (kind === FIXED64) at += 8;
    else if (kind === FIXED32) at += 4;
    else if (kind === BYTES) {
      const length = read();
      if (at + length > to) throw new Error('a protobuf message is cut short');
      visit(Math.floor(tag / 8), at, at + length);
      at += length;
    } else throw new Error(`a protobuf message has a field of unknown kind ${kind}`);
  }
}
