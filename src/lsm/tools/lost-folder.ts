/** The folder in which `repair` keeps the originals of what it replaces: under other names, with the same bytes. */
import type { Env } from '../../env/env.js';
import { errorCode } from '../../env/errors.js';
import { unreadable } from '../../record/read-whole.js';
import { LOST_DIRECTORY } from './offline-tree.js';

export class LostFolder {
  readonly path: string;
  readonly #env: Env;
  readonly #directory: string;
  readonly #kept: string[] = [];
  /** Files that can have neither a hard link nor a copy. They are moved to these paths at the end. */
  readonly #moved = new Map<string, string>();

  constructor(env: Env, directory: string) {
    this.#env = env;
    this.#directory = directory;
    this.path = `${directory}/${LOST_DIRECTORY}`;
  }

  /** Names in the tree's directory whose bytes the folder holds too. */
  get kept(): readonly string[] {
    return this.#kept;
  }

  /** Gives a file of the tree a second name in the folder, or a copy. Throws the system's error. */
  async keep(name: string): Promise<void> {
    const { fs } = this.#env;
    fs.makeDirectory(this.path);
    let to = `${this.path}/${name}`;
    for (let copy = 2; fs.exists(to); copy++) to = `${this.path}/${name}.${copy}`;
    const from = `${this.#directory}/${name}`;
    try {
      fs.link(from, to);
    } catch (error) {
      // Hard links are not possible here, or not for this file.
      if (errorCode(error) === 'ENOENT' || errorCode(error) === 'EIO') throw error;
      if (!(await this.#copy(from, to))) this.#moved.set(name, to);
    }
    this.#kept.push(name);
  }

  /** Makes the folder durable, then removes the originals that it keeps from the tree. */
  removeOriginals(): void {
    const { fs } = this.#env;
    for (const name of this.#kept) {
      const to = this.#moved.get(name);
      if (to === undefined) fs.unlink(`${this.#directory}/${name}`);
      else fs.rename(`${this.#directory}/${name}`, to);
    }
    fs.syncDirectory(this.#directory);
    this.sync();
  }

  /** Makes the files in the folder durable. */
  sync(): void {
    if (this.#kept.length > 0) this.#env.fs.syncDirectory(this.path);
  }

  /** False for a directory, for example, which can only be moved. */
  async #copy(from: string, to: string): Promise<boolean> {
    let content: Buffer;
    try {
      content = this.#env.fs.readFile(from);
    } catch (error) {
      if (errorCode(unreadable(error, from)) === 'CORRUPTION') return false;
      throw error;
    }
    const file = this.#env.fs.open(to, 'create');
    try {
      await file.write([content], 0);
      await file.sync();
      return true;
    } finally {
      file.close();
    }
  }
}
