/** Encodes outbound frames: the header comes before the body's chunks, which are not copied. */
import { RaftreeError } from '../env/errors.js';
import { FRAME_HEADER_BYTES, type Frame, MAX_U32, type OutboundFrame } from './frame.js';
import type { Bytes, Handler, HandlerContext } from './pipeline.js';

/** Throws `FRAME_TOO_LARGE` for a body above the limit. */
export function encodeFrame(frame: OutboundFrame, maxFrameBytes = MAX_U32): readonly Uint8Array[] {
  let length = frame.hasRoomForHeader ? -FRAME_HEADER_BYTES : 0;
  for (const chunk of frame.body) length += chunk.length;
  if (length > maxFrameBytes) {
    throw new RaftreeError(
      'FRAME_TOO_LARGE',
      `a frame of type ${frame.type} would have ${length} bytes; the limit maxFrameBytes is ${maxFrameBytes}`,
      { info: { length, maxFrameBytes } },
    );
  }
  if (frame.hasRoomForHeader) {
    const [first] = frame.body;
    if (first) writeHeader(first, frame.type, length);
    return frame.body;
  }
  const header = Buffer.allocUnsafe(FRAME_HEADER_BYTES);
  writeHeader(header, frame.type, length);
  return [header, ...frame.body];
}

function writeHeader(target: Uint8Array, type: number, length: number): void {
  for (let at = 0; at < 4; at++) {
    target[at] = type >>> (24 - 8 * at);
    target[at + 4] = length >>> (24 - 8 * at);
  }
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
