/** Snapshots on their way from a leader to whoever lacks what its log no longer has. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeError } from '../../src/env/errors.js';
import { crc32 } from '../../src/record/checksum.js';
import type { ReplicaMessage } from '../../src/replica/snapshot-messages.js';
import type { FileOperation } from '../../src/sim/world/file-operation.js';
import { type LabOptions, type Member, Proposals, ReplicaLab } from './replica-lab.js';

const SMALL = { maxLogBytes: 4000, trailingEntries: 10 } as const;

interface Setting {
  readonly lab: ReplicaLab;
  readonly leader: Member;
  /** Lacks entries that the others have cut. */
  readonly away: Member;
}

async function propose(lab: ReplicaLab, count: number, name: string): Promise<void> {
  for (let i = 0; i < count; i++) {
    lab.leader?.replica.propose(Buffer.from(`${name} ${i} ${'x'.repeat(60)}`)).catch(() => {});
    if (i % 5 === 4) await lab.world.scheduler.runFor(4);
  }
  await lab.world.scheduler.runFor(60);
}

/** A follower is cut off until the log of the others starts behind its end. */
async function open(seed: number, options: LabOptions = {}): Promise<Setting> {
  const lab = await ReplicaLab.start(seed, { ...options, replica: { ...SMALL, ...options.replica } });
  const leader = await lab.untilLeader();
  const away = [...lab.members.values()].find((member) => member !== leader) as Member;
  await propose(lab, 10, 'before');
  lab.isolate(away.id);
  await propose(lab, 150, 'while away');
  assert.ok((leader.log.group(1)?.base.index ?? 0) > away.replica.lastIndex, 'the log was cut');
  return { lab, leader, away };
}

function failuresOf(lab: ReplicaLab): unknown[] {
  return [...lab.members.values()].flatMap((member) => member.failures);
}

async function checkEqual(lab: ReplicaLab): Promise<void> {
  await lab.untilEqual();
  // Leftovers go when the last message of the transfer has arrived.
  await lab.world.scheduler.runFor(1500);
  const [first, ...others] = [...lab.members.values()];
  for (const other of others) assert.equal(other.machine.entries, first?.machine.entries);
  assert.equal(failuresOf(lab), []);
}

/** Each machine has the one directory that its log names, and nothing else. */
function checkDirectories(lab: ReplicaLab): void {
  for (const { id, log } of lab.members.values()) {
    assert.equal(lab.directoriesOf(id), [log.group(1)?.base.directory ?? ''], `machine ${id}`);
  }
}

test('a member behind the cut gets a snapshot, and goes on with the log', async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const { lab, away } = await open(seed);
    lab.cut.clear();
    await lab.untilEqual();
    assert.is(away.machine.restores, 1);
    await propose(lab, 20, 'after');
    await checkEqual(lab);
    checkDirectories(lab);
    // What it took over survives.
    lab.powerCut(away.id);
    await lab.restart(away.id);
    await checkEqual(lab);
  }
});

test('one checkpoint serves all members that need it', async () => {
  const lab = await ReplicaLab.start(1, { size: 5, replica: SMALL });
  const leader = await lab.untilLeader();
  const away = [...lab.members.values()].filter((member) => member !== leader).slice(0, 2);
  for (const { id } of away) lab.isolate(id);
  await propose(lab, 150, 'while away');
  lab.cut.clear();
  await checkEqual(lab);
  assert.equal(
    away.map(({ machine }) => machine.restores),
    [1, 1],
  );
  assert.is(leader.machine.checkpoints, 1);
  checkDirectories(lab);
});

test('the leader answers its callers while a snapshot travels', async () => {
  const { lab, leader, away } = await open(2, {
    replica: { snapshots: { maxChunkBytes: 200, maxBytesPerSecond: 20_000, stallTimeoutMs: 400 } },
  });
  lab.cut.clear();
  const proposals = new Proposals();
  for (let i = 0; i < 50; i++) {
    proposals.propose(leader, `during ${i}`);
    await lab.world.scheduler.runFor(4);
  }
  assert.is(away.machine.restores, 0, 'it is still under way');
  const answered = proposals.texts.filter((text) => proposals.answersOf(text).length > 0);
  assert.ok(answered.length > 45, `${answered.length} of 50 are answered`);
  await checkEqual(lab);
  assert.equal(proposals.faults(leader.machine.commands), []);
});

test('a transfer that breaks off goes on where it stopped', async () => {
  const { lab, away } = await open(3, {
    replica: { snapshots: { maxChunkBytes: 200, maxBytesPerSecond: 50_000, stallTimeoutMs: 400 } },
  });
  const arrived: string[] = [];
  let broken = false;
  lab.intercept = (_from, _to, message) => {
    if (message.type !== 'snapshotChunk') return message;
    if (broken) return undefined;
    arrived.push(`${message.checkpoint} ${message.file}+${message.offset}`);
    return message;
  };
  lab.cut.clear();
  await lab.until(() => arrived.length >= 10);
  broken = true;
  await lab.world.scheduler.runFor(1000);
  broken = false;
  await checkEqual(lab);
  assert.is(away.machine.restores, 1);
  assert.is(new Set(arrived).size, arrived.length, 'no chunk came twice');
});

test('a transfer is not gone on with from a checkpoint of the same index that has other files', async () => {
  for (const entriesPerPart of [7, 19, 40, 1000]) {
    const { lab, leader, away } = await open(3, {
      replica: { snapshots: { maxChunkBytes: 200, maxBytesPerSecond: 50_000, stallTimeoutMs: 400 } },
    });
    let chunks = 0;
    lab.intercept = (_from, _to, message) => {
      if (message.type === 'snapshotChunk') chunks++;
      return message;
    };
    lab.cut.clear();
    await lab.until(() => chunks > 15);
    lab.isolate(away.id);
    await lab.world.scheduler.runFor(3000);
    leader.machine.entriesPerPart = entriesPerPart;
    lab.cut.clear();
    await checkEqual(lab);
    assert.is(leader.machine.checkpoints, 2);
    assert.is(away.machine.restores, 1);
    checkDirectories(lab);
  }
});

test('a chunk that was damaged on its way is asked for again', async () => {
  const { lab, away } = await open(4);
  let damaged = 0;
  lab.intercept = (_from, _to, message) => {
    if (message.type !== 'snapshotChunk' || damaged === 5 || lab.world.random.chance(0.7)) return message;
    damaged++;
    const bytes = Buffer.from(message.bytes);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    return { ...message, bytes };
  };
  lab.cut.clear();
  await checkEqual(lab);
  assert.is(damaged, 5);
  assert.is(away.machine.restores, 1);
});

test('messages that are lost, late or come twice', async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const { lab, away } = await open(seed);
    const { random, scheduler } = lab.world;
    lab.intercept = (from, to, message) => {
      if (!message.type.startsWith('snapshot')) return message;
      if (random.chance(0.1)) return undefined;
      if (random.chance(0.2)) {
        const again: ReplicaMessage = message;
        scheduler.after(random.float() * 300, () => {
          if (lab.member(to).isRunning) lab.member(to).replica.receive(from, again);
        });
      }
      return message;
    };
    lab.cut.clear();
    await lab.until(() => away.machine.restores > 0, 60_000);
    lab.intercept = (_from, _to, message) => message;
    await propose(lab, 20, 'after');
    await checkEqual(lab);
    checkDirectories(lab);
  }
});

test('another leader takes over in the middle of a transfer', async () => {
  for (let seed = 1; seed <= 4; seed++) {
    const { lab, leader, away } = await open(seed, {
      replica: { snapshots: { maxChunkBytes: 200, maxBytesPerSecond: 50_000, stallTimeoutMs: 400 } },
    });
    lab.cut.clear();
    await lab.world.scheduler.runFor(60 + seed * 20);
    const next = [...lab.members.values()].find((member) => member !== leader && member !== away) as Member;
    await lab.world.scheduler.run(leader.replica.transferLeadership(next.id));
    assert.is(away.machine.restores, 0, 'it was under way');
    await propose(lab, 20, 'under the next leader');
    await checkEqual(lab);
    checkDirectories(lab);
  }
});

test('a leader that stood still and is none any more sends no part of a snapshot in the term of the next one', async () => {
  const { lab, leader, away } = await open(1, {
    replica: { snapshots: { maxChunkBytes: 200, maxBytesPerSecond: 50_000, stallTimeoutMs: 2000 } },
  });
  const next = [...lab.members.values()].find((member) => member !== leader && member !== away) as Member;
  let wanted: ReplicaMessage | undefined;
  let heartbeat: ReplicaMessage | undefined;
  lab.intercept = (from, to, message) => {
    if (to === leader.id && from === away.id && message.type === 'snapshotWanted') wanted = message;
    if (to === leader.id && from === next.id && message.type === 'heartbeat') heartbeat = message;
    return message;
  };
  lab.cut.clear();
  await lab.until(() => wanted !== undefined);
  const old = leader.replica.term;
  lab.pause(leader.id);
  await lab.until(
    () => next.replica.role === 'leader' && away.replica.leader === next.id && heartbeat !== undefined,
  );
  // In one turn it reads both.
  leader.held = [
    () => {
      leader.replica.receive(next.id, heartbeat as ReplicaMessage);
      leader.replica.receive(away.id, wanted as ReplicaMessage);
    },
  ];
  const parts: number[] = [];
  lab.intercept = (from, _to, message) => {
    if (from === leader.id && (message.type === 'snapshotChunk' || message.type === 'snapshotOffer'))
      parts.push(message.term);
    return message;
  };
  lab.resume(leader.id);
  await lab.world.scheduler.runFor(50);
  assert.is(leader.replica.role, 'follower');
  assert.ok(
    parts.every((term) => term <= old),
    parts.join(),
  );
  await checkEqual(lab);
  assert.not(lab.warnings.some(({ message }) => message.includes('another node leads')));
});

/** The power of a machine fails at its nth file operation after the transfer began. */
async function cutAt(seed: number, who: 'sender' | 'receiver', operation: number): Promise<string> {
  const armed = new Map<number, number>();
  const due = new Set<number>();
  const { lab, leader, away } = await open(seed, {
    fault:
      (id) =>
      ({ kind }: FileOperation) => {
        const left = armed.get(id);
        if (left === undefined || kind === 'read' || kind === 'open') return undefined;
        armed.set(id, left - 1);
        if (left === 0) due.add(id);
        return undefined;
      },
  });
  const old = [...away.machine.entries];
  const victim = who === 'sender' ? leader : away;
  armed.set(victim.id, operation);
  lab.cut.clear();
  const { scheduler } = lab.world;
  const isDue = await scheduler.runUntil(() => due.has(victim.id), scheduler.nowMs() + 1500);
  armed.clear();
  lab.powerCut(victim.id);
  const restarted = await lab.restart(victim.id);
  let found = 'another';
  if (who === 'receiver') {
    const { entries } = restarted.machine;
    const directory = restarted.log.group(1)?.base.directory ?? '';
    const expected = lab.leader?.machine.entries.slice(0, entries.length);
    assert.equal(entries, expected, `cut at operation ${operation}`);
    assert.ok(entries.length <= old.length || directory !== 'state-0-0', `cut at operation ${operation}`);
    assert.equal(lab.directoriesOf(away.id), [directory], 'leftovers are gone when it runs again');
    found = directory === 'state-0-0' ? 'old' : 'new';
  }
  await propose(lab, 5, 'after');
  await checkEqual(lab);
  checkDirectories(lab);
  return isDue ? found : 'over';
}

test('a power cut of the receiver at any file operation: the old state or the new one, then the same as all', async () => {
  const found = new Map<string, number>();
  for (let operation = 0; !found.has('over'); operation++) {
    const which = await cutAt(1, 'receiver', operation);
    found.set(which, (found.get(which) ?? 0) + 1);
  }
  assert.ok((found.get('old') ?? 0) > 40, JSON.stringify([...found]));
  assert.ok((found.get('new') ?? 0) > 1, JSON.stringify([...found]));
});

test('a power cut of the sender at any file operation', async () => {
  for (let operation = 0; operation < 60; operation += 3)
    await cutAt(1 + (operation % 3), 'sender', operation);
});

test('a receiver whose disk is full takes the snapshot when there is space', async () => {
  for (let seed = 1; seed <= 12; seed++) {
    const full = new Set<number>();
    const { lab, away } = await open(seed, {
      fault:
        (id) =>
        ({ kind }) =>
          full.has(id) && (kind === 'write' || kind === 'create') ? ('short' as const) : undefined,
    });
    const { scheduler, random } = lab.world;
    lab.cut.clear();
    for (let i = 0; i < 8; i++) {
      await scheduler.runFor(random.float() * 25);
      if (full.has(away.id)) full.delete(away.id);
      else full.add(away.id);
    }
    full.clear();
    await propose(lab, 10, 'after');
    await checkEqual(lab);
    checkDirectories(lab);
  }
});

test('a snapshot that arrives while entries before it still wait for space in the log', async () => {
  for (let seed = 1; seed <= 8; seed++) {
    const full = new Set<number>();
    const lab = await ReplicaLab.start(seed, {
      replica: SMALL,
      fault:
        (id) =>
        ({ kind, path }) =>
          full.has(id) && path.startsWith('/raft') && (kind === 'write' || kind === 'create')
            ? ('short' as const)
            : undefined,
    });
    const leader = await lab.untilLeader();
    const slow = [...lab.members.values()].find((member) => member !== leader) as Member;
    await propose(lab, 10, 'before');
    full.add(slow.id);
    await propose(lab, 150, 'while full');
    await lab.until(() => leader.machine.checkpoints > 0);
    await lab.world.scheduler.runFor(200 + seed * 30);
    await propose(lab, 10, 'while still full');
    full.clear();
    await propose(lab, 10, 'after');
    await checkEqual(lab);
    checkDirectories(lab);
    assert.ok(slow.machine.restores > 0);
    lab.powerCut(slow.id);
    await lab.restart(slow.id);
    await checkEqual(lab);
  }
});

test('what a damaged leader sends is not taken over, and another leads', async () => {
  for (let seed = 1; seed <= 3; seed++) {
    const { lab, leader, away } = await open(seed);
    const checkpoint = leader.machine.checkpoint.bind(leader.machine);
    leader.machine.checkpoint = async (directory) => {
      await checkpoint(directory);
      const [part] = leader.process.fs.list(directory);
      leader.disk.edit(`${directory}/${part}`, () => Buffer.from('no JSON'));
    };
    lab.cut.clear();
    await lab.until(() => away.machine.restores > 0);
    assert.is.not(lab.leader, leader);
    await checkEqual(lab);
    checkDirectories(lab);
  }
});

test('a checkpoint that fails half-way leaves nothing behind', async () => {
  const { lab, leader } = await open(4);
  const checkpoint = leader.machine.checkpoint.bind(leader.machine);
  let attempts = 0;
  leader.machine.checkpoint = async (directory) => {
    await checkpoint(directory);
    if (++attempts < 4) throw new RaftreeError('LSM_NO_SPACE', 'the disk is full');
  };
  lab.cut.clear();
  await checkEqual(lab);
  assert.is(attempts, 4);
  checkDirectories(lab);
});

test('an offer of what the log holds is answered with the end: nothing is lacking', async () => {
  const lab = await ReplicaLab.start(1);
  const leader = await lab.untilLeader();
  await propose(lab, 10, 'before');
  const follower = [...lab.members.values()].find((member) => member !== leader) as Member;
  const wanted: string[] = [];
  lab.intercept = (_from, _to, message) => {
    if (message.type === 'snapshotWanted') wanted.push(`${message.checkpoint}: ${message.file}`);
    return message;
  };
  const { configuration, term, commitIndex: index } = leader.replica;
  const files = ['one', 'two'].map((name) => ({ name, sizeBytes: 3 }));
  const offer = { type: 'snapshotOffer', term, checkpoint: 7, files } as const;
  follower.replica.receive(leader.id, { ...offer, snapshot: { index, term, configuration } });
  await lab.world.scheduler.runFor(20);
  assert.equal(wanted, ['7: 2']);
  // Of an old leader nothing is taken, nor is it answered.
  const old = { ...offer, term: term - 1, snapshot: { index: 1000, term, configuration } };
  follower.replica.receive(leader.id, old);
  await lab.world.scheduler.runFor(20);
  assert.equal(wanted, ['7: 2']);
  assert.equal(lab.directoriesOf(follower.id), ['state-0-0']);
});

test('a chunk of another checkpoint, or of another node, is not taken', async () => {
  const lab = await ReplicaLab.start(2);
  const leader = await lab.untilLeader();
  const follower = [...lab.members.values()].find((member) => member !== leader) as Member;
  const other = [...lab.members.keys()].find((id) => id !== leader.id && id !== follower.id) ?? 0;
  const wanted: string[] = [];
  lab.intercept = (_from, _to, message) => {
    if (message.type === 'snapshotWanted') wanted.push(`${message.file}+${message.offset}`);
    return message;
  };
  const { configuration, term } = leader.replica;
  const chunk = { type: 'snapshotChunk', term, checkpoint: 7, file: 0, offset: 0 } as const;
  const bytes = Buffer.from('one');
  const { replica } = follower;
  replica.receive(leader.id, {
    type: 'snapshotOffer',
    term,
    checkpoint: 7,
    files: [{ name: 'file', sizeBytes: 6 }],
    snapshot: { index: 1000, term, configuration },
  });
  replica.receive(leader.id, { ...chunk, checkpoint: 8, bytes, checksum: crc32(bytes) });
  replica.receive(other, { ...chunk, bytes, checksum: crc32(bytes) });
  await lab.world.scheduler.runFor(20);
  assert.equal(wanted, ['0+0']);
  replica.receive(leader.id, { ...chunk, bytes, checksum: crc32(bytes) });
  await lab.world.scheduler.runFor(20);
  assert.equal(wanted, ['0+0', '0+3']);
});

test('an offer of files with names that lead elsewhere, or that come twice, is not taken', async () => {
  const { lab, leader, away } = await open(6);
  lab.cut.delete(`${leader.id}>${away.id}`);
  const { configuration } = leader.replica;
  for (const names of [['../other'], ['/etc/x'], ['a/b'], ['..'], [''], ['a', 'a']]) {
    away.replica.receive(leader.id, {
      type: 'snapshotOffer',
      term: leader.replica.term,
      checkpoint: 1,
      snapshot: { index: 1000, term: leader.replica.term, configuration },
      files: names.map((name) => ({ name, sizeBytes: 3 })),
    });
    await lab.world.scheduler.runFor(5);
    assert.equal(lab.directoriesOf(away.id), ['state-0-0'], names.join(' '));
  }
  lab.cut.clear();
  await checkEqual(lab);
});

test('a planted bug is caught: a checkpoint that lacks the newest entry', async () => {
  const { lab, leader, away } = await open(5);
  const checkpoint = leader.machine.checkpoint.bind(leader.machine);
  leader.machine.checkpoint = async (directory) => {
    const newest = leader.machine.entries.pop();
    await checkpoint(directory);
    if (newest !== undefined) leader.machine.entries.push(newest);
  };
  lab.cut.clear();
  await lab.until(() => away.failures.length > 0);
  assert.match(String(away.failures[0]), /holds the state of entry/);
});

test.run();
