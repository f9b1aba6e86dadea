/**
 * A program's state machine as the storage engine of a node. So it has what the engine of a node has: batches with the
 * applied index and the sessions of clients, snapshots for other members, and a log that is kept until the state is
 * durable.
 *
 *     user key "\0machine/command/ID"         a put of it is a command: it is applied, and its result is stored here
 *     user key "\0machine/check/NODE/COUNT"   a put of it reports a checksum of a member; it is not stored
 *     3 | number of a part u32                the state, in parts: written with each flush and checkpoint
 *
 * Everything else is kept as it is, in a memory engine: that one writes its file only when it is told to, so that the
 * state of the machine and the applied index in a file are always of the same moment.
 *
 * An ID is used once. Each entry of the Raft log that is a command is thus a change of a key of its own, and the engine
 * sees them all, in the order of the log, however the entries are put together in batches.
 */
import { memoryEngine } from '../engines/memory-engine.js';
import type {
  EngineContext,
  EngineKind,
  EngineOperation,
  EngineRange,
  StorageEngine,
} from '../engines/storage-engine.js';
import type { Timer } from '../env/env.js';
import { errorMessage, RaftreeError } from '../env/errors.js';
import { fromStoredValue, storedValue, userKey } from '../kv/keys.js';
import { crc32 } from '../record/checksum.js';
import { readUint53, writeUint53 } from '../record/record.js';
import type { AnyStateMachine } from './state-machine.js';
import { hasState, inParts, restoreState, statePieces } from './state-pieces.js';

export const MACHINE_PREFIX = '\0machine/';
export const COMMAND_PREFIX = `${MACHINE_PREFIX}command/`;
export const CHECK_PREFIX = `${MACHINE_PREFIX}check/`;

const COMMANDS = userKey(Buffer.from(COMMAND_PREFIX));
const CHECKS = userKey(Buffer.from(CHECK_PREFIX));
const STATE = 3;
const PART_BYTES = 1024 * 1024;
const COUNT_BYTES = 8;

/** Results are kept until so many newer ones have come. A proposer on another member reads its result within that. */
const MAX_RESULTS = 10_000;
const MAX_RESULTS_BYTES = 64 * 1024 * 1024;
const MAX_RESULT_BYTES = 1024 * 1024;
/** How long closing waits for a command that is being applied. */
const CLOSE_PATIENCE_MS = 5000;
/** The newest checksums of this member are kept, to compare them with those of other members. */
const MAX_CHECKSUMS = 32;

/** The result of a command. It is stored, and is the same on all members. */
export type Outcome = { readonly result?: unknown } | { readonly error: string };

export interface MachineEngineOptions {
  readonly create: () => AnyStateMachine<unknown, unknown, unknown, unknown>;
  /** A checksum of the state is computed after this many commands; 0: never. */
  readonly checksumEvery: number;
  /** A command was applied here. */
  readonly applied: (id: string, outcome: Outcome) => void;
  readonly checksum: (commands: number, checksum: number) => void;
  readonly told: (nodeId: number, commands: number, checksum: number, own: number) => void;
}

/** The engine with the machine that it uses. */
export interface MachineEngine extends EngineKind {
  /** Answers when no command is being applied. Rejects with what the machine throws. */
  query(query: unknown): Promise<unknown>;
}

export function machineEngine(options: MachineEngineOptions): MachineEngine {
  let current: MachineState | undefined;
  return {
    name: 'state-machine',
    reservedPrefix: Buffer.from(MACHINE_PREFIX),
    async open(directory, context) {
      const base = await memoryEngine.open(directory, context);
      const machine = options.create();
      try {
        if (!hasState(machine)) {
          throw new RaftreeError(
            'INVALID_CONFIG',
            'a state machine has the methods snapshot and restore, or toBytes and fromBytes',
          );
        }
        const state = new MachineState(base, machine, options, context);
        await state.load();
        current = state;
        return state;
      } catch (error) {
        await base.close();
        throw error;
      }
    },
    query(query) {
      if (!current) throw new RaftreeError('NO_LEADER', 'this cluster has not begun');
      return current.query(query);
    },
  };
}

class MachineState implements StorageEngine {
  readonly #base: StorageEngine;
  readonly #machine: AnyStateMachine<unknown, unknown, unknown, unknown>;
  readonly #options: MachineEngineOptions;
  readonly #context: EngineContext;
  /** Settles when the machine is free for the next use. Never rejects. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Commands since the beginning. */
  #count = 0;
  /** Parts of the state that the base holds. */
  #parts = 0;
  /** The stored results, oldest first. */
  #results: { readonly key: Buffer; readonly sizeBytes: number }[] = [];
  #resultsBytes = 0;
  /** The base holds the state of this moment, and is being written. */
  #hasState = false;
  readonly #checksums = new Map<number, number>();

  constructor(
    base: StorageEngine,
    machine: AnyStateMachine<unknown, unknown, unknown, unknown>,
    options: MachineEngineOptions,
    context: EngineContext,
  ) {
    this.#base = base;
    this.#machine = machine;
    this.#options = options;
    this.#context = context;
  }

  async load(): Promise<void> {
    const parts = [...this.#base.entries(STATE_RANGE)].map(([, part]) => part);
    this.#parts = parts.length;
    const [first, ...others] = parts;
    if (first) {
      this.#count = readUint53(first, 0);
      const pieces = [first.subarray(COUNT_BYTES), ...others];
      await this.#own('to restore', () => restoreState(this.#machine, pieces));
    }
    const stored = [...this.#base.entries(COMMAND_RANGE)].map(([key, value]) => ({
      ...{ key, sizeBytes: value.length },
      version: fromStoredValue(value).version,
    }));
    // Each log index has at most one command: a write has one.
    this.#results = stored.sort((a, b) => a.version - b.version);
    this.#resultsBytes = stored.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  }

  get durableSequence(): number {
    return this.#base.durableSequence;
  }

  get(key: Uint8Array): Buffer | undefined {
    return this.#base.get(key);
  }

  entries(range: EngineRange): Iterable<readonly [Buffer, Buffer]> {
    return this.#base.entries(range);
  }

  write(operations: readonly EngineOperation[]): Promise<number> {
    return this.#alone(async () => {
      const batch: EngineOperation[] = [];
      for (const operation of operations) {
        if (operation.type === 'put' && startsWith(operation.key, COMMANDS))
          batch.push(...(await this.#apply(Buffer.from(operation.key), Buffer.from(operation.value))));
        else if (operation.type === 'put' && startsWith(operation.key, CHECKS)) this.#compare(operation);
        else batch.push(operation);
      }
      return this.#base.write(batch);
    });
  }

  /** No command is applied until the file is written: what it holds is of one moment. */
  flush(): Promise<void> {
    return this.#withState(() => this.#base.flush());
  }

  checkpoint(directory: string): Promise<void> {
    return this.#withState(() => this.#base.checkpoint(directory));
  }

  check(directory: string): Promise<void> {
    return this.#base.check(directory);
  }

  approximateKeys(): number {
    return this.#base.approximateKeys();
  }

  query(query: unknown): Promise<unknown> {
    return this.#alone(async () => this.#machine.query(query));
  }

  /**
   * The base is closed, which writes it, only with the state: what is missing the Raft log replays. A command that does
   * not come to an end is waited for a while.
   */
  async close(): Promise<void> {
    const { timers } = this.#context.env;
    let timer: Timer | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = timers.after(CLOSE_PATIENCE_MS, resolve);
    });
    // A flush may wait for space; closing the base ends the wait.
    const closing = this.#hasState ? this.#base.close() : this.#withState(() => this.#base.close());
    const closed = closing.catch((error: unknown) =>
      this.#context.logger.error({}, `the state was not written at closing: ${errorMessage(error)}`),
    );
    await Promise.race([closed, patience]);
    timer?.cancel();
    await this.#machine.close?.();
  }

  #withState(save: () => Promise<void>): Promise<void> {
    return this.#alone(async () => {
      await this.#writeState();
      this.#hasState = true;
      try {
        await save();
      } finally {
        this.#hasState = false;
      }
    });
  }

  /** The operations of a command: its result in its place, and results that are too old. */
  async #apply(key: Buffer, stored: Buffer): Promise<EngineOperation[]> {
    const { version, value } = fromStoredValue(stored);
    const outcome = await this.#outcomeOf(value, version);
    this.#options.applied(key.subarray(COMMANDS.length).toString(), outcome);
    const result = storedValue(version, Buffer.from(JSON.stringify(outcome)));
    this.#results.push({ key, sizeBytes: result.length });
    this.#resultsBytes += result.length;
    const batch: EngineOperation[] = [{ type: 'put', key, value: result }];
    while (this.#results.length > MAX_RESULTS || this.#resultsBytes > MAX_RESULTS_BYTES) {
      const oldest = this.#results.shift();
      if (!oldest) break;
      this.#resultsBytes -= oldest.sizeBytes;
      batch.push({ type: 'delete', key: oldest.key });
    }
    this.#count++;
    const { checksumEvery } = this.#options;
    if (checksumEvery > 0 && this.#count % checksumEvery === 0) await this.#tellChecksum();
    return batch;
  }

  async #outcomeOf(command: Buffer, index: number): Promise<Outcome> {
    try {
      const result = await this.#machine.apply(JSON.parse(command.toString()), index);
      const outcome = { result };
      const sizeBytes = JSON.stringify(outcome).length;
      return sizeBytes <= MAX_RESULT_BYTES ? outcome : { error: `its result has ${sizeBytes} bytes as JSON` };
    } catch (error) {
      return { error: errorMessage(error).slice(0, 1000) };
    }
  }

  async #tellChecksum(): Promise<void> {
    let checksum = 0;
    await this.#own('to snapshot', async () => {
      for await (const piece of statePieces(this.#machine)) checksum = crc32(piece, checksum);
    });
    this.#checksums.set(this.#count, checksum);
    for (const count of this.#checksums.keys()) {
      if (this.#checksums.size <= MAX_CHECKSUMS) break;
      this.#checksums.delete(count);
    }
    this.#options.checksum(this.#count, checksum);
  }

  #compare({ key, value }: { readonly key: Uint8Array; readonly value: Uint8Array }): void {
    const [node, commands] = Buffer.from(key).subarray(CHECKS.length).toString().split('/').map(Number);
    const checksum = Number(fromStoredValue(Buffer.from(value)).value.toString());
    const own = this.#checksums.get(commands ?? 0);
    if (own !== undefined && own !== checksum) this.#options.told(node ?? 0, commands ?? 0, checksum, own);
  }

  async #writeState(): Promise<void> {
    const batch: EngineOperation[] = [];
    await this.#own('to snapshot', async () => {
      for await (const value of inParts(this.#countAndState(), PART_BYTES))
        batch.push({ type: 'put', key: partKey(batch.length), value });
    });
    const parts = batch.length;
    for (let i = parts; i < this.#parts; i++) batch.push({ type: 'delete', key: partKey(i) });
    this.#parts = parts;
    await this.#base.write(batch);
  }

  async *#countAndState(): AsyncGenerator<Uint8Array, void, undefined> {
    const count = Buffer.alloc(COUNT_BYTES);
    writeUint53(count, this.#count, 0);
    yield count;
    yield* statePieces(this.#machine);
  }

  /** What the machine throws, where it must not throw. */
  async #own<T>(what: string, call: () => T | Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      throw new RaftreeError(
        'STATE_MACHINE_FAILED',
        `the program's state machine has failed ${what} its state: ${errorMessage(error)}`,
        { cause: error },
      );
    }
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }
}

const STATE_RANGE = { gte: Buffer.of(STATE), lt: Buffer.of(STATE + 1) };
const COMMAND_RANGE = { gte: COMMANDS, lt: after(COMMANDS) };

function after(prefix: Buffer): Buffer {
  const next = Buffer.from(prefix);
  next[next.length - 1] = (next.at(-1) ?? 0) + 1;
  return next;
}

function partKey(part: number): Buffer {
  const key = Buffer.alloc(5, STATE);
  key.writeUInt32BE(part, 1);
  return key;
}

function startsWith(key: Uint8Array, prefix: Buffer): boolean {
  return key.length >= prefix.length && prefix.equals(key.subarray(0, prefix.length));
}
