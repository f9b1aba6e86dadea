/**
 * Brings merges of tablets to their end: what the leader of meta does with each that the map has.
 *
 *     freezing    both tablets are frozen, and every replica of both says that it is
 *     merging     decided: the leader of the left one proposes the merge; whoever leads the child takes it into the map
 *     ending      decided: both are thawed, and then the intents go
 *
 * **Meta decides once**, by an update that names the versions of both intents, and before a merge is proposed. An error
 * on the way decides nothing: the step is tried again. What decides is the clock, a node that is known to be dead, or a
 * tablet that refuses: then the merge is given up, which is safe as long as it is not decided. Clients wait while their
 * tablet is frozen, so a merge that does not come to its decision soon is given up.
 *
 * Each step may be repeated, by two leaders too. So a new leader of meta goes on where it finds the intent.
 */
import { z } from 'zod';
import type { Env } from '../env/env.js';
import { decideMerge, dropMerge, mergeOf, type RecordedMerge } from '../meta/merges.js';
import type { Meta } from '../meta/meta.js';
import { type MergeIntent, nodesOf } from '../meta/records.js';
import { askLeader } from './ask-leader.js';
import type { MapRequest } from './node-calls.js';
import type { MergeProgress, MergeStepName } from './tablet-merges.js';

export interface MergeDriverParts {
  readonly env: Pick<Env, 'clock' | 'timers'>;
  readonly meta: Pick<Meta, 'leads' | 'state' | 'update'>;
  /** A node that will not answer. */
  readonly isDead: (node: number) => boolean;
  /** Asks a node, perhaps this one. Rejects as that node does, or because it cannot be asked. */
  readonly ask: (node: number, request: MapRequest) => Promise<unknown>;
  /** A merge that is not decided by then is given up. */
  readonly patienceMs: number;
  /** An error that passes by itself, for the log of the node. */
  readonly onFault: (error: unknown) => void;
}

/** What a replica says that is frozen. */
const frozenSchema = z.object({ index: z.int().min(1), term: z.int().min(1) });
type FrozenAt = z.output<typeof frozenSchema>;

const ENDED = { state: 'done' } as const;
/** Between two attempts of a step. */
const PAUSE_MS = 20;
/** While a step fails again and again. */
const MAX_PAUSE_MS = 1000;

export class MergeDriver {
  readonly #parts: MergeDriverParts;
  /** By attempt: what this node drives. */
  readonly #driven = new Set<number>();
  #isClosed = false;

  constructor(parts: MergeDriverParts) {
    this.#parts = parts;
  }

  /** Goes on with what the map has, while this node leads meta. */
  look(): void {
    const { state } = this.#parts.meta;
    for (const [tablet, intent] of state.intents) {
      if (intent.type !== 'merge' || intent.left !== tablet || this.#driven.has(intent.attempt)) continue;
      this.#driven.add(intent.attempt);
      void this.#drive(tablet, intent.attempt).finally(() => this.#driven.delete(intent.attempt));
    }
  }

  close(): void {
    this.#isClosed = true;
  }

  /** Never rejects. */
  async #drive(left: number, attempt: number): Promise<void> {
    const { env, meta, onFault, patienceMs } = this.#parts;
    const giveUpMs = env.clock.nowMs() + patienceMs;
    let pauseMs = PAUSE_MS;
    for (;;) {
      const merge = mergeOf(meta.state, left);
      if (this.#isClosed || !meta.leads || merge?.intent.attempt !== attempt) return;
      try {
        const isDone = await this.#step(merge, env.clock.nowMs() >= giveUpMs);
        // The map only has to hear of it.
        pauseMs = isDone ? MAX_PAUSE_MS / 5 : PAUSE_MS;
      } catch (error) {
        if (!this.#isClosed) onFault(error);
        pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS);
      }
      await new Promise<void>((resolve) => env.timers.after(pauseMs, resolve));
    }
  }

  /** Resolves with whether nothing is left to do. */
  async #step(merge: RecordedMerge, isLate: boolean): Promise<boolean> {
    const { intent } = merge;
    const { left, right, child, stage } = intent;
    const { meta } = this.#parts;
    if (stage === 'merging') return (await this.#order(left, intent, 'merge'))?.state === 'done';
    if (stage === 'ending') {
      // One that is not in the map any more has ended in another way.
      const ends = await Promise.all(
        [left, right].map((tablet) =>
          meta.state.tablets.has(tablet) ? this.#order(tablet, intent, 'thaw') : ENDED,
        ),
      );
      return ends.every((end) => end?.state === 'done') && meta.update(dropMerge(merge));
    }
    const isThere = meta.state.tablets.has(left) && meta.state.tablets.has(right);
    const isLost = !isThere || child.replicas.some(({ node }) => this.#parts.isDead(node));
    if (isLate || isLost) {
      await meta.update(decideMerge(merge, { stage: 'ending' }));
      return false;
    }
    const steps = await Promise.all([left, right].map((tablet) => this.#order(tablet, intent, 'freeze')));
    if (steps.some((step) => step?.state === 'refused')) {
      await meta.update(decideMerge(merge, { stage: 'ending' }));
      return false;
    }
    const [one, frozen] = await Promise.all([left, right].map((tablet) => this.#frozen(tablet, intent)));
    if (one && frozen) await meta.update(decideMerge(merge, { stage: 'merging', frozen }));
    return false;
  }

  #order(
    tablet: number,
    { attempt }: MergeIntent,
    step: MergeStepName,
  ): Promise<Exclude<MergeProgress, { readonly state: 'notLeader' }> | undefined> {
    const { replicas = [] } = this.#parts.meta.state.tablets.get(tablet) ?? {};
    const request = { type: 'mergeStep', tablet, attempt, step } as const;
    return askLeader<MergeProgress>(nodesOf(replicas), request, this.#parts.ask);
  }

  /** The entry that has frozen the tablet, if every replica of it has applied that. Rejects if one cannot be asked. */
  async #frozen(tablet: number, { attempt }: MergeIntent): Promise<FrozenAt | undefined> {
    const { replicas = [] } = this.#parts.meta.state.tablets.get(tablet) ?? {};
    const said = await Promise.all(
      replicas.map(async ({ node, replicaId }) =>
        frozenSchema.safeParse(await this.#parts.ask(node, { type: 'frozen', tablet, replicaId, attempt })),
      ),
    );
    const [first] = said;
    const isSame = ({ success, data }: (typeof said)[number]) =>
      success && data.index === first?.data?.index && data.term === first.data.term;
    return said.every(isSame) ? first?.data : undefined;
  }
}
