/**
 * The words of a command in the shell, from one line or several.
 *
 *     get users/ada              words are separated by spaces
 *     put a 'as it is'           '…': all but \' stands for itself
 *     put a "two\nlines \xe2"    "…": \n \r \t \b \a \xHH (a byte) as in redis-cli; else \ quotes what follows
 *     get with\ space            \ quotes the next character
 *     put a 'one                 a quote goes on in the next line; so does a line that ends in \
 *     two'
 *
 * Quoted and other parts that touch are one word, as in the system's shell.
 */
import { isUtf8 } from 'node:buffer';
import { UsageError } from '../exit-codes.js';

export const MAX_COMMAND_CHARACTERS = 96 * 1024 * 1024;

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', b: '\b', a: '\x07' };
/** The longest part of a line that stands for itself. */
const PLAIN = { '': /[^\s'"\\]+/y, "'": /[^'\\]+/y, '"': /[^"\\]+/y };
const HEX_BYTE = /x[0-9a-fA-F]{2}/y;

export type Quote = keyof typeof PLAIN;

export class Words {
  readonly #words: string[] = [];
  #quote: Quote = '';
  /** Undefined between words. */
  #word: Word | undefined;
  /** Where the present word begins in the line that was added last; 0 if in one before. */
  #start = 0;
  /** The last line ends in a `\`: it and the line feed are left out. */
  #goesOn = false;
  #characters = 0;

  /** The quote that is open. */
  get quote(): Quote {
    return this.#quote;
  }

  /** Whether the command goes on in the next line. */
  get isOpen(): boolean {
    return this.#quote !== '' || this.#goesOn;
  }

  /** Adds a line without its line feed. Throws `UsageError`. */
  add(line: string): void {
    this.#characters += line.length + 1;
    if (this.#characters > MAX_COMMAND_CHARACTERS)
      throw new UsageError(`a command has at most ${MAX_COMMAND_CHARACTERS} characters`);
    if (this.#quote !== '' && !this.#goesOn) this.#word?.add('\n');
    this.#goesOn = false;
    this.#start = 0;
    for (let at = 0; at < line.length; ) at = this.#read(line, at);
  }

  /** All words, when the command is complete. Throws `UsageError` if one is not UTF-8. */
  end(): readonly string[] {
    this.#endWord();
    return this.#words;
  }

  /** What is complete, and the word that is not: as far as it goes, and where it begins in the line. */
  get partial(): {
    readonly words: readonly string[];
    readonly text: string;
    readonly start: number | undefined;
  } {
    return {
      words: this.#words,
      text: this.#word?.text ?? '',
      start: this.#word === undefined ? undefined : this.#start,
    };
  }

  /** Reads what stands at this place, and returns where the next thing stands. */
  #read(line: string, at: number): number {
    const char = line[at] as string;
    const plain = PLAIN[this.#quote];
    plain.lastIndex = at;
    const [text] = plain.exec(line) ?? [];
    if (text !== undefined) {
      this.#wordAt(at).add(text);
      return at + text.length;
    }
    if (char === '\\') return this.#readEscape(line, at);
    if (char === "'" || char === '"') {
      this.#wordAt(at);
      this.#quote = this.#quote === '' ? char : '';
    } else this.#endWord();
    return at + 1;
  }

  #readEscape(line: string, at: number): number {
    const next = line[at + 1];
    if (this.#quote === "'") {
      this.#wordAt(at).add(next === "'" ? next : '\\');
      return at + (next === "'" ? 2 : 1);
    }
    if (next === undefined) {
      this.#goesOn = true;
      return at + 1;
    }
    const word = this.#wordAt(at);
    HEX_BYTE.lastIndex = at + 1;
    if (this.#quote === '"' && HEX_BYTE.test(line)) {
      word.addByte(Number.parseInt(line.slice(at + 2, at + 4), 16));
      return at + 4;
    }
    const char = String.fromCodePoint(line.codePointAt(at + 1) as number);
    word.add(this.#quote === '"' ? (ESCAPES[char] ?? char) : char);
    return at + 1 + char.length;
  }

  #wordAt(at: number): Word {
    if (this.#word) return this.#word;
    this.#start = at;
    this.#word = new Word();
    return this.#word;
  }

  #endWord(): void {
    if (this.#word) this.#words.push(this.#word.end());
    this.#word = undefined;
  }
}

class Word {
  /** What stands before `text`, if bytes were given. */
  readonly #bytes: Buffer[] = [];
  #text = '';

  /** For people: bytes are shown as if they were characters. */
  get text(): string {
    return Buffer.concat(this.#bytes).toString() + this.#text;
  }

  add(text: string): void {
    this.#text += text;
  }

  addByte(byte: number): void {
    this.#bytes.push(Buffer.from(this.#text), Buffer.of(byte));
    this.#text = '';
  }

  end(): string {
    if (this.#bytes.length === 0) return this.#text;
    const bytes = Buffer.concat([...this.#bytes, Buffer.from(this.#text)]);
    if (isUtf8(bytes)) return bytes.toString();
    throw new UsageError(
      `${quoted(bytes.toString())} is not UTF-8: use --key-base64 or --value-base64 for such bytes`,
    );
  }
}

/** The word as it is typed in one line. */
export function quoted(word: string): string {
  if (/^[^\s'"\\#\p{Cc}][^\s'"\\\p{Cc}]*$/u.test(word)) return word;
  const escaped = word.replace(/[\\"\p{Cc}]/gu, (char) => {
    if (char === '\\' || char === '"') return `\\${char}`;
    const name = Object.keys(ESCAPES).find((each) => ESCAPES[each] === char);
    if (name) return `\\${name}`;
    return [...Buffer.from(char)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');
  });
  return `"${escaped}"`;
}
