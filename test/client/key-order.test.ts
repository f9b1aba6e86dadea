import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { KeyOrder, type Turn } from '../../src/client/key-order.js';
import { WriteSession } from '../../src/client/write-session.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

interface Write {
  readonly turn: Turn;
  /** Earlier writes to any of its keys. */
  readonly before: readonly Write[];
  readonly keys: ReadonlySet<string>;
  hasLeft: boolean;
  isOver: boolean;
}

/** Found by search: they have one hash. */
const TWINS = ['key 122789', 'key 339192'] as const;

test('a write is ready when all earlier ones to any of its keys are over, whoever gives up before', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new SeededRandom(seed);
    const order = new KeyOrder();
    const writes: Write[] = [];
    for (let step = 0; step < 400; step++) {
      const open = writes.filter(({ hasLeft }) => !hasLeft);
      if (random.chance(0.5) || open.length === 0) {
        const keys = Array.from({ length: random.between(1, 4) }, () => `k${random.between(0, 200)}`);
        const turn = order.enter(keys.map((key) => ({ key: Buffer.from(key) })));
        const before = writes.filter((write) => keys.some((key) => write.keys.has(key)));
        writes.push({ turn, before, keys: new Set(keys), hasLeft: false, isOver: false });
      } else {
        const left = random.pick(open);
        left.hasLeft = true;
        left.turn.leave();
      }
      for (const write of writes) {
        const isReady = write.before.every(({ isOver }) => isOver);
        write.isOver = isReady && write.hasLeft;
        assert.is(write.turn.isReady, isReady, `seed ${seed}, step ${step}`);
      }
    }
  }
});

test('keys with the same hash are different keys', async () => {
  const [first, second] = TWINS.map((key) => ({ key: Buffer.from(key) }));
  if (!first || !second) throw new Error('two keys are needed');
  const order = new KeyOrder();
  const one = order.enter([first]);
  assert.ok(order.enter([second]).isReady);
  const next = order.enter([first, first]);
  assert.not(next.isReady);
  const ready = next.changed();
  one.leave();
  await ready;
  assert.ok(next.isReady);
});

test('a write follows one that is sent in the same session, if it comes after no other', () => {
  const [session, other] = [new WriteSession(1, 8), new WriteSession(2, 8)];
  const [a, b] = [{ key: Buffer.from('a') }, { key: Buffer.from('b') }];
  const order = new KeyOrder();
  const [one, two] = [order.enter([a]), order.enter([b])];
  const [next, both] = [order.enter([a]), order.enter([a, b])];
  assert.not(next.maySend(session), 'the first is not sent');
  one.sent({ session, sequence: 7 });
  assert.ok(next.maySend(session));
  assert.ok(next.maySend(session, 8));
  assert.not(next.maySend(session, 6), 'that one has a higher sequence now');
  assert.is(next.after, 7);
  assert.not(next.maySend(other), 'there its sequence means nothing');
  assert.not(next.maySend(undefined));
  one.failed();
  assert.not(next.maySend(session), 'the attempt has failed');
  assert.throws(() => next.after);
  two.sent({ session, sequence: 9 });
  next.sent({ session, sequence: 8 });
  assert.not(both.maySend(session), 'it would have to name two');
  two.leave();
  assert.not(both.maySend(session));
  one.leave();
  next.leave();
  assert.ok(both.maySend(undefined));
  assert.is(both.after, 0);
});

/** Keys are the user's bytes: when a call is over, they may change. */
test('a key is known by its bytes when the calls that named it before are over', () => {
  const order = new KeyOrder();
  const [first, second, third] = [Buffer.from('key'), Buffer.from('key'), Buffer.from('key')];
  const one = order.enter([{ key: first }]);
  const two = order.enter([{ key: second }]);
  one.leave();
  first.fill('x');
  assert.ok(two.isReady);
  const three = order.enter([{ key: third }]);
  assert.not(three.isReady, 'the second write is not over');
  assert.ok(order.enter([{ key: first }]).isReady, 'nobody has written to xxx');
});

test('a key is known by its bytes when the call gave up before its turn, or left something behind', () => {
  const order = new KeyOrder();
  const [first, second, third] = [Buffer.from('key'), Buffer.from('key'), Buffer.from('key')];
  const one = order.enter([{ key: first }]);
  order.enter([{ key: second }]).leave();
  second.fill('x');
  const three = order.enter([{ key: third }]);
  assert.not(three.isReady, 'the first write is not over');
  one.leave();
  assert.ok(three.isReady);
  three.keepKeys();
  third.fill('x');
  assert.not(order.enter([{ key: Buffer.from('key') }]).isReady, 'the third write is not over');
});

test.run();
