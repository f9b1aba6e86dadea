/**
 * Splits tablets that are too large or too busy, each on the node that leads it:
 *
 *     by size    its keys take more than `maxTabletBytes`: in the middle of its bytes
 *     by load    it was asked more than `maxTabletOperationsPerSecond` in several looks in a row: in the middle of what
 *                it was asked. One hot key cannot be divided: then the tablet stays whole
 *
 * One tablet of the node is split at a time, and few of the cluster. A tablet that was looked at closely, or could not be
 * split, is left alone for a while. Its parts begin with no load, and with less than its size, so they are not split
 * for the same reason.
 */
import type { Env, Logger, Timer } from '../env/env.js';
import { errorCode } from '../env/errors.js';
import { middleOf } from '../kv/split-point.js';
import type { Meta } from '../meta/meta.js';
import type { SplitSettings } from './placement-config.js';
import type { OpenTablet, TabletSet } from './tablet-set.js';
import type { TabletSplits } from './tablet-splits.js';

export interface AutoSplitsParts {
  readonly env: Pick<Env, 'clock' | 'timers'>;
  readonly logger: Logger;
  readonly settings: SplitSettings;
  readonly tablets: Pick<TabletSet, 'all' | 'placement'>;
  readonly splits: Pick<TabletSplits, 'splitAt'>;
  readonly meta: Pick<Meta, 'state'>;
  readonly onFault: (error: unknown) => void;
}

export const LOOK_MS = 5000;
/** A tablet is busy when it was so in as many looks in a row. */
const BUSY_LOOKS = 3;
/** After a close look at a tablet that was not split. */
const LEFT_ALONE_MS = 60_000;
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
  'LEADERSHIP_LOST',
  'NO_LEADER',
  'NOT_LEADER',
  'WRONG_TABLET',
]);

interface Seen {
  /** Looks in a row in which it was busy. */
  readonly busyLooks: number;
  readonly leftAloneUntilMs: number;
}

const UNSEEN: Seen = { busyLooks: 0, leftAloneUntilMs: 0 };

interface Wanted {
  readonly tablet: OpenTablet;
  readonly point: Buffer;
  readonly why: string;
}

export class AutoSplits {
  readonly #parts: AutoSplitsParts;
  /** Of the tablets that this node leads. */
  #seen = new Map<number, Seen>();
  #lookedMs: number;
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(parts: AutoSplitsParts) {
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
    const { env, splits, logger, meta } = this.#parts;
    const nowMs = env.clock.nowMs();
    const loads = this.#takeLoads(nowMs - this.#lookedMs);
    this.#lookedMs = nowMs;
    const intents = [...meta.state.intents.values()];
    if (intents.filter(({ type }) => type === 'split').length >= MAX_SPLITS_UNDER_WAY) return;
    for (const { tablet, keys } of loads) {
      const id = tablet.tablet.id;
      const seen = this.#seen.get(id) ?? UNSEEN;
      if (nowMs < seen.leftAloneUntilMs || this.#isClosed) continue;
      const isBusy = seen.busyLooks >= BUSY_LOOKS;
      const isLarge = (tablet.stateMachine.sizeBytes ?? 0) > this.#parts.settings.maxTabletBytes;
      if (!isBusy && !isLarge) continue;
      // Before it is known what comes of it: a split that fails is not tried again at once.
      this.#seen.set(id, { busyLooks: 0, leftAloneUntilMs: nowMs + LEFT_ALONE_MS });
      const wanted = (isLarge && (await this.#bySize(tablet))) || (isBusy && this.#byLoad(tablet, keys));
      if (!wanted || this.#isClosed) continue;
      logger.info({ tablet: id }, `tablet ${id} is split: ${wanted.why}`);
      await splits.splitAt(wanted.tablet, wanted.point);
      return;
    }
  }

  /** What the tablets that this node leads were asked since the last look; and which of them were busy again. */
  #takeLoads(passedMs: number): { readonly tablet: OpenTablet; readonly keys: readonly Buffer[] }[] {
    const { tablets, settings } = this.#parts;
    const { maxTabletOperationsPerSecond } = settings;
    const seen = new Map<number, Seen>();
    const loads = tablets.all.flatMap((tablet) => {
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

  async #bySize(tablet: OpenTablet): Promise<Wanted | undefined> {
    const { maxTabletBytes } = this.#parts.settings;
    const survey = await tablet.stateMachine.survey(SAMPLES);
    if (!survey || survey.bytes <= maxTabletBytes) return undefined;
    const middle = middleOf(this.#by, survey.keys);
    const why = `its keys take ${survey.bytes} bytes, and maxTabletBytes is ${maxTabletBytes}`;
    return middle && { tablet, point: middle.point, why };
  }

  #byLoad(tablet: OpenTablet, sampled: readonly Buffer[]): Wanted | undefined {
    const { range } = tablet.stateMachine;
    const keys = sampled.filter((key) => key.length > 0 && (range?.owns(key) ?? true));
    if (keys.length < LEAST_LOAD_SAMPLES) return undefined;
    const middle = middleOf(this.#by, keys);
    if (!middle || Math.min(middle.leftShare, 1 - middle.leftShare) < LEAST_LOAD_SHARE) return undefined;
    const { maxTabletOperationsPerSecond } = this.#parts.settings;
    const why = `it was asked more than maxTabletOperationsPerSecond, ${maxTabletOperationsPerSecond}, for a while`;
    return { tablet, point: middle.point, why };
  }

  get #by(): 'range' | 'hash' {
    return this.#parts.tablets.placement?.by ?? 'range';
  }
}
