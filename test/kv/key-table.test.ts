/** Keys are found by their bytes, whatever bytes they are. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { KeyTable } from '../../src/kv/key-table.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

interface Made {
  readonly hex: string;
}

/** A table, and a map by text that must agree with it. */
class Pair {
  readonly made: string[] = [];
  readonly table = new KeyTable<Made>((key) => {
    const hex = Buffer.from(key).toString('hex');
    this.made.push(hex);
    return { hex };
  });
  readonly known = new Map<string, Made>();

  find(key: Uint8Array): void {
    const hex = Buffer.from(key).toString('hex');
    const found = this.table.of(key);
    assert.is(found.hex, hex);
    const before = this.known.get(hex);
    if (before) assert.is(found, before, `${hex} was found before`);
    this.known.set(hex, found);
    assert.is(this.made.length, this.known.size);
  }
}

test('keys that differ in one bit, in their length alone, and in zeros at their end', () => {
  const pair = new Pair();
  const keys: Buffer[] = [Buffer.alloc(0)];
  for (let length = 1; length <= 12; length++) {
    keys.push(Buffer.alloc(length), Buffer.alloc(length, 0xff), Buffer.alloc(length, 'a'));
    for (let bit = 0; bit < 8; bit++) {
      const key = Buffer.alloc(length);
      key[length - 1] = 1 << bit;
      keys.push(key);
    }
  }
  for (const key of [...keys, ...keys.reverse()]) pair.find(key);
});

test('random keys in any order, with many that share what they begin with', () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = new SeededRandom(seed);
    const pair = new Pair();
    const alphabet = random.pick([1, 2, 4, 256]);
    const keys: Buffer[] = [];
    for (let i = 0; i < 300; i++) {
      const bytes = Buffer.from(random.bytes(random.between(0, 9)).map((byte) => byte % alphabet));
      const start = keys.length > 0 && random.chance(0.4) ? random.pick(keys) : Buffer.alloc(0);
      keys.push(Buffer.concat([start.subarray(0, random.between(0, start.length)), bytes]));
      pair.find(keys.at(-1) as Buffer);
      pair.find(random.pick(keys));
    }
  }
});

test('a key is known by its bytes, not by the object that holds them', () => {
  const pair = new Pair();
  pair.find(Buffer.from('key'));
  pair.find(new Uint8Array([107, 101, 121]));
  pair.find(Buffer.from('a key').subarray(2));
  assert.equal(pair.made, ['6b6579']);
});

test.run();
