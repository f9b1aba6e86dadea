/**
 * What a node tells the leader of meta, when that asks: the replicas here, how large and how busy they are, and where
 * the node stands. The leader reads it as strictly as what comes from a client.
 */
import { z } from 'zod';
import type { SplitLimits } from '../balance/cluster-map.js';
import type { EngineStats } from '../engines/storage-engine.js';
import type { Clock } from '../env/env.js';
import { MAX_LOCATION_LENGTH } from './config.js';
import type { OpenTablet, TabletSet } from './tablet-set.js';

const id = z.int().min(0).max(0xffff_ffff);
const amount = z.number().min(0).max(Number.MAX_SAFE_INTEGER);

/** As many as a node may have groups, and more. */
const MAX_REPLICAS = 100_000;

const leads = z.object({ term: amount, operationsPerSecond: amount, forMs: amount });

export const reportSchema = z.object({
  host: z.string().max(MAX_LOCATION_LENGTH),
  zone: z.string().max(MAX_LOCATION_LENGTH),
  /** Its disk takes no more. */
  isFull: z.boolean(),
  /** Its settings. Earlier versions do not tell them. */
  splitsAbove: z.object({ bytes: amount, operationsPerSecond: amount }).optional(),
  replicas: z
    .array(
      z.object({
        ...{ tablet: id, replicaId: id, confIndex: amount, sizeBytes: amount },
        operationsPerSecond: amount.optional(),
        leads: leads.optional(),
      }),
    )
    .max(MAX_REPLICAS),
});

export type ReportBody = z.output<typeof reportSchema>;

interface Measured {
  /** In which it leads; 0: it does not. */
  readonly term: number;
  readonly sinceMs: number;
  /** When it was measured last, and how much it had been asked then. */
  readonly atMs: number;
  readonly operations: number;
  readonly operationsPerSecond: number;
}

/** Reports that come sooner than that after each other tell the same load. */
const LEAST_WINDOW_MS = 1000;

export class BalanceReporter {
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #tablets: Pick<TabletSet, 'all' | 'replicaIdOf' | 'meta'>;
  readonly #location: { readonly host: string; readonly zone: string };
  readonly #splitsAbove: SplitLimits;
  /** By tablet. */
  #measured = new Map<number, Measured>();

  constructor(
    clock: Pick<Clock, 'nowMs'>,
    tablets: Pick<TabletSet, 'all' | 'replicaIdOf' | 'meta'>,
    location: { readonly host: string; readonly zone: string },
    splitsAbove: SplitLimits,
  ) {
    this.#clock = clock;
    this.#tablets = tablets;
    this.#location = location;
    this.#splitsAbove = splitsAbove;
  }

  report(): ReportBody {
    const { host, zone } = this.#location;
    const before = this.#measured;
    this.#measured = new Map();
    return {
      ...{ host, zone, splitsAbove: this.#splitsAbove },
      isFull: this.#tablets.meta?.group.replica.isDiskFull ?? false,
      replicas: this.#tablets.all.map((open) => {
        const { tablet, group, stateMachine } = open;
        const { role, term, configuration } = group.replica;
        const leads = role === 'leader';
        const { sinceMs, operationsPerSecond } = this.#measure(open, leads ? term : 0, before.get(tablet.id));
        const forMs = this.#clock.nowMs() - sinceMs;
        return {
          ...{ tablet: tablet.id, replicaId: this.#tablets.replicaIdOf(tablet.id) },
          confIndex: configuration.index,
          sizeBytes: sizeOf(stateMachine.engineStats()),
          ...(leads ? { leads: { term, operationsPerSecond, forMs } } : { operationsPerSecond }),
        };
      }),
    };
  }

  /** Its load is what it was asked since the last report, in the same role. */
  #measure(
    { tablet, load: { operations } }: Pick<OpenTablet, 'tablet' | 'load'>,
    term: number,
    before: Measured | undefined,
  ): Measured {
    const nowMs = this.#clock.nowMs();
    let measured: Measured =
      before?.term === term
        ? before
        : { term, sinceMs: nowMs, atMs: nowMs, operations, operationsPerSecond: 0 };
    const windowMs = nowMs - measured.atMs;
    if (windowMs >= LEAST_WINDOW_MS) {
      const operationsPerSecond = Math.round((1000 * (operations - measured.operations)) / windowMs);
      measured = { ...measured, atMs: nowMs, operations, operationsPerSecond };
    }
    this.#measured.set(tablet.id, measured);
    return measured;
  }
}

/** 0: the engine does not say. */
function sizeOf(stats: EngineStats | undefined): number {
  if (!stats) return 0;
  return stats.levels.reduce((sum, { bytes }) => sum + bytes, stats.memtableBytes);
}
