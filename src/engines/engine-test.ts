/// <reference types="node" preserve="true" />
/**
 * `raftree/engine-test`: tests whether a storage engine keeps the guarantees of `StorageEngine`, as a list for any test
 * framework. A test that finds a fault rejects with `ENGINE_FAULT`, and says what was expected.
 *
 *     for (const { name, run } of engineTests({ newDirectory, open, crash })) test(name, run);
 *
 * The tests are only as good as `crash`. With a copy of a running engine's files, as after `kill -9`, the data in the
 * system's cache is not lost. Only a file system that loses data which was not synced shows a missing sync.
 */
import { DiskSpace } from '../env/disk-space.js';
import { silentLogger } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import { realEnv } from '../env/real/real-env.js';
import type { EngineContext, EngineOperation, EngineRange, StorageEngine } from './storage-engine.js';

export interface EngineUnderTest {
  /** Gives the path of a new, empty directory, in which others can be made. */
  newDirectory(): string | Promise<string>;
  /** Opens the engine in a directory: an empty one, one that it has used before, or one that a checkpoint made. */
  open(directory: string): Promise<StorageEngine>;
  /**
   * Cuts the power of an open engine, or kills its process. The engine is not used afterwards. Returns the directory
   * with the remaining files: the same one, or a copy.
   */
  crash(engine: StorageEngine, directory: string): string | Promise<string>;
  /** Changes some bytes of every file in a directory. Without it, damage is not tested. */
  damage?(directory: string): void | Promise<void>;
}

export interface EngineTest {
  readonly name: string;
  /** Rejects if the engine fails the test. */
  run(): Promise<void>;
}

/** The context that a node would give to an engine, without a log: for tests on real files. */
export function engineContext(): EngineContext {
  const env = realEnv();
  return { env, logger: silentLogger, diskSpace: new DiskSpace(silentLogger, env) };
}

/** The tests of an engine. They share nothing and may run in any order. */
export function engineTests(subject: EngineUnderTest): readonly EngineTest[] {
  const onNew = (run: (engine: StorageEngine, directory: string) => Promise<void>) => async () => {
    const directory = await subject.newDirectory();
    const engine = await subject.open(directory);
    await run(engine, directory);
    await engine.close();
  };
  const tests: EngineTest[] = [
    { name: 'a key is found from when it is put until it is deleted', run: onNew(findsKeys) },
    { name: 'a batch takes effect in its order', run: onNew(keepsOrderOfBatch) },
    { name: 'keys come in the order of their bytes, within the range', run: onNew(keepsOrderOfKeys) },
    { name: 'an iterator gives the state at which it began', run: onNew(givesViews) },
    { name: 'no buffer is shared with the caller', run: onNew(sharesNoBuffers) },
    { name: 'large values and many keys', run: onNew(holdsMuch) },
    { name: 'sequences ascend, and a flush makes them durable', run: onNew(countsSequences) },
    { name: 'what is flushed is there after the engine was closed', run: () => survivesClosing(subject) },
    { name: 'what is flushed is there after a crash', run: () => survivesCrash(subject) },
    { name: 'after a crash it is the state after some batch', run: () => losesNoPart(subject) },
    { name: 'a checkpoint holds exactly what was written before', run: () => makesCheckpoints(subject) },
    { name: 'a checkpoint is durable and stands alone', run: () => keepsCheckpoints(subject) },
  ];
  if (subject.damage)
    tests.push({ name: 'a damaged checkpoint is told from a sound one', run: () => findsDamage(subject) });
  return tests;
}

async function findsKeys(engine: StorageEngine): Promise<void> {
  expect(engine.get(bytes('a')) === undefined, 'a new engine has no keys');
  await engine.write([put('a', '1'), put('b', '')]);
  expect(engine.get(bytes('a'))?.toString() === '1', 'a value that was put is found');
  expect(engine.get(bytes('b'))?.length === 0, 'a value may be empty');
  await engine.write([put('a', '2'), remove('b'), remove('c')]);
  expect(engine.get(bytes('a'))?.toString() === '2', 'the newer value of a key counts');
  expect(engine.get(bytes('b')) === undefined, 'a deleted key is not found');
  expect(engine.get(bytes('')) === undefined, 'a key that was never put is not found');
}

async function keepsOrderOfBatch(engine: StorageEngine): Promise<void> {
  await engine.write([put('a', '1'), remove('a'), put('b', '1'), put('b', '2'), remove('c'), put('c', '1')]);
  expectState(engine, 'b=2 c=1', 'of several operations on one key the last counts');
}

async function keepsOrderOfKeys(engine: StorageEngine): Promise<void> {
  const keys = ['00', '0000', '01', '61', '6100', '61ff', '62', '7f', '80', '80ff', 'ff', 'ff00', 'ffff'];
  const shuffled = [...keys].sort((a, b) => (hash(a) < hash(b) ? -1 : 1));
  await engine.write(shuffled.map((key) => put(Buffer.from(key, 'hex'), key)));
  const bounds = [undefined, ...keys, '0001', '70', 'fffe'];
  for (const gte of bounds) {
    for (const lt of bounds) {
      for (const reverse of [false, true]) {
        const range: EngineRange = {
          ...(gte === undefined ? {} : { gte: Buffer.from(gte, 'hex') }),
          ...(lt === undefined ? {} : { lt: Buffer.from(lt, 'hex') }),
          reverse,
        };
        // Hexadecimal digits have the order of their bytes.
        const expected = keys.filter(
          (key) => (gte === undefined || key >= gte) && (lt === undefined || key < lt),
        );
        if (reverse) expected.reverse();
        const found = [...engine.entries(range)].map(([key]) => key.toString('hex'));
        const asked = `${gte ?? 'the first'} to ${lt ?? 'the last'}${reverse ? ', reverse' : ''}`;
        expect(found.join() === expected.join(), `from ${asked}: ${expected.join()}, not ${found.join()}`);
      }
    }
  }
}

async function givesViews(engine: StorageEngine): Promise<void> {
  const name = (i: number) => `key ${String(i).padStart(4, '0')}`;
  const count = 2000;
  await engine.write(Array.from({ length: count }, (_, i) => put(name(2 * i), 'old')));
  for (const reverse of [false, true]) {
    const seen: string[] = [];
    let isChanged = false;
    for (const [key, value] of engine.entries({ reverse })) {
      seen.push(`${key}=${value}`);
      if (isChanged) continue;
      isChanged = true;
      const changes = Array.from({ length: count }, (_, i) =>
        i % 3 === 0
          ? remove(name(2 * i))
          : i % 3 === 1
            ? put(name(2 * i), 'new')
            : put(name(2 * i + 1), 'new'),
      );
      await engine.write(changes);
    }
    const expected = Array.from({ length: count }, (_, i) => `${name(2 * i)}=old`);
    if (reverse) expected.reverse();
    const wrong = expected.findIndex((entry, i) => seen[i] !== entry);
    expect(
      wrong < 0 && seen.length === count,
      `an iterator that began before a batch gives ${expected[wrong] ?? 'no more entries'}, not ${seen[wrong] ?? seen[count]}`,
    );
    await engine.write(
      Array.from({ length: 2 * count }, (_, i) => (i % 2 ? remove(name(i)) : put(name(i), 'old'))),
    );
  }
  for (const [key] of engine.entries({})) {
    expect(key.toString() === name(0), 'an iterator that is left early does no harm');
    break;
  }
}

async function sharesNoBuffers(engine: StorageEngine): Promise<void> {
  const given = { key: Buffer.from('a'), value: Buffer.from('first') };
  await engine.write([{ type: 'put', ...given }, put('b', 'other')]);
  given.key.fill('z');
  given.value.fill('z');
  expectState(
    engine,
    'a=first b=other',
    'what the caller does with its buffers after a batch does not matter',
  );
  const value = engine.get(bytes('a'));
  expect(engine.get(bytes('b'))?.toString() === 'other', 'a second value is read');
  const entries = [...engine.entries({})];
  await engine.write([put('a', 'again'), remove('b')]);
  await engine.flush();
  expect(value?.toString() === 'first', 'a value that was read stays as it was');
  expect(render(entries) === 'a=first b=other', 'entries that were read stay as they were');
  for (const [key, read] of engine.entries({})) {
    key.fill('z');
    read.fill('z');
  }
  engine.get(bytes('a'))?.fill('z');
  expectState(engine, 'a=again', 'what the caller does with what it has read does not matter');
}

async function holdsMuch(engine: StorageEngine): Promise<void> {
  const large = Buffer.alloc(4 * 1024 * 1024, 'large');
  await engine.write([{ type: 'put', key: bytes('~'), value: large }]);
  expect(engine.get(bytes('~'))?.equals(large) === true, 'a value of 4 MiB is found');
  const long = Buffer.alloc(65_535, 'k');
  await engine.write([put(long, 'long')]);
  expect(engine.get(long)?.toString() === 'long', 'a key of 65,535 bytes is found');
  const count = 5000;
  for (let first = 0; first < count; first += 500)
    await engine.write(Array.from({ length: 500 }, (_, i) => put(`many ${first + i}`, `${first + i}`)));
  const found = [...engine.entries({ gte: bytes('many '), lt: bytes('many!') })];
  expect(found.length === count, `${count} keys are found, not ${found.length}`);
  expect(
    found.every(([key, value]) => key.toString() === `many ${value}`),
    'each key has its own value',
  );
  const approximate = engine.approximateKeys();
  expect(Number.isFinite(approximate) && approximate >= 0, `approximateKeys is a number, not ${approximate}`);
}

async function countsSequences(engine: StorageEngine): Promise<void> {
  let last = Number.NEGATIVE_INFINITY;
  let durable = engine.durableSequence;
  for (let i = 0; i < 20; i++) {
    const sequence = await engine.write([put(`${i % 5}`, `${i}`)]);
    expect(sequence > last, `the sequence of a batch is above the one before: ${sequence} after ${last}`);
    last = sequence;
    if (i % 7 === 6) {
      await engine.flush();
      expect(
        engine.durableSequence >= last,
        `after a flush batch ${last} is durable, not ${engine.durableSequence}`,
      );
    }
    const now = engine.durableSequence;
    expect(now >= durable, `durableSequence never goes back: from ${durable} to ${now}`);
    expect(now <= last, `no batch is durable that was never given: ${now} after ${last}`);
    durable = now;
  }
}

async function survivesClosing(subject: EngineUnderTest): Promise<void> {
  const directory = await subject.newDirectory();
  let engine = await subject.open(directory);
  await engine.write([put('a', '1'), put('b', '1')]);
  await engine.write([remove('b'), put('c', '1')]);
  await engine.flush();
  await engine.close();
  for (let i = 2; i < 5; i++) {
    engine = await subject.open(directory);
    expectState(engine, `a=${i - 1} c=1`, 'the state that was flushed before the engine was closed');
    await engine.write([put('a', `${i}`)]);
    await engine.flush();
    await engine.close();
  }
}

async function survivesCrash(subject: EngineUnderTest): Promise<void> {
  let directory = await subject.newDirectory();
  for (let round = 0; round < 4; round++) {
    const engine = await subject.open(directory);
    if (round > 0)
      expectState(engine, `a=${round - 1} b=${round - 1}`, 'the state that was flushed before a crash');
    await engine.write([put('a', `${round}`)]);
    await engine.write([put('b', `${round}`)]);
    await engine.flush();
    directory = await subject.crash(engine, directory);
  }
}

/** Each batch leaves a state that no other batch leaves. Crashes happen between batches and within them. */
async function losesNoPart(subject: EngineUnderTest): Promise<void> {
  let directory = await subject.newDirectory();
  let batch = 0;
  let states: string[] = [''];
  let least = 0;
  for (let round = 0; round < 12; round++) {
    const engine = await subject.open(directory);
    const found = render(engine.entries({}));
    const survived = states.lastIndexOf(found);
    expect(survived >= 0, `after a crash it is the state after some batch, not ${found}`);
    expect(
      survived >= least,
      `batch ${least} was durable, and after a crash the state is that after batch ${survived}`,
    );
    states = states.slice(0, survived + 1);
    batch = survived;
    const given = new Map<number, number>();
    const count = 3 + (hash(`${round}`) % 20);
    const flushedAt = hash(`flush ${round}`) % 25;
    least = batch;
    const durable = () => {
      for (const [sequence, number] of given)
        if (sequence <= engine.durableSequence) least = Math.max(least, number);
    };
    for (let i = 0; i < count; i++) {
      batch++;
      const mark = `${round}.${i}`;
      const operations = [
        ...['x', 'y', 'z'].map((key) => put(key, mark)),
        i % 4 === 3 ? remove('sometimes') : put('sometimes', mark),
        put(`k${hash(mark) % 7}`, 'v'.repeat(hash(mark) % 3000)),
        put('~', mark),
      ];
      states.push(appliedTo(states.at(-1) ?? '', operations));
      const written = engine.write(operations);
      // The last batch may be interrupted.
      if (i === count - 1 && round % 2 === 1 && written instanceof Promise) written.catch(() => {});
      else given.set(await written, batch);
      if (i === flushedAt) await engine.flush();
      durable();
    }
    directory = await subject.crash(engine, directory);
  }
}

async function makesCheckpoints(subject: EngineUnderTest): Promise<void> {
  const directory = await subject.newDirectory();
  const engine = await subject.open(directory);
  await engine.write([put('a', '1'), put('b', '1'), put('c', '1')]);
  await engine.flush();
  await engine.write([put('a', '2'), remove('b')]);
  const target = `${await subject.newDirectory()}/checkpoint`;
  await engine.checkpoint(target);
  await engine.write([put('a', '3'), remove('c'), put('d', '3')]);
  await engine.flush();
  await engine.check(target);
  expectState(engine, 'a=3 d=3', 'a checkpoint changes nothing in the engine');
  const copy = await subject.open(target);
  expectState(copy, 'a=2 c=1', 'a checkpoint holds what was written before it, and nothing else');
  const again = `${await subject.newDirectory()}/checkpoint`;
  await copy.write([put('e', '4')]);
  await copy.checkpoint(again);
  await copy.close();
  const second = await subject.open(again);
  expectState(second, 'a=2 c=1 e=4', 'an engine that began as a checkpoint makes checkpoints');
  await second.close();
  await engine.close();
  const empty = await subject.open(await subject.newDirectory());
  const nothing = `${await subject.newDirectory()}/checkpoint`;
  await empty.checkpoint(nothing);
  await empty.check(nothing);
  await empty.close();
  const stillEmpty = await subject.open(nothing);
  expectState(stillEmpty, '', 'a checkpoint of an empty engine is empty');
  await stillEmpty.close();
}

async function keepsCheckpoints(subject: EngineUnderTest): Promise<void> {
  const directory = await subject.newDirectory();
  const engine = await subject.open(directory);
  const target = `${await subject.newDirectory()}/checkpoint`;
  await engine.write(Array.from({ length: 50 }, (_, i) => put(`k${i + 10}`, `${i}`)));
  const state = render(engine.entries({}));
  await engine.checkpoint(target);
  await engine.write([put('k10', 'changed')]);
  const after = await subject.open(await subject.crash(engine, directory));
  await after.check(target);
  await after.close();
  let copy = await subject.open(target);
  expectState(copy, state, 'a checkpoint survives the crash of its engine');
  const inUse = await subject.crash(copy, target);
  copy = await subject.open(inUse);
  expectState(copy, state, 'a checkpoint that was opened survives a crash');
  await copy.write([put('k11', 'changed')]);
  await copy.flush();
  copy = await subject.open(await subject.crash(copy, inUse));
  expectState(
    copy,
    appliedTo(state, [put('k11', 'changed')]),
    'a checkpoint that is in use is as any other directory',
  );
  await copy.close();
}

async function findsDamage(subject: EngineUnderTest): Promise<void> {
  const engine = await subject.open(await subject.newDirectory());
  await engine.write(Array.from({ length: 500 }, (_, i) => put(`key ${i}`, `value ${i}`)));
  const target = `${await subject.newDirectory()}/checkpoint`;
  await engine.checkpoint(target);
  await engine.check(target);
  await subject.damage?.(target);
  const outcome = await engine.check(target).then(
    () => 'no error',
    (error: unknown) => (error instanceof RaftreeError ? error.code : String(error)),
  );
  expect(
    outcome === 'CORRUPTION',
    `check rejects with CORRUPTION for a damaged checkpoint, not with ${outcome}`,
  );
  await engine.close();
}

function bytes(text: string): Buffer {
  return Buffer.from(text);
}

function put(key: string | Buffer, value: string): EngineOperation {
  return { type: 'put', key: Buffer.from(key), value: Buffer.from(value) };
}

function remove(key: string): EngineOperation {
  return { type: 'delete', key: Buffer.from(key) };
}

function render(entries: Iterable<readonly [Buffer, Buffer]>): string {
  return Array.from(entries, ([key, value]) => `${key}=${value}`).join(' ');
}

/** The rendered state after a batch. */
function appliedTo(state: string, operations: readonly EngineOperation[]): string {
  const entries = new Map(
    state === '' ? [] : state.split(' ').map((entry) => entry.split('=') as [string, string]),
  );
  for (const operation of operations) {
    const key = Buffer.from(operation.key).toString();
    if (operation.type === 'put') entries.set(key, Buffer.from(operation.value).toString());
    else entries.delete(key);
  }
  return [...entries]
    .sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    .map(([key, value]) => `${key}=${value}`)
    .join(' ');
}

/** Well distributed and deterministic. */
function hash(text: string): number {
  let mixed = 0x811c9dc5;
  for (const byte of Buffer.from(text)) mixed = Math.imul(mixed ^ byte, 0x01000193);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

function expectState(engine: StorageEngine, expected: string, rule: string): void {
  const found = render(engine.entries({}));
  expect(found === expected, `${rule}: "${shortened(expected)}", not "${shortened(found)}"`);
  const wrong =
    expected === ''
      ? []
      : expected.split(' ').filter((entry) => {
          const [key = '', value] = entry.split('=');
          return engine.get(bytes(key))?.toString() !== value;
        });
  expect(wrong.length === 0, `${rule}: get finds what entries gives, ${shortened(wrong.join(' '))}`);
}

function shortened(text: string): string {
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

function expect(holds: boolean, rule: string): void {
  if (!holds) throw new RaftreeError('ENGINE_FAULT', rule);
}
