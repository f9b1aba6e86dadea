/**
 * Requests of clients, whatever door they came through, turned into proposals and reads of one group. It owns the
 * limits that a client meets and says, for every request that fails, whether it may have been committed.
 */
import { RaftreeError } from '../env/errors.js';
import { commandBytes } from '../protocol/codec.js';
import { type ErrorCode, errorReply, isErrorCode } from '../protocol/error-codes.js';
import {
  MAX_KEY_BYTES,
  MAX_OPERATIONS_PER_REQUEST,
  type RequestLimits,
  refusedKey,
  refusedWrite,
  type SizeRefusal,
} from '../protocol/limits.js';
import type { ReceivedMessage } from '../protocol/message-handlers.js';
import type { MessageOf, OutboundMessage } from '../protocol/messages.js';
import type { ReadLevel } from '../raft/types.js';
import type { CommandLog } from '../replica/ports.js';
import { encodeOpenSession, encodeWrite } from './command.js';
import type { CommandResult, KvStateMachine } from './kv-state-machine.js';
import { LargeWrites } from './large-writes.js';

export interface KvLimits extends RequestLimits {
  /** Requests under way at once; above it `OVERLOADED`. */
  readonly maxPendingRequests: number;
  readonly maxScanEntries: number;
  readonly maxScanBytes: number;
}

export const DEFAULT_KV_LIMITS: KvLimits = {
  maxKeyBytes: MAX_KEY_BYTES,
  maxValueBytes: 1024 * 1024,
  maxRequestBytes: 8 * 1024 * 1024,
  maxOperationsPerRequest: MAX_OPERATIONS_PER_REQUEST,
  maxPendingRequests: 16_384,
  maxScanEntries: 1000,
  maxScanBytes: 1024 * 1024,
};

export interface KvServiceParts {
  readonly replica: CommandLog<CommandResult>;
  readonly stateMachine: KvStateMachine;
  readonly limits: KvLimits;
  /** Where clients reach a node; empty if it is not known. */
  readonly clientAddressOf: (node: number) => string;
}

export type KvRequest = Extract<ReceivedMessage, { type: 'write' | 'get' | 'scan' | 'openSession' }>;
export type KvReadRequest = Extract<KvRequest, { type: 'get' | 'scan' }>;

export class KvService {
  readonly #parts: KvServiceParts;
  readonly #largeWrites = new LargeWrites();
  #pending = 0;
  #closing = false;
  #idle: (() => void) | undefined;
  #drained: Promise<void> | undefined;

  constructor(parts: KvServiceParts) {
    this.#parts = parts;
  }

  get pendingRequests(): number {
    return this.#pending;
  }

  /** Answers a request; never rejects: what goes wrong is told in an `error` message. */
  async handle(request: KvRequest): Promise<OutboundMessage> {
    if (isRead(request)) return (await this.prepareRead(request))(1);
    return this.#whilePending(request, () =>
      request.type === 'write' ? this.#write(request) : this.#openSession(request),
    );
  }

  /**
   * Resolves, never rejects, when a read may be answered; the answer is read when the function is called. A door that
   * has many large answers to send calls it when there is room for one, and asks for smaller pages, `share` of the
   * largest, when many wait.
   */
  async prepareRead(request: KvReadRequest): Promise<(share: number) => OutboundMessage> {
    const refusedWith = await this.#whilePending(request, async () => {
      if (request.type === 'get') throwIfRefused(refusedKey(this.#parts.limits, request.key));
      const level = READ_LEVELS[request.consistency];
      if (level) await this.#parts.replica.readIndex(level);
      return undefined;
    });
    if (refusedWith) return () => refusedWith;
    return (share) => {
      try {
        return request.type === 'get' ? this.#get(request) : this.#scan(request, share);
      } catch (error) {
        return this.failure(request.requestId, error, 'read');
      }
    };
  }

  /** Takes no more requests; resolves when those under way are answered. The same promise for every call. */
  drain(): Promise<void> {
    this.#closing = true;
    this.#drained ??= new Promise<void>((idle) => {
      if (this.#pending === 0) idle();
      else this.#idle = idle;
    });
    return this.#drained;
  }

  async #whilePending<T>(request: KvRequest, work: () => Promise<T>): Promise<T | OutboundMessage> {
    const { requestId } = request;
    if (this.#closing) return errorReply(requestId, 'SHUTTING_DOWN', 'this node is shutting down');
    if (this.#pending >= this.#parts.limits.maxPendingRequests) {
      return errorReply(requestId, 'OVERLOADED', 'too many requests are under way; try again in a moment');
    }
    this.#pending++;
    try {
      return await work();
    } catch (error) {
      return this.failure(request.requestId, error, isRead(request) ? 'read' : 'write');
    } finally {
      this.#pending--;
      if (this.#pending === 0) this.#idle?.();
    }
  }

  async #write(request: Extract<KvRequest, { type: 'write' }>): Promise<OutboundMessage> {
    this.#checkWrite(request);
    const { replica, limits } = this.#parts;
    const { frameBody } = request;
    const { result } = await this.#largeWrites.run(frameBody.length, () =>
      replica.propose(encodeWrite(limits.maxValueBytes, commandBytes(frameBody))),
    );
    if (result.type === 'written') {
      return { type: 'writeReply', requestId: request.requestId, ...result.write };
    }
    return this.#refused(request.requestId, result);
  }

  async #openSession(request: Extract<KvRequest, { type: 'openSession' }>): Promise<OutboundMessage> {
    const { result } = await this.#parts.replica.propose(encodeOpenSession(request.window));
    if (result.type === 'sessionOpened') {
      const { sessionId, window } = result;
      return { type: 'sessionOpened', requestId: request.requestId, sessionId, window };
    }
    return this.#refused(request.requestId, result);
  }

  #get(request: Extract<KvRequest, { type: 'get' }>): OutboundMessage {
    const found = this.#read(() => this.#parts.stateMachine.get(request.key));
    return {
      type: 'getReply',
      requestId: request.requestId,
      found: found !== undefined,
      version: found?.version ?? 0,
      value: found?.value ?? NOTHING,
    };
  }

  #scan(request: Extract<KvRequest, { type: 'scan' }>, share: number): OutboundMessage {
    const { limits, stateMachine } = this.#parts;
    const maxEntries = Math.min(
      limits.maxScanEntries,
      Math.max(MIN_PAGE_ENTRIES, limits.maxScanEntries * share),
    );
    const page = this.#read(() =>
      stateMachine.scan({
        from: request.from,
        to: request.to,
        reverse: request.reverse,
        maxEntries: Math.floor(request.limit === 0 ? maxEntries : Math.min(request.limit, maxEntries)),
        maxBytes: Math.min(limits.maxScanBytes, Math.max(MIN_PAGE_BYTES, limits.maxScanBytes * share)),
      }),
    );
    const entries = request.keysOnly
      ? page.entries.map(({ key, version }) => ({ key, version, value: NOTHING }))
      : page.entries;
    return { type: 'scanReply', requestId: request.requestId, entries, more: page.more };
  }

  #checkWrite({ operations, sessionId, sequence, acknowledgedThrough }: MessageOf<'write'>): void {
    if (operations.length === 0) throw refusal('INVALID_REQUEST', 'a write needs at least one operation');
    if (sessionId > 0 && sequence <= acknowledgedThrough) {
      throw refusal('INVALID_REQUEST', 'the sequence of a write must lie above acknowledgedThrough');
    }
    throwIfRefused(refusedWrite(this.#parts.limits, operations));
  }

  #read<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw new RaftreeError('READ_FAILED', 'this node cannot read that from its disk; its log says more', {
        cause: error,
      });
    }
  }

  #refused(requestId: number, result: CommandResult): OutboundMessage {
    if (result.type === 'refused' && result.code === 'SESSION_EXPIRED') {
      return errorReply(requestId, 'SESSION_EXPIRED', 'the session is not known any more; open a new one');
    }
    if (result.type === 'void') {
      return errorReply(
        requestId,
        'INVALID_REQUEST',
        'no replica can apply this request: it changed nothing',
      );
    }
    if (result.type === 'refused') {
      return errorReply(requestId, 'INVALID_REQUEST', 'the sequence lies outside the window of the session');
    }
    return errorReply(requestId, 'INTERNAL', 'the answer does not fit the request');
  }

  /** What a request that failed is told; what is a fault of this node's is told without its details. */
  failure(requestId: number, error: unknown, kind: 'read' | 'write'): OutboundMessage {
    if (!(error instanceof RaftreeError))
      return errorReply(requestId, 'INTERNAL', 'a fault in this node; its log says more');
    const certain = kind === 'read' || error.info.outcome === 'notCommitted';
    const outcome = certain ? 'notCommitted' : 'unknown';
    switch (error.code) {
      case 'NOT_LEADER': {
        const leader = typeof error.info.leader === 'number' ? error.info.leader : 0;
        if (leader === 0)
          return errorReply(requestId, 'NO_LEADER', 'no leader is known at present; try again shortly');
        return errorReply(requestId, 'NOT_LEADER', `node ${leader} leads`, {
          leaderId: leader,
          leaderAddress: this.#parts.clientAddressOf(leader),
        });
      }
      case 'REPLICA_STOPPED':
        return errorReply(requestId, 'SHUTTING_DOWN', error.message, { outcome });
      case 'LEADERSHIP_LOST':
        return errorReply(requestId, 'LEADERSHIP_LOST', error.message, { outcome });
    }
    if (isErrorCode(error.code)) return errorReply(requestId, error.code, error.message);
    return errorReply(requestId, 'INTERNAL', 'a fault in this node; its log says more');
  }
}

const NOTHING = Buffer.alloc(0);

/** Pages of a scan are not made smaller than this. */
const MIN_PAGE_ENTRIES = 100;
const MIN_PAGE_BYTES = 64 * 1024;

/** How each consistency is confirmed; a stale read is not. */
const READ_LEVELS: Record<KvReadRequest['consistency'], ReadLevel | undefined> = {
  linearizable: 'index',
  lease: 'lease',
  follower: 'follower',
  stale: undefined,
};

function isRead(request: KvRequest): request is KvReadRequest {
  return request.type === 'get' || request.type === 'scan';
}

function throwIfRefused(refused: SizeRefusal | undefined): void {
  if (refused) throw refusal(refused.code, refused.message);
}

function refusal(code: ErrorCode, message: string): RaftreeError {
  return new RaftreeError(code, message, { info: { outcome: 'notCommitted' } });
}
