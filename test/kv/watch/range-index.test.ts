/** The ranges that a key lies in, against looking at each of them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type KeyRange, type Placed, RangeIndex } from '../../../src/kv/watch/range-index.js';
import { SeededRandom } from '../../../src/sim/world/seeded-random.js';

interface Member extends Placed {
  readonly name: string;
  readonly range: KeyRange;
}

function found(index: RangeIndex<Member>, key: Buffer): string[] {
  const names: string[] = [];
  const padded = Buffer.concat([Buffer.from('xx'), key, Buffer.from('yy')]);
  index.search(padded, 2, key.length, (members) => names.push(...members.map(({ name }) => name)));
  return names.sort();
}

function isIn({ from, to }: KeyRange, key: Buffer): boolean {
  return Buffer.compare(key, from) >= 0 && (!to || Buffer.compare(key, to) < 0);
}

test('a key is found in exactly the ranges that it lies in, while ranges come and go', () => {
  const random = new SeededRandom(7);
  const bytes = () => random.bytes(random.between(0, 3)).map((byte) => byte % 5);
  for (let run = 0; run < 60; run++) {
    const index = new RangeIndex<Member>(random);
    const members = new Set<Member>();
    for (let step = 0; step < 120; step++) {
      if (members.size > 0 && random.chance(0.35)) {
        const member = random.pick([...members]);
        members.delete(member);
        index.remove(member);
        index.remove(member);
      } else {
        const range = random.chance(0.3) && members.size > 0 ? random.pick([...members]).range : undefined;
        const member: Member = {
          name: `${step}`,
          range: range ?? { from: bytes(), to: random.chance(0.2) ? undefined : bytes() },
          place: undefined,
        };
        members.add(member);
        index.add(member.range, member);
      }
      const key = Buffer.from(bytes());
      const expected = [...members].filter(({ range }) => isIn(range, key)).map(({ name }) => name);
      assert.equal(found(index, key), expected.sort());
      assert.is(index.isEmpty, members.size === 0);
    }
  }
});

test('with many ranges that a key does not lie in, few are looked at', () => {
  const index = new RangeIndex<Member>(new SeededRandom(1));
  for (let i = 0; i < 2000; i++) {
    const name = String(i).padStart(5, '0');
    const range = { from: Buffer.from(`${name}/`), to: Buffer.from(`${name}0`) };
    index.add(range, { name, range, place: undefined });
  }
  const key = Buffer.from('01234/key');
  let reads = 0;
  const counted = new Proxy(key, {
    get: (target, name) => {
      if (name === '0') reads++;
      return Reflect.get(target, name, target);
    },
  });
  const names: string[] = [];
  index.search(counted, 0, key.length, (members) => names.push(...members.map(({ name }) => name)));
  assert.equal(names, ['01234']);
  assert.ok(reads > 0 && reads < 200, `${reads} bounds were looked at`);
});

/** Orders so many ranges that with these priorities, lowest first, the tree would be a list. */
function listFor(priorities: readonly number[]): KeyRange[] {
  const places = priorities.map((_, i) => i).sort((a, b) => (priorities[a] ?? 0) - (priorities[b] ?? 0));
  const ranges: KeyRange[] = [];
  for (const [rank, place] of places.entries()) {
    const from = Buffer.alloc(4);
    from.writeUInt32BE(rank);
    ranges[place] = { from, to: undefined };
  }
  return ranges;
}

test('no order of ranges makes a list of the tree: the priorities cannot be foretold', () => {
  const priorities: number[] = [];
  for (let last = 1; priorities.length < 12_000; priorities.push(last)) {
    last ^= last << 13;
    last ^= last >>> 17;
    last ^= last << 5;
    last >>>= 0;
  }
  const index = new RangeIndex<Member>(new SeededRandom(2));
  for (const range of listFor(priorities)) index.add(range, { name: 'any', range, place: undefined });
  assert.is(found(index, Buffer.alloc(4)).length, 1);
});

test('the priorities are those of the given random numbers', () => {
  let next = 0;
  const index = new RangeIndex<Member>({ uint32: () => next++ });
  const ranges = listFor(Array.from({ length: 500 }, (_, i) => i));
  for (const range of ranges) index.add(range, { name: 'any', range, place: undefined });
  let reads = 0;
  const key = new Proxy(Buffer.alloc(4), {
    get: (target, name) => {
      if (name === '0') reads++;
      return Reflect.get(target, name, target);
    },
  });
  index.search(key, 0, 4, () => {});
  assert.ok(reads >= 500, 'with numbers that rise with the ranges it is a list');
});

test.run();
