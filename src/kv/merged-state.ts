/**
 * Fills the state with which a tablet begins that is made of two: the keys of both, with their versions; their sessions
 * (`Sessions.unite`); and the record of the merge, which says to the tablet what it is. The two are frozen, so all
 * replicas find the same in them. They are small: all is read, and written anew.
 *
 * Each tablet counts a time of its own (replicated-time.ts). The new one begins with the higher of the two, and
 * deadlines are moved by what that is ahead of their own: each key keeps what was left of its life.
 */
import type { EngineOperation, StorageEngine } from '../engines/storage-engine.js';
import type { Tablet } from '../placement/placement.js';
import { TabletRange } from '../placement/tablet-map.js';
import {
  AFTER_USER_KEYS,
  APPLIED_KEY,
  deadlineKey,
  encodeApplied,
  fromStoredValue,
  fromUserKey,
  SPLIT_KEY,
  storedValue,
  TIME_KEY,
  userKey,
} from './keys.js';
import { encodeMerge, type Merge } from './merge.js';
import { ReplicatedTime } from './replicated-time.js';
import { Sessions } from './sessions.js';

export interface MergeSource {
  readonly tablet: Tablet;
  readonly engine: Pick<StorageEngine, 'entries'>;
  readonly sessions: Sessions;
  /** Where its log began. */
  readonly bornAt: number;
  readonly timeMs: number;
}

/** A batch is written when it has so many bytes, and other events run. */
const BATCH_BYTES = 256 * 1024;
const BATCH_OPERATIONS = 1000;

export async function buildMerged(
  target: StorageEngine,
  merge: Merge,
  sources: readonly [MergeSource, MergeSource],
  turn: () => Promise<void>,
): Promise<void> {
  const timeMs = Math.max(...sources.map((source) => source.timeMs));
  let deadlines = 0;
  for (const source of sources)
    deadlines += await copyKeys(target, merge, source, timeMs - source.timeMs, turn);
  const sessions = new Sessions();
  sessions.unite(sources.map((source) => [source.sessions, source.bornAt] as const));
  const { index, term, children } = merge;
  const applied = encodeApplied({ first: index, last: index, term, tablet: children[0].id });
  const table = sessions.takeChanges();
  for (let from = 0; from < table.length; from += BATCH_OPERATIONS) {
    await write(target, table.slice(from, from + BATCH_OPERATIONS));
    await turn();
  }
  await write(target, [
    { type: 'put', key: TIME_KEY, value: ReplicatedTime.begin(timeMs, deadlines).encode() },
    { type: 'put', key: SPLIT_KEY, value: encodeMerge(merge) },
    { type: 'put', key: APPLIED_KEY, value: applied },
  ]);
}

/** Resolves with how many keys had a deadline. */
async function copyKeys(
  target: StorageEngine,
  { by }: Merge,
  { tablet, engine }: MergeSource,
  aheadMs: number,
  turn: () => Promise<void>,
): Promise<number> {
  const range = new TabletRange(by, tablet);
  let deadlines = 0;
  let from = userKey(Buffer.alloc(0));
  for (;;) {
    const operations: EngineOperation[] = [];
    let bytes = 0;
    let next: Buffer | undefined;
    for (const [stored, value] of engine.entries({ gte: from, lt: AFTER_USER_KEYS })) {
      if (bytes > BATCH_BYTES) {
        next = stored;
        break;
      }
      bytes += stored.length + value.length;
      const key = fromUserKey(stored);
      // The engine may still show keys of the other part of a tablet that was split.
      if (!range.owns(key)) continue;
      const { version, value: own, deadlineMs } = fromStoredValue(value);
      if (deadlineMs === undefined) {
        operations.push({ type: 'put', key: stored, value });
        continue;
      }
      const movedMs = deadlineMs + aheadMs;
      deadlines++;
      operations.push(
        { type: 'put', key: stored, value: storedValue(version, own, Buffer.allocUnsafe, movedMs) },
        { type: 'put', key: deadlineKey(movedMs, key), value: Buffer.alloc(0) },
      );
    }
    await write(target, operations);
    if (!next) return deadlines;
    from = next;
    await turn();
  }
}

async function write(target: StorageEngine, operations: readonly EngineOperation[]): Promise<void> {
  if (operations.length === 0) return;
  await target.room?.();
  await target.write(operations);
}
