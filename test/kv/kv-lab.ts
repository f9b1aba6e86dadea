/** An engine in memory, commands as entries, and a model of what they should do, written apart from the machine. */

import type {
  EngineOperation,
  EngineRange,
  OpenEngine,
  StorageEngine,
} from '../../src/engines/storage-engine.js';
import { encodeOpenSession, encodeWrite } from '../../src/kv/command.js';
import type { CommandResult, KvStateMachine } from '../../src/kv/kv-state-machine.js';
import type { Write, WriteOperation } from '../../src/kv/requests.js';
import type { OperationResult, OperationStatus } from '../../src/kv/sessions.js';
import type { Entry } from '../../src/raft/types.js';
import type { SeededRandom } from '../../src/sim/world/seeded-random.js';

export type { Write, WriteOperation };

export const MAX_VALUE_BYTES = 60;
/** For commands that need no time. */
export const AT_0 = { nowMs: () => 0 };
const NOTHING = Buffer.alloc(0);

/** Everything is durable when `flush` is called. */
export class MemoryEngine implements StorageEngine {
  readonly stored: Map<string, Buffer>;
  /** What each checkpoint holds, by directory. */
  readonly checkpoints: Map<string, ReadonlyMap<string, Buffer>>;
  isClosed = false;
  durableSequence = 0;
  batches = 0;

  constructor(
    stored: ReadonlyMap<string, Buffer> = new Map(),
    checkpoints: Map<string, ReadonlyMap<string, Buffer>> = new Map(),
  ) {
    this.stored = new Map(stored);
    this.checkpoints = checkpoints;
  }

  /** Opens the checkpoints that this engine, or one opened from it, has made. */
  readonly reopen: OpenEngine = async (directory) => {
    const stored = this.checkpoints.get(directory);
    if (!stored) throw new Error(`there is no checkpoint in ${directory}`);
    return new MemoryEngine(stored, this.checkpoints);
  };

  get(key: Uint8Array): Buffer | undefined {
    return this.stored.get(Buffer.from(key).toString('latin1'));
  }

  *entries({ gte, lt, reverse }: EngineRange): Generator<readonly [Buffer, Buffer]> {
    const keys = [...this.stored.keys()].map((key) => Buffer.from(key, 'latin1')).sort(Buffer.compare);
    for (const key of reverse ? keys.reverse() : keys) {
      if (gte && Buffer.compare(key, gte) < 0) continue;
      if (lt && Buffer.compare(key, lt) >= 0) continue;
      yield [key, this.get(key) as Buffer];
    }
  }

  write(operations: readonly EngineOperation[]): number {
    for (const operation of operations) {
      const key = Buffer.from(operation.key).toString('latin1');
      if (operation.type === 'put') this.stored.set(key, Buffer.from(operation.value));
      else this.stored.delete(key);
    }
    return ++this.batches;
  }

  async flush(): Promise<void> {
    this.durableSequence = this.batches;
  }

  async checkpoint(directory: string): Promise<void> {
    this.checkpoints.set(directory, new Map(this.stored));
  }

  async check(directory: string): Promise<void> {
    if (!this.checkpoints.has(directory)) throw new Error(`there is no checkpoint in ${directory}`);
  }

  approximateKeys(): number {
    return this.stored.size;
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }
}

export function operation(
  action: WriteOperation['action'],
  key: string,
  value = '',
  condition: Partial<WriteOperation> = {},
): WriteOperation {
  return {
    action,
    key: Buffer.from(key),
    value: Buffer.from(value),
    condition: 'always',
    conditionValue: NOTHING,
    conditionVersion: 0,
    ...condition,
  };
}

export function write(
  operations: readonly WriteOperation[],
  session?: { id: number; sequence: number; floor?: number; after?: number },
): Write {
  return {
    type: 'write',
    session: session && {
      id: session.id,
      sequence: session.sequence,
      acknowledgedThrough: session.floor ?? 0,
      after: session.after ?? 0,
    },
    operations: [...operations],
  };
}

export function writeEntry(command: Write, maxValueBytes = MAX_VALUE_BYTES): Entry {
  return { term: 1, kind: 'command', body: encodeWrite(maxValueBytes, command, AT_0) };
}

export function openSessionEntry(window: number): Entry {
  return { term: 1, kind: 'command', body: encodeOpenSession(window) };
}

/** All keys with version and value, read in small pages. */
export function renderMachine(machine: KvStateMachine, reverse = false): string {
  const lines: string[] = [];
  let from = NOTHING;
  let to: Buffer | undefined;
  for (;;) {
    const page = machine.scan({ from, to, reverse, maxEntries: 3, maxBytes: 1000 });
    for (const { key, version, value } of page.entries) lines.push(`${key} ${version} ${value}`);
    const last = page.entries.at(-1);
    if (!page.more || !last) return lines.join('\n');
    if (reverse) to = last.key;
    else from = Buffer.concat([last.key, Buffer.of(0)]);
  }
}

interface ModelSession {
  readonly window: number;
  floor: number;
  lastUsed: number;
  readonly results: Map<number, CommandResult>;
}

/** What the commands mean, in the plainest way. */
export class Model {
  data = new Map<string, { version: number; value: string }>();
  readonly sessions = new Map<number, ModelSession>();

  apply(index: number, command: Write | { readonly window: number }): CommandResult {
    if ('window' in command) {
      const window = Math.min(4096, Math.max(1, command.window));
      this.sessions.set(index, { window, floor: 0, lastUsed: index, results: new Map() });
      return { type: 'sessionOpened', sessionId: index, window };
    }
    if (!command.session) return this.#write(index, command);
    const { id, sequence, acknowledgedThrough, after } = command.session;
    const session = this.sessions.get(id);
    if (!session) return { type: 'refused', code: 'SESSION_EXPIRED' };
    const floor = Math.max(session.floor, acknowledgedThrough);
    const known = session.results.get(sequence);
    if (known) return known;
    if (sequence <= floor || sequence > floor + session.window) {
      return { type: 'refused', code: 'INVALID_REQUEST' };
    }
    if (after > floor && !session.results.has(after)) return { type: 'refused', code: 'OUT_OF_ORDER' };
    session.floor = floor;
    session.lastUsed = index;
    const result = this.#write(index, command);
    // An answer is kept until its place in the window is needed, even if the client has acknowledged it.
    for (const older of session.results.keys()) {
      if ((sequence - older) % session.window === 0) session.results.delete(older);
    }
    session.results.set(sequence, result);
    return result;
  }

  #write(index: number, { operations }: Write): CommandResult {
    const before = (operation: WriteOperation) => this.data.get(Buffer.from(operation.key).toString());
    const shown = (state: ReturnType<typeof before>) => ({
      existed: state !== undefined,
      version: state?.version ?? 0,
    });
    const notApplied = (statusOf: (operation: WriteOperation) => OperationStatus): CommandResult => {
      const results = operations.map((operation) => {
        const status = statusOf(operation);
        const state = status === 'notApplied' ? undefined : before(operation);
        return { status, ...shown(state) };
      });
      return { type: 'written', write: { applied: false, index, results } };
    };
    const failed = operations.filter((operation) => !isMet(operation, before(operation)));
    if (failed.length > 0)
      return notApplied((operation) => (failed.includes(operation) ? 'conditionFailed' : 'notApplied'));

    const draft = new Map(this.data);
    const results: OperationResult[] = [];
    for (const operation of operations) {
      const { action, condition } = operation;
      const name = Buffer.from(operation.key).toString();
      const text = Buffer.from(operation.value).toString();
      const { existed } = shown(draft.get(name));
      if (action === 'append' && `${draft.get(name)?.value ?? ''}${text}`.length > MAX_VALUE_BYTES)
        return notApplied((other) => (other === operation ? 'valueTooLarge' : 'notApplied'));
      if (action === 'append')
        draft.set(name, { version: index, value: `${draft.get(name)?.value ?? ''}${text}` });
      if (action === 'put') draft.set(name, { version: index, value: text });
      if (action === 'delete') draft.delete(name);
      const tells = action !== 'put' || condition !== 'always';
      results.push({ status: 'ok', ...shown(draft.get(name)), existed: tells && existed });
    }
    this.data = draft;
    return { type: 'written', write: { applied: true, index, results } };
  }

  render(reverse = false): string {
    const lines = [...this.data]
      .sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      .map(([key, { version, value }]) => `${key} ${version} ${value}`);
    return (reverse ? lines.reverse() : lines).join('\n');
  }
}

function isMet(
  { condition, conditionValue, conditionVersion }: WriteOperation,
  state: { version: number; value: string } | undefined,
): boolean {
  return {
    always: true,
    exists: state !== undefined,
    absent: state === undefined,
    valueIs: state?.value === Buffer.from(conditionValue).toString(),
    versionIs: (state?.version ?? 0) === conditionVersion,
  }[condition];
}

export interface Command {
  readonly entry: Entry;
  readonly meaning: Write | { readonly window: number };
}

/**
 * Clients of a state machine: a few sessions whose writes are pipelined, arrive in any order and are repeated, writes
 * without a session, conditions that hold and that do not, batches that touch a key more than once.
 */
export class Clients {
  readonly #random: SeededRandom;
  readonly #sessions: { id: number; window: number; next: number; floor: number; sent: Write[] }[] = [];

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  /** Commands for the indexes from `first` on. */
  burst(first: number, count: number): Command[] {
    return Array.from({ length: count }, (_, i) => this.#command(first + i));
  }

  #command(index: number): Command {
    const random = this.#random;
    if (random.chance(0.05)) {
      const window = random.between(1, 6);
      this.#sessions.push({ id: index, window, next: 1, floor: 0, sent: [] });
      return { entry: openSessionEntry(window), meaning: { window } };
    }
    const meaning = this.#write(index);
    return { entry: writeEntry(meaning), meaning };
  }

  #write(index: number): Write {
    const random = this.#random;
    const operations = Array.from({ length: random.between(1, 3) }, () => this.#operation(index));
    if (this.#sessions.length === 0 || random.chance(0.2)) {
      return write(operations, random.chance(0.1) ? { id: index + 1000, sequence: 1 } : undefined);
    }
    const session = random.pick(this.#sessions);
    if (session.sent.length > 0 && random.chance(0.35)) return random.pick(session.sent);
    if (random.chance(0.3)) session.floor = random.between(session.floor, session.next - 1);
    const farthest = session.floor + session.window;
    const sequence = random.chance(0.2) ? random.between(session.floor + 1, farthest) : session.next;
    if (random.chance(0.95) && sequence > farthest) session.floor = sequence - session.window;
    session.next = Math.max(session.next, sequence + 1);
    const known = session.sent.find((sent) => sent.session?.sequence === sequence);
    if (known) return known;
    const fresh = write(operations, { id: session.id, sequence, floor: session.floor });
    session.sent.push(fresh);
    return fresh;
  }

  #operation(index: number): WriteOperation {
    const random = this.#random;
    const key = `k${random.between(1, 9)}`;
    const value = `${index}${'.'.repeat(random.between(0, 20))}`;
    const condition: Partial<WriteOperation> = random.chance(0.6)
      ? {}
      : random.pick([
          { condition: 'exists' as const },
          { condition: 'absent' as const },
          { condition: 'valueIs' as const, conditionValue: Buffer.from(value) },
          {
            condition: 'versionIs' as const,
            conditionVersion: random.between(Math.max(0, index - 12), index),
          },
          { condition: 'versionIs' as const, conditionVersion: 0 },
        ]);
    const action = random.pick(['put', 'put', 'append', 'append', 'delete', 'check'] as const);
    return operation(action, key, action === 'put' || action === 'append' ? value : '', condition);
  }
}
