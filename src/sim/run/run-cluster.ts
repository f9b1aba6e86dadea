/**
 * The cluster of one run: whole nodes on crashable disks, a network and clients' hosts, and what faults and operators
 * may do to them. All events are traced, counted, and shown to the rules.
 */
import { lsmEngine } from '../../engines/lsm-engine.js';
import type { StorageEngine } from '../../engines/storage-engine.js';
import type { Env, Logger } from '../../env/env.js';
import { errorCode, errorMessage, RaftreeError } from '../../env/errors.js';
import type { ReplicaMessage } from '../../replica/snapshot-messages.js';
import { Node, type NodeParts } from '../../server/node.js';
import { Machines } from '../cluster/machines.js';
import type { Coverage } from '../rules/coverage.js';
import type { Broken } from '../rules/fail.js';
import type { Reference } from '../rules/reference.js';
import { References } from '../rules/references.js';
import { Trace } from '../rules/trace.js';
import { otherSettings, REDIS_KEYS, type Setting, STRING_KEYS } from '../setting/setting.js';
import type { FileOperation } from '../world/file-operation.js';
import { SeededRandom } from '../world/seeded-random.js';
import { type SimProcess, SimWorld } from '../world/world.js';
import { Copies } from './copies.js';
import { type ListedNode, listed, nodeConfigOf } from './node-json.js';
import { Overheard } from './overheard.js';
import { attributed } from './probes.js';
import { faultOf, type MachineState, RunMachine } from './run-machine.js';
import { RunProbe } from './run-probe.js';
import { Survival } from './survival.js';

/** What the network does to messages between nodes. */
export interface MessageFaults {
  loss: number;
  repetition: number;
  reordering: number;
}

const MIN_RESTART_MS = 20;
/** After so long an operator has noticed that a group has failed. */
const MAX_NOTICE_MS = 3000;

/** Expected answers where an edited node.json has smaller limits than clients need. */
const TOO_LARGE = new Set(['VALUE_TOO_LARGE', 'REQUEST_TOO_LARGE']);
/** A node gives up with these if node.json is wrong, or does not belong to its data folder. */
const MISTAKE_CODES = new Set(['INVALID_CONFIG', 'IDENTITY_MISMATCH']);

/** With it a power cut keeps only what is synced. */
class Unlucky extends SeededRandom {
  override chance(): boolean {
    return true;
  }
}

export class RunCluster extends Machines<RunMachine> {
  readonly setting: Setting;
  readonly coverage: Coverage;
  readonly trace: Trace;
  readonly references: References;
  readonly survival = new Survival(this);
  readonly copies = new Copies(this);
  readonly overheard: Overheard;
  readonly messageFaults: MessageFaults = { loss: 0, repetition: 0, reordering: 0 };
  /** Machines that are down are started again, as a supervisor would. */
  isSupervised = true;
  broken: Broken | undefined;
  /** Called when a leader is elected, before it has sent a message. */
  onElected: (who: string) => void = () => {};
  /**
   * Whether a message from one node to another is lost, besides those that `messageFaults` loses. `send` sends it
   * later.
   */
  loses: (who: string, to: number, message: ReplicaMessage, send: () => void) => boolean = () => false;
  readonly probe: RunProbe;
  readonly #diskRandom: SeededRandom;
  readonly #restartRandom: SeededRandom;

  constructor(setting: Setting, random: SeededRandom, coverage: Coverage, sink?: (line: string) => void) {
    const overheard = new Overheard();
    const isOverheard = setting.faults.includes('replayedFrames');
    const trace: Trace = new Trace(() => world.scheduler.nowMs(), sink);
    const world = new SimWorld(random.uint32(), {
      minDelayMs: setting.minDelayMs,
      maxDelayMs: setting.maxDelayMs,
      tcp: 'real',
      observe: (event) => {
        const { kind, from, to, bytes } = event;
        trace.record(`${from}>${to}`, `net.${kind}`, bytes ? { bytes } : {});
        if (isOverheard) overheard.heard(event);
      },
    });
    const machines = Array.from(
      { length: setting.nodes + setting.spares },
      (_, i) => new RunMachine(i + 1, setting.maxDiskMs),
    );
    super(world, machines, setting.hasSecret);
    this.setting = setting;
    this.coverage = coverage;
    this.trace = trace;
    this.overheard = overheard;
    this.references = new References(
      {
        fail: (rule, detail) => this.fail(rule, detail),
        nowMs: () => this.nowMs,
        maxSessions: setting.maxSessions,
      },
      setting.placement,
      machines.slice(0, setting.nodes).map(({ id }) => id),
      [
        ...Array.from({ length: setting.workload.keys }, (_, i) => `k${i + 1}`),
        ...STRING_KEYS,
        ...REDIS_KEYS,
      ],
    );
    this.#diskRandom = new SeededRandom(random.uint32());
    const messageSeed = random.uint32();
    this.#restartRandom = new SeededRandom(random.uint32());
    this.probe = new RunProbe(this, messageSeed, random.uint32());
  }

  /** The first members. */
  get founders(): readonly RunMachine[] {
    return this.machines.slice(0, this.setting.nodes);
  }

  /** Only the first broken rule counts. Others may follow from it. */
  fail(rule: string, detail: string): void {
    if (this.broken) return;
    this.broken = { rule, detail };
    this.trace.record('world', 'broken', { rule, detail });
  }

  /** Without nodes of another cluster. */
  override get leadingMachines(): RunMachine[] {
    return super.leadingMachines.filter(({ state, isForeign }) => state === 'up' && !isForeign);
  }

  /** The log of the first tablet: schedules have no other. */
  get reference(): Reference {
    return this.references.first;
  }

  /** Of the group whose members are those of the cluster. */
  get leader(): RunMachine | undefined {
    return this.leadingMachine;
  }

  /** All nodes that believe that they lead this tablet. */
  leadersOf(tablet: number): RunMachine[] {
    return this.machines.filter(
      (machine) =>
        machine.state === 'up' && !machine.isForeign && machine.statusOf(tablet)?.role === 'leader',
    );
  }

  /** The one of the highest term. */
  leaderOf(tablet: number): RunMachine | undefined {
    const termOf = (machine: RunMachine) => machine.statusOf(tablet)?.term ?? 0;
    return this.leadersOf(tablet).reduce<RunMachine | undefined>(
      (best, one) => (best && termOf(best) >= termOf(one) ? best : one),
      undefined,
    );
  }

  /** Of one of the tablets. */
  someLeader(random: SeededRandom): RunMachine | undefined {
    const { groups } = this.references;
    return groups.length === 1 ? this.leader : this.leaderOf(random.pick(groups));
  }

  /** All tablets have leaders, and all founders whose data folders are whole reach each other. */
  get isComplete(): boolean {
    const whole = this.founders.filter(({ isDamaged }) => !isDamaged);
    const isWhole = (nodeId: number) => whole.some(({ id }) => id === nodeId);
    const meetsAll = ({ node }: RunMachine) =>
      node?.status(0).peers.every(({ nodeId, reachable }) => reachable || !isWhole(nodeId)) ?? false;
    const { tablets } = this.references;
    return tablets.every((tablet) => this.leaderOf(tablet) !== undefined) && whole.every(meetsAll);
  }

  unexpectedAnswer(client: string, code: string, message: string): void {
    if (TOO_LARGE.has(code) && this.setting.faults.includes('editedNodeJson')) return;
    const excused = this.machines.some((machine) => machine.isDamaged || machine.hasFailedOperations);
    if (excused && (code === 'READ_FAILED' || code === 'INTERNAL')) return;
    this.fail('expected answers', `${client} was told ${code}: ${message}`);
  }

  // The life of a machine

  /** It starts if it is down and not switched off. */
  turnOn(machine: RunMachine): void {
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
            open: (directory, context) =>
              this.#openEngine(machine, directory, () => kind.open(directory, context)),
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

  /** It begins a cluster of its own, which the clients of this one do not know. */
  startForeign(machine: RunMachine): void {
    machine.isForeign = true;
    machine.isDamaged = true;
    this.turnOn(machine);
  }

  /** It stays down. */
  giveUp(machine: RunMachine): void {
    this.kill(machine);
    machine.state = 'lost';
  }

  /** Removes files while the machine is down. */
  removeFiles(machine: RunMachine, paths: readonly string[]): void {
    machine.isDamaged = true;
    const fs = machine.disk.mount();
    for (const path of paths) {
      fs.unlink(path);
      fs.syncDirectory(path.slice(0, path.lastIndexOf('/')));
    }
    this.trace.record('world', 'files removed', { host: machine.host, paths });
  }

  /** kill -9. */
  kill(machine: RunMachine, how = 'kill'): void {
    if (!machine.process) return;
    this.trace.record(machine.host, how);
    this.#goesDown(machine, 'down');
  }

  /** The process is gone. Unsynced data of its disk may be lost, or is. */
  cutPower(machine: RunMachine, disk?: 'keeps only what is synced'): void {
    machine.process?.losePower();
    this.kill(machine, 'power cut');
    machine.disk.powerCut(disk ? new Unlucky(0) : this.#diskRandom);
  }

  /** Stops as on SIGTERM. */
  async close(machine: RunMachine): Promise<void> {
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
  flipBit(machine: RunMachine, path: string, where: number, bit: number): void {
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

  pause(machine: RunMachine): void {
    if (!machine.process || machine.isPaused) return;
    machine.isPaused = true;
    this.trace.record(machine.host, 'pause');
    machine.process.pause();
  }

  /** A process that resumes may read its sockets before its timers run. */
  resume(machine: RunMachine, order?: 'network first' | 'timers first'): void {
    if (!machine.isPaused) return;
    machine.isPaused = false;
    this.trace.record(machine.host, 'resume');
    machine.process?.resume(order ?? (this.#diskRandom.chance(0.5) ? 'network first' : 'timers first'));
  }

  /** Its state machine applies nothing until `releaseApply`. */
  holdApply(machine: RunMachine): void {
    machine.heldApplies ??= [];
    this.trace.record(machine.host, 'hold apply');
  }

  releaseApply(machine: RunMachine): void {
    const held = machine.heldApplies ?? [];
    machine.heldApplies = undefined;
    this.trace.record(machine.host, 'release apply');
    for (const goOn of held) goOn();
  }

  #goesDown(machine: RunMachine, state: MachineState): void {
    machine.process?.kill();
    machine.process = undefined;
    machine.node = undefined;
    machine.store = undefined;
    machine.engines.clear();
    machine.directories.clear();
    machine.isPaused = false;
    machine.heldApplies = undefined;
    machine.condition.fuse = undefined;
    machine.state = state;
    if (state !== 'down' || !this.isSupervised) return;
    const delayMs = this.#restartRandom.between(MIN_RESTART_MS, this.setting.maxRestartMs);
    this.world.scheduler.after(delayMs, () => this.turnOn(machine));
  }

  /**
   * One group of a node failed, and the others go on. That is allowed if the disk has failed. The node's status says
   * so: an operator restarts it.
   */
  groupFailed(machine: RunMachine, tablet: number, error: RaftreeError): void {
    if (this.references.groups.length === 1) return;
    const { codes, message } = told(error);
    this.trace.record(machine.host, 'group failed', { tablet, message });
    this.coverage.count('groups failed');
    if (codes.includes('RAFT_INVARIANT')) this.fail('invariants', `${machine.host}: ${message}`);
    else if (!machine.isDamaged && !machine.hasFailedOperations && !machine.condition.isFull)
      this.fail('groups live', `tablet ${tablet} of ${machine.host} gave up without a reason: ${message}`);
    const { process } = machine;
    this.world.scheduler.after(this.#restartRandom.between(MIN_RESTART_MS, MAX_NOTICE_MS), () => {
      if (machine.process === process && this.isSupervised) this.kill(machine, 'restarted');
    });
  }

  /** A node gave up. That is allowed if its disk has failed. */
  #failed(machine: RunMachine, error: unknown): void {
    const { codes, message } = told(error);
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
   * An emptied node whose node.json lists only itself would begin a cluster of its own, and cannot know better (README,
   * Limits).
   */
  #joins(machine: RunMachine): boolean {
    return (
      !this.founders.includes(machine) ||
      machine.joinsAgain ||
      (machine.isReplaced && this.founders.length === 1)
    );
  }

  /** What its right node.json says. */
  nodeJson(machine: RunMachine): { readonly nodes: readonly ListedNode[]; readonly joins: boolean } {
    const nodes = this.machines.filter((other) => other === machine || this.founders.includes(other));
    // Another cluster has clients of its own: these must not reach it.
    if (machine.isForeign)
      return { nodes: [{ ...listed(machine), client: `${machine.host}:8001` }], joins: false };
    return { nodes: nodes.map(listed), joins: this.#joins(machine) };
  }

  async #startNode(parts: Omit<NodeParts, 'config'>, machine: RunMachine): Promise<Node> {
    const { nodes, joins } = this.nodeJson(machine);
    return Node.start({ ...parts, config: nodeConfigOf(machine, this.setting, nodes, joins) });
  }

  #logger(machine: RunMachine, isCurrent: () => boolean): Logger {
    const write = (level: string) => (fields: Readonly<Record<string, unknown>>, message: string) => {
      if (!isCurrent()) return;
      this.trace.record(machine.host, `log.${level}`, { message, ...fields });
      if (/torn/.test(message)) this.coverage.count('torn tails recovered');
    };
    return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
  }

  /** The engine as the node sees it. Its keys after opening, and every batch, are compared with the reference. */
  async #openEngine(
    machine: RunMachine,
    directory: string,
    open: () => Promise<StorageEngine>,
  ): Promise<StorageEngine> {
    const engine = await open();
    const [, group = '', name = ''] = /\/groups\/(\d+)\/([^/]+)$/.exec(directory) ?? [];
    // It is being filled, and is not the state of a replica yet.
    if (name.endsWith('.begins')) return engine;
    const tablet = Number(group);
    machine.engines.set(tablet, engine);
    machine.directories.set(tablet, name);
    this.#judgeOpening(machine, tablet);
    this.compareState(machine, tablet);
    const close = engine.close.bind(engine);
    engine.close = () => {
      // A replica that has moved away is not compared any more.
      if (machine.engines.get(tablet) === engine) machine.engines.delete(tablet);
      return close();
    };
    const write = engine.write.bind(engine);
    engine.write = (operations) => {
      if (!machine.isForeign) this.references.of(tablet).batch(machine.host, operations);
      return write(operations);
    };
    return engine;
  }

  /** A part of a tablet is opened only where the whole has ended, durably, or is not. */
  #judgeOpening({ host, store, isForeign }: RunMachine, tablet: number): void {
    if (isForeign) return;
    const rule = 'a part opens after the end of the whole';
    if (!this.references.has(tablet)) {
      this.fail(rule, `${host} opens tablet ${tablet}, which nothing has become`);
      return;
    }
    for (const parent of this.references.of(tablet).parents)
      if (store?.storedGroups.includes(parent) && !store.isRetired(parent))
        this.fail(rule, `${host} opens tablet ${tablet}, and tablet ${parent} goes on there`);
  }

  /** Compares all keys of a machine, by what its engines say that they hold. */
  compareStates(machine: RunMachine): void {
    for (const tablet of machine.engines.keys()) this.compareState(machine, tablet);
  }

  /**
   * Compares all keys of a machine in a tablet with the reference. `through`: what its state machine has applied; by
   * default what the engine says, which may be less as long as it defers.
   */
  compareState(machine: RunMachine, tablet: number, through?: number): void {
    const engine = machine.engines.get(tablet);
    if (!engine || machine.isForeign) return;
    try {
      const reference = this.references.of(tablet);
      const record = engine.get(APPLIED_KEY);
      // A part of a tablet begins with what its parent wrote, which names no tablet or another one. A replica that
      // moves begins with nothing.
      const owner = record && record.length > OWNER_AT ? Number(record.readBigUInt64LE(OWNER_AT)) : 0;
      const isOfParent = record !== undefined && reference.isPart && owner !== tablet;
      // A part that was split itself names none any more, either: whose record it is cannot be told.
      if (isOfParent && reference.hasEnded && through === undefined) return;
      const stored = isOfParent ? reference.base : Number(record?.readBigUInt64LE(8) ?? 0n);
      const applied = through ?? stored;
      reference.state(machine.host, applied, engine.entries(USER_RANGE), through === undefined);
    } catch (error) {
      if (!machine.isDamaged && !machine.hasFailedOperations) throw error;
    }
  }

  // The disk

  async #latency(machine: RunMachine, process: SimProcess, _operation: FileOperation): Promise<void> {
    const { minMs, maxMs, stalledUntilMs } = machine.condition;
    const stallMs = Math.max(0, stalledUntilMs - this.nowMs);
    await this.sleep(minMs + this.#diskRandom.float() * (maxMs - minMs) + stallMs);
    if (process.fs.detached) await new Promise<never>(() => {});
  }
}

/** The codes of an error and its causes, and what it says. */
function told(error: unknown): { readonly codes: readonly (string | undefined)[]; readonly message: string } {
  const cause = error instanceof RaftreeError ? error.cause : undefined;
  const codes = [errorCode(error), errorCode(cause), errorCode((cause as Error | undefined)?.cause)];
  return {
    codes,
    message: `${errorMessage(error)} (${codes.filter((code) => code !== undefined).join(', ')})`,
  };
}

const APPLIED_KEY = Buffer.of(0);
/** Where its record names the tablet. */
const OWNER_AT = 24;
const USER_RANGE = { gte: Buffer.of(1), lt: Buffer.of(2) };
