/**
 * Files below a directory that somebody holds: whatever goes by a name first looks whether the directory there is
 * still the one that was locked. If it was removed or moved, another may have its place, with files of the same names.
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
    bindSocket: async (path) => own().bindSocket(path),
    isListening: async (path) => own().isListening(path),
  };
}
