/**
 * Many groups on three nodes with real connections on a simulated network: lists of messages, the heap of due times and
 * the turns of snapshots under lost connections, kills and power cuts. What was acknowledged is on all nodes in the
 * end, in the same order.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { silentLogger } from '../../src/env/env.js';
import { encodeWrite } from '../../src/kv/command.js';
import { BufferBudget } from '../../src/net/buffer-budget.js';
import { ONE_TABLET } from '../../src/placement/placement.js';
import { MESSAGES } from '../../src/protocol/messages.js';
import { configurationOf } from '../../src/raft/configuration.js';
import { FIRST_BASE } from '../../src/raft/types.js';
import { KnownPeers } from '../../src/server/known-peers.js';
import { Peers } from '../../src/server/peers.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { type SimProcess, SimWorld } from '../../src/sim/world/world.js';
import { Store } from '../../src/store/store.js';
import { ListMachine } from '../replica/replica-lab.js';

const IDS = [1, 2, 3];
const GROUPS = Array.from({ length: 12 }, (_, i) => i + 1);
const INCARNATION = 'ab'.repeat(16);
const RAFT = { heartbeatMs: 20, electionTimeoutMinMs: 100, electionTimeoutMaxMs: 200, maxClockDrift: 0.1 };

interface WireNode {
  readonly process: SimProcess;
  readonly store: Store<ListMachine, number>;
}

/** The frames with these types that the bytes of a connection begin with, as they are delivered. */
function countFrames(counts: Map<number, number>, bytes: Buffer): void {
  for (let at = 0; at + 8 <= bytes.length; at += 8 + bytes.readUInt32BE(at + 4))
    counts.set(bytes.readUInt32BE(at), (counts.get(bytes.readUInt32BE(at)) ?? 0) + 1);
}

class Wire {
  readonly random: SeededRandom;
  readonly frames = new Map<number, number>();
  readonly world: SimWorld;
  readonly disks = new Map(IDS.map((id) => [id, new SimDisk()]));
  readonly nodes = new Map<number, WireNode>();
  readonly failures: string[] = [];
  readonly #quietAfterMs: number;

  constructor(seed: number, quietAfterMs: number) {
    this.random = new SeededRandom(seed);
    this.#quietAfterMs = quietAfterMs;
    this.world = new SimWorld(seed, {
      observe: ({ kind, bytes }) => {
        if (kind === 'deliver' && bytes) countFrames(this.frames, Buffer.from(bytes));
      },
    });
  }

  async boot(id: number): Promise<void> {
    const { scheduler } = this.world;
    const process = this.world.start(`n${id}`, this.disks.get(id) as SimDisk);
    const { env, fs } = process;
    fs.makeDirectory('/data');
    const known = new KnownPeers(env, '/data');
    const store = Store.open<ListMachine, number>(
      {
        directory: '/data',
        raft: {
          ...{ id, ...RAFT, maxEntryBytes: 100_000, maxAppendBytes: 2000, maxApplyBytes: 500 },
          ...{
            maxInflightMessages: 8,
            maxInflightBytes: 8000,
            maxUncommittedBytes: 20_000,
            maxPendingReads: 100,
          },
        },
        quietAfterMs: this.#quietAfterMs,
        snapshots: {
          maxChunkBytes: 2000,
          maxBytesPerSecond: 10_000_000,
          stallTimeoutMs: 400,
          maxConcurrent: 1,
        },
        raftLog: {
          ...{ maxSegmentBytes: 64 * 1024, maxGroupCommitBytes: 64 * 1024 },
          ...{ maxCachedBytes: 20_000, preallocateBytes: 512 },
        },
        // Small: whoever is away for long needs snapshots of all groups.
        logLimits: { maxLogBytes: 6000, maxSnapshotLogBytes: 0, trailingEntries: 2 },
      },
      {
        env,
        logger: silentLogger,
        openStateMachine: async ({ directory, emptyAt }) => new ListMachine(fs, directory, emptyAt),
        transport: {
          send: (to, group, message) => peers.send(to, group, message),
          sendAlive: (to, epoch) => peers.sendAlive(to, epoch),
        },
        host: {
          statusChanged() {},
          configurationChanged() {},
          succeeded() {},
          groupFailed: (group, error) => this.failures.push(`group ${group} on ${id}: ${error.message}`),
          failed: (error) => this.failures.push(`node ${id}: ${error.message}`),
        },
      },
    );
    const peers = new Peers({
      ...{ env, logger: silentLogger, known, maxConnections: 16 },
      ...{ electionTimeoutMinMs: RAFT.electionTimeoutMinMs, electionTimeoutMaxMs: RAFT.electionTimeoutMaxMs },
      budget: new BufferBudget(env, 64 * 1024 * 1024),
      identity: { role: 'peer', clusterId: 'c', nodeId: id, storeId: `s${id}` },
      security: { secrets: [], random: env.random },
      announcement: () => ({
        ...{ phase: 'born', incarnation: INCARNATION, founders: [], joins: false, members: IDS },
        ...{ configurationIndex: 0, isMember: true, starts: 1, run: `${env.random.uint32()}`, logs: [] },
        ...{ engine: 'list', placement: ONE_TABLET },
      }),
      bornIn: () => INCARNATION,
      announced: () => undefined,
      left() {},
      outdated: (error) => this.failures.push(`node ${id}: ${error.message}`),
      received: (group, from, message) => store.receive(from, group, message),
      alive: (from, epoch) => store.receiveAlive(from, epoch),
      unreachable: (node) => store.unreachable(node),
    });
    const base = { ...FIRST_BASE, configuration: configurationOf(IDS) };
    for (const group of GROUPS) {
      const restarted = store.incarnationOf(group) !== undefined;
      if (!restarted) await scheduler.run(store.createGroup(group, base, INCARNATION));
      await scheduler.run(store.openGroup(group, { restarted }));
    }
    await scheduler.run(peers.listen({ host: `n${id}`, port: 1 }));
    peers.setMembers(IDS.map((other) => ({ id: other, addresses: [`n${other}:1`] })));
    this.nodes.set(id, { process, store });
  }

  down(id: number, how: 'kill' | 'power cut'): void {
    const { process } = this.nodes.get(id) as WireNode;
    if (how === 'kill') process.kill();
    else {
      process.losePower();
      this.disks.get(id)?.powerCut(this.random);
    }
    this.nodes.delete(id);
  }

  replicas(group: number) {
    return [...this.nodes.values()].flatMap(({ store }) => store.group(group) ?? []);
  }

  /** Resolves to whether it was acknowledged. */
  write(group: number, text: string): Promise<boolean> {
    const leader = this.replicas(group).find(({ replica }) => replica.role === 'leader');
    if (!leader) return Promise.resolve(false);
    return leader.replica.propose(commandOf(text)).then(
      () => true,
      () => false,
    );
  }

  isEqual(group: number): boolean {
    const [first, ...others] = this.replicas(group).map(({ stateMachine }) =>
      stateMachine.commands.join('\n'),
    );
    return others.length === 2 && others.every((other) => other === first);
  }
}

function commandOf(text: string): Buffer {
  const operation = {
    action: 'put',
    key: Buffer.from(text),
    value: Buffer.alloc(200),
    condition: 'always',
  } as const;
  return encodeWrite(
    1024,
    {
      type: 'write',
      session: undefined,
      operations: [{ ...operation, conditionValue: Buffer.alloc(0), conditionVersion: 0 }],
    },
    { nowMs: () => 0 },
  );
}

for (const [seed, quietAfterMs] of [
  [1, 0],
  [2, 100],
] as const) {
  test(`acknowledged writes of many groups survive (seed ${seed}, quiet after ${quietAfterMs} ms)`, async () => {
    const wire = new Wire(seed, quietAfterMs);
    const { random, world } = wire;
    const { scheduler, network } = world;
    for (const id of IDS) await wire.boot(id);
    const acknowledged: [number, string][] = [];
    const writeSome = () => {
      for (let n = 0; n < 8; n++) {
        const group = random.pick(GROUPS);
        const text = `${seed}-${group}-${scheduler.nowMs().toFixed(3)}-${n}`;
        void wire.write(group, text).then((isDone) => isDone && acknowledged.push([group, text]));
      }
    };
    let [one, other] = ['', ''];
    for (let step = 0; step < 48; step++) {
      writeSome();
      await scheduler.runFor(random.between(5, 60));
      const id = random.pick(IDS);
      if (step % 6 !== 5) continue;
      const gone = IDS.find((wanted) => !wire.nodes.has(wanted));
      if (gone !== undefined) await wire.boot(gone);
      else if (one !== '') {
        network.mendAll();
        one = '';
      } else if (random.chance(0.5)) wire.down(id, random.chance(0.5) ? 'kill' : 'power cut');
      else {
        [one, other] = [`n${id}`, `n${random.pick(IDS.filter((wanted) => wanted !== id))}`];
        if (random.chance(0.5)) network.breakConnections(one, other);
        else network.cut(one, other);
      }
    }
    network.mendAll();
    for (const id of IDS) if (!wire.nodes.has(id)) await wire.boot(id);
    const areEqual = () => GROUPS.every((group) => wire.isEqual(group));
    assert.ok(await scheduler.runUntil(areEqual, scheduler.nowMs() + 30_000), 'all replicas hold the same');
    assert.ok(acknowledged.length > 100, `${acknowledged.length}`);
    for (const [group, text] of acknowledged) {
      const { commands } = wire.replicas(group)[0]?.stateMachine ?? { commands: [] };
      assert.ok(
        commands.some((command) => command.includes(text)),
        text,
      );
    }
    assert.equal(wire.failures, []);
    const snapshots = GROUPS.flatMap((group) => wire.replicas(group)).map(
      ({ replica }) => replica.snapshots.received,
    );
    assert.ok(
      snapshots.some((received) => received > 0),
      'there were snapshots',
    );
    assert.ok((wire.frames.get(MESSAGES.messages.number) ?? 0) > 100, 'there were lists');
  });
}

test.run();
