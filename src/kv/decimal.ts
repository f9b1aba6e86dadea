/**
 * Exact sums of decimal numbers in text: what `incrementFloat` adds. Every replica must find the same digits, so no
 * floating point is used. The form of a sum is that of Redis: at most 17 digits behind the point, no exponent, no
 * zeros at the end.
 */
const MAX_TEXT_BYTES = 255;
/** About as large as numbers of Redis' type, a long double, may be. */
const MAX_EXPONENT = 4932;
const SHOWN_DIGITS = 17;
const FORM = /^([+-]?)(?:(\d+)\.?(\d*)|\.(\d+))(?:[eE]([+-]?\d{1,6}))?$/;

/** `digits` times 10 to the power of `-scale`. */
interface Decimal {
  readonly digits: bigint;
  readonly scale: number;
}

export type DecimalSum = string | 'notANumber' | 'overflow';

/** The sum of two numbers. `notANumber` if a text is none; `overflow` if the sum is too large. */
export function addDecimals(left: Uint8Array, right: Uint8Array): DecimalSum {
  const terms = [parse(left), parse(right)] as const;
  if (terms.includes('notANumber')) return 'notANumber';
  const [a, b] = terms;
  if (typeof a === 'string' || typeof b === 'string') return 'overflow';
  const scale = Math.max(a.scale, b.scale);
  const digits = a.digits * 10n ** BigInt(scale - a.scale) + b.digits * 10n ** BigInt(scale - b.scale);
  const magnitude = digits < 0n ? -digits : digits;
  if (magnitude >= 10n ** BigInt(MAX_EXPONENT + 1 + scale)) return 'overflow';
  return format(rounded({ digits, scale }));
}

function parse(bytes: Uint8Array): Decimal | 'notANumber' | 'overflow' {
  if (bytes.length > MAX_TEXT_BYTES) return 'notANumber';
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
  if (/^[+-]?inf(inity)?$/i.test(text)) return 'overflow';
  const match = FORM.exec(text);
  if (!match) return 'notANumber';
  const [, sign, whole = '', fraction = '', onlyFraction = '', exponent = '0'] = match;
  const behind = fraction + onlyFraction;
  const shift = Number(exponent);
  if (Math.abs(shift) > MAX_EXPONENT) return shift > 0 ? 'overflow' : { digits: 0n, scale: 0 };
  const magnitude = BigInt(whole + behind);
  const digits = sign === '-' ? -magnitude : magnitude;
  const scale = behind.length - shift;
  return scale >= 0 ? { digits, scale } : { digits: digits * 10n ** BigInt(-scale), scale: 0 };
}

function rounded({ digits, scale }: Decimal): Decimal {
  if (scale <= SHOWN_DIGITS) return { digits, scale };
  const unit = 10n ** BigInt(scale - SHOWN_DIGITS);
  const whole = digits / unit;
  const rest = digits < 0n ? -(digits % unit) : digits % unit;
  // A half goes to the even digit, as in C.
  const isUp = rest * 2n > unit || (rest * 2n === unit && whole % 2n !== 0n);
  const step = digits < 0n ? -1n : 1n;
  return { digits: isUp ? whole + step : whole, scale: SHOWN_DIGITS };
}

function format({ digits, scale }: Decimal): string {
  const magnitude = (digits < 0n ? -digits : digits).toString().padStart(scale + 1, '0');
  const whole = magnitude.slice(0, magnitude.length - scale);
  const fraction = magnitude.slice(magnitude.length - scale).replace(/0+$/, '');
  const text = fraction === '' ? whole : `${whole}.${fraction}`;
  return digits < 0n ? `-${text}` : text;
}
