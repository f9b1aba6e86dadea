/** The native protocol's listener for clients: requests in, answers out, many at once on each connection. */
import type { Address, Env, Logger } from '../../env/env.js';
import { errorCode, RaftreeError } from '../../env/errors.js';
import type { KvService } from '../../kv/service.js';
import { type Answer, AnswerGate } from '../../net/answer-gate.js';
import type { BufferBudget } from '../../net/buffer-budget.js';
import type { Channel } from '../../net/channel.js';
import { ChannelListener, type Refusal } from '../../net/channel-listener.js';
import { hostOf, isLoopback } from '../../net/hosts.js';
import { IdleTimeout } from '../../net/idle-timeout.js';
import type { Handler, HandlerContext } from '../../net/pipeline.js';
import { Tally } from '../../net/tally.js';
import { Turns } from '../../net/turns.js';
import { errorReply } from '../../protocol/error-codes.js';
import type { ClusterSecrets, Hello, Identity } from '../../protocol/handshake.js';
import { MAX_ANSWER_BYTES, type RequestLimits, requestFrameBytes } from '../../protocol/limits.js';
import { LinkWatch } from '../../protocol/link-watch.js';
import type { ReceivedMessage } from '../../protocol/message-handlers.js';
import type { MessageOf, OutboundMessage, OutboundOf } from '../../protocol/messages.js';
import { protocolPipeline } from '../../protocol/protocol-pipeline.js';

/** Who belongs to the cluster, and who leads it. */
export interface Administration {
  /** Never rejects. */
  handle(request: MessageOf<'changeMembers'> | MessageOf<'transferLeader'>): Promise<OutboundMessage>;
}

export interface ClientDoorOptions {
  readonly env: Env;
  readonly logger: Logger;
  readonly identity: Identity;
  readonly security: ClusterSecrets;
  /** Without a secret everybody may administrate, not only who connects from this machine. */
  readonly insecure: boolean;
  /** Undefined before the birth of the cluster. */
  readonly service: () => { readonly kv: KvService; readonly admin: Administration } | undefined;
  readonly status: (requestId: number) => OutboundOf<'statusReply'>;
  readonly budget: BufferBudget;
  /** Says that this node was removed from its cluster, if it was: it answers no more than stale reads. */
  readonly removed: () => string | undefined;
  readonly maxConnections: number;
  /** Above maxConnections, for whoever looks after the node on its own machine. */
  readonly reservedForLoopback: number;
  readonly maxConnectionsPerAddress: number;
  readonly idleTimeoutMs: number;
  readonly limits: RequestLimits;
}

/** Unsent output of one connection; the budget of the node is what counts, and answers are made one at a time. */
const MIN_BUFFERED_BYTES = 2 * MAX_ANSWER_BYTES;

/** A connection with more requests under way is not read until some are answered. */
export const MAX_PENDING_PER_CONNECTION = 4096;
/** What a request takes besides its bytes. */
const REQUEST_OVERHEAD_BYTES = 1024;
/** Answers to reads that are made in one turn of the event loop. */
const MAX_ANSWER_BYTES_PER_TURN = 128 * 1024;

export function listenForClients(options: ClientDoorOptions, address: Address): Promise<ChannelListener> {
  const { env, logger, identity, security, maxConnections, maxConnectionsPerAddress } = options;
  const maxFrameBytes = requestFrameBytes(options.limits);
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
    reservedForLoopback: options.reservedForLoopback,
    budget: { of: options.budget, kind: 'client' },
    channel: { maxBufferedBytes: Math.max(MIN_BUFFERED_BYTES, 2 * maxFrameBytes) },
    initialise: (channel) => {
      const handler = new RequestHandler(options, channel, turns);
      protocolPipeline(channel, {
        limits: { maxFrameBytes, maxSentFrameBytes: MAX_ANSWER_BYTES },
        handshake: {
          side: 'accepting',
          identity,
          // A cluster is confirmed to who names it, and not named to others.
          answer: ({ clusterId }) => ({ ...identity, clusterId, storeId: '' }),
          expectedRoles: ['client', 'administrator'],
          security,
          greeted: (hello, _channel, isProven) => handler.greeted(hello, isProven),
        },
        between: [new IdleTimeout(options.idleTimeoutMs), new LinkWatch()],
        handler,
      });
    },
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
  readonly #turns: Turns;
  #pending = 0;
  /** Of `requests` in the budget: reads. */
  #readBytes = 0;
  /** May change members and leaders, and be told what only operators need. */
  #mayAdministrate = false;
  #namedCluster = '';

  constructor(options: ClientDoorOptions, channel: Channel, turns: Turns) {
    this.#options = options;
    this.#channel = channel;
    this.#turns = turns;
    this.#gate = new AnswerGate(channel, turns);
  }

  greeted({ clusterId }: Hello, isProven: boolean): void {
    const { security, insecure } = this.#options;
    const isOpen = security.secrets.length === 0 && (insecure || isLoopback(hostOf(this.#channel.remote)));
    this.#mayAdministrate = isProven || isOpen;
    this.#namedCluster = clusterId;
  }

  active(): void {
    const { maxKeyBytes, maxValueBytes, maxRequestBytes, maxOperationsPerRequest } = this.#options.limits;
    this.#channel.write({
      type: 'limits',
      maxKeyBytes,
      maxValueBytes,
      maxRequestBytes,
      maxOperationsPerRequest,
      maxAnswerBytes: MAX_ANSWER_BYTES,
    });
  }

  writabilityChanged(): void {
    this.#gate.writable();
  }

  /** Reads that nobody waits for are not answered; writes go on, and count until they are done. */
  inactive(): void {
    this.#channel.buffers?.add('requests', -this.#readBytes);
    this.#readBytes = 0;
  }

  read(_context: HandlerContext, received: unknown): void {
    const request = received as ReceivedMessage;
    if (request.type === 'status') {
      this.#channel.write(this.#shown(this.#options.status(request.requestId)));
      return;
    }
    if (isAdministration(request) && !this.#mayAdministrate) {
      this.#channel.write(errorReply(request.requestId, 'NOT_PERMITTED', this.#howToBePermitted()));
      return;
    }
    const isStaleRead = 'consistency' in request && request.consistency === 'stale';
    const removed = isStaleRead ? undefined : this.#options.removed();
    if (removed !== undefined && 'requestId' in request) {
      this.#channel.write(errorReply(request.requestId, 'NODE_REMOVED', removed));
      return;
    }
    const service = this.#options.service();
    if (!service && 'requestId' in request) {
      const reason = 'this cluster has not begun: not all of its first members have met yet';
      this.#channel.write(errorReply(request.requestId, 'NO_LEADER', reason));
    } else if (service) this.#handle(request, service.kv, service.admin);
  }

  #handle(request: ReceivedMessage, kv: KvService, admin: Administration): void {
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
            () => sized(answer(1 / (1 + this.#turns.waiting))),
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

  /** Where the nodes reach each other, and what the cluster is called, is no business of any client. */
  #shown(status: OutboundOf<'statusReply'>): OutboundMessage {
    if (this.#mayAdministrate) return status;
    const peers = status.peers.map((peer) => ({ ...peer, peerAddress: '' }));
    return { ...status, clusterId: this.#namedCluster, peerAddress: '', peers };
  }

  #howToBePermitted(): string {
    return this.#options.security.secrets.length > 0
      ? 'members and leaders are changed by who proves the cluster secret: give it with --secret-file, ' +
          'RAFTREE_CLUSTER_SECRET_FILE, or the client option clusterSecret'
      : 'this cluster has no secret, so members and leaders are changed from the machine of a node alone, by 127.0.0.1; ' +
          'or set security.clusterSecret in every node.json';
  }

  #begin({ type, frameBody }: ReceivedMessage): void {
    this.#pending++;
    const bytes = REQUEST_OVERHEAD_BYTES + frameBody.length;
    if (type === 'get' || type === 'scan') this.#readBytes += bytes;
    this.#channel.buffers?.add('requests', bytes);
    if (!this.#takesMore()) this.#channel.pauseReading();
  }

  #end({ type, frameBody }: ReceivedMessage): void {
    this.#pending--;
    const bytes = REQUEST_OVERHEAD_BYTES + frameBody.length;
    if (type === 'get' || type === 'scan') this.#readBytes -= bytes;
    this.#channel.buffers?.add('requests', -bytes);
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

function isAdministration(
  request: ReceivedMessage,
): request is Extract<ReceivedMessage, { type: 'changeMembers' | 'transferLeader' }> {
  return request.type === 'changeMembers' || request.type === 'transferLeader';
}
