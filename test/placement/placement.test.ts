import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { hashOfKey, murmur3 } from '../../src/placement/partition-key.js';
import {
  describePlacement,
  firstTablets,
  isSamePlacement,
  ONE_TABLET,
  type Placement,
  placementByHash,
  placementByRange,
  splitsProblem,
  type Tablet,
} from '../../src/placement/placement.js';
import { TabletMap, TabletRange } from '../../src/placement/tablet-map.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

const bytes = (text: string) => Buffer.from(text);
const mapOf = (placement: Placement) => new TabletMap(placement.by, firstTablets(placement));

test('the hash is MurmurHash3_x86_32 with seed 0', () => {
  const known = {
    '': 0,
    a: 0x3c2569b2,
    hello: 0x248bfa47,
    'hello, world': 0x149bbb7f,
    'The quick brown fox jumps over the lazy dog': 0x2e4ff723,
  };
  for (const [text, hash] of Object.entries(known)) {
    assert.is(murmur3(bytes(text), 0, text.length), hash, text);
    const within = bytes(`xy${text}z`);
    assert.is(murmur3(within, 2, 2 + text.length), hash, `${text}, within others`);
  }
});

test('of a key with a tag only the tag is hashed', () => {
  const same = (one: string, other: string) => assert.is(hashOfKey(bytes(one)), hashOfKey(bytes(other)), one);
  same('{user1}/name', 'user1');
  same('{user1}/name', 'profile/{user1}');
  same('a{b}{c}', 'b');
  same('{{a}}', '{a');
  const whole = (key: string) => assert.is(hashOfKey(bytes(key)), murmur3(bytes(key), 0, key.length), key);
  for (const key of ['{}', '{}x', 'x{', 'x}', '}{', '{abc', '', '{}{a}']) whole(key);
});

test('each key has one tablet, by range and by hash, and it is the one whose range has the key', () => {
  const random = new SeededRandom(1);
  const placements = [
    ONE_TABLET,
    placementByRange(['g', 'n']),
    placementByRange(['a', 'a\0', 'aa', 'ab', 'é', '日本']),
    ...[1, 2, 3, 16, 1000, 1024].map(placementByHash),
  ];
  for (const placement of placements) {
    const map = mapOf(placement);
    assert.ok(map.isComplete);
    assert.is(map.tablets.length, placement.tablets);
    const ranges = map.tablets.map((tablet) => new TabletRange(placement.by, tablet));
    for (let i = 0; i < 300; i++) {
      const key = random.chance(0.5)
        ? Buffer.from(random.bytes(random.between(0, 4)))
        : bytes(random.pick(['a', 'a\0', 'aa', 'ab', 'g', 'f\xff', 'n', 'm', 'é', 'z', '日本', '日']));
      const owners = map.tablets.filter((_, at) => ranges[at]?.owns(key));
      assert.is(owners.length, 1);
      assert.is(map.ownerOf(key), owners[0]);
      assert.is(map.byId((owners[0] as Tablet).id), owners[0]);
    }
  }
});

test('by hash, keys are spread evenly', () => {
  const map = mapOf(placementByHash(16));
  const counts = new Map<number, number>();
  for (let i = 0; i < 16_000; i++) {
    const { id } = map.ownerOf(bytes(`key/${i}`)) as Tablet;
    counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  assert.is(counts.size, 16);
  for (const [id, count] of counts)
    assert.ok(count > 850 && count < 1150, `tablet ${id} has ${count} of 1000`);
});

test('by range, the tablet below a bound is the one with the last keys before it', () => {
  const map = mapOf(placementByRange(['g', 'n']));
  const below = (to: string | undefined) => map.ownerBelow(to === undefined ? undefined : bytes(to))?.id;
  assert.equal(
    [below('a'), below('g'), below('g\0'), below('n'), below('nn'), below(undefined)],
    [1, 1, 2, 2, 3, 3],
  );
});

test('a range covers only what lies within it', () => {
  const [first, second, third] = firstTablets(placementByRange(['g', 'n'])).map(
    (tablet) => new TabletRange('range', tablet),
  );
  const covers = (range: TabletRange | undefined, from: string, to?: string) =>
    range?.covers(bytes(from), to === undefined ? undefined : bytes(to));
  assert.ok(covers(first, '', 'g'));
  assert.not.ok(covers(first, '', 'g\0'));
  assert.not.ok(covers(first, ''));
  assert.ok(covers(second, 'g', 'n'));
  assert.not.ok(covers(second, 'f', 'n'));
  assert.ok(covers(third, 'n'));
  assert.not.ok(covers(third, 'm'));
  assert.ok(
    new TabletRange('hash', { start: bytes('\x40\0\0\0'), end: undefined }).covers(bytes(''), undefined),
  );
});

test('splits are keys in ascending order of their bytes', () => {
  assert.is(splitsProblem(['a', 'b', 'é', '😀']), undefined);
  assert.is(splitsProblem([]), undefined);
  for (const splits of [[''], ['b', 'a'], ['a', 'a'], ['😀', '\uffff'], ['\ud800'], ['a', 'b\udc00c']])
    assert.type(splitsProblem(splits), 'string', JSON.stringify(splits));
});

test('messages show the beginning of long splits: another node is sent them', () => {
  const splits = ['a', 'b', 'c', 'd', 'e'].map((first) => first.repeat(6000));
  assert.ok(describePlacement(placementByRange(splits)).length < 500);
  assert.ok((splitsProblem([...splits].reverse()) ?? '').length < 500);
});

test('placements are the same only if each part is', () => {
  const some = [
    ONE_TABLET,
    placementByRange(['g']),
    placementByRange(['h']),
    placementByHash(2),
    placementByHash(3),
  ];
  for (const [i, one] of some.entries())
    for (const [j, other] of some.entries()) assert.is(isSamePlacement(one, structuredClone(other)), i === j);
});

/** Splits and merges at random: what the map was after each. */
function history(random: SeededRandom, by: 'range' | 'hash'): Tablet[][] {
  const end = by === 'range' ? 2 ** 16 : 2 ** 32;
  const bound = (at: number) => {
    const point = Buffer.alloc(4);
    point.writeUInt32BE(at, 0);
    return point;
  };
  interface Part {
    readonly id: number;
    readonly from: number;
    readonly to: number;
    readonly generation: number;
  }
  const shown = ({ id, from, to, generation }: Part): Tablet => ({
    ...{ id, generation },
    start: from === 0 ? Buffer.alloc(0) : bound(from),
    end: to === end ? undefined : bound(to),
  });
  let parts: Part[] = [{ id: 1, from: 0, to: end, generation: 1 }];
  let nextId = 2;
  const states = [parts.map(shown)];
  for (let step = 0; step < 12; step++) {
    const at = random.between(0, parts.length - 1);
    const [part, next] = [parts[at] as Part, parts[at + 1]];
    const made: Part[] = [];
    if (next && random.chance(0.4)) {
      const generation = Math.max(part.generation, next.generation) + 1;
      made.push({ id: nextId++, from: part.from, to: next.to, generation });
      parts = [...parts.slice(0, at), ...made, ...parts.slice(at + 2)];
    } else {
      const middle = part.from + Math.floor(((part.to - part.from) * random.between(1, 9)) / 10);
      if (middle <= part.from || middle >= part.to) continue;
      const generation = part.generation + 1;
      made.push({ id: nextId++, from: part.from, to: middle, generation });
      made.push({ id: nextId++, from: middle, to: part.to, generation });
      parts = [...parts.slice(0, at), ...made, ...parts.slice(at + 1)];
    }
    states.push(parts.map(shown));
  }
  return states;
}

test('what is learned late takes no key back to an older tablet (cockroach #105294, client-go PR 1079)', () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = new SeededRandom(seed);
    const by = random.pick(['range', 'hash'] as const);
    const states = history(random, by);
    const keys = Array.from({ length: 30 }, () => Buffer.from(random.bytes(4)));
    let map = new TabletMap(by, states[0] as Tablet[]);
    for (let step = 0; step < 40; step++) {
      const page = random.pick(states).filter(() => random.chance(0.6));
      const before = keys.map((key) => map.ownerOf(key));
      map = map.with(page);
      keys.forEach((key, i) => {
        const [was, is] = [before[i], map.ownerOf(key)];
        if (was && is)
          assert.ok(is.generation >= was.generation, `seed ${seed}: generation ${is.generation}`);
      });
    }
    map = map.with(states.at(-1) as Tablet[]);
    assert.equal(map.tablets, states.at(-1), `seed ${seed}`);
    assert.ok(map.isComplete);
  }
});

test('a tablet of another cluster, which has the same id and another range, replaces all', () => {
  const map = mapOf(placementByRange(['g', 'n']));
  const other = firstTablets(placementByRange(['h']));
  assert.equal(map.with(other).tablets, other);
});

test.run();
