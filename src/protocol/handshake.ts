/**
 * The first exchange of a connection. Both sides send a `hello`: the connecting side at once, the accepting side in
 * answer to a hello that it accepts. A peer or administrator then proves the cluster secret, and the accepting side
 * proves it too (security/proof.ts). Until then no other message passes, and the handlers behind this one are not
 * active.
 *
 *     connecting                            accepting
 *        | -- hello, challenge ----------------> |  version, cluster and role are checked
 *        | <-- hello, challenge, or error ------ |  after an error the connection closes
 *        | -- proof ---------------------------> |  then node and store of the hello are checked
 *        | <-------------- proof, or error ----- |
 *        | == requests, answers, ... =========== |
 *
 * A client sends no challenge and gets none. If neither side has a secret, the challenges are empty and nothing is
 * proven. If only one side has a secret, both refuse, with one exception: a node without a secret accepts an
 * administrator, as it accepts any client.
 *
 * Fails with `VERSION_MISMATCH`, `IDENTITY_MISMATCH`, `SECRET_MISMATCH`, `HELLO_EXPECTED` or `HELLO_TIMEOUT`. The
 * connecting side also fails with the code of the `error` message that refuses it.
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
/** What a side says of itself in its hello. */
export type Identity = Omit<OutboundOf<'hello'>, 'type' | 'protocolVersion'>;

export interface ClusterSecrets {
  /** The connecting side proves the first one. All are accepted. Empty: no secret is set. */
  readonly secrets: readonly Uint8Array[];
  readonly random: Pick<Random, 'bytes'>;
}

export interface HandshakeOptions {
  readonly side: 'connecting' | 'accepting';
  /** This side's hello. A client's `clusterId` may be empty: it accepts any cluster. */
  readonly identity: Identity;
  /** The identity that the accepting side answers with. Default: `identity`. */
  readonly answer?: (hello: Hello) => Identity;
  /** The roles that the other side may have. */
  readonly expectedRoles: readonly Role[];
  /** How long the other side's hello and proof may take. */
  readonly helloTimeoutMs: number;
  readonly security?: ClusterSecrets;
  /** Checks the other side's identity after it is proven. A returned text refuses it with `IDENTITY_MISMATCH`. */
  readonly refuse?: (hello: Hello, channel: Channel) => string | undefined;
  /**
   * Called when the handshake is done, just before the handlers behind become active. `isProven`: the other side has
   * proven the cluster secret.
   */
  readonly greeted?: (hello: Hello, channel: Channel, isProven: boolean) => void;
  /** The version that this side speaks. Only tests give another than the default. */
  readonly protocolVersion?: number;
}

/** What this side waits for. The states follow in this order. */
type State = 'hello' | 'challenge' | 'proof' | 'done' | 'failed';

/** The messages that are decoded before the handshake is done. */
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
    // The handlers behind were not active before the handshake was done.
    if (wasActive) context.inactive(error);
  }

  #takeHello(context: MessageContext, hello: Hello): void {
    const { side, identity, answer } = this.#options;
    this.#check(hello);
    this.#other = hello;
    const isAccepting = side === 'accepting';
    const isChallenged = isAuthenticated(isAccepting ? hello.role : identity.role);
    // A side that has to prove the secret learns only after that which nodes are known here.
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
    // A node without a secret treats an administrator as any client.
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
    // If there are several secrets: with the one that the other side has proven.
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
      // A stranger does not learn the name of this cluster.
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

/** Whether a side that connects in this role proves the cluster secret. */
function isAuthenticated(role: Role): boolean {
  return role === 'peer' || role === 'administrator';
}
