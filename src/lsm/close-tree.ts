/** Closes a tree: makes what was written durable, then releases everything, whatever fails on the way. */
import { errorMessage } from '../env/errors.js';
import { closedError, notDurableError } from './base/errors.js';
import type { TreeParts } from './open-tree.js';
import { markWalEnd } from './wal-replay.js';

/** Rejects as `LsmTree.close`. */
export async function closeTree(parts: TreeParts): Promise<void> {
  const { options, life, versions, background, tables, lock } = parts;
  const { gate, log, freezer, maintenance } = parts.writes;
  const failures: unknown[] = [];
  const attempt = async (step: () => unknown) => {
    try {
      await step();
    } catch (error) {
      failures.push(error);
    }
  };
  life.beginClosing();
  options.resources.writeBuffers.leave(freezer);
  // First of all: a flush would let them in, and without a WAL they would be lost behind it.
  gate.refuseAll(closedError());
  /** Why writes may not be durable. It counts only if some are not. */
  let doubt: unknown;
  try {
    if (!log.wal && life.failure === undefined) await freezer.flushAll();
    await log.close();
  } catch (error) {
    doubt = error;
  }
  await attempt(() => maintenance.stop());
  await background.settled();
  freezer.refuseAll(closedError());
  life.endClosing();
  await attempt(() => tables.closeAll());
  if (log.wal && life.failure === undefined && !maintenance.diskIsFull) {
    await markWalEnd(log.wal, versions, options.logger);
  }
  await attempt(() => versions.close());
  await attempt(() => lock.release());
  const { lastSequence, durableSequence } = log;
  if (lastSequence > durableSequence) {
    throw notDurableError(life.failure ?? doubt ?? failures[0], durableSequence, lastSequence);
  }
  if (doubt !== undefined) {
    options.logger.warn({ error: errorMessage(doubt) }, 'closing met a failure; no write is lost');
  }
  if (failures.length > 0) throw failures[0];
}
