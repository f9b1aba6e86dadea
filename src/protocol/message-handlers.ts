/** The pipeline's handlers between frames and messages. */
import { RaftreeError } from '../env/errors.js';
import type { Frame, OutboundFrame } from '../net/frame.js';
import type { Handler, HandlerContext } from '../net/pipeline.js';
import { decodeMessage, encodeMessageWithRoom } from './codec.js';
import { MESSAGES, type Message, type MessageName, type OutboundMessage } from './messages.js';

/** A message, and the size of the body of its frame. */
export type ReceivedMessage = Message & { readonly frameBytes: number };

/** Throws `UNKNOWN_MESSAGE` or `MALFORMED_MESSAGE`. */
export function receivedMessage(frame: Frame): ReceivedMessage {
  const message = decodeMessage(frame) as { frameBytes?: number };
  message.frameBytes = frame.body.length;
  return message as ReceivedMessage;
}

/** Behind the decoder and the encoder: messages in, messages out. */
export type MessageHandler = Handler<ReceivedMessage, OutboundMessage>;
export type MessageContext = HandlerContext<ReceivedMessage, OutboundMessage>;

/**
 * Decodes frames to `ReceivedMessage`s. Before `open` it decodes only the given messages.
 * Fails with `UNKNOWN_MESSAGE`, `MALFORMED_MESSAGE` and `HELLO_EXPECTED`.
 */
export class MessageDecoder implements Handler<Frame, OutboundFrame, ReceivedMessage> {
  /** Numbers of messages that are not decoded yet. */
  #early: ReadonlySet<number>;

  constructor(atFirst: ReadonlySet<MessageName>) {
    const names = Object.keys(MESSAGES) as MessageName[];
    this.#early = new Set(names.filter((name) => !atFirst.has(name)).map((name) => MESSAGES[name].number));
  }

  open(): void {
    this.#early = new Set();
  }

  read(context: HandlerContext<ReceivedMessage, OutboundFrame>, frame: Frame): void {
    if (this.#early.has(frame.type))
      throw new RaftreeError('HELLO_EXPECTED', `a frame of type ${frame.type} before the handshake is done`);
    context.read(receivedMessage(frame));
  }
}

/** Encodes `OutboundMessage`s as frames. `write` throws `UNENCODABLE`. */
export class MessageEncoder
  implements Handler<ReceivedMessage, OutboundMessage, ReceivedMessage, OutboundFrame>
{
  write(context: HandlerContext<ReceivedMessage, OutboundFrame>, message: OutboundMessage): void {
    context.write(encodeMessageWithRoom(message));
  }
}
