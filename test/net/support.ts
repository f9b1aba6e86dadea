/** A socket that a test holds both ends of, and timers that it turns by hand. */
import type { Socket, SocketHandler, Timer } from '../../src/env/env.js';
import { Channel, type ChannelEnv } from '../../src/net/channel.js';
import type { ChannelOptions } from '../../src/net/channel-options.js';
import type { Frame } from '../../src/net/frame.js';
import type { Handler } from '../../src/net/pipeline.js';

/** Takes what is written only when told to, as a system whose other side does not read. */
export class ManualSocket implements Socket {
  readonly remote = 'test';
  readonly written: Buffer[] = [];
  bufferedBytes = 0;
  writes = 0;
  paused = false;
  ended = false;
  destroyed = false;
  /** Whether written bytes are taken at once. */
  takes = true;
  #handler: SocketHandler | undefined;

  handle(handler: SocketHandler): void {
    this.#handler = handler;
  }

  write(chunks: readonly Uint8Array[]): void {
    this.writes++;
    for (const chunk of chunks) {
      this.written.push(Buffer.from(chunk));
      if (!this.takes) this.bufferedBytes += chunk.length;
    }
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  end(): void {
    this.ended = true;
  }

  destroy(): void {
    this.destroyed = true;
  }

  /** The other side sends. */
  receive(chunk: Uint8Array): void {
    this.#handler?.data(Buffer.from(chunk));
  }

  drain(leftBytes = 0): void {
    this.bufferedBytes = leftBytes;
    if (leftBytes === 0) this.#handler?.drained();
  }

  closed(error?: Error): void {
    this.#handler?.closed(error);
  }
}

export class ManualTime {
  nowMs = 0;
  readonly timers = new Set<{ atMs: number; run: () => void }>();
  #turn: (() => void)[] = [];

  readonly env: ChannelEnv = {
    clock: { nowMs: () => this.nowMs, wallMs: () => this.nowMs },
    timers: {
      after: (delayMs, run): Timer => {
        const timer = { atMs: this.nowMs + delayMs, run };
        this.timers.add(timer);
        return { cancel: () => this.timers.delete(timer) };
      },
      endOfTurn: (run) => this.#turn.push(run),
    },
  };

  endTurn(): void {
    for (const run of this.#turn.splice(0)) run();
  }

  pass(durationMs: number): void {
    const endMs = this.nowMs + durationMs;
    for (;;) {
      const [next] = [...this.timers].filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs);
      if (!next) break;
      this.timers.delete(next);
      this.nowMs = next.atMs;
      next.run();
    }
    this.nowMs = endMs;
  }
}

/** Writes down every event that reaches it. */
export class Recorder implements Handler {
  readonly events: string[] = [];
  readonly messages: unknown[] = [];
  errors: Error[] = [];

  active(): void {
    this.events.push('active');
  }

  read(_context: unknown, message: unknown): void {
    this.messages.push(message);
  }

  inactive(_context: unknown, error: Error | undefined): void {
    this.events.push(`inactive ${error ? error.message : 'without error'}`);
  }

  writabilityChanged(_context: unknown, writable: boolean): void {
    this.events.push(writable ? 'writable' : 'not writable');
  }

  get frames(): Frame[] {
    return this.messages as Frame[];
  }
}

export interface Bench {
  readonly socket: ManualSocket;
  readonly time: ManualTime;
  readonly channel: Channel;
  readonly recorder: Recorder;
}

/** A started channel with the given handlers and a recorder behind them. */
export function benchOf(handlers: readonly Handler[], options: Partial<ChannelOptions> = {}): Bench {
  const socket = new ManualSocket();
  const time = new ManualTime();
  const channel = new Channel(time.env, socket, options);
  const recorder = new Recorder();
  for (const handler of [...handlers, recorder]) channel.pipeline.add(handler);
  channel.start();
  return { socket, time, channel, recorder };
}
