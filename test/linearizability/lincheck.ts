/**
 * Judges recorded histories.
 *
 *     npm run lincheck -- --format jepsen|kv FILE…
 *
 * prints `FILE linearizable` or `FILE not linearizable`, and ends with 1 if any is not, with 2 if one cannot be read.
 */
import * as fs from 'node:fs';
import { checkLinearizability } from '../../src/sim/rules/linearizability.js';
import { commandLine, oneOf } from '../support/command-line.js';
import { parseJepsen, parseKv } from './histories.js';
import { registerModel, textModel } from './models.js';

const { values, names } = commandLine({ format: oneOf(['jepsen', 'kv']) }, true);
if (values.format === undefined || names.length === 0) {
  console.error('usage: npm run lincheck -- --format jepsen|kv FILE…');
  process.exit(2);
}

for (const file of names) {
  try {
    const text = fs.readFileSync(file, 'utf8');
    const verdict =
      values.format === 'kv'
        ? checkLinearizability(textModel, parseKv(text))
        : checkLinearizability(registerModel, parseJepsen(text));
    process.stdout.write(`${file} ${verdict.linearizable ? 'linearizable' : 'not linearizable'}\n`);
    if (!verdict.linearizable) process.exitCode = Math.max(1, Number(process.exitCode ?? 0));
  } catch (error) {
    process.stderr.write(`${file}: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 2;
  }
}
