/** The pipeline's handlers between frames and messages. */
import { RaftreeError } from '../env/errors.js';
import type { Frame } from '../net/frame.js';
import type { Handler, HandlerContext } from '../net/pipeline.js';
import { decodeMessage, encodeMessage } from './codec.js';
import { MESSAGES, type Message, type MessageName, type OutboundMessage } from './messages.js';

/** A message, and the size of the body of its frame. */
export type ReceivedMessage = Message & { readonly frameBytes: number };

/**
 * Frames in, `ReceivedMessage`s out. Before it is opened it reads the bodies of the given messages alone.
 * Fails with `UNKNOWN_MESSAGE`, `MALFORMED_MESSAGE` and `HELLO_EXPECTED`.
 */
export class MessageDecoder implements Handler {
  /** Numbers of messages that are not read yet. */
  #early: ReadonlySet<number>;

  constructor(atFirst: ReadonlySet<MessageName>) {
    const names = Object.keys(MESSAGES) as MessageName[];
    this.#early = new Set(names.filter((name) => !atFirst.has(name)).map((name) => MESSAGES[name].number));
  }

  open(): void {
    this.#early = new Set();
  }

  read(context: HandlerContext, message: unknown): void {
    const frame = message as Frame;
    if (this.#early.has(frame.type))
      throw new RaftreeError('HELLO_EXPECTED', `a frame of type ${frame.type} before the handshake is done`);
    context.read(Object.assign(decodeMessage(frame), { frameBytes: frame.body.length }));
  }
}

/** `OutboundMessage`s to frames. Throws `UNENCODABLE` to whoever writes. */
export class MessageEncoder implements Handler {
  write(context: HandlerContext, message: unknown): void {
    context.write(encodeMessage(message as OutboundMessage));
  }
}
