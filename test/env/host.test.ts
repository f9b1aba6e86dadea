/** What the system says of this process: its limit of descriptors. */
import { spawnSync } from 'node:child_process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { USUAL_MAX_DESCRIPTORS } from '../../src/env/env.js';
import { descriptorsIn } from '../../src/env/real/host.js';

test('the soft limit of descriptors is read from the text of /proc', () => {
  const text = (soft: string) =>
    'Limit                     Soft Limit           Hard Limit           Units     \n' +
    'Max cpu time              unlimited            unlimited            seconds   \n' +
    `Max open files            ${soft.padEnd(20)} 1048576              files     \n`;
  assert.is(descriptorsIn(text('1024')), 1024);
  assert.is(descriptorsIn(text('unlimited')), Number.MAX_SAFE_INTEGER);
  assert.is(descriptorsIn('something else'), USUAL_MAX_DESCRIPTORS);
});

const onLinux = process.platform === 'linux' ? test : test.skip;

onLinux('a process knows the limit that it was started with', () => {
  const host = new URL('../../src/env/real/host.js', import.meta.url);
  const script = `import(${JSON.stringify(host)}).then(({ realHost }) => console.log(realHost.maxDescriptors()))`;
  const { stdout } = spawnSync(
    '/bin/sh',
    ['-c', 'ulimit -n 300; exec "$0" -e "$1"', process.execPath, script],
    {
      encoding: 'utf8',
    },
  );
  assert.is(stdout.trim(), '300');
});

test.run();
