/** The folder in which `repair` keeps the originals of what it replaces: under other names, with the same bytes. */
import type { Env } from '../env/env.js';
import { errorCode } from '../env/errors.js';
import { LOST_DIRECTORY } from './closed-tree.js';

export class LostFolder {
  readonly path: string;
  readonly #env: Env;
  readonly #directory: string;
  readonly #kept: string[] = [];

  constructor(env: Env, directory: string) {
    this.#env = env;
    this.#directory = directory;
    this.path = `${directory}/${LOST_DIRECTORY}`;
  }

  /** Names in the tree's directory whose bytes are in the folder too. */
  get kept(): readonly string[] {
    return this.#kept;
  }

  /** Gives a file of the tree a second name in the folder. Throws the system's error. */
  async keep(name: string): Promise<void> {
    const { fs } = this.#env;
    fs.makeDirectory(this.path);
    let to = `${this.path}/${name}`;
    for (let copy = 2; fs.exists(to); copy++) to = `${this.path}/${name}.${copy}`;
    const from = `${this.#directory}/${name}`;
    try {
      fs.link(from, to);
    } catch (error) {
      // No second names here, or not for this file.
      if (errorCode(error) === 'ENOENT' || errorCode(error) === 'EIO') throw error;
      await this.#copy(from, to);
    }
    this.#kept.push(name);
  }

  /** Makes the folder durable, then removes what it keeps from the tree. */
  removeOriginals(): void {
    const { fs } = this.#env;
    for (const name of this.#kept) fs.unlink(`${this.#directory}/${name}`);
    fs.syncDirectory(this.#directory);
  }

  /** Makes what is kept durable. */
  sync(): void {
    if (this.#kept.length > 0) this.#env.fs.syncDirectory(this.path);
  }

  async #copy(from: string, to: string): Promise<void> {
    const file = this.#env.fs.open(to, 'create');
    try {
      await file.write([this.#env.fs.readFile(from)], 0);
      await file.sync();
    } finally {
      file.close();
    }
  }
}
