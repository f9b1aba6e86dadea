/** One request, as the handlers of routes see it. What it holds of the budget is given back when it is answered. */
import type { IncomingMessage } from 'node:http';
import type { Caller } from '../../kv/requests.js';
import type { WriteLine } from '../write-line.js';
import type { ByteBudget } from './byte-budget.js';
import { type ProblemCode, type ProblemDetails, problem } from './problem.js';

/** Thrown by handlers: the request is answered with this problem. */
export class Refusal extends Error {
  readonly answer;

  constructor(code: ProblemCode, detail: string, details?: ProblemDetails) {
    super(detail);
    this.answer = problem(code, detail, details);
  }
}

/** The client has gone: there is nobody to answer. */
export class ClientGone extends Error {}

/** What the value of a parsed JSON body takes beside its bytes. */
const JSON_WEIGHT = 4;

export class HttpRequest {
  readonly caller: Caller;
  /** Those of its connection. */
  readonly writes: WriteLine;
  /** Of the route's path, in order. */
  readonly parameters: readonly Buffer[];
  readonly query: ReadonlyMap<string, string>;
  readonly #incoming: IncomingMessage;
  readonly #budget: ByteBudget;
  #heldBytes = 0;

  constructor(
    incoming: IncomingMessage,
    budget: ByteBudget,
    { caller, writes, parameters, query }: Pick<HttpRequest, 'caller' | 'writes' | 'parameters' | 'query'>,
  ) {
    this.#incoming = incoming;
    this.#budget = budget;
    this.caller = caller;
    this.writes = writes;
    this.parameters = parameters;
    this.query = query;
  }

  header(
    name: 'if-match' | 'if-none-match' | 'accept' | 'content-type' | 'last-event-id',
  ): string | undefined {
    const value = this.#incoming.headers[name];
    return typeof value === 'string' ? value : value?.[0];
  }

  /** Calls `run` when the client has gone. Returns how to forget that. */
  onGone(run: () => void): () => void {
    const { socket } = this.#incoming;
    if (socket.destroyed) run();
    socket.once('close', run);
    return () => socket.off('close', run);
  }

  get method(): string {
    return this.#incoming.method ?? '';
  }

  /** Until the answer is sent. Throws `OVERLOADED` if there is no room. */
  hold(bytes: number): void {
    if (!this.#budget.take(bytes))
      throw new Refusal(
        'OVERLOADED',
        'too many bytes of other requests are in memory; try again in a moment',
      );
    this.#heldBytes += bytes;
  }

  release(bytes = this.#heldBytes): void {
    this.#budget.give(bytes);
    this.#heldBytes -= bytes;
  }

  /** Throws a Refusal with `tooLarge` if there are more bytes. */
  async body(
    maxBytes: number,
    tooLarge: 'VALUE_TOO_LARGE' | 'REQUEST_TOO_LARGE',
    weight = 1,
  ): Promise<Buffer> {
    const refuse = () => new Refusal(tooLarge, `the body has more than ${maxBytes} bytes`);
    const announced = Number(this.#incoming.headers['content-length'] ?? 0);
    if (announced > maxBytes) throw refuse();
    this.hold(announced * weight);
    const chunks: Buffer[] = [];
    let bytes = 0;
    let heldBytes = announced;
    try {
      for await (const chunk of this.#incoming as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        if (bytes > maxBytes) break;
        if (bytes > heldBytes) {
          this.hold((bytes - heldBytes) * weight);
          heldBytes = bytes;
        }
        chunks.push(chunk);
      }
    } catch (error) {
      throw error instanceof Refusal ? error : new ClientGone();
    }
    if (bytes > maxBytes) throw refuse();
    return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
  }

  /** Throws a Refusal if the body is not JSON of at most so many bytes. */
  async json(maxBytes: number): Promise<unknown> {
    const type = this.header('content-type')?.split(';')[0]?.trim().toLowerCase();
    if (type !== 'application/json')
      throw new Refusal(
        'UNSUPPORTED_MEDIA_TYPE',
        'the body is JSON: say so with "Content-Type: application/json"',
      );
    const body = await this.body(maxBytes, 'REQUEST_TOO_LARGE', JSON_WEIGHT);
    try {
      return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
    } catch (error) {
      const reason = error instanceof SyntaxError ? error.message : 'it is no UTF-8';
      throw new Refusal('MALFORMED_REQUEST', `the body is not JSON: ${reason}`);
    }
  }
}
