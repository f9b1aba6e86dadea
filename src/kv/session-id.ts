/**
 * Ids of sessions. The node that proposes to open one draws its id at random, out of 2^52 numbers. So two tablets have
 * no two sessions with one id, and a tablet that is made of both has the sessions of both (`Sessions.unite`). With
 * 10,000 sessions in each, the chance that two have the same id is below 10^-7; a write would be taken for the
 * repetition of another one only if their sequences were the same, too.
 *
 * Earlier versions gave a session the index of its entry as the id: a lower number, which other tablets give as well.
 */
import type { Random } from '../env/env.js';

const FIRST_DRAWN = 2 ** 52;
const HIGH_VALUES = 2 ** 20;

export function drawSessionId(random: Pick<Random, 'uint32'>): number {
  return FIRST_DRAWN + (random.uint32() % HIGH_VALUES) * 2 ** 32 + random.uint32();
}

/** Whether an id is unique in the cluster. */
export function isDrawnId(id: number): boolean {
  return id >= FIRST_DRAWN && Number.isSafeInteger(id);
}
