/** Integers of 64 bits with sign as decimal text: how `increment` reads and leaves the value of a key. */
const MOST = 2n ** 63n - 1n;
const LEAST = -(2n ** 63n);
/** The length of LEAST. */
const MAX_DIGITS = 20;

/** Undefined for bytes that `String` of such an integer does not give: spaces, +, -0, leading zeros, nothing. */
export function parseInteger(bytes: Uint8Array): bigint | undefined {
  if (bytes.length > MAX_DIGITS) return undefined;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
  if (!/^(0|-?[1-9][0-9]*)$/.test(text)) return undefined;
  return checkedInteger(BigInt(text));
}

/** Undefined for a number that 64 bits do not hold. */
export function checkedInteger(value: bigint): bigint | undefined {
  return value >= LEAST && value <= MOST ? value : undefined;
}
