/** Cores under loss, repetition, reordering, partitions, slow disks and power cuts; safety always, progress once healed. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CoreLab } from './core-lab.js';

function run(seed: number, size: number, prepare: (lab: CoreLab) => void = () => {}): CoreLab {
  const lab = new CoreLab(seed, size);
  prepare(lab);
  lab.maxDelayMs = lab.random.between(1, 30);
  let proposed = 0;
  for (let phase = 0; phase < 12; phase++) {
    lab.heal();
    lab.lossRate = lab.random.chance(0.5) ? lab.random.float() * 0.3 : 0;
    lab.repeatRate = lab.random.chance(0.5) ? 0.2 : 0;
    lab.writeRate = lab.random.chance(0.5) ? 0.2 + lab.random.float() * 0.8 : 1;
    if (lab.random.chance(0.4)) lab.isolate(lab.random.between(1, size));
    if (lab.random.chance(0.3)) lab.cut.add(`${lab.random.between(1, size)}>${lab.random.between(1, size)}`);
    for (let ms = 0; ms < 150; ms++) {
      for (const host of lab.hosts.values()) {
        if (host.raft.role === 'leader' && lab.random.chance(0.3))
          host.propose(lab.nowMs, `${seed}/${proposed++}`);
        if (lab.random.chance(0.001)) host.restart(lab.nowMs);
      }
      if (lab.random.chance(0.001)) for (const host of lab.hosts.values()) host.restart(lab.nowMs);
      lab.advance();
    }
  }
  lab.heal();
  lab.maxDelayMs = 2;
  lab.diskSpeed = 1;
  lab.advanceUntil(() => lab.leader !== undefined);
  const leader = lab.leader;
  assert.ok(leader);
  lab.advanceUntil(() => {
    const current = lab.leader;
    return [...lab.hosts.values()].every((host) => host.applied.length === current?.log.length);
  });
  lab.checkLogMatching();
  return lab;
}

test('three nodes: safe throughout, live once healed', () => {
  let applied = 0;
  let terms = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const lab = run(seed, 3);
    applied += lab.history.length;
    terms += lab.leaders.size;
  }
  // The runs did something: entries were committed through many changes of leader.
  assert.ok(applied > 3000, `${applied} entries`);
  assert.ok(terms > 150, `${terms} terms`);
});

test('five nodes: safe throughout, live once healed', () => {
  for (let seed = 1001; seed <= 1030; seed++) run(seed, 5);
});

test('the same seed gives the same history', () => {
  const histories = [run(7, 3), run(7, 3)].map((lab) =>
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
  for (let seed = 1; seed <= 20; seed++) run(seed, 3, slowDisks(false));
});

test('a planted bug is caught: hosts that report batches as durable before they are', () => {
  let caught = 0;
  for (let seed = 1; seed <= 20; seed++) {
    try {
      run(seed, 3, slowDisks(true));
    } catch {
      caught++;
    }
  }
  assert.ok(caught >= 5, `caught in ${caught} of 20 runs`);
});

test.run();
