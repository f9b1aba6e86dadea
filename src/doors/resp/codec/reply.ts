/** Replies as values, and their bytes in RESP2 and RESP3. */

export type Reply =
  /** A bulk string. */
  | Buffer
  | string
  | number
  | bigint
  /** No value. */
  | null
  | readonly Reply[]
  | SimpleReply
  | ErrorReply
  | MapReply
  | PushReply
  | SeveralReplies
  | NoArray;

export class SimpleReply {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** The text begins with a code: `ERR`, `WRONGTYPE` … */
export class ErrorReply {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** In RESP2 it is an array of names and values. */
export class MapReply {
  readonly entries: readonly (readonly [string, Reply])[];

  constructor(entries: readonly (readonly [string, Reply])[]) {
    this.entries = entries;
  }
}

/** What is told without being asked for; in RESP2 it is an array. */
export class PushReply {
  readonly elements: readonly Reply[];

  constructor(elements: readonly Reply[]) {
    this.elements = elements;
  }
}

/** One after the other, of one command. */
export class SeveralReplies {
  readonly replies: readonly Reply[];

  constructor(replies: readonly Reply[]) {
    this.replies = replies;
  }
}

/** No value where an array is usual. */
export class NoArray {}

export const OK = new SimpleReply('OK');
export const QUEUED = new SimpleReply('QUEUED');
export const NO_ARRAY = new NoArray();

export type RespVersion = 2 | 3;

const CRLF = Buffer.from('\r\n');

export function encodeReply(reply: Reply, version: RespVersion): Buffer {
  const only = short(reply, version);
  if (only !== undefined) return Buffer.from(only, 'latin1');
  const parts: Buffer[] = [];
  let text = '';
  const add = (each: Reply): void => {
    const line = short(each, version);
    if (line !== undefined) text += line;
    else if (Buffer.isBuffer(each)) {
      parts.push(Buffer.from(`${text}$${each.length}\r\n`, 'latin1'), each, CRLF);
      text = '';
    } else if (typeof each === 'string') add(Buffer.from(each));
    else if (each instanceof MapReply) {
      text += version === 3 ? `%${each.entries.length}\r\n` : `*${each.entries.length * 2}\r\n`;
      for (const [name, value] of each.entries) {
        add(name);
        add(value);
      }
    } else if (each instanceof PushReply) {
      text += `${version === 3 ? '>' : '*'}${each.elements.length}\r\n`;
      for (const element of each.elements) add(element);
    } else if (each instanceof SeveralReplies) for (const one of each.replies) add(one);
    else if (Array.isArray(each)) {
      text += `*${each.length}\r\n`;
      for (const element of each) add(element);
    }
  };
  add(reply);
  parts.push(Buffer.from(text, 'latin1'));
  return Buffer.concat(parts);
}

/** Undefined for a reply of several lines. */
function short(reply: Reply, version: RespVersion): string | undefined {
  if (typeof reply === 'number' || typeof reply === 'bigint') return `:${reply}\r\n`;
  if (reply === null) return version === 3 ? '_\r\n' : '$-1\r\n';
  if (reply instanceof SimpleReply) return `+${reply.text}\r\n`;
  if (reply instanceof NoArray) return version === 3 ? '_\r\n' : '*-1\r\n';
  // A line end in what a client sent must not become the end of the error.
  return reply instanceof ErrorReply ? `-${reply.text.replace(/[\r\n]/g, ' ')}\r\n` : undefined;
}
