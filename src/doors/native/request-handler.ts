/** The last handler of a client's connection: messages become requests to kv/, and results become messages. */
import { RaftreeError } from '../../env/errors.js';
import { kvError } from '../../kv/kv-error.js';
import type { RequestLimits } from '../../kv/limits.js';
import type { Caller } from '../../kv/requests.js';
import type { KvService } from '../../kv/service.js';
import { type Answer, AnswerGate } from '../../net/answer-gate.js';
import type { Channel } from '../../net/channel.js';
import { hostOf, isLoopback } from '../../net/hosts.js';
import type { Turns } from '../../net/turns.js';
import { errorReply } from '../../protocol/error-codes.js';
import type { ClusterSecrets, Hello } from '../../protocol/handshake.js';
import { MAX_ANSWER_BYTES } from '../../protocol/limits.js';
import type { MessageContext, MessageHandler, ReceivedMessage } from '../../protocol/message-handlers.js';
import type { MessageOf, OutboundMessage, OutboundOf } from '../../protocol/messages.js';
import type { Administration, AdministrationRequest, NodeFigures } from '../ports.js';
import { loadReply } from './load.js';
import { type Reply, type Result, readOf, replyTo, writeOf } from './translation.js';
import { WatchStreams } from './watch-streams.js';

/** What a connection needs of the node behind it. */
export interface RequestHandlerParts {
  readonly security: ClusterSecrets;
  /** Without a secret every client may administrate, not only one that connects from this machine. */
  readonly insecure: boolean;
  /** Undefined before the birth of the cluster. */
  readonly service: () => { readonly kv: KvService; readonly admin: Administration } | undefined;
  /** Undefined: there is no such tablet. */
  readonly status: (requestId: number, tablet: number) => OutboundOf<'statusReply'> | undefined;
  /** Undefined before the birth of the cluster. */
  readonly tablets: (request: MessageOf<'tablets'>) => OutboundOf<'tabletsReply'> | undefined;
  readonly figures: () => NodeFigures;
  /** If this node was removed from its cluster: the message that says so. It then answers only stale reads. */
  readonly removed: () => string | undefined;
  readonly limits: RequestLimits;
}

/** A connection with more requests under way is not read until some are answered. */
export const MAX_PENDING_PER_CONNECTION = 4096;
/** Memory that a request takes besides its bytes. */
const REQUEST_OVERHEAD_BYTES = 1024;

export class RequestHandler implements MessageHandler {
  readonly #parts: RequestHandlerParts;
  readonly #channel: Channel<OutboundMessage>;
  /** Keeps the unsent answers within the limit of the channel. */
  readonly #gate: AnswerGate<OutboundMessage>;
  readonly #turns: Turns;
  readonly #watches: WatchStreams;
  #pending = 0;
  /** The part of the budget's `requests` that belongs to reads. */
  #readBytes = 0;
  #caller: Caller = callerWho(false);
  #namedCluster = '';

  constructor(parts: RequestHandlerParts, channel: Channel<OutboundMessage>, turns: Turns) {
    this.#parts = parts;
    this.#channel = channel;
    this.#turns = turns;
    this.#gate = new AnswerGate(channel, turns);
    this.#watches = new WatchStreams(this.#gate, (message) => channel.write(message));
  }

  greeted({ clusterId }: Hello, isProven: boolean): void {
    const { security, insecure } = this.#parts;
    const isOpen = security.secrets.length === 0 && (insecure || isLoopback(hostOf(this.#channel.remote)));
    this.#caller = callerWho(isProven || isOpen);
    this.#namedCluster = clusterId;
  }

  active(): void {
    const { maxKeyBytes, maxValueBytes, maxRequestBytes, maxOperationsPerRequest } = this.#parts.limits;
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

  /** Reads under way get no answer any more. Writes go on, and count until they are done. */
  inactive(): void {
    this.#channel.buffers?.add('requests', -this.#readBytes);
    this.#readBytes = 0;
    this.#watches.close();
  }

  read(_context: MessageContext, request: ReceivedMessage): void {
    if (request.type === 'status') {
      this.#channel.write(this.#statusOf(request));
      return;
    }
    if (request.type === 'watchCredit') {
      this.#watches.credit(request);
      return;
    }
    if (request.type === 'watchCancel') {
      this.#watches.cancel(request.watchId);
      return;
    }
    if (request.type === 'load') {
      this.#channel.write(loadReply(this.#parts.service()?.kv, this.#parts.figures(), request.requestId));
      return;
    }
    if (isAdministration(request) && !this.#caller.rights.administrate) {
      this.#channel.write(errorReply(request.requestId, 'NOT_PERMITTED', this.#howToBePermitted()));
      return;
    }
    const isStaleRead = 'consistency' in request && request.consistency === 'stale';
    const removed = isStaleRead ? undefined : this.#parts.removed();
    if (removed !== undefined && 'requestId' in request) {
      this.#channel.write(errorReply(request.requestId, 'NODE_REMOVED', removed));
      return;
    }
    const service = this.#parts.service();
    if (!service && 'requestId' in request) {
      const reason = 'this cluster has not begun: not all of its first members have met yet';
      this.#channel.write(errorReply(request.requestId, 'NO_LEADER', reason));
    } else if (request.type === 'tablets') {
      const reply = this.#parts.tablets(request);
      if (reply) this.#channel.write(reply);
    } else if (service) this.#handle(request, service.kv, service.admin);
  }

  #statusOf({ requestId, tablet }: MessageOf<'status'>): OutboundMessage {
    const status = this.#parts.status(requestId, tablet);
    return status
      ? this.#shown(status)
      : errorReply(requestId, 'WRONG_TABLET', `tablet ${tablet} is not here`);
  }

  #handle(request: ReceivedMessage, kv: KvService, admin: Administration): void {
    switch (request.type) {
      case 'write':
        this.#replyLater(request, kv.write(this.#caller, writeOf(request)));
        return;
      case 'openSession':
        this.#replyLater(request, kv.openSession(this.#caller, request));
        return;
      case 'get':
      case 'scan':
        this.#begin(request);
        void kv.prepareRead(this.#caller, readOf(request)).then((read) => {
          this.#gate.run(
            () => sized(replyTo(request.requestId, read(1 / (1 + this.#turns.waiting)))),
            () => this.#end(request),
          );
        });
        return;
      case 'watch': {
        const result = this.#watches.open(kv, this.#caller, request);
        this.#channel.write(replyTo(request.requestId, result));
        if (result.type === 'watching') this.#watches.begin(request.watchId);
        return;
      }
      case 'watchSync':
        this.#replyLater(request, this.#synced(kv, request.watchId));
        return;
      case 'changeMembers':
      case 'transferLeader':
      case 'moveReplica':
      case 'mergeTablets':
      case 'drainNode':
        this.#replyLater(request, admin.handle(request));
        return;
      case 'balance':
        this.#replyLater(request, admin.balance(request));
        return;
      case 'splitTablet':
        this.#replyLater(request, admin.split(request));
        return;
      default:
        throw new RaftreeError('MALFORMED_MESSAGE', `${request.type} is not a request of a client`);
    }
  }

  async #synced(kv: KvService, watchId: number): Promise<Result> {
    const tablet = this.#watches.tabletOf(watchId);
    const committed = tablet === undefined ? undefined : await kv.committedVersion(this.#caller, tablet);
    if (committed?.type === 'error') return committed;
    const throughVersion = this.#watches.throughOf(watchId);
    if (!committed || throughVersion === undefined)
      return kvError('INVALID_REQUEST', `watch ${watchId} is not under way`);
    return { type: 'watchSynced', throughVersion, committedVersion: committed.version };
  }

  #replyLater(request: ReceivedRequest, result: Promise<Result>): void {
    this.#begin(request);
    void result.then((known) => {
      this.#channel.write(replyTo(request.requestId, known));
      this.#end(request);
    });
  }

  /**
   * Only an operator is told where the nodes reach each other, what the cluster is called, and which files are damaged.
   */
  #shown(status: OutboundOf<'statusReply'>): OutboundMessage {
    if (this.#caller.rights.administrate) return status;
    const peers = status.peers.map((peer) => ({ ...peer, peerAddress: '' }));
    const failedGroups = status.failedGroups.map((failed) => ({ ...failed, message: '' }));
    return { ...status, clusterId: this.#namedCluster, peerAddress: '', peers, failedGroups };
  }

  #howToBePermitted(): string {
    return this.#parts.security.secrets.length > 0
      ? 'to change members and leaders, prove the cluster secret: give it with --secret-file, ' +
          'RAFTREE_CLUSTER_SECRET_FILE, or the client option clusterSecret'
      : 'this cluster has no secret: members and leaders can be changed only from the machine of a node, by 127.0.0.1; ' +
          'or set security.clusterSecret in every node.json';
  }

  #begin({ type, frameBytes }: ReceivedMessage): void {
    this.#pending++;
    const bytes = REQUEST_OVERHEAD_BYTES + frameBytes;
    if (type === 'get' || type === 'scan') this.#readBytes += bytes;
    this.#channel.buffers?.add('requests', bytes);
    if (!this.#takesMore()) this.#channel.pauseReading();
  }

  #end({ type, frameBytes }: ReceivedMessage): void {
    this.#pending--;
    const bytes = REQUEST_OVERHEAD_BYTES + frameBytes;
    if (type === 'get' || type === 'scan') this.#readBytes -= bytes;
    this.#channel.buffers?.add('requests', -bytes);
    if (this.#pending === 0 || this.#takesMore()) this.#channel.resumeReading();
  }

  #takesMore(): boolean {
    return this.#pending < MAX_PENDING_PER_CONNECTION && (this.#channel.buffers?.isWithinShare ?? true);
  }
}

/** The native protocol has no users: every client may read and write. */
function callerWho(mayAdministrate: boolean): Caller {
  return { door: 'native', rights: { read: true, write: true, administrate: mayAdministrate } };
}

function sized(message: Reply): Answer<OutboundMessage> {
  let sizeBytes = 0;
  if (message.type === 'getReply') sizeBytes = message.value.length;
  else if (message.type === 'scanReply')
    for (const { key, value } of message.entries) sizeBytes += key.length + value.length;
  return { message, sizeBytes };
}

type ReceivedRequest = Extract<ReceivedMessage, { readonly requestId: number }>;

function isAdministration(
  request: ReceivedMessage,
): request is Extract<ReceivedMessage, { readonly type: AdministrationName }> {
  return ADMINISTRATION.has(request.type);
}

type AdministrationName = AdministrationRequest['type'] | 'splitTablet' | 'balance';

const ADMINISTRATION: ReadonlySet<ReceivedMessage['type']> = new Set<AdministrationName>([
  'changeMembers',
  'transferLeader',
  'moveReplica',
  'mergeTablets',
  'drainNode',
  'splitTablet',
  'balance',
]);
