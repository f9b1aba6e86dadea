/** A full disk delays an engine and does not stop it: what is committed must be applied. */
import { isNoSpace } from '../env/errors.js';
import type { EngineContext } from './storage-engine.js';

const DISK_FULL_RETRY_MS = 500;
const WRITER = 'storage engine';

/** Repeats an attempt until it does not fail for want of space. Rejects with what else it rejects with. */
export async function whenThereIsSpace<T>(
  { env, diskSpace }: Pick<EngineContext, 'env' | 'diskSpace'>,
  attempt: () => Promise<T>,
): Promise<T> {
  for (;;) {
    try {
      const done = await attempt();
      diskSpace.available(WRITER);
      return done;
    } catch (error) {
      if (!isNoSpace(error)) throw error;
      diskSpace.full(WRITER, error);
      await new Promise<void>((resolve) => env.timers.after(DISK_FULL_RETRY_MS, resolve));
    }
  }
}
