import * as fs from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { NODE_FLAGS } from '../../src/cli/node-flags.js';

test('`npm start` gives Node.js the options that `raftree cluster` gives it', () => {
  const { scripts } = JSON.parse(fs.readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
  assert.is(scripts.start, `node ${NODE_FLAGS.join(' ')} dist/src/cli/main.js start`);
});

test.run();
