/** Snapshots of many groups wait for their turn: in order, and nobody keeps one for ever. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { silentLogger } from '../../src/env/env.js';
import { configurationOf } from '../../src/raft/configuration.js';
import { crc32 } from '../../src/record/checksum.js';
import { LeadershipYields } from '../../src/replica/leadership-yields.js';
import { SnapshotHolds } from '../../src/replica/snapshot-holds.js';
import type { SnapshotOffer, SnapshotWanted } from '../../src/replica/snapshot-messages.js';
import { SnapshotPace } from '../../src/replica/snapshot-pace.js';
import { SnapshotReceiver } from '../../src/replica/snapshot-receiver.js';
import { SnapshotSender } from '../../src/replica/snapshot-sender.js';
import { type SnapshotTurn, SnapshotTurns } from '../../src/replica/snapshot-turns.js';
import { StateDirectories } from '../../src/replica/state-directories.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { SimWorld } from '../../src/sim/world/world.js';
import { fakeCore } from './replica-lab.js';

const STALL_MS = 1000;
const SNAPSHOT = { index: 9, term: 4, configuration: configurationOf([1, 2, 3]) };

test('so many have a turn; the others get one in the order in which they asked', () => {
  let endOfTurn: (() => void)[] = [];
  const turns = new SnapshotTurns({ endOfTurn: (run) => endOfTurn.push(run) }, 2);
  const passTurn = () => {
    const runs = endOfTurn;
    endOfTurn = [];
    for (const run of runs) run();
  };
  const given: string[] = [];
  const asked = new Map<string, SnapshotTurn>();
  for (const name of ['a', 'b', 'c', 'd', 'e'])
    asked.set(
      name,
      turns.ask(() => given.push(name)),
    );
  const now = () => [...asked].filter(([, turn]) => turn.isGiven).map(([name]) => name);
  const end = (name: string) => {
    asked.get(name)?.end();
    asked.delete(name);
  };
  assert.equal(now(), ['a', 'b']);
  end('d');
  end('b');
  // Whoever asks now does not pass the others.
  const late = turns.ask(() => given.push('late'));
  assert.not(late.isGiven);
  passTurn();
  assert.equal([now(), given], [['a', 'c'], ['c']]);
  const a = asked.get('a');
  end('a');
  a?.end();
  end('c');
  passTurn();
  assert.equal([now(), given], [['e'], ['c', 'e', 'late']]);
  assert.ok(late.isGiven);
  const another = turns.ask(() => {});
  assert.not(another.isGiven, 'a turn that ends twice is one turn');
});

/** Senders of a group each, of one node. */
function sendersOf(count: number, maxSnapshots: number) {
  const world = new SimWorld(1);
  const { env, fs } = world.start('n1', new SimDisk());
  const turns = new SnapshotTurns(env.timers, maxSnapshots);
  const pace = new SnapshotPace(env.clock, 1e6);
  const offers: { readonly group: number; readonly to: number; readonly checkpoint: number }[] = [];
  const ended: string[] = [];
  let checkpoints = 0;
  const senders = Array.from({ length: count }, (_, group) => {
    fs.makeDirectory(`/${group}`);
    const core = fakeCore((input) => {
      if (input.type === 'snapshotSent') ended.push(`${group} to ${input.node}: ${input.ok}`);
    });
    return new SnapshotSender({
      env,
      logger: silentLogger,
      directories: new StateDirectories(env, silentLogger, `/${group}`),
      limits: { maxChunkBytes: 1024, maxBytesPerSecond: 1e6, stallTimeoutMs: STALL_MS },
      ...{ pace, turns, holds: new SnapshotHolds() },
      transport: {
        send: (to, message) => {
          if (message.type === 'snapshotOffer') offers.push({ group, to, checkpoint: message.checkpoint });
        },
      },
      source: {
        checkpoint: async (directory) => {
          checkpoints++;
          fs.makeDirectory(directory);
          const file = fs.open(`${directory}/file`, 'create');
          await file.write([Buffer.alloc(10)], 0);
          file.close();
          return SNAPSHOT;
        },
        check: () => Promise.resolve(),
      },
      core,
      yields: new LeadershipYields(env.clock, core, STALL_MS),
    });
  });
  const groupsOffered = () => [...new Set(offers.map(({ group }) => group))];
  /** The receiver has everything. */
  const confirm = (group: number) => {
    const { to, checkpoint } = offers.filter((offer) => offer.group === group).at(-1) ?? {
      to: 0,
      checkpoint: 0,
    };
    senders[group]?.wanted(to, { type: 'snapshotWanted', term: 1, checkpoint, file: 1, offset: 0 });
  };
  return { world, senders, offers, ended, groupsOffered, confirm, checkpoints: () => checkpoints };
}

test('a sender makes no checkpoint before its turn, and gives the turn on when it is done, stalled or stopped', async () => {
  const { world, senders, ended, groupsOffered, confirm, checkpoints } = sendersOf(5, 1);
  for (const sender of senders) sender.begin(2, () => 1);
  await world.scheduler.runFor(10);
  assert.equal([groupsOffered(), checkpoints()], [[0], 1]);
  confirm(0);
  await world.scheduler.runFor(10);
  assert.equal([groupsOffered(), ended], [[0, 1], ['0 to 2: true']]);
  // The receiver of group 1 is silent.
  await world.scheduler.runFor(1.5 * STALL_MS);
  assert.equal([groupsOffered(), ended.at(-1)], [[0, 1, 2], '1 to 2: false']);
  senders[2]?.stop();
  await world.scheduler.runFor(10);
  assert.equal(groupsOffered(), [0, 1, 2, 3]);
  await world.scheduler.run(senders[3]?.close() ?? Promise.resolve());
  await world.scheduler.runFor(10);
  assert.equal(groupsOffered(), [0, 1, 2, 3, 4]);
});

test('whoever waits when it stops leading waits no longer', async () => {
  const { world, senders, groupsOffered, confirm } = sendersOf(3, 1);
  for (const sender of senders) sender.begin(2, () => 1);
  await world.scheduler.runFor(10);
  senders[1]?.stop();
  confirm(0);
  await world.scheduler.runFor(10);
  assert.equal(groupsOffered(), [0, 2]);
});

test('a second member waits for its turn, and is then given what was made, or a newer one if that is too old', async () => {
  for (const [oldestIndex, expected] of [
    [1, 1],
    [10, 2],
  ] as const) {
    const { world, senders, offers, confirm, checkpoints } = sendersOf(1, 1);
    senders[0]?.begin(2, () => 1);
    await world.scheduler.runFor(10);
    let cutThrough = 1;
    senders[0]?.begin(3, () => cutThrough);
    await world.scheduler.runFor(10);
    cutThrough = oldestIndex;
    assert.equal([offers.length, checkpoints()], [1, 1]);
    confirm(0);
    await world.scheduler.runFor(10);
    assert.is(offers.at(-1)?.to, 3);
    // The last transfer had ended: its checkpoint was removed.
    assert.is(checkpoints(), 2, `${expected}`);
  }
});

/** Receivers of a group each, of one node. */
function receiversOf(count: number, maxSnapshots: number) {
  const world = new SimWorld(1);
  const { env } = world.start('n1', new SimDisk());
  const turns = new SnapshotTurns(env.timers, maxSnapshots);
  const arrived: number[] = [];
  const groups = Array.from({ length: count }, (_, group) => {
    env.fs.makeDirectory(`/${group}`);
    const wanted: SnapshotWanted[] = [];
    const receiver = new SnapshotReceiver({
      env,
      logger: silentLogger,
      directories: new StateDirectories(env, silentLogger, `/${group}`),
      transport: { send: (_to, message) => void wanted.push(message as SnapshotWanted) },
      core: { commitIndex: 1 },
      stateMachine: { check: async () => {} },
      installer: { arrived: () => void arrived.push(group) },
      ...{ turns, stallTimeoutMs: STALL_MS },
    });
    return { receiver, wanted };
  });
  const at = (group: number) => groups[group] as (typeof groups)[number];
  const offer = (group: number) => at(group).receiver.offered(2, OFFER);
  const chunk = (group: number) => {
    const bytes = Buffer.alloc(OFFER_BYTES, 'x');
    const checksum = crc32(bytes);
    at(group).receiver.chunk(2, {
      ...{ type: 'snapshotChunk', term: 5, checkpoint: 1, file: 0, offset: 0 },
      ...{ checksum, bytes },
    });
  };
  /** Ticks of all replicas, and whether each asked for a byte in that time. */
  const pass = async (durationMs: number) => {
    for (const { wanted } of groups) wanted.length = 0;
    for (let passedMs = 0; passedMs < durationMs; passedMs += 10) {
      await world.scheduler.runFor(10);
      for (const { receiver } of groups) receiver.forgetUnneeded();
    }
    return groups.flatMap(({ wanted }, group) => (wanted.some(asksForBytes) ? [group] : []));
  };
  return { world, at, offer, chunk, pass, arrived };
}

const OFFER_BYTES = 8;
const OFFER: SnapshotOffer = {
  ...{ type: 'snapshotOffer', term: 5, checkpoint: 1, snapshot: SNAPSHOT },
  files: [{ name: 'MANIFEST-00000001', sizeBytes: OFFER_BYTES }],
};
const asksForBytes = ({ file, offset }: SnapshotWanted) => file === 0 && offset <= OFFER_BYTES;

test('a receiver without a turn says that it is busy, and asks for bytes when its turn has come', async () => {
  const { at, offer, chunk, pass, arrived } = receiversOf(3, 1);
  for (const group of [0, 1, 2]) offer(group);
  assert.equal(await pass(10), [0]);
  assert.equal(
    at(1).wanted.map(({ file, offset }) => [file, offset]),
    [[0, OFFER_BYTES + 1]],
    'busy',
  );
  assert.ok(at(1).receiver.isReceiving);
  chunk(1);
  assert.equal(await pass(10), []);
  chunk(0);
  assert.equal(await pass(10), [1]);
  chunk(1);
  assert.equal(await pass(10), [2]);
  chunk(2);
  await pass(10);
  assert.equal(arrived, [0, 1, 2]);
  for (const group of [0, 1, 2]) assert.not(at(group).receiver.isReceiving);
});

test('a sender that dies, or only offers, loses its turn to the next; one that comes back goes on in another', async () => {
  for (const goesOnOffering of [false, true]) {
    const { offer, chunk, pass, arrived } = receiversOf(2, 1);
    offer(0);
    await pass(10);
    let asking: number[] = [];
    for (let passedMs = 0; passedMs < 2 * STALL_MS && !asking.includes(1); passedMs += 100) {
      if (goesOnOffering) offer(0);
      offer(1);
      asking = await pass(100);
    }
    assert.ok(asking.includes(1), `${goesOnOffering}`);
    chunk(1);
    await pass(10);
    offer(0);
    await pass(10);
    chunk(0);
    await pass(10);
    assert.equal(arrived, [1, 0]);
  }
});

test('a sender that died while it waited is passed over', async () => {
  const { offer, chunk, pass } = receiversOf(3, 1);
  for (const group of [0, 1, 2]) offer(group);
  await pass(10);
  for (let passedMs = 0; passedMs < STALL_MS + 200; passedMs += 100) {
    offer(2);
    if (passedMs === 800) chunk(0);
    await pass(100);
    if (passedMs === 800) offer(0);
  }
  // Group 0 has ended; group 1 got the turn, or was given up, and then group 2 has it.
  let asking: number[] = [];
  for (let passedMs = 0; passedMs < 2 * STALL_MS && !asking.includes(2); passedMs += 100) {
    offer(2);
    asking = await pass(100);
  }
  assert.ok(asking.includes(2));
});

test('a replica that ends gives its turn on', async () => {
  const { world, at, offer, pass } = receiversOf(2, 1);
  offer(0);
  offer(1);
  assert.equal(await pass(10), [0]);
  await world.scheduler.run(at(0).receiver.close());
  assert.equal(await pass(10), [1]);
});

test.run();
