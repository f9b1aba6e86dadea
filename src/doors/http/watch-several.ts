/**
 * `/v1/watch` in a cluster with several tablets: the client library merges what nodes tell of each, and follows splits
 * and moves. It holds at most BUFFER_BYTES that the client has not taken.
 */
import { HistoryGoneError, RaftreeClientError } from '../../client/client-error.js';
import type { ScanRange } from '../../client/scan-range.js';
import type { Watch, WatchPosition } from '../../client/watch.js';
import type { Timer, Timers } from '../../env/env.js';
import type { Backend } from '../backend.js';
import type { Answer } from './answer.js';
import { BEGINNING, changeEvent, EVENT_STREAM, endEvent, progressEvent } from './event-stream.js';
import { nameOfProblem, problem } from './problem.js';
import { type HttpRequest, Refusal } from './request.js';

const BUFFER_BYTES = 64 * 1024;
const READY_MS = 10_000;
const PROGRESS_EVERY_MS = 10_000;
/** It must fit into a header, and is sent with each write. */
const MAX_ID_LENGTH = 8 * 1024;

export class SeveralTabletsStream {
  readonly #timers: Pick<Timers, 'after'>;
  readonly #endings: Set<() => void>;
  readonly #request: HttpRequest;
  readonly #watch: Watch;
  readonly #isResumed: boolean;
  #next: ReturnType<Watch['next']> | undefined;
  #isClosing = false;

  constructor(
    backend: Backend,
    timers: Pick<Timers, 'after'>,
    endings: Set<() => void>,
    request: HttpRequest,
    range: ScanRange,
    from: WatchPosition | undefined,
  ) {
    this.#timers = timers;
    this.#endings = endings;
    this.#request = request;
    this.#isResumed = from !== undefined;
    if (!request.caller.rights.read) throw new Refusal('NOT_PERMITTED', 'the caller may not read');
    request.hold(BUFFER_BYTES);
    const { from: first, to } = range;
    const keys = { range: to ? { from: first, to } : { from: first } };
    this.#watch = backend.watch({
      ...keys,
      ...(from === undefined ? {} : { from }),
      bufferBytes: BUFFER_BYTES,
    });
  }

  async answer(): Promise<Answer> {
    const watch = this.#watch;
    const timer = this.#timers.after(READY_MS, () => void watch.return());
    try {
      await watch.ready;
      if (this.#isResumed) {
        // If the changes from there on are not kept any more, that is told before nodes tell what is committed.
        this.#next = watch.next();
        this.#next.catch(() => {});
        await Promise.race([this.#next, watch.sync()]);
      }
      const { resumeFrom = '' } = watch;
      if (String(resumeFrom).length > MAX_ID_LENGTH)
        throw new Refusal(
          'INVALID_REQUEST',
          'these keys belong to so many tablets that no event can name them all: watch a part of the keys',
        );
    } catch (error) {
      void watch.return();
      if (!(error instanceof RaftreeClientError)) throw error;
      return refusal(error);
    } finally {
      timer.cancel();
    }
    return { status: 200, headers: EVENT_STREAM, body: this.#events() };
  }

  async *#events(): AsyncGenerator<Uint8Array> {
    const watch = this.#watch;
    const forget = this.#request.onGone(() => void watch.return());
    const close = () => {
      this.#isClosing = true;
      void watch.return();
    };
    this.#endings.add(close);
    let timer: Timer | undefined;
    try {
      yield BEGINNING;
      let next = this.#next ?? watch.next();
      for (;;) {
        const silence = new Promise<undefined>((resolve) => {
          timer = this.#timers.after(PROGRESS_EVERY_MS, () => resolve(undefined));
        });
        const result = await Promise.race([next, silence]);
        timer?.cancel();
        if (result?.done) {
          if (this.#isClosing) yield endEvent('SHUTTING_DOWN', 'this node is shutting down');
          return;
        }
        const id = watch.isBetweenWrites ? watch.resumeFrom : undefined;
        if (result) {
          next = watch.next();
          yield Buffer.from(changeEvent(result.value, id));
        } else if (id !== undefined) yield progressEvent(id, { from: id });
      }
    } catch (error) {
      if (!(error instanceof RaftreeClientError)) throw error;
      const from = error instanceof HistoryGoneError ? error.resumeFrom : undefined;
      yield endEvent(nameOfProblem(error.code), error.message, from);
    } finally {
      timer?.cancel();
      forget();
      this.#endings.delete(close);
      void watch.return();
    }
  }
}

function refusal(error: RaftreeClientError): Answer {
  const { code, message } = error;
  if (code === 'IDENTITY_MISMATCH') return problem('INVALID_REQUEST', message);
  // It did not begin in time.
  if (code === 'ABORTED')
    return problem('TIMEOUT', `no node tells all of these changes within ${READY_MS} ms`);
  const more = error instanceof HistoryGoneError ? { from: error.resumeFrom } : {};
  return problem(nameOfProblem(code), message, { more });
}
