/**
 * A connection to one node. It carries many concurrent requests, identified by their requestId. While the connection is
 * not writable, requests wait here, so that unsent output stays bounded.
 */
import { errorCode, errorMessage, RaftreeError } from '../env/errors.js';
import { type RequestLimits, refusedKey, refusedWrite, type SizeRefusal } from '../kv/limits.js';
import type { Channel } from '../net/channel.js';
import { DEFAULT_CHANNEL_OPTIONS } from '../net/channel-options.js';
import { connectChannel } from '../net/connect.js';
import type { Bytes, HandlerContext } from '../net/pipeline.js';
import { receivedError } from '../protocol/error-codes.js';
import { MAX_ANSWER_BYTES, MAX_REQUEST_FRAME_BYTES } from '../protocol/limits.js';
import { LinkWatch } from '../protocol/link-watch.js';
import type { MessageContext, MessageHandler, ReceivedMessage } from '../protocol/message-handlers.js';
import type { MessageOf, OutboundMessage, OutboundOf, RequestName } from '../protocol/messages.js';
import { protocolPipeline } from '../protocol/protocol-pipeline.js';
import { addressOf, type ClientSettings } from './client-options.js';
import { DeadlineTimer } from './deadline-timer.js';
import { type Numbered, RequestTable } from './request-table.js';

/** A node that sends nothing and answers no ping counts as dead after four to five times this. */
const CHECK_EVERY_MS = 5_000;
/** An idle connection sends the next ping within this time. */
const PROMISE_MS = 30_000;

/** One request of any size fits on top of the high water mark. */
const MAX_UNSENT_BYTES = MAX_REQUEST_FRAME_BYTES + 2 * DEFAULT_CHANNEL_OPTIONS.highWaterBytes;

/** A large request has more time for its answer than a small one. */
const SLOWEST_BYTES_PER_MS = 1024;

/** A request before a connection gives it a requestId. */
export type Unnumbered = { [Name in RequestName]: Omit<OutboundOf<Name>, 'requestId'> }[RequestName];

/** A request whose `requestId` the connection sets. */
export type NumberedRequest = {
  [Name in RequestName]: Omit<OutboundOf<Name>, 'requestId'> & Numbered;
}[RequestName];

/** Who is told how a request ends: once, unless it is given up before. */
export interface AnswerTaker {
  answered(message: ReceivedMessage): void;
  /** The node's error, or `CONNECTION_LOST`, `ATTEMPT_TIMEOUT`, `REQUEST_TOO_LARGE`, `INVALID_REQUEST`. */
  failed(error: RaftreeError): void;
}

/** Who is told the changes of a watch, until it has ended, was lost or is closed. */
export interface WatchTaker {
  readonly tablet: number;
  changes(message: MessageOf<'changes'>): void;
  /** All changes up to this version were told. */
  progress(throughVersion: number): void;
  ended(message: MessageOf<'watchEnded'>): void;
  lost(error: RaftreeError): void;
}

/** A request in progress. */
export class PendingRequest implements Numbered {
  readonly request: NumberedRequest;
  readonly timeoutMs: number;
  readonly connection: NodeConnection;
  readonly taker: AnswerTaker;
  /** Whether it was handed to the system, so that it may arrive. */
  sent = false;
  startMs = 0;
  deadlineMs = 0;

  constructor(request: NumberedRequest, timeoutMs: number, connection: NodeConnection, taker: AnswerTaker) {
    this.request = request;
    this.timeoutMs = timeoutMs;
    this.connection = connection;
    this.taker = taker;
  }

  get requestId(): number {
    return this.request.requestId;
  }

  set requestId(id: number) {
    this.request.requestId = id;
  }

  /** Gives the request up: its answer is ignored, and if it is unsent it is not sent. */
  cancel(): void {
    this.connection.forget(this);
  }
}

/** A request in progress whose answer is awaited. */
class AwaitedRequest implements AnswerTaker {
  readonly pending: PendingRequest;
  readonly answer: Promise<ReceivedMessage>;
  answered: (message: ReceivedMessage) => void = () => {};
  failed: (error: RaftreeError) => void = () => {};

  constructor(request: NumberedRequest, timeoutMs: number, connection: NodeConnection) {
    this.answer = new Promise((resolve, reject) => {
      this.answered = resolve;
      this.failed = reject;
    });
    this.pending = new PendingRequest(request, timeoutMs, connection, this);
  }
}

export class NodeConnection implements MessageHandler {
  readonly endpoint: string;
  readonly #settings: ClientSettings;
  /** The node's limits. */
  #limits: RequestLimits | undefined;
  readonly #pending = new RequestTable<PendingRequest>();
  readonly #deadlines: DeadlineTimer;
  /** Not yet written because the channel is not writable. In order of arrival. */
  readonly #unsent = new Set<PendingRequest>();
  readonly #watches = new Map<number, WatchTaker>();
  #lastWatchId = 0;
  #channel: Channel<OutboundMessage> | undefined;
  /** When the last message was complete, and when the last bytes arrived. */
  #lastReceivedMs = Number.NEGATIVE_INFINITY;
  #lastBytesMs = Number.NEGATIVE_INFINITY;
  /** The error that the node sent before it closed the connection. */
  #farewell: RaftreeError | undefined;
  #becameActive: () => void = () => {};

  private constructor(endpoint: string, settings: ClientSettings) {
    this.endpoint = endpoint;
    this.#settings = settings;
    this.#deadlines = new DeadlineTimer(settings.env, (nowMs) => this.#expire(nowMs));
  }

  /**
   * Resolves when the node has sent its hello and its limits. Rejects with `UNREACHABLE` or with the node's reason
   * (`VERSION_MISMATCH`, `SECRET_MISMATCH` …).
   */
  static async open(endpoint: string, settings: ClientSettings): Promise<NodeConnection> {
    const { env, clusterId, clusterSecret, connectTimeoutMs } = settings;
    const connection = new NodeConnection(endpoint, settings);
    const active = new Promise<void>((resolve) => {
      connection.#becameActive = resolve;
    });
    let channel: Channel;
    try {
      channel = await connectChannel(env, addressOf(endpoint), {
        connectTimeoutMs,
        channel: { maxBufferedBytes: MAX_UNSENT_BYTES },
        initialise: (opened) => {
          opened.pipeline.add({ read: (context, chunk) => connection.#receiving(context, chunk) });
          protocolPipeline(opened, {
            limits: { maxFrameBytes: MAX_ANSWER_BYTES, helloTimeoutMs: connectTimeoutMs },
            handshake: {
              side: 'connecting',
              identity: {
                role: clusterSecret ? 'administrator' : 'client',
                clusterId,
                nodeId: 0,
                storeId: '',
              },
              expectedRoles: ['server'],
              security: { secrets: clusterSecret ? [clusterSecret] : [], random: env.random },
            },
            between: [new LinkWatch({ checkEveryMs: CHECK_EVERY_MS, nextWithinMs: PROMISE_MS })],
            handler: connection,
          });
        },
      });
    } catch (error) {
      throw unreachable(endpoint, error);
    }
    const refused = channel.closed.then((reason) => {
      if (reason instanceof RaftreeError) throw reason;
      throw unreachable(endpoint, reason ?? new Error('the node closed the connection'));
    });
    connection.#channel = channel;
    const timer = env.timers.after(connectTimeoutMs, () =>
      channel.abort(
        new RaftreeError(
          'HELLO_TIMEOUT',
          `${endpoint} did not send its limits within ${connectTimeoutMs} ms`,
        ),
      ),
    );
    await Promise.race([active, refused]).finally(() => timer.cancel());
    // From here on the end of the connection rejects the pending answers.
    refused.catch(() => {});
    return connection;
  }

  get isOpen(): boolean {
    return this.#channel?.isOpen ?? false;
  }

  /** Why the request exceeds the node's limits; undefined if it does not. Nothing is sent. */
  refused(request: Unnumbered): RaftreeError | undefined {
    const refusal = this.#limits && refusedRequest(this.#limits, request);
    return refusal && new RaftreeError(refusal.code, refusal.message, { info: { outcome: 'notCommitted' } });
  }

  /** Sends a request, and returns its answer. If the connection is not open, it fails with `CONNECTION_LOST`. */
  request(request: Unnumbered, timeoutMs: number): AwaitedRequest {
    const awaited = new AwaitedRequest({ ...request, requestId: 0 }, timeoutMs, this);
    this.send(awaited.pending);
    return awaited;
  }

  /** If the connection is not open, the request fails with `CONNECTION_LOST` and `sent` stays false. */
  send(pending: PendingRequest): void {
    if (!this.isOpen) {
      pending.taker.failed(this.#lost(undefined));
      return;
    }
    this.#pending.add(pending);
    pending.startMs = this.#settings.env.clock.nowMs();
    pending.deadlineMs = pending.startMs + pending.timeoutMs + sizeOf(pending.request) / SLOWEST_BYTES_PER_MS;
    this.#deadlines.add(pending.deadlineMs);
    if (this.#unsent.size === 0 && this.#channel?.isWritable) this.#write(pending);
    else this.#unsent.add(pending);
  }

  /** The answer to this request is ignored from now on; if it is unsent, it is not sent. */
  forget(pending: PendingRequest): void {
    this.#pending.delete(pending);
    if (!pending.sent) this.#unsent.delete(pending);
  }

  /** Returns the id of a watch whose request follows. */
  openWatch(taker: WatchTaker): number {
    do {
      this.#lastWatchId = (this.#lastWatchId + 1) >>> 0;
    } while (this.#watches.has(this.#lastWatchId));
    this.#watches.set(this.#lastWatchId, taker);
    return this.#lastWatchId;
  }

  /** Nothing more of it is told. */
  closeWatch(watchId: number): void {
    if (this.#watches.delete(watchId)) this.post({ type: 'watchCancel', watchId });
  }

  /** Sends a message that has no answer, if the connection is open. */
  post(message: OutboundOf<'watchCredit'> | OutboundOf<'watchCancel'>): void {
    if (this.isOpen) this.#channel?.write(message);
  }

  /** Closes. Requests without an answer fail with CONNECTION_LOST. Resolves when the socket is closed. */
  async close(): Promise<void> {
    this.#channel?.close();
    await this.#channel?.closed;
  }

  // Events of the pipeline.

  read(_context: MessageContext, message: ReceivedMessage): void {
    this.#lastReceivedMs = this.#lastBytesMs;
    if (message.type === 'limits') {
      this.#limits = message;
      this.#becameActive();
      return;
    }
    if (!('requestId' in message)) {
      if (this.#toldOfWatch(message)) return;
      throw new RaftreeError('UNKNOWN_MESSAGE', `${message.type} does not belong on a client's connection`);
    }
    if (message.requestId === 0 && message.type === 'error') {
      this.#farewell = receivedError(message);
      return;
    }
    const pending = this.#pending.get(message.requestId);
    // The answer to a request that was given up.
    if (!pending) return;
    this.forget(pending);
    if (message.type === 'error') pending.taker.failed(receivedError(message));
    else pending.taker.answered(message);
  }

  writabilityChanged(_context: MessageContext, writable: boolean): void {
    if (writable) this.#sendUnsent();
  }

  inactive(_context: MessageContext, error: Error | undefined): void {
    const lost = this.#lost(error);
    this.#deadlines.stop();
    for (const pending of this.#pending.all()) {
      this.forget(pending);
      pending.taker.failed(lost);
    }
    const watches = [...this.#watches.values()];
    this.#watches.clear();
    for (const taker of watches) taker.lost(lost);
  }

  /** Returns whether the message is about watches. */
  #toldOfWatch(message: ReceivedMessage): boolean {
    switch (message.type) {
      case 'changes':
        this.#watches.get(message.watchId)?.changes(message);
        return true;
      case 'watchProgress': {
        const behind = new Set(message.behind);
        for (const [watchId, taker] of this.#watches)
          if (taker.tablet === message.tablet && !behind.has(watchId)) taker.progress(message.throughVersion);
        return true;
      }
      case 'watchEnded': {
        const taker = this.#watches.get(message.watchId);
        this.#watches.delete(message.watchId);
        taker?.ended(message);
        return true;
      }
      default:
        return false;
    }
  }

  #receiving(context: HandlerContext<Buffer, Bytes>, chunk: Buffer): void {
    this.#lastBytesMs = this.#settings.env.clock.nowMs();
    context.read(chunk);
  }

  #sendUnsent(): void {
    for (const pending of this.#unsent) {
      if (!this.#channel?.isWritable) return;
      this.#unsent.delete(pending);
      this.#write(pending);
    }
  }

  #write(pending: PendingRequest): void {
    try {
      this.#channel?.write(pending.request);
      pending.sent = true;
    } catch (error) {
      this.forget(pending);
      const code = errorCode(error) === 'FRAME_TOO_LARGE' ? 'REQUEST_TOO_LARGE' : 'INVALID_REQUEST';
      pending.taker.failed(new RaftreeError(code, errorMessage(error), { cause: error }));
    }
  }

  /** Ends the requests that are due. Returns the soonest deadline of the others. */
  #expire(nowMs: number): number {
    const due: PendingRequest[] = [];
    let soonestMs = Number.POSITIVE_INFINITY;
    for (const pending of this.#pending.all()) {
      // A large answer is arriving: this one, or one before it.
      const isArriving = this.#lastBytesMs > Math.max(this.#lastReceivedMs, nowMs - pending.timeoutMs);
      if (pending.deadlineMs <= nowMs && isArriving) pending.deadlineMs = nowMs + pending.timeoutMs;
      if (pending.deadlineMs <= nowMs) due.push(pending);
      else soonestMs = Math.min(soonestMs, pending.deadlineMs);
    }
    for (const pending of due) {
      // The connection may have ended meanwhile.
      if (this.#pending.get(pending.requestId) !== pending) continue;
      const silent = new RaftreeError(
        'ATTEMPT_TIMEOUT',
        `${this.endpoint} did not answer within ${pending.timeoutMs} ms`,
      );
      this.forget(pending);
      pending.taker.failed(silent);
      // Nothing at all arrived in that time: the node may be gone without a notice. A new connection will show it.
      if (this.#lastReceivedMs <= pending.startMs) this.#channel?.abort(silent);
    }
    return this.isOpen ? soonestMs : Number.POSITIVE_INFINITY;
  }

  #lost(cause: Error | undefined): RaftreeError {
    const why = this.#farewell ?? cause;
    return new RaftreeError(
      'CONNECTION_LOST',
      `the connection to ${this.endpoint} is gone${why ? `: ${errorMessage(why)}` : ''}`,
      { cause: why },
    );
  }
}

function sizeOf(request: Unnumbered): number {
  if (request.type !== 'write') return 0;
  let bytes = 0;
  for (const { value } of request.operations) bytes += value.length;
  return bytes;
}

function refusedRequest(limits: RequestLimits, request: Unnumbered): SizeRefusal | undefined {
  switch (request.type) {
    case 'write':
      return refusedWrite(limits, request.operations);
    case 'get':
      return refusedKey(limits, request.key);
    case 'scan': {
      const bytes = request.from.length + (request.to?.length ?? 0);
      if (bytes <= limits.maxRequestBytes) return undefined;
      return {
        code: 'REQUEST_TOO_LARGE',
        message: `a range of ${bytes} bytes exceeds limits.maxRequestBytes`,
      };
    }
    default:
      return undefined;
  }
}

function unreachable(endpoint: string, cause: unknown): RaftreeError {
  // For a host with several addresses the system's error has an empty message.
  const reason = errorMessage(cause) || errorCode(cause) || 'no connection';
  return new RaftreeError('UNREACHABLE', `${endpoint}: ${reason}`, { cause });
}
