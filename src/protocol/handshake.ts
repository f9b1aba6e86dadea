/**
 * The pipeline's doorkeeper. Both sides send a `hello` first: the connecting side at once, the accepting side in answer
 * to one that it accepts. A peer and an administrator then prove the cluster secret, and the accepting side proves it
 * to them (security/proof.ts). Only then do the handlers behind it become active, and only then do other messages pass.
 *
 *     connecting                            accepting
 *        | -- hello, challenge ----------------> |  version, cluster and role are checked
 *        | <-- hello, challenge, or error ------ |  after an error the connection closes
 *        | -- proof ---------------------------> |  then what the hello says of node and store
 *        | <-------------- proof, or error ----- |
 *        | == requests, answers, ... =========== |
 *
 * A client sends no challenge and gets none. Where neither side has a secret the challenges are empty and nothing is
 * proven; where one side has none, both refuse. Only an administrator is let in as any client by a node without one.
 *
 * Fails with `VERSION_MISMATCH`, `IDENTITY_MISMATCH`, `SECRET_MISMATCH`, `HELLO_EXPECTED`, `HELLO_TIMEOUT`, and on the
 * connecting side with whatever code the other side refused it with.
 */
import type { Random, Timer } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import type { Channel } from '../net/channel.js';
import { type Meeting, NONCE_BYTES, prove, provenSecret } from '../security/proof.js';
import { receivedError } from './error-codes.js';
import type { MessageContext, MessageHandler, ReceivedMessage } from './message-handlers.js';
import { type MessageName, type MessageOf, type OutboundOf, PROTOCOL_VERSION } from './messages.js';

export type Hello = MessageOf<'hello'>;
export type Role = Hello['role'];
/** How a side presents itself. */
export type Identity = Omit<OutboundOf<'hello'>, 'type' | 'protocolVersion'>;

export interface ClusterSecrets {
  /** The connecting side proves the first; all are accepted. None: no secret is set. */
  readonly secrets: readonly Uint8Array[];
  readonly random: Pick<Random, 'bytes'>;
}

export interface HandshakeOptions {
  readonly side: 'connecting' | 'accepting';
  /** Our own hello. A client's `clusterId` may be empty: it takes any cluster. */
  readonly identity: Identity;
  /** What the accepting side tells of itself; without it, its `identity`. */
  readonly answer?: (hello: Hello) => Identity;
  /** What the other side may be. */
  readonly expectedRoles: readonly Role[];
  /** How long the other side's hello and proof may take. */
  readonly helloTimeoutMs: number;
  readonly security?: ClusterSecrets;
  /** Looks at the other side's identity, once it is proven; a returned text refuses it with `IDENTITY_MISMATCH`. */
  readonly refuse?: (hello: Hello, channel: Channel) => string | undefined;
  /**
   * The handshake is done; called just before the handlers behind become active. `isProven`: the other side has proven
   * the cluster secret.
   */
  readonly greeted?: (hello: Hello, channel: Channel, isProven: boolean) => void;
  /** The version to speak; only a test has a reason to give another than the default. */
  readonly protocolVersion?: number;
}

/** What comes next, in this order. */
type State = 'hello' | 'challenge' | 'proof' | 'done' | 'failed';

/** What passes before the handshake is done. */
export const HANDSHAKE_MESSAGES: ReadonlySet<MessageName> = new Set(['hello', 'error', 'challenge', 'proof']);

const NO_SECRETS: ClusterSecrets = { secrets: [], random: { bytes: () => Buffer.alloc(0) } };

export class Handshake implements MessageHandler {
  readonly #options: HandshakeOptions;
  readonly #version: number;
  readonly #security: ClusterSecrets;
  #state: State = 'hello';
  #timer: Timer | undefined;
  #own: Identity;
  #other: Hello | undefined;
  /** Empty if no secret is set here. */
  #ownNonce: Uint8Array = Buffer.alloc(0);
  #otherNonce: Uint8Array = Buffer.alloc(0);

  constructor(options: HandshakeOptions) {
    this.#options = options;
    this.#version = options.protocolVersion ?? PROTOCOL_VERSION;
    this.#security = options.security ?? NO_SECRETS;
    this.#own = options.identity;
  }

  active(context: MessageContext): void {
    const { helloTimeoutMs, side, identity } = this.#options;
    this.#timer = context.channel.env.timers.after(helloTimeoutMs, () => {
      if (this.#state === 'done' || this.#state === 'failed') return;
      const missing = this.#state;
      this.#state = 'failed';
      context.failed(
        new RaftreeError('HELLO_TIMEOUT', `no ${missing} within helloTimeoutMs (${helloTimeoutMs} ms)`),
      );
    });
    if (side === 'connecting') this.#introduce(context, identity.role);
  }

  read(context: MessageContext, message: ReceivedMessage): void {
    if (this.#state === 'failed') return;
    if (this.#state === 'done') {
      if (message.type === 'hello' || message.type === 'challenge' || message.type === 'proof')
        throw this.#fail('HELLO_EXPECTED', `a second ${message.type}`);
      context.read(message);
      return;
    }
    if (message.type === 'error') {
      this.#end('failed');
      throw receivedError(message);
    }
    if (message.type !== this.#state) {
      throw this.#fail('HELLO_EXPECTED', `the next message must be ${this.#state}, not ${message.type}`);
    }
    if (message.type === 'hello') this.#takeHello(context, message);
    else if (message.type === 'challenge') this.#takeChallenge(context, message);
    else if (message.type === 'proof') this.#takeProof(context, message);
  }

  inactive(context: MessageContext, error: Error | undefined): void {
    const wasActive = this.#state === 'done';
    this.#end('failed');
    // Those behind that were never active have nothing to end.
    if (wasActive) context.inactive(error);
  }

  #takeHello(context: MessageContext, hello: Hello): void {
    const { side, identity, answer } = this.#options;
    this.#check(hello);
    this.#other = hello;
    const isAccepting = side === 'accepting';
    const isChallenged = isAuthenticated(isAccepting ? hello.role : identity.role);
    // Who is to prove itself is told nothing of who is known here before it has.
    if (!isChallenged || this.#security.secrets.length === 0) this.#checkIdentity(context.channel);
    if (isAccepting) {
      this.#own = answer?.(hello) ?? identity;
      this.#introduce(context, hello.role);
    }
    if (isChallenged) this.#state = 'challenge';
    else this.#finish(context, false);
  }

  #takeChallenge(context: MessageContext, { nonce }: MessageOf<'challenge'>): void {
    const { side, identity } = this.#options;
    const [first] = this.#security.secrets;
    const isSetThere = nonce.length > 0;
    const connected = (side === 'accepting' ? this.#other : identity)?.role;
    // To a node without a secret an administrator is any client.
    const isWithout = (side === 'accepting' ? !first : !isSetThere) && connected === 'administrator';
    if (isWithout || (!first && !isSetThere)) {
      if (first) this.#checkIdentity(context.channel);
      this.#finish(context, false);
      return;
    }
    if (!first || !isSetThere)
      throw this.#fail('SECRET_MISMATCH', `one side has a cluster secret, the other has none; ${ALIKE}`);
    if (nonce.length !== NONCE_BYTES)
      throw this.#fail('SECRET_MISMATCH', `a challenge has ${NONCE_BYTES} bytes, not ${nonce.length}`);
    this.#otherNonce = nonce;
    if (side === 'connecting') this.#prove(context, first);
    this.#state = 'proof';
  }

  #takeProof(context: MessageContext, { proof }: MessageOf<'proof'>): void {
    const { side } = this.#options;
    const other = side === 'connecting' ? 'accepting' : 'connecting';
    const secret = provenSecret(this.#security.secrets, other, this.#meeting(), proof);
    if (!secret)
      throw this.#fail('SECRET_MISMATCH', `the two sides have different cluster secrets; ${ALIKE}`);
    this.#checkIdentity(context.channel);
    // With the secret that the other side has, if there are several.
    if (side === 'accepting') this.#prove(context, secret);
    this.#finish(context, true);
  }

  #finish(context: MessageContext, isProven: boolean): void {
    this.#end('done');
    if (this.#other) this.#options.greeted?.(this.#other, context.channel, isProven);
    context.active();
  }

  #check(hello: Hello): void {
    const { identity, expectedRoles } = this.#options;
    if (hello.protocolVersion !== this.#version) {
      throw this.#fail(
        'VERSION_MISMATCH',
        `protocol version ${this.#version} is spoken here, not ${hello.protocolVersion}`,
      );
    }
    if (!expectedRoles.includes(hello.role)) {
      throw this.#fail(
        'IDENTITY_MISMATCH',
        `a ${hello.role} has connected where a ${expectedRoles[0]} belongs; is it the right port?`,
      );
    }
    const isAnyCluster =
      (isClient(hello.role) && hello.clusterId === '') ||
      (isClient(identity.role) && identity.clusterId === '');
    if (!isAnyCluster && hello.clusterId !== identity.clusterId) {
      // A stranger does not learn the name that belongs here.
      throw this.#fail(
        'IDENTITY_MISMATCH',
        `cluster ${JSON.stringify(hello.clusterId.slice(0, 128))} is not the one of the other side; compare the clusterId of both`,
      );
    }
  }

  #checkIdentity(channel: Channel): void {
    const reason = this.#other && this.#options.refuse?.(this.#other, channel);
    if (reason !== undefined) throw this.#fail('IDENTITY_MISMATCH', reason);
  }

  /** `connected`: the role of the side that connected. */
  #introduce(context: MessageContext, connected: Role): void {
    context.write({ type: 'hello', protocolVersion: this.#version, ...this.#own });
    if (!isAuthenticated(connected)) return;
    const { secrets, random } = this.#security;
    if (secrets.length > 0) this.#ownNonce = random.bytes(NONCE_BYTES);
    context.write({ type: 'challenge', nonce: this.#ownNonce });
  }

  #prove(context: MessageContext, secret: Uint8Array): void {
    context.write({ type: 'proof', proof: prove(secret, this.#options.side, this.#meeting()) });
  }

  #meeting(): Meeting {
    const own = { party: this.#own, nonce: this.#ownNonce };
    const other = { party: this.#other ?? this.#own, nonce: this.#otherNonce };
    return this.#options.side === 'connecting'
      ? { connecting: own, accepting: other }
      : { connecting: other, accepting: own };
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

const ALIKE = 'give every node the same security.clusterSecret or clusterSecretFile, and start it again';

function isClient(role: Role): boolean {
  return role === 'client' || role === 'administrator';
}

/** Whether who connects in this role proves the cluster secret. */
function isAuthenticated(role: Role): boolean {
  return role === 'peer' || role === 'administrator';
}
