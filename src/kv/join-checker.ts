/** The check of what an engine replays from its own log: each batch carries the entries that it applied. */
import type { EngineOperation } from '../engines/storage-engine.js';
import { RaftreeError } from '../env/errors.js';
import { APPLIED_KEY, decodeApplied } from './keys.js';

/** The entries of the batches must join. Throws `CORRUPTION` if a batch is missing between two others. */
export function joinChecker(): (operations: readonly EngineOperation[]) => void {
  let lastIndex: number | undefined;
  return (operations) => {
    for (const operation of operations) {
      if (operation.type !== 'put' || Buffer.compare(operation.key, APPLIED_KEY) !== 0) continue;
      const { first, last } = decodeApplied(operation.value);
      if (lastIndex !== undefined && first !== lastIndex + 1) {
        throw new RaftreeError(
          'CORRUPTION',
          `the log of the tree goes on with entry ${first} after entry ${lastIndex}: a batch between them is missing`,
        );
      }
      lastIndex = last;
    }
  };
}
