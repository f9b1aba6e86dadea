/**
 * A file system for a locked directory. Each operation by name first checks that the directory is still the locked one.
 * If the directory was moved or removed, its path may lead to another directory with files of the same names.
 */
import type { DirectoryLock } from './directory-lock.js';
import type { FileSystem } from './env.js';

export function ownedFiles(fs: FileSystem, lock: DirectoryLock): FileSystem {
  const own = () => {
    lock.check();
    return fs;
  };
  return {
    open: (path, mode) => own().open(path, mode),
    exists: (path) => own().exists(path),
    readFile: (path) => own().readFile(path),
    isReadableByOthers: (path) => own().isReadableByOthers(path),
    list: (directory) => own().list(directory),
    realPath: (path) => own().realPath(path),
    makeDirectory: (path) => own().makeDirectory(path),
    rename: (from, to) => own().rename(from, to),
    link: (from, to) => own().link(from, to),
    unlink: (path) => own().unlink(path),
    removeTree: (path) => own().removeTree(path),
    unlinkLater: async (path) => own().unlinkLater(path),
    syncDirectory: (path) => own().syncDirectory(path),
    syncDirectoryLater: async (path) => own().syncDirectoryLater(path),
    freeBytes: async (path) => own().freeBytes(path),
    bindSocket: async (path) => own().bindSocket(path),
    isListening: async (path) => own().isListening(path),
  };
}
