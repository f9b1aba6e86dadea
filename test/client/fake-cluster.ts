/**
 * A cluster's client side, scripted: nodes on a simulated network that share one map of keys, the sessions and the
 * leadership. A test's `script` sees each request first and may change what happens to it.
 */

import type { Channel } from '../../src/net/channel.js';
import { ChannelListener } from '../../src/net/channel-listener.js';
import type { HandlerContext } from '../../src/net/pipeline.js';
import { type ErrorCode, errorReply } from '../../src/protocol/error-codes.js';
import { MAX_ANSWER_BYTES } from '../../src/protocol/limits.js';
import type { ReceivedMessage } from '../../src/protocol/message-handlers.js';
import type { MessageOf, OutboundMessage, OutboundOf, Request } from '../../src/protocol/messages.js';
import { protocolPipeline } from '../../src/protocol/protocol-pipeline.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { type SimProcess, SimWorld } from '../../src/sim/world/world.js';

/**
 * What happens to a request: nothing special (undefined), an error, no answer although it was carried out or although
 * it was not, the connection breaks after or before it was carried out, it is carried out when the test says so, or
 * it gets an answer made up by the test.
 */
export type Fate =
  | undefined
  | ErrorCode
  | 'silent after'
  | 'silent before'
  | 'break after'
  | 'break before'
  | 'hold'
  | ((request: Request) => OutboundMessage);

export interface SeenRequest {
  readonly node: number;
  readonly request: Request;
}

export const LIMITS: OutboundOf<'limits'> = {
  type: 'limits',
  maxKeyBytes: 4096,
  maxValueBytes: 8_000_000,
  maxRequestBytes: 16_000_000,
  maxOperationsPerRequest: 4096,
  maxAnswerBytes: 65_000_000,
};

export class FakeCluster {
  readonly world: SimWorld;
  readonly seen: SeenRequest[] = [];
  /** Keys in order are found by sorting: tests are small. Binary strings. */
  readonly data = new Map<string, { value: Buffer; version: number }>();
  readonly sessions = new Map<number, Map<number, OutboundMessage>>();
  /** By session: what the client has said that it waits for no more. */
  readonly floors = new Map<number, number>();
  readonly processes = new Map<number, SimProcess>();
  readonly held: (() => void)[] = [];
  leader = 1;
  voters: number[] = [];
  learners: number[] = [];
  outgoing: number[] = [];
  peers: MessageOf<'statusReply'>['peers'] = [];
  /** Index of the last change of members. */
  configurationIndex = 0;
  clusterId = 'fake';
  index = 0;
  window = 1024;
  /** Most entries in a page of a scan. */
  pageEntries = 3;
  script: (request: Request, node: number) => Fate = () => undefined;
  readonly client: SimProcess;
  /** Channels open now, by node. */
  readonly open = new Map<number, Set<Channel>>();

  constructor(seed: number) {
    this.world = new SimWorld(seed);
    this.client = this.world.start('client', new SimDisk());
  }

  static async start(seed: number, nodes = 3): Promise<FakeCluster> {
    const cluster = new FakeCluster(seed);
    for (let node = 1; node <= nodes; node++) {
      await cluster.startNode(node);
      cluster.voters.push(node);
    }
    return cluster;
  }

  /** The answer to `tablets`: this map by range, of a cluster with these nodes. */
  map(tablets: OutboundOf<'tabletsReply'>['tablets']): (request: Request) => OutboundOf<'tabletsReply'> {
    const nodes = [...this.processes.keys()].map((nodeId) => ({
      ...{ nodeId, clientAddress: this.endpoint(nodeId), isDraining: false },
    }));
    return ({ requestId }) => ({
      ...{ type: 'tabletsReply', requestId, fingerprint: 7, by: 'range', hashVersion: 0, more: false },
      ...{ nodes, tablets },
    });
  }

  endpoint(node: number): string {
    return `node${node}:7000`;
  }

  get endpoints(): string[] {
    return [...this.processes.keys()].map((node) => this.endpoint(node));
  }

  async startNode(node: number): Promise<void> {
    const process = this.world.start(`node${node}`, new SimDisk());
    this.processes.set(node, process);
    const channels = new Set<Channel>();
    this.open.set(node, channels);
    await ChannelListener.listen(
      process.env,
      { host: `node${node}`, port: 7000 },
      {
        maxConnections: 100,
        channel: { maxBufferedBytes: 2 * MAX_ANSWER_BYTES },
        initialise: (channel) => {
          channels.add(channel);
          void channel.closed.then(() => channels.delete(channel));
          protocolPipeline(channel, {
            handshake: {
              side: 'accepting',
              identity: { role: 'server', clusterId: this.clusterId, nodeId: node, storeId: `store${node}` },
              expectedRoles: ['client'],
            },
            handler: {
              active: () => {
                const limits = this.limitsOf(node);
                if (limits) channel.write(limits);
              },
              read: (context, message) => this.#receive(node, context, message as ReceivedMessage),
            },
          });
        },
      },
    );
  }

  /** What a node tells of what it takes. A test may lower it, or have it say nothing. */
  limitsOf: (node: number) => OutboundOf<'limits'> | undefined = () => LIMITS;

  kill(node: number): void {
    this.processes.get(node)?.kill();
    // The dead do not hear that their connections are gone.
    this.open.get(node)?.clear();
  }

  requests(type: Request['type']): SeenRequest[] {
    return this.seen.filter(({ request }) => request.type === type);
  }

  #receive(node: number, context: HandlerContext, message: ReceivedMessage): void {
    const request = message as unknown as Request;
    this.seen.push({ node, request });
    const fate = this.script(request, node);
    const { channel } = context;
    if (typeof fate === 'function') {
      channel.write(fate(request));
      return;
    }
    const run = () => channel.write(this.answer(request, node));
    switch (fate) {
      case undefined:
        run();
        return;
      case 'silent before':
        return;
      case 'silent after':
        this.answer(request, node);
        return;
      case 'break before':
        channel.abort();
        return;
      case 'break after':
        this.answer(request, node);
        channel.abort();
        return;
      case 'hold':
        this.held.push(run);
        return;
      default:
        channel.write(errorReply(request.requestId, fate, `scripted ${fate}`));
    }
  }

  /** Carries a request out as this node would. */
  answer(request: Request, node: number): OutboundMessage {
    const { requestId } = request;
    if (request.type === 'status') return this.#status(requestId, node);
    if (request.type === 'tablets') throw new Error('nobody needs the map of one tablet');
    if (
      request.type === 'moveReplica' ||
      request.type === 'mergeTablets' ||
      request.type === 'drainNode' ||
      request.type === 'balance'
    )
      throw new Error('this cluster has one tablet');
    if (request.type === 'load') throw new Error('this cluster tells no load');
    const anywhere =
      'consistency' in request && (request.consistency === 'stale' || request.consistency === 'follower');
    if (node !== this.leader && !anywhere) {
      return errorReply(requestId, 'NOT_LEADER', 'ask the leader', {
        leaderId: this.leader,
        leaderAddress: this.leader === 0 ? '' : this.endpoint(this.leader),
      });
    }
    switch (request.type) {
      case 'watch':
        return errorReply(requestId, 'NO_LEADER', 'this cluster tells no changes');
      case 'watchSync':
        return errorReply(requestId, 'INVALID_REQUEST', 'this cluster tells no changes');
      case 'openSession': {
        const sessionId = ++this.index;
        this.sessions.set(sessionId, new Map());
        return { type: 'sessionOpened', requestId, sessionId, window: Math.min(this.window, request.window) };
      }
      case 'get': {
        const found = this.data.get(request.key.toString('latin1'));
        return {
          type: 'getReply',
          requestId,
          found: found !== undefined,
          version: found?.version ?? 0,
          value: found?.value ?? Buffer.alloc(0),
        };
      }
      case 'scan':
        return this.#scan(request);
      case 'write':
        return this.#write(request);
      case 'changeMembers':
        return this.#changeMembers(request);
      case 'splitTablet':
        return { type: 'tabletSplit', requestId, tablet: 1, left: 2, right: 3 };
      case 'transferLeader':
        this.leader = request.nodeId;
        return { type: 'done', requestId, index: 0, changed: true, warnings: [] };
    }
  }

  #write(request: MessageOf<'write'>): OutboundMessage {
    const { requestId, sessionId, sequence, acknowledgedThrough, after } = request;
    const session = this.sessions.get(sessionId);
    if (!session) return errorReply(requestId, 'SESSION_EXPIRED', 'unknown session');
    if (sequence > acknowledgedThrough + this.window) throw new Error('the client went beyond its window');
    const known = session.get(sequence);
    if (known) return { ...known, requestId } as OutboundMessage;
    const floor = Math.max(acknowledgedThrough, this.floors.get(sessionId) ?? 0);
    if (sequence <= floor) return errorReply(requestId, 'INVALID_REQUEST', 'below the floor');
    if (after >= sequence) return errorReply(requestId, 'INVALID_REQUEST', 'it follows a later one');
    if (after > floor && !session.has(after))
      return errorReply(requestId, 'OUT_OF_ORDER', 'the other comes first');
    this.floors.set(sessionId, floor);
    const index = ++this.index;
    const matches = request.operations.map((operation) => {
      const present = this.data.get(operation.key.toString('latin1'));
      if (operation.condition === 'exists') return present !== undefined;
      if (operation.condition === 'absent') return present === undefined;
      if (operation.condition === 'valueIs') {
        return present?.value.equals(operation.conditionValue) ?? false;
      }
      if (operation.condition === 'versionIs') return (present?.version ?? 0) === operation.conditionVersion;
      return true;
    });
    const applied = matches.every(Boolean);
    const results = request.operations.map((operation, i) => {
      const key = operation.key.toString('latin1');
      const present = this.data.get(key);
      const existed = present !== undefined;
      if (applied && operation.action === 'delete') this.data.delete(key);
      if (applied && operation.action === 'put') {
        this.data.set(key, { value: Buffer.from(operation.value), version: index });
      }
      if (applied && operation.action === 'append') {
        const value = Buffer.concat([present?.value ?? Buffer.alloc(0), operation.value]);
        this.data.set(key, { value, version: index });
      }
      if (!applied && matches[i]) return { status: 'notApplied' as const, existed: false, version: 0 };
      const isLookedUp = operation.action !== 'put' || operation.condition !== 'always';
      return {
        status: applied ? ('ok' as const) : ('conditionFailed' as const),
        existed: isLookedUp && existed,
        version: this.data.get(key)?.version ?? 0,
      };
    });
    const reply: OutboundMessage = { type: 'writeReply', requestId, applied, index, results };
    session.set(sequence, reply);
    return reply;
  }

  #scan(request: MessageOf<'scan'>): OutboundMessage {
    const { requestId, reverse, keysOnly } = request;
    const from = request.from.toString('latin1');
    const to = request.to?.toString('latin1');
    const keys = [...this.data.keys()]
      .filter((key) => key >= from && (to === undefined || key < to))
      .sort((a, b) => (a < b === reverse ? 1 : -1));
    const page = keys.slice(0, Math.min(request.limit, this.pageEntries));
    return {
      type: 'scanReply',
      requestId,
      entries: page.map((key) => {
        const { value, version } = this.data.get(key) ?? { value: Buffer.alloc(0), version: 0 };
        return { key: Buffer.from(key, 'latin1'), version, value: keysOnly ? Buffer.alloc(0) : value };
      }),
      more: page.length < keys.length,
    };
  }

  #changeMembers({ requestId, expectedIndex, changes }: MessageOf<'changeMembers'>): OutboundMessage {
    if (expectedIndex !== undefined && expectedIndex !== this.configurationIndex)
      return errorReply(requestId, 'CHANGE_CONFLICT', 'the members were changed');
    let { voters, learners } = this;
    for (const { type, nodeId } of changes) {
      voters = voters.filter((id) => id !== nodeId);
      learners = learners.filter((id) => id !== nodeId);
      if (type === 'addVoter' || type === 'promote') voters = [...voters, nodeId].sort();
      if (type === 'addLearner' || type === 'demote') learners = [...learners, nodeId].sort();
    }
    if (voters.length === 0) return errorReply(requestId, 'CHANGE_INVALID', 'no voter would be left');
    this.voters = voters;
    this.learners = learners;
    this.configurationIndex = ++this.index;
    return { type: 'done', requestId, index: this.index, changed: true, warnings: [] };
  }

  #status(requestId: number, node: number): OutboundMessage {
    return {
      type: 'statusReply',
      requestId,
      nodeId: node,
      clusterId: this.clusterId,
      role: node === this.leader ? 'leader' : 'follower',
      term: 1,
      leaderId: this.leader,
      peerAddress: '',
      leaderAddress: this.endpoint(this.leader),
      commitIndex: this.index,
      appliedIndex: this.index,
      lastIndex: this.index,
      durableIndex: this.index,
      keysApproximate: this.data.size,
      keysWithDeadline: 0,
      timeMs: 0,
      version: 'fake',
      peers: this.peers,
      voters: this.voters,
      outgoing: this.outgoing,
      learners: this.learners,
      configurationIndex: this.configurationIndex,
      removedBy: 0,
      ...{ tablets: 1, leads: node === this.leader ? 1 : 0 },
      groups: 1,
      quietGroups: 0,
      failedGroups: [],
      logSyncs: 0,
    };
  }
}
