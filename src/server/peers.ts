/**
 * The connections between nodes. Every node dials every other one and sends on the connection it dialled; what it
 * receives comes on those that the others dialled. A lost connection is dialled again, for ever, with a pause.
 */
import { type Address, type Env, type Logger, parseAddress, type Timer } from '../env/env.js';
import { errorCode, errorMessage, RaftreeError } from '../env/errors.js';
import type { Channel } from '../net/channel.js';
import { ChannelListener } from '../net/channel-listener.js';
import { connectChannel } from '../net/connect.js';
import type { HandlerContext } from '../net/pipeline.js';
import type { Hello, Identity } from '../protocol/handshake.js';
import type { Message as ProtocolMessage } from '../protocol/messages.js';
import { protocolPipeline } from '../protocol/protocol-pipeline.js';
import type { ReplicaMessage } from '../replica/snapshot-messages.js';
import type { KnownPeers } from './identity.js';
import { fromProtocol, toProtocol } from './raft-messages.js';

export interface PeerOptions {
  readonly env: Env;
  readonly logger: Logger;
  readonly identity: Identity;
  readonly known: KnownPeers;
  /** Whether a node may speak here at all. */
  readonly isExpected: (node: number) => boolean;
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
      const link = new PeerLink(this.#options, id, peer);
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
    const nodes = new WeakMap<Channel, number>();
    this.#listener = await ChannelListener.listen(env, address, {
      maxConnections: MAX_CONNECTIONS,
      initialise: (channel) =>
        protocolPipeline(channel, {
          limits: { maxFrameBytes },
          handshake: {
            side: 'accepting',
            identity,
            expectedRoles: ['peer'],
            refuse: (hello) => this.#refuse(hello),
            greeted: (hello) => nodes.set(channel, hello.nodeId),
          },
          handler: {
            read: (_context: HandlerContext, message: unknown) => {
              const received = fromProtocol(message as ProtocolMessage);
              const from = nodes.get(channel);
              if (!received || from === undefined) {
                throw new RaftreeError(
                  'MALFORMED_MESSAGE',
                  'only messages between nodes belong on this port',
                );
              }
              this.#options.received(received.group, from, received.message);
            },
          },
        }),
      closed: (channel, reason) => {
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
    this.#links.get(to)?.send(group, message);
  }

  isReachable(node: number): boolean {
    return this.#links.get(node)?.isConnected ?? false;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#links.values()].map((link) => link.close()));
    await this.#listener?.close('at once');
  }

  #refuse(hello: Hello): string | undefined {
    if (!this.#options.isExpected(hello.nodeId))
      return `node ${hello.nodeId} is not a member of this cluster`;
    return this.#options.known.check(hello.nodeId, hello.storeId);
  }
}

class PeerLink {
  readonly #options: PeerOptions;
  readonly #id: number;
  readonly address: string;
  /** Greeted, and so good for sending. */
  #channel: Channel | undefined;
  /** The newest, perhaps still waiting for the other side's hello. */
  #dialled: Channel | undefined;
  #dialling: Promise<void> | undefined;
  #redialMs = MIN_REDIAL_MS;
  #timer: Timer | undefined;
  #lastFailure: string | undefined;
  #closed = false;

  constructor(options: PeerOptions, id: number, address: string) {
    this.#options = options;
    this.#id = id;
    this.address = address;
  }

  get isConnected(): boolean {
    return this.#channel !== undefined;
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

  send(group: number, message: ReplicaMessage): void {
    this.#channel?.write(toProtocol(group, message));
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
      initialise: (fresh) =>
        protocolPipeline(fresh, {
          limits: { maxFrameBytes },
          handshake: {
            side: 'connecting',
            identity,
            expectedRoles: ['peer'],
            refuse: (hello) =>
              hello.nodeId === this.#id
                ? known.check(hello.nodeId, hello.storeId)
                : `node ${hello.nodeId} answers where node ${this.#id} belongs`,
            greeted: () => {
              this.#channel = fresh;
              this.#redialMs = MIN_REDIAL_MS;
              this.#lastFailure = undefined;
              this.#options.logger.info({ peer: this.#id, address: this.address }, 'connected to peer');
            },
          },
          handler: {},
        }),
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
