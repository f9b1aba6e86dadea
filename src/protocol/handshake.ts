/**
 * The pipeline's doorkeeper. Both sides send a `hello` first: the connecting side at once, the accepting side in answer
 * to one that it accepts. Only then do the handlers behind it become active, and only then do other messages pass.
 *
 *     connecting                         accepting
 *        | -- hello ------------------------> |  version, cluster, role and identity are checked
 *        | <------------- hello, or error --- |  after an error the connection closes
 *        | == requests, answers, ... ======== |
 *
 * Fails with `VERSION_MISMATCH`, `IDENTITY_MISMATCH`, `HELLO_EXPECTED`, `HELLO_TIMEOUT`, and on the connecting side
 * with whatever code the other side refused it with.
 */
import type { Timer } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import type { Channel } from '../net/channel.js';
import type { Handler, HandlerContext } from '../net/pipeline.js';
import { receivedError } from './error-codes.js';
import type { ReceivedMessage } from './message-handlers.js';
import { type MessageOf, type OutboundOf, PROTOCOL_VERSION } from './messages.js';

export type Hello = MessageOf<'hello'>;
export type Role = Hello['role'];
/** How a side presents itself. */
export type Identity = Omit<OutboundOf<'hello'>, 'type' | 'protocolVersion'>;

export interface HandshakeOptions {
  readonly side: 'connecting' | 'accepting';
  /** Our own hello. A client's `clusterId` may be empty: it takes any cluster. */
  readonly identity: Identity;
  /** What the other side may be. */
  readonly expectedRoles: readonly Role[];
  /** How long the other side's hello may take. */
  readonly helloTimeoutMs: number;
  /** Looks at the other side's identity; a returned text refuses it with `IDENTITY_MISMATCH`. */
  readonly refuse?: (hello: Hello, channel: Channel) => string | undefined;
  /** The handshake is done; called just before the handlers behind become active. */
  readonly greeted?: (hello: Hello, channel: Channel) => void;
  /** The version to speak; only a test has a reason to give another than the default. */
  readonly protocolVersion?: number;
}

export class Handshake implements Handler {
  readonly #options: HandshakeOptions;
  readonly #version: number;
  #state: 'waiting' | 'done' | 'failed' = 'waiting';
  #timer: Timer | undefined;

  constructor(options: HandshakeOptions) {
    this.#options = options;
    this.#version = options.protocolVersion ?? PROTOCOL_VERSION;
  }

  active(context: HandlerContext): void {
    const { helloTimeoutMs } = this.#options;
    this.#timer = context.channel.env.timers.after(helloTimeoutMs, () => {
      if (this.#state !== 'waiting') return;
      this.#state = 'failed';
      context.failed(
        new RaftreeError('HELLO_TIMEOUT', `no hello within helloTimeoutMs (${helloTimeoutMs} ms)`),
      );
    });
    if (this.#options.side === 'connecting') this.#sendHello(context);
  }

  read(context: HandlerContext, received: unknown): void {
    if (this.#state === 'failed') return;
    const message = received as ReceivedMessage;
    if (this.#state === 'done') {
      if (message.type === 'hello') throw this.#fail('HELLO_EXPECTED', 'a second hello');
      context.read(message);
      return;
    }
    if (message.type === 'error') {
      this.#end('failed');
      throw receivedError(message);
    }
    if (message.type !== 'hello') {
      throw this.#fail('HELLO_EXPECTED', `the first message must be hello, not ${message.type}`);
    }
    this.#check(message, context.channel);
    this.#end('done');
    if (this.#options.side === 'accepting') this.#sendHello(context);
    this.#options.greeted?.(message, context.channel);
    context.active();
  }

  inactive(context: HandlerContext, error: Error | undefined): void {
    const wasActive = this.#state === 'done';
    this.#end('failed');
    // Those behind that were never active have nothing to end.
    if (wasActive) context.inactive(error);
  }

  #check(hello: Hello, channel: Channel): void {
    const { identity, expectedRoles, refuse } = this.#options;
    if (hello.protocolVersion !== this.#version) {
      throw this.#fail(
        'VERSION_MISMATCH',
        `protocol version ${this.#version} is spoken here, not ${hello.protocolVersion}`,
      );
    }
    if (!expectedRoles.includes(hello.role)) {
      throw this.#fail(
        'IDENTITY_MISMATCH',
        `a ${hello.role} has connected where a ${expectedRoles.join(' or ')} belongs; is it the right port?`,
      );
    }
    const anyCluster =
      (hello.role === 'client' && hello.clusterId === '') ||
      (identity.role === 'client' && identity.clusterId === '');
    if (!anyCluster && hello.clusterId !== identity.clusterId) {
      throw this.#fail(
        'IDENTITY_MISMATCH',
        `cluster "${identity.clusterId}" met a hello of cluster "${hello.clusterId}"`,
      );
    }
    const reason = refuse?.(hello, channel);
    if (reason !== undefined) throw this.#fail('IDENTITY_MISMATCH', reason);
  }

  #sendHello(context: HandlerContext): void {
    context.write({ type: 'hello', protocolVersion: this.#version, ...this.#options.identity });
  }

  #fail(code: string, message: string): RaftreeError {
    this.#end('failed');
    return new RaftreeError(code, message);
  }

  #end(state: 'done' | 'failed'): void {
    this.#state = state;
    this.#timer?.cancel();
  }
}
