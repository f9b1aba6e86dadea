/** The pipeline's handlers between frames and messages. */
import type { Frame } from '../net/frame.js';
import type { Handler, HandlerContext } from '../net/pipeline.js';
import { decodeMessage, encodeMessage } from './codec.js';
import type { Message, OutboundMessage } from './messages.js';

/** A message with the body of the frame that it came in: for `commandBytes`. */
export type ReceivedMessage = Message & { readonly frameBody: Buffer };

/** Frames in, `ReceivedMessage`s out. Fails with `UNKNOWN_MESSAGE` and `MALFORMED_MESSAGE`. */
export class MessageDecoder implements Handler {
  read(context: HandlerContext, message: unknown): void {
    const frame = message as Frame;
    context.read(Object.assign(decodeMessage(frame), { frameBody: frame.body }));
  }
}

/** `OutboundMessage`s to frames. Throws `UNENCODABLE` to whoever writes. */
export class MessageEncoder implements Handler {
  write(context: HandlerContext, message: unknown): void {
    context.write(encodeMessage(message as OutboundMessage));
  }
}
