/** While reads of the disk are slow, gets do not hold up the event loop, and still read the moment of their call. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Env, File } from '../../src/env/env.js';
import { errorCode } from '../../src/env/errors.js';
import type { LsmOptions } from '../../src/lsm/index.js';
import { openTree, processEnv, put, remove, SimDisk } from './tree-lab.js';

interface SlowDisk {
  readonly env: Env;
  readMs: number;
  blocking: number;
  asynchronous: number;
}

/** A disk whose reads take virtual time. */
function slowDisk(disk: SimDisk): SlowDisk {
  const inner = processEnv(1, disk);
  let nowMs = 0;
  const slow: SlowDisk = { env: inner, readMs: 5, blocking: 0, asynchronous: 0 };
  const wrap = (file: File, path: string): File => {
    if (!path.endsWith('.sst')) return file;
    return {
      path,
      sizeBytes: () => file.sizeBytes(),
      readSync(target, position) {
        slow.blocking++;
        nowMs += slow.readMs;
        return file.readSync(target, position);
      },
      async read(target, position) {
        slow.asynchronous++;
        await new Promise((resolve) => setImmediate(resolve));
        nowMs += slow.readMs;
        return file.readSync(target, position);
      },
      writeSync: (chunks, position) => file.writeSync(chunks, position),
      write: (chunks, position) => file.write(chunks, position),
      writeDurable: (chunks, position) => file.writeDurable(chunks, position),
      writeDurableNow: (chunks, position) => file.writeDurableNow(chunks, position),
      sync: () => file.sync(),
      syncNow: () => file.syncNow(),
      truncate: (size) => file.truncate(size),
      close: () => file.close(),
    };
  };
  const { fs } = inner;
  const wrapped = new Proxy(fs, {
    get(target, name) {
      if (name === 'open') return (path: string, mode: 'read') => wrap(target.open(path, mode), path);
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return Object.assign(slow, {
    env: { ...inner, clock: { nowMs: () => nowMs, wallMs: () => 0 }, fs: wrapped },
  });
}

const OPTIONS: LsmOptions = {
  blockCacheBytes: 2000,
  level0Trigger: 100,
  level0StopTrigger: 100,
  writeBufferBytes: 1 << 16,
};

async function filled(slow: SlowDisk, disk: SimDisk, options: LsmOptions = OPTIONS) {
  const tree = await openTree(disk, options, slow.env);
  for (let i = 0; i < 300; i++) await tree.write([put(`key${i}`, `value${i}`)], { durability: 'buffered' });
  await tree.flush();
  return tree;
}

for (const codecs of [['none'], ['lz4']] as const) {
  test(`slow reads are made while other events run; fast ones at once (${codecs})`, async () => {
    const disk = new SimDisk();
    const slow = slowDisk(disk);
    const tree = await filled(slow, disk, { ...OPTIONS, codecs });
    for (let i = 0; i < 300; i += 17)
      assert.is((await tree.get(Buffer.from(`key${i}`)))?.toString(), `value${i}`);
    assert.ok(
      slow.asynchronous > 5 && slow.blocking < 6,
      `${slow.asynchronous} asynchronous, ${slow.blocking} blocking`,
    );
    const keys = Array.from({ length: 300 }, (_, i) => Buffer.from(`key${i * 2}`));
    const values = await tree.getMany(keys);
    assert.equal(
      values.map((value) => value?.toString()),
      keys.map((_, i) => (i < 150 ? `value${i * 2}` : undefined)),
    );
    slow.readMs = 0.01;
    for (let i = 0; i < 300; i += 7) await tree.get(Buffer.from(`key${i}`));
    const before = slow.asynchronous;
    for (let i = 0; i < 300; i += 7) await tree.get(Buffer.from(`key${i}`));
    assert.is(slow.asynchronous, before, 'the disk is fast again');
    await tree.close();
  });
}

test('without room in the cache slow reads come to an end too', async () => {
  const disk = new SimDisk();
  const slow = slowDisk(disk);
  const tree = await filled(slow, disk, { ...OPTIONS, blockCacheBytes: 0 });
  for (let i = 0; i < 20; i++) assert.is((await tree.get(Buffer.from(`key${i}`)))?.toString(), `value${i}`);
  await tree.close();
});

test('a slow get reads the moment of its call, whatever is written, flushed and compacted meanwhile', async () => {
  const disk = new SimDisk();
  const slow = slowDisk(disk);
  const tree = await filled(slow, disk);
  for (let i = 0; i < 20; i++) await tree.get(Buffer.from(`key${i}`));
  await tree.write([put('key250', 'changed')]);
  const gets = [249, 250, 251].map((i) => tree.get(Buffer.from(`key${i}`)));
  const many = tree.getMany([249, 250, 251].map((i) => Buffer.from(`key${i}`)));
  await tree.write([249, 250, 251].map((i) => remove(`key${i}`)));
  await tree.compactRange();
  const expected = ['value249', 'changed', 'value251'];
  assert.equal((await Promise.all(gets)).map(String), expected);
  assert.equal((await many).map(String), expected);
  assert.is(await tree.get(Buffer.from('key250')), undefined);
  const last = tree.get(Buffer.from('key100'));
  await tree.close();
  assert.is(String(await last), 'value100', 'closing waits for it');
  assert.is(await tree.get(Buffer.from('key1')).catch(errorCode), 'LSM_CLOSED');
});

test('damage met by a slow get is corruption', async () => {
  const disk = new SimDisk();
  const slow = slowDisk(disk);
  const tree = await filled(slow, disk);
  for (let i = 0; i < 20; i++) await tree.get(Buffer.from(`key${i}`));
  const name = disk
    .mount()
    .list('/data/tree')
    .find((entry) => entry.endsWith('.sst'));
  disk.edit(`/data/tree/${name}`, (bytes) => bytes.fill(0x55, 200, bytes.length - 4000));
  assert.is(await tree.get(Buffer.from('key277')).catch(errorCode), 'CORRUPTION');
  assert.is(await tree.getMany([Buffer.from('key277')]).catch(errorCode), 'CORRUPTION');
  await tree.close();
});

test.run();
