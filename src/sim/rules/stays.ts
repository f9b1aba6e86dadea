/** The stays of replicas: each time a tablet comes to a node it is another replica, with an id that none had before. */

import { replicaIdIn } from '../../placement/replica-context.js';
import { type Configuration, membersOf } from '../../raft/configuration.js';
import type { Fail } from './fail.js';

export class Stays {
  readonly #fail: Fail;
  readonly #ids = new Set<number>();

  constructor(fail: Fail) {
    this.#fail = fail;
  }

  /** The members of a tablet have changed by an entry of its log. */
  changed(tablet: number, before: Configuration, after: Configuration): void {
    const known = idsIn(before);
    for (const id of known.keys()) this.#ids.add(id);
    for (const [id, node] of idsIn(after)) {
      if (known.get(id) === node) continue;
      const isNew = id > 0 && !this.#ids.has(id);
      this.#ids.add(id);
      if (isNew) continue;
      const what = `node ${node} gets replica ${id} of tablet ${tablet}, which was a replica before`;
      this.#fail('ids are given once', what);
    }
  }
}

/** The nodes, by replica. */
function idsIn(configuration: Configuration): Map<number, number> {
  return new Map(membersOf(configuration).map((node) => [replicaIdIn(configuration.contexts[node]), node]));
}
