/** npm run test:moves -- [--seed 1]: every k of test/server/move-cuts.ts, for each node of the move and each death. */
import { commandLine, wholeNumber } from '../support/command-line.js';
import { DEATHS, MoveCuts, VICTIMS } from './move-cuts.js';

const { values } = commandLine({ seed: wholeNumber(1) });
const { seed } = values;
const cuts = await MoveCuts.begin();
for (const victim of VICTIMS) {
  const { operations } = await cuts.run(seed, { victim, operation: 0, death: 'kill' });
  for (const death of DEATHS) {
    const startedMs = performance.now();
    let moved = 0;
    let cut = 0;
    for (let operation = 1; operation <= operations.length; operation++) {
      const { isCut, isMoved } = await cuts.run(seed, { victim, operation, death });
      if (isCut) cut++;
      if (isMoved) moved++;
    }
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    console.log(
      `${death} of ${victim}: ${cut} moments of ${operations.length}, moved at once ${moved} times; ${seconds} s`,
    );
  }
}
