/**
 * Reads commands from bytes as they arrive, cut anywhere. A command is a list of byte strings:
 *
 *     *<count>\r\n ( $<length>\r\n <bytes>\r\n ) ...      or inline: words on a line, which may be quoted
 *
 * Everything is bounded. What a client announces takes no memory before it has arrived. After a ProtocolError nothing
 * more can be read; the texts are those of Redis.
 */
export interface RequestLimits {
  readonly maxArguments: number;
  readonly maxArgumentBytes: number;
  /** All arguments of one command together. */
  readonly maxCommandBytes: number;
}

/** Of a line: the announcement of a count or length, or an inline command. */
const MAX_LINE_BYTES = 64 * 1024;
const MAX_LENGTH_DIGITS = 20;
/** Memory of an argument beside its bytes. */
const ARGUMENT_COST_BYTES = 64;

const NOTHING = Buffer.alloc(0);
const LF = 10;
const CR = 13;
const STAR = 42;
const DOLLAR = 36;

/** The bytes are no command: the client gets this text, and the connection ends. */
export class ProtocolError extends Error {
  constructor(reason: string) {
    super(`ERR Protocol error: ${reason}`);
  }
}

export class RequestParser {
  /** May change: a client that has not shown a token is given less. */
  limits: RequestLimits;
  /** Without what `#later` holds. */
  #bytes: Buffer = NOTHING;
  #at = 0;
  /** Chunks that arrived while a long argument was not complete. */
  #later: Buffer[] = [];
  #laterBytes = 0;
  /** Arguments that are still to come; 0: none is begun. */
  #left = 0;
  /** Length of the argument at hand; -1: not known yet. */
  #length = -1;
  #arguments: Buffer[] = [];
  #commandBytes = 0;
  #failed: ProtocolError | undefined;

  constructor(limits: RequestLimits) {
    this.limits = limits;
  }

  /** Received, and not yet given as a command. */
  get heldBytes(): number {
    return this.#bytes.length - this.#at + this.#laterBytes + this.#commandBytes;
  }

  push(chunk: Buffer): void {
    if (this.#failed) return;
    this.#later.push(chunk);
    this.#laterBytes += chunk.length;
  }

  /** The next complete command, never empty. Undefined: more bytes are needed. Throws a ProtocolError. */
  next(): Buffer[] | undefined {
    if (this.#failed) throw this.#failed;
    try {
      return this.#next();
    } catch (error) {
      if (error instanceof ProtocolError) {
        this.#failed = error;
        this.#bytes = NOTHING;
        this.#at = 0;
        this.#later = [];
        this.#laterBytes = 0;
      }
      throw error;
    }
  }

  #next(): Buffer[] | undefined {
    for (;;) {
      if (this.#left === 0) {
        const command = this.#begin();
        if (command === 'more') return undefined;
        if (command.length > 0) return command;
        if (this.#left === 0) continue;
      }
      while (this.#left > 0) if (!this.#argument()) return undefined;
      const command = this.#arguments;
      this.#arguments = [];
      this.#commandBytes = 0;
      return command;
    }
  }

  /** An inline command, or none if it is empty or an array has begun. */
  #begin(): Buffer[] | 'more' {
    if (!this.#has(1)) return 'more';
    const isArray = this.#bytes[this.#at] === STAR;
    const line = this.#line(isArray ? 'too big mbulk count string' : 'too big inline request');
    if (line === undefined) return 'more';
    if (!isArray) {
      const words = splitWords(line);
      if (words === undefined) throw new ProtocolError('unbalanced quotes in request');
      return words;
    }
    const count = integer(line.subarray(1));
    if (count === undefined || count > this.limits.maxArguments)
      throw new ProtocolError(
        count !== undefined && count <= 1024 * 1024
          ? `too many arguments: ${count}, at most ${this.limits.maxArguments} are taken`
          : 'invalid multibulk length',
      );
    this.#left = Math.max(0, count);
    return [];
  }

  /** Whether one more argument is complete. */
  #argument(): boolean {
    if (this.#length < 0) {
      if (!this.#has(1)) return false;
      const first = this.#bytes[this.#at] ?? 0;
      if (first !== DOLLAR) {
        const shown = first >= 32 && first < 127 ? String.fromCharCode(first) : `\\x${first.toString(16)}`;
        throw new ProtocolError(`expected '$', got '${shown}'`);
      }
      const line = this.#line('too big bulk count string');
      if (line === undefined) return false;
      const length = integer(line.subarray(1));
      if (length === undefined || length < 0 || length > this.limits.maxArgumentBytes)
        throw new ProtocolError('invalid bulk length');
      this.#commandBytes += length + ARGUMENT_COST_BYTES;
      if (this.#commandBytes > this.limits.maxCommandBytes + ARGUMENT_COST_BYTES * this.limits.maxArguments)
        throw new ProtocolError('invalid bulk length');
      this.#commandBytes -= length;
      this.#length = length;
    }
    if (!this.#has(this.#length + 2)) return false;
    const end = this.#at + this.#length;
    if (this.#bytes[end] !== CR || this.#bytes[end + 1] !== LF)
      throw new ProtocolError('expected CRLF after bulk');
    this.#arguments.push(this.#bytes.subarray(this.#at, end));
    this.#commandBytes += this.#length;
    this.#at = end + 2;
    this.#length = -1;
    this.#left--;
    return true;
  }

  /** Without its end. Throws if it is too long. */
  #line(tooLong: string): Buffer | undefined {
    let end = this.#bytes.indexOf(LF, this.#at);
    if (end < 0 && this.#laterBytes > 0) {
      this.#join();
      end = this.#bytes.indexOf(LF, this.#at);
    }
    const length = (end < 0 ? this.#bytes.length : end) - this.#at;
    if (length > MAX_LINE_BYTES) throw new ProtocolError(tooLong);
    if (end < 0) return undefined;
    const line = this.#bytes.subarray(
      this.#at,
      this.#bytes[end - 1] === CR && end > this.#at ? end - 1 : end,
    );
    this.#at = end + 1;
    return line;
  }

  /** Whether so many bytes are there, in one piece. */
  #has(sizeBytes: number): boolean {
    if (this.#bytes.length - this.#at >= sizeBytes) return true;
    if (this.#bytes.length - this.#at + this.#laterBytes < sizeBytes) return false;
    this.#join();
    return true;
  }

  #join(): void {
    const rest = this.#bytes.subarray(this.#at);
    const [only] = this.#later;
    this.#bytes =
      rest.length === 0 && this.#later.length === 1 && only ? only : Buffer.concat([rest, ...this.#later]);
    this.#at = 0;
    this.#later = [];
    this.#laterBytes = 0;
  }
}

function integer(text: Buffer): number | undefined {
  if (text.length > MAX_LENGTH_DIGITS) return undefined;
  const digits = text.toString('latin1');
  if (!/^-?\d+$/.test(digits)) return undefined;
  const number = Number(digits);
  return Number.isSafeInteger(number) ? number : undefined;
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', b: '\b', a: '\x07' };

/** The words of an inline command. Undefined: quotes do not match. */
function splitWords(line: Buffer): Buffer[] | undefined {
  const text = line.toString('latin1');
  const words: Buffer[] = [];
  let at = 0;
  for (;;) {
    while (at < text.length && isSpace(text[at])) at++;
    if (at >= text.length) return words;
    let word = '';
    let quote = '';
    for (; ; at++) {
      const character = text[at];
      if (character === undefined) {
        if (quote !== '') return undefined;
        break;
      }
      if (quote === '') {
        if (isSpace(character)) break;
        if (character === '"' || character === "'") quote = character;
        else word += character;
      } else if (character === quote) {
        const next = text[at + 1];
        if (next !== undefined && !isSpace(next)) return undefined;
        quote = '';
      } else if (character !== '\\') word += character;
      else if (quote === "'") {
        if (text[at + 1] === "'") at++;
        word += text[at];
      } else {
        const hex = /^x([0-9a-fA-F]{2})/.exec(text.slice(at + 1, at + 4))?.[1];
        if (hex !== undefined) {
          word += String.fromCharCode(Number.parseInt(hex, 16));
          at += 3;
        } else if (at + 1 < text.length) {
          at++;
          const escaped = text[at] ?? '';
          word += ESCAPES[escaped] ?? escaped;
        }
      }
    }
    words.push(Buffer.from(word, 'latin1'));
  }
}

function isSpace(character: string | undefined): boolean {
  return character !== undefined && /[\s\0]/.test(character);
}
