/** Watchers of a state machine: what they are told against what it applied, whatever they take and whenever. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeExpiry } from '../../../src/kv/command.js';
import { KvStateMachine } from '../../../src/kv/kv-state-machine.js';
import { type Change, ChangeHistory } from '../../../src/kv/watch/change-history.js';
import { HistoryBudget } from '../../../src/kv/watch/history-budget.js';
import type { KeyRange } from '../../../src/kv/watch/range-index.js';
import type { Watcher } from '../../../src/kv/watch/watcher.js';
import { Watches } from '../../../src/kv/watch/watches.js';
import type { Entry } from '../../../src/raft/types.js';
import { SeededRandom } from '../../../src/sim/world/seeded-random.js';
import { MemoryEngine, operation, write, writeEntry } from '../kv-lab.js';

const ALL: KeyRange = { from: Buffer.alloc(0), to: undefined };

/** A state machine with watchers, of which each turn ends when the test says so. */
class Lab {
  readonly clock = { ms: 1000, nowMs: () => this.clock.ms };
  readonly budget: HistoryBudget;
  readonly history: ChangeHistory;
  readonly watches: Watches;
  engine = new MemoryEngine();
  readonly machine: KvStateMachine;
  readonly #turns: (() => void)[] = [];
  readonly #timers: (() => void)[] = [];

  constructor(maxBytes = 1024 * 1024, keepMs = 60_000) {
    this.budget = new HistoryBudget(this.clock, { maxBytes, keepMs });
    this.history = new ChangeHistory(this.budget);
    this.watches = new Watches({
      timers: {
        endOfTurn: (run) => this.#turns.push(run),
        after: (_delayMs, run) => {
          this.#timers.push(run);
          return { cancel: () => this.#timers.splice(this.#timers.indexOf(run), 1) };
        },
      },
      random: new SeededRandom(1),
      history: this.history,
    });
    this.machine = new KvStateMachine(this.engine, this.engine.reopen, 0, () => {}, undefined, this.history);
  }

  apply(...entries: Entry[]): void {
    const results = this.machine.apply(this.machine.appliedIndex + 1, entries);
    assert.ok(Array.isArray(results), 'this engine answers at once');
  }

  put(key: string, value: string): void {
    this.apply(writeEntry(write([operation('put', key, value)])));
  }

  endTurn(): void {
    for (const run of this.#turns.splice(0)) run();
  }

  tick(): void {
    for (const run of this.#timers.splice(0)) run();
  }
}

function shown({ type, key, value, version }: Change): string {
  return `${version} ${type} ${key}${type === 'put' ? `=${value}` : ''}`;
}

/** Takes all that there is, in pages. */
function takeAll(watcher: Watcher, maxBytes = 1_000_000): string[] {
  const told: string[] = [];
  while (watcher.hasMore) {
    const page = watcher.peek(maxBytes);
    if (page.type === 'ended') return [...told, `${page.code} ${page.fromVersion ?? ''}`.trim()];
    told.push(...page.changes.map(shown));
    watcher.advance(page);
  }
  return told;
}

test('a watcher is told each change of its range once, in order, from the version that it asks for', () => {
  const lab = new Lab();
  lab.put('a1', 'x');
  lab.put('b1', 'y');
  const key = lab.watches.add({ from: Buffer.from('a1'), to: Buffer.from('a1\0') }, 1, () => {});
  const prefix = lab.watches.add({ from: Buffer.from('a'), to: Buffer.from('b') }, undefined, () => {});
  const ahead = lab.watches.add(ALL, 5, () => {});
  lab.apply(
    writeEntry(
      write([operation('put', 'a2', '1'), operation('delete', 'a1'), operation('append', 'b1', '!')]),
    ),
  );
  lab.apply(writeEntry(write([operation('put', 'a3', '', { condition: 'exists' })])));
  lab.put('a1', 'again');
  assert.equal(takeAll(key), ['1 put a1=x', '3 delete a1', '5 put a1=again']);
  assert.equal(takeAll(prefix), ['3 put a2=1', '3 delete a1', '5 put a1=again']);
  assert.equal(takeAll(ahead), ['5 put a1=again']);
  assert.equal(
    [key, prefix, ahead].map(({ fromVersion }) => fromVersion),
    [1, 3, 5],
  );
  assert.is(key.throughVersion, 5);
});

test('when a tablet has ended, each watcher is told so behind the last change, also one that comes later', () => {
  const lab = new Lab();
  const ready: string[] = [];
  const [quiet, slow] = ['quiet', 'slow'].map((name) =>
    lab.watches.add(ALL, undefined, () => ready.push(name)),
  );
  assert.ok(quiet && slow);
  lab.put('a', '1');
  lab.endTurn();
  assert.equal(takeAll(quiet), ['1 put a=1']);
  for (let i = 2; i <= 100; i++) lab.put('b', `${i}`);
  assert.is(takeAll(quiet).length, 99);
  lab.endTurn();
  ready.length = 0;
  lab.watches.retire({ type: 'ended', code: 'WRONG_TABLET', message: 'it has ended' });
  lab.endTurn();
  assert.equal(ready, ['quiet'], 'the other knows that there is something');
  assert.equal([quiet.isEnded, slow.isEnded], [true, false]);
  assert.equal(takeAll(quiet), ['WRONG_TABLET']);
  assert.equal([takeAll(slow).length, slow.isEnded], [101, true]);
  const late = lab.watches.add(ALL, 100, () => {});
  assert.equal(takeAll(late), ['100 put b=100', 'WRONG_TABLET']);
  assert.equal(takeAll(lab.watches.add(ALL, undefined, () => {})), ['WRONG_TABLET']);
});

test('what is in the engine already is told, and nothing before', async () => {
  const lab = new Lab();
  let finish: (sequence: number) => void = () => {};
  lab.engine.write = () =>
    new Promise<number>((resolve) => {
      finish = resolve;
    }) as unknown as number;
  const watcher = lab.watches.add(ALL, undefined, () => {});
  const applied = lab.machine.apply(1, [writeEntry(write([operation('put', 'a', '1')]))]);
  assert.is(watcher.hasMore, false);
  finish(1);
  await applied;
  assert.equal(takeAll(watcher), ['1 put a=1']);
});

test('an expiry is told as one, with the version of its entry; another deadline is no change of the key', () => {
  const lab = new Lab();
  const at = (ms: number) => ({ nowMs: () => ms });
  const life = { change: 'set', ttlMs: 10, when: 'always' } as const;
  const watcher = lab.watches.add(ALL, 1, () => {});
  lab.apply(writeEntry(write([operation('put', 'a', '1', { life })])));
  lab.apply(writeEntry(write([operation('expire', 'a', '', { life: { ...life, ttlMs: 20 } })])));
  lab.apply({
    kind: 'command',
    term: 1,
    body: encodeExpiry([{ key: Buffer.from('a'), deadlineMs: 20 }], at(50)),
  });
  lab.apply(writeEntry(write([operation('put', 'b', '1')])));
  lab.apply(writeEntry(write([operation('expire', 'b', '', { life: { ...life, ttlMs: 0 } })])));
  assert.equal(takeAll(watcher), ['1 put a=1', '3 expire a', '4 put b=1', '5 delete b']);
});

test('who is told of a change is told once, until it has taken all', () => {
  const lab = new Lab();
  const calls: string[] = [];
  const range = { from: Buffer.from('a'), to: Buffer.from('b') };
  const watcher = lab.watches.add(range, undefined, () => calls.push('a'));
  const gone = lab.watches.add(range, undefined, () => calls.push('gone'));
  lab.watches.add({ from: Buffer.from('b'), to: undefined }, undefined, () => calls.push('b'));
  lab.put('a1', '1');
  lab.put('a2', '2');
  assert.equal(calls, [], 'not while entries are applied');
  gone.close();
  lab.endTurn();
  assert.equal(calls, ['a']);
  lab.put('a3', '3');
  lab.endTurn();
  assert.equal(calls, ['a']);
  assert.equal(takeAll(watcher), ['1 put a1=1', '2 put a2=2', '3 put a3=3']);
  lab.put('a4', '4');
  lab.endTurn();
  assert.equal(calls, ['a', 'a']);
  assert.is(lab.watches.size, 2);
});

test('a page is bounded, and says through which version it is complete: a write of several keys may lie on two', () => {
  const lab = new Lab();
  const watcher = lab.watches.add(ALL, undefined, () => {});
  lab.put('a', '1');
  lab.apply(writeEntry(write([operation('put', 'b', '1'), operation('put', 'c', '1')])));
  const first = watcher.peek(2 * (2 + 32));
  assert.ok(first.type === 'changes');
  assert.equal(first.changes.map(shown), ['1 put a=1', '2 put b=1']);
  assert.equal([first.throughVersion, first.hasMore], [1, true]);
  assert.equal(watcher.peek(68), first, 'the same page, until it was told');
  watcher.advance(first);
  const second = watcher.peek(1);
  assert.ok(second.type === 'changes');
  assert.equal([second.changes.map(shown), second.throughVersion, second.hasMore], [['2 put c=1'], 2, false]);
});

test('a slow watcher is told that it fell behind, and from where the history is complete; others are not held up', () => {
  const lab = new Lab(8 * 1024);
  const slow = lab.watches.add(ALL, undefined, () => {});
  const fast = lab.watches.add(ALL, undefined, () => {});
  const idle = lab.watches.add({ from: Buffer.from('z'), to: undefined }, undefined, () => {});
  let told = 0;
  for (let i = 0; i < 500; i++) {
    lab.put(`k${i}`, 'x'.repeat(50));
    told += takeAll(fast).length;
  }
  assert.is(told, 500);
  assert.ok(lab.budget.usedBytes <= 8 * 1024, `${lab.budget.usedBytes} bytes`);
  assert.equal([lab.watches.fellBehind, takeAll(idle), idle.throughVersion], [0, [], 500]);
  const oldest = lab.history.oldestVersion;
  assert.ok(oldest > 300 && oldest < 500);
  assert.equal(takeAll(slow), [`HISTORY_GONE ${oldest}`]);
  assert.is(lab.watches.fellBehind, 1);
  assert.equal(takeAll(lab.watches.add(ALL, oldest - 1, () => {})), [`HISTORY_GONE ${oldest}`]);
  assert.is(takeAll(lab.watches.add(ALL, oldest, () => {})).length, 501 - oldest);
});

test('what is too old is not kept, and what is younger is', () => {
  const lab = new Lab(1024 * 1024, 1000);
  for (let i = 1; i <= 100; i++) {
    lab.put(`k${i}`, 'x'.repeat(100));
    lab.clock.ms += 100;
  }
  const oldest = lab.history.oldestVersion;
  assert.ok(oldest > 50 && oldest <= 91, `${oldest}`);
  lab.clock.ms += 5000;
  assert.equal(takeAll(lab.watches.add(ALL, 100, () => {})), ['HISTORY_GONE 101']);
});

test('a history lets go of the largest, so that groups with few changes keep theirs', () => {
  const budget = new HistoryBudget({ nowMs: () => 0 }, { maxBytes: 64 * 1024, keepMs: 1000 });
  const [small, large] = [new ChangeHistory(budget), new ChangeHistory(budget)];
  const value = Buffer.alloc(200);
  for (let i = 1; i <= 2000; i++) {
    if (i === 1) small.add(0, i, Buffer.from('-k'), value);
    large.add(0, i, Buffer.from('-k'), value);
    for (const history of [small, large]) history.publish(i);
  }
  assert.ok(budget.usedBytes <= 64 * 1024, `${budget.usedBytes}`);
  assert.is(small.oldestVersion, 1);
  assert.ok(large.oldestVersion > 1000);
  large.close();
  assert.ok(budget.usedBytes <= 1024);
});

test('memory of which a page has views is not written over', () => {
  const lab = new Lab(256 * 1024);
  const watcher = lab.watches.add(ALL, undefined, () => {});
  lab.put('first', 'value');
  for (let i = 0; i < 5000; i++) lab.put(`k${i}`, 'x'.repeat(100));
  const kept: Change[] = [];
  for (let from = lab.history.oldestVersion; watcher.hasMore && kept.length === 0; ) {
    const late = lab.watches.add(ALL, from, () => {});
    const page = late.peek(100_000);
    assert.ok(page.type === 'changes');
    kept.push(...page.changes);
    from = page.throughVersion;
  }
  const before = kept.map(shown);
  for (let i = 0; i < 20_000; i++) lab.put(`m${i}`, 'y'.repeat(100));
  assert.equal(kept.map(shown), before);
});

test('a snapshot ends watchers that have a gap, and says where to start; who waits for later versions goes on', async () => {
  const source = new Lab();
  for (let i = 1; i <= 10; i++) source.put(`k${i}`, `${i}`);
  await source.machine.checkpoint('snapshot');
  const lab = new Lab();
  lab.put('k1', '1');
  lab.engine.checkpoints.set('snapshot', source.engine.checkpoints.get('snapshot') as Map<string, Buffer>);
  const calls: string[] = [];
  const behind = lab.watches.add(ALL, 2, () => calls.push('behind'));
  const pending = lab.watches.add(ALL, 1, () => calls.push('pending'));
  const waits = lab.watches.add(ALL, 11, () => calls.push('waits'));
  await lab.machine.restore('snapshot');
  lab.endTurn();
  assert.equal(calls, ['behind', 'pending']);
  assert.equal([takeAll(behind), takeAll(pending)], [['HISTORY_GONE 11'], ['HISTORY_GONE 11']]);
  lab.put('k11', '11');
  assert.equal(takeAll(waits), ['11 put k11=11']);
  assert.equal(takeAll(lab.watches.add(ALL, 1, () => {})), ['HISTORY_GONE 11']);
});

test('a node that cannot go on tells its watchers, also those that come later', () => {
  const lab = new Lab();
  const calls: number[] = [];
  const watcher = lab.watches.add(ALL, undefined, () => calls.push(1));
  lab.watches.close({ type: 'ended', code: 'SHUTTING_DOWN', message: 'over' });
  lab.endTurn();
  assert.equal([calls, takeAll(watcher)], [[1], ['SHUTTING_DOWN']]);
  assert.equal(takeAll(lab.watches.add(ALL, undefined, () => {})), ['SHUTTING_DOWN']);
});

test('watchers of any kind are told what was applied, or that they fell behind', () => {
  const outcomes = { told: 0, fellBehind: 0, cut: 0 };
  for (let seed = 1; seed <= 12; seed++) run(new SeededRandom(seed), outcomes);
  assert.ok(outcomes.told > 1500 && outcomes.fellBehind > 12 && outcomes.cut > 12, JSON.stringify(outcomes));
});

function run(random: SeededRandom, outcomes: { told: number; fellBehind: number; cut: number }): void {
  const lab = new Lab(random.pick([4096, 16_384, 1024 * 1024]));
  const expected: { version: number; key: string; text: string }[] = [];
  const watchers: {
    watcher: Watcher;
    from: number;
    prefix: string;
    told: string[];
    isSlow: boolean;
    isReady: boolean;
  }[] = [];
  for (let step = 0; step < 150; step++) {
    const entries = Array.from({ length: random.between(1, 4) }, (_, i) => {
      const version = lab.machine.appliedIndex + 1 + i;
      const keys = [
        ...new Set(
          Array.from(
            { length: random.between(1, 5) },
            () => `${random.between(0, 2)}${random.between(0, 9)}`,
          ),
        ),
      ];
      const value = 'v'.repeat(random.pick([1, 30, 600]));
      for (const key of keys) expected.push({ version, key, text: `${version} put ${key}=${value}` });
      return writeEntry(write(keys.map((key) => operation('put', key, value))));
    });
    lab.apply(...entries);
    if (random.chance(0.2)) {
      const prefix = random.pick(['', '0', '1', '17']);
      const after = `${prefix.slice(0, -1)}${String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1)}`;
      const range = { from: Buffer.from(prefix), to: prefix === '' ? undefined : Buffer.from(after) };
      const next = lab.machine.appliedIndex + 1;
      const from = random.pick([undefined, random.between(1, next), next + random.between(0, 20)]);
      const state = {
        from: from ?? next,
        prefix,
        told: [] as string[],
        isSlow: random.chance(0.3),
        isReady: true,
      };
      const watcher = lab.watches.add(range, from, () => {
        state.isReady = true;
      });
      watchers.push({
        watcher,
        ...state,
        get isReady() {
          return state.isReady;
        },
        set isReady(is) {
          state.isReady = is;
        },
      });
    }
    lab.endTurn();
    for (const each of watchers) {
      assert.ok(each.isReady || !each.watcher.hasMore, 'it is not told that there is something');
      if (random.chance(each.isSlow ? 0.95 : 0.3)) continue;
      const page = each.watcher.peek(random.pick([1, 100, 5000]));
      if (page.type === 'ended') {
        outcomes.fellBehind++;
        assert.ok(each.from < lab.history.oldestVersion);
        watchers.splice(watchers.indexOf(each), 1);
        each.watcher.close();
        break;
      }
      const wanted = expected.filter(
        ({ version, key }) => version >= each.from && key.startsWith(each.prefix),
      );
      each.told.push(...page.changes.map(shown));
      outcomes.told += page.changes.length;
      assert.equal(
        each.told,
        wanted.slice(0, each.told.length).map(({ text }) => text),
      );
      const through = wanted.filter(({ version }) => version <= page.throughVersion).length;
      assert.ok(through <= each.told.length, 'all up to that version was told');
      const isCut = wanted.length > each.told.length && through < each.told.length;
      if (isCut) outcomes.cut++;
      each.watcher.advance(page);
      each.isReady = page.hasMore;
      if (!page.hasMore) assert.is(each.told.length, wanted.length, 'nothing is missing');
    }
  }
}

test('a version that somebody names is no place in several logs; behind them, and of pieces, it is', () => {
  const lab = new Lab();
  for (let i = 1; i <= 6; i++) lab.put('a', `${i}`);
  const child = new ChangeHistory(lab.budget);
  lab.history.mergedThrough = 3;
  child.reset(lab.machine.appliedIndex);
  child.follow([lab.history], () => true);
  assert.is(child.mergedThrough, 3, 'a part has them too');
  const endOf = (from: number | undefined, isPlain: boolean) => {
    const watcher = lab.watches.add(ALL, from, () => {}, isPlain);
    const page = watcher.isEnded ? watcher.peek(1) : undefined;
    watcher.close();
    return page?.type === 'ended' ? `${page.code} ${page.fromVersion}` : 'told';
  };
  assert.equal([endOf(3, true), endOf(4, true), endOf(undefined, true)], ['HISTORY_GONE 4', 'told', 'told']);
  assert.equal([endOf(1, false), endOf(3, false)], ['told', 'told']);
});

test.run();
