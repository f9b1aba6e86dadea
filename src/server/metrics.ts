/**
 * What a node measures, in Prometheus' text format. Counters are plain numbers where things happen; they are read when
 * the text is asked for. Only the histograms are written to while the node works: once for a sync, a range of applied
 * entries, or a proposal.
 */
import type { Env, Timer } from '../env/env.js';
import { type CommandResult, KvStateMachine } from '../kv/kv-state-machine.js';
import type { KvService } from '../kv/service.js';
import type { Intent } from '../meta/records.js';
import type { Exposition } from '../metrics/exposition.js';
import { Histogram, LATENCY_BOUNDS_SECONDS } from '../metrics/histogram.js';
import type { BufferBudget } from '../net/buffer-budget.js';
import type { Entry, Role, RoleStatus } from '../raft/types.js';
import type { CommandLog } from '../replica/ports.js';
import { addedStats } from './added-stats.js';
import type { KvGroup } from './kv-group.js';
import type { MemberView } from './member-view.js';
import type { Peers } from './peers.js';
import type { TabletSet } from './tablet-set.js';
import { VERSION } from './version.js';

/** What the metrics are read from. */
export interface MeasuredNode {
  readonly nodeId: number;
  readonly membership: MemberView;
  readonly peers: Peers;
  readonly budget: BufferBudget;
  readonly watching: {
    readonly watchers: number;
    readonly fellBehind: number;
    readonly historyBytes: number;
  };
  /** What was split and moved here, and what the map says; there is none in a cluster with one tablet. */
  readonly tablets: Pick<TabletSet, 'counts' | 'meta'>;
  /** Of all tablets. None before the birth of the cluster. */
  readonly groups: readonly KvGroup[];
  readonly kv: KvService | undefined;
  /** Open connections by door. */
  readonly connections: Readonly<Record<string, number>>;
  /** Doors with metrics of their own. */
  readonly doors?: readonly { writeMetrics(to: Exposition): void }[];
}

const ROLES: readonly Role[] = ['follower', 'preCandidate', 'candidate', 'leader'];
const LOOP_DELAY_EVERY_MS = 100;
const INTENTS: readonly Intent['type'][] = ['move', 'split'];
const NO_STATUS: RoleStatus = { role: 'follower', term: 0, leader: 0 };

export class NodeMetrics {
  readonly #env: Pick<Env, 'clock' | 'timers'>;
  /** Of durable writes of the log, in seconds. */
  readonly syncs = new Histogram(LATENCY_BOUNDS_SECONDS);
  /** From proposals to commits, in seconds. */
  readonly commits = new Histogram(LATENCY_BOUNDS_SECONDS);
  /** Of ranges of entries, in seconds. */
  readonly applies = new Histogram(LATENCY_BOUNDS_SECONDS);
  readonly #loopDelays = new Histogram(LATENCY_BOUNDS_SECONDS);
  #proposals = 0;
  #failedProposals = 0;
  #pendingProposals = 0;
  #elections = 0;
  #leaderChanges = 0;
  /** By group: its status, and the last leader that was known. */
  readonly #statuses = new Map<number, { readonly status: RoleStatus; readonly lastLeader: number }>();
  /** When the range that was applied last began. */
  #applyStartMs = 0;
  #loopTimer: Timer | undefined;
  #longestDelayMs: number | undefined;
  #logBytes = 0;

  constructor(env: Pick<Env, 'clock' | 'timers'>) {
    this.#env = env;
  }

  /** Measures from now on. Before, and after `stop`, only what costs nothing is counted. */
  start(): void {
    if (!this.#isOn) this.#watchLoop();
  }

  stop(): void {
    this.#loopTimer?.cancel();
    this.#loopTimer = undefined;
  }

  get #isOn(): boolean {
    return this.#loopTimer !== undefined;
  }

  /** How late a timer ran at most since the last call. */
  takeLongestDelayMs(): number | undefined {
    const longestMs = this.#longestDelayMs;
    this.#longestDelayMs = undefined;
    return longestMs;
  }

  /** What durable writes of the log have written. */
  get logBytes(): number {
    return this.#logBytes;
  }

  readonly madeDurable = (durationMs: number, sizeBytes: number): void => {
    this.#logBytes += sizeBytes;
    if (this.#isOn) this.syncs.observe(durationMs / 1000);
  };

  statusChanged(group: number, status: RoleStatus): void {
    const { status: before, lastLeader } = this.#statuses.get(group) ?? { status: NO_STATUS, lastLeader: 0 };
    if (status.role === 'candidate' && status.term !== before.term) this.#elections++;
    const isNew = status.leader !== 0 && status.leader !== lastLeader;
    if (isNew) this.#leaderChanges++;
    this.#statuses.set(group, { status, lastLeader: isNew ? status.leader : lastLeader });
  }

  /** The same log; its proposals are measured. */
  measuredLog(log: CommandLog<CommandResult>): CommandLog<CommandResult> {
    return {
      propose: (body) => {
        if (!this.#isOn) return log.propose(body);
        const startMs = this.#env.clock.nowMs();
        this.#proposals++;
        this.#pendingProposals++;
        return log.propose(body).then(
          (applied) => {
            this.#pendingProposals--;
            this.commits.observe(Math.max(0, this.#applyStartMs - startMs) / 1000);
            return applied;
          },
          (error: unknown) => {
            this.#pendingProposals--;
            this.#failedProposals++;
            throw error;
          },
        );
      },
      readIndex: (method) => log.readIndex(method),
      yieldLeadership: () => log.yieldLeadership(),
    };
  }

  /** A range of entries is applied now. */
  applying<T>(apply: () => T | Promise<T>): T | Promise<T> {
    if (!this.#isOn) return apply();
    const { clock } = this.#env;
    const startMs = clock.nowMs();
    this.#applyStartMs = startMs;
    const ended = () => this.applies.observe((clock.nowMs() - startMs) / 1000);
    const results = apply();
    if (results instanceof Promise) return results.finally(ended);
    ended();
    return results;
  }

  /** Everything that is known at this moment. */
  write(to: Exposition, node: MeasuredNode): void {
    to.gauge('raftree_build_info', 'The version that runs.', [[{ version: VERSION }, 1]]);
    this.#writeProcess(to);
    this.#writeRaft(to, node);
    writeTablets(to, node);
    this.#writeRequests(to, node);
    this.#writeEngine(to, node);
  }

  #writeProcess(to: Exposition): void {
    const { user, system } = process.cpuUsage();
    const { rss, heapUsed } = process.memoryUsage();
    to.counter('process_cpu_seconds_total', 'CPU time of the process.', (user + system) / 1e6);
    to.gauge('process_resident_memory_bytes', 'Memory of the process.', rss);
    to.gauge('raftree_heap_used_bytes', 'Memory of JavaScript objects.', heapUsed);
    to.histogram(
      'raftree_event_loop_delay_seconds',
      'How late a timer ran, looked at ten times a second.',
      this.#loopDelays,
    );
  }

  /** Of several tablets, what they have is added up: a tablet is never a label. */
  #writeRaft(to: Exposition, { nodeId, groups, membership, peers }: MeasuredNode): void {
    const statuses = groups.length > 0 ? groups.map(({ replica }) => replica) : [NO_STATUS];
    const sum = (of: (group: KvGroup) => number) => groups.reduce((total, group) => total + of(group), 0);
    to.gauge(
      'raftree_raft_role',
      'In how many tablets this node has the role; of a single one: 1 for the role it has.',
      ROLES.map((each) => [{ role: each }, statuses.filter(({ role }) => role === each).length] as const),
    );
    to.gauge(
      'raftree_raft_term',
      'The term; of several tablets the highest.',
      highest(statuses, ({ term }) => term),
    );
    to.gauge(
      'raftree_raft_leader_known',
      '1 if this node knows a leader of each tablet.',
      Number(statuses.every(({ leader }) => leader !== 0)),
    );
    to.counter('raftree_raft_elections_total', 'Elections that this node has begun.', this.#elections);
    to.counter('raftree_raft_leader_changes_total', 'Leaders seen by this node.', this.#leaderChanges);
    to.counter('raftree_raft_proposals_total', 'Commands proposed here.', this.#proposals);
    to.counter(
      'raftree_raft_proposals_failed_total',
      'Commands refused, or whose outcome this node does not know.',
      this.#failedProposals,
    );
    to.gauge('raftree_raft_pending_proposals', 'Commands that are not applied yet.', this.#pendingProposals);
    to.histogram(
      'raftree_raft_commit_duration_seconds',
      'From the proposal of a command until it is committed and its range begins to be applied.',
      this.commits,
    );
    to.histogram(
      'raftree_raft_apply_duration_seconds',
      'How long the state machine took for a range of entries.',
      this.applies,
    );
    to.histogram(
      'raftree_raft_log_sync_duration_seconds',
      'How long a durable write of the Raft log took.',
      this.syncs,
    );
    to.counter(
      'raftree_raft_log_written_bytes_total',
      'What durable writes of the Raft log wrote.',
      this.#logBytes,
    );
    if (groups.length === 0) return;
    const index = (name: string, help: string, of: (replica: KvGroup['replica']) => number) =>
      to.gauge(
        `raftree_raft_${name}_index`,
        help,
        sum(({ replica }) => of(replica)),
      );
    index('commit', 'Entries up to here are committed.', (replica) => replica.commitIndex);
    index('applied', 'Entries up to here are applied.', (replica) => replica.appliedIndex);
    index('last', 'The last entry of the log.', (replica) => replica.lastIndex);
    index('durable', 'Entries up to here survive without the log.', (replica) => replica.durableIndex);
    to.counter(
      'raftree_raft_snapshots_sent_total',
      'Snapshots that members have taken over.',
      sum(({ replica }) => replica.snapshots.sent),
    );
    to.counter(
      'raftree_raft_snapshots_received_total',
      'Snapshots taken over here.',
      sum(({ replica }) => replica.snapshots.received),
    );
    to.counter(
      'raftree_raft_messages_refused_total',
      'Messages of nodes that had no right to send them.',
      sum(({ replica }) => replica.refusedMessages),
    );
    const others = membership.members.filter(({ id }) => id !== nodeId);
    const connected = others.map(({ id }) => [{ peer: id }, Number(peers.isConnected(id))] as const);
    to.gauge('raftree_peer_connected', '1 if this node is connected with the other one.', connected);
    // Only a leader knows what the others hold.
    const lags = new Map<number, number>();
    for (const { replica } of groups.filter((group) => group.replica.role === 'leader'))
      for (const { id, matchIndex } of replica.peers())
        lags.set(id, (lags.get(id) ?? 0) + Math.max(0, replica.lastIndex - matchIndex));
    if (lags.size === 0) return;
    to.gauge(
      'raftree_peer_lag_entries',
      'Entries that the other node does not hold yet.',
      [...lags].map(([peer, entries]) => [{ peer }, entries] as const),
    );
  }

  #writeRequests(
    to: Exposition,
    { watching, kv, budget, connections, groups, doors: own = [] }: MeasuredNode,
  ): void {
    for (const door of own) door.writeMetrics(to);
    to.gauge(
      'raftree_connections',
      'Open connections.',
      Object.entries(connections).map(([door, count]) => [{ door }, count] as const),
    );
    to.gauge('raftree_buffered_bytes', 'What connections of the binary protocol buffer.', budget.heldBytes);
    to.gauge('raftree_buffer_waits', 'Frames and answers that wait for buffer space.', budget.waiting);
    to.gauge('raftree_watchers', 'Watchers of keys.', watching.watchers);
    to.gauge('raftree_watch_history_bytes', 'What is kept of changes, for watchers.', watching.historyBytes);
    to.counter(
      'raftree_watchers_fell_behind_total',
      'Watchers that asked for changes which are not kept any more, or were too slow.',
      watching.fellBehind,
    );
    if (groups.length > 0) {
      const machines = groups.map(({ stateMachine }) => stateMachine);
      const sum = (of: (machine: KvStateMachine) => number) =>
        machines.reduce((total, each) => total + of(each), 0);
      to.gauge(
        'raftree_sessions',
        'Sessions of clients in the cluster.',
        sum(({ sessions }) => sessions),
      );
      to.gauge(
        'raftree_keys_with_deadline',
        'Keys with a deadline that are stored.',
        sum(({ keysWithDeadline }) => keysWithDeadline),
      );
      to.counter(
        'raftree_expired_keys_total',
        'Keys deleted because their deadlines passed.',
        sum(({ expiredKeys }) => expiredKeys),
      );
      const timeMs = highest(machines, (machine) => machine.timeMs);
      to.gauge('raftree_replicated_time_seconds', 'The time that deadlines are measured by.', timeMs / 1000);
    }
    if (!kv) return;
    to.gauge('raftree_pending_requests', 'Requests under way.', kv.pendingRequests);
    const { reads, doors } = kv.counts;
    to.counter(
      'raftree_reads_total',
      'Reads by level.',
      Object.entries(reads).map(([level, count]) => [{ level }, count] as const),
    );
    const requests = [...doors].flatMap(([door, kinds]) =>
      Object.entries(kinds).flatMap(([kind, outcomes]) =>
        Object.entries(outcomes).map(([outcome, count]) => [{ door, kind, outcome }, count] as const),
      ),
    );
    to.counter('raftree_requests_total', 'Requests that this node carried out, by outcome.', requests);
  }

  #writeEngine(to: Exposition, { groups }: MeasuredNode): void {
    const stats = addedStats(groups.flatMap(({ stateMachine }) => stateMachine.engineStats() ?? []));
    if (!stats) return;
    const { levels, blockCache } = stats;
    const byLevel = (of: (level: { files: number; bytes: number }) => number) =>
      levels.map((level, number) => [{ level: number }, of(level)] as const);
    to.gauge(
      'raftree_lsm_files',
      'Tables by level.',
      byLevel(({ files }) => files),
    );
    to.gauge(
      'raftree_lsm_bytes',
      'Bytes of tables by level.',
      byLevel(({ bytes }) => bytes),
    );
    to.gauge('raftree_lsm_memtable_bytes', 'Bytes of the memtable.', stats.memtableBytes);
    to.gauge('raftree_lsm_pending_compaction_bytes', 'Bytes above the targets.', stats.pendingBytes);
    to.counter('raftree_lsm_flushes_total', 'Memtables written to tables.', stats.flushes);
    to.counter('raftree_lsm_flushed_bytes_total', 'Bytes that flushes wrote.', stats.flushedBytes);
    to.counter('raftree_lsm_compactions_total', 'Compactions.', stats.compactions);
    to.counter('raftree_lsm_compacted_bytes_total', 'Bytes that compactions wrote.', stats.compactedBytes);
    to.gauge(
      'raftree_lsm_writes_stalled',
      '1 while writes wait for the tree.',
      Number(stats.stalled !== undefined),
    );
    to.gauge(
      'raftree_lsm_writes_slowed',
      '1 while writes are slowed down.',
      Number(stats.slowed !== undefined),
    );
    to.gauge('raftree_lsm_waiting_writes', 'Writes that wait for the tree.', stats.waitingWrites);
    to.gauge('raftree_lsm_open_tables', 'Tables with an open file.', stats.openTables);
    to.gauge('raftree_lsm_block_cache_bytes', 'Blocks in memory.', blockCache.bytes);
    to.counter('raftree_lsm_block_cache_hits_total', 'Blocks found in memory.', blockCache.hits);
    to.counter('raftree_lsm_block_cache_misses_total', 'Blocks read from the disk.', blockCache.misses);
  }

  #watchLoop(): void {
    const { clock, timers } = this.#env;
    const dueMs = clock.nowMs() + LOOP_DELAY_EVERY_MS;
    this.#loopTimer = timers.after(LOOP_DELAY_EVERY_MS, () => {
      const lateMs = Math.max(0, clock.nowMs() - dueMs);
      this.#longestDelayMs = Math.max(this.#longestDelayMs ?? 0, lateMs);
      this.#loopDelays.observe(lateMs / 1000);
      this.#watchLoop();
    });
  }
}

function writeTablets(to: Exposition, { groups, tablets: { counts, meta } }: MeasuredNode): void {
  to.gauge('raftree_tablets', 'Tablets on this node.', groups.length);
  to.gauge(
    'raftree_tablets_without_leader',
    'Tablets of which this node knows no leader.',
    groups.filter(({ replica }) => replica.leader === 0).length,
  );
  to.counter('raftree_tablet_splits_total', 'Tablets on this node that were split.', counts.splits);
  to.counter('raftree_replica_moves_total', 'Replicas that were moved here, and away.', [
    [{ direction: 'in' }, counts.replicasAdded],
    [{ direction: 'out' }, counts.replicasRemoved],
  ]);
  const intents = [...(meta?.state.intents.values() ?? [])];
  to.gauge(
    'raftree_tablet_changes',
    'What the map says to be under way with tablets.',
    INTENTS.map((type) => [{ type }, intents.filter((intent) => intent.type === type).length] as const),
  );
  const nodes = [...(meta?.state.nodes.values() ?? [])];
  to.gauge(
    'raftree_nodes_draining',
    'Nodes that give their tablets away.',
    nodes.filter(({ isDraining }) => isDraining).length,
  );
  if (!meta) return;
  const isKnown = meta.group.replica.leader !== 0;
  to.gauge('raftree_map_leader_known', '1 if this node knows a leader of the map.', Number(isKnown));
}

function highest<Each>(all: readonly Each[], of: (each: Each) => number): number {
  return all.reduce((most, each) => Math.max(most, of(each)), 0);
}

/** A state machine that is measured while it applies entries. */
export class MeasuredStateMachine extends KvStateMachine {
  readonly #metrics: NodeMetrics;

  constructor(metrics: NodeMetrics, ...parts: ConstructorParameters<typeof KvStateMachine>) {
    super(...parts);
    this.#metrics = metrics;
  }

  override apply(
    first: number,
    entries: readonly Entry[],
  ): readonly CommandResult[] | Promise<readonly CommandResult[]> {
    return this.#metrics.applying(() => super.apply(first, entries));
  }
}
