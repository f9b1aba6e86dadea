/**
 * Decodes bytes to frames. A body that lies within one received chunk is a view of it. A body that spans several chunks
 * is assembled in a buffer that grows by doubling with the bytes that have really arrived. So each byte is copied at
 * most twice on average, and a frame that only claims to be large costs no memory.
 *
 * While the channel is paused, received frames wait here. If the channel has a budget, the decoder reads a frame only
 * after it has reserved the frame's full length.
 */
import type { Timer } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import { FRAME_HEADER_BYTES, type Frame } from './frame.js';
import type { Bytes, Handler, HandlerContext } from './pipeline.js';

export interface FrameDecoderOptions {
  /** The longest body that is accepted. A longer one is refused at its header (`FRAME_TOO_LARGE`). */
  readonly maxFrameBytes: number;
  /** An incomplete frame that does not grow for this long ends the connection (`FRAME_TIMEOUT`). */
  readonly frameTimeoutMs: number;
}

const SMALLEST_ASSEMBLY_BYTES = 4096;

export class FrameDecoder implements Handler<Buffer, Bytes, Frame> {
  #maxFrameBytes: number;
  readonly #frameTimeoutMs: number;
  /** Chunks not yet decoded. They stay here only while the channel is paused. */
  #waiting: Buffer[] = [];
  /** The start of an incomplete frame, with its header. `#assembledBytes` of it are filled. */
  #assembly: Buffer | undefined;
  #assembledBytes = 0;
  /** The length of the first frame, if it is reserved. */
  #reservedBytes = 0;
  #waitsForRoom = false;
  #draining = false;
  #broken = false;
  #lastByteMs = 0;
  #timer: Timer | undefined;

  constructor(options: FrameDecoderOptions) {
    this.#maxFrameBytes = options.maxFrameBytes;
    this.#frameTimeoutMs = options.frameTimeoutMs;
  }

  /** Applies from the next frame on. A handshake raises it once the other side is authenticated. */
  set maxFrameBytes(limit: number) {
    this.#maxFrameBytes = limit;
  }

  read(context: HandlerContext<Frame, Bytes>, chunk: Buffer): void {
    if (this.#broken) return;
    this.#waiting.push(chunk);
    this.#drain(context);
  }

  failed(context: HandlerContext<Frame, Bytes>, error: Error): void {
    this.#stop();
    context.failed(error);
  }

  resumed(context: HandlerContext<Frame, Bytes>): void {
    this.#drain(context);
    if (!context.channel.isPaused) context.resumed();
  }

  inactive(context: HandlerContext<Frame, Bytes>, error: Error | undefined): void {
    this.#stop();
    context.inactive(error);
  }

  #drain(context: HandlerContext<Frame, Bytes>): void {
    if (this.#draining) return;
    this.#draining = true;
    try {
      while (!this.#broken && !context.channel.isPaused) {
        const chunk = this.#waiting.shift();
        if (!chunk) break;
        this.#consume(context, chunk);
      }
    } catch (error) {
      this.#stop();
      throw error;
    } finally {
      this.#draining = false;
    }
    this.#count(context);
    if (this.#assembly && !this.#broken) {
      this.#lastByteMs = context.channel.env.clock.nowMs();
      if (!this.#timer) this.#watch(context, this.#frameTimeoutMs);
    }
  }

  #consume(context: HandlerContext<Frame, Bytes>, chunk: Buffer): void {
    let at = this.#assembly ? this.#continueAssembly(context, chunk) : 0;
    while (!this.#broken && chunk.length - at >= FRAME_HEADER_BYTES) {
      if (context.channel.isPaused) {
        this.#waiting.unshift(chunk.subarray(at));
        return;
      }
      const frameBytes = FRAME_HEADER_BYTES + this.#checkedLength(chunk, at);
      if (!this.#hasRoom(context, frameBytes)) {
        this.#waiting.unshift(chunk.subarray(at));
        return;
      }
      const end = at + frameBytes;
      if (end > chunk.length) break;
      this.#reservedBytes = 0;
      const frame: Frame = {
        type: chunk.readUInt32BE(at),
        body: chunk.subarray(at + FRAME_HEADER_BYTES, end),
      };
      at = end;
      context.read(frame);
    }
    if (!this.#broken && at < chunk.length) {
      this.#assembly = Buffer.allocUnsafe(Math.max(SMALLEST_ASSEMBLY_BYTES, chunk.length - at));
      this.#assembledBytes = chunk.copy(this.#assembly, 0, at);
    }
  }

  /** Returns how many bytes of the chunk belong to the frame in assembly. */
  #continueAssembly(context: HandlerContext<Frame, Bytes>, chunk: Buffer): number {
    let at = this.#append(chunk, 0, FRAME_HEADER_BYTES);
    if (this.#assembledBytes < FRAME_HEADER_BYTES) return at;
    const assembly = this.#assembly;
    if (!assembly) return at;
    const frameBytes = FRAME_HEADER_BYTES + this.#checkedLength(assembly, 0);
    if (!this.#hasRoom(context, frameBytes)) {
      if (at < chunk.length) this.#waiting.unshift(chunk.subarray(at));
      return chunk.length;
    }
    at += this.#append(chunk, at, frameBytes);
    if (this.#assembledBytes < frameBytes) return at;
    const complete = this.#assembly ?? assembly;
    this.#reservedBytes = 0;
    this.#assembly = undefined;
    this.#assembledBytes = 0;
    const frame: Frame = {
      type: complete.readUInt32BE(0),
      body: complete.subarray(FRAME_HEADER_BYTES, frameBytes),
    };
    context.read(frame);
    return at;
  }

  /** Copies from the chunk until the assembly holds `untilBytes`. Returns the bytes copied. */
  #append(chunk: Buffer, from: number, untilBytes: number): number {
    const count = Math.min(untilBytes - this.#assembledBytes, chunk.length - from);
    if (count <= 0 || !this.#assembly) return 0;
    const wanted = this.#assembledBytes + count;
    if (wanted > this.#assembly.length) {
      const larger = Buffer.allocUnsafe(Math.max(wanted, Math.min(untilBytes, this.#assembly.length * 2)));
      this.#assembly.copy(larger, 0, 0, this.#assembledBytes);
      this.#assembly = larger;
    }
    chunk.copy(this.#assembly, this.#assembledBytes, from, from + count);
    this.#assembledBytes = wanted;
    return count;
  }

  /** Whether a frame may be read. If not, the channel is paused until it may. */
  #hasRoom(context: HandlerContext<Frame, Bytes>, frameBytes: number): boolean {
    const { channel } = context;
    const { buffers } = channel;
    if (!buffers || this.#reservedBytes > 0) return true;
    if (buffers.mayTake('incoming', frameBytes)) {
      this.#reservedBytes = frameBytes;
      return true;
    }
    const isReserved = buffers.reserve('incoming', frameBytes, () => {
      this.#reservedBytes = frameBytes;
      this.#waitsForRoom = false;
      this.#count(context);
      channel.resumeReading('budget');
    });
    if (isReserved) this.#reservedBytes = frameBytes;
    else {
      this.#waitsForRoom = true;
      channel.pauseReading('budget');
    }
    return isReserved;
  }

  /** Reports the bytes held here to the budget. */
  #count({ channel }: HandlerContext<Frame, Bytes>): void {
    const { buffers } = channel;
    if (!buffers) return;
    let bytes = Math.max(this.#assembly?.length ?? 0, this.#reservedBytes);
    for (const chunk of this.#waiting) bytes += chunk.length;
    buffers.hold('incoming', bytes);
    const goesOn = this.#assembly !== undefined && !this.#waitsForRoom && !channel.isPaused;
    buffers.received(
      this.#assembledBytes,
      goesOn ? Math.max(1, this.#reservedBytes - this.#assembledBytes) : 0,
    );
  }

  #checkedLength(bytes: Buffer, at: number): number {
    const length = bytes.readUInt32BE(at + 4);
    if (length <= this.#maxFrameBytes) return length;
    throw new RaftreeError(
      'FRAME_TOO_LARGE',
      `a frame of type ${bytes.readUInt32BE(at)} claims ${length} bytes; the limit maxFrameBytes is ${this.#maxFrameBytes}`,
      { info: { length, maxFrameBytes: this.#maxFrameBytes } },
    );
  }

  #watch(context: HandlerContext<Frame, Bytes>, delayMs: number): void {
    this.#timer = context.channel.env.timers.after(delayMs, () => {
      this.#timer = undefined;
      if (this.#broken || !this.#assembly) return;
      const { clock } = context.channel.env;
      // While we do not read, silence is not the other side's fault.
      if (context.channel.isPaused) this.#lastByteMs = clock.nowMs();
      const restMs = this.#lastByteMs + this.#frameTimeoutMs - clock.nowMs();
      if (restMs > 0) {
        this.#watch(context, restMs);
        return;
      }
      const assembledBytes = this.#assembledBytes;
      this.#stop();
      context.failed(
        new RaftreeError(
          'FRAME_TIMEOUT',
          `${assembledBytes} bytes of a frame, then silence for frameTimeoutMs (${this.#frameTimeoutMs} ms)`,
        ),
      );
    });
  }

  /** After an error or the end: later bytes are ignored. */
  #stop(): void {
    this.#broken = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#waiting = [];
    this.#assembly = undefined;
  }
}
