/** `/readyz` of a node whose disk is full. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Env, File } from '../../../src/env/env.js';
import { realEnv } from '../../../src/env/real/real-env.js';
import { startHttpNode } from '../../support/http-node.js';
import { until } from '../../support/process-cluster.js';

const WRITES: readonly (string | symbol)[] = ['write', 'writeDurable'];
const WRITES_NOW: readonly (string | symbol)[] = ['writeSync', 'writeDurableNow'];

/** The real environment, whose files cannot be written while `isFull`. */
function fillable(): { readonly env: Env; isFull: boolean } {
  const real = realEnv();
  const noSpace = () => Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  const refusal = (name: string | symbol) => {
    if (WRITES.includes(name)) return () => Promise.reject(noSpace());
    if (!WRITES_NOW.includes(name)) return undefined;
    return () => {
      throw noSpace();
    };
  };
  const overlaid = <T extends object>(target: T, member: (name: string | symbol) => unknown): T =>
    new Proxy(target, {
      get: (_, name) => {
        const found: unknown = member(name) ?? Reflect.get(target, name, target);
        return typeof found === 'function' ? found.bind(target) : found;
      },
    });
  const fs = overlaid(real.fs, (name) =>
    name === 'open'
      ? (...given: Parameters<typeof real.fs.open>): File =>
          overlaid(real.fs.open(...given), (member) => (disk.isFull ? refusal(member) : undefined))
      : undefined,
  );
  const disk = { env: { ...real, fs }, isFull: false };
  return disk;
}

test('a node with a full disk is not ready, says why, and is again when there is space', async () => {
  const disk = fillable();
  const node = await startHttpNode({}, {}, {}, disk.env);
  const ready = async () => {
    const answer = await fetch(`${node.url}/readyz?verbose`);
    return { status: answer.status, text: await answer.text() };
  };
  const put = async () => (await fetch(`${node.url}/v1/kv/a`, { method: 'PUT', body: 'x' })).status;
  try {
    assert.is(await put(), 204);
    assert.match((await ready()).text, /^\[\+\] disk$/m);
    disk.isFull = true;
    void put();
    await until(async () => (await ready()).status === 503, 'the node is not ready');
    assert.match((await ready()).text, /^\[-\] disk: it is full.*\nnot ready\n$/m);
    assert.is((await fetch(`${node.url}/v1/kv/a?level=stale`)).status, 200, 'reads go on');
    assert.is((await fetch(`${node.url}/livez`)).status, 200);
    disk.isFull = false;
    await until(async () => (await ready()).status === 200, 'the node is ready');
    assert.is(await put(), 204);
  } finally {
    disk.isFull = false;
    await node.close();
  }
});

test.run();
