/**
 * The connections between nodes. Every node dials the members that it knows of and sends on the connection it dialled. A
 * lost connection is dialled again, for ever, with a pause.
 *
 * Whoever is of this incarnation of the cluster, and shows the store that it always showed, is listened to, member or not: a
 * node that is behind may not know yet that its leader is a member. It answers such a node on the connection that the
 * other dialled.
 */
import { type Address, type Logger, parseAddress, type Timer } from '../env/env.js';
import { errorCode, errorMessage } from '../env/errors.js';
import type { BufferBudget } from '../net/buffer-budget.js';
import type { Channel } from '../net/channel.js';
import { ChannelListener } from '../net/channel-listener.js';
import { connectChannel } from '../net/connect.js';
import { hostOf } from '../net/hosts.js';
import { Tally } from '../net/tally.js';
import type { ClusterSecrets, Hello, Identity } from '../protocol/handshake.js';
import type { ReplicaMessage } from '../replica/snapshot-messages.js';
import { OnceAMinute } from './once-a-minute.js';
import { PeerConnection, type PeerConnectionParts } from './peer-connection.js';
import { toProtocol } from './raft-messages.js';

export interface PeerOptions extends PeerConnectionParts {
  readonly logger: Logger;
  readonly identity: Identity;
  readonly budget: BufferBudget;
  readonly security: ClusterSecrets;
  readonly electionTimeoutMaxMs: number;
  readonly unreachable: (node: number) => void;
}

/** Two for each of many members, and room for those that are being replaced. */
const MAX_CONNECTIONS = 256;
const MAX_CONNECTIONS_PER_ADDRESS = 64;
const MAX_CONNECT_TIMEOUT_MS = 3000;
const MIN_CONNECT_TIMEOUT_MS = 500;
const MIN_REDIAL_MS = 50;
const MAX_REDIAL_MS = 1000;

export class Peers {
  readonly #options: PeerOptions;
  readonly #links = new Map<number, PeerLink>();
  /** The newest connection that each node has dialled. */
  readonly #inbound = new Map<number, PeerConnection>();
  readonly #greeted = new Set<PeerConnection>();
  readonly #refusals: OnceAMinute;
  #unsendable = 0;
  #listener: ChannelListener | undefined;
  #closed = false;

  constructor(options: PeerOptions) {
    this.#options = options;
    this.#refusals = new OnceAMinute(options.env.clock);
  }

  /** Dials the others, and hangs up on those that are none any more. */
  setMembers(members: readonly { readonly id: number; readonly peer: string }[]): void {
    if (this.#closed) return;
    for (const { id, peer } of members) {
      const present = this.#links.get(id);
      if (id === this.#options.identity.nodeId || peer === '' || present?.address === peer) continue;
      void present?.close();
      const link = new PeerLink(this.#options, this.#greeted, id, peer);
      this.#links.set(id, link);
      link.dial();
    }
    for (const [id, link] of this.#links) {
      if (members.some((member) => member.id === id)) continue;
      this.#links.delete(id);
      void link.close();
    }
    // Who was let in before the members' stores were known here may not be who it says.
    for (const { node, storeId, channel } of this.#greeted) {
      if (node !== undefined && this.#options.known.refuse(node, storeId ?? '') !== undefined)
        channel.abort();
    }
  }

  /** Accepts the others' connections. Rejects with the system's code. */
  async listen(address: Address): Promise<Address> {
    const { env, identity, security, logger, budget } = this.#options;
    const closings = new Tally<{ remote: string; message: string }>(
      env.timers,
      (code, { remote, message }, more) =>
        logger.warn({ remote, code, ...(more > 0 ? { more } : {}) }, `peer connection closed: ${message}`),
    );
    const refusals = new Tally<string>(env.timers, (limit, remote, more) =>
      logger.warn({ remote, ...(more > 0 ? { more } : {}) }, `peer connection refused: ${limit}`),
    );
    this.#listener = await ChannelListener.listen(env, address, {
      maxConnections: MAX_CONNECTIONS,
      maxConnectionsPerAddress: MAX_CONNECTIONS_PER_ADDRESS,
      budget: { of: budget, kind: 'peer' },
      initialise: (channel) => {
        const connection = new PeerConnection(this.#options, this.#greeted, channel);
        connection.begin({
          side: 'accepting',
          identity,
          security,
          expectedRoles: ['peer'],
          refuse: (hello) => this.#refuse(hello),
          greeted: ({ nodeId }) => this.#inbound.set(nodeId, connection),
        });
      },
      closed: (channel, reason) => {
        for (const [id, inbound] of this.#inbound) if (inbound.channel === channel) this.#inbound.delete(id);
        const code = errorCode(reason) ?? 'ERROR';
        // A node that is refused dials again and again, each time from another port.
        if (reason && this.#refusals.isDue(`${hostOf(channel.remote)} ${code}`))
          closings.add(code, { remote: channel.remote, message: reason.message });
      },
      refused: (remote, limit) => refusals.add(limit, remote),
    });
    return this.#listener.address;
  }

  send(to: number, group: number, message: ReplicaMessage): void {
    const dialled = this.#links.get(to)?.connection;
    const inbound = this.#inbound.get(to);
    const { channel } =
      (dialled?.isSilent && inbound && !inbound.isSilent ? inbound : (dialled ?? inbound)) ?? {};
    try {
      channel?.write(toProtocol(group, message));
    } catch (error) {
      this.#unsendable++;
      const { logger } = this.#options;
      logger.error(
        { peer: to, type: message.type, code: errorCode(error), unsendable: this.#unsendable },
        `a message to a peer cannot be sent and is dropped: ${errorMessage(error)}`,
      );
    }
  }

  /** Messages dropped since the start because they cannot be encoded. */
  get unsendable(): number {
    return this.#unsendable;
  }

  /** The birth of the cluster has come further here. */
  announce(): void {
    for (const connection of this.#greeted) connection.announce();
  }

  /** The data folder that a node has shown which is connected and may belong here. */
  storeIdOf(node: number): string | undefined {
    for (const connection of this.#greeted)
      if (connection.node === node && connection.isAccepted) return connection.storeId;
    return undefined;
  }

  isReachable(node: number): boolean {
    return this.#links.get(node)?.connection !== undefined;
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

class PeerLink {
  readonly #options: PeerOptions;
  readonly #greeted: Set<PeerConnection>;
  readonly #id: number;
  readonly address: string;
  /** Accepted, and so good for sending. */
  #connection: PeerConnection | undefined;
  /** The newest, perhaps still waiting for the other side's hello. */
  #dialled: Channel | undefined;
  #dialling: Promise<void> | undefined;
  #redialMs = MIN_REDIAL_MS;
  #timer: Timer | undefined;
  readonly #failures: OnceAMinute;
  #closed = false;

  constructor(options: PeerOptions, greeted: Set<PeerConnection>, id: number, address: string) {
    this.#options = options;
    this.#greeted = greeted;
    this.#id = id;
    this.address = address;
    this.#failures = new OnceAMinute(options.env.clock);
  }

  /** Undefined while it is not connected. */
  get connection(): PeerConnection | undefined {
    return this.#connection;
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
    const { env, identity, security, known, budget, electionTimeoutMaxMs } = this.#options;
    const connectTimeoutMs = Math.min(
      MAX_CONNECT_TIMEOUT_MS,
      Math.max(MIN_CONNECT_TIMEOUT_MS, electionTimeoutMaxMs),
    );
    const channel = await connectChannel(env, parseAddress(this.address), {
      connectTimeoutMs,
      budget: { of: budget, kind: 'peer' },
      initialise: (fresh) => {
        const connection = new PeerConnection(this.#options, this.#greeted, fresh, () => {
          this.#connection = connection;
          this.#redialMs = MIN_REDIAL_MS;
          this.#options.logger.info({ peer: this.#id, address: this.address }, 'connected to peer');
        });
        connection.begin({
          side: 'connecting',
          identity,
          security,
          expectedRoles: ['peer'],
          refuse: (hello) =>
            hello.nodeId === this.#id
              ? known.refuse(hello.nodeId, hello.storeId)
              : `node ${hello.nodeId} answers where node ${this.#id} belongs`,
        });
      },
    });
    this.#dialled = channel;
    if (this.#closed) channel.abort();
    return channel.closed;
  }

  #failed(reason: unknown): void {
    const wasConnected = this.#connection !== undefined;
    this.#connection = undefined;
    if (this.#closed) return;
    if (wasConnected) this.#options.unreachable(this.#id);
    const failure = reason === undefined ? 'the other side closed' : errorMessage(reason);
    // A peer that is down is dialled many times.
    if (wasConnected || this.#failures.isDue(failure)) {
      this.#options.logger.warn(
        { peer: this.#id, address: this.address, code: errorCode(reason) },
        `no connection to peer: ${failure}`,
      );
    }
  }

  #redial(): void {
    if (this.#closed) return;
    const { timers, random } = this.#options.env;
    this.#timer = timers.after(this.#redialMs * (0.5 + random.float() / 2), () => this.dial());
    this.#redialMs = Math.min(this.#redialMs * 2, MAX_REDIAL_MS);
  }
}
