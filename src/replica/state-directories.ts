/**
 * The directories of a group: `state-INDEX-TERM` holds a state machine, `send-N` a checkpoint that is being sent,
 * `receive-INDEX-TERM` a snapshot that is arriving. The Raft log names the one that counts. The others are removed when
 * nothing needs them, at the latest at the next start.
 */
import type { Env, Logger } from '../env/env.js';
import { errorMessage } from '../env/errors.js';

type Kind = 'state' | 'send' | 'receive';

/** The directory of a state machine that came as this snapshot. */
export function stateDirectoryName(snapshot: { readonly index: number; readonly term: number }): string {
  return `state-${snapshot.index}-${snapshot.term}`;
}

export class StateDirectories {
  readonly path: string;
  readonly #env: Env;
  readonly #logger: Logger;

  constructor(env: Env, logger: Logger, path: string) {
    this.path = path;
    this.#env = env;
    this.#logger = logger;
  }

  pathOf(name: string): string {
    return `${this.path}/${name}`;
  }

  /** A failure is logged: the directory takes space, and goes at the next start. */
  remove(name: string): void {
    try {
      this.#env.fs.removeTree(this.pathOf(name));
    } catch (error) {
      this.#logger.warn({ error: errorMessage(error) }, `${name} could not be removed`);
    }
  }

  /** Removes the directories of these kinds that are not used. */
  removeUnused(kinds: readonly Kind[], used: readonly string[]): void {
    for (const name of this.#env.fs.list(this.path)) {
      if (kinds.some((kind) => name.startsWith(`${kind}-`)) && !used.includes(name)) this.remove(name);
    }
  }
}
