/**
 * A process for the tests of the directory lock: locks the directory it is given, says how that went, and holds on
 * until it is killed. With a second argument it first waits for that file to appear, so that many start at once.
 */
import * as fs from 'node:fs';
import { lockDirectory } from '../../src/env/directory-lock.js';
import { errorCode, errorMessage } from '../../src/env/errors.js';
import { realEnv } from '../../src/env/real/real-env.js';

const [directory = '', starter] = process.argv.slice(2);
process.stdout.write('ready\n');
while (starter !== undefined && !fs.existsSync(starter)) {
  // Spins: all are to see the file in the same moment.
}
try {
  await lockDirectory(realEnv(), directory);
  process.stdout.write('locked\n');
} catch (error) {
  process.stdout.write(`${errorCode(error) ?? errorMessage(error)}\n`);
}
setInterval(() => {}, 60_000);
