/**
 * Cores without rooms around them: a host per node that keeps a log in memory, answers late if told so, forgets what
 * was not durable when it crashes, compacts its log, makes and takes snapshots; clocks that run apart; and a network
 * that drops, repeats and reorders. Everything follows from a seed, and what must hold is checked every millisecond.
 */

import { configurationOf, membersOf, type NodeChange } from '../../src/raft/configuration.js';
import { decodeChange } from '../../src/raft/configuration-codec.js';
import { Raft } from '../../src/raft/raft.js';
import type {
  AppendBatch,
  Entry,
  HardState,
  Input,
  Message,
  Output,
  RaftOptions,
  ReadMethod,
  SnapshotBase,
  StepResult,
} from '../../src/raft/types.js';
import { EMPTY_HARD_STATE, FIRST_BASE } from '../../src/raft/types.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { between, filled, recovered, written } from './entries.js';

export const LAB_OPTIONS: Omit<RaftOptions, 'id' | 'random'> = {
  heartbeatMs: 10,
  electionTimeoutMinMs: 50,
  electionTimeoutMaxMs: 100,
  maxClockDrift: 0.1,
  maxEntryBytes: 8000,
  maxAppendBytes: 200,
  maxApplyBytes: 200,
  maxInflightMessages: 4,
  maxInflightBytes: 1000,
  maxUncommittedBytes: 10_000,
  maxPendingReads: 100,
};

/** What stands for the base of a new group in what is applied. */
const BOOTSTRAP: Entry = { term: FIRST_BASE.term, kind: 'noop', body: new Uint8Array(0) };

interface Disk {
  hardState: HardState;
  base: SnapshotBase;
  /** What the state machine had applied at the base. */
  applied: Entry[];
  /** Entry i is at i - base.index - 1. */
  log: Entry[];
}

/** One node: its core, its log as its memory and as its disk would have it. */
export class Host {
  readonly id: number;
  readonly random: SeededRandom;
  /** Read when it is started. */
  options: typeof LAB_OPTIONS;
  /** For so long a process of this node may have promised not to depose a leader. */
  #promisedMs = 0;
  /** Which process this is, and how often it was asked for a read: like the hosts outside, each begins its ids anew. */
  processes = 0;
  readsAsked = 0;
  #clock = { rate: 1, sinceMs: 0, atMs: 0 };
  raft: Raft;
  base: SnapshotBase;
  /** As written, durable or not: entry i is at i - base.index - 1. */
  log: Entry[] = [];
  disk: Disk;
  /** Batches that the disk still has to finish, in order, with the state that a snapshot in them brings. */
  writing: { batch: AppendBatch; restored: Entry[] | undefined }[] = [];
  applied: Entry[] = [];
  reads: { id: number; index: number }[] = [];
  failedReads: number[] = [];
  snapshotsNeeded: number[] = [];
  /** The state of a snapshot that has arrived and that the core has been told of. */
  arrived: Entry[] = [];
  isDown = false;
  /** A range that the state machine has been given and has not applied. */
  applying: { readonly last: number; readonly entries: readonly Entry[] } | undefined;
  /** Chance that a range is applied at once; those that are not, with this chance per millisecond. */
  applyRate = 1;
  /** A fault: says `persisted` before the disk does. */
  reportsEarly = false;
  snapshotsTaken = 0;

  constructor(
    id: number,
    voters: readonly number[],
    random: SeededRandom,
    nowMs: number,
    options = LAB_OPTIONS,
  ) {
    this.id = id;
    this.random = random;
    this.options = options;
    const isMember = voters.includes(id);
    this.base = {
      ...(isMember ? FIRST_BASE : { index: 0, term: 0 }),
      configuration: configurationOf(voters),
    };
    if (isMember) this.applied = [BOOTSTRAP];
    this.disk = { hardState: EMPTY_HARD_STATE, base: this.base, applied: [...this.applied], log: [] };
    this.raft = this.#boot(nowMs, false);
  }

  /** From now on its clock runs this fast. */
  setClockRate(nowMs: number, rate: number): void {
    this.#clock = { rate, sinceMs: nowMs, atMs: this.#ownTime(nowMs) };
  }

  /** Once, there or back. */
  jumpClock(nowMs: number, byMs: number): void {
    this.#clock = { rate: this.#clock.rate, sinceMs: nowMs, atMs: this.#ownTime(nowMs) + byMs };
  }

  get clockRate(): number {
    return this.#clock.rate;
  }

  #ownTime(nowMs: number): number {
    return this.#clock.atMs + (nowMs - this.#clock.sinceMs) * this.#clock.rate;
  }

  get durableLog(): readonly Entry[] {
    return this.disk.log;
  }

  /** Index of the last entry, durable or not. */
  get lastIndex(): number {
    return this.base.index + this.log.length;
  }

  entryAt(index: number): Entry | undefined {
    return this.log[index - this.base.index - 1];
  }

  #boot(nowMs: number, restarted: boolean): Raft {
    this.processes++;
    this.readsAsked = 0;
    const promisedMs = this.#promisedMs;
    this.#promisedMs = Math.max(promisedMs, this.options.electionTimeoutMinMs);
    return new Raft(
      { ...this.options, id: this.id, random: () => this.random.float() },
      {
        hardState: this.disk.hardState,
        base: this.disk.base,
        entries: recovered(this.disk.log, decodeChange),
        applied: this.disk.base.index,
        restarted,
        promisedMs,
      },
      this.#ownTime(nowMs),
    );
  }

  /** Power cut: the disk keeps what was durable; the state machine starts from the base. */
  restart(nowMs: number): void {
    this.isDown = false;
    this.writing = [];
    this.applying = undefined;
    this.base = this.disk.base;
    this.log = [...this.disk.log];
    this.applied = [...this.disk.applied];
    this.reads = [];
    this.raft = this.#boot(nowMs, true);
  }

  step(nowMs: number, input: Input): StepResult {
    return this.raft.step(this.#ownTime(nowMs), input);
  }

  /**
   * Takes the output once; entries to apply are applied at once if `applyRate` is 1, batches wait for `finishWrite`.
   */
  take(nowMs: number): { output: Output; sent: { to: number; message: Message }[] } | undefined {
    const output = this.raft.take(this.#ownTime(nowMs));
    if (!output) return undefined;
    const { append } = output;
    if (append) {
      const restored = append.snapshot ? this.arrived : undefined;
      if (append.snapshot) {
        this.base = append.snapshot;
        this.log = [];
        this.snapshotsTaken++;
      }
      if (append.entries.length > 0) {
        this.log = written(this.log, this.base.index, append);
      }
      this.writing.push({ batch: append, restored });
      if (this.reportsEarly) this.step(nowMs, { type: 'persisted', batch: append.batch });
    }
    const sent = output.send.map(({ to, message }) => ({
      to,
      message: filled(this.log, this.base.index, message),
    }));
    this.reads.push(...output.reads);
    this.failedReads.push(...output.failedReads);
    this.snapshotsNeeded.push(...output.snapshotsNeeded);
    if (output.apply) this.#apply(nowMs, output.apply.first, output.apply.last);
    return { output, sent };
  }

  #apply(nowMs: number, first: number, last: number): void {
    if (first !== this.applied.length + 1) {
      throw new Error(`node ${this.id} was to apply ${first} after ${this.applied.length}`);
    }
    if (last > this.disk.base.index + this.disk.log.length && !this.reportsEarly) {
      throw new Error(`node ${this.id} was to apply ${last}, which is not durable`);
    }
    const entries = between(this.log, this.base.index, first, last);
    this.applying = { last, entries };
    if (this.random.chance(this.applyRate)) this.finishApply(nowMs);
  }

  /** The state machine has applied what it was given. */
  finishApply(nowMs: number): void {
    if (!this.applying) return;
    const { last, entries } = this.applying;
    this.applying = undefined;
    this.applied.push(...entries);
    this.step(nowMs, { type: 'applied', index: last });
  }

  /** The disk finishes the oldest batch. */
  finishWrite(nowMs: number): boolean {
    const item = this.writing.shift();
    if (!item) return false;
    const { batch, restored } = item;
    const { disk } = this;
    if (batch.snapshot && restored) {
      disk.base = batch.snapshot;
      disk.log = [];
      disk.applied = [...restored];
    }
    if (batch.entries.length > 0) {
      disk.log = written(disk.log, disk.base.index, batch);
    }
    disk.hardState = batch.hardState;
    this.step(nowMs, { type: 'persisted', batch: batch.batch });
    if (batch.snapshot && restored) {
      // What was being applied goes on to its end first.
      this.finishApply(nowMs);
      this.applied = [...restored];
      this.step(nowMs, { type: 'applied', index: batch.snapshot.index });
    }
    return true;
  }

  /**
   * Cuts the log, all but the last entries that are applied. Only while no batch is on its way: the lab's disk is
   * simple.
   */
  compact(nowMs: number, keep: number): void {
    const index = this.applied.length - keep;
    if (index <= this.base.index || this.writing.length > 0 || this.raft.appliedIndex !== this.applied.length)
      return;
    const term = this.raft.termAt(index);
    if (term === undefined) return;
    // The configuration at the new base: only exact where nothing was changed since.
    const changedSince = this.log
      .slice(index - this.base.index)
      .some((entry, i) => entry.kind === 'configuration' && index + i + 1 <= this.applied.length);
    if (changedSince) return;
    const base = { index, term, configuration: this.raft.configuration };
    this.log = this.log.slice(index - this.base.index);
    this.base = base;
    this.disk.log = this.disk.log.slice(index - this.disk.base.index);
    this.disk.base = base;
    this.disk.applied = this.applied.slice(0, index);
    this.step(nowMs, { type: 'compacted', index });
  }

  propose(nowMs: number, text: string): StepResult {
    return this.step(nowMs, { type: 'propose', bodies: [Buffer.from(text)] });
  }

  change(nowMs: number, ...changes: NodeChange[]): StepResult {
    return this.step(nowMs, { type: 'changeConfiguration', change: { changes, transition: 'auto' } });
  }
}

interface InTransit {
  readonly atMs: number;
  readonly from: number;
  readonly to: number;
  readonly message: Message;
  /** Of a snapshot: its state. */
  readonly state?: Entry[];
}

/** Far from the numbers that a test gives its own reads. */
const FIRST_READ = 1_000_000;

interface LabRead {
  /** What had been applied anywhere when it was asked. */
  readonly atLeast: number;
  readonly method: ReadMethod;
}

export class CoreLab {
  readonly random: SeededRandom;
  readonly hosts: Map<number, Host>;
  nowMs = 0;
  transit: InTransit[] = [];
  lossRate = 0;
  repeatRate = 0;
  maxDelayMs = 2;
  /** Chance per millisecond that a disk finishes its oldest batch, times `diskSpeed`. */
  writeRate = 1;
  diskSpeed = 1;
  readonly cut = new Set<string>();
  /** Every message that left, in order: for tests of what may leave when. */
  readonly sent: InTransit[] = [];
  /** The leader of each term, as seen. */
  readonly leaders = new Map<number, number>();
  /** What was applied at each index, by whoever applied it first. */
  readonly history: Entry[] = [];
  readonly answeredReads: Record<ReadMethod, number> = { index: 0, lease: 0, follower: 0 };
  /** By node, process and id. */
  readonly #reads = new Map<string, LabRead>();

  constructor(seed: number, size: number, options = LAB_OPTIONS, spare = 0) {
    this.random = new SeededRandom(seed);
    const voters = Array.from({ length: size }, (_, i) => i + 1);
    const all = Array.from({ length: size + spare }, (_, i) => i + 1);
    this.hosts = new Map(
      all.map((id) => [
        id,
        new Host(id, id <= size ? voters : [], new SeededRandom(this.random.uint32()), 0, options),
      ]),
    );
  }

  host(id: number): Host {
    const host = this.hosts.get(id);
    if (!host) throw new Error(`there is no node ${id}`);
    return host;
  }

  get leader(): Host | undefined {
    let best: Host | undefined;
    for (const host of this.hosts.values()) {
      if (!host.isDown && host.raft.role === 'leader' && host.raft.term > (best?.raft.term ?? 0)) best = host;
    }
    return best;
  }

  /** One millisecond: ticks, deliveries, writes, outputs; then everything that must hold is checked. */
  advance(): void {
    this.nowMs++;
    const running = [...this.hosts.values()].filter((host) => !host.isDown);
    for (const host of running) host.step(this.nowMs, { type: 'tick' });
    const due = this.transit.filter((item) => item.atMs <= this.nowMs);
    this.transit = this.transit.filter((item) => item.atMs > this.nowMs);
    for (const item of due) this.#deliver(item);
    for (const host of running) {
      this.drain(host);
      while (host.writing.length > 0 && this.random.chance(this.writeRate * this.diskSpeed)) {
        host.finishWrite(this.nowMs);
        this.drain(host);
      }
      if (host.applying && this.random.chance(host.applyRate)) {
        host.finishApply(this.nowMs);
        this.drain(host);
      }
      this.#sendSnapshots(host);
    }
    this.check();
  }

  #deliver({ from, to, message, state }: InTransit): void {
    const host = this.host(to);
    if (this.cut.has(`${from}>${to}`) || host.isDown) return;
    if (state) {
      host.arrived = state;
      // What the core makes of it must be seen before another one arrives.
      host.step(this.nowMs, { type: 'message', from, message });
      this.drain(host);
      return;
    }
    host.step(this.nowMs, { type: 'message', from, message });
  }

  #sendSnapshots(host: Host): void {
    for (const to of host.snapshotsNeeded.splice(0)) {
      const index = host.applied.length;
      const term = host.raft.termAt(index);
      const ok = term !== undefined && host.raft.appliedIndex === index && !this.random.chance(this.lossRate);
      if (ok) {
        const snapshot = { index, term, configuration: host.raft.configuration };
        const message: Message = { type: 'snapshot', term: host.raft.term, snapshot };
        const atMs = this.nowMs + this.random.between(1, 20);
        this.transit.push({ atMs, from: host.id, to, message, state: [...host.applied] });
      }
      host.step(this.nowMs, { type: 'snapshotSent', node: to, index, ok });
    }
  }

  advanceFor(durationMs: number): void {
    for (let i = 0; i < durationMs; i++) this.advance();
  }

  /** Advances until the condition holds; throws if it does not within the limit. */
  advanceUntil(condition: () => boolean, limitMs = 5000): void {
    const endMs = this.nowMs + limitMs;
    while (!condition()) {
      if (this.nowMs >= endMs) throw new Error(`did not happen within ${limitMs} ms`);
      this.advance();
    }
  }

  drain(host: Host): void {
    for (let taken = host.take(this.nowMs); taken; taken = host.take(this.nowMs)) {
      for (const { to, message } of taken.sent) this.post(host.id, to, message);
    }
  }

  post(from: number, to: number, message: Message): void {
    this.sent.push({ atMs: this.nowMs, from, to, message });
    if (this.random.chance(this.lossRate)) return;
    const copies = this.random.chance(this.repeatRate) ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      this.transit.push({ atMs: this.nowMs + this.random.between(1, this.maxDelayMs), from, to, message });
    }
  }

  /** Asks a node for a read; its answer is checked against what anybody had applied by now. */
  read(host: Host, method: ReadMethod): StepResult {
    const id = FIRST_READ + host.readsAsked++;
    const result = host.step(this.nowMs, { type: 'read', id, method });
    if (result.accepted) this.#reads.set(nameOfRead(host, id), { atLeast: this.history.length, method });
    return result;
  }

  isolate(id: number): void {
    for (const other of this.hosts.keys()) {
      this.cut.add(`${id}>${other}`);
      this.cut.add(`${other}>${id}`);
    }
  }

  heal(): void {
    this.cut.clear();
    this.lossRate = 0;
    this.repeatRate = 0;
    this.writeRate = 1;
    for (const host of this.hosts.values()) host.applyRate = 1;
  }

  /**
   * Election safety, log matching, state-machine safety, leader completeness (Raft, figure 3), and reads that are
   * current.
   */
  check(): void {
    for (const host of this.hosts.values()) {
      if (host.raft.role === 'leader') this.#checkLeader(host);
      host.applied.forEach((entry, i) => {
        const first = this.history[i];
        if (!first) this.history[i] = entry;
        else if (
          first !== entry &&
          (first.term !== entry.term || Buffer.compare(first.body, entry.body) !== 0)
        ) {
          throw new Error(`node ${host.id} applied another entry ${i + 1} than was applied before`);
        }
      });
      for (const { id, index } of host.reads) {
        const name = nameOfRead(host, id);
        const read = this.#reads.get(name);
        if (!read) continue;
        this.#reads.delete(name);
        host.reads = host.reads.filter((answer) => answer.id !== id);
        this.answeredReads[read.method]++;
        if (index < read.atLeast) {
          throw new Error(
            `a ${read.method} read on node ${host.id} at ${index} misses what was applied at ${read.atLeast}`,
          );
        }
      }
    }
  }

  #checkLeader(host: Host): void {
    const { term } = host.raft;
    const known = this.leaders.get(term);
    if (known !== undefined && known !== host.id)
      throw new Error(`nodes ${known} and ${host.id} both lead term ${term}`);
    if (known !== undefined) return;
    this.leaders.set(term, host.id);
    this.history.forEach((entry, i) => {
      const index = i + 1;
      if (index > host.base.index && host.entryAt(index)?.term !== entry.term) {
        throw new Error(`leader ${host.id} lacks committed entry ${index}`);
      }
    });
  }

  /** Pairs of logs agree up to their last common (index, term). Slower: for the end of a run. */
  checkLogMatching(): void {
    for (const a of this.hosts.values()) {
      for (const b of this.hosts.values()) {
        const first = Math.max(a.base.index, b.base.index) + 1;
        let agreed = Math.min(a.lastIndex, b.lastIndex);
        while (agreed >= first && a.entryAt(agreed)?.term !== b.entryAt(agreed)?.term) agreed--;
        for (let index = first; index <= agreed; index++) {
          if (a.entryAt(index)?.term !== b.entryAt(index)?.term) {
            throw new Error(`two logs agree at ${agreed} and differ at ${index}`);
          }
        }
      }
    }
  }

  /** Those that belong to the group, as its leader sees it. */
  get members(): Host[] {
    const { leader } = this;
    return leader ? membersOf(leader.raft.configuration).map((id) => this.host(id)) : [];
  }
}

function nameOfRead({ id: node, processes }: Host, id: number): string {
  return `${node}#${processes} ${id}`;
}

/** A leader that everybody knows and that has committed an entry of its term. */
export function electedLab(
  size = 3,
  seed = 42,
  options = LAB_OPTIONS,
): { lab: CoreLab; leader: Host; followers: Host[] } {
  const lab = new CoreLab(seed, size, options);
  lab.advanceUntil(() => lab.leader !== undefined && lab.leader.raft.commitIndex > 1);
  const leader = lab.leader as Host;
  lab.advanceFor(30);
  return { lab, leader, followers: [...lab.hosts.values()].filter((host) => host !== leader) };
}
