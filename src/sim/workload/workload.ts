/**
 * The clients of a run: each has a real client library on a host of its own, and makes one call after another. They
 * share few keys, so that their calls conflict. Every value begins with a unique token.
 */
import type { RaftreeClient } from '../../client/client.js';
import { RaftreeClientError } from '../../client/client-error.js';
import { Lane } from '../../client/key-order.js';
import { type BatchOperation, type Condition, toOperation } from '../../client/operations.js';
import type { ExpireResult, PutResult } from '../../client/results.js';
import type { Direct } from '../cluster/direct.js';
import type { History, HistoryCall, KeyAnswer, KeyOperation } from '../rules/history.js';
import type { RunCluster } from '../run/run-cluster.js';
import { STRING_KEYS, type WorkloadOptions } from '../setting/setting.js';
import type { SeededRandom } from '../world/seeded-random.js';
import { MisroutedCalls } from './misrouted-calls.js';
import { StringCalls } from './string-calls.js';
import type { Whims } from './whims.js';

/** Errors that the client library may report while there are faults. */
export const EXPECTED_CODES: ReadonlySet<string> = new Set([
  'TIMEOUT',
  'ABORTED',
  'UNREACHABLE',
  'CLIENT_CLOSED',
  'NO_LEADER',
  'NODE_REMOVED',
  'NOT_LEADER',
  'OVERLOADED',
  'LEADERSHIP_LOST',
  'SHUTTING_DOWN',
  'CONNECTION_LOST',
  'ATTEMPT_TIMEOUT',
  'HELLO_TIMEOUT',
  'DISK_FULL',
  // Only if an attempt may have been applied; otherwise the library continues in a new session.
  'SESSION_EXPIRED',
]);

/** Of calls that are made to be refused. */
const REFUSED_BY_TABLETS = new Set(['SPANS_TABLETS', 'WRONG_TABLET', 'TABLET_FROZEN']);

type Consistency = 'linearizable' | 'lease' | 'follower';

/** The read levels of the client library that are linearizable. */
const COVERAGE_OF = {
  linearizable: 'linearizable reads',
  lease: 'reads by a lease of the client library',
  follower: 'reads by a follower of the client library',
} as const;

/** A value that has grown beyond this is replaced, not appended to. */
const LONG_VALUE_BYTES = 6000;

export class Workload {
  readonly #cluster: RunCluster;
  readonly #random: SeededRandom;
  readonly #history: History;
  readonly #options: WorkloadOptions;
  readonly #running: Promise<void>[] = [];
  readonly #seen = new Map<string, { readonly version: number; readonly value: string }>();
  #reader: Direct | undefined;
  #stopped = false;
  readonly #strings: StringCalls;
  readonly #misrouted: MisroutedCalls;
  readonly #whims: Whims;
  #tokens = 0;
  #bursts = 0;

  constructor(
    cluster: RunCluster,
    random: SeededRandom,
    history: History,
    options: WorkloadOptions,
    whims: Whims,
  ) {
    this.#cluster = cluster;
    this.#whims = whims;
    this.#random = random;
    this.#history = history;
    this.#options = options;
    const { coverage } = cluster;
    const failed = (name: string, error: unknown) => this.#failed(name, error).outcome;
    const together = (key: string) => this.#cluster.references.together(key, STRING_KEYS);
    this.#strings = new StringCalls({
      ...{ random, history: history.strings, coverage, hasLives: options.hasLives, together, failed },
      whim: () => whims.next(),
    });
    this.#misrouted = new MisroutedCalls({
      ...{ random, coverage, references: cluster.references, hasLeases: options.hasLeaseReads },
      mayMerge: cluster.setting.mergeEveryMs > 0,
      fail: (rule, detail) => cluster.fail(rule, detail),
    });
  }

  get #hasSeveralTablets(): boolean {
    return this.#cluster.references.tablets.length > 1;
  }

  start(): void {
    for (let i = 1; i <= this.#options.clients; i++) this.#running.push(this.#run(`c${i}`));
  }

  /** Resolves when all calls of the clients have ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#running);
    await this.#reader?.close();
  }

  /** Reads every key from one node, all at once. */
  async readAll(endpoint: string, consistency: Consistency): Promise<void> {
    this.#reader ??= this.#cluster.direct(this.#cluster.host('reader').env);
    const direct = this.#reader;
    await Promise.all(
      this.#keys.map((key) => this.#directReadAt(endpoint, 'reader', direct, consistency, key)),
    );
  }

  async #run(name: string): Promise<void> {
    const random = this.#random;
    const env = this.#cluster.host(name).env;
    const direct = this.#cluster.direct(env);
    const { pageEntries, window } = this.#options;
    const client = this.#cluster.client(random.between(400, 6000), { env, pageEntries, window });
    while (!this.#stopped) {
      await this.#cluster.sleep(random.float() * this.#options.maxThinkMs);
      await this.#call(name, client, direct);
      // Sometimes two calls of one session are outstanding at once.
      if (random.chance(0.1))
        await Promise.all([this.#call(name, client, direct), this.#call(name, client, direct)]);
      if (random.chance(0.08)) await this.#burst(name, client);
    }
    await client.close();
    await direct.close();
  }

  async #call(name: string, client: RaftreeClient, direct: Direct): Promise<void> {
    const random = this.#random;
    const dice = random.float();
    const { hasLeaseReads } = this.#options;
    if (this.#hasSeveralTablets && random.chance(0.06)) {
      await this.#misroute(name, direct);
      return;
    }
    if (dice < 0.08 && hasLeaseReads) await this.#directRead(name, direct, 'lease');
    else if (dice < 0.15) await this.#directRead(name, direct, 'follower');
    else if (dice < 0.25) await this.#read(name, client);
    else if (dice < 0.35) await this.#staleRead(name, client);
    else if (dice < 0.41) await this.#scan(name, client);
    else if (dice < 0.49) await this.#batch(name, client);
    else if (dice < 0.59) await this.#strings.call(name, client);
    else await this.#write(name, client, this.#operation(name, this.#key()));
  }

  /** As from a client whose map is of another time: a tablet is asked for a key that another one owns. */
  async #misroute(name: string, direct: Direct): Promise<void> {
    const key = this.#key();
    const operation = { kind: 'put', key, value: this.#value(name) } as const;
    const { endpoint } = this.#random.pick(this.#cluster.machines);
    const leaderOf = (tablet: number) => this.#cluster.leaderOf(tablet)?.endpoint ?? endpoint;
    await this.#record(name, [operation], async () => {
      await this.#misrouted.call(direct, leaderOf, operation);
      throw new RaftreeClientError('WRONG_TABLET', 'it was asked of another tablet', 'notCommitted');
    });
  }

  /** Writes that do not wait for each other: to one key, or to several as a door's connection sends them. */
  async #burst(name: string, client: RaftreeClient): Promise<void> {
    const random = this.#random;
    const count = random.between(2, 6);
    const key = this.#key();
    const lane = random.chance(0.5) ? { lane: new Lane(), name: `burst ${++this.#bursts}` } : undefined;
    this.#cluster.coverage.count(lane ? 'bursts of a lane' : 'bursts to a key');
    await Promise.all(
      Array.from({ length: count }, () => {
        if (!lane) return this.#write(name, client, this.#operation(name, key), 'often');
        const value = this.#value(name);
        const operation = { kind: 'put', key: this.#key(), value } as const;
        return this.#record(
          name,
          [operation],
          async () => {
            const { applied, index, results } = await client.write(
              [toOperation(toBatchOperation(operation))],
              this.#whims.next('often'),
              lane.lane,
            );
            return { index, answers: [{ applied, status: 'ok', version: results[0]?.version ?? 0 }] };
          },
          () => undefined,
          lane.name,
        );
      }),
    );
  }

  get #keys(): string[] {
    return Array.from({ length: this.#options.keys }, (_, i) => `k${i + 1}`);
  }

  #key(): string {
    return `k${this.#random.between(1, this.#options.keys)}`;
  }

  #value(name: string): string {
    const random = this.#random;
    const padding = random.chance(0.5) ? random.between(0, this.#options.maxValueBytes) : 0;
    return `${name}.${++this.#tokens};${'x'.repeat(padding)}`;
  }

  #operation(name: string, key: string): KeyOperation {
    const random = this.#random;
    const seen = this.#seen.get(key);
    const value = this.#value(name);
    const dice = random.float();
    if (dice < 0.35 && (seen?.value.length ?? 0) < LONG_VALUE_BYTES)
      return { kind: 'append', key, value: `${tokenOnly(value)}` };
    const { hasLives } = this.#options;
    if (dice < 0.6) return { kind: 'put', key, value, ...this.#life(0.5) };
    if (dice < 0.7) return { kind: 'insert', key, value };
    if (dice < 0.74 && hasLives) return { kind: 'expire', key, value: '', ...this.#life(1) };
    if (dice < 0.76 && hasLives) return { kind: 'persist', key, value: '' };
    if (dice < 0.8) return { kind: 'delete', key, value: '' };
    if (!seen) return { kind: 'insert', key, value };
    const expected =
      seen.version > 0 && random.chance(0.5) ? { value: seen.value } : { version: seen.version };
    return { kind: 'cas', key, value, expected };
  }

  /** A life that ends within the run, as likely as that. */
  #life(share: number): { readonly ttlMs?: number } {
    if (!this.#options.hasLives || !this.#random.chance(share)) return {};
    this.#cluster.coverage.count('lives given');
    return { ttlMs: this.#random.pick([1, this.#random.between(5, 300), this.#random.between(300, 4000)]) };
  }

  async #write(name: string, client: RaftreeClient, operation: KeyOperation, often?: 'often'): Promise<void> {
    await this.#record(name, [operation], async () => {
      const { key, value, ttlMs } = operation;
      const whim = this.#whims.next(often);
      const run = {
        put: () => client.put(key, value, { ttlMs, ...whim }),
        expire: () => client.expire(key, ttlMs ?? 1, whim),
        persist: () => client.persist(key, whim),
        insert: () => client.insert(key, value, whim),
        append: () => client.append(key, value, whim),
        delete: () => client.delete(key, whim),
        cas: () => {
          const condition = toCondition(operation);
          if (!condition || 'exists' in condition) throw new Error('a cas expects a value or a version');
          return client.cas(key, value, condition, whim);
        },
        check: () => Promise.reject(new Error('a check is a part of a batch')),
        read: () => Promise.reject(new Error('a read is not a write')),
        staleRead: () => Promise.reject(new Error('a read is not a write')),
      }[operation.kind];
      const result: PutResult & Partial<ExpireResult> = await run();
      const { applied, index, version, existed } = result;
      if (!applied) this.#cluster.coverage.count('conditions not met');
      return { index, answers: [{ applied, status: applied ? 'ok' : 'conditionFailed', existed, version }] };
    });
  }

  /** A batch often names a key twice and has conditions: its rules are about those. */
  async #batch(name: string, client: RaftreeClient): Promise<void> {
    const { coverage, references } = this.#cluster;
    // In one tablet, but for a few, which must be refused.
    const keys = this.#random.chance(0.9) ? references.together(this.#key(), this.#keys) : this.#keys;
    const operations = Array.from({ length: this.#random.between(2, 5) }, () =>
      this.#part(name, this.#random.pick(keys)),
    );
    const owners = new Set(operations.map(({ key }) => references.ownerOf(key)));
    coverage.count('batches');
    if (new Set(operations.map(({ key }) => key)).size < operations.length)
      coverage.count('batches that name a key again');
    await this.#record(name, operations, async () => {
      const { applied, index, results } = await client.batch(
        operations.map(toBatchOperation),
        this.#whims.next(),
      );
      if (!applied) coverage.count('batches not applied');
      if (owners.size > 1)
        this.#cluster.fail(
          'batches in one tablet',
          `${name} wrote to the tablets ${[...owners].join()} at once`,
        );
      return {
        index,
        answers: results.map((result) => ({ applied, version: 0, ...result, value: undefined })),
      };
    });
  }

  #part(name: string, key: string): KeyOperation {
    const random = this.#random;
    const value = this.#value(name);
    const seen = this.#seen.get(key);
    const life = this.#life(0.5);
    const part: KeyOperation = random.pick([
      { kind: 'delete', key, value: '' },
      { kind: 'append', key, value: tokenOnly(value) },
      { kind: 'append', key, value: tokenOnly(value) },
      { kind: 'put', key, value },
      { kind: 'put', key, value, ...life },
      { kind: 'check', key, value: '' },
    ]);
    if (part.kind !== 'check' && random.chance(0.75)) return part;
    const { version = 0, value: valueSeen = '' } = seen ?? {};
    return {
      ...part,
      expected: random.pick([
        { exists: version > 0 },
        { exists: version === 0 },
        { version },
        version > 0 ? { value: valueSeen } : { exists: false },
      ]),
    };
  }

  async #read(name: string, client: RaftreeClient): Promise<void> {
    const key = this.#key();
    const level = this.#level();
    this.#cluster.coverage.count(COVERAGE_OF[level]);
    await this.#record(name, [{ kind: 'read', key, value: '' }], async () => {
      const found = await client.get(key, { level, ...this.#whims.next() });
      return { index: 0, answers: [this.#shown(key, found)] };
    });
  }

  #level(): keyof typeof COVERAGE_OF {
    const level = this.#random.pick(['linearizable', 'linearizable', 'lease', 'follower'] as const);
    return level === 'lease' && !this.#options.hasLeaseReads ? 'linearizable' : level;
  }

  /** A lease read goes to a node that believes that it leads. */
  async #directRead(name: string, direct: Direct, consistency: 'lease' | 'follower'): Promise<void> {
    const key = this.#key();
    const { references, machines } = this.#cluster;
    const leaders = consistency === 'lease' ? this.#cluster.leadersOf(references.ownerOf(key)) : [];
    const asked = leaders.length > 0 ? leaders : machines;
    await this.#directReadAt(this.#random.pick(asked).endpoint, name, direct, consistency, key);
  }

  async #directReadAt(
    endpoint: string,
    name: string,
    direct: Direct,
    consistency: Consistency,
    key: string,
  ): Promise<void> {
    await this.#record(name, [{ kind: 'read', key, value: '' }], async () => {
      const answer = await direct.ask(endpoint, {
        type: 'get',
        tablet: this.#hasSeveralTablets ? this.#cluster.references.ownerOf(key) : 0,
        consistency,
        key: Buffer.from(key),
        omitValue: false,
      });
      if (typeof answer === 'string')
        throw new RaftreeClientError(answer, `a ${consistency} read at ${endpoint}`, 'notCommitted');
      if (answer.type !== 'getReply') throw new Error(`${answer.type} is no answer to a get`);
      if (consistency === 'follower') this.#cluster.coverage.count('follower reads');
      return { index: 0, answers: [this.#shown(key, answer.found ? answer : undefined)] };
    });
  }

  async #staleRead(name: string, client: RaftreeClient): Promise<void> {
    const key = this.#key();
    const node = this.#random.pick(this.#cluster.machines);
    this.#cluster.coverage.count('stale reads');
    await this.#record(
      name,
      [{ kind: 'staleRead', key, value: '' }],
      async () => {
        const found = await client.get(key, { stale: true, endpoint: node.endpoint, timeoutMs: 500 });
        return { index: 0, answers: [answerOf(found)] };
      },
      () => node.processName,
    );
  }

  /** A scan reads each key at some moment between call and return, not all keys at one moment. */
  async #scan(name: string, client: RaftreeClient): Promise<void> {
    const keys = this.#keys;
    this.#cluster.coverage.count('scans');
    const reverse = this.#random.chance(0.5);
    const level = this.#level();
    await this.#record(
      name,
      keys.map((key) => ({ kind: 'read', key, value: '' })),
      async () => {
        const found = new Map<string, KeyAnswer>();
        for await (const { key, value, version } of client.scan({
          ...{ prefix: 'k', reverse, level },
          ...this.#whims.next(),
        }))
          found.set(key.toString(), answerOf({ value, version }));
        if (found.size > this.#options.pageEntries) this.#cluster.coverage.count('scans of several pages');
        return { index: 0, answers: keys.map((key) => found.get(key) ?? answerOf(undefined)) };
      },
    );
  }

  #shown(key: string, found: { readonly value: Buffer; readonly version: number } | undefined): KeyAnswer {
    const answer = answerOf(found);
    this.#seen.set(key, { version: answer.version, value: answer.value ?? '' });
    return answer;
  }

  async #record(
    name: string,
    operations: readonly KeyOperation[],
    work: () => Promise<{ readonly index: number; readonly answers: readonly KeyAnswer[] }>,
    processName: () => string | undefined = () => undefined,
    lane?: string,
  ): Promise<void> {
    const { trace } = this.#cluster;
    const before = processName();
    const call = this.#history.begin(name, this.#cluster.nowMs, operations, before, lane);
    trace.record(name, 'call', { operations: operations.map(inShort) });
    try {
      const { index, answers } = await work();
      // It is not known which of two processes answered: nothing can be checked.
      if (before !== processName()) this.#forget(call);
      this.#history.end(call, this.#cluster.nowMs, { type: 'ok', index, answers });
      trace.record(name, 'return', {
        operations: operations.map(inShort),
        index,
        answers: answers.map(short),
      });
    } catch (error) {
      const { code, outcome } = this.#failed(name, error);
      this.#history.end(call, this.#cluster.nowMs, { type: outcome, code });
      trace.record(name, 'error', { operations: operations.map(inShort), code, outcome });
    }
  }

  /** Throws what is no error of the client library. */
  #failed(name: string, error: unknown): RaftreeClientError {
    if (!(error instanceof RaftreeClientError)) throw error;
    const { code, outcome } = error;
    if (outcome === 'unknown') this.#cluster.coverage.count('outcomes unknown');
    if (code === 'SPANS_TABLETS') this.#cluster.coverage.count('batches that span tablets');
    // One is left where all were merged, and the others are named by who does not know it yet.
    const hadSeveral = this.#hasSeveralTablets || this.#cluster.references.merges > 0;
    const isExpected = EXPECTED_CODES.has(code) || (hadSeveral && REFUSED_BY_TABLETS.has(code));
    if (!isExpected) this.#cluster.unexpectedAnswer(name, code, error.message);
    return error;
  }

  #forget(call: HistoryCall): void {
    this.#history.calls.splice(this.#history.calls.indexOf(call), 1);
  }
}

function tokenOnly(value: string): string {
  return value.slice(0, value.indexOf(';') + 1);
}

function answerOf(found: { readonly value: Buffer; readonly version: number } | undefined): KeyAnswer {
  return found
    ? { applied: true, version: found.version, value: found.value.toString('latin1') }
    : { applied: true, version: 0 };
}

function toBatchOperation(operation: KeyOperation): BatchOperation {
  const { kind, key, value, ttlMs } = operation;
  const condition = toCondition(operation);
  if (kind === 'check') return { action: 'check', key, condition: condition ?? { expectedVersion: 0 } };
  const conditional = condition ? { condition } : {};
  if (kind === 'delete') return { action: 'delete', key, ...conditional };
  return { action: kind === 'append' ? 'append' : 'put', key, value, ttlMs, ...conditional };
}

function toCondition({ expected }: KeyOperation): Condition | undefined {
  if (!expected || 'exists' in expected) return expected;
  if ('version' in expected) return { expectedVersion: expected.version };
  return { expectedValue: Buffer.from(expected.value, 'latin1') };
}

function inShort({ kind, key, value }: KeyOperation): string {
  return `${kind} ${key}${value === '' ? '' : ` ${tokenOnly(value)}`}`;
}

function short({ applied, version }: KeyAnswer): string {
  return `${applied ? 'yes' : 'no'} ${version}`;
}
