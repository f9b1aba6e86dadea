/** The native protocol's listener for clients: requests in, answers out, many at once on each connection. */
import type { Address, Env, Logger } from '../env/env.js';
import { errorCode, RaftreeError } from '../env/errors.js';
import type { KvService } from '../kv/service.js';
import { type Answer, AnswerGate } from '../net/answer-gate.js';
import type { BufferBudget } from '../net/buffer-budget.js';
import type { Channel } from '../net/channel.js';
import { ChannelListener, type Refusal } from '../net/channel-listener.js';
import { IdleTimeout } from '../net/idle-timeout.js';
import type { Handler, HandlerContext } from '../net/pipeline.js';
import { Tally } from '../net/tally.js';
import { Turns } from '../net/turns.js';
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
  readonly budget: BufferBudget;
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  readonly idleTimeoutMs: number;
  readonly maxFrameBytes: number;
}

/** Unsent output of one connection; the budget of the node is what counts, and answers are made one at a time. */
const MIN_BUFFERED_BYTES = 64 * 1024 * 1024;

/** Above maxConnections, for whoever looks after the node on its own machine. */
const RESERVED_FOR_LOOPBACK = 16;

/** A connection with more requests under way is not read until some are answered. */
const MAX_PENDING_PER_CONNECTION = 4096;
/** What a request takes besides its bytes. */
const REQUEST_OVERHEAD_BYTES = 1024;
/** Answers to reads that are made in one turn of the event loop. */
const MAX_ANSWER_BYTES_PER_TURN = 256 * 1024;

export function listenForClients(options: ClientDoorOptions, address: Address): Promise<ChannelListener> {
  const { env, logger, identity, maxConnections, maxConnectionsPerAddress, maxFrameBytes } = options;
  const turns = new Turns(env.timers, MAX_ANSWER_BYTES_PER_TURN);
  const closings = new Tally<{ remote: string; message: string }>(
    env.timers,
    (code, { remote, message }, more) =>
      logger.warn({ remote, code, ...(more > 0 ? { more } : {}) }, `client connection closed: ${message}`),
  );
  const refusals = new Tally<string>(env.timers, (limit, remote, more) =>
    logger.warn(
      { remote, ...(more > 0 ? { more } : {}) },
      `connection refused: ${limit} (${options[limit as Refusal]}) are open`,
    ),
  );
  return ChannelListener.listen(env, address, {
    maxConnections,
    maxConnectionsPerAddress,
    reservedForLoopback: RESERVED_FOR_LOOPBACK,
    budget: { of: options.budget, kind: 'client' },
    channel: { maxBufferedBytes: Math.max(MIN_BUFFERED_BYTES, 2 * maxFrameBytes) },
    initialise: (channel) =>
      protocolPipeline(channel, {
        limits: { maxFrameBytes },
        handshake: { side: 'accepting', identity, expectedRoles: ['client'] },
        between: [new IdleTimeout(options.idleTimeoutMs), new LinkWatch()],
        handler: new RequestHandler(options, channel, turns),
      }),
    closed: (channel, reason) => {
      if (reason)
        closings.add(errorCode(reason) ?? 'ERROR', { remote: channel.remote, message: reason.message });
    },
    refused: (remote, limit) => refusals.add(limit, remote),
  });
}

class RequestHandler implements Handler {
  readonly #options: ClientDoorOptions;
  readonly #channel: Channel;
  /** Small requests with large answers must not fill the output beyond its limit. */
  readonly #gate: AnswerGate;
  #pending = 0;

  constructor(options: ClientDoorOptions, channel: Channel, turns: Turns) {
    this.#options = options;
    this.#channel = channel;
    this.#gate = new AnswerGate(channel, turns);
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
        this.#begin(request);
        void kv.handle(request).then((answer) => {
          this.#channel.write(answer);
          this.#end(request);
        });
        return;
      case 'get':
      case 'scan':
        this.#begin(request);
        void kv.prepareRead(request).then((answer) => {
          this.#gate.run(
            () => sized(answer()),
            () => this.#end(request),
          );
        });
        return;
      case 'changeMembers':
      case 'transferLeader':
        this.#begin(request);
        void admin.handle(request).then((answer) => {
          this.#channel.write(answer);
          this.#end(request);
        });
        return;
      default:
        throw new RaftreeError('MALFORMED_MESSAGE', `${request.type} is not a request of a client`);
    }
  }

  #begin({ frameBody }: ReceivedMessage): void {
    this.#pending++;
    this.#channel.buffers?.add('requests', REQUEST_OVERHEAD_BYTES + frameBody.length);
    if (!this.#takesMore()) this.#channel.pauseReading();
  }

  #end({ frameBody }: ReceivedMessage): void {
    this.#pending--;
    this.#channel.buffers?.add('requests', -REQUEST_OVERHEAD_BYTES - frameBody.length);
    if (this.#pending === 0 || this.#takesMore()) this.#channel.resumeReading();
  }

  #takesMore(): boolean {
    return this.#pending < MAX_PENDING_PER_CONNECTION && (this.#channel.buffers?.isWithinShare ?? true);
  }
}

function sized(message: OutboundMessage): Answer {
  let sizeBytes = 0;
  if (message.type === 'getReply') sizeBytes = message.value.length;
  else if (message.type === 'scanReply')
    for (const { key, value } of message.entries) sizeBytes += key.length + value.length;
  return { message, sizeBytes };
}
