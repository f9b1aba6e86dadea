/**
 * Files of keys and values.
 *
 *     JSON Lines   {"key":"…","value":"…"} per line; bytes that are no UTF-8 as keyBase64, valueBase64
 *     TSV          key, a tab, value; both taken as they are
 */
export type Format = 'jsonl' | 'tsv';

export interface KeyValue {
  readonly key: Buffer;
  readonly value: Buffer;
}

const TAB = 0x09;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
/** A longer line is refused rather than gathered in memory. */
export const MAX_LINE_BYTES = 96 * 1024 * 1024;

/** Throws a plain Error that says what is wrong with the line. */
export function parseRecord(line: Buffer, format: Format): KeyValue {
  if (format === 'tsv') {
    const tab = line.indexOf(TAB);
    if (tab < 0) throw new Error('there is no tab between key and value');
    return { key: line.subarray(0, tab), value: line.subarray(tab + 1) };
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(line.toString('utf8'));
  } catch {
    throw new Error('it is not JSON');
  }
  if (typeof parsed !== 'object' || parsed === null) throw new Error('it is not a JSON object');
  const fields = parsed as Record<string, unknown>;
  return { key: bytesOf(fields, 'key'), value: bytesOf(fields, 'value') };
}

function bytesOf(fields: Record<string, unknown>, name: 'key' | 'value'): Buffer {
  const text = fields[name];
  const base64 = fields[`${name}Base64`];
  if (typeof text === 'string' && base64 === undefined) return Buffer.from(text, 'utf8');
  if (typeof base64 === 'string' && text === undefined) return Buffer.from(base64, 'base64');
  throw new Error(`it needs "${name}" (a string) or "${name}Base64"`);
}

/** The line that `parseRecord` reads back as the same bytes. */
export function formatRecord({ key, value }: KeyValue): string {
  return `${JSON.stringify({ ...field('key', key), ...field('value', value) })}\n`;
}

/** Bytes as a field of JSON: text if they are UTF-8, else base64. */
export function field(name: string, bytes: Buffer): Record<string, string> {
  const text = bytes.toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes)
    ? { [name]: text }
    : { [`${name}Base64`]: bytes.toString('base64') };
}

/** Lines of a byte stream, without their line ends. Throws a plain Error for a line above MAX_LINE_BYTES. */
export async function* lines(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let rest: Buffer[] = [];
  let restBytes = 0;
  for await (const part of stream) {
    let chunk = Buffer.from(part.buffer, part.byteOffset, part.length);
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE)) {
      yield withoutReturn(Buffer.concat([...rest, chunk.subarray(0, end)]));
      rest = [];
      restBytes = 0;
      chunk = chunk.subarray(end + 1);
    }
    rest.push(chunk);
    restBytes += chunk.length;
    if (restBytes > MAX_LINE_BYTES) throw new Error(`a line is longer than ${MAX_LINE_BYTES} bytes`);
  }
  if (restBytes > 0) yield withoutReturn(Buffer.concat(rest));
}

function withoutReturn(line: Buffer): Buffer {
  return line.at(-1) === RETURN ? line.subarray(0, -1) : line;
}
