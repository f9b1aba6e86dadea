/**
 * Which versions a flush or a compaction keeps. Entries come in internal order, so the newest version of a key comes
 * first:
 *
 *   - of two versions with no listed snapshot between them only the newer stays: nobody can see the older one;
 *   - no version of a key that is not the tree's own stays;
 *   - a tombstone that every listed snapshot sees goes too, if nothing older of its key lies in a deeper level.
 *
 * Example, snapshots at 5 and 9:  key at 12, 8, 7, 4  →  12, 8 and 4 stay; 7 is hidden by 8 from both.
 */
import { compareRanges } from '../base/bytes.js';
import type { Cursor } from '../base/cursor.js';
import type { OwnedKeys } from '../base/key-bounds.js';

export class VersionFilter {
  readonly #snapshots: readonly number[];
  readonly #isBase: (entry: Cursor) => boolean;
  #key: Buffer = Buffer.allocUnsafe(128);
  /** -1 before the first key. */
  #keyLength = -1;
  #lastGroup = -1;
  /** Whether an earlier version of the last entry's key was kept: a file must not be cut before it. */
  continuesKey = false;
  #keptOfKey = false;
  readonly #owned: OwnedKeys | undefined;
  #isForeign = false;

  /** `snapshots` ascending; `isBase` says whether no deeper level may hold the entry's key. */
  constructor(snapshots: readonly number[], isBase: (entry: Cursor) => boolean, owned?: OwnedKeys) {
    this.#owned = owned;
    this.#snapshots = snapshots;
    this.#isBase = isBase;
  }

  keeps(entry: Cursor): boolean {
    const { keyBytes, keyStart, keyEnd } = entry;
    const group = this.#groupOf(entry.sequence);
    if (
      this.#keyLength < 0 ||
      compareRanges(this.#key, 0, this.#keyLength, keyBytes, keyStart, keyEnd) !== 0
    ) {
      this.#rememberKey(keyBytes, keyStart, keyEnd);
      this.#keptOfKey = false;
      this.#isForeign = this.#owned?.owns(keyBytes.subarray(keyStart, keyEnd)) === false;
    } else if (group === this.#lastGroup) return false;
    this.#lastGroup = group;
    if (this.#isForeign) return false;
    if (entry.deleted && group === 0 && this.#isBase(entry)) return false;
    this.continuesKey = this.#keptOfKey;
    this.#keptOfKey = true;
    return true;
  }

  /** How many snapshots are below a sequence: versions of one group are seen by the same snapshots, or by none. */
  #groupOf(sequence: number): number {
    const snapshots = this.#snapshots;
    let group = snapshots.length;
    while (group > 0 && (snapshots[group - 1] as number) >= sequence) group--;
    return group;
  }

  #rememberKey(bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    if (length > this.#key.length) this.#key = Buffer.allocUnsafe(2 * length);
    const key = this.#key;
    for (let i = 0; i < length; i++) key[i] = bytes[start + i] as number;
    this.#keyLength = length;
  }
}
