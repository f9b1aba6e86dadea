/**
 * One running node: the rooms below, opened in order, wired together and closed in reverse.
 *
 *     data-folder, identity    whose folder it is              birth, birth-steps            how the cluster begins
 *     store, tablet-set        the groups, the tablets         member-view, member-context   who belongs to the cluster
 *     peers                    connections with other nodes    status                        what it tells others
 *     doors, http, metrics     connections with clients        admin                         operators' requests
 */
import type { HttpDoor } from '../doors/http/listener.js';
import { listenForClients } from '../doors/native/listener.js';
import type { RespDoor } from '../doors/resp/listener.js';
import { openNodeEngine, ownEngine } from '../engines/engine-kinds.js';
import type { EngineKind } from '../engines/storage-engine.js';
import { type Address, type Env, formatAddress, type Logger, parseAddress, type Timer } from '../env/env.js';
import { errorCode, errorMessage, RaftreeError } from '../env/errors.js';
import type { CommandResult, KvStateMachine } from '../kv/kv-state-machine.js';
import type { TabletChange } from '../kv/lineage.js';
import { KvService } from '../kv/service.js';
import type { Meta } from '../meta/meta.js';
import { BufferBudget } from '../net/buffer-budget.js';
import type { ChannelListener } from '../net/channel-listener.js';
import { clusterGroupOf, FIRST_TABLET, META_GROUP, type Placement } from '../placement/placement.js';
import type { ClusterSecrets } from '../protocol/handshake.js';
import type { MessageOf, OutboundOf } from '../protocol/messages.js';
import type { Configuration } from '../raft/configuration.js';
import type { RoleStatus } from '../raft/types.js';
import { Store } from '../store/store.js';
import { Admin } from './admin.js';
import { AutoSplits } from './auto-splits.js';
import { Birth, type BirthState, checkFounders, checkPlacement } from './birth.js';
import { BirthSteps } from './birth-steps.js';
import { bufferedBytesOf, clusterSecretsOf, type NodeConfig } from './config.js';
import { startFailure, takeDataFolder } from './data-folder.js';
import { type DescriptorShares, shareDescriptors } from './descriptors.js';
import { httpDoorOptions } from './http.js';
import { FolderIdentity, type NodeIdentity } from './identity.js';
import { KnownPeers } from './known-peers.js';
import { type KvGroup, type KvStore, kvLimitsOf, openKvStateMachine, storeOptionsOf } from './kv-group.js';
import { LocalReplicas } from './local-replicas.js';
import { MapBirth } from './map-birth.js';
import { MapService } from './map-service.js';
import { MemberView } from './member-view.js';
import { NodeMetrics } from './metrics.js';
import { NodeCalls, type NodeRequest } from './node-calls.js';
import type { PeerAnnouncement } from './peer-connection.js';
import { Peers } from './peers.js';
import { placementOf, splitSettingsOf } from './placement-config.js';
import { Publishing } from './publishing.js';
import { Recent } from './recent.js';
import { ReplicaIds } from './replica-ids.js';
import { respDoorOptions } from './resp.js';
import { type NodeReady, RoleReport, statusReply } from './status.js';
import { tabletsReply } from './tablet-list.js';
import { TabletMerges } from './tablet-merges.js';
import { type OpenTablet, TabletSet } from './tablet-set.js';
import { TabletSplits } from './tablet-splits.js';

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

/** How long a closing node lets requests that are under way finish. */
const DRAIN_TIMEOUT_MS = 5000;

/** What `open` has made, in the order in which it depends on each other. */
interface Wiring {
  readonly engine: EngineKind;
  readonly identity: FolderIdentity;
  readonly known: KnownPeers;
  readonly local: LocalReplicas;
  readonly store: KvStore;
  readonly birth: Birth;
  readonly membership: MemberView;
  readonly peers: Peers;
  readonly birthSteps: BirthSteps;
}

export class Node {
  readonly config: NodeConfig;
  readonly #parts: NodeParts;
  readonly #budget: BufferBudget;
  readonly #descriptors: DescriptorShares;
  readonly #report: RoleReport;
  /** What was opened, to be closed in reverse: first the doors, then the rest. */
  readonly #closers: (() => void | Promise<void>)[] = [];
  readonly #doorClosers: (() => void | Promise<void>)[] = [];
  #wiring: Wiring | undefined;
  #service: { readonly kv: KvService; readonly admin: Admin } | undefined;
  readonly #tablets: TabletSet;
  readonly #splits: TabletSplits;
  readonly #merges: TabletMerges;
  /** Requests of nodes to each other. */
  readonly #calls: NodeCalls;
  /** Undefined in a cluster that keeps no map. */
  #mapService: MapService | undefined;
  readonly #mapBirth: MapBirth;
  /** Tablets are split by themselves. */
  #isSplitting = false;
  readonly #ids: ReplicaIds;
  #clientDoor: ChannelListener | undefined;
  #httpDoor: HttpDoor | undefined;
  #respDoor: RespDoor | undefined;
  readonly #metrics: NodeMetrics;
  readonly #recent: Recent;
  #peerAddress: Address | undefined;
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
    const { http, resp } = parts.config;
    this.#metrics = new NodeMetrics(parts.env);
    this.#descriptors = shareDescriptors(
      maxConnections,
      parts.env.host.maxDescriptors(),
      http?.maxConnections,
      resp?.maxConnections,
    );
    this.#budget = new BufferBudget(parts.env, bufferedBytesOf(parts.config.limits));
    const { env, config, logger } = parts;
    const publishing = new Publishing(() => this.#mapService?.meta);
    this.#tablets = new TabletSet({
      ...{ env, config, logger, metrics: this.#metrics },
      store: () => this.#opened.store,
      local: () => this.#opened.local,
      forgotten: (tablet) => this.#ids.forget(tablet),
      removed: () => this.#opened.membership.removal,
      publish: (change) => publishing.publish(change),
      isPublished: (change) => publishing.isDone(change),
      askAllMatched: async (node, tablet) =>
        Number(await this.#calls.call(node, { type: 'allMatched', tablet })),
      metaBegan: () => this.#administrate(),
    });
    const changes = {
      ...{ meta: () => this.#mapService?.meta, tablets: this.#tablets },
      publish: (change: TabletChange) => publishing.publish(change),
    };
    this.#splits = new TabletSplits({ ...changes, beginMap: () => this.#mapBirth.begin() });
    this.#merges = new TabletMerges(changes);
    this.#closers.push(() => this.#tablets.close());
    this.#ids = new ReplicaIds(
      (tablet) => this.#wiring?.local.idOf(tablet) || this.#tablets.firstNumberOf(tablet),
      (replicaId) => this.#tablets.meta?.state.ownerOf(replicaId),
    );
    this.#calls = new NodeCalls({
      env,
      send: (to, message) => this.#wiring?.peers.sendCall(to, message),
      handle: (from, request) => this.#requestOfNode(from, request),
      onFault: (error) => this.#tablets.report('INTERNAL', error),
      timeoutMs: 2 * config.raft.electionTimeoutMaxMs,
    });
    this.#closers.push(() => this.#calls.close());
    this.#mapBirth = new MapBirth({
      ...{ env, config, calls: this.#calls },
      tablet: () => this.#tablets.get(FIRST_TABLET)?.group,
      meta: () => this.#tablets.meta,
      isConnected: (node) => this.#wiring?.peers.isConnected(node) ?? false,
      refusal: () =>
        this.#opened.engine.reservedPrefix && 'a state machine of its own has the keys of this cluster',
      promise: () => this.#opened.identity.promiseMap(this.#opened.birth.state),
      joined: async () => {
        this.#opened.identity.promiseMap(this.#opened.birth.state);
        await this.#tablets.joinMap();
      },
      onFault: (error) => this.#tablets.report('MAP', error),
    });
    this.#closers.push(() => this.#mapBirth.close());
    this.#recent = this.#makeRecent();
    const { nodeId } = config;
    this.#report = new RoleReport({ nodeId, logger, tablets: this.#tablets }, parts.onReady);
  }

  /** Where clients and peers connect, with the real ports. */
  get addresses(): {
    client: Address | undefined;
    peer: Address | undefined;
    http: Address | undefined;
    resp: Address | undefined;
  } {
    return {
      ...{ client: this.#clientDoor?.address, peer: this.#peerAddress },
      ...{ http: this.#httpDoor?.address, resp: this.#respDoor?.address },
    };
  }

  get role(): RoleStatus['role'] {
    return this.#group?.replica.role ?? 'follower';
  }

  /** The map, and how to change it. Undefined in a cluster that keeps none, and before the birth. */
  get meta(): Meta | undefined {
    return this.#mapService?.meta;
  }

  /** How many watchers this node tells changes. */
  get watchers(): number {
    return this.#tablets.watchers;
  }

  /** What is kept for watchers. */
  get historyBytes(): number {
    return this.#tablets.historyBytes;
  }

  /** The node, and its first tablet. */
  status(requestId: number): OutboundOf<'statusReply'> {
    // Tablet 0 is always there.
    return this.#statusOf(requestId, 0) as OutboundOf<'statusReply'>;
  }

  /** Undefined: the tablet is not here. */
  #statusOf(requestId: number, tablet: number): OutboundOf<'statusReply'> | undefined {
    const { membership, peers, store } = this.#opened;
    return statusReply(
      {
        ...{ config: this.config, membership, peers, store },
        ...{ tablets: this.#tablets, peerAddress: this.#peerAddress },
      },
      requestId,
      tablet,
    );
  }

  #tabletsOf(request: MessageOf<'tablets'>): OutboundOf<'tabletsReply'> | undefined {
    const { membership, birth } = this.#opened;
    return tabletsReply(this.#tablets, membership, birth.incarnation, request);
  }

  /** Takes no more requests, finishes those under way, syncs and closes. The same promise for every call. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** The group whose members are those of the cluster. Undefined before the birth of the cluster. */
  get #group(): KvGroup | undefined {
    return this.#wiring && this.#tablets.clusterGroup;
  }

  get #opened(): Wiring {
    if (!this.#wiring) throw new RaftreeError('NODE_FAILED', 'this node is not open');
    return this.#wiring;
  }

  async #open(): Promise<void> {
    const { env, config, logger } = this.#parts;
    this.#warnOfFewDescriptors();
    this.#closers.push(() => this.#recent.close());
    const security = { secrets: clusterSecretsOf(config.security, env, logger), random: env.random };
    const folder = await takeDataFolder(env, config.dataDirectory);
    this.#closers.push(() => folder.release());
    const engine = await this.#takeEngine();
    const identity = FolderIdentity.open(env, folder.path, config.clusterId, config.nodeId, engine.name);
    const store = this.#openStore(folder.path, engine);
    const local = new LocalReplicas(env, folder.path);
    const state = identity.checkLog(
      (group) => store.incarnationOf(group),
      store.storedGroups,
      local.tablets.filter((tablet) => local.of(tablet)?.sinceVersion === 0),
    );
    const isStored =
      store.storedGroups.includes(META_GROUP) ||
      store.incarnationOf(clusterGroupOf(state.placement)) !== undefined;
    const founders = config.nodes.map(({ id }) => id);
    checkFounders(state, founders, config.join);
    const placement = placementOf(config.placement, config.join);
    if (config.placement) checkPlacement(state, placement);
    const birth = new Birth({
      nodeId: config.nodeId,
      storeId: identity.node.storeId,
      founders,
      joins: config.join,
      ...{ placement, state },
      newIncarnation: () => env.random.bytes(16).toString('hex'),
    });
    const known = new KnownPeers(env, folder.path);
    known.follow(0, config.nodes);
    // Of a replica with an id its node says itself that it is gone (`removedReplicas`).
    known.isPast = (log) => !this.#ids.ownerOf(log) && this.#tablets.isPast(log);
    known.tabletOf = (log) => this.#ids.ownerOf(log)?.tablet ?? log;
    const membership = new MemberView({
      ...{ logger, known, identity: identity.node, listed: config.nodes },
      replica: () => this.#group?.replica,
      tablets: () => this.#tablets.groups,
      replicaIdOf: (tablet, node) =>
        node === config.nodeId ? local.idOf(tablet) : this.#ids.of(tablet, node),
      removedReplicas: () => local.removed.map(({ replicaId }) => replicaId),
      // What is announced first says where the logs of all tablets end.
      connections: () => (birth.isBorn && !this.#tablets.isOpen ? undefined : this.#wiring?.peers),
    });
    const birthSteps = new BirthSteps({
      ...{ config, logger, birth, identity, known },
      createTablets: (born) => this.#tablets.create(born),
      openTablets: (born, restarted) => this.#openTablets(born, restarted),
      announce: () => this.#wiring?.peers.announce(),
      isClosing: () => this.#closing !== undefined,
      failed: (error) => this.#fail(error),
    });
    const peers = this.#makePeers({ engine, identity, known, birth, membership, birthSteps }, security);
    this.#wiring = { engine, identity, known, local, store, birth, membership, peers, birthSteps };
    await birthSteps.start(isStored);
    await this.#openDoors(identity.node, security);
    birthSteps.announced();
  }

  #makeRecent(): Recent {
    const { env, config } = this.#parts;
    const engineBytes = ({ stateMachine }: KvGroup) => {
      const { flushedBytes = 0, compactedBytes = 0 } = stateMachine.engineStats() ?? {};
      return flushedBytes + compactedBytes;
    };
    const sum = (of: (group: KvGroup) => number) =>
      this.#tablets.all.reduce((total, { group }) => total + of(group), 0);
    return new Recent(env, {
      appliedIndex: () => sum(({ replica }) => replica.appliedIndex),
      reads: () => this.#service?.kv.counts.total('read') ?? 0,
      writtenBytes: () => this.#metrics.logBytes + sum(engineBytes),
      freeBytes: () => env.fs.freeBytes(config.dataDirectory),
      metrics: this.#metrics,
    });
  }

  #openStore(directory: string, engine: EngineKind): KvStore {
    const { env, config, logger } = this.#parts;
    const metrics = this.#metrics;
    const store = Store.open<KvStateMachine, CommandResult>(storeOptionsOf(config, directory, metrics), {
      env,
      logger,
      openStateMachine: async (context) => {
        const stateMachine = await openKvStateMachine(
          {
            ...{ env, logger, metrics, histories: this.#tablets.histories },
            owner: this.#tablets.ownerOfGroup(context.group),
          },
          engine,
          context,
        );
        try {
          this.#tablets.stateOpened(context.group, stateMachine);
        } catch (error) {
          await stateMachine.close();
          throw error;
        }
        return stateMachine;
      },
      transport: {
        send: (to, group, message) =>
          this.#wiring?.peers.send(to, this.#ids.numberFor(group, to, message.type), message),
        sendAlive: (to, epoch) => this.#wiring?.peers.sendAlive(to, epoch),
      },
      host: {
        statusChanged: (group, status) => {
          metrics.statusChanged(group, status);
          this.#tablets.statusChanged(group);
          if (group === META_GROUP) this.#mapService?.look();
          this.#report.statusChanged(group, status);
        },
        configurationChanged: (group, configuration) => {
          this.#ids.configurationChanged(group, configuration);
          if (group === this.#tablets.clusterGroupId) this.#configurationChanged(configuration);
        },
        succeeded: (group, successors) => this.#tablets.succeeded(group, successors),
        accompanied: () => this.#tablets.accompanied(),
        groupFailed: (group, error) => logFailure(logger, error, { group }),
        failed: (error) => this.#fail(error),
      },
    });
    this.#closers.push(() => store.close());
    return store;
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

  /** Snapshots pass between nodes as the files of their engines. */
  #otherEngine(from: number, { engine }: PeerAnnouncement, own: string): string | undefined {
    if (engine === own) return undefined;
    const other = JSON.stringify(engine.slice(0, 100));
    return (
      `node ${from} keeps its state in the storage engine ${other}, node ${this.config.nodeId} in "${own}"; set the ` +
      'same storage.engine in every node.json, and start the node that had another one with an empty folder'
    );
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

  #makePeers(
    { engine, identity, known, birth, membership, birthSteps }: Omit<Wiring, 'local' | 'store' | 'peers'>,
    security: ClusterSecrets,
  ): Peers {
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
      announcement: () => ({
        ...birth.announcement,
        ...membership.announcement,
        ...{ engine: engine.name, starts, run },
      }),
      bornIn: () => (birth.isBorn ? birth.incarnation : ''),
      announced: (from, storeId, said) => {
        const refusal = this.#otherEngine(from, said, engine.name) ?? birth.heard(from, storeId, said);
        if (refusal !== undefined) return refusal;
        if (said.phase === 'born' && said.incarnation === birth.incarnation) membership.heard(from, said);
        // Before the doors are open the first steps are under way already.
        if (this.#peerAddress) birthSteps.announced();
        return undefined;
      },
      left: (node) => {
        birth.left(node);
        for (const tablet of this.#tablets.groups) membership.acknowledgedBy(node, tablet);
        if (!this.#closing) known.save();
      },
      outdated: (error) => {
        if (!this.#closing) this.#fail(error);
      },
      electionTimeoutMinMs: config.raft.electionTimeoutMinMs,
      electionTimeoutMaxMs: config.raft.electionTimeoutMaxMs,
      received: (number, from, message) => {
        const group = this.#ids.tabletOf(from, number);
        if (group === undefined) return;
        this.#wiring?.store.receive(from, group, message);
        if (message.type !== 'appendReply' || !message.accepted) return;
        const tablet = group === META_GROUP ? this.#tablets.meta : this.#tablets.get(group);
        if (tablet) membership.acknowledgedBy(from, tablet);
      },
      alive: (from, epoch) => this.#wiring?.store.receiveAlive(from, epoch),
      calls: this.#calls,
      unreachable: (node) => this.#wiring?.store.unreachable(node),
    });
    this.#doorClosers.push(() => peers.close());
    return peers;
  }

  async #openTablets(born: BirthState, restarted: boolean): Promise<void> {
    const { env, config } = this.#parts;
    const { engine, identity, membership } = this.#opened;
    await this.#tablets.finishChanges(born.incarnation);
    await this.#tablets.open(born, restarted, this.#promise(identity));
    const kv = new KvService({
      ...{ clock: env.clock, random: env.random },
      tablet: (id) => this.#tablets.served(id),
      tablets: () => this.#tablets.here,
      limits: kvLimitsOf(config),
      clientAddressOf: (node) => membership.find(node)?.client ?? '',
      reservedPrefix: engine.reservedPrefix,
      onFault: (code, error) => this.#tablets.report(code, error),
    });
    this.#administrate(kv);
    this.#mapBirth.seek();
    this.#report.refresh();
    membership.dial();
  }

  /** Also when the cluster has begun to keep a map: its members are those of another group then. */
  #administrate(kv = this.#service?.kv): void {
    const { env, config } = this.#parts;
    const { peers } = this.#opened;
    const { placement } = this.#tablets;
    const { replica } = this.#group ?? {};
    if (!kv || !placement || !replica) throw new RaftreeError('NODE_FAILED', 'the first group is not open');
    const map = this.#openMap(placement);
    const admin = new Admin({
      env,
      nodeId: config.nodeId,
      replica,
      isCurrent: () => replica === this.#tablets.meta?.group.replica || !this.#tablets.keepsMap,
      replicaOf: (tablet) => this.#tablets.get(tablet)?.group.replica,
      ...{ map: map?.admin, peers },
      beginMap: () => this.#mapBirth.begin(),
      current: () => this.#service?.admin,
      split: (tablet, key) => this.#splits.split(tablet, key),
      listed: config.nodes,
      electionTimeoutMaxMs: config.raft.electionTimeoutMaxMs,
      failure: (error) => kv.errorOf(error, 'write'),
    });
    this.#service = { kv, admin };
    map?.begin();
    if (!this.#isSplitting) this.#beginAutoSplits(placement);
  }

  #beginAutoSplits({ by }: Placement): void {
    const { env, logger, config } = this.#parts;
    // A state machine of its own has all keys of its cluster.
    if (this.#opened.engine.reservedPrefix) return;
    this.#isSplitting = true;
    const intents = () => [...(this.#tablets.meta?.state.intents.values() ?? [])];
    const autoSplits = new AutoSplits<OpenTablet>({
      ...{ env, logger, by },
      settings: () => splitSettingsOf(config.placement, this.#tablets.meta !== undefined),
      tablets: () => this.#tablets.all,
      splitAt: (tablet, point) => this.#splits.splitAt(tablet, point),
      underWay: () => intents().filter(({ type }) => type === 'split').length,
      onFault: (error) => this.#tablets.report('SPLIT_FAILED', error),
    });
    this.#closers.push(() => autoSplits.close());
    autoSplits.begin();
  }

  /** Undefined in a cluster with one tablet. */
  #openMap(placement: Placement): MapService | undefined {
    const { env, config } = this.#parts;
    const { meta: opened } = this.#tablets;
    if (!opened) return undefined;
    const map = new MapService({
      ...{ env, config, placement, opened, tablets: this.#tablets, calls: this.#calls },
      ...{ peers: this.#opened.peers, splits: this.#splits, merges: this.#merges },
      admin: () => this.#service?.admin,
    });
    this.#mapService = map;
    this.#closers.push(() => map.close());
    return map;
  }

  /** What another node asks for. Rejects with what that node is told. */
  async #requestOfNode(from: number, request: NodeRequest): Promise<unknown> {
    const map = this.#mapService;
    if (request.type === 'allMatched') return this.#tablets.allMatchedOf(request.tablet);
    if (!map && request.type === 'promiseMap') return this.#mapBirth.promise();
    if (!map)
      throw new RaftreeError(
        'UNSUPPORTED',
        'this node keeps no map: its cluster has one tablet, or has not begun',
        {
          info: { outcome: 'notCommitted' },
        },
      );
    return map.handle(from, request);
  }

  /**
   * Returns how long an earlier process may have promised to follow a leader, in ms. The promise of this process is
   * durable before it promises. The earlier one is forgotten when its time is over.
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

  async #openDoors(identity: NodeIdentity, security: ClusterSecrets): Promise<void> {
    const { env, config, logger } = this.#parts;
    const { peers, membership } = this.#opened;
    const own = config.nodes.find((node) => node.id === config.nodeId);
    const peerAddress = parseAddress(config.listen.peer ?? own?.peer ?? '');
    const clientAddress = parseAddress(config.listen.client ?? own?.client ?? '');
    const peer = await peers.listen(peerAddress).catch((error: unknown) => {
      throw listenFailed('peers', peerAddress, error);
    });
    this.#peerAddress = peer;
    membership.dial();
    const clientDoor = await listenForClients(
      {
        env,
        logger,
        identity: { ...identity, role: 'server' },
        security,
        insecure: config.security.insecure,
        service: () => this.#service,
        status: (requestId, tablet) => this.#statusOf(requestId, tablet),
        figures: () => this.#recent.figures(),
        tablets: (request) => this.#tabletsOf(request),
        budget: this.#budget,
        removed: () => membership.removal,
        maxConnections: this.#descriptors.clients,
        reservedForLoopback: this.#descriptors.clientsFromLoopback,
        maxConnectionsPerAddress: config.limits.maxConnectionsPerAddress,
        idleTimeoutMs: config.limits.clientIdleTimeoutMs,
        limits: kvLimitsOf(config),
      },
      clientAddress,
    ).catch((error: unknown) => {
      throw listenFailed('clients', clientAddress, error);
    });
    this.#clientDoor = clientDoor;
    this.#doorClosers.push(() => clientDoor.close('gracefully'));
    const client = clientDoor.address;
    const http = await this.#openHttpDoor(client, security);
    const resp = await this.#openRespDoor(client, security);
    logger.info(
      {
        ...{ client: formatAddress(client), peer: formatAddress(peer) },
        ...(http ? { http: formatAddress(http) } : {}),
        ...(resp ? { resp: formatAddress(resp) } : {}),
        store: identity.storeId,
      },
      'listening',
    );
    this.#report.listening({ client, peer });
  }

  /** Undefined if node.json has no `http`: then the door is not even loaded. */
  async #openHttpDoor(client: Address, security: ClusterSecrets): Promise<Address | undefined> {
    const { env, logger, config } = this.#parts;
    const { peers, membership } = this.#opened;
    if (!config.http) return undefined;
    const address = parseAddress(config.http.listen);
    const { HttpDoor } = await import('../doors/http/listener.js');
    this.#recent.start();
    const { options, cluster } = httpDoorOptions({
      ...{ env, logger, config, client, security, membership, metrics: this.#metrics },
      maxConnections: this.#descriptors.http,
      service: () => this.#service,
      tablets: this.#tablets,
      status: () => this.status(0),
      isClosing: () => this.#closing !== undefined,
      live: { peers, recent: this.#recent },
      measured: () => ({
        ...{ nodeId: config.nodeId, membership, peers, budget: this.#budget, watching: this.#tablets },
        tablets: this.#tablets,
        ...{ groups: this.#tablets.all.map(({ group }) => group), kv: this.#service?.kv },
        connections: {
          native: this.#clientDoor?.channels.size ?? 0,
          http: this.#httpDoor?.connections ?? 0,
          resp: this.#respDoor?.connections ?? 0,
        },
        doors: this.#respDoor ? [this.#respDoor] : [],
      }),
    });
    this.#doorClosers.push(() => cluster.close());
    const door = await HttpDoor.listen(options, address).catch((error: unknown) => {
      throw listenFailed('HTTP', address, error);
    });
    this.#httpDoor = door;
    this.#doorClosers.push(() => door.close());
    return door.address;
  }

  /** Undefined if node.json has no `resp`: then the door is not even loaded. */
  async #openRespDoor(client: Address, security: ClusterSecrets): Promise<Address | undefined> {
    const { env, logger, config } = this.#parts;
    if (!config.resp) return undefined;
    const address = parseAddress(config.resp.listen);
    const { RespDoor } = await import('../doors/resp/listener.js');
    const { membership } = this.#opened;
    const options = respDoorOptions(
      {
        ...{ env, logger, config, client, security, membership },
        service: () => this.#service,
        tablets: this.#tablets,
      },
      this.#descriptors.resp,
      this.#budget,
    );
    this.#doorClosers.push(() => options.cluster.close());
    const door = await RespDoor.listen(options, address).catch((error: unknown) => {
      throw listenFailed('RESP', address, error);
    });
    this.#respDoor = door;
    this.#doorClosers.push(() => door.close());
    return door.address;
  }

  #configurationChanged(configuration: Configuration): void {
    this.#wiring?.membership.configurationChanged(configuration);
  }

  #fail(cause: unknown): void {
    const error =
      cause instanceof RaftreeError ? cause : new RaftreeError('NODE_FAILED', errorMessage(cause), { cause });
    logFailure(this.#parts.logger, error);
    this.#parts.onFailure?.(error);
    void this.close().catch(() => {});
  }

  async #close(): Promise<void> {
    const { env, logger } = this.#parts;
    logger.info({}, 'closing');
    void this.#clientDoor?.stopAccepting();
    this.#httpDoor?.stopAccepting();
    this.#respDoor?.stopAccepting();
    this.#wiring?.store.stopCampaigning();
    const drained = this.#service?.kv.drain() ?? Promise.resolve();
    let timer: Timer | undefined;
    const timeout = new Promise<void>((resolve) => {
      timer = env.timers.after(DRAIN_TIMEOUT_MS, resolve);
    });
    await Promise.race([drained, timeout]);
    timer?.cancel();
    await this.#wiring?.store.transferBeforeStop();
    await this.#closeAll();
    logger.info({}, 'closed');
  }

  /** Closes what was opened, last first. If one rejects the others are closed too, and the first error is thrown. */
  async #closeAll(): Promise<void> {
    let failure: unknown;
    await this.#wiring?.birthSteps.close();
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

function logFailure(logger: Logger, error: RaftreeError, fields: object = {}): void {
  logger.error(
    { ...fields, code: error.code, info: error.info, cause: errorCode(error.cause) },
    error.message,
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
