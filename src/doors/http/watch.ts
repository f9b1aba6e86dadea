/**
 * `/v1/watch`: the changes of keys, as server-sent events. A slow client holds nobody up: what it has not taken stays
 * in the history of the node.
 *
 *     event: put | delete | expire    data: { key, value, version }
 *     event: progress                 data: { version }               everything up to there was told
 *     event: end                      data: { code, detail, from }
 *
 * The id of an event says what was told: after the last change of a write, and with each progress. A browser sends it
 * in Last-Event-ID when it connects again, and so goes on without a gap.
 *
 *     a cluster with one tablet    told by this node            the id is the version up to which everything was told
 *     with several                 by the client library        the id is a token (client/watch-token.ts)
 */
import { isEmptyRange, type ScanRange, scanRange } from '../../client/scan-range.js';
import type { WatchPosition } from '../../client/watch.js';
import type { Timers } from '../../env/env.js';
import type { Changes, Watcher } from '../../kv/watch/watcher.js';
import type { Backend } from '../backend.js';
import type { Answer } from './answer.js';
import { BEGINNING, changeEvent, EVENT_STREAM, endEvent, progressEvent } from './event-stream.js';
import { problem } from './problem.js';
import { type HttpRequest, Refusal } from './request.js';
import { operation, type Route } from './route.js';
import { watchQuery } from './schemas.js';
import { SeveralTabletsStream } from './watch-several.js';

const PAGE_BYTES = 16 * 1024;
const PROGRESS_EVERY_TICKS = 10;

/** `endings`: called when the door closes. */
export function watchRoute(backend: Backend, timers: Pick<Timers, 'after'>, endings: Set<() => void>): Route {
  const get = operation({
    id: 'watchKeys',
    summary: 'The changes of keys as they are applied, as server-sent events',
    query: watchQuery,
    takes: ['last-event-id'],
    answers: {
      200: {
        description: 'Events "put", "delete", "expire" and "progress"; "end" if the node can tell no more',
        content: 'text',
        textType: 'text/event-stream',
      },
    },
    handle: (request, query) => {
      const bytes = (text: string) => Buffer.from(text, 'latin1');
      if (query.key !== undefined && query.prefix !== undefined)
        throw new Refusal('INVALID_REQUEST', 'key and prefix contradict each other: send one of them');
      const range =
        query.key === undefined
          ? scanRange({ prefix: bytes(query.prefix ?? '') })
          : { from: bytes(query.key), to: Buffer.concat([bytes(query.key), Buffer.of(0)]) };
      if (query.key === '' || isEmptyRange(range))
        throw new Refusal('INVALID_REQUEST', 'a key has at least one byte');
      const from = firstPosition(request, query.from);
      const tablet = backend.onlyTablet;
      if (tablet !== undefined && typeof from !== 'string')
        return new EventStream(backend, request, tablet, range, from).answer();
      return new SeveralTabletsStream(backend, timers, endings, request, range, from).answer();
    },
  });
  return { path: '/v1/watch', operations: { GET: get } };
}

/** What a browser has come to counts more than what the page asked for at first. */
function firstPosition(request: HttpRequest, from: string | undefined): WatchPosition | undefined {
  const last = request.header('last-event-id');
  if (last !== undefined && VERSION.test(last)) return Number(last) + 1;
  const given = last !== undefined && TOKEN.test(last) ? last : from;
  return given !== undefined && VERSION.test(given) ? Number(given) : given;
}

const VERSION = /^[1-9]\d{0,14}$/;
const TOKEN = /^w1\.[\w-]{1,8192}$/;

/** In a cluster with one tablet. */
class EventStream {
  readonly #request: HttpRequest;
  readonly #watcher: Watcher;
  readonly #stopTicks: () => void;
  #wake: () => void = () => {};
  #ticks = 0;
  #toldVersion = 0;
  #isProgressDue = false;
  #isGone = false;

  constructor(
    backend: Backend,
    request: HttpRequest,
    tablet: number,
    range: ScanRange,
    fromVersion: number | undefined,
  ) {
    this.#request = request;
    request.hold(PAGE_BYTES);
    const watch = { type: 'watch', tablet, ...range, fromVersion } as const;
    this.#watcher = backend.watchHere(request.caller, watch, () => this.#wake());
    this.#stopTicks = backend.everyWatchTick(tablet, () => this.#tick());
  }

  answer(): Answer {
    const first = this.#watcher.hasMore ? this.#watcher.peek(1) : undefined;
    if (first?.type === 'ended') {
      this.#close();
      const { code, message, fromVersion } = first;
      return problem(code, message, fromVersion === undefined ? {} : { more: { from: fromVersion } });
    }
    return { status: 200, headers: EVENT_STREAM, body: this.#events() };
  }

  async *#events(): AsyncGenerator<Uint8Array> {
    const forget = this.#request.onGone(() => {
      this.#isGone = true;
      this.#wake();
    });
    try {
      yield BEGINNING;
      while (!this.#isGone) {
        const isDue = this.#isProgressDue || this.#watcher.hasMore;
        if (!isDue)
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        if (this.#isGone) return;
        const page = this.#watcher.hasMore ? this.#watcher.peek(PAGE_BYTES) : undefined;
        if (page?.type === 'ended') {
          yield endEvent(page.code, page.message, page.fromVersion);
          return;
        }
        if (page) {
          this.#watcher.advance(page);
          if (page.changes.length > 0) yield this.#changeEvents(page);
        } else if (this.#isProgressDue) yield this.#progressEvent();
      }
    } finally {
      forget();
      this.#close();
    }
  }

  #close(): void {
    this.#stopTicks();
    this.#watcher.close();
  }

  #changeEvents({ changes, throughVersion }: Changes): Uint8Array {
    let text = '';
    for (const [i, change] of changes.entries()) {
      const { version } = change;
      const isLast = version <= throughVersion && changes[i + 1]?.version !== version;
      if (isLast) this.#toldVersion = version;
      text += changeEvent(change, isLast ? version : undefined);
    }
    return Buffer.from(text);
  }

  /** Also when nothing has moved: it shows that the connection is there. */
  #progressEvent(): Uint8Array {
    this.#isProgressDue = false;
    this.#toldVersion = Math.max(this.#toldVersion, this.#watcher.throughVersion);
    return progressEvent(this.#toldVersion, { version: this.#toldVersion });
  }

  #tick(): void {
    this.#ticks++;
    if (this.#ticks % PROGRESS_EVERY_TICKS !== 0) return;
    this.#isProgressDue = true;
    this.#wake();
  }
}
