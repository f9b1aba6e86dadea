/**
 * Writes lines to a descriptor of this process (usually standard error) without ever blocking on the reader. Bytes that
 * the system does not take at once wait in a bounded queue. Lines beyond its limit are dropped and counted. After an
 * error (a full device, a closed reader) lines are dropped until a write succeeds again. Nothing here throws.
 */
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as tty from 'node:tty';
import { errorCode } from '../errors.js';

export interface LineOutputOptions {
  readonly maxQueuedBytes?: number;
  /** Called when lines are written again after `dropped` lines were lost. */
  readonly resumed?: (dropped: number) => void;
}

const MAX_QUEUED_BYTES = 1024 * 1024;
const RETRY_FULL_MS = 20;
const RETRY_FAILED_MS = 1000;

/** Writes as many bytes as possible without blocking and returns their number. Throws the system's error. */
type Sink = (bytes: Buffer) => number;

export class LineOutput {
  readonly #sink: Sink;
  readonly #maxQueuedBytes: number;
  readonly #resumed: (dropped: number) => void;
  readonly #queue: Buffer[] = [];
  #queuedBytes = 0;
  /** The first line in the queue is partly written. */
  #isWithinLine = false;
  #dropped = 0;
  #retry: NodeJS.Timeout | undefined;

  constructor(descriptor: number, options: LineOutputOptions = {}) {
    this.#sink = sinkOf(descriptor);
    this.#maxQueuedBytes = options.maxQueuedBytes ?? MAX_QUEUED_BYTES;
    this.#resumed = options.resumed ?? (() => {});
    // A last attempt. It does not block either.
    process.once('exit', () => this.#flush());
  }

  /** Number of lines in the queue. */
  get queued(): number {
    return this.#queue.length;
  }

  /** `line` must end with a line feed. */
  write(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#queuedBytes + bytes.length > this.#maxQueuedBytes) {
      this.#dropped++;
      return;
    }
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    if (!this.#retry) this.#flush();
  }

  #flush(): void {
    this.#retry = undefined;
    try {
      for (let [first] = this.#queue; first; [first] = this.#queue) {
        const taken = this.#sink(first);
        this.#queuedBytes -= taken;
        this.#isWithinLine = taken < first.length && (taken > 0 || this.#isWithinLine);
        if (taken < first.length) {
          this.#queue[0] = first.subarray(taken);
          this.#later(RETRY_FULL_MS);
          return;
        }
        this.#queue.shift();
      }
    } catch (error) {
      if (errorCode(error) === 'EAGAIN') this.#later(RETRY_FULL_MS);
      else {
        this.#dropQueue();
        this.#later(RETRY_FAILED_MS);
      }
      return;
    }
    if (this.#dropped === 0) return;
    const dropped = this.#dropped;
    this.#dropped = 0;
    this.#resumed(dropped);
  }

  #later(delayMs: number): void {
    this.#retry = setTimeout(() => this.#flush(), delayMs);
    this.#retry.unref();
  }

  /** Drops all lines, but keeps the rest of a partly written line: otherwise the next line would be appended to it. */
  #dropQueue(): void {
    const kept = this.#isWithinLine ? this.#queue.slice(0, 1) : [];
    this.#dropped += this.#queue.length - kept.length;
    this.#queue.splice(0, this.#queue.length, ...kept);
    this.#queuedBytes = kept[0]?.length ?? 0;
  }
}

function sinkOf(descriptor: number): Sink {
  let isPipe = false;
  try {
    const stat = fs.fstatSync(descriptor);
    if (stat.isSocket()) return streamSink(descriptor);
    isPipe = stat.isFIFO();
    // Writes to regular files and devices do not block on a reader. Reopened they would have a position of their own.
    if (!isPipe && !isTerminal(descriptor)) return fileSink(descriptor);
    // Reopened, because O_NONBLOCK on the given descriptor would also apply to every process that shares it.
    const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = fs.constants;
    return fileSink(fs.openSync(`/proc/self/fd/${descriptor}`, O_WRONLY | O_NONBLOCK | O_NOCTTY));
  } catch {}
  // No /proc, a pipe that another user created, or a pipe without a reader.
  try {
    if (isPipe) return streamSink(descriptor);
  } catch {}
  return fileSink(descriptor);
}

export function isTerminal(descriptor: number): boolean {
  return tty.isatty(descriptor);
}

function fileSink(descriptor: number): Sink {
  return (bytes) => fs.writeSync(descriptor, bytes);
}

function streamSink(descriptor: number): Sink {
  const socket = new net.Socket({ fd: descriptor, readable: false, writable: true });
  let failure: Error | undefined;
  socket.on('error', (error) => {
    failure = error;
  });
  socket.unref();
  return (bytes) => {
    if (failure) throw failure;
    // When write() returns, bytes that the system took at once are no longer in `writableLength`. So at the end of the
    // process, where no callback runs any more, each line is still written.
    if (socket.writableLength > 0) return 0;
    socket.write(bytes);
    return bytes.length;
  };
}
