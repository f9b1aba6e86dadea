/** The sessions of a tablet, told a second time: in order of use, the one that was used last comes last. */
import type { SessionPosition } from '../../kv/requests.js';
import type { WriteResult } from '../../kv/sessions.js';

interface Session {
  readonly window: number;
  readonly opened: number;
  floor: number;
  lastUsed: number;
  readonly slots: Map<number, { readonly sequence: number; readonly result: WriteResult }>;
}

export type SessionAnswer =
  | { readonly type: 'written'; readonly write: WriteResult }
  | { readonly type: 'refused'; readonly code: 'SESSION_EXPIRED' | 'INVALID_REQUEST' | 'OUT_OF_ORDER' };

/** Lower numbers are given by several tablets. */
const FIRST_DRAWN = 2 ** 52;

export class ReferenceSessions {
  readonly #maxSessions: number;
  readonly #sessions = new Map<number, Session>();
  /** Some were dropped, here or where the tablet came from. */
  #hasDropped = false;
  /** Number of commands that were answered from the table. */
  repeated = 0;
  /** Number of writes that came before the one that they follow. */
  outOfOrder = 0;
  /** Number of sessions that were dropped because there were too many. */
  dropped = 0;

  constructor(maxSessions: number) {
    this.#maxSessions = maxSessions;
  }

  /** As a part of a tablet begins with them. */
  copy(): ReferenceSessions {
    const copy = new ReferenceSessions(this.#maxSessions);
    copy.#hasDropped = this.#hasDropped;
    for (const [id, session] of this.#sessions)
      copy.#sessions.set(id, { ...session, slots: new Map(session.slots) });
    return copy;
  }

  /**
   * Those of two tablets. One of which the other may have dropped what it knew is dropped. `bornAt`: the other cannot
   * know a session that was opened later.
   */
  static united(
    tables: readonly { readonly sessions: ReferenceSessions; readonly bornAt: number }[],
    maxSessions: number,
  ): ReferenceSessions {
    const united = new ReferenceSessions(maxSessions);
    const all = new Map<number, Session>();
    united.#hasDropped = tables.some(({ sessions }) => sessions.#hasDropped);
    for (const [i, { sessions: table, bornAt }] of tables.entries()) {
      const { sessions: other } = tables[1 - i] as (typeof tables)[number];
      for (const [id, { window, opened, floor, slots }] of table.#sessions) {
        const isLost = other.#hasDropped && !other.#sessions.has(id) && opened <= bornAt;
        if (isLost || id < FIRST_DRAWN) {
          united.#hasDropped = true;
          continue;
        }
        const known = all.get(id) ?? { window, opened, floor, lastUsed: opened, slots: new Map() };
        known.floor = Math.max(known.floor, floor);
        for (const [slot, kept] of slots)
          if ((known.slots.get(slot)?.sequence ?? 0) < kept.sequence) known.slots.set(slot, kept);
        for (const { result } of known.slots.values())
          known.lastUsed = Math.max(known.lastUsed, result.index);
        all.set(id, known);
      }
    }
    const byAge = [...all].sort(([a, one], [b, other]) => one.lastUsed - other.lastUsed || a - b);
    while (byAge.length > maxSessions) {
      byAge.shift();
      united.#hasDropped = true;
    }
    for (const [id, session] of byAge) united.#sessions.set(id, session);
    return united;
  }

  /** By the entry of this index. Gives the window. */
  open(id: number, wanted: number, index: number): number {
    const window = Math.min(Math.max(1, wanted), 4096);
    const [oldest] = this.#sessions.keys();
    if (oldest !== undefined && this.#sessions.size >= this.#maxSessions) {
      this.#sessions.delete(oldest);
      this.dropped++;
      this.#hasDropped = true;
    }
    this.#sessions.set(id, { ...{ window, opened: index, floor: 0, lastUsed: index }, slots: new Map() });
    return window;
  }

  /** Carries out a write of a session, unless it was carried out before, or may not be now. */
  write(
    { id, sequence, acknowledgedThrough, after }: SessionPosition,
    index: number,
    carryOut: () => WriteResult,
  ): SessionAnswer {
    const session = this.#sessions.get(id);
    if (!session) return { type: 'refused', code: 'SESSION_EXPIRED' };
    const slot = sequence % session.window;
    const kept = session.slots.get(slot);
    if (kept?.sequence === sequence) {
      this.repeated++;
      return { type: 'written', write: kept.result };
    }
    const floor = Math.max(session.floor, acknowledgedThrough);
    if (sequence <= floor || sequence > floor + session.window)
      return { type: 'refused', code: 'INVALID_REQUEST' };
    const isBefore = after <= floor || session.slots.get(after % session.window)?.sequence === after;
    if (!isBefore) {
      this.outOfOrder++;
      return { type: 'refused', code: 'OUT_OF_ORDER' };
    }
    const write = carryOut();
    this.#sessions.delete(id);
    this.#sessions.set(id, session);
    session.floor = floor;
    session.lastUsed = index;
    session.slots.set(slot, { sequence, result: write });
    return { type: 'written', write };
  }
}
