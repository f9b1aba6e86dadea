/**
 * One connection with another node; either side may have dialled. After the hello both sides announce their birth
 * (birth.ts), and again when it changes. Messages count only if both are born in the same incarnation of the cluster.
 * A node with another store id than the known one gets no announcement before its own is accepted. Silence is noticed,
 * and small messages overtake large ones.
 */
import type { Env } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import type { Channel } from '../net/channel.js';
import { BulkLane, MAX_PEER_FRAME_BYTES } from '../protocol/bulk-lane.js';
import { receivedError } from '../protocol/error-codes.js';
import type { Hello } from '../protocol/handshake.js';
import { LinkWatch } from '../protocol/link-watch.js';
import type { MessageContext, MessageHandler, ReceivedMessage } from '../protocol/message-handlers.js';
import { MessageLists } from '../protocol/message-lists.js';
import type { OutboundMessage } from '../protocol/messages.js';
import { type ProtocolPipelineOptions, protocolPipeline } from '../protocol/protocol-pipeline.js';
import type { ReplicaMessage } from '../replica/snapshot-messages.js';
import type { Announcement } from './birth.js';
import { type KnownPeers, memberAt } from './known-peers.js';
import type { NodeCalls } from './node-calls.js';
import { fromProtocol } from './raft-messages.js';

/** What this node announces to a connected node. */
export interface PeerAnnouncement extends Announcement {
  /** Its storage engine. */
  readonly engine: string;
  /** Of the configuration in force here, and who belongs to it. */
  readonly configurationIndex: number;
  readonly members: readonly number[];
  /** That configuration has the node as a member with this very data folder. */
  readonly isMember: boolean;
  /** How often its data folder was started, and a random name of this run. */
  readonly starts: number;
  readonly run: string;
  /** Where the log of each of its tablets ends. */
  readonly logs: readonly { readonly tablet: number; readonly lastIndex: number }[];
}

export interface PeerConnectionParts {
  readonly env: Env;
  readonly known: Pick<KnownPeers, 'isOther' | 'lost' | 'remember'>;
  readonly electionTimeoutMinMs: number;
  readonly announcement: () => PeerAnnouncement;
  /** The incarnation in which this node is born; empty before. It is asked for with each message. */
  readonly bornIn: () => string;
  /** Another node's announcement. Returns why the two nodes refuse each other, or undefined. */
  readonly announced: (from: number, storeId: string, said: PeerAnnouncement) => string | undefined;
  /** A node that had announced itself is not connected any more. */
  readonly left: (node: number) => void;
  /** The other node says that this node's data folder has lost what it acknowledged. */
  readonly outdated: (error: RaftreeError) => void;
  readonly received: (group: number, from: number, message: ReplicaMessage) => void;
  /** The other node is alive, in this epoch. */
  readonly alive: (from: number, epoch: number) => void;
  /** Undefined: requests of other nodes are passed over. */
  readonly calls?: Pick<NodeCalls, 'requested' | 'replied'> | undefined;
}

const MIN_CHECK_MS = 100;

export class PeerConnection implements MessageHandler {
  readonly channel: Channel<OutboundMessage>;
  readonly #parts: PeerConnectionParts;
  /** All connections whose handshake is done. */
  readonly #all: Set<PeerConnection>;
  readonly #accepted: () => void;
  readonly #watch: LinkWatch;
  #other: Hello | undefined;
  #said: PeerAnnouncement | undefined;

  /** `accepted` is called when the other node has announced itself and was accepted. */
  constructor(
    parts: PeerConnectionParts,
    all: Set<PeerConnection>,
    channel: Channel<OutboundMessage>,
    accepted = () => {},
  ) {
    this.#parts = parts;
    this.#all = all;
    this.channel = channel;
    this.#accepted = accepted;
    // Gone after two to two and a half election timeouts.
    this.#watch = new LinkWatch({ checkEveryMs: Math.max(MIN_CHECK_MS, parts.electionTimeoutMinMs / 2) });
  }

  get node(): number | undefined {
    return this.#other?.nodeId;
  }

  get storeId(): string | undefined {
    return this.#other?.storeId;
  }

  /** The other node has announced itself and was accepted. */
  get isAccepted(): boolean {
    return this.#said !== undefined;
  }

  /** The last announcement of the other node. */
  get said(): PeerAnnouncement | undefined {
    return this.#said;
  }

  /** Nothing has arrived for too long. */
  get isSilent(): boolean {
    return this.#watch.isSilent;
  }

  /** Both nodes are born in the same incarnation of the cluster: messages count. */
  get isOfSameBirth(): boolean {
    const bornIn = this.#parts.bornIn();
    return bornIn !== '' && this.#said?.phase === 'born' && this.#said.incarnation === bornIn;
  }

  get isListenedTo(): boolean {
    return this.isOfSameBirth && !this.isSilent;
  }

  begin(handshake: ProtocolPipelineOptions['handshake']): void {
    const { env, electionTimeoutMinMs } = this.#parts;
    const lane = new BulkLane({ clock: env.clock, targetDelayMs: electionTimeoutMinMs / 8 });
    protocolPipeline(this.channel, {
      limits: { maxFrameBytes: MAX_PEER_FRAME_BYTES, maxSentFrameBytes: MAX_PEER_FRAME_BYTES },
      handshake: {
        ...handshake,
        greeted: (hello, channel, isProven) => {
          this.#other = hello;
          handshake.greeted?.(hello, channel, isProven);
        },
      },
      between: [this.#watch, lane, new MessageLists(lane)],
      handler: this,
    });
  }

  active(): void {
    this.#all.add(this);
    this.announce();
  }

  announce(): void {
    if (!this.isAccepted && this.#isOther) return;
    this.channel.write({ type: 'birth', ...this.#parts.announcement() });
  }

  read(_context: MessageContext, message: ReceivedMessage): void {
    if (message.type === 'error') {
      const error = receivedError(message);
      if (error.code === 'STORE_OUTDATED' && this.isOfSameBirth) this.#parts.outdated(error);
      throw error;
    }
    const from = this.#other?.nodeId;
    if (from === undefined) throw malformed();
    if (message.type === 'birth') {
      this.#take(from, message);
      return;
    }
    if (message.type === 'alive') {
      if (this.isOfSameBirth) this.#parts.alive(from, message.epoch);
      return;
    }
    if (message.type === 'nodeRequest' || message.type === 'nodeReply') {
      const { calls } = this.#parts;
      if (!this.isOfSameBirth || !calls) return;
      if (message.type === 'nodeReply') calls.replied(from, message.id, message.body);
      else void calls.requested(from, message.id, message.body);
      return;
    }
    const fromReplica = fromProtocol(message);
    if (!fromReplica) throw malformed();
    if (this.isOfSameBirth) this.#parts.received(fromReplica.group, from, fromReplica.message);
  }

  inactive(): void {
    this.#all.delete(this);
    const node = this.#other?.nodeId;
    const isGone = node !== undefined && ![...this.#all].some((one) => one.#other?.nodeId === node);
    if (isGone) this.#parts.left(node);
  }

  #take(from: number, said: PeerAnnouncement): void {
    const { known, announced } = this.#parts;
    const storeId = this.#other?.storeId ?? '';
    const refusal = announced(from, storeId, said);
    if (refusal !== undefined) throw new RaftreeError('IDENTITY_MISMATCH', refusal);
    const isFirst = this.#said === undefined;
    const isUntold = isFirst && this.#isOther;
    this.#said = said;
    // Only nodes of the same cluster are remembered.
    if (this.isOfSameBirth) {
      const lost = known.lost(from, { ...said, storeId });
      const wrong = lost ?? this.#otherRun(from, said) ?? known.remember(from, { ...said, storeId });
      if (wrong !== undefined) {
        this.#said = undefined;
        throw new RaftreeError(lost ? 'STORE_OUTDATED' : 'IDENTITY_MISMATCH', wrong);
      }
      // A node id has one data folder: the one in the newer configuration.
      for (const other of this.#others(from)) if (other.storeId !== storeId) other.channel.abort();
    }
    if (isUntold) this.announce();
    if (isFirst) this.#accepted();
  }

  get #isOther(): boolean {
    const { nodeId, storeId = '' } = this.#other ?? {};
    return nodeId !== undefined && this.#parts.known.isOther(nodeId, storeId);
  }

  /** Connections with the same node that are listened to. */
  #others(node: number): PeerConnection[] {
    return [...this.#all].filter((other) => other !== this && other.node === node && other.isListenedTo);
  }

  /** Of two runs of one folder, the first one counts while it is connected. */
  #otherRun(from: number, said: PeerAnnouncement): string | undefined {
    for (const other of this.#others(from)) {
      if (!other.#said || other.#said.run === said.run) continue;
      if (other.storeId !== this.storeId && memberAt(other.#said) < memberAt(said)) continue;
      return (
        `node ${from} is connected already, with an earlier run of its data folder: if that is over, this passes by ` +
        'itself; else the folder was copied and runs twice: stop one of the two'
      );
    }
    return undefined;
  }
}

function malformed(): RaftreeError {
  return new RaftreeError('MALFORMED_MESSAGE', 'only messages between nodes belong on this port');
}
