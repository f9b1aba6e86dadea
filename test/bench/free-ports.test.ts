/** Ports of tests that run at the same time, each in a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { freePorts } from '../../bench/free-ports.js';

const MODULE = new URL('../../bench/free-ports.js', import.meta.url).href;
/** More than a block has. */
const COUNT = 200;

/** A process that takes ports where this one looks first, too, and lives on. */
async function other(): Promise<{ readonly child: ChildProcess; readonly ports: readonly number[] }> {
  const script = `import { freePorts } from '${MODULE}';
    console.log(JSON.stringify(await freePorts(${COUNT}, ${process.pid})));
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: 'pipe' });
  let text = '';
  while (!text.endsWith('\n')) text += String((await once(child.stdout, 'data'))[0]);
  return { child, ports: JSON.parse(text) as number[] };
}

test('processes have different ports, also while nobody listens on them, and those of one that was killed are free', async () => {
  const one = await other();
  const two = await other();
  const own = await freePorts(COUNT);
  assert.is(new Set([...one.ports, ...two.ports, ...own]).size, 3 * COUNT);
  for (const { child } of [one, two]) {
    child.kill('SIGKILL');
    await once(child, 'close');
  }
  const three = await other();
  assert.equal(three.ports, one.ports);
  three.child.kill('SIGKILL');
  await once(three.child, 'close');
});

test.run();
