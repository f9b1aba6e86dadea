/** The native protocol's listener for clients: requests in, answers out, many at once on each connection. */
import type { Address, Env, Logger } from '../env/env.js';
import { errorCode, RaftreeError } from '../env/errors.js';
import type { KvService } from '../kv/service.js';
import type { Channel } from '../net/channel.js';
import { ChannelListener } from '../net/channel-listener.js';
import type { Handler, HandlerContext } from '../net/pipeline.js';
import type { Identity } from '../protocol/handshake.js';
import type { ReceivedMessage } from '../protocol/message-handlers.js';
import type { OutboundMessage } from '../protocol/messages.js';
import { protocolPipeline } from '../protocol/protocol-pipeline.js';

export interface ClientDoorOptions {
  readonly env: Env;
  readonly logger: Logger;
  readonly identity: Identity;
  readonly service: KvService;
  readonly status: (requestId: number) => OutboundMessage;
  readonly maxConnections: number;
  readonly maxFrameBytes: number;
}

/** A connection with more requests under way is not read until some are answered. */
const MAX_PENDING_PER_CONNECTION = 4096;

export function listenForClients(options: ClientDoorOptions, address: Address): Promise<ChannelListener> {
  const { env, logger, identity, maxConnections, maxFrameBytes } = options;
  return ChannelListener.listen(env, address, {
    maxConnections,
    initialise: (channel) =>
      protocolPipeline(channel, {
        limits: { maxFrameBytes },
        handshake: { side: 'accepting', identity, expectedRoles: ['client'] },
        handler: new RequestHandler(options, channel),
      }),
    closed: (channel, reason) => {
      if (reason)
        logger.warn(
          { remote: channel.remote, code: errorCode(reason) },
          `client connection closed: ${reason.message}`,
        );
    },
    refused: (remote) => logger.warn({ remote }, `connection refused: ${maxConnections} are open`),
  });
}

class RequestHandler implements Handler {
  readonly #options: ClientDoorOptions;
  readonly #channel: Channel;
  #pending = 0;

  constructor(options: ClientDoorOptions, channel: Channel) {
    this.#options = options;
    this.#channel = channel;
  }

  read(_context: HandlerContext, received: unknown): void {
    const request = received as ReceivedMessage;
    switch (request.type) {
      case 'write':
      case 'get':
      case 'scan':
      case 'openSession':
        if (++this.#pending >= MAX_PENDING_PER_CONNECTION) this.#channel.pauseReading();
        void this.#options.service.handle(request).then((answer) => {
          if (this.#pending-- === MAX_PENDING_PER_CONNECTION) this.#channel.resumeReading();
          this.#channel.write(answer);
        });
        return;
      case 'status':
        this.#channel.write(this.#options.status(request.requestId));
        return;
      default:
        throw new RaftreeError('MALFORMED_MESSAGE', `${request.type} is not a request of a client`);
    }
  }
}
