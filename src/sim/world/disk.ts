/**
 * A disk that loses unsynced data when the power fails, after Pebble's crashable MemFS. It keeps the written and the
 * synced bytes of each file, and the written and the synced names of each directory. `powerCut` keeps a random *subset*
 * of what is not synced: of a file's changed 512-byte blocks (so there may be holes), of its size, and of a directory's
 * changed names. A durable write makes its own bytes durable, and no other bytes of its blocks.
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

  /** How many views there were of this disk, and of the disks that it was copied from. */
  get mounts(): number {
    return this.#mounts;
  }

  /** The processes that listened on sockets of this disk are dead. */
  endListeners(): void {
    for (const socket of this.#sockets) socket.isListening = false;
    this.#sockets.clear();
  }

  /** Called by a view that listens on a socket. */
  addListener(socket: SocketFile): void {
    this.#sockets.add(socket);
  }

  /** One process' view. */
  mount(options: SimFileSystemOptions = {}): SimFileSystem {
    this.#mounts++;
    return new SimFileSystem(this, options);
  }

  /** The power fails now. Earlier views must not be used again. */
  powerCut(random: SeededRandom): void {
    this.root.powerCut(random);
  }

  /** A copy as a power cut would leave the disk now. This disk is not changed. */
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
    return node instanceof Inode ? Buffer.from(node.content()) : undefined;
  }

  /** Changes the written and the synced bytes of a file: for tests that damage it. */
  edit(path: string, change: (content: Buffer) => Buffer): void {
    const node = find(this.root, path);
    if (!(node instanceof Inode)) throw systemError('ENOENT', 'edit', path);
    node.replace(change(Buffer.from(node.content())));
  }
}
