/**
 * Keyv over a node. Cases as those of @keyv/test-suite 2.1 (its API, values, namespaces and iterators): that package
 * depends on vitest and a native SQLite, so it is not a dependency of ours. What it asserts is asserted here.
 */

import * as fs from 'node:fs';
import { suite, test } from 'uvu';
import * as assert from 'uvu/assert';
import { freePorts } from '../../bench/free-ports.js';
import { RaftreeNode } from '../../src/index.js';
import { KeyvRaftree } from '../../src/keyv/index.js';
import { isInstalled } from '../support/packed.js';
import { temporaryDirectory } from '../support/process-cluster.js';

/** The parts of Keyv that are used here. Its own types are checked by the example of README.md. */
interface Keyv {
  serialize: unknown;
  readonly iterator?: (argument: unknown) => AsyncIterable<[unknown, unknown]>;
  on(event: 'error', listener: (error: Error & { code: string }) => void): void;
  set(key: string, value: unknown, ttl?: number): Promise<boolean>;
  setMany(entries: readonly { key: string; value: unknown; ttl?: number }[]): Promise<boolean[]>;
  get(key: string | readonly string[]): Promise<unknown>;
  delete(key: string | readonly string[]): Promise<boolean>;
  has(key: string): Promise<boolean>;
  hasMany(keys: readonly string[]): Promise<boolean[]>;
  clear(): Promise<void>;
  disconnect(): Promise<void>;
}
type KeyvConstructor = new (options: {
  readonly store: KeyvRaftree;
  readonly namespace?: string;
  readonly throwOnErrors?: boolean;
  readonly serialize?: (data: { readonly value: unknown }) => string;
  readonly deserialize?: (text: string) => { readonly value: unknown };
}) => Keyv;

const hasKeyv = isInstalled('keyv');
const KEYV = 'keyv';
const { Keyv } = (hasKeyv ? await import(KEYV) : {}) as { readonly Keyv: KeyvConstructor };

let node: RaftreeNode;
let directory: string;
let endpoint: string;

test.before(async () => {
  directory = temporaryDirectory();
  const [client, peer] = await freePorts(2);
  endpoint = `127.0.0.1:${client}`;
  node = await RaftreeNode.start({
    ...{ clusterId: 'keyv', nodeId: 1, dataDirectory: directory },
    nodes: [{ id: 1, client: endpoint, peer: `127.0.0.1:${peer}` }],
  });
  await node.put('other', 'stays');
});

test.after(async () => {
  assert.is(String((await node.get('other'))?.value), 'stays', 'what is not behind the prefix');
  await node.close();
  fs.rmSync(directory, { recursive: true });
});

const store = () => new KeyvRaftree(node);
const open = (namespace?: string) =>
  new Keyv({ store: store(), ...(namespace === undefined ? {} : { namespace }) });

test.before.each(async () => {
  for (const namespace of [undefined, 'keyv1', 'keyv2']) await open(namespace).clear();
});

async function allOf(keyv: Keyv): Promise<[unknown, unknown][]> {
  const all: [unknown, unknown][] = [];
  for await (const [key, value] of keyv.iterator?.(undefined) ?? []) all.push([key, value]);
  return all;
}

test('set and get: one key, several, and such as are not there', async () => {
  const keyv = open();
  const setting = keyv.set('foo', 'bar');
  assert.instance(setting, Promise);
  assert.is(await setting, true);
  assert.is(await keyv.get('foo'), 'bar');
  assert.is(await keyv.get('none'), undefined);
  await keyv.set('foo2', 'bar2', 3000);
  assert.equal(await keyv.get(['foo', 'foo1', 'foo2']), ['bar', undefined, 'bar2']);
  assert.equal(await keyv.get(['x', 'y', 'z']), [undefined, undefined, undefined]);
  assert.equal(await keyv.get([]), []);
  assert.equal(
    (await node.scan({ prefix: 'keyv/' }).next()).value?.key.toString(),
    'keyv/keyv:foo',
    'where it is in the cluster',
  );
});

test('setMany: each with its life; of one key twice the last one counts', async () => {
  const keyv = open();
  const entries = Array.from({ length: 300 }, (_, i) => ({ key: `k${i}`, value: i }));
  assert.equal(
    await keyv.setMany([...entries, { key: 'k0', value: 'last', ttl: 60_000 }]),
    [...entries, 0].map(() => true),
  );
  const values = await keyv.get(entries.map(({ key }) => key));
  assert.equal((values as unknown[]).slice(0, 3), ['last', 1, 2]);
  const remainingMs = async (key: string) => (await node.ttl(`keyv/keyv:${key}`))?.remainingMs;
  assert.is(await remainingMs('k1'), undefined);
  assert.ok(Number(await remainingMs('k0')) > 50_000);
});

test('a life is the cluster’s: the key is gone for every client; none, 0 and very long ones are none', async () => {
  const keyv = open();
  await keyv.set('short', 'x', 1000);
  await keyv.set('fraction', 'x', 59_999.5);
  assert.is(await keyv.get('short'), 'x');
  for (const [key, ttl] of [
    ['zero', 0],
    ['long', Number.MAX_SAFE_INTEGER],
    ['endless', Number.POSITIVE_INFINITY],
  ] as const) {
    await keyv.set(key, 'x', ttl);
    assert.is((await node.ttl(`keyv/keyv:${key}`))?.remainingMs, undefined, key);
  }
  assert.ok(Number((await node.ttl('keyv/keyv:fraction'))?.remainingMs) > 50_000);
  while ((await node.get('keyv/keyv:short')) !== undefined)
    await new Promise((resolve) => setTimeout(resolve, 20));
  assert.is(await keyv.has('short'), false);
  await keyv.set('fraction', 'over', -1);
  assert.is(await node.get('keyv/keyv:fraction'), undefined, 'a life that is over');
});

test('delete, deleteMany, has, clear', async () => {
  const keyv = open();
  for (const key of ['foo', 'foo1', 'foo2']) await keyv.set(key, 'bar');
  assert.equal([await keyv.has('foo'), await keyv.has('fizz')], [true, false]);
  assert.equal(await keyv.hasMany(['foo', 'fizz', 'foo2']), [true, false, true]);
  assert.equal([await keyv.delete('foo'), await keyv.delete('foo')], [true, false]);
  assert.is(await keyv.delete(['foo1', 'foo2']), true);
  assert.is(await keyv.delete(['foo1', 'foo2']), false);
  assert.equal(await keyv.get(['foo', 'foo1', 'foo2']), [undefined, undefined, undefined]);
  await keyv.setMany(Array.from({ length: 2500 }, (_, i) => ({ key: `many/${i}`, value: i })));
  assert.is(await keyv.clear(), undefined);
  assert.equal(await allOf(keyv), []);
  assert.is(await keyv.clear(), undefined);
});

test('values: all that JSON has, buffers, quotes; no symbol, nothing that is not text', async () => {
  const keyv = open();
  const values = [
    false,
    null,
    undefined,
    0,
    { fizz: 'buzz' },
    Buffer.from('bar'),
    { buff: Buffer.from('buzz') },
  ];
  for (const value of [...values, '"', "'", "''", 'text', 'ä😀\u0000\n', [1, [2]]]) {
    await keyv.set('foo', value);
    assert.equal(await keyv.get('foo'), value, String(value));
  }
  await keyv.set("'", "'");
  assert.is(await keyv.get("'"), "'");
  keyv.on('error', () => {});
  await keyv.set('foo', Symbol('value')).then(
    () => assert.unreachable(),
    (error: Error) => assert.is(error.message, 'symbol cannot be serialized'),
  );
  const big = new Keyv({
    store: store(),
    serialize: ({ value }) => String(value),
    deserialize: (text) => ({ value: BigInt(text) }),
  });
  await big.set('big', 9_223_372_036_854_775_807n);
  assert.is(await big.get('big'), 9_223_372_036_854_775_807n);
  const raw = new Keyv({ store: store(), throwOnErrors: true });
  raw.serialize = undefined;
  raw.on('error', () => {});
  await raw.set('foo', 1).then(
    () => assert.unreachable(),
    (error: Error & { code: string }) => assert.is(error.code, 'INVALID_REQUEST'),
  );
});

test('namespaces do not see each other; clear is for one; a store of two refuses it', async () => {
  const [keyv1, keyv2] = [open('keyv1'), open('keyv2')];
  for (const [keyv, value] of [
    [keyv1, 'one'],
    [keyv2, 'two'],
  ] as const)
    for (const key of ['foo', 'bar']) await keyv.set(key, value);
  assert.equal([await keyv1.get('foo'), await keyv2.get('foo')], ['one', 'two']);
  assert.is(await keyv1.delete('foo'), true);
  assert.equal([await keyv1.get('foo'), await keyv2.get('foo')], [undefined, 'two']);
  await keyv1.clear();
  assert.equal([await keyv1.get('bar'), await keyv2.get(['foo', 'bar'])], [undefined, ['two', 'two']]);
  assert.equal(await allOf(keyv2), [
    ['bar', 'two'],
    ['foo', 'two'],
  ]);
  const shared = store();
  const [a, b] = [
    new Keyv({ store: shared, namespace: 'keyv1' }),
    new Keyv({ store: shared, namespace: 'keyv2' }),
  ];
  const told: string[] = [];
  for (const keyv of [a, b]) keyv.on('error', (error) => told.push(error.message));
  await a.set('foo', 'one');
  await a.clear();
  assert.equal([await a.get('foo'), await b.get('foo')], ['one', 'two'], 'nothing was taken');
  assert.match(told[0] ?? '', /give each Keyv a store of its own/);
});

test('iterators: all of a namespace, in pages, without what has expired', async () => {
  const keyv = open();
  const entries = Array.from({ length: 1100 }, (_, i) => ({ key: String(i), value: String(i + 10) }));
  await keyv.setMany(entries);
  await open('keyv2').set('else', 'where');
  assert.equal(new Map(await allOf(keyv)), new Map(entries.map(({ key, value }) => [key, value])));
  await keyv.clear();
  await keyv.set('over', 'x', 1);
  await keyv.set('foo', 'bar');
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(await allOf(keyv), [['foo', 'bar']]);
});

test('errors: emitted, or thrown with throwOnErrors; of get, too', async () => {
  const [port] = await freePorts(1);
  const unreachable = () =>
    new KeyvRaftree({ endpoints: [`127.0.0.1:${port}`], timeoutMs: 2000, refusedRounds: 1, backoffMs: 1 });
  const quiet = new Keyv({ store: unreachable() });
  const codes: string[] = [];
  quiet.on('error', (error) => codes.push(error.code));
  assert.is(await quiet.set('a', 1), false);
  assert.is(await quiet.get('a'), undefined);
  assert.is(await quiet.delete('a'), false);
  assert.equal(await quiet.setMany([{ key: 'a', value: 1 }]), [false]);
  assert.equal(
    codes,
    [1, 2, 3, 4].map(() => 'CONNECTION_REFUSED'),
  );
  const loud = new Keyv({ store: unreachable(), throwOnErrors: true });
  loud.on('error', () => {});
  for (const call of [
    () => loud.set('a', 1),
    () => loud.get('a'),
    () => loud.get(['a']),
    () => loud.has('a'),
  ])
    await call().then(
      () => assert.unreachable(),
      (error: Error & { code: string }) => assert.is(error.code, 'CONNECTION_REFUSED'),
    );
  await loud.disconnect();
  await quiet.disconnect();
});

test('disconnect closes the client that the store has made, and no other', async () => {
  const keyv = new Keyv({ store: store() });
  await keyv.disconnect();
  assert.is(await keyv.has('a'), false);
  const own = new KeyvRaftree({ endpoints: [endpoint] });
  assert.is(await own.set('a', 'b'), true);
  await own.disconnect();
  await own.get('a').then(
    () => assert.unreachable(),
    (error: Error & { code: string }) => assert.is(error.code, 'CLIENT_CLOSED'),
  );
});

if (hasKeyv) test.run();
else {
  const skipped = suite();
  skipped('Keyv', () => console.log('note: skipped: keyv is not installed; npm ci does that'));
  skipped.run();
}
