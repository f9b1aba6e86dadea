/**
 * A node dies at some moment of a move, by a power cut or a kill: the move ends, or can be ordered again; no write is
 * lost; nobody keeps what he should not have. `npm run test:moves` tries every moment.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DEATHS, MoveCuts, VICTIMS } from './move-cuts.js';

const SEED = 2;
/** Besides changes of replicas.json. */
const MOMENTS = 2;

const cuts = await MoveCuts.begin();

for (const victim of VICTIMS)
  test(`a node dies at file operations of a move: ${victim}`, async () => {
    const { operations } = await cuts.run(SEED, { victim, operation: 0, death: 'kill' });
    const chosen = operations.flatMap((operation, i) => {
      const isSpread = i % Math.ceil(operations.length / MOMENTS) === 0;
      const isRecord = /^(?:write|rename) .*replicas/.test(operation);
      // Where the files of the replica go.
      const isRemoval = operation === `unlink /data/groups/${cuts.tablet}`;
      return isSpread || isRecord || isRemoval ? [i + 1] : [];
    });
    assert.ok(chosen.length >= MOMENTS);
    for (const [i, operation] of chosen.entries()) {
      const death = DEATHS[i % DEATHS.length] ?? 'kill';
      const { isCut } = await cuts.run(SEED, { victim, operation, death });
      assert.ok(isCut, `${victim} dies at ${operation}`);
    }
  });

test.run();
