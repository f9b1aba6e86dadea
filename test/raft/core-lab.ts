/**
 * Cores without rooms around them: a host per node that keeps a log in memory, answers late if told so, forgets what was
 * not durable when it crashes, and a network that drops, repeats and reorders. Everything follows from a seed.
 */
import { SeededRandom } from '../../src/env/sim/seeded-random.js';
import { configurationOf } from '../../src/raft/configuration.js';
import { decodeChange } from '../../src/raft/configuration-codec.js';
import { Raft } from '../../src/raft/raft.js';
import type {
  AppendBatch,
  Entry,
  Envelope,
  HardState,
  Input,
  Message,
  Output,
  RaftOptions,
  StepResult,
} from '../../src/raft/types.js';
import { EMPTY_HARD_STATE, entrySizeBytes } from '../../src/raft/types.js';

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

/** One node: its core, its log as its memory and as its disk would have it. */
export class Host {
  readonly id: number;
  readonly voters: readonly number[];
  readonly random: SeededRandom;
  readonly options: typeof LAB_OPTIONS;
  raft: Raft;
  /** As written, durable or not: entry i is at i - 1. */
  log: Entry[] = [];
  durableLog: Entry[] = [];
  durableHardState: HardState = EMPTY_HARD_STATE;
  /** Batches that the disk still has to finish, in order. */
  writing: AppendBatch[] = [];
  applied: Entry[] = [];
  reads: { id: number; index: number }[] = [];
  failedReads: number[] = [];
  hasRun = false;
  /** A fault: says `persisted` before the disk does. */
  reportsEarly = false;

  constructor(
    id: number,
    voters: readonly number[],
    random: SeededRandom,
    nowMs: number,
    options = LAB_OPTIONS,
  ) {
    this.id = id;
    this.voters = voters;
    this.random = random;
    this.options = options;
    this.raft = this.#boot(nowMs);
  }

  #boot(nowMs: number): Raft {
    const restarted = this.hasRun;
    this.hasRun = true;
    return new Raft(
      {
        ...this.options,
        id: this.id,
        random: () => this.random.float(),
      },
      {
        hardState: this.durableHardState,
        base: { index: 0, term: 0, configuration: configurationOf(this.voters) },
        entries: this.durableLog.map((entry) => ({
          term: entry.term,
          sizeBytes: entrySizeBytes(entry),
          change: entry.kind === 'configuration' ? decodeChange(entry.body) : undefined,
        })),
        applied: 0,
        restarted,
      },
      nowMs,
    );
  }

  /** Power cut: the disk keeps what was durable; the state machine starts over. */
  restart(nowMs: number): void {
    this.writing = [];
    this.log = [...this.durableLog];
    this.applied = [];
    this.raft = this.#boot(nowMs);
  }

  step(nowMs: number, input: Input): StepResult {
    return this.raft.step(nowMs, input);
  }

  /** Takes the output once; entries to apply are applied at once, batches wait for `finishWrite`. */
  take(nowMs: number): { output: Output; sent: { to: number; message: Message }[] } | undefined {
    const output = this.raft.take(nowMs);
    if (!output) return undefined;
    if (output.append) {
      const { first, entries } = output.append;
      if (entries.length > 0) this.log = [...this.log.slice(0, first - 1), ...entries];
      this.writing.push(output.append);
      if (this.reportsEarly) this.step(nowMs, { type: 'persisted', batch: output.append.batch });
    }
    const sent = output.send.map((envelope) => this.#fill(envelope));
    this.reads.push(...output.reads);
    this.failedReads.push(...output.failedReads);
    if (output.apply) {
      const { first, last } = output.apply;
      if (first !== this.applied.length + 1)
        throw new Error(`node ${this.id} was to apply ${first} after ${this.applied.length}`);
      if (last > this.durableLog.length && !this.reportsEarly)
        throw new Error(`node ${this.id} was to apply ${last}, which is not durable`);
      this.applied.push(...this.log.slice(first - 1, last));
      this.step(nowMs, { type: 'applied', index: last });
    }
    return { output, sent };
  }

  #fill({ to, message }: Envelope): { to: number; message: Message } {
    if (message.type !== 'append') return { to, message };
    const { first, last, ...header } = message;
    return { to, message: { ...header, entries: this.log.slice(first - 1, last) } };
  }

  /** The disk finishes the oldest batch. */
  finishWrite(nowMs: number): boolean {
    const batch = this.writing.shift();
    if (!batch) return false;
    if (batch.entries.length > 0) {
      this.durableLog = [...this.durableLog.slice(0, batch.first - 1), ...batch.entries];
    }
    this.durableHardState = batch.hardState;
    this.step(nowMs, { type: 'persisted', batch: batch.batch });
    return true;
  }

  propose(nowMs: number, text: string): StepResult {
    return this.step(nowMs, { type: 'propose', bodies: [Buffer.from(text)] });
  }
}

interface InTransit {
  readonly atMs: number;
  readonly from: number;
  readonly to: number;
  readonly message: Message;
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

  constructor(seed: number, size: number, options = LAB_OPTIONS) {
    this.random = new SeededRandom(seed);
    const voters = Array.from({ length: size }, (_, i) => i + 1);
    this.hosts = new Map(
      voters.map((id) => [id, new Host(id, voters, new SeededRandom(this.random.uint32()), 0, options)]),
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
      if (host.raft.role === 'leader' && host.raft.term > (best?.raft.term ?? 0)) best = host;
    }
    return best;
  }

  /** One millisecond: ticks, deliveries, writes, outputs; then everything that must hold is checked. */
  advance(): void {
    this.nowMs++;
    for (const host of this.hosts.values()) host.step(this.nowMs, { type: 'tick' });
    const due = this.transit.filter((item) => item.atMs <= this.nowMs);
    this.transit = this.transit.filter((item) => item.atMs > this.nowMs);
    for (const { from, to, message } of due) {
      if (!this.cut.has(`${from}>${to}`)) this.host(to).step(this.nowMs, { type: 'message', from, message });
    }
    for (const host of this.hosts.values()) {
      this.drain(host);
      while (host.writing.length > 0 && this.random.chance(this.writeRate * this.diskSpeed)) {
        host.finishWrite(this.nowMs);
        this.drain(host);
      }
    }
    this.check();
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
  }

  /** Election safety, log matching, state-machine safety, leader completeness (Raft, figure 3). */
  check(): void {
    for (const host of this.hosts.values()) {
      if (host.raft.role === 'leader') {
        const known = this.leaders.get(host.raft.term);
        if (known !== undefined && known !== host.id) {
          throw new Error(`nodes ${known} and ${host.id} both lead term ${host.raft.term}`);
        }
        if (known === undefined) {
          this.leaders.set(host.raft.term, host.id);
          this.history.forEach((entry, i) => {
            if (host.log[i]?.term !== entry.term)
              throw new Error(`leader ${host.id} lacks committed entry ${i + 1}`);
          });
        }
      }
      host.applied.forEach((entry, i) => {
        const first = this.history[i];
        if (!first) this.history[i] = entry;
        else if (first.term !== entry.term || Buffer.compare(first.body, entry.body) !== 0) {
          throw new Error(`node ${host.id} applied another entry ${i + 1} than was applied before`);
        }
      });
    }
  }

  /** Pairs of logs agree up to their last common (index, term). Slower: for the end of a run. */
  checkLogMatching(): void {
    const logs = [...this.hosts.values()].map((host) => host.log);
    for (const a of logs) {
      for (const b of logs) {
        let agreed = Math.min(a.length, b.length);
        while (agreed > 0 && a[agreed - 1]?.term !== b[agreed - 1]?.term) agreed--;
        for (let i = 0; i < agreed; i++) {
          if (a[i]?.term !== b[i]?.term)
            throw new Error(`two logs agree at ${agreed} and differ at ${i + 1}`);
        }
      }
    }
  }
}
