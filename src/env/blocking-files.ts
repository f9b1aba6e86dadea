/**
 * Files whose asynchronous reads and writes are done when they return: for a thread that has nothing else to do
 * meanwhile, a call through libuv's thread pool costs more than it gives. Syncs take long, and do not block.
 */
import type { File, FileSystem } from './env.js';

export function blockingFiles(fs: FileSystem): FileSystem {
  return {
    ...fs,
    open: (path, mode) => blocking(fs.open(path, mode)),
    unlinkLater: async (path) => fs.unlink(path),
  };
}

function blocking(file: File): File {
  return {
    path: file.path,
    sizeBytes: () => file.sizeBytes(),
    readSync: (target, position) => file.readSync(target, position),
    read: async (target, position) => file.readSync(target, position),
    writeSync: (chunks, position) => file.writeSync(chunks, position),
    write: async (chunks, position) => file.writeSync(chunks, position),
    writeDurable: async (chunks, position) => {
      file.writeSync(chunks, position);
      file.syncNow();
    },
    sync: () => file.sync(),
    syncNow: () => file.syncNow(),
    truncate: (sizeBytes) => file.truncate(sizeBytes),
    close: () => file.close(),
  };
}
