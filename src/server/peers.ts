/**
 * The connections between nodes. Every node dials the members that it knows, and sends on the connection that it
 * dialled. A lost connection is dialled again, after a pause, without end.
 *
 * A node is accepted if it has proven the cluster secret, is of this incarnation of the cluster, and is not known with
 * another store id. It need not be a member: a node that is behind may not know yet that its leader is a member. The
 * core decides which of its messages count (raft/senders.ts). It is answered on the connection that it dialled.
 */
import { type Address, type Logger, parseAddress, type Timer } from '../env/env.js';
import { errorCode, errorMessage, RaftreeError } from '../env/errors.js';
import { OnceAMinute } from '../env/once-a-minute.js';
import type { BufferBudget } from '../net/buffer-budget.js';
import type { Channel } from '../net/channel.js';
import { ChannelListener } from '../net/channel-listener.js';
import { connectChannel } from '../net/connect.js';
import { hostOf } from '../net/hosts.js';
import { Tally } from '../net/tally.js';
import type { ClusterSecrets, Hello, Identity } from '../protocol/handshake.js';
import type { OutboundMessage } from '../protocol/messages.js';
import type { ReplicaMessage } from '../replica/snapshot-messages.js';
import type { KnownPeers, Shown } from './known-peers.js';
import { type PeerAnnouncement, PeerConnection, type PeerConnectionParts } from './peer-connection.js';
import { toProtocol } from './raft-messages.js';

export interface PeerOptions extends PeerConnectionParts {
  readonly known: KnownPeers;
  readonly logger: Logger;
  readonly identity: Identity;
  readonly budget: BufferBudget;
  /** Limit of connections that others have dialled. */
  readonly maxConnections: number;
  readonly security: ClusterSecrets;
  readonly electionTimeoutMaxMs: number;
  readonly unreachable: (node: number) => void;
}

/** A member and its addresses, which are tried in turn. */
export interface PeerTarget {
  readonly id: number;
  readonly addresses: readonly string[];
}

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
  readonly #closings: OnceAMinute;
  /** When the last message of each member's replicas, or of its store, arrived. */
  readonly #heardMs = new Map<number, number>();
  /** Why each member was last refused. */
  readonly #refusals = new Map<number, string>();
  /** How many messages of replicas and stores went to each member, and came from it. */
  readonly #traffic = new Map<number, { sent: number; received: number }>();
  #unsendable = 0;
  #listener: ChannelListener | undefined;
  /** Called when this node has connected to itself. */
  readonly #metItself = new Set<() => void>();
  #closed = false;

  constructor(options: PeerOptions) {
    this.#options = {
      ...options,
      received: (group, from, message) => {
        this.#heard(from);
        options.received(group, from, message);
      },
      alive: (from, epoch) => {
        this.#heard(from);
        options.alive(from, epoch);
      },
      announced: (from, storeId, said) =>
        this.#refusalOf(from, { ...said, storeId }) ?? options.announced(from, storeId, said),
    };
    this.#closings = new OnceAMinute(options.env.clock);
  }

  /** Dials the other members, and closes connections to former ones. */
  setMembers(members: readonly PeerTarget[]): void {
    if (this.#closed) return;
    for (const { id, addresses } of members) {
      const present = this.#links.get(id);
      const isKnown = present?.addresses.join() === addresses.join();
      if (id === this.#options.identity.nodeId || addresses.length === 0 || isKnown) continue;
      void present?.close();
      const link = new PeerLink(this.#options, this.#greeted, id, addresses);
      this.#links.set(id, link);
      link.dial();
    }
    for (const [id, link] of this.#links) {
      if (members.some((member) => member.id === id)) continue;
      this.#links.delete(id);
      this.#heardMs.delete(id);
      this.#refusals.delete(id);
      this.#traffic.delete(id);
      void link.close();
    }
    // A node may have been accepted before it was a member, or before its store id was known: it is checked again.
    for (const connection of this.#greeted) if (!this.#isWhoItSays(connection)) connection.channel.abort();
  }

  #isWhoItSays({ node, storeId = '', said, isOfSameBirth }: PeerConnection): boolean {
    const { known, logger } = this.#options;
    // Without an announcement it is checked when that arrives.
    if (node === undefined || said === undefined) return true;
    try {
      const shown = { ...said, storeId };
      const refusal = isOfSameBirth ? known.remember(node, shown) : known.refuse(node, shown);
      return refusal === undefined;
    } catch (error) {
      // It is remembered when it connects again.
      logger.warn({ peer: node }, `peers.json could not be written: ${errorMessage(error)}`);
      return false;
    }
  }

  /** Accepts connections of other nodes. Rejects with the system's code. */
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
      maxConnections: this.#options.maxConnections,
      maxConnectionsPerAddress: MAX_CONNECTIONS_PER_ADDRESS,
      budget: { of: budget, kind: 'peer' },
      initialise: (channel) => {
        // Any node may connect here. Only a node that this one dialled may report it as outdated.
        const parts = { ...this.#options, outdated() {} };
        const connection = new PeerConnection(parts, this.#greeted, channel, () => {
          if (connection.node !== undefined) this.#inbound.set(connection.node, connection);
        });
        connection.begin({
          side: 'accepting',
          identity,
          security,
          expectedRoles: ['peer'],
          refuse: (hello) => this.#refuse(hello),
        });
      },
      closed: (channel, reason) => {
        for (const [id, inbound] of this.#inbound) {
          if (inbound.channel !== channel) continue;
          const another = [...this.#greeted].find(({ node, isAccepted }) => node === id && isAccepted);
          if (another) this.#inbound.set(id, another);
          else this.#inbound.delete(id);
        }
        const code = errorCode(reason) ?? 'ERROR';
        // A refused node dials again and again, each time from another port.
        if (reason && this.#closings.isDue(`${hostOf(channel.remote)} ${code}`))
          closings.add(code, { remote: channel.remote, message: reason.message });
      },
      refused: (remote, limit) => refusals.add(limit, remote),
    });
    return this.#listener.address;
  }

  send(to: number, group: number, message: ReplicaMessage): void {
    this.#send(to, message.type, () => toProtocol(group, message));
  }

  sendAlive(to: number, epoch: number): void {
    this.#send(to, 'alive', () => ({ type: 'alive', epoch }));
  }

  /** A request to a node, or an answer: sends or drops it. */
  sendCall(to: number, message: OutboundMessage): void {
    this.#send(to, message.type, () => message);
  }

  #send(to: number, type: string, message: () => OutboundMessage): void {
    const dialled = this.#links.get(to)?.connection;
    const inbound = this.#inbound.get(to);
    const { channel } =
      (dialled?.isSilent && inbound && !inbound.isSilent ? inbound : (dialled ?? inbound)) ?? {};
    try {
      if (!channel) return;
      channel.write(message());
      if (this.#links.has(to)) this.#trafficOf(to).sent++;
    } catch (error) {
      this.#unsendable++;
      const { logger } = this.#options;
      logger.error(
        { peer: to, type, code: errorCode(error), unsendable: this.#unsendable },
        `a message to a peer cannot be sent and is dropped: ${errorMessage(error)}`,
      );
    }
  }

  /** Messages since the start, or since the node became a member. */
  traffic(node: number): { readonly sent: number; readonly received: number } {
    return this.#traffic.get(node) ?? { sent: 0, received: 0 };
  }

  #heard(from: number): void {
    if (!this.#links.has(from)) return;
    this.#heardMs.set(from, this.#options.env.clock.nowMs());
    this.#trafficOf(from).received++;
  }

  #trafficOf(node: number) {
    let traffic = this.#traffic.get(node);
    if (!traffic) {
      traffic = { sent: 0, received: 0 };
      this.#traffic.set(node, traffic);
    }
    return traffic;
  }

  /** Messages dropped since the start because they cannot be encoded. */
  get unsendable(): number {
    return this.#unsendable;
  }

  /** Sends this node's announcement again: it has changed. */
  announce(): void {
    for (const connection of this.#greeted) connection.announce();
  }

  /** The store id of a connected node. Undefined if it is not connected, or was not accepted. */
  storeIdOf(node: number): string | undefined {
    for (const connection of this.#greeted)
      if (connection.node === node && connection.isAccepted) return connection.storeId;
    return undefined;
  }

  /** The node is connected, of this cluster, and not silent. */
  isConnected(node: number): boolean {
    return this.#connectionWith(node)?.isListenedTo === true;
  }

  /** The node is connected, and a Raft message of it arrived within an election timeout. */
  isHeard(node: number): boolean {
    return (
      (this.heardMsAgo(node) ?? Infinity) <= this.#options.electionTimeoutMinMs && this.isConnected(node)
    );
  }

  /** Time since its last Raft message. Undefined if none arrived since it is a member, or since this process began. */
  heardMsAgo(node: number): number | undefined {
    const atMs = this.#heardMs.get(node);
    return atMs === undefined ? undefined : Math.max(0, Math.round(this.#options.env.clock.nowMs() - atMs));
  }

  /** Why a member is not connected, or its messages do not count. Empty if there is no problem, or none is known. */
  problemOf(node: number): string {
    const connection = this.#connectionWith(node);
    if (!connection) return this.#refusals.get(node) ?? this.#links.get(node)?.failure ?? '';
    if (!connection.isOfSameBirth)
      return `node ${node} has not joined: its data folder is empty; set "join": true in its node.json`;
    return connection.isSilent ? `node ${node} is connected, but says nothing` : '';
  }

  #connectionWith(node: number): PeerConnection | undefined {
    let found: PeerConnection | undefined;
    for (const connection of this.#greeted) {
      if (connection.node !== node || !connection.isAccepted) continue;
      if (connection.isListenedTo) return connection;
      found ??= connection;
    }
    return found;
  }

  /**
   * The store id of the node that answers at an address. A node that is just starting is waited for. Rejects with
   * `MEMBER_UNREACHABLE` if no node answers in time, or one that is not this node, or cannot become this member.
   */
  async reach(node: number, address: string): Promise<string> {
    const { env, electionTimeoutMaxMs } = this.#options;
    const untilMs = env.clock.nowMs() + connectTimeoutMs(electionTimeoutMaxMs);
    for (;;) {
      try {
        return await this.#reachOnce(
          node,
          address,
          Math.max(MIN_CONNECT_TIMEOUT_MS, untilMs - env.clock.nowMs()),
        );
      } catch (error) {
        const isOther = error instanceof RaftreeError && error.code === 'IDENTITY_MISMATCH';
        if (isOther || env.clock.nowMs() >= untilMs || this.#closed)
          throw new RaftreeError(
            'MEMBER_UNREACHABLE',
            `node ${node} was not reached at its peer address ${address}: ${errorMessage(error)}`,
            { cause: error, info: { outcome: 'notCommitted' } },
          );
      }
      await new Promise<void>((resolve) => env.timers.after(MIN_REDIAL_MS, resolve));
    }
  }

  async #reachOnce(node: number, address: string, limitMs: number): Promise<string> {
    const { env, identity, security, budget } = this.#options;
    let channel: Channel | undefined;
    let timer: Timer | undefined;
    let metItself = () => {};
    try {
      return await new Promise<string>((resolve, reject) => {
        timer = env.timers.after(limitMs, () => reject(new Error(`no answer within ${limitMs} ms`)));
        // The other end of this connection is this node, and refuses its own id.
        metItself = () => resolve(identity.storeId);
        if (node === identity.nodeId) this.#metItself.add(metItself);
        const parts: PeerConnectionParts = {
          ...this.#options,
          known: { isOther: () => false, lost: () => undefined, remember: () => undefined },
          announced: (_from, storeId, said) => {
            const refusal = this.#unfit(node, storeId, said);
            if (refusal === undefined) resolve(storeId);
            return refusal;
          },
          left() {},
          outdated() {},
          received() {},
          alive() {},
          calls: undefined,
        };
        const ended = connectChannel(env, parseAddress(address), {
          connectTimeoutMs: limitMs,
          budget: { of: budget, kind: 'peer' },
          initialise: (fresh) => {
            channel = fresh;
            new PeerConnection(parts, new Set(), fresh).begin({
              side: 'connecting',
              identity,
              security,
              expectedRoles: ['peer'],
              refuse: (hello) => (hello.nodeId === node ? undefined : `node ${hello.nodeId} answers there`),
            });
          },
        }).then((opened) => opened.closed);
        ended.then((reason) => reject(reason ?? new Error('it closed the connection')), reject);
      });
    } finally {
      this.#metItself.delete(metItself);
      timer?.cancel();
      channel?.abort();
    }
  }

  /** Why a node with this store id cannot become, or stay, this member. */
  #unfit(node: number, storeId: string, said: PeerAnnouncement): string | undefined {
    const { phase, incarnation, joins } = said;
    const { known, announcement } = this.#options;
    const owner = known.ownerOf(storeId);
    if (owner !== undefined && owner !== node)
      return `its data folder is the one of node ${owner}; is it a copy?`;
    if (this.#links.has(node)) {
      const refusal = known.refuse(node, { ...said, storeId });
      if (refusal !== undefined) return refusal;
    }
    if (incarnation !== '' && incarnation !== announcement().incarnation)
      return 'it belongs to another cluster of the same name; empty its data folder, or correct the address';
    if (phase !== 'born' && !joins)
      return 'it begins a cluster of its own; set "join": true in its node.json';
    return undefined;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#links.values()].map((link) => link.close()));
    await this.#listener?.close('at once');
  }

  #refuse(hello: Hello): string | undefined {
    const { identity } = this.#options;
    if (hello.nodeId !== identity.nodeId) return undefined;
    if (hello.storeId === identity.storeId) for (const met of this.#metItself) met();
    return `node ${hello.nodeId} is this node's own id`;
  }

  #refusalOf(from: number, shown: Shown): string | undefined {
    const refusal = this.#options.known.refuse(from, shown);
    if (refusal === undefined) this.#refusals.delete(from);
    else if (this.#links.has(from)) this.#refusals.set(from, refusal);
    return refusal;
  }
}

function connectTimeoutMs(electionTimeoutMaxMs: number): number {
  return Math.min(MAX_CONNECT_TIMEOUT_MS, Math.max(MIN_CONNECT_TIMEOUT_MS, electionTimeoutMaxMs));
}

class PeerLink {
  readonly #options: PeerOptions;
  readonly #greeted: Set<PeerConnection>;
  readonly #id: number;
  readonly addresses: readonly string[];
  /** Failed attempts: each one is followed by the next address. */
  #failures = 0;
  /** Accepted: used for sending. */
  #connection: PeerConnection | undefined;
  /** The newest connection, perhaps before the hello of the other side. */
  #dialled: Channel | undefined;
  #dialling: Promise<void> | undefined;
  #redialMs = MIN_REDIAL_MS;
  #timer: Timer | undefined;
  readonly #toldFailures: OnceAMinute;
  /** By address. */
  readonly #lastFailures = new Map<string, string>();
  #closed = false;

  constructor(options: PeerOptions, greeted: Set<PeerConnection>, id: number, addresses: readonly string[]) {
    this.#options = options;
    this.#greeted = greeted;
    this.#id = id;
    this.addresses = addresses;
    this.#toldFailures = new OnceAMinute(options.env.clock);
  }

  /** Undefined while it is not connected. */
  get connection(): PeerConnection | undefined {
    return this.#connection;
  }

  /** Why there is no connection. Undefined while there is one, and before the first failure. */
  get failure(): string | undefined {
    return this.#connection ? undefined : this.#lastFailures.get(this.addresses[0] ?? '');
  }

  dial(): void {
    if (this.#closed) return;
    const address = this.addresses[this.#failures % this.addresses.length] ?? '';
    this.#dialling = this.#connect(address)
      .then(
        (reason) => this.#failed(address, reason),
        (error: unknown) => this.#failed(address, error),
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
  async #connect(address: string): Promise<Error | undefined> {
    const { env, identity, security, budget, electionTimeoutMaxMs } = this.#options;
    const channel = await connectChannel(env, parseAddress(address), {
      connectTimeoutMs: connectTimeoutMs(electionTimeoutMaxMs),
      budget: { of: budget, kind: 'peer' },
      initialise: (fresh) => {
        const connection = new PeerConnection(this.#options, this.#greeted, fresh, () => {
          this.#connection = connection;
          this.#redialMs = MIN_REDIAL_MS;
          this.#lastFailures.clear();
          this.#options.logger.info({ peer: this.#id, address }, 'connected to peer');
        });
        connection.begin({
          side: 'connecting',
          identity,
          security,
          expectedRoles: ['peer'],
          refuse: (hello) =>
            hello.nodeId === this.#id
              ? undefined
              : `node ${hello.nodeId} answers where node ${this.#id} belongs`,
        });
      },
    });
    this.#dialled = channel;
    if (this.#closed) channel.abort();
    return channel.closed;
  }

  #failed(address: string, reason: unknown): void {
    const wasConnected = this.#connection !== undefined;
    this.#connection = undefined;
    if (this.#closed) return;
    if (wasConnected) this.#options.unreachable(this.#id);
    else this.#failures++;
    const failure = reason === undefined ? 'the other side closed' : errorMessage(reason);
    // A node that is down is dialled many times.
    if (wasConnected || this.#toldFailures.isDue(`${address} ${failure}`)) {
      this.#options.logger.warn(
        { peer: this.#id, address, code: errorCode(reason) },
        `no connection to peer: ${failure}`,
      );
    }
    this.#lastFailures.set(address, failure);
  }

  #redial(): void {
    if (this.#closed) return;
    const { timers, random } = this.#options.env;
    this.#timer = timers.after(this.#redialMs * (0.5 + random.float() / 2), () => this.dial());
    this.#redialMs = Math.min(this.#redialMs * 2, MAX_REDIAL_MS);
  }
}
