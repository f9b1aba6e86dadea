/**
 * What a watch was told, against what the entries have changed: of each key every change once, in order, with its
 * value, and none left out before the version that the watch says to resume from.
 */
import type { WatchChange } from '../../client/tablet-watch.js';
import type { WatchPosition } from '../../client/watch.js';
import { versionAt } from '../../client/watch-places.js';
import { decodeToken, placesOf } from '../../client/watch-token.js';
import { hashOfKey } from '../../placement/partition-key.js';
import { ringPoint } from '../../placement/placement.js';
import type { Fail } from './fail.js';
import type { References } from './references.js';

/** A version for each watched key: those of different tablets have nothing to do with each other. */
export type Versions = ReadonlyMap<string, number>;

/** One watch, from where it began to where it was when it ended. */
export interface WatchRecord {
  readonly client: string;
  readonly keys: readonly string[];
  /** Undefined: it has not begun. */
  from: Versions | undefined;
  resumeFrom: Versions | undefined;
  readonly told: WatchChange[];
}

/** What a position of a watch says about each of its keys. */
export function versionsAt(position: WatchPosition, keys: readonly string[]): Versions {
  if (typeof position === 'number') return new Map(keys.map((key) => [key, position]));
  const token = decodeToken(position);
  return new Map(
    keys.flatMap((name): [string, number][] => {
      const key = Buffer.from(name);
      const point = token.by === 'hash' ? ringPoint(hashOfKey(key)) : key;
      const isIn = placesOf(token, point, Buffer.concat([point, Buffer.of(0)])) !== undefined;
      return isIn ? [[name, versionAt(token, token.by, key)]] : [];
    }),
  );
}

export function checkWatch(record: WatchRecord, references: References, fail: Fail): void {
  const { client, keys, from, resumeFrom, told } = record;
  if (!from) return;
  const say = (what: string) => fail('watches', `${client}, which watches ${keys.join()}, ${what}`);
  const stray = told.find(({ key }) => !keys.includes(key.toString()));
  if (stray) say(`was told of ${stray.key}, which it does not watch`);
  // Keys that have been in one tablet all the time are told of in one stream.
  const ownersOf = ({ key, version }: WatchChange) =>
    references.ofKey(key.toString()).ownersSince(key.toString(), version).join();
  for (const owners of new Set(told.map(ownersOf))) {
    const own = told.filter((change) => ownersOf(change) === owners);
    if (own.some(({ version }, i) => version < (own[i - 1]?.version ?? 0)))
      say(`was told the versions ${own.map(({ version }) => version).join()} of tablet ${owners}`);
  }
  for (const key of keys) {
    const since = from.get(key);
    if (since === undefined) {
      say(`has a position that says nothing of ${key}`);
      continue;
    }
    const expected = references
      .ofKey(key)
      .toldOf(key)
      .filter(({ version }) => version >= since);
    const found = told.filter((change) => change.key.toString() === key);
    for (const [i, change] of found.entries()) {
      const wanted = expected[i];
      const isSame =
        wanted?.version === change.version &&
        wanted.type === change.type &&
        wanted.value.equals(change.value);
      if (!isSame)
        say(
          `was told ${shown(change)} of ${key} from ${since} on where ${wanted ? shown(wanted) : 'nothing'} was due`,
        );
    }
    const missing = expected[found.length];
    const resumed = resumeFrom?.get(key) ?? 0;
    if (missing && missing.version < resumed)
      say(`was not told ${shown(missing)} of ${key} from ${since} on, and says to resume from ${resumed}`);
  }
}

function shown({ type, version, value }: Pick<WatchChange, 'type' | 'version' | 'value'>): string {
  return `${type} ${version} ${value.toString('latin1', 0, 24)}`;
}
