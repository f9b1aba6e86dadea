/**
 * Cores under loss, repetition, reordering, partitions, slow disks, drifting clocks and power cuts, while members come
 * and go, leadership is transferred, nodes close, logs are cut and reads are asked for at every level; safety always,
 * progress once healed.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { isJoint, membersOf, type NodeChange } from '../../src/raft/configuration.js';
import type { Entry } from '../../src/raft/types.js';
import { CoreLab, type Host, LAB_OPTIONS } from './core-lab.js';

interface Plan {
  readonly size: number;
  /** Nodes that are not members at first. */
  readonly spare?: number;
  readonly changesMembers?: boolean;
  /** Nodes have different election timeouts, and others after a restart. */
  readonly mixesTimeouts?: boolean;
  /** How long a phase of faults lasts. */
  readonly phaseMs?: number;
  /** Called every millisecond. */
  readonly disturb?: (lab: CoreLab) => void;
  readonly prepare?: (lab: CoreLab) => void;
}

function run(seed: number, plan: Plan): CoreLab {
  const { size, spare = 0, changesMembers = false, mixesTimeouts = false } = plan;
  const { phaseMs = 150, prepare, disturb } = plan;
  const lab = new CoreLab(seed, size, undefined, spare);
  const { random } = lab;
  // No two clocks drift apart by more than a tenth.
  for (const host of lab.hosts.values()) host.setClockRate(0, 0.955 + random.float() * 0.09);
  prepare?.(lab);
  const restart = (host: Host) => {
    if (mixesTimeouts) host.options = someTimeouts(lab);
    host.restart(lab.nowMs);
  };
  if (mixesTimeouts) for (const host of lab.hosts.values()) restart(host);
  lab.maxDelayMs = random.between(1, 30);
  const compactRate = random.chance(0.7) ? 0.005 : 0;
  let proposed = 0;
  const closing = new Set<Host>();
  for (let phase = 0; phase < 12; phase++) {
    lab.heal();
    lab.lossRate = random.chance(0.5) ? random.float() * 0.3 : 0;
    lab.repeatRate = random.chance(0.5) ? 0.2 : 0;
    lab.writeRate = random.chance(0.5) ? 0.2 + random.float() * 0.8 : 1;
    for (const host of lab.hosts.values())
      host.applyRate = random.chance(0.4) ? 0.02 + random.float() * 0.2 : 1;
    const victim = random.chance(0.5) ? lab.leader?.id : undefined;
    if (random.chance(0.4)) {
      lab.isolate(victim ?? random.between(1, size + spare));
      // The others may have promised it something, and forgotten it.
      for (const host of lab.hosts.values()) if (host.id !== victim && random.chance(0.2)) restart(host);
    }
    if (random.chance(0.3))
      lab.cut.add(`${random.between(1, size + spare)}>${random.between(1, size + spare)}`);
    for (let ms = 0; ms < phaseMs; ms++) {
      for (const host of lab.hosts.values()) {
        if (host.raft.role === 'leader' && random.chance(0.3))
          host.propose(lab.nowMs, `${seed}/${proposed++}`);
        if (host.id === victim && random.chance(0.2)) lab.read(host, 'lease');
        if (random.chance(0.02)) lab.read(host, random.pick(['index', 'lease', 'follower'] as const));
        if (random.chance(0.001)) restart(host);
        if (random.chance(compactRate)) host.compact(lab.nowMs, random.between(0, 5));
        if (random.chance(0.005))
          host.step(lab.nowMs, { type: 'unreachable', node: random.between(1, size + spare) });
        if (random.chance(0.001)) {
          host.step(lab.nowMs, { type: 'stopCampaigning' });
          host.step(lab.nowMs, { type: 'transfer' });
          closing.add(host);
        }
        if (host.raft.role !== 'leader') continue;
        if (random.chance(0.002))
          host.step(lab.nowMs, { type: 'transfer', to: random.between(1, size + spare) });
        if (random.chance(0.002)) host.step(lab.nowMs, { type: 'transfer' });
        if (changesMembers && random.chance(0.02)) host.change(lab.nowMs, ...someChanges(lab));
      }
      if (random.chance(0.001)) for (const host of lab.hosts.values()) restart(host);
      disturb?.(lab);
      lab.advance();
    }
    // Who was closing has closed, and runs again.
    for (const host of closing) restart(host);
    closing.clear();
  }
  lab.heal();
  lab.maxDelayMs = 2;
  lab.diskSpeed = 1;
  lab.advanceUntil(() => isSettled(lab));
  lab.checkLogMatching();
  return lab;
}

function someTimeouts({ random }: CoreLab): Host['options'] {
  const electionTimeoutMinMs = random.pick([30, 50, 120]);
  return { ...LAB_OPTIONS, electionTimeoutMinMs, electionTimeoutMaxMs: 2 * electionTimeoutMinMs };
}

function someChanges({ random, hosts }: CoreLab): NodeChange[] {
  const count = random.chance(0.6) ? 1 : random.between(1, 3);
  return Array.from({ length: count }, () => ({
    type: random.pick(['addVoter', 'addVoter', 'addLearner', 'remove'] as const),
    node: random.between(1, hosts.size),
  }));
}

/** There is a leader, no change is under way, and every member has applied all that the leader has. */
function isSettled(lab: CoreLab): boolean {
  const { leader } = lab;
  if (!leader || isJoint(leader.raft.configuration) || leader.raft.appliedIndex < leader.lastIndex)
    return false;
  return membersOf(leader.raft.configuration).every((id) => lab.host(id).applied.length === leader.lastIndex);
}

test('three nodes: safe throughout, live once healed', () => {
  const seen = { entries: 0, terms: 0, snapshots: 0, index: 0, lease: 0, follower: 0 };
  for (let seed = 1; seed <= 60; seed++) {
    const lab = run(seed, { size: 3 });
    seen.entries += lab.history.length;
    seen.terms += lab.leaders.size;
    for (const host of lab.hosts.values()) seen.snapshots += host.snapshotsTaken;
    for (const level of ['index', 'lease', 'follower'] as const) seen[level] += lab.answeredReads[level];
  }
  // The runs did something: through many changes of leader entries were committed, snapshots taken, reads answered.
  const least = { entries: 3000, terms: 150, snapshots: 20, index: 200, lease: 200, follower: 400 };
  for (const [name, count] of Object.entries(least)) {
    assert.ok(seen[name as keyof typeof seen] > count, `${name}: ${JSON.stringify(seen)}`);
  }
});

test('five nodes: safe throughout, live once healed', () => {
  for (let seed = 1001; seed <= 1030; seed++) run(seed, { size: 5 });
});

test('members come and go', () => {
  let joint = 0;
  let learners = 0;
  for (let seed = 2001; seed <= 2060; seed++) {
    const lab = run(seed, {
      size: 3,
      spare: 3,
      changesMembers: true,
      prepare: (fresh) => {
        for (const host of fresh.hosts.values()) {
          const take = host.take.bind(host);
          host.take = (nowMs) => {
            const taken = take(nowMs);
            if (taken?.output.configuration && isJoint(taken.output.configuration)) joint++;
            if (taken?.output.configuration?.learners.length) learners++;
            return taken;
          };
        }
      },
    });
    assert.ok(lab.history.length > 10);
  }
  assert.ok(joint > 100 && learners > 100, `${joint} joint configurations, ${learners} with learners`);
});

/**
 * After each change of members its leader applies late; then one of the others does not hear it any more; then nobody
 * does, for a while.
 */
function troubleAfterChanges(): (lab: CoreLab) => void {
  let trouble: { readonly leader: Host; readonly other: number; cutMs: number; endMs: number } | undefined;
  return (lab) => {
    const { leader, random, nowMs } = lab;
    if (!trouble && leader?.log.some(isUnappliedChange(leader))) {
      const cutMs = nowMs + random.between(1, 25);
      trouble = {
        ...{ leader, other: random.between(1, lab.hosts.size) },
        ...{ cutMs, endMs: cutMs + random.between(1, 60) },
      };
      leader.applyRate = 0.03;
    }
    if (nowMs === trouble?.cutMs) lab.cut.add(`${trouble.leader.id}>${trouble.other}`);
    if (nowMs === trouble?.endMs) lab.isolate(trouble.leader.id);
    if (trouble && nowMs > trouble.endMs + 250) {
      lab.heal();
      trouble = undefined;
    }
  };
}

function isUnappliedChange({ base, applied }: Host): (entry: Entry, i: number) => boolean {
  return ({ kind }, i) => kind === 'configuration' && base.index + i + 1 > applied.length;
}

test('voters come and go while leaders apply late, and are cut off', () => {
  for (let seed = 5181; seed <= 5210; seed++)
    run(seed, { size: 3, changesMembers: true, phaseMs: 400, disturb: troubleAfterChanges() });
});

test('groups that grow from one node', () => {
  for (let seed = 3001; seed <= 3040; seed++) run(seed, { size: 1, spare: 3, changesMembers: true });
});

test('election timeouts that differ, and change with a restart', () => {
  for (let seed = 4101; seed <= 4130; seed++) run(seed, { size: 3, mixesTimeouts: true });
});

test('the same seed gives the same history', () => {
  const histories = [run(7, { size: 3 }), run(7, { size: 3 })].map((lab) =>
    lab.sent
      .map((item) => JSON.stringify({ ...item, message: { ...item.message, entries: undefined } }))
      .join('\n'),
  );
  assert.is(histories[0], histories[1]);
});

function slowDisks(reportsEarly: boolean): (lab: CoreLab) => void {
  return (lab) => {
    lab.diskSpeed = 0.1;
    for (const host of lab.hosts.values()) host.reportsEarly = reportsEarly;
  };
}

test('disks much slower than the network', () => {
  for (let seed = 1; seed <= 20; seed++) run(seed, { size: 3, prepare: slowDisks(false) });
});

function caughtOf(seeds: number, plan: Plan): number {
  let caught = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    try {
      run(seed, plan);
    } catch {
      caught++;
    }
  }
  return caught;
}

test('a planted bug is caught: hosts that report batches as durable before they are', () => {
  const caught = caughtOf(20, { size: 3, prepare: slowDisks(true) });
  assert.ok(caught >= 5, `caught in ${caught} of 20 runs`);
});

test('a planted bug is caught: a leader whose clock runs slower than its lease allows for', () => {
  const caught = caughtOf(150, {
    size: 3,
    phaseMs: 400,
    disturb: (lab) => {
      for (const host of lab.hosts.values()) {
        const rate = host.raft.role === 'leader' ? 0.35 : 1;
        if (host.clockRate !== rate) host.setClockRate(lab.nowMs, rate);
        if (rate < 1) lab.read(host, 'lease');
      }
    },
  });
  assert.ok(caught >= 1, `caught in ${caught} of 150 runs`);
});

test.run();
