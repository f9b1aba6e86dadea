/** The native protocol's listener for clients: requests in, answers out, many at once on each connection. */
import type { Address, Env, Logger } from '../env/env.js';
import { errorCode, RaftreeError } from '../env/errors.js';
import type { KvService } from '../kv/service.js';
import { AnswerGate } from '../net/answer-gate.js';
import type { Channel } from '../net/channel.js';
import { ChannelListener } from '../net/channel-listener.js';
import type { Handler, HandlerContext } from '../net/pipeline.js';
import { errorReply } from '../protocol/error-codes.js';
import type { Identity } from '../protocol/handshake.js';
import { LinkWatch } from '../protocol/link-watch.js';
import type { ReceivedMessage } from '../protocol/message-handlers.js';
import type { OutboundMessage } from '../protocol/messages.js';
import { protocolPipeline } from '../protocol/protocol-pipeline.js';
import type { Admin } from './admin.js';

export interface ClientDoorOptions {
  readonly env: Env;
  readonly logger: Logger;
  readonly identity: Identity;
  /** Undefined before the birth of the cluster. */
  readonly service: () => { readonly kv: KvService; readonly admin: Admin } | undefined;
  readonly status: (requestId: number) => OutboundMessage;
  readonly maxConnections: number;
  readonly maxFrameBytes: number;
  /** The largest answer to a read. */
  readonly maxAnswerBytes: number;
}

/** Answers to reads that may wait in one connection's output. */
const ANSWER_BUDGET_BYTES = 48 * 1024 * 1024;
const MIN_BUFFERED_BYTES = 64 * 1024 * 1024;

/** A connection with more requests under way is not read until some are answered. */
const MAX_PENDING_PER_CONNECTION = 4096;

export function listenForClients(options: ClientDoorOptions, address: Address): Promise<ChannelListener> {
  const { env, logger, identity, maxConnections, maxFrameBytes } = options;
  return ChannelListener.listen(env, address, {
    maxConnections,
    channel: { maxBufferedBytes: Math.max(MIN_BUFFERED_BYTES, 2 * maxFrameBytes) },
    initialise: (channel) =>
      protocolPipeline(channel, {
        limits: { maxFrameBytes },
        handshake: { side: 'accepting', identity, expectedRoles: ['client'] },
        between: [new LinkWatch()],
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
  /** Small requests with large answers must not fill the output beyond its limit. */
  readonly #gate: AnswerGate;
  #pending = 0;

  constructor(options: ClientDoorOptions, channel: Channel) {
    this.#options = options;
    this.#channel = channel;
    const { maxAnswerBytes } = options;
    this.#gate = new AnswerGate(channel, {
      maxAnswerBytes,
      budgetBytes: Math.max(ANSWER_BUDGET_BYTES, maxAnswerBytes),
    });
  }

  writabilityChanged(): void {
    this.#gate.writable();
  }

  read(_context: HandlerContext, received: unknown): void {
    const request = received as ReceivedMessage;
    if (request.type === 'status') {
      this.#channel.write(this.#options.status(request.requestId));
      return;
    }
    const service = this.#options.service();
    if (!service && 'requestId' in request) {
      const reason = 'this cluster has not begun: not all of its first members have met yet';
      this.#channel.write(errorReply(request.requestId, 'NO_LEADER', reason));
    } else if (service) this.#handle(request, service.kv, service.admin);
  }

  #handle(request: ReceivedMessage, kv: KvService, admin: Admin): void {
    switch (request.type) {
      case 'write':
      case 'openSession':
        this.#begin();
        void kv.handle(request).then((answer) => {
          this.#end();
          this.#channel.write(answer);
        });
        return;
      case 'get':
      case 'scan':
        this.#begin();
        void kv.prepareRead(request).then((answer) => {
          this.#gate.run(async () => {
            this.#end();
            return answer();
          });
        });
        return;
      case 'changeMembers':
      case 'transferLeader':
        this.#begin();
        void admin.handle(request).then((answer) => {
          this.#end();
          this.#channel.write(answer);
        });
        return;
      default:
        throw new RaftreeError('MALFORMED_MESSAGE', `${request.type} is not a request of a client`);
    }
  }

  #begin(): void {
    if (++this.#pending >= MAX_PENDING_PER_CONNECTION) this.#channel.pauseReading();
  }

  #end(): void {
    if (this.#pending-- === MAX_PENDING_PER_CONNECTION) this.#channel.resumeReading();
  }
}
