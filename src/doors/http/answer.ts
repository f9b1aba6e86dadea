/** An answer to a request, and how it is sent: in slices, as fast as the client takes them. */
import type { ServerResponse } from 'node:http';
import type { Env, Timer } from '../../env/env.js';

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Of pieces of any number and size. The next one is made when the client has taken the one before. */
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array>;
}

export function json(value: unknown, status = 200): Answer {
  return { status, headers: { 'content-type': 'application/json' }, body: `${JSON.stringify(value)}\n` };
}

/** What a client must take within the time that it has; then the time begins again. */
const SLICE_BYTES = 64 * 1024;

/**
 * Resolves when the client has taken all of the answer, or has gone. A client that does not take a slice within
 * `stallMs` is cut off, and so is the answer if its body throws: the client sees that it is not complete.
 */
export async function send(
  response: ServerResponse,
  answer: Answer,
  isHead: boolean,
  { env, stallMs }: { readonly env: Pick<Env, 'timers'>; readonly stallMs: number },
): Promise<void> {
  const { status, headers = {}, body = '' } = answer;
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  const length = bytes instanceof Uint8Array && status !== 204 && status !== 304 ? bytes.length : undefined;
  response.writeHead(status, {
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
    ...headers,
    ...(length === undefined ? {} : { 'content-length': length }),
  });
  if (isHead && !(bytes instanceof Uint8Array)) {
    // Begun, so that what it holds is given back at its end.
    const pieces = bytes[Symbol.asyncIterator]();
    await pieces.next();
    await pieces.return?.();
  }
  const settled = () => untilTaken(response, env, stallMs);
  try {
    if (!isHead && length !== 0) {
      for await (const piece of bytes instanceof Uint8Array ? [bytes] : bytes) {
        for (let at = 0; at < piece.length; at += SLICE_BYTES) {
          if (response.destroyed) return;
          if (!response.write(piece.subarray(at, at + SLICE_BYTES))) await settled();
        }
      }
    }
    response.end();
    if (!response.writableFinished) await settled();
  } catch (error) {
    response.destroy();
    throw error;
  }
}

/** Resolves when the system has taken what was written, or the connection is gone. */
function untilTaken(response: ServerResponse, env: Pick<Env, 'timers'>, stallMs: number): Promise<void> {
  return new Promise((resolve) => {
    let timer: Timer | undefined;
    const done = () => {
      timer?.cancel();
      for (const event of ['drain', 'finish', 'close']) response.off(event, done);
      resolve();
    };
    if (response.destroyed || response.socket?.destroyed) {
      resolve();
      return;
    }
    timer = env.timers.after(stallMs, () => response.destroy());
    for (const event of ['drain', 'finish', 'close']) response.on(event, done);
  });
}
