/**
 * Power cuts at every file operation of a random script over two groups. What is recovered must be the state after
 * some number of steps, in the order in which they were begun, and no fewer than were acknowledged.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorMessage } from '../../src/env/errors.js';
import type { GroupLog, RaftLog } from '../../src/raft-log/raft-log.js';
import type { SimDisk } from '../../src/sim/world/disk.js';
import type { Fault, FileOperation } from '../../src/sim/world/file-operation.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import {
  batchOf,
  CONFIGURATION,
  groupOf,
  newDisk,
  openLog,
  renderAll,
  Script,
  STATE,
  segmentsOf,
} from './log-lab.js';

const GROUPS = [1, 7];

interface Cut {
  readonly operation: FileOperation;
  readonly disk: SimDisk;
  readonly acknowledged: number;
  readonly begun: number;
}

interface Run {
  readonly script: Script;
  readonly cuts: Cut[];
  readonly segmentsRemoved: number;
  readonly segmentsLeft: number;
}

async function runScript(
  seed: number,
  plant: {
    fault?: (operation: FileOperation) => Fault;
    alter?: (log: RaftLog) => void;
    installs?: number;
    groups?: readonly number[];
    steps?: number;
    others?: number;
    maxGroupCommitBytes?: number;
  } = {},
): Promise<Run> {
  const random = new SeededRandom(seed);
  const disk = newDisk();
  const cuts: Cut[] = [];
  let script: Script | undefined;
  let segmentsRemoved = 0;
  const log = openLog(disk, {
    maxGroupCommitBytes: plant.maxGroupCommitBytes ?? 4096,
    files: {
      // A delay of a few turns, so that steps are begun while others are being written.
      latency: async () => {
        for (let turns = random.between(0, 8); turns > 0; turns--) await Promise.resolve();
      },
      fault: (operation) => {
        const isRecycled = operation.kind === 'rename' && operation.path.endsWith('.spare');
        if (operation.kind === 'unlink' || isRecycled) segmentsRemoved++;
        if (script && operation.kind !== 'read' && operation.kind !== 'open') {
          const { acknowledged, begun } = script;
          cuts.push({ operation, disk: disk.powerCutClone(random), acknowledged, begun });
        }
        return plant.fault?.(operation);
      },
    },
  });
  const { groups = GROUPS } = plant;
  for (const id of groups)
    await log.createGroup(id, { index: 0, term: 0, configuration: CONFIGURATION, directory: STATE });
  plant.alter?.(log);
  script = new Script(log, groups, random, {
    steps: plant.steps ?? 60,
    maxBodyBytes: 120,
    installs: plant.installs ?? 0,
    ...(plant.others === undefined ? {} : { others: plant.others }),
  });
  await script.run();
  return { script, cuts, segmentsRemoved, segmentsLeft: segmentsOf(disk).length };
}

/** What is wrong with the disk that a cut left, or undefined. */
async function faultOf(
  cut: Cut,
  states: readonly string[],
  groups: readonly number[],
): Promise<string | undefined> {
  try {
    const log = openLog(cut.disk);
    const found = renderAll(log, groups);
    const at = states.indexOf(found);
    if (at < 0) return `recovered a state that never was:\n${found}`;
    if (states.lastIndexOf(found) < cut.acknowledged) {
      return `recovered the state after ${at} steps, but ${cut.acknowledged} were acknowledged`;
    }
    // It is a log that can be gone on with.
    const group = groupOf(log, GROUPS[0] as number);
    await group.append(batchOf(0, [], { ...group.hardState, vote: 99 }));
    await log.close();
    const again = openLog(cut.disk);
    if (groupOf(again, GROUPS[0] as number).hardState.vote !== 99) return 'what was written after it is lost';
    return undefined;
  } catch (error) {
    return errorMessage(error);
  }
}

async function faultsOf({ cuts, script }: Run, groups: readonly number[] = GROUPS): Promise<string[]> {
  const faults: string[] = [];
  for (const cut of cuts) {
    const fault = await faultOf(cut, script.states, groups);
    const { kind, number } = cut.operation;
    if (fault) faults.push(`power cut at operation ${number} (${kind}), after ${cut.begun} steps: ${fault}`);
  }
  return faults;
}

test('a power cut at any file operation loses nothing acknowledged and invents nothing', async () => {
  let cuts = 0;
  let removed = 0;
  for (let seed = 1; seed <= 12; seed++) {
    const run = await runScript(seed);
    assert.is((await faultsOf(run)).slice(0, 3).join('\n'), '', `seed ${seed}`);
    cuts += run.cuts.length;
    removed += run.segmentsRemoved;
  }
  assert.ok(cuts > 800, `${cuts} cuts`);
  assert.ok(removed > 30, `${removed} segments were removed`);
});

test('a power cut while the entries of groups that are hardly written are copied forward', async () => {
  const groups = [1, 2, 3, 4];
  let copies = 0;
  for (let seed = 1; seed <= 4; seed++) {
    const run = await runScript(seed, {
      ...{ groups, steps: 250, others: 0.08, installs: 0.03 },
      alter: (log) => {
        for (const id of groups) {
          const group = groupOf(log, id);
          const { copyForward } = group;
          group.copyForward = () => {
            copies++;
            return copyForward.call(group);
          };
        }
      },
    });
    assert.is((await faultsOf(run, groups)).slice(0, 3).join('\n'), '', `seed ${seed}`);
  }
  assert.ok(copies > 20, `${copies} copies`);
});

test('a power cut while a snapshot replaces the log: the old log and directory or the new ones', async () => {
  for (let seed = 1; seed <= 12; seed++) {
    for (const maxGroupCommitBytes of [4096, 100]) {
      const run = await runScript(seed, { installs: 0.15, maxGroupCommitBytes });
      assert.is((await faultsOf(run)).slice(0, 3).join('\n'), '', `seed ${seed}`);
    }
  }
});

type Install = GroupLog['install'];

/** How many cuts of a few scripts with snapshots show it when they are taken over like this. */
async function faultsWith(
  install: (group: GroupLog, real: Install) => Install,
  maxGroupCommitBytes = 4096,
): Promise<number> {
  const alter = (log: RaftLog) => {
    for (const id of GROUPS) {
      const group = groupOf(log, id);
      group.install = install(group, group.install.bind(group));
    }
  };
  let faults = 0;
  for (let seed = 1; seed <= 6; seed++) {
    faults += (await faultsOf(await runScript(seed, { installs: 0.15, alter, maxGroupCommitBytes }))).length;
  }
  return faults;
}

test('a planted bug is caught: a snapshot that does not restart the log', async () => {
  const faults = await faultsWith((group) => async (snapshot, batch) => {
    const base = { ...group.base, ...snapshot };
    await Promise.all([group.setBase(base), group.append(batch)]);
  });
  assert.ok(faults > 30, `${faults} faults`);
});

test('a planted bug is caught: a snapshot whose base still names the old directory', async () => {
  const faults = await faultsWith(
    (group, real) => (base, batch) => real({ ...base, directory: group.base.directory }, batch),
  );
  assert.ok(faults > 30, `${faults} faults`);
});

test('a planted bug is caught: a snapshot’s base and the batch that comes with it in two records', async () => {
  const faults = await faultsWith(
    (group, real) => async (base, batch) => {
      await Promise.all([real(base, { ...batch, entries: [] }), group.append(batch)]);
    },
    100,
  );
  assert.ok(faults > 10, `${faults} faults`);
});

test('a planted bug is caught: syncs that do nothing', async () => {
  const run = await runScript(1, { fault: ({ kind }) => (kind === 'sync' ? 'ignore' : undefined) });
  assert.ok((await faultsOf(run)).length > 5);
});

test('a planted bug is caught: a batch acknowledged when it is handed over', async () => {
  const run = await runScript(1, {
    alter: (log) => {
      for (const id of GROUPS) {
        const group = groupOf(log, id);
        const append = group.append.bind(group);
        group.append = (batch) => {
          void append(batch);
          return Promise.resolve();
        };
      }
    },
  });
  assert.ok((await faultsOf(run)).length > 5);
});

test.run();
