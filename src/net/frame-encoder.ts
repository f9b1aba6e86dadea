/** Encodes outbound frames: puts the header before the body's chunks, without copying them. */
import { RaftreeError } from '../env/errors.js';
import { FRAME_HEADER_BYTES, type Frame, MAX_U32, type OutboundFrame } from './frame.js';
import type { Bytes, Handler, HandlerContext } from './pipeline.js';

/** Throws `FRAME_TOO_LARGE` for a body above the limit. */
export function encodeFrame(frame: OutboundFrame, maxFrameBytes = MAX_U32): Uint8Array[] {
  let length = 0;
  for (const chunk of frame.body) length += chunk.length;
  if (length > maxFrameBytes) {
    throw new RaftreeError(
      'FRAME_TOO_LARGE',
      `a frame of type ${frame.type} would have ${length} bytes; the limit maxFrameBytes is ${maxFrameBytes}`,
      { info: { length, maxFrameBytes } },
    );
  }
  const header = Buffer.allocUnsafe(FRAME_HEADER_BYTES);
  header.writeUInt32BE(frame.type, 0);
  header.writeUInt32BE(length, 4);
  return [header, ...frame.body];
}

export class FrameEncoder implements Handler<Frame, OutboundFrame, Frame, Bytes> {
  readonly #maxFrameBytes: number;

  /** `maxFrameBytes`: what the other side accepts. */
  constructor(maxFrameBytes: number) {
    this.#maxFrameBytes = maxFrameBytes;
  }

  write(context: HandlerContext<Frame, Bytes>, frame: OutboundFrame): void {
    context.write(encodeFrame(frame, this.#maxFrameBytes));
  }
}
