/** When a group may fall quiet, and what wakes it: three cores, whose disks and state machines answer at once. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { configurationOf } from '../../src/raft/configuration.js';
import { Raft } from '../../src/raft/raft.js';
import { EMPTY_HARD_STATE, FIRST_BASE, type Input, type Message } from '../../src/raft/types.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { LAB_OPTIONS } from './core-lab.js';

const NODES = [1, 2, 3] as const;
const EPOCH = 77;
const AFTER_MS = 30;
const { electionTimeoutMinMs, electionTimeoutMaxMs, heartbeatMs } = LAB_OPTIONS;

class Trio {
  nowMs = 0;
  readonly cores: ReadonlyMap<number, Raft>;
  /** Its time does not go on, and it gets nothing. */
  down = 0;
  isLost: (from: number, to: number, message: Message) => boolean = () => false;
  /** Of these nodes entries are applied late, by `applyAll`. */
  applies = new Set<number>(NODES);
  readonly sent: string[] = [];
  #answered = 0;
  #nextRead = 1;

  constructor(seed = 1) {
    this.cores = new Map(
      NODES.map((id) => {
        const random = new SeededRandom(10 * seed + id);
        const options = {
          ...{ ...LAB_OPTIONS, id, random: () => random.float() },
          quiet: { afterMs: AFTER_MS, epoch: () => EPOCH },
        };
        const base = { ...FIRST_BASE, configuration: configurationOf([...NODES]) };
        const state = { hardState: EMPTY_HARD_STATE, base, entries: [], applied: 1, restarted: false };
        return [id, new Raft(options, state, 0)];
      }),
    );
    this.#until(() => this.leader !== undefined);
  }

  core(id: number): Raft {
    const core = this.cores.get(id);
    if (!core) throw new Error(`there is no node ${id}`);
    return core;
  }

  get leader(): number | undefined {
    return NODES.find((id) => id !== this.down && this.core(id).role === 'leader');
  }

  get follower(): number {
    return NODES.find((id) => id !== this.leader) ?? 0;
  }

  get quiet(): number[] {
    return NODES.filter((id) => this.core(id).quietness !== undefined);
  }

  get term(): number {
    return Math.max(...NODES.map((id) => this.core(id).term));
  }

  step(id: number, input: Input): void {
    this.core(id).step(this.nowMs, input);
    this.#drain();
  }

  /** Of the leader: whether a lease read is answered without a round. */
  hasLease(): boolean {
    const before = this.#answered;
    const leader = this.leader ?? 0;
    this.core(leader).step(this.nowMs, { type: 'read', id: this.#nextRead++, method: 'lease' });
    this.#takeOf(leader, () => true);
    return this.#answered > before;
  }

  run(ms: number): void {
    for (let i = 0; i < ms; i++) {
      this.nowMs++;
      for (const id of NODES) if (id !== this.down) this.core(id).step(this.nowMs, { type: 'tick' });
      this.#drain();
    }
  }

  untilQuiet(): this {
    this.#until(() => this.quiet.length === NODES.length);
    return this;
  }

  #until(condition: () => boolean): void {
    for (let i = 0; !condition(); i++) {
      if (i > 1000) throw new Error('it did not happen');
      this.run(1);
    }
  }

  #drain(): void {
    for (let isBusy = true; isBusy; ) {
      isBusy = false;
      for (const id of NODES) isBusy = this.#takeOf(id, this.isLost) || isBusy;
    }
  }

  #takeOf(id: number, isLost: Trio['isLost']): boolean {
    const core = this.core(id);
    const output = core.take(this.nowMs);
    if (!output) return false;
    if (output.append) core.step(this.nowMs, { type: 'persisted', batch: output.append.batch });
    if (output.apply && this.applies.has(id))
      core.step(this.nowMs, { type: 'applied', index: output.apply.last });
    this.#answered += output.reads.length;
    for (const { to, message } of output.send) {
      if (message.type === 'append') {
        const { first, last, ...header } = message;
        const entries = Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => ({
          term: core.termAt(first + i) ?? 0,
          kind: 'noop' as const,
          body: new Uint8Array(0),
        }));
        this.#deliver(id, to, { ...header, entries }, isLost);
      } else this.#deliver(id, to, message, isLost);
    }
    return true;
  }

  #deliver(from: number, to: number, message: Message, isLost: Trio['isLost']): void {
    this.sent.push(`${from} ${to} ${message.type}`);
    if (from === this.down || to === this.down || isLost(from, to, message)) return;
    this.core(to).step(this.nowMs, { type: 'message', from, message });
  }
}

const LONG_MS = 20 * electionTimeoutMaxMs;

test('a quiet group sends nothing and keeps its leader; ticks are not needed', () => {
  const trio = new Trio().untilQuiet();
  const { leader, term } = trio;
  trio.sent.length = 0;
  trio.run(LONG_MS);
  assert.equal(trio.sent, []);
  assert.is(trio.leader, leader);
  assert.is(trio.term, term);
  for (const id of NODES) assert.is(trio.core(id).tickDueMs, Number.POSITIVE_INFINITY);
});

test('without the option a group never falls quiet', () => {
  const random = new SeededRandom(1);
  const base = { ...FIRST_BASE, configuration: configurationOf([1]) };
  const state = { hardState: EMPTY_HARD_STATE, base, entries: [], applied: 1, restarted: false };
  const core = new Raft({ ...LAB_OPTIONS, id: 1, random: () => random.float() }, state, 0);
  for (let nowMs = 0; nowMs < LONG_MS; nowMs++) {
    core.step(nowMs, { type: 'tick' });
    const { append, apply } = core.take(nowMs) ?? {};
    if (append) core.step(nowMs, { type: 'persisted', batch: append.batch });
    if (apply) core.step(nowMs, { type: 'applied', index: apply.last });
    assert.not(core.quietness);
  }
  assert.is(core.role, 'leader');
});

test('the lease of a quiet leader runs out; a read wakes all', () => {
  const trio = new Trio().untilQuiet();
  trio.run(LONG_MS);
  assert.not(trio.hasLease());
  // That round was lost; the next heartbeat comes soon.
  trio.run(heartbeatMs + 1);
  assert.equal(trio.quiet, []);
  assert.ok(trio.hasLease());
  trio.untilQuiet();
});

test('a group is quiet only when all members have accepted, and hears each other again when one has not', () => {
  const trio = new Trio();
  const { leader = 0, follower } = trio;
  trio.isLost = (from, _to, { type }) => from === follower && type === 'quietReply';
  trio.run(LONG_MS);
  assert.not(trio.quiet.includes(leader));
  assert.is(trio.term, 1);
  trio.isLost = () => false;
  trio.untilQuiet();
});

test('a member that has not applied everything stays awake', () => {
  const trio = new Trio();
  const { leader = 0, follower } = trio;
  trio.applies.delete(follower);
  trio.step(leader, { type: 'propose', bodies: [Buffer.from('x')] });
  trio.run(LONG_MS);
  assert.not(trio.quiet.includes(follower));
  assert.not(trio.quiet.includes(leader));
  assert.is(trio.term, 1);
});

test('while there is work nobody is quiet', () => {
  const trio = new Trio();
  for (let i = 0; i < 100; i++) {
    trio.step(trio.leader ?? 0, { type: 'propose', bodies: [Buffer.from('x')] });
    trio.run(AFTER_MS - heartbeatMs);
    assert.equal(trio.quiet, []);
  }
});

for (const seed of [1, 2, 3, 4, 5]) {
  test(`a follower that is woken alone gets heartbeats; nobody is elected (seed ${seed})`, () => {
    const trio = new Trio(seed).untilQuiet();
    const { leader, follower, term } = trio;
    trio.step(follower, { type: 'wake', isSilent: true });
    trio.run(LONG_MS);
    assert.is(trio.leader, leader);
    assert.is(trio.term, term);
    assert.is(trio.sent.filter((sent) => sent.endsWith('requestVote')).length, requestsBefore(trio.sent));
  });

  test(`a candidate that misses its leader wakes it, and is not elected (seed ${seed})`, () => {
    const trio = new Trio(seed).untilQuiet();
    const { leader = 0, follower, term } = trio;
    // It has forgotten that it was quiet, as after a restart, and cannot say so.
    trio.isLost = (from, _to, { type }) => from === follower && type === 'quietReply';
    trio.step(follower, { type: 'wake', isSilent: false });
    trio.run(LONG_MS);
    assert.is(trio.leader, leader);
    assert.is(trio.term, term);
  });

  test(`the leader is lost: one woken follower wakes the other by asking for its vote (seed ${seed})`, () => {
    const trio = new Trio(seed).untilQuiet();
    const { leader = 0, follower, term } = trio;
    trio.down = leader;
    trio.step(follower, { type: 'wake', isSilent: true });
    trio.run(4 * electionTimeoutMaxMs);
    assert.ok(trio.leader !== undefined && trio.leader !== leader);
    assert.ok(trio.term > term);
  });

  test(`a leader that is woken without a quorum steps down (seed ${seed})`, () => {
    const trio = new Trio(seed).untilQuiet();
    const { leader = 0 } = trio;
    trio.isLost = (from, to) => from === leader || to === leader;
    trio.run(LONG_MS);
    trio.step(leader, { type: 'wake', isSilent: true });
    trio.run(electionTimeoutMinMs);
    assert.is(trio.core(leader).role, 'leader', 'the others have an election timeout to answer');
    trio.run(2 * heartbeatMs);
    assert.is(trio.core(leader).role, 'follower');
  });
}

/** Those of the first election. */
function requestsBefore(sent: readonly string[]): number {
  const quiet = sent.findIndex((message) => message.endsWith('quietOffer'));
  return sent.slice(0, quiet).filter((message) => message.endsWith('requestVote')).length;
}

test.run();
