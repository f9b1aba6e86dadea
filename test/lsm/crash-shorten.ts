/**
 * Shortens a failing history (after Zeller's delta debugging): leaves out ever smaller runs of steps, then changes
 * of batches, as long as what is left still fails.
 */
import type { History, Step } from './crash-history.js';

/** Gives up after so many attempts. */
const MOST_ATTEMPTS = 1500;

export async function shorten(
  history: History,
  fails: (candidate: History) => Promise<boolean>,
): Promise<History> {
  let attempts = 0;
  const stillFails = async (steps: readonly Step[]) =>
    ++attempts <= MOST_ATTEMPTS && (await fails({ ...history, steps }));
  let steps = history.steps;
  for (let size = steps.length >> 1; size >= 1; ) {
    let removed = false;
    for (let at = 0; at < steps.length; ) {
      const rest = [...steps.slice(0, at), ...steps.slice(at + size)];
      if (await stillFails(rest)) {
        steps = rest;
        removed = true;
      } else at += size;
    }
    if (size > 1) size >>= 1;
    else if (!removed) break;
  }
  for (const [i, step] of steps.entries()) {
    if (step.kind !== 'write') continue;
    for (let at = 0; at < step.changes.length; at++) {
      const current = steps[i];
      if (current?.kind !== 'write' || current.changes.length < 2) break;
      const changes = current.changes.filter((_, other) => other !== at);
      const rest = steps.with(i, { ...current, changes });
      if (await stillFails(rest)) {
        steps = rest;
        at--;
      }
    }
  }
  return { ...history, steps };
}
