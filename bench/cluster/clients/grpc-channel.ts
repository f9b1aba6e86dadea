/**
 * Unary gRPC calls over one HTTP/2 connection, and no more than that: so little that its cost does not hide the
 * server's. The headers of a method are encoded once; of answers only the message and `grpc-status` are read. It asks
 * for a header table of size 0, so that headers can be read without a state.
 *
 *     https://www.rfc-editor.org/rfc/rfc9113 (HTTP/2), https://www.rfc-editor.org/rfc/rfc7541 (HPACK)
 *     https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 *
 *     frame     length u24 | type u8 | flags u8 | stream u32 | payload
 *     message   compressed u8 (0) | length u32 | bytes
 */
import type { Socket } from 'node:net';
import { grpcStatusOf, requestHeaders } from './hpack.js';
import { closeSocket, openSocket } from './socket.js';
import { TurnWriter } from './turn-writer.js';

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const FRAME_HEAD_BYTES = 9;
const MESSAGE_HEAD_BYTES = 5;

const DATA = 0;
const HEADERS = 1;
const RST_STREAM = 3;
const SETTINGS = 4;
const PING = 6;
const GOAWAY = 7;
const WINDOW_UPDATE = 8;
const CONTINUATION = 9;

const END_STREAM = 1;
const ACK = 1;
const END_HEADERS = 4;
const PADDED = 8;

const HEADER_TABLE_SIZE = 1;
const ENABLE_PUSH = 2;
const INITIAL_WINDOW_SIZE = 4;
const MAX_FRAME_SIZE = 5;

const DEFAULT_WINDOW_BYTES = 65_535;
const LARGEST_WINDOW_BYTES = 2 ** 31 - 1;
/** So much is received before the server may send as much again. */
const RENEWED_BYTES = 2 ** 28;

/** https://grpc.io/docs/guides/status-codes/ */
const STATUS_NAMES = [
  ...['OK', 'CANCELLED', 'UNKNOWN', 'INVALID_ARGUMENT', 'DEADLINE_EXCEEDED', 'NOT_FOUND', 'ALREADY_EXISTS'],
  ...['PERMISSION_DENIED', 'RESOURCE_EXHAUSTED', 'FAILED_PRECONDITION', 'ABORTED', 'OUT_OF_RANGE'],
  ...['UNIMPLEMENTED', 'INTERNAL', 'UNAVAILABLE', 'DATA_LOSS', 'UNAUTHENTICATED'],
];

interface Stream {
  readonly id: number;
  readonly resolve: (message: Buffer) => void;
  readonly reject: (error: Error) => void;
  /** Framed as a gRPC message; the part from `sent` on waits for the server's window. */
  readonly body: Buffer;
  sent: number;
  windowBytes: number;
  received: Buffer | undefined;
}

export class GrpcChannel {
  readonly #socket: Socket;
  readonly #writer: TurnWriter;
  readonly #authority: string;
  readonly #headers = new Map<string, Buffer>();
  readonly #streams = new Map<number, Stream>();
  readonly #blocked = new Set<Stream>();
  #nextStream = 1;
  #windowBytes = DEFAULT_WINDOW_BYTES;
  #streamWindowBytes = DEFAULT_WINDOW_BYTES;
  #maxFrameBytes = 16_384;
  #unrenewedBytes = 0;
  #rest: Buffer = Buffer.alloc(0);
  #failure: Error | undefined;

  private constructor(socket: Socket, endpoint: string) {
    this.#socket = socket;
    this.#writer = new TurnWriter(socket);
    this.#authority = endpoint;
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error(`${endpoint} closed the connection`)));
    this.#writer.text(PREFACE);
    const settings = [
      [HEADER_TABLE_SIZE, 0],
      [ENABLE_PUSH, 0],
      [INITIAL_WINDOW_SIZE, LARGEST_WINDOW_BYTES],
    ];
    const payload = Buffer.alloc(6 * settings.length);
    settings.forEach(([name = 0, value = 0], i) => {
      payload.writeUInt16BE(name, 6 * i);
      payload.writeUInt32BE(value, 6 * i + 2);
    });
    this.#frame(SETTINGS, 0, 0, payload);
    this.#renewWindow(LARGEST_WINDOW_BYTES - DEFAULT_WINDOW_BYTES);
  }

  static async open(endpoint: string): Promise<GrpcChannel> {
    return new GrpcChannel(await openSocket(endpoint), endpoint);
  }

  /** The answer's message; it is valid until the caller's next `await`. Rejects with the name of the gRPC status. */
  call(method: string, message: Buffer): Promise<Buffer> {
    if (this.#failure) return Promise.reject(this.#failure);
    let headers = this.#headers.get(method);
    if (!headers) {
      headers = requestHeaders(method, this.#authority);
      this.#headers.set(method, headers);
    }
    const body = Buffer.allocUnsafe(MESSAGE_HEAD_BYTES + message.length);
    body[0] = 0;
    body.writeUInt32BE(message.length, 1);
    body.set(message, MESSAGE_HEAD_BYTES);
    return new Promise((resolve, reject) => {
      const id = this.#nextStream;
      this.#nextStream += 2;
      const windowBytes = this.#streamWindowBytes;
      const stream: Stream = { id, resolve, reject, body, sent: 0, windowBytes, received: undefined };
      this.#streams.set(id, stream);
      this.#frame(HEADERS, END_HEADERS, id, headers);
      this.#send(stream);
    });
  }

  close(): Promise<void> {
    return closeSocket(this.#socket);
  }

  #frame(type: number, flags: number, stream: number, payload: Uint8Array): void {
    const { target, at } = this.#writer.space(FRAME_HEAD_BYTES + payload.length);
    target.writeUIntBE(payload.length, at, 3);
    target[at + 3] = type;
    target[at + 4] = flags;
    target.writeUInt32BE(stream, at + 5);
    target.set(payload, at + FRAME_HEAD_BYTES);
  }

  /** Sends what the windows allow. */
  #send(stream: Stream): void {
    const { body, id } = stream;
    while (stream.sent < body.length) {
      const allowed = Math.min(this.#maxFrameBytes, this.#windowBytes, stream.windowBytes);
      if (allowed <= 0) {
        this.#blocked.add(stream);
        return;
      }
      const part = body.subarray(stream.sent, stream.sent + allowed);
      stream.sent += part.length;
      stream.windowBytes -= part.length;
      this.#windowBytes -= part.length;
      this.#frame(DATA, stream.sent === body.length ? END_STREAM : 0, id, part);
    }
    this.#blocked.delete(stream);
  }

  #sendBlocked(): void {
    for (const stream of [...this.#blocked]) this.#send(stream);
  }

  #renewWindow(bytes: number): void {
    const payload = Buffer.alloc(4);
    payload.writeUInt32BE(bytes);
    this.#frame(WINDOW_UPDATE, 0, 0, payload);
  }

  #receive(chunk: Buffer): void {
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    let at = 0;
    try {
      while (bytes.length - at >= FRAME_HEAD_BYTES) {
        const length = bytes.readUIntBE(at, 3);
        const end = at + FRAME_HEAD_BYTES + length;
        if (end > bytes.length) break;
        const flags = bytes[at + 4] as number;
        const id = bytes.readUInt32BE(at + 5) & 0x7fffffff;
        this.#take(bytes[at + 3] as number, flags, id, bytes.subarray(at + FRAME_HEAD_BYTES, end));
        at = end;
      }
    } catch (error) {
      this.#socket.destroy(error instanceof Error ? error : new Error(String(error)));
    }
    this.#rest = bytes.subarray(at);
  }

  #take(type: number, flags: number, id: number, payload: Buffer): void {
    switch (type) {
      case DATA:
      case HEADERS:
        if (flags & PADDED || (type === HEADERS && !(flags & END_HEADERS)))
          throw new Error('the server sent padded or continued frames, which this client does not read');
        this.#takeAnswer(type, flags, id, payload);
        return;
      case SETTINGS:
        if (!(flags & ACK)) this.#takeSettings(payload);
        return;
      case PING:
        if (!(flags & ACK)) this.#frame(PING, ACK, 0, payload);
        return;
      case WINDOW_UPDATE: {
        const bytes = payload.readUInt32BE(0) & 0x7fffffff;
        const stream = this.#streams.get(id);
        if (id === 0) this.#windowBytes += bytes;
        else if (stream) stream.windowBytes += bytes;
        if (this.#blocked.size > 0) this.#sendBlocked();
        return;
      }
      case RST_STREAM:
        this.#end(id, new Error(`the server reset a request (HTTP/2 error ${payload.readUInt32BE(0)})`));
        return;
      case GOAWAY:
        throw new Error(`the server ends the connection (HTTP/2 error ${payload.readUInt32BE(4)})`);
      case CONTINUATION:
        throw new Error('the server sent a continued frame, which this client does not read');
    }
  }

  #takeAnswer(type: number, flags: number, id: number, payload: Buffer): void {
    const stream = this.#streams.get(id);
    if (type === DATA) {
      this.#unrenewedBytes += payload.length;
      if (this.#unrenewedBytes >= RENEWED_BYTES) {
        this.#renewWindow(this.#unrenewedBytes);
        this.#unrenewedBytes = 0;
      }
      if (stream) stream.received = stream.received ? Buffer.concat([stream.received, payload]) : payload;
      return;
    }
    if (!(flags & END_STREAM)) return;
    const status = grpcStatusOf(payload);
    if (status !== 0) {
      const name = status === undefined ? 'an answer that is not gRPC' : (STATUS_NAMES[status] ?? status);
      this.#end(id, new Error(`${this.#authority} answered ${name}`));
    } else this.#end(id, undefined);
  }

  #takeSettings(payload: Buffer): void {
    for (let at = 0; at + 6 <= payload.length; at += 6) {
      const value = payload.readUInt32BE(at + 2);
      const name = payload.readUInt16BE(at);
      if (name === MAX_FRAME_SIZE) this.#maxFrameBytes = value;
      if (name !== INITIAL_WINDOW_SIZE) continue;
      for (const stream of this.#streams.values()) stream.windowBytes += value - this.#streamWindowBytes;
      this.#streamWindowBytes = value;
    }
    this.#frame(SETTINGS, ACK, 0, Buffer.alloc(0));
    this.#sendBlocked();
  }

  #end(id: number, error: Error | undefined): void {
    const stream = this.#streams.get(id);
    if (!stream) return;
    this.#streams.delete(id);
    this.#blocked.delete(stream);
    if (error) stream.reject(error);
    else stream.resolve(stream.received?.subarray(MESSAGE_HEAD_BYTES) ?? Buffer.alloc(0));
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const id of [...this.#streams.keys()]) this.#end(id, this.#failure);
  }
}
