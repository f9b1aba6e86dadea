/**
 * `/v1/live`: what this node sees of its cluster, again and again, as server-sent events. One collector makes the view
 * for all viewers, and only while there are some. A slow viewer misses views: it gets the newest when it has taken the
 * one before.
 *
 *     event: history   once: the last ten minutes
 *     event: view      every VIEW_EVERY_MS: how things stand
 */
import type { Env, Timer } from '../../env/env.js';
import type { Answer } from './answer.js';
import { Refusal } from './request.js';

export interface LiveSource {
  /** Never throws. */
  readonly view: () => object;
  /** Asks the others, for the view that follows. Resolves within a moment; never rejects. */
  readonly refresh: () => Promise<void>;
  readonly history: () => object;
}

export const VIEW_EVERY_MS = 500;
const MAX_VIEWERS = 64;

export class LiveFeed {
  readonly #timers: Env['timers'];
  readonly #source: LiveSource;
  /** Wakes each viewer that waits for the next view. */
  readonly #waiting = new Set<() => void>();
  #viewers = 0;
  #newest: Uint8Array = Buffer.alloc(0);
  #sequence = 0;
  #timer: Timer | undefined;
  #isCollecting = false;
  #isClosed = false;

  constructor(timers: Env['timers'], source: LiveSource) {
    this.#timers = timers;
    this.#source = source;
  }

  get viewers(): number {
    return this.#viewers;
  }

  /** Throws `OVERLOADED` if too many look already. */
  answer(): Answer {
    if (this.#viewers >= MAX_VIEWERS)
      throw new Refusal('OVERLOADED', `${MAX_VIEWERS} viewers look at this node already; close one of them`);
    return { status: 200, headers: { 'content-type': 'text/event-stream' }, body: this.#events() };
  }

  /** Ends the answer of every viewer. */
  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#wake();
  }

  /** Returned, by whoever sends it, when the viewer has gone: at the latest with the next view. */
  async *#events(): AsyncGenerator<Uint8Array> {
    this.#viewers++;
    try {
      yield eventOf('history', this.#source.history());
      // What was collected before nobody looked is old.
      let seen = this.#isCollecting ? 0 : this.#sequence;
      if (!this.#isCollecting) void this.#collect();
      while (!this.#isClosed) {
        if (seen === this.#sequence) await new Promise<void>((resolve) => this.#waiting.add(resolve));
        if (this.#isClosed) return;
        seen = this.#sequence;
        yield this.#newest;
      }
    } finally {
      this.#viewers--;
    }
  }

  async #collect(): Promise<void> {
    this.#isCollecting = this.#viewers > 0 && !this.#isClosed;
    if (!this.#isCollecting) return;
    await this.#source.refresh();
    if (this.#isClosed) return;
    this.#newest = eventOf('view', this.#source.view());
    this.#sequence++;
    this.#wake();
    this.#timer = this.#timers.after(VIEW_EVERY_MS, () => void this.#collect());
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }
}

function eventOf(name: string, data: object): Uint8Array {
  return Buffer.from(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
}
