/**
 * Lines to a descriptor of this process, standard error above all, without ever waiting for whoever reads them. What is
 * not taken at once waits in a bounded queue; beyond it lines are dropped and counted. A full device, a reader that is
 * gone: lines are dropped too, until writing succeeds again. Nothing here throws.
 */
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as tty from 'node:tty';
import { errorCode } from '../errors.js';

export interface LineOutputOptions {
  readonly maxQueuedBytes?: number;
  /** Lines are taken again after so many were dropped. */
  readonly resumed?: (dropped: number) => void;
}

const MAX_QUEUED_BYTES = 1024 * 1024;
const RETRY_FULL_MS = 20;
const RETRY_FAILED_MS = 1000;

/** Takes as many of the bytes as it can without waiting; throws the system's error. */
type Sink = (bytes: Buffer) => number;

export class LineOutput {
  readonly #sink: Sink;
  readonly #maxQueuedBytes: number;
  readonly #resumed: (dropped: number) => void;
  readonly #queue: Buffer[] = [];
  #queuedBytes = 0;
  /** Part of the first line in the queue is written. */
  #isWithinLine = false;
  #dropped = 0;
  #retry: NodeJS.Timeout | undefined;

  constructor(descriptor: number, options: LineOutputOptions = {}) {
    this.#sink = sinkOf(descriptor);
    this.#maxQueuedBytes = options.maxQueuedBytes ?? MAX_QUEUED_BYTES;
    this.#resumed = options.resumed ?? (() => {});
    // A last try, which does not wait either.
    process.once('exit', () => this.#flush());
  }

  /** Lines that wait to be taken. */
  get queued(): number {
    return this.#queue.length;
  }

  /** `line` ends with a line feed. */
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

  /** All but the end of a line of which a part was written: what follows would be put on the same line. */
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
    // Regular files and devices do not make us wait; and opened anew they would have a position of their own.
    if (!isPipe && !isTerminal(descriptor)) return fileSink(descriptor);
    // Opened anew: not to wait is a property that whoever shares the descriptor would share too.
    const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = fs.constants;
    return fileSink(fs.openSync(`/proc/self/fd/${descriptor}`, O_WRONLY | O_NONBLOCK | O_NOCTTY));
  } catch {}
  // No /proc, a pipe that another user has made, or one whose reader is gone.
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
    // What the system takes at once is no longer counted when write() returns: at the end of the process too, where no
    // callback runs any more, each line is written.
    if (socket.writableLength > 0) return 0;
    socket.write(bytes);
    return bytes.length;
  };
}
