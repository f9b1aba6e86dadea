/**
 * A process is killed, the next one opens the tree, and then the power fails. What the next process has read may be
 * only in the system's memory. It must not remove files or state a durable sequence because of it before it is durable.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { LsmOptions } from '../../src/lsm/index.js';
import { type FileOperation, systemError } from '../../src/sim/world/file-operation.js';
import { DIRECTORY, openTree, processEnv, put, renderTree, SeededRandom, SimDisk } from './tree-lab.js';

const CUTS = 12;
const BIG: LsmOptions = { writeBufferBytes: 1 << 20, level0Trigger: 1000, level0StopTrigger: 1000 };

/** A disk on which the last edit is written into the MANIFEST and not synced; and what the tree must hold. */
async function killedDuringEdit(edit: 'flush' | 'compaction'): Promise<{ disk: SimDisk; state: string }> {
  const disk = new SimDisk();
  let isArmed = false;
  let killed: SimDisk | undefined;
  const env = processEnv(1, disk, {
    fault: ({ kind, path }) => {
      if (isArmed && kind === 'sync' && /MANIFEST-\d+$/.test(path)) killed ??= disk.clone();
      return undefined;
    },
  });
  const tree = await openTree(disk, BIG, env);
  for (let table = 0; table < 3; table++) {
    for (let i = 0; i < 5; i++) await tree.write([put(`key${i}`, `${table}${'x'.repeat(100)}`)]);
    if (edit === 'compaction' || table < 2) await tree.flush();
  }
  const state = renderTree(tree);
  isArmed = true;
  await (edit === 'flush' ? tree.flush() : tree.compactRange());
  await tree.close();
  assert.ok(killed);
  return { disk: killed, state };
}

/** What power cuts leave must be the same tree. */
async function checkCuts(
  disk: SimDisk,
  state: string,
  place: string,
  firstSeed = 0,
  cuts = CUTS,
): Promise<void> {
  for (let seed = firstSeed; seed < firstSeed + cuts; seed++) {
    const tree = await openTree(disk.powerCutClone(new SeededRandom(seed)), BIG).catch((error) => error);
    assert.not.instance(tree, Error, `${place}, cut ${seed}: ${tree}`);
    assert.is(renderTree(tree), state, `${place}, cut ${seed}`);
    await tree.close();
  }
}

for (const edit of ['flush', 'compaction'] as const) {
  test(`killed during the edit of a ${edit}; the power fails at any operation of the next opening`, async () => {
    const { disk, state } = await killedDuringEdit(edit);
    const copies: [FileOperation, SimDisk][] = [];
    const opened = disk.clone();
    const env = processEnv(2, opened, {
      fault: (operation) => {
        if (operation.kind !== 'read') copies.push([operation, opened.clone()]);
        return undefined;
      },
    });
    await (await openTree(opened, BIG, env)).close();
    assert.ok(copies.length > 10, `${copies.length} operations`);
    for (const [{ number, kind, path }, copy] of copies)
      await checkCuts(copy, state, `${number}: ${kind} ${path}`, number, 2);
  });

  test(`killed during the edit of a ${edit}, opened on a full disk; then the power fails`, async () => {
    const { disk, state } = await killedDuringEdit(edit);
    const env = processEnv(2, disk, {
      fault: ({ kind, path }) =>
        kind === 'write' || kind === 'create' ? systemError('ENOSPC', kind, path) : undefined,
    });
    const tree = await openTree(disk, BIG, env);
    assert.is(renderTree(tree), state);
    const before = disk.clone();
    await tree.close();
    await checkCuts(before, state, 'while open');
    await checkCuts(disk, state, 'closed');
  });
}

test('on a full disk what is said to be durable is durable', async () => {
  const disk = new SimDisk();
  const killedLater = await openTree(disk, BIG);
  await killedLater.write([put('a', '1')]);
  for (let i = 0; i < 20; i++)
    await killedLater.write([put(`key${i}`, 'x'.repeat(100))], { durability: 'buffered' });
  assert.is(killedLater.durableSequence, 1);
  const killed = disk.clone();
  await killedLater.close();
  const env = processEnv(2, killed, {
    fault: ({ kind, path }) =>
      kind === 'write' || kind === 'create' ? systemError('ENOSPC', kind, path) : undefined,
  });
  const tree = await openTree(killed, BIG, env);
  const state = renderTree(tree);
  assert.is(tree.durableSequence, 21);
  await checkCuts(killed, state, 'while open');
  await tree.close();
  assert.ok(killed.files(DIRECTORY).length > 0);
  await checkCuts(killed, state, 'closed');
});

test.run();
