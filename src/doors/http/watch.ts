/**
 * `/v1/watch`: the changes of keys, as server-sent events. A change is read from the history of this node when the
 * client has taken the one before, so a slow client holds nobody up and nothing in memory.
 *
 *     event: put | delete | expire    data: { key, value, version }
 *     event: progress                 data: { version }               everything up to there was told
 *     event: end                      data: { code, detail, fromVersion }
 *
 * The id of an event is the version up to which everything was told: after the last change of a version, and with each
 * progress. A browser sends it in Last-Event-ID when it connects again, and so goes on without a gap.
 */
import { isEmptyRange, scanRange } from '../../client/scan-range.js';
import type { Changes, WatchEnded, Watcher } from '../../kv/watch/watcher.js';
import type { Backend } from '../backend.js';
import type { Answer } from './answer.js';
import { problem } from './problem.js';
import { type HttpRequest, Refusal } from './request.js';
import { operation, type Route } from './route.js';
import { bytesIn, watchQuery } from './schemas.js';

const PAGE_BYTES = 16 * 1024;
const PROGRESS_EVERY_TICKS = 10;

export function watchRoute(backend: Backend): Route {
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
      const stream = new EventStream(backend, request, range, firstVersion(request, query.from));
      return stream.answer();
    },
  });
  return { path: '/v1/watch', operations: { GET: get } };
}

/** What a browser has come to counts more than what the page asked for at first. */
function firstVersion(request: HttpRequest, from: string | undefined): number | undefined {
  const last = request.header('last-event-id');
  if (last !== undefined && /^[1-9]\d{0,14}$/.test(last)) return Number(last) + 1;
  return from === undefined ? undefined : Number(from);
}

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
    range: { readonly from: Buffer; readonly to: Buffer | undefined },
    fromVersion: number | undefined,
  ) {
    this.#request = request;
    request.hold(PAGE_BYTES);
    const tablet = backend.watchedTablet(range);
    const watch = { type: 'watch', tablet, ...range, fromVersion } as const;
    this.#watcher = backend.watchHere(request.caller, watch, () => this.#wake());
    this.#stopTicks = backend.everyWatchTick(tablet, () => this.#tick());
  }

  answer(): Answer {
    const first = this.#watcher.hasMore ? this.#watcher.peek(1) : undefined;
    if (first?.type === 'ended') {
      this.#close();
      const { code, message, fromVersion } = first;
      return problem(code, message, fromVersion === undefined ? {} : { more: { fromVersion } });
    }
    const headers = { 'content-type': 'text/event-stream' };
    return { status: 200, headers, body: this.#events() };
  }

  async *#events(): AsyncGenerator<Uint8Array> {
    const forget = this.#request.onGone(() => {
      this.#isGone = true;
      this.#wake();
    });
    try {
      yield Buffer.from(': the changes follow\n\n');
      while (!this.#isGone) {
        const isDue = this.#isProgressDue || this.#watcher.hasMore;
        if (!isDue)
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        if (this.#isGone) return;
        const page = this.#watcher.hasMore ? this.#watcher.peek(PAGE_BYTES) : undefined;
        if (page?.type === 'ended') {
          yield endEvent(page);
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
    for (const [i, { type, key, value, version }] of changes.entries()) {
      const isLast = version <= throughVersion && changes[i + 1]?.version !== version;
      if (isLast) this.#toldVersion = version;
      const data = { ...bytesIn('key', key), ...(type === 'put' ? bytesIn('value', value) : {}), version };
      text += `event: ${type}\n${isLast ? `id: ${version}\n` : ''}data: ${JSON.stringify(data)}\n\n`;
    }
    return Buffer.from(text);
  }

  /** Also when nothing has moved: it shows that the connection is there. */
  #progressEvent(): Uint8Array {
    this.#isProgressDue = false;
    this.#toldVersion = Math.max(this.#toldVersion, this.#watcher.throughVersion);
    const version = this.#toldVersion;
    return Buffer.from(`event: progress\nid: ${version}\ndata: ${JSON.stringify({ version })}\n\n`);
  }

  #tick(): void {
    this.#ticks++;
    if (this.#ticks % PROGRESS_EVERY_TICKS !== 0) return;
    this.#isProgressDue = true;
    this.#wake();
  }
}

function endEvent({ code, message, fromVersion }: WatchEnded): Uint8Array {
  return Buffer.from(`event: end\ndata: ${JSON.stringify({ code, detail: message, fromVersion })}\n\n`);
}
