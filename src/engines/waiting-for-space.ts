/** A full disk delays an engine and does not stop it: what is committed must be applied. */
import type { EngineContext } from './storage-engine.js';

const WRITER = 'storage engine';

/** Repeats an attempt while it fails for want of space. Rejects with any other error. */
export function whenThereIsSpace<T>(
  { diskSpace }: Pick<EngineContext, 'diskSpace'>,
  attempt: () => Promise<T>,
): Promise<T> {
  return diskSpace.untilWritten(WRITER, attempt);
}
