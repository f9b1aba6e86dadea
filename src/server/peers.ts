/**
 * The connections between nodes. Every node dials the members that it knows of and sends on the connection it dialled. A
 * lost connection is dialled again, for ever, with a pause.
 *
 * Whoever is of this incarnation of the cluster, and shows the store that it always showed, is listened to, member or
 * not: a node that is behind may not know yet that its leader is a member. It answers such a node on the connection that
 * the other dialled. After the hello both sides announce their birth (birth.ts), and again when it changes.
 */
import { type Address, type Env, type Logger, parseAddress, type Timer } from '../env/env.js';
import { errorCode, errorMessage, RaftreeError } from '../env/errors.js';
import type { Channel } from '../net/channel.js';
import { ChannelListener } from '../net/channel-listener.js';
import { connectChannel } from '../net/connect.js';
import type { Handler, HandlerContext } from '../net/pipeline.js';
import { receivedError } from '../protocol/error-codes.js';
import type { Hello, Identity } from '../protocol/handshake.js';
import type { Message as ProtocolMessage } from '../protocol/messages.js';
import { protocolPipeline } from '../protocol/protocol-pipeline.js';
import type { ReplicaMessage } from '../replica/snapshot-messages.js';
import type { Announcement } from './birth.js';
import type { KnownPeers } from './identity.js';
import { fromProtocol, toProtocol } from './raft-messages.js';

export interface PeerOptions {
  readonly env: Env;
  readonly logger: Logger;
  readonly identity: Identity;
  readonly known: KnownPeers;
  readonly announcement: () => Announcement;
  /** Another node's announcement. Returns why the two must not speak to each other, or undefined. */
  readonly announced: (from: number, said: Announcement) => string | undefined;
  /** A node that had announced itself is not connected any more. */
  readonly left: (node: number) => void;
  readonly maxFrameBytes: number;
  readonly received: (group: number, from: number, message: ReplicaMessage) => void;
  readonly unreachable: (node: number) => void;
}

/** Two for each of many members, and room for those that are being replaced. */
const MAX_CONNECTIONS = 256;
const CONNECT_TIMEOUT_MS = 3000;
const MIN_REDIAL_MS = 50;
const MAX_REDIAL_MS = 1000;

export class Peers {
  readonly #options: PeerOptions;
  readonly #links = new Map<number, PeerLink>();
  /** The newest connection that each node has dialled. */
  readonly #inbound = new Map<number, Channel>();
  readonly #conversations = new Set<Conversation>();
  #listener: ChannelListener | undefined;
  #closed = false;

  constructor(options: PeerOptions) {
    this.#options = options;
  }

  /** Dials the others, and hangs up on those that are none any more. */
  setMembers(members: readonly { readonly id: number; readonly peer: string }[]): void {
    if (this.#closed) return;
    for (const { id, peer } of members) {
      const present = this.#links.get(id);
      if (id === this.#options.identity.nodeId || peer === '' || present?.address === peer) continue;
      void present?.close();
      const link = new PeerLink(this.#options, this.#conversations, id, peer);
      this.#links.set(id, link);
      link.dial();
    }
    for (const [id, link] of this.#links) {
      if (members.some((member) => member.id === id)) continue;
      this.#links.delete(id);
      void link.close();
    }
  }

  /** Accepts the others' connections. Rejects with the system's code. */
  async listen(address: Address): Promise<Address> {
    const { env, identity, logger, maxFrameBytes } = this.#options;
    this.#listener = await ChannelListener.listen(env, address, {
      maxConnections: MAX_CONNECTIONS,
      initialise: (channel) => {
        const conversation = new Conversation(this.#options, this.#conversations, channel);
        protocolPipeline(channel, {
          limits: { maxFrameBytes },
          handshake: {
            side: 'accepting',
            identity,
            expectedRoles: ['peer'],
            refuse: (hello) => this.#refuse(hello),
            greeted: (hello) => {
              conversation.greeted(hello);
              this.#inbound.set(hello.nodeId, channel);
            },
          },
          handler: conversation,
        });
      },
      closed: (channel, reason) => {
        for (const [id, inbound] of this.#inbound) if (inbound === channel) this.#inbound.delete(id);
        if (reason)
          logger.warn(
            { remote: channel.remote, code: errorCode(reason) },
            `peer connection closed: ${reason.message}`,
          );
      },
    });
    return this.#listener.address;
  }

  send(to: number, group: number, message: ReplicaMessage): void {
    const channel = this.#links.get(to)?.channel ?? this.#inbound.get(to);
    channel?.write(toProtocol(group, message));
  }

  /** The birth of the cluster has come further here. */
  announce(): void {
    for (const conversation of this.#conversations) conversation.announce();
  }

  isReachable(node: number): boolean {
    return this.#links.get(node)?.channel !== undefined;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#links.values()].map((link) => link.close()));
    await this.#listener?.close('at once');
  }

  #refuse(hello: Hello): string | undefined {
    if (hello.nodeId === this.#options.identity.nodeId) return `node ${hello.nodeId} is this node's own id`;
    return this.#options.known.refuse(hello.nodeId, hello.storeId);
  }
}

/** One connection with another node, once the two have greeted: hands on what it says, if it is of the same birth. */
class Conversation implements Handler {
  readonly #options: PeerOptions;
  readonly #all: Set<Conversation>;
  readonly #channel: Channel;
  readonly #accepted: () => void;
  #other: Hello | undefined;
  #said: Announcement | undefined;

  /** `accepted`: the other one has announced itself, and may speak. */
  constructor(options: PeerOptions, all: Set<Conversation>, channel: Channel, accepted = () => {}) {
    this.#options = options;
    this.#all = all;
    this.#channel = channel;
    this.#accepted = accepted;
  }

  greeted(hello: Hello): void {
    this.#other = hello;
  }

  active(): void {
    this.#all.add(this);
    this.announce();
  }

  announce(): void {
    this.#channel.write({ type: 'birth', ...this.#options.announcement() });
  }

  read(_context: HandlerContext, received: unknown): void {
    const message = received as ProtocolMessage;
    if (message.type === 'error') throw receivedError(message);
    const from = this.#other?.nodeId;
    if (from === undefined) throw malformed();
    if (message.type === 'birth') {
      this.#take(from, message);
      return;
    }
    const fromReplica = fromProtocol(message);
    if (!fromReplica) throw malformed();
    if (this.#isOfSameBirth()) this.#options.received(fromReplica.group, from, fromReplica.message);
  }

  inactive(): void {
    this.#all.delete(this);
    const node = this.#other?.nodeId;
    const isGone = node !== undefined && ![...this.#all].some((one) => one.#other?.nodeId === node);
    if (isGone) this.#options.left(node);
  }

  #take(from: number, said: Announcement): void {
    const { known, announced } = this.#options;
    const refusal = announced(from, said);
    if (refusal !== undefined) throw new RaftreeError('IDENTITY_MISMATCH', refusal);
    const isFirst = this.#said === undefined;
    this.#said = said;
    // Only of its own cluster a node remembers who is who.
    if (this.#isOfSameBirth()) {
      const lost = known.remember(from, this.#other?.storeId ?? '');
      if (lost !== undefined) throw new RaftreeError('IDENTITY_MISMATCH', lost);
    }
    if (isFirst) this.#accepted();
  }

  #isOfSameBirth(): boolean {
    const own = this.#options.announcement();
    return [own, this.#said].every((one) => one?.phase === 'born' && one.incarnation === own.incarnation);
  }
}

function malformed(): RaftreeError {
  return new RaftreeError('MALFORMED_MESSAGE', 'only messages between nodes belong on this port');
}

class PeerLink {
  readonly #options: PeerOptions;
  readonly #conversations: Set<Conversation>;
  readonly #id: number;
  readonly address: string;
  /** Accepted, and so good for sending. */
  #channel: Channel | undefined;
  /** The newest, perhaps still waiting for the other side's hello. */
  #dialled: Channel | undefined;
  #dialling: Promise<void> | undefined;
  #redialMs = MIN_REDIAL_MS;
  #timer: Timer | undefined;
  #lastFailure: string | undefined;
  #closed = false;

  constructor(options: PeerOptions, conversations: Set<Conversation>, id: number, address: string) {
    this.#options = options;
    this.#conversations = conversations;
    this.#id = id;
    this.address = address;
  }

  /** Undefined while it is not connected. */
  get channel(): Channel | undefined {
    return this.#channel;
  }

  dial(): void {
    if (this.#closed) return;
    this.#dialling = this.#connect()
      .then(
        (reason) => this.#failed(reason),
        (error: unknown) => this.#failed(error),
      )
      .finally(() => this.#redial());
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#dialled?.abort();
    await this.#dialling;
  }

  /** Resolves when the connection has ended. */
  async #connect(): Promise<Error | undefined> {
    const { env, identity, known, maxFrameBytes } = this.#options;
    const channel = await connectChannel(env, parseAddress(this.address), {
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      initialise: (fresh) => {
        const conversation = new Conversation(this.#options, this.#conversations, fresh, () => {
          this.#channel = fresh;
          this.#redialMs = MIN_REDIAL_MS;
          this.#lastFailure = undefined;
          this.#options.logger.info({ peer: this.#id, address: this.address }, 'connected to peer');
        });
        protocolPipeline(fresh, {
          limits: { maxFrameBytes },
          handshake: {
            side: 'connecting',
            identity,
            expectedRoles: ['peer'],
            refuse: (hello) =>
              hello.nodeId === this.#id
                ? known.refuse(hello.nodeId, hello.storeId)
                : `node ${hello.nodeId} answers where node ${this.#id} belongs`,
            greeted: (hello) => conversation.greeted(hello),
          },
          handler: conversation,
        });
      },
    });
    this.#dialled = channel;
    if (this.#closed) channel.abort();
    return channel.closed;
  }

  #failed(reason: unknown): void {
    const wasConnected = this.#channel !== undefined;
    this.#channel = undefined;
    if (this.#closed) return;
    if (wasConnected) this.#options.unreachable(this.#id);
    const failure = reason === undefined ? 'the other side closed' : errorMessage(reason);
    // Once per kind of failure: a peer that is down is dialled many times.
    if (failure !== this.#lastFailure) {
      this.#options.logger.warn(
        { peer: this.#id, address: this.address, code: errorCode(reason) },
        `no connection to peer: ${failure}`,
      );
    }
    this.#lastFailure = failure;
  }

  #redial(): void {
    if (this.#closed) return;
    const { timers, random } = this.#options.env;
    this.#timer = timers.after(this.#redialMs * (0.5 + random.float() / 2), () => this.dial());
    this.#redialMs = Math.min(this.#redialMs * 2, MAX_REDIAL_MS);
  }
}
