/** Merges of parts of a tablet: what a child must know of the sessions, and what an absorbed one keeps. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeOpenSession } from '../../src/kv/command.js';
import { type CommandResult, KvStateMachine, type TabletOwner } from '../../src/kv/kv-state-machine.js';
import { encodeMergeStep, type MergeStep } from '../../src/kv/merge.js';
import { MAX_SESSIONS } from '../../src/kv/sessions.js';
import { encodeSplitEntry, splitPointOf } from '../../src/kv/split.js';
import { firstTablets, ONE_TABLET, type Tablet } from '../../src/placement/placement.js';
import { configurationOf } from '../../src/raft/configuration.js';
import type { Entry } from '../../src/raft/types.js';
import { MemoryEngine, operation, write, writeEntry } from './kv-lab.js';

const MEMBERS = configurationOf([1, 2, 3]);
const [ONLY] = firstTablets(ONE_TABLET).map((born): TabletOwner => ({ id: 1, by: 'range', born }));
const NO_TURN = async () => {};
const DRAWN = 2 ** 52;

class MergeEngine extends MemoryEngine {
  override readonly reopen = async (directory: string): Promise<MergeEngine> =>
    new MergeEngine(this.checkpoints.get(directory) ?? new Map(), this.checkpoints);
}

interface Lab {
  readonly engine: MemoryEngine;
  readonly machine: KvStateMachine;
}

function open(engine: MergeEngine, owner: TabletOwner | undefined): Lab {
  return { engine, machine: new KvStateMachine(engine, engine.reopen, 0, undefined, owner) };
}

async function apply({ machine }: Lab, ...entries: Entry[]): Promise<readonly CommandResult[]> {
  return await machine.apply(machine.appliedIndex + 1, entries);
}

const step = ({ machine }: Lab, body: Uint8Array): Promise<CommandResult> =>
  machine.applyTablet(machine.appliedIndex + 1, { term: 3, kind: 'tablet', body }, MEMBERS, NO_TURN);
const mergeStep = (lab: Lab, of: MergeStep) => step(lab, encodeMergeStep(of));
const members = [1, 2, 3].map((node) => ({ node, replicaId: 100 + node }));
const opens = (id: number): Entry => ({ term: 1, kind: 'command', body: encodeOpenSession(4, id) });
const increment = (key: string, id: number, sequence: number) =>
  writeEntry(write([operation('increment', key, '1')], { id, sequence }));

/** A tablet that was split: its parts. */
async function parts(before: readonly Entry[]): Promise<[Lab, Lab]> {
  const parent = open(new MergeEngine(), ONLY);
  await apply(parent, ...before);
  const point = splitPointOf('range', Buffer.from('m'));
  await step(parent, encodeSplitEntry({ left: 7, right: 8, point }));
  const labs: Lab[] = [];
  for (const id of [7, 8]) {
    const directory = `state of ${id}`;
    await parent.machine.begin(id, directory, { absorbed: undefined, workDirectory: 'work', turn: NO_TURN });
    const engine = await (parent.engine as MergeEngine).reopen(directory);
    labs.push(open(engine, { id, by: 'range', born: undefined }));
  }
  return labs as [Lab, Lab];
}

async function frozen(lab: Lab, attempt = 50): Promise<{ index: number; term: number }> {
  const result = await mergeStep(lab, { type: 'freeze', attempt, members });
  assert.is(result.type, 'frozen');
  return result.type === 'frozen' ? result.freeze : { index: 0, term: 0 };
}

async function merged([left, right]: [Lab, Lab], attempt = 50): Promise<Lab> {
  await frozen(left, attempt);
  const freeze = await frozen(right, attempt);
  const of: MergeStep = {
    type: 'merge',
    ...{ attempt, child: 9, index: freeze.index, term: freeze.term, members },
    right: right.machine.tablet as Tablet,
  };
  assert.is((await mergeStep(left, of)).type, 'merged');
  const engine = left.engine as MergeEngine;
  const parts = { absorbed: right.machine, workDirectory: 'work of 9', turn: NO_TURN };
  await left.machine.begin(9, 'state of 9', parts);
  return open(await engine.reopen('state of 9'), { id: 9, by: 'range', born: undefined });
}

test('a write that one of the two applied, and whose session it dropped since, is not applied again', async () => {
  for (const side of [0, 1] as const) {
    const key = side === 0 ? 'a' : 'z';
    const session = DRAWN + 1;
    const [left, right] = await parts([opens(session)]);
    const [own, other] = side === 0 ? [left, right] : [right, left];
    // The client does not get this answer, and will ask again.
    const [first] = await apply(own, increment(key, session, 1));
    assert.is(first?.type, 'written');
    for (let i = 0; i < MAX_SESSIONS; i++) await apply(own, opens(DRAWN + 10 + i));
    const [gone] = await apply(own, increment(key, session, 2));
    assert.equal(gone, { type: 'refused', code: 'SESSION_EXPIRED' });
    // The other part still has the session, and the client uses it there.
    for (let i = 0; i < 10; i++) await apply(other, { term: 1, kind: 'noop', body: Buffer.alloc(0) });
    const [there] = await apply(other, increment(side === 0 ? 'z' : 'a', session, 3));
    assert.is(there?.type, 'written');
    const child = await merged([left, right]);
    await apply(child, increment(key, session, 1));
    assert.is(child.machine.get(Buffer.from(key))?.value.toString(), '1', `the one that dropped it: ${side}`);
  }
});

test('an absorbed tablet that came from a split keeps its applied index over a restart', async () => {
  const labs = await parts([writeEntry(write([operation('put', 'a', 'v'), operation('put', 'z', 'v')]))]);
  const [left, right] = labs;
  for (const value of ['1', '2', '3', '4'])
    await apply(right, writeEntry(write([operation('put', 'z', value)])));
  await merged(labs);
  const merge = left.machine.endedBy;
  assert.ok(merge && 'parents' in merge);
  right.machine.endBy(merge);
  // Another member leads it: it has an entry of the new term.
  await apply(right, { term: 4, kind: 'noop', body: Buffer.alloc(0) });
  const { appliedIndex } = right.machine;
  const again = open(right.engine as MergeEngine, { id: 8, by: 'range', born: undefined });
  assert.is(again.machine.appliedIndex, appliedIndex);
});

test('an absorbed tablet that a crash has set back replays its entries as the others applied them', async () => {
  const labs = await parts([writeEntry(write([operation('put', 'a', 'v'), operation('put', 'z', 'v')]))]);
  const [left, right] = labs;
  const old = open(new MergeEngine(right.engine.stored), { id: 8, by: 'range', born: undefined });
  const later = writeEntry(write([operation('put', 'z', 'later')]));
  await apply(right, later);
  await merged(labs);
  const merge = left.machine.endedBy;
  assert.ok(merge && 'parents' in merge);
  // The Raft log says that the left one has ended: `TabletSet` says so to the right one at once.
  old.machine.endBy(merge);
  await apply(old, later);
  await frozen(old);
  assert.is(old.machine.appliedIndex, right.machine.appliedIndex);
  assert.equal([...old.engine.stored].sort(), [...right.engine.stored].sort());
});

test.run();
