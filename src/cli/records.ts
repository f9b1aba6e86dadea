/**
 * File formats for keys and values.
 *
 *     JSON Lines   {"key":"…","value":"…"} per line, in UTF-8; other bytes as keyBase64, valueBase64;
 *                  with "ttlMs" if the key has a deadline: how long it still lived when it was exported
 *     TSV          key, a tab, value; both are raw bytes, also a carriage return at the end
 *
 * Any other line is bad: nothing in a key or value is guessed, skipped or replaced. Other JSON fields are ignored.
 */
import { isUtf8 } from 'node:buffer';
import { MAX_TTL_MS } from '../kv/replicated-time.js';
import { decodeBase64 } from './base64.js';

export type Format = 'jsonl' | 'tsv';

export interface KeyValue {
  readonly key: Buffer;
  readonly value: Buffer;
  /** How long the key is to live. Undefined: it has no deadline. */
  readonly ttlMs?: number;
}

const MIB = 1024 * 1024;
const TAB = 0x09;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
const BRACE = 0x7b;
const BYTE_ORDER_MARK = Buffer.of(0xef, 0xbb, 0xbf);
/** Longer lines are not buffered. The largest value has 86 MiB in base64. */
export const MAX_LINE_BYTES = 96 * MIB;
/** Larger values are exported as base64: as JSON text a byte may take six, so the line would be too long. */
const LONGEST_TEXT_BYTES = 15 * MIB;
const LONE_SURROGATE = /\p{Surrogate}/u;

/** Whether the line is empty, or holds only a carriage return: such lines are skipped. */
export function isBlank(line: Buffer, format: 'auto' | Format): boolean {
  return line.length === 0 || (format !== 'tsv' && line.length === 1 && line[0] === RETURN);
}

export function formatOf(line: Buffer): Format {
  const start = hasByteOrderMark(line) ? BYTE_ORDER_MARK.length : 0;
  return line[start] === BRACE ? 'jsonl' : 'tsv';
}

/** Throws a plain Error if the first line shows that the file has the wrong encoding. */
export function checkFirstLine(line: Buffer): void {
  if (hasByteOrderMark(line)) throw new Error('it begins with a byte order mark: save the file without it');
}

/** Throws a plain Error that says what is wrong with the line. */
export function parseRecord(line: Buffer, format: Format): KeyValue {
  const record = format === 'tsv' ? parseTabbed(line) : parseJson(line);
  if (record.key.length === 0) throw new Error('the key is empty');
  return record;
}

function parseTabbed(line: Buffer): KeyValue {
  const tab = line.indexOf(TAB);
  if (tab < 0) throw new Error('there is no tab between key and value');
  return { key: line.subarray(0, tab), value: line.subarray(tab + 1) };
}

function parseJson(line: Buffer): KeyValue {
  if (!isUtf8(line)) throw new Error('it is not UTF-8; give such bytes as "keyBase64", "valueBase64"');
  let parsed: unknown;
  try {
    parsed = JSON.parse(line.toString('utf8'));
  } catch {
    throw new Error('it is not JSON');
  }
  if (typeof parsed !== 'object' || parsed === null) throw new Error('it is not a JSON object');
  const fields = parsed as Record<string, unknown>;
  const record = { key: bytesOf(fields, 'key'), value: bytesOf(fields, 'value') };
  const { ttlMs } = fields;
  if (ttlMs === undefined) return record;
  if (typeof ttlMs !== 'number' || !Number.isSafeInteger(ttlMs) || ttlMs < 1 || ttlMs > MAX_TTL_MS)
    throw new Error('"ttlMs" is a whole number of milliseconds from 1 on');
  return { ...record, ttlMs };
}

function bytesOf(fields: Record<string, unknown>, name: 'key' | 'value'): Buffer {
  const text = fields[name];
  const base64 = fields[`${name}Base64`];
  if (typeof text === 'string' && base64 === undefined) {
    if (LONE_SURROGATE.test(text))
      throw new Error(`"${name}" has half a surrogate pair, which cannot be encoded as UTF-8`);
    return Buffer.from(text, 'utf8');
  }
  if (typeof base64 !== 'string' || text !== undefined)
    throw new Error(`it needs "${name}" (a string) or "${name}Base64"`);
  try {
    return decodeBase64(base64);
  } catch (error) {
    throw new Error(`"${name}Base64": ${error instanceof Error ? error.message : error}`);
  }
}

/** A line that `parseRecord` decodes to the same bytes. */
export function formatRecord({ key, value, ttlMs }: KeyValue): string {
  const life = ttlMs === undefined ? {} : { ttlMs: Math.max(1, ttlMs) };
  return `${JSON.stringify({ ...field('key', key), ...field('value', value), ...life })}\n`;
}

/** Bytes as a JSON field: text if they are UTF-8 and not very long, otherwise base64. */
export function field(name: string, bytes: Buffer): Record<string, string> {
  return bytes.length <= LONGEST_TEXT_BYTES && isUtf8(bytes)
    ? { [name]: bytes.toString('utf8') }
    : { [`${name}Base64`]: bytes.toString('base64') };
}

/** Splits a byte stream into lines without line feeds. Yields undefined for a line above MAX_LINE_BYTES. */
export async function* lines(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer | undefined> {
  let parts: Buffer[] = [];
  let lineBytes = 0;
  const add = (part: Buffer) => {
    lineBytes += part.length;
    if (lineBytes > MAX_LINE_BYTES) parts = [];
    else parts.push(part);
  };
  const take = () => {
    const line = lineBytes > MAX_LINE_BYTES ? undefined : Buffer.concat(parts);
    parts = [];
    lineBytes = 0;
    return line;
  };
  for await (const chunk of stream) {
    let rest = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      add(rest.subarray(0, end));
      yield take();
      rest = rest.subarray(end + 1);
    }
    add(rest);
  }
  if (lineBytes > 0) yield take();
}

function hasByteOrderMark(line: Buffer): boolean {
  return line.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK);
}
