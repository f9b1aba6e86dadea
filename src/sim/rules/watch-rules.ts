/**
 * What a watch was told, against what the entries have changed: of each key every change once, in order, with its
 * value, and none left out before the version that the watch says to resume from.
 */
import type { WatchChange } from '../../client/tablet-watch.js';
import type { Fail } from './fail.js';
import type { Reference } from './reference.js';

/** One watch, from its first version to where it was when it ended. */
export interface WatchRecord {
  readonly client: string;
  readonly keys: readonly string[];
  /** Undefined: it has not begun. */
  fromVersion: number | undefined;
  resumeFrom: number | undefined;
  readonly told: WatchChange[];
}

export function checkWatch(record: WatchRecord, reference: Reference, fail: Fail): void {
  const { client, keys, fromVersion, resumeFrom = 0, told } = record;
  if (fromVersion === undefined) return;
  const say = (what: string) => fail('watches', `${client}, which watches from ${fromVersion} on, ${what}`);
  const stray = told.find(({ key }) => !keys.includes(key.toString()));
  if (stray) say(`was told of ${stray.key}, which it does not watch`);
  const isBackward = told.some(({ version }, i) => version < (told[i - 1]?.version ?? 0));
  if (isBackward) say(`was told the versions ${told.map(({ version }) => version).join()}`);
  for (const key of keys) {
    const expected = reference.toldOf(key).filter(({ version }) => version >= fromVersion);
    const found = told.filter((change) => change.key.toString() === key);
    for (const [i, change] of found.entries()) {
      const wanted = expected[i];
      const isSame =
        wanted?.version === change.version &&
        wanted.type === change.type &&
        wanted.value.equals(change.value);
      if (!isSame)
        say(`was told ${shown(change)} of ${key} where ${wanted ? shown(wanted) : 'nothing'} was due`);
    }
    const missing = expected[found.length];
    if (missing && missing.version < resumeFrom)
      say(`was not told ${shown(missing)} of ${key}, and says to resume from ${resumeFrom}`);
  }
}

function shown({ type, version, value }: Pick<WatchChange, 'type' | 'version' | 'value'>): string {
  return `${type} ${version} ${value.toString('latin1', 0, 24)}`;
}
