/**
 * Power cuts at every file operation of a script. Each leaves a disk on which everything unsynced is lost as a random
 * subset; what is recovered must be the model after some whole-batch prefix, not shorter than what was acknowledged.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type CompactionEvent, type LsmOptions, LsmTree, type Operation } from '../../src/lsm/index.js';
import type { Fault, FileOperation } from '../../src/sim/world/file-operation.js';
import {
  openTree,
  processEnv,
  put,
  randomBatches,
  renderTree,
  SeededRandom,
  SimDisk,
  statesOf,
  TINY,
} from './tree-lab.js';

const CHECKPOINT = '/data/checkpoint';

interface Cut {
  readonly operation: FileOperation;
  readonly disk: SimDisk;
  /** Batches that had to survive, and batches that could. */
  readonly least: number;
  readonly most: number;
  /** What the tree itself claimed. */
  readonly durableSequence: number;
  /** A checkpoint of everything was completed. */
  readonly hasCheckpoint: boolean;
}

interface Run {
  readonly cuts: Cut[];
  readonly states: string[];
  readonly events: CompactionEvent[];
  readonly operations: FileOperation[];
  readonly tombstonesBefore: number;
  readonly tombstonesAfter: number;
}

async function runScript(
  seed: number,
  options: LsmOptions,
  plant: (operation: FileOperation) => Fault = () => undefined,
): Promise<Run> {
  const random = new SeededRandom(seed);
  const batches = randomBatches(random, 70, 30);
  const disk = new SimDisk();
  const cuts: Cut[] = [];
  const events: CompactionEvent[] = [];
  const operations: FileOperation[] = [];
  let least = 0;
  let most = 0;
  let hasCheckpoint = false;
  let tree: LsmTree | undefined;
  const env = processEnv(seed, disk, {
    fault: (operation) => {
      if (operation.kind !== 'read' && operation.kind !== 'open') {
        operations.push(operation);
        const durableSequence = tree?.durableSequence ?? 0;
        cuts.push({
          operation,
          disk: disk.powerCutClone(random),
          least,
          most,
          durableSequence,
          hasCheckpoint,
        });
      }
      return plant(operation);
    },
  });
  const settings = { ...options, listener: { compacted: (event: CompactionEvent) => events.push(event) } };
  tree = await openTree(disk, settings, env);
  for (let at = 0; at < batches.length; ) {
    const burst: Promise<void>[] = [];
    for (let size = random.between(1, 4); size > 0 && at < batches.length; size--) {
      const end = ++at;
      most = end;
      const durability = random.chance(0.4) ? 'sync' : 'buffered';
      const written = tree.write(batches[end - 1] as Operation[], { durability });
      const counts = options.durability !== 'none' && durability === 'sync';
      burst.push(
        written.then(() => {
          if (counts) least = Math.max(least, end);
        }),
      );
    }
    await Promise.all(burst);
    if (random.chance(0.1)) {
      const end = at;
      await tree.flush();
      least = Math.max(least, end);
    }
  }
  await tree.flush();
  least = batches.length;
  await tree.checkpoint(CHECKPOINT);
  hasCheckpoint = true;
  const tombstonesBefore = tree.stats().tombstones;
  await tree.compactRange();
  const tombstonesAfter = tree.stats().tombstones;
  await tree.close();
  return { cuts, states: statesOf(batches), events, operations, tombstonesBefore, tombstonesAfter };
}

/** What is wrong with what is recovered after a cut, or undefined. */
async function findLoss(
  cut: Cut,
  states: readonly string[],
  options: LsmOptions,
  seed: number,
): Promise<string | undefined> {
  let tree: LsmTree;
  try {
    tree = await openTree(cut.disk, options, processEnv(seed, cut.disk));
  } catch (error) {
    return `opening failed: ${error}`;
  }
  try {
    const state = renderTree(tree);
    const allowed = states.slice(cut.least, cut.most + 1);
    if (!allowed.includes(state)) {
      const prefix = states.indexOf(state);
      return `recovered ${prefix < 0 ? 'no prefix' : `${prefix} batches`}, not ${cut.least} to ${cut.most}`;
    }
    if (tree.lastSequence < cut.durableSequence) {
      return `sequence ${cut.durableSequence} was said to be durable, ${tree.lastSequence} was recovered`;
    }
    const { problems } = await tree.verify();
    if (problems.length > 0) return `verify: ${JSON.stringify(problems[0])}`;
    // The recovered tree goes on: what is written now must be there after the next cut.
    if (cut.operation.number % 5 === 0) {
      await tree.write([put('after the crash', 'written')]);
      if (options.durability === 'none') await tree.flush();
      const next = cut.disk.powerCutClone(new SeededRandom(seed + cut.operation.number));
      const again = await openTree(next, options, processEnv(seed, next));
      const found = again.getSync(Buffer.from('after the crash'))?.toString();
      const rest = renderTree(again).replace(/^after the crash=written\n?/, '');
      await again.close();
      if (found !== 'written' || rest !== state) return 'the recovered tree lost something at the next cut';
    }
    return undefined;
  } catch (error) {
    return `reading failed: ${error}`;
  } finally {
    await tree.close();
  }
}

/** A checkpoint is wholly there or not at all, and stays once it was completed. */
async function findLostCheckpoint(cut: Cut, complete: string, seed: number): Promise<string | undefined> {
  if (!cut.disk.mount().exists(CHECKPOINT)) {
    return cut.hasCheckpoint ? 'the checkpoint is gone' : undefined;
  }
  const options = { ...TINY, env: processEnv(seed, cut.disk), createIfMissing: false };
  try {
    const tree = await LsmTree.open(CHECKPOINT, options);
    const state = renderTree(tree);
    const { problems } = await tree.verify();
    await tree.close();
    if (problems.length > 0) return `verify of the checkpoint: ${JSON.stringify(problems[0])}`;
    return state === complete ? undefined : 'the checkpoint has another state';
  } catch (error) {
    return `opening the checkpoint failed: ${error}`;
  }
}

async function findLosses(run: Run, options: LsmOptions, seed: number): Promise<string[]> {
  const losses: string[] = [];
  for (const cut of run.cuts) {
    const complete = run.states.at(-1) ?? '';
    const loss =
      (await findLoss(cut, run.states, options, seed)) ?? (await findLostCheckpoint(cut, complete, seed));
    if (loss)
      losses.push(
        `seed ${seed}, before ${cut.operation.kind} ${cut.operation.path} (${cut.operation.number}): ${loss}`,
      );
  }
  return losses;
}

function assertScriptIsRich(run: Run, hasWal: boolean): void {
  const created = (pattern: RegExp) =>
    run.operations.filter((operation) => operation.kind === 'create' && pattern.test(operation.path)).length;
  const recycled = run.operations.filter(
    (operation) => operation.kind === 'rename' && /wal-\d+\.log$/.test(operation.path),
  ).length;
  if (hasWal) {
    assert.ok(created(/wal-\d+\.log$/) + recycled >= 3, 'the WAL is rotated at least twice');
    assert.ok(recycled >= 2, 'files of the WAL are used again');
  }
  const unfinished = run.operations.filter((operation) => operation.path.startsWith(`${CHECKPOINT}.tmp`));
  assert.ok(unfinished.length >= 5, 'a checkpoint is made');
  assert.ok(created(/\.sst$/) >= 10, 'memtables are flushed');
  assert.ok(
    run.events.some((event) => event.level === 0 && event.inputFiles > 1),
    'level 0 is compacted',
  );
  assert.ok(
    run.events.some((event) => event.level >= 1 && event.readBytes > 0),
    'a deeper level is compacted',
  );
  assert.ok(created(/MANIFEST-\d+\.tmp$/) >= 2, 'the MANIFEST is succeeded by a new one');
  assert.ok(
    run.tombstonesBefore > 0 && run.tombstonesAfter === 0,
    'tombstones are dropped at the base level',
  );
}

for (const seed of [1, 2]) {
  test(`with a WAL nothing acknowledged as synced is lost, wherever the power is cut (seed ${seed})`, async () => {
    const run = await runScript(seed, {});
    assertScriptIsRich(run, true);
    assert.is((await findLosses(run, {}, seed)).join('\n'), '');
  });
}

test('without a WAL nothing flushed is lost, wherever the power is cut', async () => {
  const options: LsmOptions = { durability: 'none' };
  const run = await runScript(3, options);
  assertScriptIsRich(run, false);
  assert.is((await findLosses(run, options, 3)).join('\n'), '');
});

test('the power may be cut again at any operation of the recovery', async () => {
  const run = await runScript(4, {});
  const losses: string[] = [];
  let again = 0;
  for (const cut of run.cuts.filter((_, i) => i % 40 === 20)) {
    const random = new SeededRandom(cut.operation.number);
    const during: Cut[] = [];
    const env = processEnv(4, cut.disk, {
      fault: (operation) => {
        if (operation.kind !== 'read')
          during.push({ ...cut, operation, disk: cut.disk.powerCutClone(random) });
        return undefined;
      },
    });
    const tree = await openTree(cut.disk, {}, env);
    await tree.flush();
    await tree.close();
    again += during.length;
    losses.push(...(await findLosses({ ...run, cuts: during }, {}, 4)));
  }
  assert.ok(again > 300, `${again} cuts`);
  assert.is(losses.join('\n'), '');
});

test('the test catches a disk whose syncs do nothing', async () => {
  const run = await runScript(1, {}, ({ kind }) => (kind === 'sync' ? 'ignore' : undefined));
  assert.ok((await findLosses(run, {}, 1)).length > 0);
});

test('the test catches directories that are not synced', async () => {
  const run = await runScript(1, {}, ({ kind }) => (kind === 'sync-directory' ? 'ignore' : undefined));
  assert.ok((await findLosses(run, {}, 1)).length > 0);
});

test.run();
