/** Removes a tree that is not open. */
import { isLockName } from '../../env/directory-lock.js';
import type { Env } from '../../env/env.js';
import { checkDirectory } from '../base/errors.js';
import { isMarkName } from '../directory/other-engines.js';
import { holdsTree, takeDirectory } from '../directory/tree-directory.js';
import { tableNumber } from '../table/table-file.js';
import { isTemporaryManifest, manifestNumbers } from '../version/manifest.js';
import { isSpareWal, isWalName } from '../wal/wal.js';

/**
 * Removes the files of a tree, and its directory if nothing else is in it. Nothing happens where there is no tree.
 * Rejects with `LSM_LOCKED` if the tree is open, `LSM_INVALID` if it is no directory, or the system's error; it may
 * then be called again.
 */
export async function destroyTree(env: Env, directory: string): Promise<void> {
  const { fs } = env;
  checkDirectory(env, directory);
  if (!holdsTree(env, directory)) return;
  const { path, lock } = await takeDirectory(env, directory, {
    createIfMissing: false,
    errorIfExists: false,
  });
  try {
    const names = fs.list(path);
    const isManifest = (name: string) => manifestNumbers([name]).length > 0 || isTemporaryManifest(name);
    // The MANIFESTs first: after a crash in between the tree does not open. It must not open with parts missing.
    for (const name of names.filter(isManifest)) fs.unlink(`${path}/${name}`);
    fs.syncDirectory(path);
    for (const name of names) {
      if (isWalName(name) || isSpareWal(name) || tableNumber(name) !== undefined || isMarkName(name))
        await fs.unlinkLater(`${path}/${name}`);
    }
    fs.syncDirectory(path);
    // While the lock is held, so that no other tree is begun there.
    if (fs.list(path).every(isLockName)) fs.removeTree(path);
  } finally {
    lock.release();
  }
}
