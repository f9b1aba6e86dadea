/**
 * One running node: the rooms below, opened in order, wired together and closed in reverse.
 *
 *     data folder
 *       LOCK.…              its holder
 *       identity.json       whose folder it is;  peers.json: whom it has met
 *       raft/               the Raft log of all groups
 *       groups/1/state-…    the engine of group 1: the one directory that the Raft log names
 */

import { listenForClients } from '../doors/native/listener.js';
import { openNodeEngine, ownEngine } from '../engines/engine-kinds.js';
import type { EngineKind, StorageEngine } from '../engines/storage-engine.js';
import { lockDirectory } from '../env/directory-lock.js';
import { DiskSpace } from '../env/disk-space.js';
import { type Address, type Env, formatAddress, type Logger, parseAddress } from '../env/env.js';
import { errorCode, errorMessage, isNoSpace, RaftreeError } from '../env/errors.js';
import { OnceAMinute } from '../env/once-a-minute.js';
import { joinChecker } from '../kv/join-checker.js';
import { type CommandResult, KvStateMachine } from '../kv/kv-state-machine.js';
import { DEFAULT_KV_LIMITS, type KvLimits, KvService } from '../kv/service.js';
import { BufferBudget } from '../net/buffer-budget.js';
import type { ChannelListener } from '../net/channel-listener.js';
import type { ClusterSecrets } from '../protocol/handshake.js';
import type { OutboundOf } from '../protocol/messages.js';
import { type Configuration, configurationOf, membersOf } from '../raft/configuration.js';
import { MAX_TERM } from '../raft/senders.js';
import { FIRST_BASE, NOBODY, type RoleStatus } from '../raft/types.js';
import { type GroupLog, RaftLog } from '../raft-log/raft-log.js';
import { describeDiscarded } from '../record/recovery.js';
import { Replica } from '../replica/replica.js';
import { Admin } from './admin.js';
import { Birth, type BirthState, checkFounders } from './birth.js';
import { bufferedBytesOf, clusterSecretsOf, type NodeConfig } from './config.js';
import { type DescriptorShares, shareDescriptors } from './descriptors.js';
import { FolderIdentity, type NodeIdentity } from './identity.js';
import { KnownPeers } from './known-peers.js';
import { decodeNote, encodeNote, type Member, membersIn } from './members.js';
import type { PeerAnnouncement } from './peer-connection.js';
import { Peers } from './peers.js';
import { VERSION } from './version.js';

/** The group of all keys, as long as there is one. */
const GROUP = 1;
/** Where its state machine begins. */
const FIRST_STATE = 'state-0-0';
const MIB = 1024 * 1024;

export interface NodeParts {
  readonly env: Env;
  readonly config: NodeConfig;
  readonly logger: Logger;
  /** The node can serve: a leader is known. Called once. */
  readonly onReady?: (ready: NodeReady) => void;
  /** The node cannot go on and closes itself. Called at most once. */
  readonly onFailure?: (error: RaftreeError) => void;
  /** In place of the engine that `storage.engine` of node.json names. */
  readonly engine?: (config: NodeConfig) => EngineKind;
}

export interface NodeReady {
  readonly nodeId: number;
  readonly role: string;
  readonly leader: number;
  readonly client: string;
  readonly peer: string;
}

/** How long a closing node lets requests that are under way finish. */
const DRAIN_TIMEOUT_MS = 5000;

export class Node {
  readonly config: NodeConfig;
  readonly #parts: NodeParts;
  readonly #budget: BufferBudget;
  readonly #descriptors: DescriptorShares;
  /** Absolute, without symbolic links. */
  #dataDirectory = '';
  /** Of the lock and of what the group needs; and of the doors, which close before. Each last first. */
  readonly #closers: (() => void | Promise<void>)[] = [];
  readonly #doorClosers: (() => void | Promise<void>)[] = [];
  #advancing: Promise<void> = Promise.resolve();
  #onAnnounced: () => void = () => {};
  #waitsFor = '';
  #engine: EngineKind | undefined;
  #replica: Replica<CommandResult> | undefined;
  #stateMachine: KvStateMachine | undefined;
  #service: { readonly kv: KvService; readonly admin: Admin } | undefined;
  #peers: Peers | undefined;
  #known: KnownPeers | undefined;
  #clientDoor: ChannelListener | undefined;
  #peerAddress: Address | undefined;
  #ready = false;
  #lastShown = '';
  /** Of the configuration in force. */
  #lastMembers: readonly number[] = [];
  /** The newest one that another node has told of. */
  #heardConfiguration: { readonly index: number; readonly members: readonly number[] } = {
    index: 0,
    members: [],
  };
  #closing: Promise<void> | undefined;

  /**
   * Starts a node; resolves when its doors are open. It can serve when `onReady` is called.
   * Rejects with `LOCKED`, `IDENTITY_MISMATCH`, `CORRUPTION`, `LISTEN_FAILED`, `DISK_FULL`,
   * `DATA_DIRECTORY` or what a room below throws; whatever was opened is closed again.
   */
  static async start(parts: NodeParts): Promise<Node> {
    const node = new Node(parts);
    try {
      await node.#open();
      return node;
    } catch (error) {
      await node.#closeAll();
      throw startFailure(parts.config.dataDirectory, error);
    }
  }

  private constructor(parts: NodeParts) {
    this.#parts = parts;
    this.config = parts.config;
    const { maxConnections } = parts.config.limits;
    this.#descriptors = shareDescriptors(maxConnections, parts.env.host.maxDescriptors());
    this.#budget = new BufferBudget(parts.env, bufferedBytesOf(parts.config.limits));
  }

  /** Where clients and peers connect, with the real ports. */
  get addresses(): { client: Address | undefined; peer: Address | undefined } {
    return { client: this.#clientDoor?.address, peer: this.#peerAddress };
  }

  get role(): RoleStatus['role'] {
    return this.#replica?.role ?? 'follower';
  }

  status(requestId: number): OutboundOf<'statusReply'> {
    const replica = this.#replica;
    const leader = replica?.leader ?? 0;
    const matches = new Map(replica?.peers().map((peer) => [peer.id, peer.matchIndex]));
    return {
      type: 'statusReply',
      requestId,
      nodeId: this.config.nodeId,
      clusterId: this.config.clusterId,
      role: this.role,
      term: replica?.term ?? 0,
      leaderId: leader,
      leaderAddress: this.#clientAddressOf(leader),
      peerAddress: this.#ownPeerAddress,
      commitIndex: replica?.commitIndex ?? 0,
      appliedIndex: replica?.appliedIndex ?? 0,
      lastIndex: replica?.lastIndex ?? 0,
      durableIndex: replica?.durableIndex ?? 0,
      keysApproximate: this.#stateMachine?.approximateKeys() ?? 0,
      version: VERSION,
      peers: this.#members()
        .filter((member) => member.id !== this.config.nodeId)
        .map((member) => ({
          nodeId: member.id,
          clientAddress: member.client,
          peerAddress: member.peer,
          matchIndex: matches.get(member.id) ?? 0,
          // A leader hears its members all the time; the others only know whether they are connected.
          reachable:
            (this.role === 'leader'
              ? this.#peers?.isHeard(member.id)
              : this.#peers?.isConnected(member.id)) ?? false,
          heardMsAgo: this.#peers?.heardMsAgo(member.id),
          problem: this.#peers?.problemOf(member.id) ?? '',
        })),
      voters: [...(replica?.configuration.voters ?? [])],
      outgoing: [...(replica?.configuration.outgoing ?? [])],
      learners: [...(replica?.configuration.learners ?? []), ...(replica?.configuration.learnersNext ?? [])],
      configurationIndex: replica?.configuration.index ?? 0,
      removedBy: this.#removedBy,
    };
  }

  /** As others are told; where that leaves the port open, the real one. */
  get #ownPeerAddress(): string {
    const own = [...this.#members(), ...this.config.nodes].find(({ id }) => id === this.config.nodeId);
    const told = own?.peer ?? '';
    if (!this.#peerAddress || !told.endsWith(':0')) return told;
    return formatAddress({ ...parseAddress(told), port: this.#peerAddress.port });
  }

  #members(): Member[] {
    return this.#replica ? membersIn(this.#replica.configuration, this.config.nodes) : this.config.nodes;
  }

  /** Takes no more requests, finishes those under way, syncs and closes. The same promise for every call. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #open(): Promise<void> {
    const { env, config, logger } = this.#parts;
    this.#warnOfFewDescriptors();
    const security = { secrets: clusterSecretsOf(config.security, env, logger), random: env.random };
    const dataDirectory = await this.#takeDataDirectory();
    const engine = await this.#takeEngine();
    this.#engine = engine;
    const identity = FolderIdentity.open(env, dataDirectory, config.clusterId, config.nodeId, engine.name);
    const raftLog = this.#openRaftLog(dataDirectory);
    const present = raftLog.group(GROUP);
    const state = identity.checkLog(present?.base.incarnation);
    const founders = config.nodes.map(({ id }) => id);
    checkFounders(state, founders, config.join);
    const birth = new Birth({
      nodeId: config.nodeId,
      storeId: identity.node.storeId,
      founders,
      joins: config.join,
      state,
      newIncarnation: () => env.random.bytes(16).toString('hex'),
    });
    const known = new KnownPeers(env, dataDirectory);
    known.follow(0, config.nodes);
    this.#known = known;
    const peers = this.#makePeers(identity, known, birth, security);
    this.#peers = peers;
    const advance = () => this.#advance(birth, identity, known, raftLog, peers);
    if (present && birth.isBorn) {
      if (identity.birth.phase !== 'born') {
        known.begin([]);
        identity.record({ birth: birth.state });
      }
      await this.#openGroup(present, true, identity, peers);
    } else await advance();
    this.#onAnnounced = () => {
      this.#advancing = this.#advancing.then(advance).catch((error: unknown) => this.#beginningFailed(error));
    };
    await this.#openDoors(peers, identity.node, security);
    this.#onAnnounced();
  }

  /** Takes the steps of the cluster's birth that are due. When it is born, its group begins here. */
  async #advance(
    birth: Birth,
    identity: FolderIdentity,
    known: KnownPeers,
    raftLog: RaftLog,
    peers: Peers,
  ): Promise<void> {
    for (let next = birth.due(); next && !this.#closing; next = birth.due()) {
      if (next.phase === 'born') {
        const { incarnation } = next;
        // What the log says must not be news to the identity.
        if (birth.incarnation === '') identity.record({ birth: { ...next, phase: 'adopted' } });
        const group = raftLog.group(GROUP) ?? (await this.#beginGroup(raftLog, next));
        known.begin(next.founders.filter(({ id }) => id !== this.config.nodeId));
        identity.record({ birth: next });
        birth.enter(next);
        await this.#openGroup(group, false, identity, peers);
        this.#parts.logger.info({ incarnation }, 'this node belongs to its cluster from now on');
      } else {
        identity.record({ birth: next });
        birth.enter(next);
      }
      peers.announce();
    }
    if (!birth.isBorn) this.#sayWhatIsMissing(birth);
  }

  #warnOfFewDescriptors(): void {
    const { config, logger, env } = this.#parts;
    const { maxConnections } = config.limits;
    const { clients } = this.#descriptors;
    if (clients === maxConnections) return;
    const maxDescriptors = env.host.maxDescriptors();
    logger.warn(
      { maxConnections: clients, maxDescriptors },
      `at most ${clients} client connections in place of ${maxConnections}: this process may open ${maxDescriptors} files ` +
        'and sockets, and files need some of them; raise the limit (ulimit -n)',
    );
  }

  #beginningFailed(error: unknown): void {
    const isTyped = error instanceof RaftreeError;
    this.#fail(isTyped ? error : new RaftreeError('NODE_FAILED', errorMessage(error), { cause: error }));
  }

  #sayWhatIsMissing({ problem, missing }: Birth): void {
    const { config, logger } = this.#parts;
    const what =
      problem ??
      (config.join
        ? 'waiting for a member of the cluster that this node joins'
        : missing.length > 0
          ? `waiting for all first members to meet: node ${missing.join(', ')} is not there yet`
          : 'all first members have met; waiting for them to agree');
    if (what === this.#waitsFor) return;
    this.#waitsFor = what;
    if (problem) logger.error({}, what);
    else logger.info({}, what);
  }

  #makePeers(identity: FolderIdentity, known: KnownPeers, birth: Birth, security: ClusterSecrets): Peers {
    const { env, config, logger } = this.#parts;
    const starts = identity.countStart();
    if (starts === 0) logger.warn({}, 'the disk is full: this start of the data folder is not counted');
    const run = env.random.bytes(8).toString('hex');
    const peers = new Peers({
      env,
      logger,
      identity: { role: 'peer', ...identity.node },
      budget: this.#budget,
      maxConnections: this.#descriptors.peers,
      security,
      known,
      announcement: () => {
        const { configuration = configurationOf([]), lastIndex = 0 } = this.#replica ?? {};
        const members = membersOf(configuration);
        const { nodeId, storeId } = identity.node;
        return {
          ...birth.announcement,
          engine: this.#engine?.name ?? '',
          configurationIndex: configuration.index,
          members,
          isMember: members.includes(nodeId) && decodeNote(configuration.notes[nodeId]).storeId === storeId,
          ...{ starts, run, lastIndex },
        };
      },
      bornIn: () => (birth.isBorn ? birth.incarnation : ''),
      announced: (from, storeId, said) => {
        const refusal = this.#otherEngine(from, said) ?? birth.heard(from, storeId, said);
        if (refusal !== undefined) return refusal;
        const isMember = this.#lastMembers.includes(from);
        if (isMember && said.phase === 'born' && said.incarnation === birth.incarnation)
          this.#heardOfMembers(said);
        this.#onAnnounced();
        return undefined;
      },
      left: (node) => {
        birth.left(node);
        this.#noteHeld(known, node);
        if (!this.#closing) known.save();
      },
      outdated: (error) => {
        if (!this.#closing) this.#fail(error);
      },
      electionTimeoutMinMs: config.raft.electionTimeoutMinMs,
      electionTimeoutMaxMs: config.raft.electionTimeoutMaxMs,
      received: (group, from, message) => {
        if (group !== GROUP) return;
        this.#replica?.receive(from, message);
        if (message.type === 'appendReply' && message.accepted) this.#noteHeld(known, from);
      },
      unreachable: (node) => this.#replica?.unreachable(node),
    });
    this.#doorClosers.push(() => peers.close());
    return peers;
  }

  /** As a leader this node knows what a member has acknowledged. What is committed of that the member never loses. */
  #noteHeld(known: KnownPeers, node: number): void {
    const replica = this.#replica;
    const matchIndex = replica?.role === 'leader' ? replica.matchIndexOf(node) : 0;
    if (replica && matchIndex > 0) known.holds(node, Math.min(matchIndex, replica.commitIndex));
  }

  async #beginGroup(raftLog: RaftLog, birth: BirthState): Promise<GroupLog> {
    const { config } = this.#parts;
    const storeIds = new Map(birth.founders.map(({ id, storeId }) => [id, storeId]));
    const notes = Object.fromEntries(
      config.nodes.map((node) => [node.id, encodeNote({ ...node, storeId: storeIds.get(node.id) })]),
    );
    const ids = config.nodes.map((node) => node.id);
    const base = config.join
      ? { index: 0, term: 0, configuration: configurationOf([]) }
      : { ...FIRST_BASE, configuration: configurationOf(ids, notes) };
    return raftLog.createGroup(GROUP, { ...base, directory: FIRST_STATE, incarnation: birth.incarnation });
  }

  get #kvLimits(): KvLimits {
    const { maxValueBytes, maxRequestBytes, maxPendingRequests } = this.#parts.config.limits;
    return { ...DEFAULT_KV_LIMITS, maxValueBytes, maxRequestBytes, maxPendingRequests };
  }

  async #openGroup(log: GroupLog, restarted: boolean, identity: FolderIdentity, peers: Peers): Promise<void> {
    const { env, config, logger } = this.#parts;
    const { term } = log.hardState;
    if (term >= MAX_TERM) {
      logger.error(
        { term, highestTerm: MAX_TERM },
        `the term ${term} in the Raft log leaves no room for another: no leader can be elected. No cluster comes so far by itself; ` +
          'save what this one holds with `raftree export --stale`, and begin a new one',
      );
    }
    const kind = this.#engine;
    if (!kind) throw new RaftreeError('NODE_FAILED', 'the storage engine is not known yet');
    const groupDirectory = `${this.#dataDirectory}/groups/${GROUP}`;
    const diskSpace = new DiskSpace(logger, env.timers);
    const openEngine = (directory: string) => {
      env.fs.makeDirectory(directory);
      return kind.open(directory, { env, logger, diskSpace, replayed: joinChecker() });
    };
    const engine = await openEngine(`${groupDirectory}/${log.base.directory}`);
    const emptyAt = Math.min(log.base.index, FIRST_BASE.index);
    const onVoid = (index: number, reason: string) =>
      logger.error({ index }, `entry ${index} can be applied by no replica, and changed nothing: ${reason}`);
    const stateMachine = await closedOnFailure(
      engine,
      () => new KvStateMachine(engine, openEngine, emptyAt, onVoid),
    );
    this.#closers.push(() => stateMachine.close());
    if (stateMachine.appliedIndex < log.base.index) {
      throw new RaftreeError(
        'CORRUPTION',
        `the storage engine "${kind.name}" holds the entries up to ${stateMachine.appliedIndex} only, and the Raft log has let ` +
          `go of those up to ${log.base.index}, which the engine had called durable: it, or the disk, loses what it has ` +
          'synced. Remove this node from the cluster, and add it again with an empty folder',
      );
    }
    this.#stateMachine = stateMachine;
    const promisedMs = this.#promise(identity);
    const replica = new Replica<CommandResult>(
      {
        raft: {
          id: config.nodeId,
          ...config.raft,
          maxClockDrift: 0.1,
          maxEntryBytes: config.limits.maxRequestBytes + MIB,
          maxAppendBytes: MIB,
          maxApplyBytes: MIB,
          maxInflightMessages: 256,
          maxInflightBytes: 16 * MIB,
          maxUncommittedBytes: config.limits.maxUncommittedBytes,
          maxPendingReads: config.limits.maxPendingRequests,
        },
        tickMs: Math.max(1, Math.floor(config.raft.heartbeatMs / 5)),
        directory: groupDirectory,
        maxLogBytes: config.storage.maxRaftLogBytes,
        maxSnapshotLogBytes: config.storage.maxSnapshotLogBytes,
        trailingEntries: config.storage.trailingEntries,
        snapshots: {
          maxChunkBytes: config.storage.snapshotChunkBytes,
          maxBytesPerSecond: config.storage.snapshotBytesPerSecond,
          stallTimeoutMs: 5 * config.raft.electionTimeoutMaxMs,
        },
      },
      {
        env,
        log,
        stateMachine,
        transport: { send: (to, message) => peers.send(to, GROUP, message) },
        logger,
        diskSpace,
        restarted,
        promisedMs,
        host: {
          statusChanged: (status) => this.#statusChanged(status),
          configurationChanged: (configuration) => this.#configurationChanged(configuration),
          failed: (error) => this.#fail(error),
        },
      },
    );
    this.#replica = replica;
    this.#closers.push(() => replica.stop());
    const faults = new OnceAMinute(env.clock);
    const kv = new KvService({
      replica,
      stateMachine,
      limits: this.#kvLimits,
      clientAddressOf: (node) => this.#clientAddressOf(node),
      onFault: (code, error) => {
        const message = errorMessage(error);
        if (faults.isDue(`${code} ${message}`)) logger.error({ code, cause: errorCode(error) }, message);
      },
    });
    const admin = new Admin({
      env,
      nodeId: config.nodeId,
      replica,
      peers,
      listed: config.nodes,
      electionTimeoutMaxMs: config.raft.electionTimeoutMaxMs,
      failure: (error) => kv.errorOf(error, 'write'),
    });
    this.#service = { kv, admin };
    this.#dialMembers(peers);
  }

  async #takeEngine(): Promise<EngineKind> {
    const { config, engine } = this.#parts;
    const maxOpenTables = this.#descriptors.tables;
    const taken = engine
      ? ownEngine(engine(config))
      : await openNodeEngine({ ...config.storage, maxOpenTables });
    this.#closers.push(() => taken.close());
    return taken.kind;
  }

  /**
   * Returns for how long an earlier process may have promised its loyalty to a leader, in ms. What this one promises is
   * durable before it promises; what the earlier one did is forgotten when it is over.
   */
  #promise(identity: FolderIdentity): number {
    const { env, config } = this.#parts;
    const ownMs = config.raft.electionTimeoutMinMs;
    const { promisedMs } = identity;
    if (promisedMs < ownMs) identity.record({ promisedMs: ownMs });
    else if (promisedMs > ownMs) {
      const timer = env.timers.after(promisedMs, () => {
        try {
          identity.record({ promisedMs: ownMs });
        } catch (error) {
          this.#parts.logger.warn({}, `identity.json could not be written: ${errorMessage(error)}`);
        }
      });
      this.#closers.push(() => timer.cancel());
    }
    return promisedMs;
  }

  async #openDoors(peers: Peers, identity: NodeIdentity, security: ClusterSecrets): Promise<void> {
    const { env, config, logger } = this.#parts;
    const own = config.nodes.find((node) => node.id === config.nodeId);
    const peerAddress = parseAddress(config.listen.peer ?? own?.peer ?? '');
    const clientAddress = parseAddress(config.listen.client ?? own?.client ?? '');
    this.#peerAddress = await peers.listen(peerAddress).catch((error: unknown) => {
      throw listenFailed('peers', peerAddress, error);
    });
    this.#dialMembers(peers);
    const clientDoor = await listenForClients(
      {
        env,
        logger,
        identity: { ...identity, role: 'server' },
        security,
        insecure: config.security.insecure,
        service: () => this.#service,
        status: (requestId) => this.status(requestId),
        budget: this.#budget,
        removed: () => {
          const isLed = this.#replica !== undefined && this.#replica.leader !== NOBODY;
          return isLed || this.#removedBy === 0 ? undefined : removedMessage(this.#removedBy);
        },
        maxConnections: this.#descriptors.clients,
        reservedForLoopback: this.#descriptors.clientsFromLoopback,
        maxConnectionsPerAddress: config.limits.maxConnectionsPerAddress,
        idleTimeoutMs: config.limits.clientIdleTimeoutMs,
        limits: this.#kvLimits,
      },
      clientAddress,
    ).catch((error: unknown) => {
      throw listenFailed('clients', clientAddress, error);
    });
    this.#clientDoor = clientDoor;
    this.#doorClosers.push(() => clientDoor.close('gracefully'));
    logger.info(
      {
        client: formatAddress(clientDoor.address),
        peer: formatAddress(this.#peerAddress),
        store: identity.storeId,
      },
      'listening',
    );
    const { role, term, leader } = this.#replica ?? { role: 'follower', term: 0, leader: 0 };
    this.#statusChanged({ role, term, leader });
  }

  /** Resolves to its path without symbolic links: it stays the same whatever becomes of those. */
  async #takeDataDirectory(): Promise<string> {
    const { env, config } = this.#parts;
    try {
      env.fs.makeDirectory(config.dataDirectory);
      const path = env.fs.realPath(config.dataDirectory);
      const lock = await lockDirectory(env, path);
      this.#closers.push(() => lock.release());
      this.#dataDirectory = path;
      return path;
    } catch (error) {
      throw unusableFolder(config.dataDirectory, 'cannot be written', 'make it writable', error);
    }
  }

  #openRaftLog(dataDirectory: string): RaftLog {
    const { env, config, logger } = this.#parts;
    const directory = `${dataDirectory}/raft`;
    env.fs.makeDirectory(directory);
    const raftLog = RaftLog.open({
      env,
      directory,
      maxSegmentBytes: config.storage.raftSegmentBytes,
      maxGroupCommitBytes: 4 * MIB,
      maxCachedBytes: 16 * MIB,
      preallocateBytes: Math.min(MIB, Math.floor(config.storage.raftSegmentBytes / 4)),
    });
    this.#closers.push(() => raftLog.close());
    const { discarded } = raftLog.recovery;
    if (discarded) {
      logger.warn(
        { path: discarded.path, offset: discarded.at.offset, bytes: discarded.bytes },
        `the end of the Raft log is ${describeDiscarded(discarded)}; it was cut off`,
      );
    }
    return raftLog;
  }

  #configurationChanged(configuration: Configuration): void {
    const { logger } = this.#parts;
    const { voters, outgoing, learners } = configuration;
    logger.info({ voters, outgoing, learners }, 'members');
    const members = membersIn(configuration, this.config.nodes);
    // Of one that was removed, and is added again, another data folder may be accepted.
    const gone = this.#lastMembers.filter((id) => !members.some((member) => member.id === id));
    this.#lastMembers = members.map(({ id }) => id);
    this.#known?.follow(configuration.index, members);
    if (gone.length > 0) this.#forget(gone);
    if (this.#peers) this.#dialMembers(this.#peers);
    this.#peers?.announce();
    if (this.#removedBy > 0) this.#sayRemoved();
  }

  /** Snapshots pass between nodes as the files of their engines. */
  #otherEngine(from: number, { engine }: PeerAnnouncement): string | undefined {
    const own = this.#engine?.name;
    if (engine === own) return undefined;
    const other = JSON.stringify(engine.slice(0, 100));
    return (
      `node ${from} keeps its state in the storage engine ${other}, node ${this.config.nodeId} in "${own}"; set the ` +
      'same storage.engine in every node.json, and start the node that had another one with an empty folder'
    );
  }

  /** A member tells what is in force there: this node may never be told otherwise that it was removed. */
  #heardOfMembers({ configurationIndex, members }: PeerAnnouncement): void {
    if (configurationIndex <= this.#heardConfiguration.index) return;
    const wasRemoved = this.#removedBy > 0;
    this.#heardConfiguration = { index: configurationIndex, members };
    if (!wasRemoved && this.#removedBy > 0) this.#sayRemoved();
  }

  /** Index of the configuration that this node is no member of any more; 0 if it is one, or never was. */
  get #removedBy(): number {
    const { configuration } = this.#replica ?? {};
    const newest = [
      { index: configuration?.index ?? 0, members: configuration ? membersOf(configuration) : [] },
      this.#heardConfiguration,
    ].reduce((a, b) => (b.index > a.index ? b : a));
    const wasMember = this.#replica !== undefined && this.#replica.lastIndex > 0;
    return wasMember && newest.members.length > 0 && !newest.members.includes(this.config.nodeId)
      ? newest.index
      : 0;
  }

  #sayRemoved(): void {
    this.#parts.logger.warn({ configuration: this.#removedBy }, removedMessage(this.#removedBy));
  }

  #forget(nodes: readonly number[]): void {
    try {
      this.#known?.forget(nodes);
    } catch (error) {
      this.#parts.logger.warn({}, `peers.json could not be written: ${errorMessage(error)}`);
    }
  }

  /** A member that is not found where the log says may still be where node.json has it. */
  #dialMembers(peers: Peers): void {
    const targets = this.#members().map(({ id, peer }) => {
      const listed = this.config.nodes.find((node) => node.id === id)?.peer ?? '';
      return { id, addresses: [...new Set([peer, listed])].filter((address) => address !== '') };
    });
    peers.setMembers(targets);
  }

  #statusChanged(status: RoleStatus): void {
    if (!this.#clientDoor || !this.#peerAddress) return;
    const { logger, onReady } = this.#parts;
    const shown = `${status.role} ${status.term} ${status.leader}`;
    if (shown === this.#lastShown) return;
    this.#lastShown = shown;
    logger.info({ role: status.role, term: status.term, leader: status.leader }, 'role');
    if (this.#ready || status.leader === 0) return;
    this.#ready = true;
    onReady?.({
      nodeId: this.config.nodeId,
      role: status.role,
      leader: status.leader,
      client: formatAddress(this.#clientDoor.address),
      peer: formatAddress(this.#peerAddress),
    });
  }

  #clientAddressOf(id: number): string {
    return [...this.#members(), ...this.config.nodes].find((member) => member.id === id)?.client ?? '';
  }

  #fail(error: RaftreeError): void {
    this.#parts.logger.error(
      { code: error.code, info: error.info, cause: errorCode(error.cause) },
      error.message,
    );
    this.#parts.onFailure?.(error);
    void this.close().catch(() => {});
  }

  async #close(): Promise<void> {
    const { env, logger } = this.#parts;
    logger.info({}, 'closing');
    void this.#clientDoor?.stopAccepting();
    this.#replica?.stopCampaigning();
    const drained = this.#service?.kv.drain() ?? Promise.resolve();
    let timer: ReturnType<typeof env.timers.after> | undefined;
    const timeout = new Promise<void>((resolve) => {
      timer = env.timers.after(DRAIN_TIMEOUT_MS, resolve);
    });
    await Promise.race([drained, timeout]);
    timer?.cancel();
    await this.#replica?.transferBeforeStop();
    await this.#closeAll();
    logger.info({}, 'closed');
  }

  /** Closes what was opened, last first; one failure does not keep the others open. The first one is thrown. */
  async #closeAll(): Promise<void> {
    let failure: unknown;
    this.#onAnnounced = () => {};
    await this.#advancing;
    for (const close of [...this.#closers.splice(0), ...this.#doorClosers.splice(0)].reverse()) {
      try {
        await close();
      } catch (error) {
        failure ??= error;
      }
    }
    if (failure !== undefined && !(failure instanceof RaftreeError && failure.code === 'LOG_FAILED'))
      throw failure;
  }
}

async function closedOnFailure<T>(engine: StorageEngine, use: () => T): Promise<T> {
  try {
    return use();
  } catch (error) {
    await engine.close();
    throw error;
  }
}

function removedMessage(configurationIndex: number): string {
  return (
    `this node was removed from the cluster (configuration ${configurationIndex}): it takes no requests; ` +
    'ask the members; stop it, or add it again with `raftree member add`'
  );
}

/** What the disk throws, as an error with a code of ours. */
function startFailure(directory: string, error: unknown): unknown {
  if (isNoSpace(error) || (error instanceof RaftreeError && isNoSpace(error.cause)))
    return noSpaceToStart(directory, error);
  return unusableFolder(directory, 'cannot be used', 'correct what is wrong there', error);
}

/** Every other error than the system's stays as it is. */
function unusableFolder(directory: string, problem: string, advice: string, error: unknown): unknown {
  const code = errorCode(error);
  if (error instanceof RaftreeError || code === undefined) return error;
  return new RaftreeError(
    'DATA_DIRECTORY',
    `the data folder ${directory} ${problem}: ${errorMessage(error)}; ${advice}, or choose another dataDirectory in node.json`,
    { cause: error, info: { cause: code } },
  );
}

function noSpaceToStart(directory: string, cause: unknown): RaftreeError {
  return new RaftreeError(
    'DISK_FULL',
    `the disk of the data folder ${directory} is full, and a node writes to its logs before it serves: free some space and ` +
      `start it again; nothing is lost (${errorMessage(cause)})`,
    { cause },
  );
}

function listenFailed(forWhom: string, address: Address, error: unknown): RaftreeError {
  const code = errorCode(error);
  const reason = code === 'EADDRINUSE' ? 'the port is in use by another process' : `${errorMessage(error)}`;
  return new RaftreeError(
    'LISTEN_FAILED',
    `cannot listen for ${forWhom} on ${formatAddress(address)}: ${reason}; free it, or change the address in node.json`,
    { cause: error, info: { code } },
  );
}
