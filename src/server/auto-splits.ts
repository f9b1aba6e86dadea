/**
 * Splits tablets that are too large or too busy, each on the node that leads it:
 *
 *     by size    its keys take more than `maxTabletBytes`: in the middle of its bytes
 *     by load    it was asked more than `maxTabletOperationsPerSecond` in several looks in a row: in the middle of what
 *                it was asked. One hot key cannot be divided: then the tablet stays whole
 *
 * One tablet of the node is split at a time, and few of the cluster. A tablet that was looked at closely, or could not
 * be split, is left alone for a while, for less if what was in the way passes; one that was not too large yet, until
 * it has grown by what it lacked. Its parts begin with no load, and with
 * less than its size, so they are not split for the same reason.
 *
 * A cluster of one tablet without a map gets one before its first split (map-birth.ts). That needs all members: until
 * they are there the tablet stays whole, and the log says why, once.
 */
import type { Env, Logger, Timer } from '../env/env.js';
import { errorCode, errorMessage } from '../env/errors.js';
import type { KvStateMachine } from '../kv/kv-state-machine.js';
import { middleOf } from '../kv/split-point.js';
import type { TabletLoad } from '../kv/tablet-load.js';
import type { PlacementKind } from '../placement/placement.js';
import type { Role } from '../raft/types.js';
import type { SplitSettings } from './placement-config.js';

/** What is looked at of a tablet. */
export interface SplittableTablet {
  readonly tablet: { readonly id: number };
  readonly load: Pick<TabletLoad, 'take'>;
  readonly group: { readonly replica: { readonly role: Role } };
  readonly stateMachine: Pick<KvStateMachine, 'sizeBytes' | 'survey' | 'range'>;
}

export interface AutoSplitsParts<Splittable extends SplittableTablet> {
  readonly env: Pick<Env, 'clock' | 'timers'>;
  readonly logger: Logger;
  readonly settings: () => SplitSettings;
  readonly by: PlacementKind;
  /** Those of this node that have not ended. */
  readonly tablets: () => readonly Splittable[];
  readonly splitAt: (tablet: Splittable, point: Buffer) => Promise<unknown>;
  /** How many splits are under way in the cluster. */
  readonly underWay: () => number;
  readonly onFault: (error: unknown) => void;
}

export const LOOK_MS = 5000;
/** A tablet is busy when it was so in as many looks in a row. */
const BUSY_LOOKS = 3;
/** After a close look at a tablet that was not split. */
const LEFT_ALONE_MS = 60_000;
/** After a split that was in the way of something that ends, or lacked a node that comes back. */
const TRIED_AGAIN_MS = 10_000;
/** Of the whole cluster. */
const MAX_SPLITS_UNDER_WAY = 4;
const SAMPLES = 200;
/** Of a sample of fewer keys nothing is known. */
const LEAST_LOAD_SAMPLES = 40;
/** Each part is to have so much of the load, or nothing would be won. */
const LEAST_LOAD_SHARE = 0.25;

/** These pass by themselves, or somebody else has split or moved the tablet. */
const EXPECTED: ReadonlySet<string | undefined> = new Set([
  'CHANGE_CONFLICT',
  'CHANGE_INVALID',
  'CHANGE_PENDING',
  'DISK_FULL',
  'LEADERSHIP_LOST',
  'MEMBER_UNREACHABLE',
  'NO_LEADER',
  'NOT_LEADER',
  'WRONG_TABLET',
]);

/** Of these, those that pass soon. */
const PASSING: ReadonlySet<string | undefined> = new Set([
  'CHANGE_CONFLICT',
  'CHANGE_PENDING',
  'LEADERSHIP_LOST',
  'MEMBER_UNREACHABLE',
  'NO_LEADER',
]);

interface Seen {
  /** Looks in a row in which it was busy. */
  readonly busyLooks: number;
  readonly leftAloneUntilMs: number;
  /** If its files take more, its keys may have become too many since the close look. */
  readonly leftAloneThroughBytes: number;
  /** Why it could not be split; empty: nothing was in the way. */
  readonly problem: string;
}

const LEFT_ALONE_ANYWAY = Number.POSITIVE_INFINITY;
const UNSEEN: Seen = {
  ...{ busyLooks: 0, leftAloneUntilMs: 0, problem: '' },
  leftAloneThroughBytes: LEFT_ALONE_ANYWAY,
};

interface Wanted {
  readonly point: Buffer;
  readonly why: string;
}

export class AutoSplits<Splittable extends SplittableTablet> {
  readonly #parts: AutoSplitsParts<Splittable>;
  /** Of the tablets that this node leads. */
  #seen = new Map<number, Seen>();
  #lookedMs: number;
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(parts: AutoSplitsParts<Splittable>) {
    this.#parts = parts;
    this.#lookedMs = parts.env.clock.nowMs();
  }

  /** Looks again and again. */
  begin(): void {
    if (this.#isClosed) return;
    this.#timer = this.#parts.env.timers.after(LOOK_MS, () => {
      this.#look()
        .catch((error: unknown) => {
          if (!this.#isClosed && !EXPECTED.has(errorCode(error))) this.#parts.onFault(error);
        })
        .finally(() => this.begin());
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  async #look(): Promise<void> {
    const { env, underWay, settings } = this.#parts;
    const nowMs = env.clock.nowMs();
    const loads = this.#takeLoads(nowMs - this.#lookedMs);
    this.#lookedMs = nowMs;
    if (underWay() >= MAX_SPLITS_UNDER_WAY) return;
    for (const { tablet, keys } of loads) {
      const id = tablet.tablet.id;
      const seen = this.#seen.get(id) ?? UNSEEN;
      const { sizeBytes = 0 } = tablet.stateMachine;
      const isLeftAlone = nowMs < seen.leftAloneUntilMs && sizeBytes <= seen.leftAloneThroughBytes;
      const isBusy = seen.busyLooks >= BUSY_LOOKS;
      const isLarge = sizeBytes > settings().maxTabletBytes;
      if (isLeftAlone || (!isBusy && !isLarge) || this.#isClosed) continue;
      // Before it is known what comes of it: a split that fails is not tried again at once.
      const leftAloneUntilMs = nowMs + LEFT_ALONE_MS;
      const leftAloneThroughBytes = LEFT_ALONE_ANYWAY;
      this.#seen.set(id, { ...seen, busyLooks: 0, leftAloneUntilMs, leftAloneThroughBytes });
      const wanted = (isLarge && (await this.#bySize(tablet))) || (isBusy && this.#byLoad(tablet, keys));
      if (!wanted || this.#isClosed) continue;
      await this.#split(tablet, wanted, seen);
      return;
    }
  }

  async #split(tablet: Splittable, { point, why }: Wanted, seen: Seen): Promise<void> {
    const { env, logger, splitAt } = this.#parts;
    const { id } = tablet.tablet;
    if (seen.problem === '') logger.info({ tablet: id }, `tablet ${id} is split: ${why}`);
    try {
      await splitAt(tablet, point);
    } catch (error) {
      const problem = errorMessage(error);
      const isPassing = PASSING.has(errorCode(error));
      const leftAloneMs = isPassing ? TRIED_AGAIN_MS : LEFT_ALONE_MS;
      const leftAloneUntilMs = env.clock.nowMs() + leftAloneMs;
      const leftAloneThroughBytes = LEFT_ALONE_ANYWAY;
      const busyLooks = isPassing ? seen.busyLooks : 0;
      this.#seen.set(id, { busyLooks, leftAloneUntilMs, leftAloneThroughBytes, problem });
      if (EXPECTED.has(errorCode(error)) && problem !== seen.problem && !this.#isClosed)
        logger.warn({ tablet: id }, `tablet ${id} cannot be split now, it is tried again: ${problem}`);
      throw error;
    }
  }

  /** What the tablets that this node leads were asked since the last look; and which of them were busy again. */
  #takeLoads(passedMs: number): { readonly tablet: Splittable; readonly keys: readonly Buffer[] }[] {
    const { tablets, settings } = this.#parts;
    const { maxTabletOperationsPerSecond } = settings();
    const seen = new Map<number, Seen>();
    const loads = tablets().flatMap((tablet) => {
      const { operations, keys } = tablet.load.take();
      const { replica } = tablet.group;
      if (replica.role !== 'leader') return [];
      const { id } = tablet.tablet;
      const before = this.#seen.get(id) ?? UNSEEN;
      const isBusy =
        maxTabletOperationsPerSecond > 0 && operations * 1000 > maxTabletOperationsPerSecond * passedMs;
      seen.set(id, { ...before, busyLooks: isBusy ? before.busyLooks + 1 : 0 });
      return { tablet, keys };
    });
    this.#seen = seen;
    return loads;
  }

  async #bySize({ tablet: { id }, stateMachine }: Splittable): Promise<Wanted | undefined> {
    const { maxTabletBytes } = this.#parts.settings();
    const survey = await stateMachine.survey(SAMPLES);
    if (!survey) return undefined;
    const lacksBytes = maxTabletBytes - survey.bytes;
    const seen = this.#seen.get(id);
    if (lacksBytes >= 0 && seen)
      this.#seen.set(id, { ...seen, leftAloneThroughBytes: (stateMachine.sizeBytes ?? 0) + lacksBytes });
    if (lacksBytes >= 0) return undefined;
    const middle = middleOf(this.#parts.by, survey.keys);
    const why = `its keys take ${survey.bytes} bytes, and maxTabletBytes is ${maxTabletBytes}`;
    return middle && { point: middle.point, why };
  }

  #byLoad({ stateMachine }: Splittable, sampled: readonly Buffer[]): Wanted | undefined {
    const { range } = stateMachine;
    const keys = sampled.filter((key) => key.length > 0 && (range?.owns(key) ?? true));
    if (keys.length < LEAST_LOAD_SAMPLES) return undefined;
    const middle = middleOf(this.#parts.by, keys);
    if (!middle || Math.min(middle.leftShare, 1 - middle.leftShare) < LEAST_LOAD_SHARE) return undefined;
    const { maxTabletOperationsPerSecond } = this.#parts.settings();
    const why = `it was asked more than maxTabletOperationsPerSecond, ${maxTabletOperationsPerSecond}, for a while`;
    return { point: middle.point, why };
  }
}
