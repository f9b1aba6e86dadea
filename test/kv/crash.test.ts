/**
 * The state machine on a real tree whose disk loses power: what comes back is the state at exactly the applied index
 * that comes back with it, not below what was said to be durable, and the log's entries lead on from there.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { lsmEngine } from '../../src/engines/lsm-engine.js';
import type { StorageEngine } from '../../src/engines/storage-engine.js';
import { DiskSpace } from '../../src/env/disk-space.js';
import { silentLogger } from '../../src/env/env.js';
import { joinChecker } from '../../src/kv/join-checker.js';
import { type CommandResult, KvStateMachine } from '../../src/kv/kv-state-machine.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import type { FileOperation } from '../../src/sim/world/file-operation.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { SimWorld } from '../../src/sim/world/world.js';
import { Clients, type Command, Model, renderMachine } from './kv-lab.js';

interface Plan {
  readonly treeLog: 'none' | 'buffered';
  readonly entries: number;
  /** Small: memtables become full, and are frozen at any place. */
  readonly writeBufferBytes?: number;
  readonly alter?: (engine: StorageEngine) => StorageEngine;
  readonly fault?: (operation: FileOperation) => 'ignore' | undefined;
}

/** Runs a history through power cuts; says what was wrong, and how often something had to be replayed. */
async function run(seed: number, plan: Plan): Promise<{ faults: string[]; replayed: number; cuts: number }> {
  const random = new SeededRandom(seed);
  const world = new SimWorld(seed);
  const { scheduler } = world;
  const disk = new SimDisk();
  const model = new Model();
  const clients = new Clients(random);
  /** The committed log, and what the model held and answered at each index. */
  const log: Command[] = [];
  const states: string[] = [''];
  const answers: string[] = [''];
  const faults: string[] = [];
  let replayed = 0;
  let cuts = 0;
  let durable = 0;
  while (log.length < plan.entries) {
    const process = world.start('n', disk, {
      latency: () => scheduler.sleep(random.float()),
      ...(plan.fault ? { fault: plan.fault } : {}),
    });
    const storage = {
      treeLog: plan.treeLog,
      writeBufferBytes: plan.writeBufferBytes ?? 64 * 1024,
      blockCacheBytes: 64 * 1024,
    };
    let machine: KvStateMachine;
    try {
      const logger = silentLogger;
      const open = (directory: string) =>
        lsmEngine(storage).open(directory, {
          env: process.env,
          logger,
          diskSpace: new DiskSpace(logger, process.env),
          replayed: joinChecker(),
        });
      const engine = await scheduler.run(open('/tree'));
      machine = new KvStateMachine(plan.alter ? plan.alter(engine) : engine, open);
    } catch (error) {
      faults.push(`it cannot be opened: ${String(error)}`);
      break;
    }
    const recovered = machine.appliedIndex;
    if (recovered < durable) faults.push(`${durable} was durable, ${recovered} came back`);
    if (renderMachine(machine) !== states[recovered]) faults.push(`not the state at ${recovered}`);
    replayed += log.length - recovered;
    const apply = async (first: number, commands: readonly Command[]) => {
      const results = await machine.apply(
        first,
        commands.map(({ entry }) => entry),
      );
      results.forEach((result: CommandResult, i) => {
        if (JSON.stringify(result) !== answers[first + i])
          faults.push(`entry ${first + i} was answered differently`);
      });
    };
    const replay = async () => {
      for (let at = recovered; at < log.length; at += 7)
        await apply(at + 1, log.slice(at, Math.min(log.length, at + 7)));
    };
    await scheduler.run(replay());
    if (renderMachine(machine) !== states.at(-1)) faults.push('the replay leads elsewhere');
    if (faults.length > 0) break;
    let cut = false;
    const work = async () => {
      const bursts = random.between(5, 60);
      for (let i = 0; i < bursts && !cut; i++) {
        const first = log.length + 1;
        const commands = clients.burst(first, random.between(1, 8));
        for (const command of commands) {
          answers.push(JSON.stringify(model.apply(log.length + 1, command.meaning)));
          log.push(command);
          states.push(model.render());
        }
        await apply(first, commands);
        if (random.chance(0.05)) await machine.flush();
        durable = Math.max(durable, machine.durableIndex);
      }
    };
    // Mostly between two operations, at times in the middle of one.
    const working = work();
    if (random.chance(0.5)) await scheduler.run(working);
    else await scheduler.runFor(random.float() * 30);
    durable = Math.max(durable, machine.durableIndex);
    cut = true;
    cuts++;
    process.kill();
    disk.powerCut(random);
  }
  return { faults, replayed, cuts };
}

for (const [treeLog, writeBufferBytes] of [
  ['none', 64 * 1024],
  ['none', 4096],
  ['buffered', 64 * 1024],
  ['buffered', 4096],
] as const) {
  test(`after power cuts the state is that of the recovered index (treeLog ${treeLog}, memtables of ${writeBufferBytes})`, async () => {
    let replayed = 0;
    let cuts = 0;
    for (let seed = 1; seed <= 4; seed++) {
      const outcome = await run(seed, { treeLog, writeBufferBytes, entries: 1000 });
      assert.equal(outcome.faults, [], `seed ${seed}`);
      replayed += outcome.replayed;
      cuts += outcome.cuts;
    }
    assert.ok(replayed > 500, `${replayed} entries were replayed`);
    assert.ok(cuts > 20, `${cuts} cuts`);
  });
}

test('a planted bug is caught: the applied index in a batch of its own, before the data', async () => {
  const alter = (engine: StorageEngine): StorageEngine => {
    const write = engine.write.bind(engine);
    return Object.assign(engine, {
      write: async (operations: Parameters<StorageEngine['write']>[0]) => {
        const sequence = await write(operations.slice(-1));
        return operations.length > 1 ? write(operations.slice(0, -1)) : sequence;
      },
    });
  };
  let caught = 0;
  for (let seed = 1; seed <= 4; seed++) {
    const { faults } = await run(seed, { treeLog: 'buffered', entries: 1000, alter });
    if (faults.length > 0) caught++;
  }
  assert.ok(caught >= 2, `caught in ${caught} of 4 runs`);
});

test('a planted bug is caught: a tree whose syncs do nothing', async () => {
  const fault = ({ kind }: FileOperation) => (kind === 'sync' ? ('ignore' as const) : undefined);
  let caught = 0;
  for (let seed = 1; seed <= 4; seed++) {
    const { faults } = await run(seed, { treeLog: 'none', entries: 1000, fault });
    if (faults.length > 0) caught++;
  }
  assert.ok(caught >= 2, `caught in ${caught} of 4 runs`);
});

test.run();
