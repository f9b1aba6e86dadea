/**
 * The machines of one run: whole nodes on crashable disks, a network, clients' hosts, and what may be done to them.
 * Everything that happens is traced, counted, and shown to the rules.
 */
import { RaftreeClient } from '../../client/client.js';
import type { ClientOptions } from '../../client/client-options.js';
import { lsmEngine } from '../../engines/lsm-engine.js';
import type { StorageEngine } from '../../engines/storage-engine.js';
import type { Env, Logger } from '../../env/env.js';
import { errorCode, errorMessage, RaftreeError } from '../../env/errors.js';
import { NOBODY, type StepResult } from '../../raft/types.js';
import type { ReplicaMessage } from '../../replica/snapshot-messages.js';
import { Node, type NodeParts } from '../../server/node.js';
import type { Coverage } from '../rules/coverage.js';
import type { Broken } from '../rules/fail.js';
import { RaftRules } from '../rules/raft-rules.js';
import { Reference } from '../rules/reference.js';
import { Trace } from '../rules/trace.js';
import { SECRET } from '../setting/secrets.js';
import { otherSettings, type Setting } from '../setting/setting.js';
import { type FileOperation, SimDisk } from '../world/disk.js';
import { SeededRandom } from '../world/seeded-random.js';
import { type SimProcess, SimWorld } from '../world/world.js';
import { Copies } from './copies.js';
import { Direct } from './direct.js';
import { faultOf, type MachineState, SimulatedMachine } from './machine.js';
import { type ListedNode, listed, nodeConfigOf } from './node-json.js';
import { Overheard } from './overheard.js';
import { attributed, type Probe } from './probes.js';
import { Survival } from './survival.js';

/** What the network does to messages between nodes. */
export interface MessageFaults {
  loss: number;
  repetition: number;
  reordering: number;
}

const MIN_RESTART_MS = 20;

/** Told where somebody has set limits lower than what clients write. */
const TOO_LARGE = new Set(['VALUE_TOO_LARGE', 'REQUEST_TOO_LARGE']);
/** With these a node refuses a node.json that is wrong, or that does not belong to its data folder. */
const MISTAKE_CODES = new Set(['INVALID_CONFIG', 'IDENTITY_MISMATCH']);

/** Of what a disk has not synced, bytes survive by chance. */
class Unlucky extends SeededRandom {
  override chance(): boolean {
    return true;
  }
}

export class Cluster implements Probe {
  readonly world: SimWorld;
  readonly setting: Setting;
  readonly machines: SimulatedMachine[];
  readonly coverage: Coverage;
  readonly trace: Trace;
  readonly reference: Reference;
  readonly survival = new Survival(this);
  readonly copies = new Copies(this);
  readonly overheard = new Overheard();
  readonly messageFaults: MessageFaults = { loss: 0, repetition: 0, reordering: 0 };
  /** Machines that are down are started again, as a supervisor would. */
  isSupervised = true;
  broken: Broken | undefined;
  /** Told of every new leader in the moment of its election, before it has said so to anybody. */
  onElected: (who: string) => void = () => {};
  /**
   * Whether a message from one node to another is lost, apart from what `messageFaults` loses; `send` brings it back.
   */
  loses: (who: string, to: number, message: ReplicaMessage, send: () => void) => boolean = () => false;
  readonly #rules: RaftRules;
  readonly #diskRandom: SeededRandom;
  readonly #messageRandom: SeededRandom;
  readonly #restartRandom: SeededRandom;
  readonly #applyRandom: SeededRandom;

  constructor(setting: Setting, random: SeededRandom, coverage: Coverage, sink?: (line: string) => void) {
    this.setting = setting;
    this.coverage = coverage;
    const isOverheard = setting.faults.includes('replayedFrames');
    this.world = new SimWorld(random.uint32(), {
      minDelayMs: setting.minDelayMs,
      maxDelayMs: setting.maxDelayMs,
      tcp: 'real',
      observe: (event) => {
        const { kind, from, to, bytes } = event;
        this.trace.record(`${from}>${to}`, `net.${kind}`, bytes ? { bytes } : {});
        if (isOverheard) this.overheard.heard(event);
      },
    });
    this.#diskRandom = new SeededRandom(random.uint32());
    this.#messageRandom = new SeededRandom(random.uint32());
    this.#restartRandom = new SeededRandom(random.uint32());
    this.#applyRandom = new SeededRandom(random.uint32());
    this.trace = new Trace(() => this.nowMs, sink);
    this.reference = new Reference(
      (rule, detail) => this.fail(rule, detail),
      () => this.nowMs,
      setting.maxSessions,
    );
    this.#rules = new RaftRules(
      (rule, detail) => this.fail(rule, detail),
      coverage,
      this.reference,
      (who) => this.onElected(who),
    );
    this.machines = Array.from(
      { length: setting.nodes + setting.spares },
      (_, i) => new SimulatedMachine(i + 1, setting.maxDiskMs),
    );
  }

  /** The members at first. */
  get founders(): readonly SimulatedMachine[] {
    return this.machines.slice(0, this.setting.nodes);
  }

  get nowMs(): number {
    return this.world.scheduler.nowMs();
  }

  sleep(delayMs: number): Promise<void> {
    return this.world.scheduler.sleep(delayMs);
  }

  /** The first broken rule counts; what follows may only be its consequence. */
  fail(rule: string, detail: string): void {
    if (this.broken) return;
    this.broken = { rule, detail };
    this.trace.record('world', 'broken', { rule, detail });
  }

  get leader(): SimulatedMachine | undefined {
    let leader: SimulatedMachine | undefined;
    for (const machine of this.machines) {
      if (machine.state !== 'up' || machine.node?.role !== 'leader' || machine.isForeign) continue;
      if (!leader || machine.node.status(0).term > (leader.node?.status(0).term ?? 0)) leader = machine;
    }
    return leader;
  }

  /** All who believe that they lead. */
  get leaders(): SimulatedMachine[] {
    return this.machines.filter(
      ({ state, node, isForeign }) => state === 'up' && node?.role === 'leader' && !isForeign,
    );
  }

  /** What a program on a host of its own finds. */
  hostEnv(host: string): Env {
    return this.world.start(host, new SimDisk()).env;
  }

  /** A client library. */
  client(env: Env, options: Partial<ClientOptions> = {}): RaftreeClient {
    const endpoints = this.machines.map(({ endpoint }) => endpoint);
    return new RaftreeClient({
      endpoints,
      env,
      attemptTimeoutMs: 1000,
      connectTimeoutMs: 500,
      ...(this.setting.hasSecret ? { clusterSecret: SECRET } : {}),
      ...options,
    });
  }

  /** Requests to one node, as an operator. */
  direct(env: Env): Direct {
    return new Direct(env, this.setting.hasSecret ? SECRET : undefined);
  }

  unexpectedAnswer(client: string, code: string, message: string): void {
    if (TOO_LARGE.has(code) && this.setting.faults.includes('editedNodeJson')) return;
    const excused = this.machines.some((machine) => machine.isDamaged || machine.hasFailedOperations);
    if (excused && (code === 'READ_FAILED' || code === 'INTERNAL')) return;
    this.fail('expected answers', `${client} was told ${code}: ${message}`);
  }

  // The life of a machine

  start(machine: SimulatedMachine): void {
    if (machine.state !== 'down' || machine.isOff) return;
    this.copies.starts(machine);
    machine.state = 'starting';
    machine.hasFailedOperations = false;
    machine.startedWith = machine.edit;
    machine.starts++;
    if (machine.starts > 1) this.coverage.count('restarts');
    if (this.setting.mixesSettings) {
      machine.settings = otherSettings(this.setting, this.#restartRandom);
      if (machine.starts > 1) this.coverage.count('settings changed by a restart');
    }
    const { what } = machine.edit ?? {};
    this.trace.record(machine.host, 'start', {
      process: machine.processName,
      ...(what ? { edit: what } : {}),
    });
    const process: SimProcess = this.world.start(machine.host, machine.disk, {
      latency: (operation) => this.#latency(machine, process, operation),
      fault: (operation) => {
        const { kind, path, sizeBytes } = operation;
        this.trace.record(
          machine.host,
          `disk.${kind}`,
          sizeBytes === undefined ? { path } : { path, sizeBytes },
        );
        return faultOf(machine, operation, this.#diskRandom, this.coverage);
      },
    });
    machine.process = process;
    const env: Env = { ...process.env, clock: attributed(machine.host, process.clock) };
    const isCurrent = () => machine.process === process;
    this.#startNode(
      {
        env,
        logger: this.#logger(machine, isCurrent),
        onFailure: (error) => {
          if (isCurrent()) this.#failed(machine, error);
        },
        engine: ({ storage }) => {
          const kind = lsmEngine(storage);
          return {
            ...kind,
            open: (directory, context) => this.#openEngine(machine, () => kind.open(directory, context)),
          };
        },
      },
      machine,
    ).then(
      (node) => {
        if (!isCurrent()) return;
        machine.node = node;
        machine.state = 'up';
        this.trace.record(machine.host, 'up');
      },
      (error: unknown) => {
        if (isCurrent()) this.#failed(machine, error);
      },
    );
  }

  /** It begins a cluster of its own, which no client of this one knows. */
  startForeign(machine: SimulatedMachine): void {
    machine.isForeign = true;
    machine.isDamaged = true;
    this.start(machine);
  }

  /** It stays down. */
  giveUp(machine: SimulatedMachine): void {
    this.kill(machine);
    machine.state = 'lost';
  }

  /** Files go, while the machine is down. */
  removeFiles(machine: SimulatedMachine, paths: readonly string[]): void {
    machine.isDamaged = true;
    const fs = machine.disk.mount();
    for (const path of paths) {
      fs.unlink(path);
      fs.syncDirectory(path.slice(0, path.lastIndexOf('/')));
    }
    this.trace.record('world', 'files removed', { host: machine.host, paths });
  }

  /** kill -9. */
  kill(machine: SimulatedMachine, how = 'kill'): void {
    if (!machine.process) return;
    this.trace.record(machine.host, how);
    this.#goesDown(machine, 'down');
  }

  /** The process is gone, and whatever its disk had not synced may be; or is. */
  cutPower(machine: SimulatedMachine, disk?: 'keeps only what is synced'): void {
    machine.process?.losePower();
    this.kill(machine, 'power cut');
    machine.disk.powerCut(disk ? new Unlucky(0) : this.#diskRandom);
  }

  /** Stops as on SIGTERM. */
  async close(machine: SimulatedMachine): Promise<void> {
    const { node, process } = machine;
    if (machine.state !== 'up' || !node) return;
    machine.state = 'closing';
    this.trace.record(machine.host, 'close');
    await node.close().catch((error: unknown) => {
      if (machine.process === process) this.#failed(machine, error);
    });
    if (machine.process !== process) return;
    this.trace.record(machine.host, 'closed');
    this.#goesDown(machine, 'down');
  }

  /** `where`: as a part of the file, from 0 to 1. */
  flipBit(machine: SimulatedMachine, path: string, where: number, bit: number): void {
    machine.isDamaged = true;
    machine.hasBrokenDisk = true;
    machine.disk.edit(path, (content) => {
      const at = Math.floor(where * content.length);
      content[at] = (content[at] ?? 0) ^ (1 << bit);
      this.trace.record('world', 'bit flip', { host: machine.host, path, at });
      return content;
    });
    this.coverage.count('bits flipped');
  }

  pause(machine: SimulatedMachine): void {
    if (!machine.process || machine.isPaused) return;
    machine.isPaused = true;
    this.trace.record(machine.host, 'pause');
    machine.process.pause();
  }

  /** A process that wakes up may look at its sockets before its timers. */
  resume(machine: SimulatedMachine, order?: 'network first' | 'timers first'): void {
    if (!machine.isPaused) return;
    machine.isPaused = false;
    this.trace.record(machine.host, 'resume');
    machine.process?.resume(order ?? (this.#diskRandom.chance(0.5) ? 'network first' : 'timers first'));
  }

  /** Its state machine applies nothing until it is let go. */
  holdApply(machine: SimulatedMachine): void {
    machine.heldApplies ??= [];
    this.trace.record(machine.host, 'hold apply');
  }

  releaseApply(machine: SimulatedMachine): void {
    const held = machine.heldApplies ?? [];
    machine.heldApplies = undefined;
    this.trace.record(machine.host, 'release apply');
    for (const goOn of held) goOn();
  }

  #goesDown(machine: SimulatedMachine, state: MachineState): void {
    machine.process?.kill();
    machine.process = undefined;
    machine.node = undefined;
    machine.engine = undefined;
    machine.isPaused = false;
    machine.heldApplies = undefined;
    machine.condition.fuse = undefined;
    machine.state = state;
    if (state !== 'down' || !this.isSupervised) return;
    const delayMs = this.#restartRandom.between(MIN_RESTART_MS, this.setting.maxRestartMs);
    this.world.scheduler.after(delayMs, () => this.start(machine));
  }

  /** A node gave up. It may, if its disk gave it a reason. */
  #failed(machine: SimulatedMachine, error: unknown): void {
    const cause = error instanceof RaftreeError ? error.cause : undefined;
    const codes = [errorCode(error), errorCode(cause), errorCode((cause as Error | undefined)?.cause)];
    const message = `${errorMessage(error)} (${codes.filter((code) => code !== undefined).join(', ')})`;
    const isExcused =
      machine.startedWith !== undefined && codes.some((code) => MISTAKE_CODES.has(code ?? ''));
    this.trace.record(machine.host, 'failed', { message });
    if (codes.includes('RAFT_INVARIANT')) this.fail('invariants', `${machine.host}: ${message}`);
    else if (!isExcused && !machine.isDamaged && !machine.hasFailedOperations && !machine.condition.isFull)
      this.fail('nodes live', `${machine.host} gave up without a reason: ${message}`);
    const isLost = machine.isDamaged && machine.state === 'starting' && codes.includes('CORRUPTION');
    this.#goesDown(machine, isLost ? 'lost' : 'down');
  }

  /**
   * An emptied node that its node.json names alone would begin a cluster of its own: nobody could tell it (README,
   * Limits).
   */
  #joins(machine: SimulatedMachine): boolean {
    return (
      !this.founders.includes(machine) ||
      machine.joinsAgain ||
      (machine.isReplaced && this.founders.length === 1)
    );
  }

  /** What its node.json says if nobody has made a mistake. */
  nodeJson(machine: SimulatedMachine): { readonly nodes: readonly ListedNode[]; readonly joins: boolean } {
    const nodes = this.machines.filter((other) => other === machine || this.founders.includes(other));
    // Of another cluster the clients are others.
    if (machine.isForeign)
      return { nodes: [{ ...listed(machine), client: `${machine.host}:8001` }], joins: false };
    return { nodes: nodes.map(listed), joins: this.#joins(machine) };
  }

  async #startNode(parts: Omit<NodeParts, 'config'>, machine: SimulatedMachine): Promise<Node> {
    const { nodes, joins } = this.nodeJson(machine);
    return Node.start({ ...parts, config: nodeConfigOf(machine, this.setting, nodes, joins) });
  }

  #logger(machine: SimulatedMachine, isCurrent: () => boolean): Logger {
    const write = (level: string) => (fields: Readonly<Record<string, unknown>>, message: string) => {
      if (!isCurrent()) return;
      this.trace.record(machine.host, `log.${level}`, { message, ...fields });
      if (/torn/.test(message)) this.coverage.count('torn tails recovered');
    };
    return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
  }

  /**
   * The engine as the node sees it; what it holds when it is opened, and every batch, is compared with the reference.
   */
  async #openEngine(machine: SimulatedMachine, open: () => Promise<StorageEngine>): Promise<StorageEngine> {
    const engine = await open();
    machine.engine = engine;
    this.compareState(machine);
    const write = engine.write.bind(engine);
    engine.write = (operations) => {
      if (!machine.isForeign) this.reference.batch(machine.host, operations);
      return write(operations);
    };
    return engine;
  }

  /** All keys of a machine against the reference. */
  compareState(machine: SimulatedMachine): void {
    const { engine } = machine;
    if (!engine || machine.isForeign) return;
    try {
      const applied = engine.get(APPLIED_KEY)?.readBigUInt64LE(8) ?? 0n;
      this.reference.state(machine.host, Number(applied), engine.entries(USER_RANGE));
    } catch (error) {
      if (!machine.isDamaged && !machine.hasFailedOperations) throw error;
    }
  }

  // The disk

  async #latency(machine: SimulatedMachine, process: SimProcess, _operation: FileOperation): Promise<void> {
    const { minMs, maxMs, stalledUntilMs } = machine.condition;
    const stallMs = Math.max(0, stalledUntilMs - this.nowMs);
    await this.sleep(minMs + this.#diskRandom.float() * (maxMs - minMs) + stallMs);
    if (process.fs.detached) await new Promise<never>(() => {});
  }

  // What the probes report

  raftInput(...[who, raft, input]: Parameters<Probe['raftInput']>): void {
    if (input.type === 'tick') return;
    this.#rules.input(raft, input);
    if (input.type === 'message')
      this.trace.record(who, 'raft.receive', { from: input.from, message: input.message });
    else this.trace.record(who, `raft.${input.type}`, input.type === 'propose' ? {} : { input });
  }

  raftOutput(...[who, raft, output]: Parameters<Probe['raftOutput']>): void {
    const { append, apply, reads, failedReads, status, configuration } = output;
    if (this.founders.length === 1 && configuration && configuration.voters.length > 2)
      this.coverage.count('groups grown from one node');
    const foreigner = this.#foreigner(who);
    // From when it follows a leader that is not of its own cluster it is held to what all others are.
    if (foreigner && status && status.leader !== NOBODY && status.leader !== foreigner.id) {
      foreigner.isForeign = false;
      this.compareState(foreigner);
    }
    if (!this.#foreigner(who)) this.#rules.output(who, raft, output);
    if (status) this.trace.record(who, 'raft.status', { ...status });
    if (append) {
      const { batch, hardState, first, entries } = append;
      if (!this.#foreigner(who)) this.survival.appended(first, entries);
      this.trace.record(who, 'raft.append', { batch, ...hardState, first, entries: entries.length });
    }
    if (apply) this.trace.record(who, 'raft.apply', { ...apply });
    if (reads.length + failedReads.length > 0) this.trace.record(who, 'raft.reads', { reads, failedReads });
  }

  #foreigner(who: string): SimulatedMachine | undefined {
    return this.machines.find(({ host, isForeign }) => host === who && isForeign);
  }

  beforeApply(who: string): Promise<void> | undefined {
    const machine = this.machines.find(({ host }) => host === who);
    const { chance, maxMs } = this.setting.lateApply;
    const timers = machine?.process?.env.timers;
    if (!machine || !timers) return undefined;
    const isHeld = machine.heldApplies !== undefined;
    if (!isHeld && !this.#applyRandom.chance(chance)) return undefined;
    this.coverage.count('late applies');
    const delayMs = isHeld ? 0 : this.#applyRandom.float() * maxMs;
    return new Promise((resolve) => {
      const goOn = () => void timers.after(delayMs, resolve);
      if (machine.heldApplies) machine.heldApplies.push(goOn);
      else goOn();
    });
  }

  applying(who: string, first: number, entries: Parameters<Probe['applying']>[2]): void {
    if (!this.#foreigner(who)) this.reference.applying(who, first, entries);
  }

  applied(who: string, first: number, results: Parameters<Probe['applied']>[2]): void {
    if (!this.#foreigner(who)) this.reference.applied(who, first, results);
  }

  sending(who: string, to: number, message: ReplicaMessage, send: () => void): void {
    const random = this.#messageRandom;
    const { loss, repetition, reordering } = this.messageFaults;
    const machine = this.machines.find(({ host }) => host === who);
    this.trace.record(who, 'raft.send', { to, message });
    if (this.loses(who, to, message, send)) return;
    if (!machine?.process || loss + repetition + reordering === 0) {
      send();
      return;
    }
    const { timers } = machine.process.env;
    if (random.chance(loss)) {
      this.coverage.count('messages lost');
      return;
    }
    if (random.chance(repetition)) {
      this.coverage.count('messages repeated');
      timers.after(random.float() * 300, send);
    }
    if (random.chance(reordering)) {
      this.coverage.count('messages reordered');
      timers.after(random.float() * 100, send);
    } else send();
  }

  get maxAppendBytes(): number {
    return this.setting.maxAppendBytes;
  }

  get maxSessions(): number {
    return this.setting.maxSessions;
  }

  raftAnswer(answer: StepResult): void {
    if (!answer.accepted && answer.refusal === 'overloaded') this.coverage.count('limits reached');
  }

  treeOptions(): ReturnType<Probe['treeOptions']> {
    return {
      ...this.setting.tree,
      listener: {
        flushed: () => this.coverage.count('flushes'),
        compacted: () => this.coverage.count('compactions'),
      },
    };
  }
}

const APPLIED_KEY = Buffer.of(0);
const USER_RANGE = { gte: Buffer.of(1), lt: Buffer.of(2) };
