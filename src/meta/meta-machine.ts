/** The state of meta: a key-value store that keeps its records decoded too, as of the last entry that was applied. */

import { commandOf } from '../kv/command.js';
import { type CommandResult, KvStateMachine } from '../kv/kv-state-machine.js';
import type { Entry } from '../raft/types.js';
import { MetaState } from './meta-state.js';

const PAGE_ENTRIES = 1000;
const PAGE_BYTES = 4 * 1024 * 1024;

export class MetaMachine extends KvStateMachine {
  readonly state = new MetaState();
  /** Called when records may have changed. */
  onChange: () => void = () => {};

  constructor(...parts: ConstructorParameters<typeof KvStateMachine>) {
    super(...parts);
    this.#readAll();
  }

  override apply(
    first: number,
    entries: readonly Entry[],
  ): readonly CommandResult[] | Promise<readonly CommandResult[]> {
    const keys = new Set<string>();
    for (const { kind, body } of entries) {
      const command = kind === 'command' ? commandOf(body) : undefined;
      if (command?.type === 'write')
        for (const { action, key } of command.operations)
          if (action === 'put' || action === 'delete') keys.add(key.toString());
    }
    const results = super.apply(first, entries);
    if (results instanceof Promise)
      return results.then((done) => {
        this.#read(keys);
        return done;
      });
    this.#read(keys);
    return results;
  }

  override async restore(directory: string): Promise<void> {
    await super.restore(directory);
    this.#readAll();
    this.onChange();
  }

  #read(keys: ReadonlySet<string>): void {
    if (keys.size === 0) return;
    for (const key of keys) {
      const found = this.get(Buffer.from(key));
      this.state.set(key, found?.value.toString(), found?.version ?? 0);
    }
    this.onChange();
  }

  #readAll(): void {
    this.state.clear();
    let from = Buffer.alloc(0);
    for (;;) {
      const page = { from, to: undefined, reverse: false, maxEntries: PAGE_ENTRIES, maxBytes: PAGE_BYTES };
      const { entries, more } = this.scan(page);
      for (const { key, value, version } of entries)
        this.state.set(key.toString(), value.toString(), version);
      const last = entries.at(-1);
      if (!more || !last) return;
      from = Buffer.concat([last.key, Buffer.of(0)]);
    }
  }
}
