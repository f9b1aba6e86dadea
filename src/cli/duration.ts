/** Durations on the command line. */
import { InvalidArgumentError } from 'commander';
import { DURATION_HELP, durationMs } from '../kv/duration.js';

/** In ms. */
export function parseDuration(text: string): number {
  const ms = durationMs(text);
  if (ms === undefined) throw new InvalidArgumentError(`expected ${DURATION_HELP}`);
  return ms;
}
