/** The pipeline of the native protocol, the same for clients, peers and servers. */
import type { Channel } from '../net/channel.js';
import { FrameDecoder } from '../net/frame-decoder.js';
import { FrameEncoder } from '../net/frame-encoder.js';
import { ErrorReplies } from './error-replies.js';
import { HANDSHAKE_MESSAGES, Handshake, type HandshakeOptions } from './handshake.js';
import { MAX_REQUEST_FRAME_BYTES } from './limits.js';
import { MessageDecoder, MessageEncoder, type MessageHandler } from './message-handlers.js';

export interface ProtocolLimits {
  /** The longest body accepted after the handshake. */
  readonly maxFrameBytes: number;
  /** The longest body sent. */
  readonly maxSentFrameBytes: number;
  /** A frame that is incomplete and gets no bytes for so long ends the connection. */
  readonly frameTimeoutMs: number;
  /** How long the other side's hello and proof may take. */
  readonly helloTimeoutMs: number;
}

export const DEFAULT_PROTOCOL_LIMITS: ProtocolLimits = {
  maxFrameBytes: 16 * 1024 * 1024,
  maxSentFrameBytes: MAX_REQUEST_FRAME_BYTES,
  frameTimeoutMs: 30_000,
  helloTimeoutMs: 5_000,
};

/** The longest body accepted before the handshake is done. */
export const HELLO_FRAME_BYTES = 4096;

export interface ProtocolPipelineOptions {
  readonly limits?: Partial<ProtocolLimits>;
  readonly handshake: Omit<HandshakeOptions, 'helloTimeoutMs'>;
  /** Handlers between the handshake and `handler`. */
  readonly between?: readonly MessageHandler[];
  /** Becomes active after the handshake. It receives `ReceivedMessage`s and writes `OutboundMessage`s. */
  readonly handler: MessageHandler;
}

/** Adds the handlers to a new channel. For `ConnectOptions.initialise` and `ListenOptions.initialise`. */
export function protocolPipeline(channel: Channel, options: ProtocolPipelineOptions): void {
  const limits = { ...DEFAULT_PROTOCOL_LIMITS, ...options.limits };
  const frameDecoder = new FrameDecoder({
    maxFrameBytes: HELLO_FRAME_BYTES,
    frameTimeoutMs: limits.frameTimeoutMs,
  });
  const messageDecoder = new MessageDecoder(HANDSHAKE_MESSAGES);
  const handshake = new Handshake({
    ...options.handshake,
    helloTimeoutMs: limits.helloTimeoutMs,
    greeted(hello, greetedChannel, isProven) {
      frameDecoder.maxFrameBytes = limits.maxFrameBytes;
      messageDecoder.open();
      options.handshake.greeted?.(hello, greetedChannel, isProven);
    },
  });
  let end = channel.pipeline
    .add(frameDecoder)
    .add(new FrameEncoder(limits.maxSentFrameBytes))
    .add(messageDecoder)
    .add(new MessageEncoder())
    .add(handshake);
  for (const between of options.between ?? []) end = end.add(between);
  end = end.add(options.handler);
  if (options.handshake.side === 'accepting') end.add(new ErrorReplies());
}
