/** A group is followed by others in one record, and goes later: what a power cut at any file operation leaves. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorMessage } from '../../src/env/errors.js';
import type { RaftLog, Successor } from '../../src/raft-log/raft-log.js';
import type { SimDisk } from '../../src/sim/world/disk.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { batchOf, CONFIGURATION, entry, groupOf, newDisk, openLog, STATE, segmentsOf } from './log-lab.js';

const SUCCESSORS: readonly Successor[] = [2, 3].map((id) => ({
  id,
  base: { index: 3, term: 4, configuration: CONFIGURATION, directory: `state-3-${id}` },
}));

type Stage = 'one' | 'three' | 'two';
const ORDER: readonly Stage[] = ['one', 'three', 'two'];

/** Which groups there are, and whether each is whole. */
function stageOf(log: RaftLog): Stage | string {
  const found = log.groupIds
    .map((id) => `${id}${groupOf(log, id).isRetired ? ' retired' : ''}`)
    .sort()
    .join(', ');
  for (const { id, base } of SUCCESSORS) {
    const group = log.group(id);
    if (!group) continue;
    const { index, term, directory, configuration } = group.base;
    if (index !== base.index || term !== base.term || directory !== base.directory)
      return `a base of ${id} that never was`;
    if (configuration.voters.length !== 3) return `the members of ${id} are lost`;
    if (group.hardState.term < base.term || group.hardState.commit < base.index)
      return `group ${id} is behind its base`;
  }
  if (found === '1') return 'one';
  if (found === '1 retired, 2, 3') return 'three';
  return found === '2, 3' ? 'two' : found;
}

interface Cut {
  readonly disk: SimDisk;
  readonly acknowledged: Stage;
  readonly written: number;
}

type Succeed = (log: RaftLog) => Promise<void>;

async function life(seed: number, succeed: Succeed): Promise<{ cuts: Cut[]; disk: SimDisk }> {
  const random = new SeededRandom(seed);
  const disk = newDisk();
  const cuts: Cut[] = [];
  let acknowledged: Stage | undefined;
  let written = 0;
  const log = openLog(disk, {
    files: {
      latency: async () => {
        for (let turns = random.between(0, 4); turns > 0; turns--) await Promise.resolve();
      },
      fault: ({ kind }) => {
        if (acknowledged && kind !== 'read' && kind !== 'open')
          cuts.push({ disk: disk.powerCutClone(random), acknowledged, written });
        return undefined;
      },
    },
  });
  await log.createGroup(1, { index: 0, term: 0, configuration: CONFIGURATION, directory: STATE });
  acknowledged = 'one';
  const first = groupOf(log, 1);
  await first.append(batchOf(1, [entry(4, 'a'), entry(4, 'b'), entry(4, 'c')], { commit: 3 }));
  // What is under way at the same time shares its record, or is written before or after it.
  await Promise.all([succeed(log), first.append(batchOf(4, [entry(4, 'behind')], { commit: 3 }))]);
  acknowledged = 'three';
  const write = async (id: number, index: number) => {
    await groupOf(log, id).append(batchOf(index, [entry(5, 'x'.repeat(60))], { commit: 3 }));
    if (id === 2) written = index;
  };
  for (let index = 4; index < 12; index++) await write(2, index);
  await write(3, 4);
  await log.removeGroup(1);
  acknowledged = 'two';
  for (let index = 12; index < 40; index++) {
    await write(2, index);
  }
  await log.close();
  return { cuts, disk };
}

const inOneRecord: Succeed = (log) => log.succeed(1, SUCCESSORS);

async function faultOf({ disk, acknowledged, written }: Cut): Promise<string | undefined> {
  try {
    const log = openLog(disk);
    const stage = stageOf(log);
    const at = ORDER.indexOf(stage as Stage);
    if (at < ORDER.indexOf(acknowledged)) return `found "${stage}" after "${acknowledged}" was acknowledged`;
    if ((log.group(2)?.lastIndex ?? 3) < written) return `entry ${written} of group 2 is lost`;
    // What was not done is done again, and nothing that was done is done twice.
    if (stage === 'one') await log.succeed(1, SUCCESSORS);
    if (stage === 'one' || stage === 'three') await log.removeGroup(1);
    await log.close();
    const again = stageOf(openLog(disk));
    return again === 'two' ? undefined : `cannot be gone on with: ${again}`;
  } catch (error) {
    return errorMessage(error);
  }
}

async function faultsOf(cuts: readonly Cut[]): Promise<string[]> {
  const faults: string[] = [];
  for (const cut of cuts) {
    const fault = await faultOf(cut);
    if (fault) faults.push(fault);
  }
  return faults;
}

test('a group is retired and its successors exist by one record, or neither, whenever the power fails', async () => {
  const stages = new Set<string>();
  for (let seed = 1; seed <= 6; seed++) {
    const { cuts, disk } = await life(seed, inOneRecord);
    for (const { acknowledged } of cuts) stages.add(acknowledged);
    assert.is((await faultsOf(cuts)).slice(0, 3).join('\n'), '', `seed ${seed}`);
    assert.is(stageOf(openLog(disk)), 'two');
    assert.ok(segmentsOf(disk).length > 1);
  }
  assert.is(stages.size, 3);
});

test('a planted bug is caught: the successors and the retirement in several records', async () => {
  const { cuts } = await life(1, async (log) => {
    for (const { id, base } of SUCCESSORS) await log.createGroup(id, base);
    groupOf(log, 1).isRetired = true;
    await log.removeGroup(99);
  });
  assert.ok((await faultsOf(cuts)).length > 3);
});

test('a group that is followed already is not followed again, nor by groups that are here', async () => {
  const disk = newDisk();
  const log = openLog(disk);
  await log.createGroup(1, { index: 0, term: 0, configuration: CONFIGURATION, directory: STATE });
  await groupOf(log, 1).append(batchOf(1, [entry(4, 'a')]));
  await log.succeed(1, SUCCESSORS);
  await groupOf(log, 2).append(batchOf(4, [entry(5, 'of 2')], { commit: 4 }));
  await log.succeed(1, SUCCESSORS);
  assert.is(groupOf(log, 2).lastIndex, 4);
  let code = '';
  await log.succeed(2, [SUCCESSORS[1] as Successor]).catch((error) => {
    code = error.code;
  });
  assert.is(code, 'CORRUPTION');
  assert.is(groupOf(log, 2).isRetired, false);
  await log.close();
});

test('the log of a group that is gone keeps no segment', async () => {
  const disk = newDisk();
  const log = openLog(disk, { maxSegmentBytes: 300 });
  await log.createGroup(1, { index: 0, term: 0, configuration: CONFIGURATION, directory: STATE });
  for (let index = 1; index <= 12; index++)
    await groupOf(log, 1).append(batchOf(index, [entry(4, 'x'.repeat(90))]));
  await log.succeed(1, SUCCESSORS);
  const before = segmentsOf(disk).length;
  assert.ok(before > 3);
  await log.removeGroup(1);
  assert.ok(segmentsOf(disk).length <= 2, `${segmentsOf(disk).length} of ${before}`);
  await log.close();
});

test.run();
