/**
 * Replicas without sockets or an LSM tree: real core, real log on a simulated disk each, a state machine that is a
 * list, and messages that arrive after a random delay. Everything follows from a seed.
 */
import { DiskSpace } from '../../src/env/disk-space.js';
import { type FileSystem, silentLogger } from '../../src/env/env.js';
import { RaftreeError } from '../../src/env/errors.js';
import { configurationOf } from '../../src/raft/configuration.js';
import { type Entry, FIRST_BASE, type Input, type NodeId } from '../../src/raft/types.js';
import { type GroupLog, RaftLog } from '../../src/raft-log/raft-log.js';
import type { GroupStateMachine } from '../../src/replica/group-state-machine.js';
import type { LogLimits } from '../../src/replica/log-compaction.js';
import type { CorePort } from '../../src/replica/ports.js';
import { Replica, type ReplicaOptions } from '../../src/replica/replica.js';
import type { ReplicaMessage } from '../../src/replica/snapshot-messages.js';
import { SnapshotPace } from '../../src/replica/snapshot-pace.js';
import { SnapshotTurns } from '../../src/replica/snapshot-turns.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import type { SimFileSystemOptions } from '../../src/sim/world/file-operation.js';
import { type SimProcess, SimWorld } from '../../src/sim/world/world.js';
import { TickScheduler } from '../../src/store/tick-scheduler.js';

const GROUP = 1;
const GROUP_DIRECTORY = '/groups/1';
const FIRST_STATE = 'state-0-0';
const DISK_FULL_RETRY_MS = 50;
const HEARTBEAT_MS = 20;
const TICK_MS = 5;
const LOG_LIMITS: LogLimits = { maxLogBytes: 1024 * 1024, maxSnapshotLogBytes: 0, trailingEntries: 10 };

/** What `flush` writes; a checkpoint is several parts of it, so that a snapshot has several files. */
const LIST = 'list';

/** Applies commands by writing them down; says with each how many there were before it. Durable what was flushed. */
export class ListMachine implements GroupStateMachine<number> {
  readonly #fs: FileSystem;
  readonly #emptyAt: number;
  #directory: string;
  /** One per index, empty for an entry that is no command. */
  entries: string[] = [];
  durableIndex = 0;
  flushes = 0;
  checkpoints = 0;
  restores = 0;
  /** How a checkpoint is divided into files. */
  entriesPerPart = 20;
  /** Holds up the next `apply` until it resolves; a rejection makes it fail. */
  gate: Promise<void> | undefined;
  /** Holds up the next `checkpoint`, which has begun, until it resolves. */
  checkpointGate: Promise<void> | undefined;
  /** Holds up the next `check` until it resolves. */
  checkGate: Promise<void> | undefined;
  /** How long each `apply` takes; at once if undefined. */
  applying: (() => Promise<void>) | undefined;
  /** Calls that came while another was under way, and must not have. */
  readonly overlaps: string[] = [];
  #underWay: string | undefined;

  /** `emptyAt`: what it has applied while there is nothing in its directory. */
  constructor(fs: FileSystem, directory: string, emptyAt = 0) {
    this.#fs = fs;
    this.#emptyAt = emptyAt;
    this.#directory = directory;
    fs.makeDirectory(directory);
    this.#load();
  }

  get appliedIndex(): number {
    return this.entries.length;
  }

  get commands(): string[] {
    return this.entries.filter((text) => text !== '');
  }

  /** The most entries that one call of `apply` takes. */
  entriesPerCall = Number.POSITIVE_INFINITY;

  apply(first: number, given: readonly Entry[]): number[] | Promise<number[]> {
    if (first !== this.appliedIndex + 1) throw new Error(`${first} does not follow ${this.appliedIndex}`);
    const entries = given.slice(0, this.entriesPerCall);
    const run = () =>
      entries.map((entry) => {
        const before = this.commands.length;
        this.entries.push(entry.kind !== 'command' ? '' : Buffer.from(entry.body).toString());
        return before;
      });
    const gate = this.gate ?? this.applying?.();
    return gate ? this.#alone('apply', () => gate.then(run)) : run();
  }

  async #alone<T>(call: string, run: () => Promise<T>): Promise<T> {
    if (this.#underWay) this.overlaps.push(`${call} during ${this.#underWay}`);
    this.#underWay = call;
    try {
      return await run();
    } finally {
      this.#underWay = undefined;
    }
  }

  async flush(): Promise<void> {
    this.flushes++;
    const directory = this.#directory;
    const { appliedIndex } = this;
    // A power cut may have left one.
    if (this.#fs.exists(`${directory}/${LIST}.temporary`)) this.#fs.unlink(`${directory}/${LIST}.temporary`);
    await this.#write(`${directory}/${LIST}.temporary`, this.entries);
    this.#fs.rename(`${directory}/${LIST}.temporary`, `${directory}/${LIST}`);
    this.#fs.syncDirectory(directory);
    if (directory === this.#directory) this.durableIndex = appliedIndex;
  }

  checkpoint(directory: string): Promise<void> {
    this.checkpoints++;
    return this.#alone('checkpoint', async () => {
      await this.checkpointGate;
      this.#fs.makeDirectory(directory);
      for (let at = 0; at < this.entries.length; at += this.entriesPerPart) {
        const name = `part-${String(at).padStart(6, '0')}`;
        await this.#write(`${directory}/${name}`, this.entries.slice(at, at + this.entriesPerPart));
      }
      this.#fs.syncDirectory(directory);
    });
  }

  /** Throws for what is not JSON. */
  async check(directory: string): Promise<void> {
    await this.checkGate;
    for (const name of this.#fs.list(directory)) {
      try {
        JSON.parse(this.#fs.readFile(`${directory}/${name}`).toString());
      } catch (cause) {
        throw new RaftreeError('CORRUPTION', `${name} is damaged`, { cause });
      }
    }
  }

  restore(directory: string): Promise<void> {
    this.restores++;
    return this.#alone('restore', async () => {
      this.#directory = directory;
      this.#load();
    });
  }

  async close(): Promise<void> {}

  #load(): void {
    const names = this.#fs.list(this.#directory);
    const parts = names.includes(LIST) ? [LIST] : names.filter((name) => name.startsWith('part-')).sort();
    const read = (name: string) => JSON.parse(this.#fs.readFile(`${this.#directory}/${name}`).toString());
    this.entries = parts.flatMap((name) => read(name) as string[]);
    while (this.entries.length < this.#emptyAt) this.entries.push('');
    this.durableIndex = this.entries.length;
  }

  async #write(path: string, entries: readonly string[]): Promise<void> {
    const file = this.#fs.open(path, 'create');
    try {
      await file.write([Buffer.from(JSON.stringify(entries))], 0);
      await file.sync();
    } finally {
      file.close();
    }
  }
}

export interface FakeCore extends CorePort {
  readonly steps: readonly Input[];
  readonly failures: readonly unknown[];
}

/** A core for one part of a replica alone: leads in term 1, and writes down what the part says. */
export function fakeCore(onStep: (input: Input) => void = () => {}): FakeCore {
  const steps: Input[] = [];
  const failures: unknown[] = [];
  return {
    ...{ role: 'leader', term: 1, commitIndex: 0, steps, failures },
    step(input) {
      steps.push(input);
      onStep(input);
      return { accepted: true, index: 0, term: 1 };
    },
    fail: (cause) => void failures.push(cause),
  };
}

/** The steps of one type, in order. */
export function stepsOf<Type extends Input['type']>(core: FakeCore, type: Type) {
  return core.steps.filter((input): input is Extract<Input, { type: Type }> => input.type === type);
}

export interface Gate {
  readonly promise: Promise<void>;
  readonly open: () => void;
}

/** For a machine's `gate` and the like. */
export function newGate(): Gate {
  let open = () => {};
  const promise = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { promise, open };
}

export interface Member {
  readonly id: number;
  readonly disk: SimDisk;
  process: SimProcess;
  log: RaftLog;
  machine: ListMachine;
  replica: Replica<number>;
  /** Of the configuration that the host was told last. */
  readonly told: { index: number };
  failures: RaftreeError[];
  isRunning: boolean;
  /** While its process is paused: what has arrived. */
  held: (() => void)[] | undefined;
}

export interface LabOptions {
  readonly size?: number;
  readonly replica?: Partial<ReplicaOptions & LogLimits>;
  readonly fault?: (member: number) => NonNullable<SimFileSystemOptions['fault']>;
  readonly maxCachedBytes?: number;
  /** Every `apply` answers late, within this. */
  readonly maxApplyMs?: number;
}

export class ReplicaLab {
  readonly world: SimWorld;
  readonly members = new Map<number, Member>();
  readonly cut = new Set<string>();
  /** Sees every message when it arrives, and may change or drop it. */
  intercept: (from: NodeId, to: NodeId, message: ReplicaMessage) => ReplicaMessage | undefined = (
    _from,
    _to,
    message,
  ) => message;
  readonly #options: LabOptions;
  readonly #voters: number[];
  maxDelayMs = 2;
  /** Warnings and errors that the members logged. */
  readonly warnings: { readonly member: NodeId; readonly message: string; readonly fields: object }[] = [];

  private constructor(seed: number, options: LabOptions) {
    this.world = new SimWorld(seed);
    this.#options = options;
    this.#voters = Array.from({ length: options.size ?? 3 }, (_, i) => i + 1);
  }

  static async start(seed: number, options: LabOptions = {}): Promise<ReplicaLab> {
    const lab = new ReplicaLab(seed, options);
    for (const id of lab.#voters) await lab.bootNew(id);
    return lab;
  }

  /** A machine that has never run. Beyond the first voters: one that waits to be added. */
  bootNew(id: number): Promise<Member> {
    const disk = new SimDisk();
    disk.mount().makeDirectory('/raft');
    return this.boot(id, disk);
  }

  async boot(id: number, disk: SimDisk): Promise<Member> {
    const { scheduler, random } = this.world;
    const process = this.world.start(`n${id}`, disk, {
      latency: () => scheduler.sleep(random.float()),
      ...(this.#options.fault ? { fault: this.#options.fault(id) } : {}),
    });
    const log = RaftLog.open({
      env: process.env,
      directory: '/raft',
      maxSegmentBytes: 4096,
      maxGroupCommitBytes: 64 * 1024,
      maxCachedBytes: this.#options.maxCachedBytes ?? 2000,
      preallocateBytes: 512,
    });
    const present = log.group(GROUP);
    const group: GroupLog =
      present ??
      (await scheduler.run(
        log.createGroup(GROUP, {
          ...(this.#voters.includes(id)
            ? { ...FIRST_BASE, configuration: configurationOf(this.#voters) }
            : { index: 0, term: 0, configuration: configurationOf([]) }),
          directory: FIRST_STATE,
        }),
      ));
    const machine = new ListMachine(
      process.fs,
      `${GROUP_DIRECTORY}/${group.base.directory}`,
      Math.min(group.base.index, FIRST_BASE.index),
    );
    const { maxApplyMs } = this.#options;
    if (maxApplyMs !== undefined) machine.applying = () => scheduler.sleep(random.float() * maxApplyMs);
    const failures: RaftreeError[] = [];
    const told = { index: -1 };
    const warn = (fields: object, message: string) => this.warnings.push({ member: id, message, fields });
    const logger = { ...silentLogger, warn, error: warn };
    const replica = new Replica<number>(
      {
        raft: {
          id,
          heartbeatMs: HEARTBEAT_MS,
          electionTimeoutMinMs: 100,
          electionTimeoutMaxMs: 200,
          maxClockDrift: 0.1,
          maxEntryBytes: 100_000,
          maxAppendBytes: 500,
          maxApplyBytes: 500,
          maxInflightMessages: 8,
          maxInflightBytes: 4000,
          maxUncommittedBytes: 20_000,
          maxPendingReads: 100,
        },
        directory: GROUP_DIRECTORY,
        snapshots: { maxChunkBytes: 200, maxBytesPerSecond: 1_000_000, stallTimeoutMs: 400 },
        tickMs: TICK_MS,
        logLimits: () => ({ ...LOG_LIMITS, ...this.#options.replica }),
        ...this.#options.replica,
      },
      {
        env: process.env,
        log: group,
        stateMachine: machine,
        transport: { send: (to, message) => this.#post(id, to, message) },
        logger,
        restarted: present !== undefined,
        succeed: async () => {},
        ticks: new TickScheduler({ ...process.env, tickMs: TICK_MS, heartbeatMs: HEARTBEAT_MS }),
        snapshotTurns: {
          sending: new SnapshotTurns(process.env.timers, 8),
          receiving: new SnapshotTurns(process.env.timers, 8),
        },
        snapshotPace: new SnapshotPace(
          process.env.clock,
          this.#options.replica?.snapshots?.maxBytesPerSecond ?? 1_000_000,
        ),
        diskSpace: new DiskSpace(logger, process.env, {
          retryMs: DISK_FULL_RETRY_MS,
          maxRetryMs: DISK_FULL_RETRY_MS,
        }),
        host: {
          statusChanged() {},
          quietnessChanged() {},
          configurationChanged: ({ index }) => {
            told.index = index;
          },
          failed: (error) => void failures.push(error),
        },
      },
    );
    const member: Member = {
      id,
      disk,
      process,
      log,
      machine,
      replica,
      failures,
      told,
      isRunning: true,
      held: undefined,
    };
    this.members.set(id, member);
    return member;
  }

  #post(from: NodeId, to: NodeId, message: ReplicaMessage): void {
    const copy = taken(message);
    const { scheduler, random } = this.world;
    scheduler.after(random.float() * this.maxDelayMs, () => {
      const member = this.members.get(to);
      if (!member?.isRunning || this.cut.has(`${from}>${to}`)) return;
      const arrives = this.intercept(from, to, copy);
      if (!arrives) return;
      const receive = () => member.replica.receive(from, arrives);
      if (member.held) member.held.push(receive);
      else receive();
    });
  }

  member(id: number): Member {
    const member = this.members.get(id);
    if (!member) throw new Error(`there is no member ${id}`);
    return member;
  }

  /** What a member's disk holds of state machines and snapshots, by name. */
  directoriesOf(id: number): string[] {
    return this.member(id).disk.mount().list(GROUP_DIRECTORY);
  }

  /** The power of one machine fails: its state machine falls back to what it had made durable. */
  powerCut(id: number): void {
    const member = this.member(id);
    member.isRunning = false;
    member.process.kill();
    member.disk.powerCut(this.world.random);
  }

  /** SIGSTOP. */
  pause(id: number): void {
    const member = this.member(id);
    member.held ??= [];
    member.process.pause();
  }

  /** SIGCONT: its timers run before it reads what has arrived. */
  resume(id: number): void {
    const member = this.member(id);
    const held = member.held ?? [];
    member.held = undefined;
    member.process.resume('timers first');
    for (const receive of held) this.world.scheduler.after(0, receive);
  }

  async restart(id: number): Promise<Member> {
    return this.boot(id, this.member(id).disk);
  }

  isolate(id: number): void {
    for (const other of this.members.keys()) {
      this.cut.add(`${id}>${other}`);
      this.cut.add(`${other}>${id}`);
    }
  }

  get leader(): Member | undefined {
    let leader: Member | undefined;
    for (const member of this.members.values()) {
      if (!member.isRunning || member.replica.role !== 'leader' || member.failures.length > 0) continue;
      if (member.replica.term > (leader?.replica.term ?? 0)) leader = member;
    }
    return leader;
  }

  async until(condition: () => boolean, limitMs = 10_000): Promise<void> {
    const endMs = this.world.scheduler.nowMs() + limitMs;
    if (!(await this.world.scheduler.runUntil(condition, endMs))) {
      const failures = [...this.members.values()].flatMap((member) => member.failures);
      throw new Error(`did not happen within ${limitMs} ms of virtual time; failures: ${failures}`);
    }
  }

  async untilLeader(): Promise<Member> {
    await this.until(() => (this.leader?.replica.commitIndex ?? 0) >= (this.leader?.replica.lastIndex ?? 1));
    return this.leader as Member;
  }

  /** All running members have applied all of the leader's log. */
  async untilEqual(): Promise<void> {
    await this.until(() => {
      const { leader } = this;
      if (!leader) return false;
      const running = [...this.members.values()].filter((member) => member.isRunning);
      return running.every((member) => member.machine.appliedIndex === leader.replica.lastIndex);
    });
    const overlaps = [...this.members.values()].flatMap(({ machine }) => machine.overlaps);
    if (overlaps.length > 0) throw new Error(`calls of a state machine overlap: ${overlaps}`);
  }
}

/** What a transport must do before `send` returns: take the bytes over. */
export function taken(message: ReplicaMessage): ReplicaMessage {
  if (message.type === 'snapshotChunk') return { ...message, bytes: Buffer.from(message.bytes) };
  if (message.type !== 'append') return message;
  return {
    ...message,
    entries: message.entries.map((entry) => ({ ...entry, body: Buffer.from(entry.body) })),
  };
}

/** Proposals and what became of each: nothing yet, applied, or an error's outcome. */
export class Proposals {
  readonly #outcomes = new Map<string, string[]>();

  get texts(): string[] {
    return [...this.#outcomes.keys()];
  }

  propose(member: Member, text: string): void {
    const answers: string[] = [];
    this.#outcomes.set(text, answers);
    member.replica.propose(Buffer.from(text)).then(
      ({ result }) => answers.push(`applied after ${result}`),
      (error: unknown) => {
        const outcome = error instanceof RaftreeError ? error.info.outcome : undefined;
        answers.push(typeof outcome === 'string' ? outcome : `no outcome: ${String(error)}`);
      },
    );
  }

  answersOf(text: string): readonly string[] {
    return this.#outcomes.get(text) ?? [];
  }

  /** What contradicts the commands that were applied, if each is applied at most once. */
  faults(commands: readonly string[]): string[] {
    const faults: string[] = [];
    for (const [text, answers] of this.#outcomes) {
      const times = commands.filter((command) => command === text).length;
      if (answers.length !== 1) faults.push(`${text} was answered ${answers.length} times`);
      if (times > 1) faults.push(`${text} was applied ${times} times`);
      const [answer] = answers;
      if (answer === 'notCommitted' && times > 0) faults.push(`${text} was "not committed" and is there`);
      if (answer?.startsWith('applied after')) {
        const before = Number(answer.slice('applied after '.length));
        if (commands[before] !== text) faults.push(`${text} was ${answer} others, and is not there`);
      } else if (answer !== 'notCommitted' && answer !== 'unknown') faults.push(`${text}: ${answer}`);
    }
    return faults;
  }
}
