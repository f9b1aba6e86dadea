/** How many requests a node has carried out since its start: plain numbers, for its metrics. */
import type { Outcome } from '../env/errors.js';
import type { Consistency } from './requests.js';

type Ended = 'ok' | Outcome;

export class RequestCounts {
  readonly reads: Record<Consistency, number> = { linearizable: 0, lease: 0, follower: 0, stale: 0 };
  /** By the name of the door. */
  readonly doors = new Map<string, Record<'read' | 'write', Record<Ended, number>>>();

  /** Of all doors, whatever came of them. */
  total(kind: 'read' | 'write'): number {
    let total = 0;
    for (const { [kind]: ended } of this.doors.values())
      total += ended.ok + ended.notCommitted + ended.unknown;
    return total;
  }

  ended(door: string, kind: 'read' | 'write', outcome: Ended): void {
    let counts = this.doors.get(door);
    if (!counts) {
      counts = {
        read: { ok: 0, notCommitted: 0, unknown: 0 },
        write: { ok: 0, notCommitted: 0, unknown: 0 },
      };
      this.doors.set(door, counts);
    }
    counts[kind][outcome]++;
  }
}
