/** What a leader proposes for keys with deadlines: when, how much at once, and nothing without them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeError } from '../../src/env/errors.js';
import { commandOf, type ExpiredKey, encodeExpiry, encodeWrite } from '../../src/kv/command.js';
import { Expirer, MAX_KEY_BYTES_PER_EXPIRY, MAX_KEYS_PER_EXPIRY } from '../../src/kv/expirer.js';
import { deadlineKey } from '../../src/kv/keys.js';
import { type CommandResult, KvStateMachine } from '../../src/kv/kv-state-machine.js';
import { STAMP_INTERVAL_MS } from '../../src/kv/replicated-time.js';
import type { WriteOperation } from '../../src/kv/requests.js';
import type { Role } from '../../src/raft/types.js';
import { Scheduler } from '../../src/sim/world/scheduler.js';
import { MAX_VALUE_BYTES, MemoryEngine, operation, write } from './kv-lab.js';

/** A group of one whose entries take `commitMs`. */
class Lab {
  readonly scheduler = new Scheduler();
  readonly engine = new MemoryEngine();
  readonly machine = new KvStateMachine(this.engine, this.engine.reopen);
  readonly proposed: { readonly atMs: number; readonly keys: number; readonly keyBytes: number }[] = [];
  role: Role = 'leader';
  term = 1;
  commitMs = 2;
  failure: RaftreeError | undefined;
  readonly faults: unknown[] = [];
  readonly expirer: Expirer;
  readonly #log: { readonly body: Uint8Array; readonly done: (result: CommandResult) => void }[] = [];

  constructor(role: Role = 'leader') {
    this.role = role;
    const lab = this;
    this.expirer = new Expirer({
      clock: this.scheduler,
      timers: this.scheduler,
      stateMachine: this.machine,
      onFault: (error) => lab.faults.push(error),
      replica: {
        get role() {
          return lab.role;
        },
        get term() {
          return lab.term;
        },
        propose: async (body) => {
          const command = commandOf(body);
          assert.ok(command.type === 'expiry');
          const keyBytes = command.keys.reduce((sum, { key }) => sum + key.length, 0);
          lab.proposed.push({ atMs: lab.nowMs, keys: command.keys.length, keyBytes });
          if (lab.failure) throw lab.failure;
          return { index: 0, result: await lab.#append(body) };
        },
      },
    });
  }

  get nowMs(): number {
    return this.scheduler.nowMs();
  }

  /** Where searches for deadlines begin from now on. */
  watchSearches(): Buffer[] {
    const begins: Buffer[] = [];
    const entries = this.engine.entries.bind(this.engine);
    this.engine.entries = (range) => {
      if (range.gte) begins.push(Buffer.from(range.gte));
      return entries(range);
    };
    return begins;
  }

  #append(body: Uint8Array): Promise<CommandResult> {
    return new Promise((done) => {
      this.#log.push({ body, done });
      this.scheduler.after(this.commitMs, () => {
        const next = this.#log.shift();
        if (!next) return;
        const entry = { term: this.term, kind: 'command', body: next.body } as const;
        const [result] = this.machine.apply(this.machine.appliedIndex + 1, [entry]) as CommandResult[];
        next.done(result as CommandResult);
      });
    });
  }

  write(...operations: WriteOperation[]): Promise<CommandResult> {
    return this.#append(encodeWrite(MAX_VALUE_BYTES, write(operations), this.scheduler));
  }

  expire(keys: readonly ExpiredKey[], stampMs: number): Promise<CommandResult> {
    return this.#append(encodeExpiry(keys, { nowMs: () => stampMs }));
  }

  run(ms: number): Promise<void> {
    return this.scheduler.runFor(ms);
  }

  has(key: string): boolean {
    return this.machine.get(Buffer.from(key)) !== undefined;
  }
}

const put = (key: string, ttlMs?: number) =>
  operation('put', key, 'v', ttlMs === undefined ? {} : { life: { change: 'set', ttlMs, when: 'always' } });

test('without deadlines nothing is proposed, and no timer runs', async () => {
  const lab = new Lab();
  void lab.write(put('a'));
  assert.not(await lab.scheduler.runUntil(() => false));
  assert.equal([lab.proposed.length, lab.nowMs], [0, lab.commitMs]);
});

test('a key is gone when its life is over, not before; then the group is left alone', async () => {
  const lab = new Lab();
  await lab.run(777);
  void lab.write(put('a', 2000));
  await lab.run(1999);
  assert.ok(lab.has('a'));
  await lab.run(1 + lab.commitMs + 2);
  assert.not(lab.has('a'));
  await lab.run(100);
  assert.equal([lab.machine.keysWithDeadline, lab.machine.expiredKeys], [0, 1]);
  const times = lab.proposed.map(({ atMs }) => atMs);
  assert.ok(
    times.every((atMs, i) => atMs - (times[i - 1] ?? 777) <= STAMP_INTERVAL_MS + 5),
    times.join(),
  );
  assert.ok(times.length <= 5, times.join());
  assert.not(await lab.scheduler.runUntil(() => false));
  assert.is(lab.proposed.length, times.length);
});

test('a deadline that comes nearer, by another key or by an expire, is not missed', async () => {
  const lab = new Lab();
  void lab.write(put('far', 400), put('b', 60_000));
  await lab.run(100);
  void lab.write(put('near', 50));
  void lab.write(operation('expire', 'b', '', { life: { change: 'set', ttlMs: 80, when: 'always' } }));
  await lab.run(60);
  assert.equal([lab.has('near'), lab.has('b'), lab.has('far')], [false, true, true]);
  await lab.run(30);
  assert.equal([lab.has('b'), lab.has('far')], [false, true]);
});

test('writes that bring stamps spare the leader its own', async () => {
  const lab = new Lab();
  void lab.write(put('a', 60_000));
  for (let i = 0; i < 20; i++) {
    await lab.run(250);
    void lab.write(put('a', 60_000));
  }
  assert.is(lab.proposed.length, 0);
});

test('only a leader proposes, and a new one at once', async () => {
  const lab = new Lab('follower');
  void lab.write(put('a', 1000));
  await lab.run(5000);
  assert.equal([lab.proposed.length, lab.has('a')], [0, true]);
  lab.role = 'leader';
  lab.term = 2;
  lab.expirer.statusChanged();
  await lab.run(5);
  assert.equal([lab.proposed.length, lab.has('a')], [1, true], 'the time between leaders does not count');
  await lab.run(1010);
  assert.not(lab.has('a'));
  lab.role = 'follower';
  lab.expirer.statusChanged();
  void lab.write(put('b', 10));
  const { length } = lab.proposed;
  await lab.run(2000);
  assert.is(lab.proposed.length, length);
});

test('a key that is written while its expiry is under way stays', async () => {
  const lab = new Lab();
  lab.commitMs = 50;
  void lab.write(put('a', 100), put('b', 100));
  await lab.scheduler.runUntil(() => lab.proposed.some(({ keys }) => keys === 2));
  void lab.write(put('a'));
  await lab.run(49);
  assert.equal([lab.has('a'), lab.has('b')], [true, true], 'neither is applied yet');
  await lab.run(500);
  assert.equal([lab.has('a'), lab.has('b'), lab.machine.expiredKeys], [true, false, 2]);
  // The expiry came first: it deleted both, and the put made one anew.
});

test('many keys at once: one bounded expiry at a time, with a rest as long after it', async () => {
  const lab = new Lab();
  const many = 10 * MAX_KEYS_PER_EXPIRY + 1;
  for (let i = 0; i < many; i++) void lab.write(put(`k${i}`, 1000));
  await lab.run(1010);
  lab.commitMs = 30;
  const before = lab.proposed.length;
  await lab.scheduler.runUntil(() => lab.machine.keysWithDeadline === 0);
  const during = lab.proposed.slice(before);
  assert.ok(during.every(({ keys }) => keys <= MAX_KEYS_PER_EXPIRY));
  assert.is(lab.machine.expiredKeys, many);
  for (let i = 2; i < during.length; i++) {
    const betweenMs = (during[i]?.atMs ?? 0) - (during[i - 1]?.atMs ?? 0);
    assert.ok(betweenMs >= 60, `${betweenMs}`);
  }
});

const atOnce = (count: number) => Array.from({ length: count }, (_, i) => put(`${1000 + i}`, 1000));

test('a search begins behind what was deleted, also among keys of one deadline', async () => {
  const lab = new Lab();
  void lab.write(...atOnce(5 * MAX_KEYS_PER_EXPIRY), put('late', 90_000));
  await lab.run(900);
  const begins = lab.watchSearches();
  await lab.run(200);
  assert.is(lab.machine.expiredKeys, 5 * MAX_KEYS_PER_EXPIRY);
  for (const first of [1, 2, 3, 4].map((i) =>
    deadlineKey(1000, Buffer.from(`${1000 + i * MAX_KEYS_PER_EXPIRY}`)),
  ))
    assert.ok(
      begins.some((begin) => begin.equals(first)),
      first.toString('latin1'),
    );
});

test('a new leader does not begin with what the one before has deleted', async () => {
  const lab = new Lab('follower');
  void lab.write(...atOnce(3), put('late', 90_000));
  await lab.run(10);
  // The leader looked before this one, and proposed after it.
  void lab.write(put('1000.5', 990));
  const deadlines = (...keys: string[]) => keys.map((key) => ({ key: Buffer.from(key), deadlineMs: 1000 }));
  void lab.expire(deadlines('1000', '1001'), 1100);
  await lab.run(10);
  void lab.expire(deadlines('1002'), 1200);
  await lab.run(10);
  assert.is(lab.machine.expiredKeys, 3);
  const begins = lab.watchSearches();
  lab.role = 'leader';
  lab.expirer.statusChanged();
  await lab.run(3000);
  assert.is(lab.machine.keysWithDeadline, 1);
  assert.is(begins[0]?.toString('hex'), deadlineKey(1000, Buffer.from('1000.5')).toString('hex'));
});

test('long keys: an expiry has a bounded size', async () => {
  const lab = new Lab();
  for (let i = 0; i < 40; i++) void lab.write(put(`${i}`.padEnd(4000, 'x'), 100));
  await lab.run(400);
  assert.is(lab.machine.expiredKeys, 40);
  assert.ok(lab.proposed.every(({ keyBytes }) => keyBytes <= MAX_KEY_BYTES_PER_EXPIRY));
  assert.ok(lab.proposed.some(({ keyBytes }) => keyBytes > MAX_KEY_BYTES_PER_EXPIRY / 2));
});

test('an expiry that is refused is tried again, without haste', async () => {
  const lab = new Lab();
  void lab.write(put('a', 100));
  await lab.run(50);
  lab.failure = new RaftreeError('OVERLOADED', 'too much');
  await lab.run(1000);
  assert.ok(lab.has('a'));
  assert.ok(lab.proposed.length >= 5 && lab.proposed.length <= 12, `${lab.proposed.length}`);
  lab.failure = undefined;
  await lab.run(200);
  assert.not(lab.has('a'));
  assert.is(lab.machine.keysWithDeadline, 0);
});

test('deadlines that cannot be read are reported, the time goes on, and it is tried again', async () => {
  const lab = new Lab();
  void lab.write(put('a', 1000), put('b', 1200));
  await lab.run(100);
  const { entries } = lab.engine;
  lab.engine.entries = () => {
    throw new RaftreeError('CORRUPTION', 'a block is damaged');
  };
  lab.expirer.statusChanged();
  await lab.run(2000);
  assert.equal([lab.has('a'), lab.has('b'), lab.machine.keysWithDeadline], [false, false, 2]);
  assert.ok(lab.faults.length >= 2 && lab.faults.length < 20, `${lab.faults.length}`);
  lab.engine.entries = entries.bind(lab.engine);
  await lab.run(STAMP_INTERVAL_MS + 10);
  assert.is(lab.machine.keysWithDeadline, 0);
});

test('after a snapshot, the deadlines in it count', async () => {
  const lab = new Lab();
  const other = new Lab('follower');
  void other.write(put('a', 300));
  await other.run(100);
  lab.engine.checkpoints.set('snapshot', new Map(other.engine.stored));
  await lab.machine.restore('snapshot');
  lab.term = 2;
  await lab.run(310);
  assert.equal([lab.has('a'), lab.machine.expiredKeys], [false, 1]);
});

test('closed, it proposes nothing', async () => {
  const lab = new Lab();
  void lab.write(put('a', 300));
  await lab.run(10);
  lab.expirer.close();
  await lab.run(5000);
  assert.is(lab.proposed.length, 0);
});

test.run();
