/**
 * A file system whose asynchronous reads and writes are done synchronously. It is for a worker thread that has nothing
 * else to do meanwhile: there, a trip through libuv's thread pool costs more than it gains. Syncs stay asynchronous,
 * because they take long.
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
    writeDurableNow: (chunks, position) => file.writeDurableNow(chunks, position),
    sync: () => file.sync(),
    syncNow: () => file.syncNow(),
    truncate: (sizeBytes) => file.truncate(sizeBytes),
    close: () => file.close(),
  };
}
