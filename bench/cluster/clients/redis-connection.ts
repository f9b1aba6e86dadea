/**
 * Redis' protocol, RESP2, with any number of requests under way: answers come in the order of the requests.
 * https://redis.io/docs/latest/develop/reference/protocol-spec/
 *
 *     *3\r\n $3\r\nSET\r\n $3\r\nkey\r\n $5\r\nvalue\r\n      a request: an array of strings
 *     +OK\r\n   -ERR text\r\n   $5\r\nvalue\r\n   $-1\r\n       answers
 */
import type { Socket } from 'node:net';
import type { Connection, Entry, Target } from './connection.js';
import { closeSocket, openSocket } from './socket.js';
import { TurnWriter } from './turn-writer.js';

interface Waiting {
  /** The length of the answer's string, 0 for OK, -1 for nothing. */
  resolve(length: number): void;
  reject(error: Error): void;
}

const CR = 13;
const PLUS = 43;
const MINUS = 45;
const DOLLAR = 36;
const LINE_END = '\r\n';
const NOTHING = Buffer.alloc(0);

export class RedisConnection implements Connection {
  readonly #socket: Socket;
  readonly #writer: TurnWriter;
  readonly #waiting: Waiting[] = [];
  #first = 0;
  #rest: Buffer = NOTHING;
  #failure: Error | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#writer = new TurnWriter(socket);
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('Redis closed the connection')));
  }

  static async open({ endpoints }: Target): Promise<RedisConnection> {
    return new RedisConnection(await openSocket(endpoints[0] ?? ''));
  }

  async put(key: Buffer, value: Buffer): Promise<void> {
    this.#writer.text(`*3\r\n$3\r\nSET\r\n`);
    this.#string(key);
    this.#string(value);
    await this.#answer();
  }

  get(key: Buffer): Promise<number> {
    this.#writer.text(`*2\r\n$3\r\nGET\r\n`);
    this.#string(key);
    return this.#answer();
  }

  scan(): Promise<number> {
    return Promise.reject(new Error('Redis has no order of keys'));
  }

  async putMany(entries: readonly Entry[]): Promise<void> {
    this.#writer.text(`*${1 + 2 * entries.length}\r\n$4\r\nMSET\r\n`);
    for (const { key, value } of entries) {
      this.#string(key);
      this.#string(value);
    }
    await this.#answer();
  }

  close(): Promise<void> {
    return closeSocket(this.#socket);
  }

  #string(bytes: Buffer): void {
    this.#writer.text(`$${bytes.length}\r\n`);
    this.#writer.bytes(bytes);
    this.#writer.text(LINE_END);
  }

  #answer(): Promise<number> {
    if (this.#failure) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  #receive(chunk: Buffer): void {
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    let at = 0;
    for (;;) {
      const lineEnd = bytes.indexOf(CR, at);
      if (lineEnd < 0 || lineEnd + 2 > bytes.length) break;
      const kind = bytes[at];
      let next = lineEnd + 2;
      let length = 0;
      if (kind === DOLLAR) {
        length = Number(bytes.toString('latin1', at + 1, lineEnd));
        if (length >= 0) next += length + 2;
        if (next > bytes.length) break;
      }
      const waiting = this.#next();
      if (kind === DOLLAR || kind === PLUS) waiting?.resolve(length);
      else if (kind === MINUS)
        waiting?.reject(new Error(`Redis: ${bytes.toString('latin1', at + 1, lineEnd)}`));
      else return void this.#socket.destroy(new Error(`Redis sent an unknown answer of kind ${kind}`));
      at = next;
    }
    this.#rest = bytes.subarray(at);
  }

  /** Cheap for long queues: the array is cut when most of it is used up. */
  #next(): Waiting | undefined {
    const waiting = this.#waiting[this.#first++];
    if (this.#first === this.#waiting.length) {
      this.#waiting.length = 0;
      this.#first = 0;
    } else if (this.#first >= 1024) {
      this.#waiting.splice(0, this.#first);
      this.#first = 0;
    }
    return waiting;
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (let waiting = this.#next(); waiting; waiting = this.#next()) waiting.reject(this.#failure);
  }
}
