/** A process that may have few descriptors: its tree keeps within them, and outlives a time without any. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const lsm = new URL('../../src/lsm/index.js', import.meta.url).href;
const LIMIT = 90;
const TABLES = 150;

/** Run in a process of its own, with `directory` as its argument. */
const SCRIPT = `
  import * as fs from 'node:fs';
  const { LsmTree } = await import(${JSON.stringify(lsm)});
  const [directory, worker] = process.argv.slice(1);
  const bytes = (text) => Buffer.from(text);
  const put = (key) => [{ type: 'put', key: bytes(key), value: bytes('x'.repeat(1000)) }];
  const said = [];
  const logger = { debug() {}, info() {}, error: (_, text) => said.push(text), warn: (_, text) => said.push(text) };
  const tree = await LsmTree.open(directory, {
    level0Trigger: 1024, level0StopTrigger: 4096, level0SlowdownTrigger: 4096, writeBufferBytes: 1 << 20, maxFrozenMemtables: 64,
    worker: worker === 'true', logger,
  });
  for (let i = 0; i < ${TABLES}; i++) {
    await tree.write(put('key' + i));
    await tree.flush();
  }
  const read = () => {
    let found = 0;
    for (let i = 0; i < ${TABLES}; i++) if (tree.getSync(bytes('key' + i))) found++;
    return found;
  };
  console.log('read', read());
  const taken = [];
  try {
    for (;;) taken.push(fs.openSync('/dev/null'));
  } catch (error) {
    console.log(error.code);
  }
  console.log('read', read(), 'while there are none');
  // 6 MB: several memtables, each with a log of its own, if it could be made. What is done behind gives some back.
  for (let i = 0; i < 6000; i++) {
    try {
      for (;;) taken.push(fs.openSync('/dev/null'));
    } catch {}
    await tree.write(put('more' + i), { durability: 'buffered' });
  }
  for (const descriptor of taken) fs.closeSync(descriptor);
  await tree.write(put('after'));
  await tree.flush();
  console.log('read', read(), tree.stats().isReadOnly);
  await tree.close();
  console.log(said.some((text) => /too many files are open/.test(text)) ? 'said so' : said);
  const again = await LsmTree.open(directory);
  console.log([...again.iterator({ gte: bytes('more') })].length);
  await again.close();
`;

for (const worker of [true, false]) {
  test(`a tree of ${TABLES} tables within ${LIMIT} descriptors, worker: ${worker}`, () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'raftree-descriptors-'));
    try {
      const run = spawnSync(
        '/bin/sh',
        [
          '-c',
          `ulimit -n ${LIMIT}; exec "$0" --input-type=module -e "$1" "$2" ${worker}`,
          process.execPath,
          SCRIPT,
          path.join(folder, 'tree'),
        ],
        { encoding: 'utf8', timeout: 60_000 },
      );
      assert.is(run.stderr, '');
      assert.equal(run.stdout.split('\n').slice(0, -1), [
        `read ${TABLES}`,
        'EMFILE',
        `read ${TABLES} while there are none`,
        `read ${TABLES} false`,
        'said so',
        '6000',
      ]);
    } finally {
      fs.rmSync(folder, { recursive: true, force: true });
    }
  });
}

test.run();
