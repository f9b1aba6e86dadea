/**
 * Runs a history against a tree on a simulated disk and holds everything that it sees against the model: reads,
 * scans in both directions, snapshots, iterators, and what is found after each kill, power cut or closing.
 */
import { errorCode, RaftreeError } from '../../src/env/errors.js';
import {
  type Entry,
  type IteratorOptions,
  type LsmOptions,
  LsmTree,
  type Operation,
  type ReadOptions,
  type Snapshot,
} from '../../src/lsm/index.js';
import { verifyDirectory } from '../../src/lsm/tools/verify-directory.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { type Fault, type FileOperation, systemError } from '../../src/sim/world/file-operation.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { type SimProcess, SimWorld } from '../../src/sim/world/world.js';
import { Checkpoints } from './crash-checkpoints.js';
import type { History, Range, Step } from './crash-history.js';
import { OpenIterator } from './crash-iterator.js';
import { type Batch, type Entries, inRange, Model, renderEntries, type Survives } from './crash-model.js';
import { Neighbour } from './crash-neighbour.js';
import { DIRECTORY } from './tree-lab.js';

export interface RunOptions {
  /** A bug put in through the file system, asked before every operation. */
  readonly plant?: (operation: FileOperation) => Fault;
  /** Receives every observation, in order. Reads then wait for the writes before them, so that no choice is left. */
  readonly observe?: (text: string) => void;
  /** Told of what a test may want to have happened. */
  readonly happened?: (what: Happening) => void;
}

export type Happening =
  | 'kill'
  | 'power cut'
  | 'cut of a recovery'
  | 'fault'
  | 'checkpoint'
  | 'write at once'
  | 'write refused'
  | 'work behind'
  | 'closing in a hurry'
  | 'tables removed';

/** What went wrong, or undefined. */
export async function runHistory(history: History, options: RunOptions = {}): Promise<string | undefined> {
  const run = new Run(history, options);
  try {
    await run.all();
    return undefined;
  } catch (error) {
    if (error instanceof Violation) return error.message;
    return `step ${run.at}: ${error instanceof Error ? error.stack : error}`;
  }
}

class Violation extends Error {}

type Crash = Step & { readonly kind: 'crash' };

/** Errors that a failing operation may lead to. */
const EXPECTED = ['LSM_READ_ONLY', 'LSM_NO_SPACE', 'LSM_NOT_DURABLE', 'EIO', 'ENOSPC'];

class Run {
  readonly #history: History;
  readonly #options: RunOptions;
  readonly #world: SimWorld;
  readonly #latency: SeededRandom;
  readonly #disk = new SimDisk();
  readonly #model = new Model();
  readonly #snapshots = new Map<number, { snapshot: Snapshot; state: Entries }>();
  readonly #iterators = new Map<number, OpenIterator>();
  readonly #checkpoints = new Checkpoints(this.#model);
  #neighbour: Neighbour | undefined;
  #isClosing = false;
  #process: SimProcess;
  #tree: LsmTree | undefined;
  #optionSet: LsmOptions;
  #pending: Promise<void>[] = [];
  #death = deferred();
  #crash: { readonly step: Crash; left: number } | undefined;
  #fault: { readonly step: Step & { readonly kind: 'fault' }; wait: number; left: number } | undefined;
  /** Whether an operation has failed in this process. */
  #hasFailed = false;
  /** The oracle reads: nothing fails, nothing counts. */
  #isChecking = false;
  at = 0;

  constructor(history: History, options: RunOptions) {
    this.#history = history;
    this.#options = options;
    this.#world = new SimWorld(history.seed);
    this.#latency = new SeededRandom(history.seed + 1);
    this.#optionSet = history.optionSets[0] ?? {};
    this.#process = this.#start();
  }

  async all(): Promise<void> {
    await this.#survive(() => this.#open());
    for (const step of this.#history.steps) {
      this.at++;
      await this.#survive(() => this.#step(step));
    }
    this.at++;
    await this.#survive(() => this.#verify());
    await this.#survive(() =>
      this.#reopen({ kind: 'reopen', optionSet: 0, power: true, hurry: false, seed: this.#history.seed }),
    );
    this.#crash = undefined;
    await this.#survive(() => this.#verify());
    await this.#checkCheckpoints();
    await this.#world.scheduler.run(this.#openTree.close());
    await this.#world.scheduler.run(this.#neighbour?.close() ?? Promise.resolve());
  }

  get #openTree(): LsmTree {
    if (!this.#tree) throw new Error('no tree is open');
    return this.#tree;
  }

  #start(): SimProcess {
    const { latencyMs } = this.#history;
    const { scheduler } = this.#world;
    return this.#world.start('room', this.#disk, {
      fault: (operation) => this.#before(operation),
      latency: () =>
        latencyMs === 0 ? Promise.resolve() : scheduler.sleep(this.#latency.between(0, latencyMs)),
    });
  }

  /** What happens to a file operation. */
  #before(operation: FileOperation): Fault {
    const planted = this.#options.plant?.(operation);
    if (this.#isChecking) return planted;
    const crash = this.#crash;
    if (crash && operation.kind !== 'read' && crash.left-- <= 0) {
      if (crash.left === -1 && crash.step.torn && operation.kind === 'write') {
        this.#hasFailed = true;
        return 'short';
      }
      this.#die();
      return planted;
    }
    return this.#nextFault(operation) ?? planted;
  }

  #nextFault(operation: FileOperation): Fault {
    if (operation.kind === 'link' && this.#history.linksFail) {
      return systemError('EXDEV', 'link', operation.path);
    }
    const fault = this.#fault;
    if (!fault || fault.wait-- > 0) return undefined;
    const kind = fault.step.fault;
    if (kind === 'short' && operation.kind !== 'write') return undefined;
    if (kind === 'lose' && operation.kind !== 'sync') return undefined;
    if (kind === 'ENOSPC' && (operation.kind === 'read' || operation.kind === 'open')) return undefined;
    if (--fault.left <= 0) this.#fault = undefined;
    this.#hasFailed = true;
    this.#options.happened?.('fault');
    return kind === 'short' || kind === 'lose' ? kind : systemError(kind, operation.kind, operation.path);
  }

  get #isDead(): boolean {
    return this.#process.fs.detached;
  }

  #die(): void {
    this.#process.kill();
    this.#death.reject(new Error('the process is dead'));
  }

  /** Runs what may be cut off by the death of the process; then recovers. */
  async #survive(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (error instanceof Violation || !this.#isDead) throw error;
      await this.#recoverFromCrash();
    }
  }

  #wait<T>(promise: Promise<T>): Promise<T> {
    return this.#world.scheduler.run(Promise.race([promise, this.#death.promise]));
  }

  async #recoverFromCrash(): Promise<void> {
    const step = this.#crash?.step;
    if (!step) throw new Error('died without a reason');
    const lost: Survives = step.power ? 'power' : 'kill';
    const claimed = this.#tree?.durableSequence ?? 0;
    this.#options.happened?.(step.power ? 'power cut' : 'kill');
    this.#endCheckpoint(false);
    this.#forgetProcess();
    for (const [i, after] of [...step.again, undefined].entries()) {
      if (step.power) this.#disk.powerCut(new SeededRandom(step.seed + i));
      this.#crash = after === undefined ? undefined : { step: { ...step, again: [] }, left: after };
      this.#newProcess();
      try {
        await this.#open(lost, claimed);
        break;
      } catch (error) {
        if (!this.#isDead) throw error;
        this.#options.happened?.('cut of a recovery');
      }
    }
    this.#crash = undefined;
  }

  #forgetProcess(): void {
    this.#tree = undefined;
    this.#neighbour = undefined;
    this.#isClosing = false;
    this.#snapshots.clear();
    this.#iterators.clear();
    this.#pending = [];
    this.#fault = undefined;
  }

  #newProcess(): void {
    this.#death = deferred();
    this.#hasFailed = false;
    this.#process = this.#start();
  }

  /** Whatever a crash has left, verifying the closed tree finds nothing wrong with it. */
  async #verifyClosed(): Promise<void> {
    this.#isChecking = true;
    try {
      const { problems } = await this.#wait(verifyDirectory(this.#process.env, DIRECTORY));
      if (problems.length > 0) this.#fail(`verify of the closed tree: ${JSON.stringify(problems[0])}`);
    } catch (error) {
      // There is no tree yet.
      if (errorCode(error) !== 'LSM_INVALID') throw error;
    } finally {
      this.#isChecking = false;
    }
  }

  /** Opens the tree and asks the model whether what is found may be there. */
  async #open(lost: Survives = 'kill', claimed = 0): Promise<void> {
    await this.#verifyClosed();
    for (;;) {
      try {
        const shared = await this.#openNeighbour();
        const options = { ...this.#optionSet, ...shared, env: this.#process.env };
        this.#tree = await this.#wait(LsmTree.open(DIRECTORY, options));
        break;
      } catch (error) {
        if (this.#isDead || !this.#hasFailed || !EXPECTED.includes(errorCode(error) ?? '')) throw error;
        this.#process.kill();
        this.#fault = undefined;
        this.#newProcess();
      }
    }
    const found = this.#scanAll();
    const violation = this.#model.recover(found, this.#openTree.lastSequence, lost, claimed);
    if (violation) this.#fail(violation);
    this.#observe(`open ${renderEntries(found)}`);
  }

  /** The resources that it shares with the tree. */
  async #openNeighbour(): Promise<LsmOptions> {
    const { budgetBytes } = this.#history;
    if (budgetBytes === undefined) return {};
    const neighbour = new Neighbour(this.#process.env, this.#optionSet, budgetBytes);
    this.#neighbour = neighbour;
    await this.#wait(neighbour.open(this.#optionSet));
    return { resources: neighbour.resources };
  }

  #fail(what: string): never {
    throw new Violation(`step ${this.at}: ${what}`);
  }

  #observe(text: string): void {
    this.#options.observe?.(`${this.at} ${text}`);
  }

  async #step(step: Step): Promise<void> {
    const { observe } = this.#options;
    if (observe && step.kind !== 'write') {
      await this.#settle();
      this.#observe(`${step.kind} at sequence ${this.#openTree.lastSequence}`);
    }
    switch (step.kind) {
      case 'write':
        return this.#write(step);
      case 'settle':
        return this.#settle();
      case 'wait':
        return this.#wait(this.#world.scheduler.sleep(step.ms));
      case 'flush':
        return this.#flush(step.behind);
      case 'compact':
        return this.#compact(step);
      case 'clear':
        return this.#clear(step.range);
      case 'read':
        return this.#read(step.keys, step.slot);
      case 'scan':
        return this.#scan(step.range, step.slot);
      case 'snapshot':
        return this.#takeSnapshot(step.slot);
      case 'release':
        this.#snapshots.get(step.slot)?.snapshot.release();
        this.#snapshots.delete(step.slot);
        return;
      case 'iterator':
        return this.#openIterator(step.slot, step.range);
      case 'advance':
      case 'seek':
        return this.#moveIterator(step);
      case 'checkpoint':
        return this.#checkpoint(step);
      case 'neighbour':
        this.#neighbour?.write(step.writes, step.valueBytes);
        return;
      case 'verify':
        return this.#verify();
      case 'reopen':
        return this.#reopen(step);
      case 'crash':
        this.#crash = { step, left: step.after };
        return;
      case 'fault':
        this.#fault = { step, wait: step.after, left: step.times };
        return;
    }
  }

  async #write(step: Step & { readonly kind: 'write' }): Promise<void> {
    const operations = step.changes.map(({ key, value }) =>
      value === undefined
        ? ({ type: 'delete', key: Buffer.from(key, 'latin1') } as const)
        : ({ type: 'put', key: Buffer.from(key, 'latin1'), value: Buffer.from(value, 'latin1') } as const),
    );
    const batch = this.#model.begin(step.changes);
    const { durability } = this.#optionSet;
    const process = this.#process;
    const tree = this.#openTree;
    if (step.atOnce && durability === 'none' && tree.stats().waitingWrites === 0) {
      this.#writeAtOnce(batch, operations);
      return;
    }
    const written = tree.write(operations, { durability: step.durability }).then(
      (sequence) => {
        if (process !== this.#process || this.#isDead) return;
        batch.outcome = 'committed';
        batch.sequence = sequence;
        promote(batch, durability === 'none' ? 'nothing' : step.durability === 'sync' ? 'power' : 'kill');
      },
      (error: unknown) => {
        if (process === this.#process && !this.#isDead) this.#writeFailed(batch, error);
      },
    );
    this.#pending.push(written);
    written.catch(() => {});
  }

  #writeAtOnce(batch: Batch, operations: readonly Operation[]): void {
    try {
      batch.sequence = this.#openTree.writeSync(operations);
      batch.outcome = 'committed';
      this.#options.happened?.('write at once');
    } catch (error) {
      if (this.#isDead) throw error;
      this.#writeFailed(batch, error);
    }
  }

  #writeFailed(batch: Batch, error: unknown): void {
    const code = errorCode(error) ?? '';
    const outcome = error instanceof RaftreeError ? error.info.outcome : undefined;
    if (!this.#isExpected(code)) this.#fail(`a write failed with ${error}`);
    this.#options.happened?.('write refused');
    if (outcome === 'notCommitted') this.#model.refuse(batch);
    else if (outcome === 'unknown') batch.outcome = 'unknown';
    else this.#fail(`a write failed with outcome ${outcome}: ${error}`);
  }

  #isExpected(code: string): boolean {
    if (code === 'LSM_BUSY') return this.#optionSet.maxWaitingBytes !== undefined;
    if (code === 'LSM_CLOSED') return this.#isClosing;
    return this.#hasFailed && EXPECTED.includes(code);
  }

  async #settle(): Promise<void> {
    const pending = this.#pending;
    this.#pending = [];
    await this.#wait(Promise.all(pending));
    if (!this.#model.sequencesRise) this.#fail('sequences are not in the order of the writes');
  }

  async #flush(behind: boolean): Promise<void> {
    const before = this.#model.committed;
    await this.#work(behind, this.#openTree.flush(), (isDone) => {
      if (isDone) for (const batch of before) promote(batch, 'power');
    });
  }

  /** Waits for work, or, if it is to go on behind the steps, leaves that to the next `settle`. */
  async #work(behind: boolean, work: Promise<unknown>, ended: (isDone: boolean) => void): Promise<void> {
    if (!behind) return ended(await this.#tolerate(work));
    this.#options.happened?.('work behind');
    const process = this.#process;
    const isHere = () => process === this.#process && !this.#isDead;
    const followed = work.then(
      () => isHere() && ended(true),
      (error: unknown) => {
        if (!isHere()) return;
        if (!this.#isExpected(errorCode(error) ?? '')) this.#fail(`work behind failed with ${error}`);
        ended(false);
      },
    );
    followed.catch(() => {});
    this.#pending.push(followed.then(() => {}));
    this.#pending.at(-1)?.catch(() => {});
  }

  async #compact({ smallest, largest, behind }: Step & { readonly kind: 'compact' }): Promise<void> {
    const range =
      smallest === undefined || largest === undefined
        ? {}
        : { smallest: Buffer.from(smallest, 'latin1'), largest: Buffer.from(largest, 'latin1') };
    await this.#work(behind, this.#openTree.compactRange(range), () => {});
  }

  async #clear(range: Range): Promise<void> {
    await this.#settle();
    const before = this.#stateNow();
    const keys = inRange(before, range).map(([key]) => key);
    this.#model.beginRemoval(keys);
    const { limit, reverse, ...bounds } = iteratorOptions(range);
    let tables = 0;
    const isDone = await this.#tolerate(
      this.#openTree.dropTables(bounds).then((count) => {
        tables = count;
      }),
    );
    const now = this.#scanAll();
    const left = new Map(now);
    const gone = before.filter(([key]) => !left.has(key)).map(([key]) => key);
    const expected = before.filter(([key]) => !gone.includes(key));
    if (gone.some((key) => !keys.includes(key)) || renderEntries(now) !== renderEntries(expected)) {
      this.#fail(`removing tables left\n${renderEntries(now)}\nof\n${renderEntries(before)}`);
    }
    if (tables === 0 && gone.length > 0) this.#fail('keys are gone, and no table was said to be removed');
    if (isDone) this.#model.endRemoval(gone);
    if (tables > 0) this.#options.happened?.('tables removed');
    if (keys.length === 0) return;
    const changes = keys.map((key) => ({ key }));
    await this.#write({ kind: 'write', changes, durability: 'buffered', atOnce: false });
    await this.#settle();
  }

  /** Waits; false if it failed as a failing disk may make it fail. */
  async #tolerate(promise: Promise<unknown>): Promise<boolean> {
    try {
      await this.#wait(promise);
      return true;
    } catch (error) {
      if (this.#isDead || !this.#hasFailed || !EXPECTED.includes(errorCode(error) ?? '')) throw error;
      return false;
    }
  }

  #checking<T>(check: () => T): T {
    this.#isChecking = true;
    try {
      return check();
    } finally {
      this.#isChecking = false;
    }
  }

  #scanAll(snapshot?: Snapshot): Entries {
    return this.#entriesOf({ reverse: false }, snapshot);
  }

  #entriesOf(range: Range, snapshot?: Snapshot): Entries {
    return this.#checking(() => {
      const entries = [
        ...this.#openTree.iterator({ ...iteratorOptions(range), ...(snapshot ? { snapshot } : {}) }),
      ];
      return entries.map(textOf);
    });
  }

  /** What the tree holds now, which must be one of the states that it may be in. */
  #stateNow(): Entries {
    const found = this.#scanAll();
    const text = renderEntries(found);
    const allowed = this.#model.visibleStates().map(renderEntries);
    if (!allowed.includes(text)) {
      this.#fail(`the tree holds\n${text}\nbut should hold\n${allowed.join('\nor\n')}`);
    }
    return found;
  }

  async #read(keys: readonly string[], slot: number | undefined): Promise<void> {
    const taken = slot === undefined ? undefined : this.#snapshots.get(slot);
    const state = new Map(taken ? taken.state : this.#stateNow());
    const options = taken ? { snapshot: taken.snapshot } : {};
    const bytes = keys.map((key) => Buffer.from(key, 'latin1'));
    const single = this.#checking(() => bytes.map((key) => this.#openTree.getSync(key, options)));
    const has = this.#checking(() => bytes.map((key) => this.#openTree.hasSync(key, options)));
    const many = await this.#getMany(bytes, options);
    for (const [i, key] of keys.entries()) {
      const expected = state.get(key);
      if (has[i] !== state.has(key)) this.#fail(`hasSync of ${JSON.stringify(key)} is ${has[i]}`);
      for (const found of [single[i], many[i]]) {
        if (found?.toString('latin1') !== expected) {
          this.#fail(`${JSON.stringify(key)} is ${found?.toString('latin1')}, not ${expected}`);
        }
      }
    }
    this.#observe(`read ${single.map((value) => value?.toString('latin1')).join()}`);
  }

  /** In turns between which other things happen; nothing fails meanwhile. */
  async #getMany(keys: readonly Buffer[], options: ReadOptions): Promise<(Buffer | undefined)[]> {
    this.#isChecking = true;
    try {
      return await this.#wait(this.#openTree.getMany(keys, options));
    } finally {
      this.#isChecking = false;
    }
  }

  async #scan(range: Range, slot: number | undefined): Promise<void> {
    const taken = slot === undefined ? undefined : this.#snapshots.get(slot);
    const state = taken ? taken.state : this.#stateNow();
    for (const reverse of [false, true]) {
      const asked = { ...range, reverse };
      const expected = renderEntries(inRange(state, asked).slice(0, range.limit));
      const found = renderEntries(this.#entriesOf(asked, taken?.snapshot));
      if (found !== expected) this.#fail(`${JSON.stringify(asked)} gave\n${found}\nnot\n${expected}`);
      this.#observe(`scan ${found}`);
    }
  }

  async #takeSnapshot(slot: number): Promise<void> {
    this.#snapshots.get(slot)?.snapshot.release();
    const snapshot = this.#openTree.snapshot();
    const state = this.#scanAll(snapshot);
    if (renderEntries(state) !== renderEntries(this.#stateNow()))
      this.#fail('a snapshot is not the state of now');
    this.#snapshots.set(slot, { snapshot, state });
  }

  async #openIterator(slot: number, range: Range): Promise<void> {
    this.#iterators.get(slot)?.close();
    const iterator = this.#openTree.iterator(iteratorOptions(range));
    this.#iterators.set(slot, new OpenIterator(iterator, range, this.#stateNow()));
  }

  async #moveIterator(step: Step & { readonly kind: 'advance' | 'seek' }): Promise<void> {
    const iterator = this.#iterators.get(step.slot);
    if (!iterator) return;
    const wrong = this.#checking(() =>
      step.kind === 'seek' ? iterator.seek(step.key) : iterator.advance(step.count),
    );
    if (wrong) this.#fail(wrong);
  }

  async #checkpoint({ name, behind }: Step & { readonly kind: 'checkpoint' }): Promise<void> {
    if (this.#checkpoints.isUnderWay) return;
    const path = `/data/${name}`;
    this.#checkpoints.begin(path);
    await this.#work(behind, this.#openTree.checkpoint(path), (isDone) => {
      if (isDone) this.#endCheckpoint(true);
      else this.#checkpoints.abandon();
    });
  }

  #endCheckpoint(mustExist: boolean): void {
    if (this.#checkpoints.end(mustExist)) this.#options.happened?.('checkpoint');
  }

  /** Every checkpoint is a tree of its own, with a state of its time: wholly there, or not at all. */
  async #checkCheckpoints(): Promise<void> {
    const { env } = this.#process;
    for (const [path, { states, mustExist }] of this.#checkpoints.made) {
      if (!mustExist && !env.fs.exists(path)) continue;
      const options = { ...this.#optionSet, env, createIfMissing: false };
      const tree = await this.#wait(LsmTree.open(path, options));
      const entries = [...tree.iterator()].map(textOf);
      if (!states.includes(renderEntries(entries))) this.#fail(`the checkpoint ${path} has a wrong state`);
      const { problems } = await this.#wait(tree.verify());
      if (problems.length > 0) this.#fail(`verify of ${path}: ${JSON.stringify(problems[0])}`);
      await this.#wait(tree.close());
    }
  }

  async #verify(): Promise<void> {
    const { problems } = await this.#wait(this.#checking(() => this.#openTree.verify()));
    // A read may have failed in between.
    const real = problems.filter((problem) => !this.#hasFailed || !problem.message.startsWith('EIO'));
    if (real.length > 0) this.#fail(`verify: ${JSON.stringify(real)}`);
    const taken = [...this.#snapshots.values()];
    for (const { snapshot, state } of taken) {
      if (renderEntries(this.#scanAll(snapshot)) !== renderEntries(state))
        this.#fail('a snapshot has changed');
    }
  }

  async #reopen(step: Step & { readonly kind: 'reopen' }): Promise<void> {
    if (!step.hurry) {
      await this.#settle();
      await this.#verify();
    } else this.#options.happened?.('closing in a hurry');
    this.#isClosing = true;
    const closed = await this.#tolerate(this.#openTree.close());
    await this.#settle();
    // Whatever had failed: who closes without an error has lost nothing.
    if (closed) for (const batch of this.#model.committed) promote(batch, 'power');
    await this.#wait(this.#neighbour?.close() ?? Promise.resolve());
    const iterators = [...this.#iterators.values()];
    for (const iterator of iterators) if (!iterator.isRefused()) this.#fail('an iterator outlives its tree');
    this.#optionSet = this.#history.optionSets[step.optionSet] ?? this.#optionSet;
    this.#forgetProcess();
    if (!closed || step.power) this.#process.kill();
    if (step.power) this.#disk.powerCut(new SeededRandom(step.seed));
    if (!closed || step.power) this.#newProcess();
    const { step: crash } = this.#crash ?? {};
    try {
      await this.#open(step.power ? 'power' : 'kill');
    } catch (error) {
      // The model does not care which of the two power cuts it was.
      if (this.#isDead && crash && step.power) this.#crash = { step: { ...crash, power: true }, left: 0 };
      throw error;
    }
  }
}

function textOf({ key, value }: Entry): readonly [string, string] {
  return [key.toString('latin1'), value.toString('latin1')];
}

function promote(batch: Batch, survives: Survives): void {
  if (batch.survives !== 'power') batch.survives = survives;
}

function iteratorOptions(range: Range): IteratorOptions {
  const { reverse, limit } = range;
  const bounds = (['gt', 'gte', 'lt', 'lte'] as const).flatMap((name) => {
    const key = range[name];
    return key === undefined ? [] : [[name, Buffer.from(key, 'latin1')] as const];
  });
  return { ...Object.fromEntries(bounds), reverse, ...(limit === undefined ? {} : { limit }) };
}

interface Deferred {
  readonly promise: Promise<never>;
  readonly reject: (error: unknown) => void;
}

function deferred(): Deferred {
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<never>((_, refuse) => {
    reject = refuse;
  });
  promise.catch(() => {});
  return { promise, reject };
}
