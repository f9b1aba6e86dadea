/**
 * A disk that forgets, after Pebble's crashable MemFS. Per file it keeps what is written and what is synced; per
 * directory the names that are written and those that are synced. `powerCut` keeps of everything unsynced a random
 * *subset*: of a file's changed 512-byte blocks (so holes appear), of its size, and of a directory's changed names.
 * A durable write makes durable its own bytes only, whatever else its blocks hold.
 */
import { copyDirectory, Directory, find } from './directory.js';
import { type SimFileSystemOptions, systemError } from './file-operation.js';
import { SimFileSystem } from './file-system.js';
import { Inode, type SocketFile } from './inode.js';
import type { SeededRandom } from './seeded-random.js';

export class SimDisk {
  readonly root = new Directory();
  readonly #sockets = new Set<SocketFile>();
  #mounts = 0;

  /** Views there have been of this disk and of those it is a copy of. */
  get mounts(): number {
    return this.#mounts;
  }

  /** Whoever listens on a socket of this disk is dead. */
  endListeners(): void {
    for (const socket of this.#sockets) socket.isListening = false;
    this.#sockets.clear();
  }

  /** Of one view. */
  addListener(socket: SocketFile): void {
    this.#sockets.add(socket);
  }

  /** One process' view. */
  mount(options: SimFileSystemOptions = {}): SimFileSystem {
    this.#mounts++;
    return new SimFileSystem(this, options);
  }

  /** The power fails now. Views of before must not be used again. */
  powerCut(random: SeededRandom): void {
    this.root.powerCut(random);
  }

  /** A copy of the disk as a power cut would leave it now; this one goes on. */
  powerCutClone(random: SeededRandom): SimDisk {
    const clone = this.clone();
    clone.powerCut(random);
    return clone;
  }

  /** A copy in every detail: written and synced. */
  clone(): SimDisk {
    const disk = new SimDisk();
    disk.#mounts = this.#mounts;
    copyDirectory(this.root, disk.root);
    return disk;
  }

  /** The paths of all files below a directory, sorted. */
  files(directory = ''): string[] {
    const node = find(this.root, directory);
    if (!(node instanceof Directory)) return [];
    return [...node.names.entries()]
      .flatMap(([name, child]) =>
        child instanceof Directory ? this.files(`${directory}/${name}`) : [`${directory}/${name}`],
      )
      .sort();
  }

  /** What a file holds now; undefined if there is none. */
  contentOf(path: string): Buffer | undefined {
    const node = find(this.root, path);
    return node instanceof Inode ? Buffer.from(node.content.subarray(0, node.sizeBytes)) : undefined;
  }

  /** The file as it is now, for tests that damage it. */
  edit(path: string, change: (content: Buffer) => Buffer): void {
    const node = find(this.root, path);
    if (!(node instanceof Inode)) throw systemError('ENOENT', 'edit', path);
    const content = change(Buffer.from(node.content.subarray(0, node.sizeBytes)));
    node.content = content;
    node.sizeBytes = content.length;
    node.durable = Buffer.from(content);
    node.durableSizeBytes = content.length;
    node.dirty.clear();
  }
}
