/** Verifies a tree that is not open: MANIFEST, WAL, every table, and that they agree. Changes nothing. */
import type { Env } from '../../env/env.js';
import { isSpareWal } from '../wal/wal.js';
import { checkUnlocked, readOfflineTree, readWal } from './offline-tree.js';
import { type VerifyReport, verifyTree } from './verify.js';

export interface DirectoryReport extends VerifyReport {
  readonly walFiles: number;
  readonly batches: number;
  /** Effects of a crash that the next opening repairs. They are no problems. */
  readonly notes: readonly string[];
}

/**
 * Throws `LSM_LOCKED` if a living process has the tree open, or opens it meanwhile, `LSM_INVALID` if there is no tree
 * in the directory, or the system's error. Damage is reported, not thrown.
 */
export async function verifyDirectory(env: Env, directory: string): Promise<DirectoryReport> {
  const tree = await readOfflineTree(env, directory);
  const wal = readWal(env, tree);
  const problems = [...tree.problems, ...wal.problems];
  const report = await verifyTree(env, directory, tree.version);
  const known = new Set(problems.map((problem) => problem.message));
  problems.push(...report.problems.filter((problem) => !known.has(problem.message)));
  await checkUnlocked(env, directory);
  const leftovers = tree.leftovers
    .filter((name) => !isSpareWal(name))
    .map((name) => `${directory}/${name}: it is no longer needed`);
  return {
    ...report,
    problems,
    walFiles: wal.files,
    batches: wal.batches,
    notes: [...tree.notes, ...wal.notes, ...leftovers],
  };
}
