/** Trees for the tests of the tools: several levels, tombstones over older values, a WAL; and ways to damage them. */
import type { LsmOptions } from '../../src/lsm/index.js';
import {
  after,
  DIRECTORY,
  openTree,
  processEnv,
  put,
  randomBatches,
  remove,
  SeededRandom,
  SimDisk,
  type State,
} from './tree-lab.js';

/** Nothing is compacted by itself. */
export const QUIET: LsmOptions = { level0Trigger: 100, level0StopTrigger: 100, writeBufferBytes: 1 << 20 };

export interface Sample {
  readonly disk: SimDisk;
  readonly state: State;
}

/** Values in level 1, overwritten and deleted in two tables of level 0, and once more in the WAL. */
export async function sampleTree(seed = 1): Promise<Sample> {
  const disk = new SimDisk();
  const random = new SeededRandom(seed);
  const tree = await openTree(disk, QUIET);
  let state: State = new Map();
  for (const [round, batches] of [20, 8, 8, 5].map((count) => randomBatches(random, count, 25)).entries()) {
    for (const batch of batches) {
      await tree.write(batch);
      state = after(state, batch);
    }
    const deletion = [remove(`key00${round}`), put('round', String(round))];
    await tree.write(deletion);
    state = after(state, deletion);
    if (round === 0) await tree.compactRange();
    else if (round < 3) await tree.flush();
  }
  await tree.close();
  return { disk, state };
}

/** The paths of the files whose names match, in order. */
export function paths(disk: SimDisk, pattern: RegExp): string[] {
  const names = disk.mount().list(DIRECTORY);
  return names.filter((name) => pattern.test(name)).map((name) => `${DIRECTORY}/${name}`);
}

export function flipped(disk: SimDisk, path: string, offset: number): SimDisk {
  const copy = disk.clone();
  copy.edit(path, (content) => {
    content[offset] = (content[offset] as number) ^ (1 << (offset % 8));
    return content;
  });
  return copy;
}

/** The state that a new process finds. */
export async function stateOf(disk: SimDisk): Promise<State> {
  const tree = await openTree(disk, QUIET, processEnv(1, disk));
  try {
    return new Map(
      [...tree.iterator()].map(({ key, value }) => [key.toString('latin1'), value.toString('latin1')]),
    );
  } finally {
    await tree.close();
  }
}

/** All files with their bytes, to see whether something was changed. */
export function contents(disk: SimDisk): Map<string, string> {
  const fs = disk.mount();
  const files = fs.list(DIRECTORY).filter((name) => name.includes('.') || name.includes('-'));
  return new Map(files.map((name) => [name, fs.readFile(`${DIRECTORY}/${name}`).toString('hex')]));
}
