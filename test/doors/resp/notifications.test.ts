/** Keyspace notifications: which channels tell what, in both versions of the protocol, and who is cut off. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { interestOf } from '../../../src/doors/resp/notifications.js';
import { type HttpNode, RawConnection, startHttpNode } from '../../support/http-node.js';
import { until } from '../../support/process-cluster.js';

let node: HttpNode;
let port = 0;

test.before(async () => {
  node = await startHttpNode({}, { resp: { listen: '127.0.0.1:0' } });
  port = node.node.addresses.resp?.port ?? 0;
});
test.after(() => node.close());

/** What the connection has received, in one line, and nothing of it again. */
class Subscriber {
  readonly raw: RawConnection;
  #seen = 0;

  constructor(reads = true, to = port) {
    this.raw = new RawConnection(to, { reads });
  }

  send(...lines: readonly string[]): void {
    this.raw.write(Buffer.from(lines.map((line) => `${line}\r\n`).join(''), 'latin1'));
  }

  next(end: string): Promise<string> {
    return this.#next((text) => text.endsWith(`${end} `), `${end} is the last`);
  }

  nextMessages(count: number): Promise<string> {
    return this.#next((text) => text.split('$7 message ').length > count, `there are ${count} messages`);
  }

  async #next(isAll: (text: string) => boolean, what: string): Promise<string> {
    let all = '';
    const fresh = () => all.slice(this.#seen).replaceAll('\r\n', ' ');
    const isThere = async () => {
      all = await this.raw.until(/^/);
      return isAll(fresh());
    };
    await until(isThere, what).catch((error) => {
      throw new Error(`${error.message}, of ${fresh().slice(-500)}`);
    });
    const text = fresh().slice(0, -1);
    this.#seen = all.length;
    return text;
  }
}

const message = (channel: string, text: string, array = '*') =>
  `${array}3 $7 message $${channel.length} ${channel} $${text.length} ${text}`;

test('a key and an event have a channel each; RESP2 tells them as arrays, RESP3 as pushes', async () => {
  const [two, three, writer] = [new Subscriber(), new Subscriber(), new Subscriber()];
  two.send('SUBSCRIBE __keyspace@0__:a __keyevent@0__:del other');
  assert.is(
    await two.next(':3'),
    '*3 $9 subscribe $16 __keyspace@0__:a :1 *3 $9 subscribe $18 __keyevent@0__:del :2 *3 $9 subscribe $5 other :3',
  );
  three.send('HELLO 3', 'PSUBSCRIBE __key*@0__:*');
  assert.match(await three.next(':1'), />3 \$10 psubscribe \$12 __key\*@0__:\* :1$/);
  writer.send('SET a 1', 'SET b 1', 'INCR a', 'DEL a b', 'SET c 1 PX 1');
  const expected = [
    ...['set', 'set', 'del'].map((what) => message('__keyspace@0__:a', what)),
    ...['a', 'b'].map((key) => message('__keyevent@0__:del', key)),
  ];
  const told = (await two.nextMessages(5)).split(/ (?=\*3 \$7 message)/);
  // In order for each channel.
  assert.equal(
    told.toSorted((x, y) => Number(x.includes('keyevent')) - Number(y.includes('keyevent'))),
    expected,
  );
  const all = await three.next('__keyevent@0__:expired $1 c');
  assert.match(all, />4 \$8 pmessage \$12 __key\*@0__:\* \$22 __keyevent@0__:expired \$1 c$/);
  assert.is(all.split('pmessage').length - 1, 2 * 7, 'two for each change');
  for (const each of [two, three, writer]) each.raw.socket.destroy();
});

test('with subscriptions RESP2 takes few commands, until they are ended', async () => {
  const client = new Subscriber();
  client.send('UNSUBSCRIBE', 'PUNSUBSCRIBE x', 'SUBSCRIBE x', 'GET x', 'PING', 'PING hi');
  assert.is(
    await client.next('$2 hi'),
    '*3 $11 unsubscribe $-1 :0 *3 $12 punsubscribe $1 x :0 *3 $9 subscribe $1 x :1 ' +
      "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this " +
      'context *2 $4 pong $0  *2 $4 pong $2 hi',
  );
  client.send('UNSUBSCRIBE', 'GET none', 'SUBSCRIBE y', 'RESET', 'PING');
  assert.is(
    await client.next('+PONG'),
    '*3 $11 unsubscribe $1 x :0 $-1 *3 $9 subscribe $1 y :1 +RESET +PONG',
  );
  client.send(
    'MULTI',
    'SUBSCRIBE y',
    'DISCARD',
    'SUBSCRIBE',
    `PSUBSCRIBE *${'x'.repeat(200)}`,
    'CONFIG GET notify*',
  );
  assert.match(
    await client.next('*0'),
    /^\+OK -ERR Command not allowed inside a transaction \+OK -ERR wrong number .* -ERR pattern is too long \*0$/,
  );
  client.send('CONFIG SET notify-keyspace-events KEA', 'CONFIG GET notify-keyspace-events');
  assert.match(await client.next('$3 AKE'), /^\+OK \*2 \$22 notify-keyspace-events \$3 AKE$/);
  client.raw.socket.destroy();
});

test('connections share a watch, and the last one ends it; too many subscriptions are refused', async () => {
  const before = await watches();
  const [one, two] = [new Subscriber(), new Subscriber()];
  one.send('SUBSCRIBE __keyevent@0__:set');
  two.send('SUBSCRIBE __keyevent@0__:expired');
  await Promise.all([one.next(':1'), two.next(':1')]);
  assert.is(await watches(), before + 1);
  two.send(`SUBSCRIBE ${Array.from({ length: 1100 }, (_none, i) => `c${i}`).join(' ')}`);
  assert.match(await two.next('subscriptions'), /-ERR a connection has at most 1024 subscriptions/);
  for (const each of [one, two]) each.raw.socket.destroy();
  await until(async () => (await watches()) === before, 'the watch has ended');
});

test('a subscriber that does not read is cut off, and another one is told all', async () => {
  const [deaf, reader, writer] = [new Subscriber(false), new Subscriber(), new Subscriber()];
  // All of them tell of each key.
  const patterns = Array.from({ length: 60 }, (_none, i) => `__keyspace@0__:large${'*'.repeat(i + 1)}`);
  deaf.send(`PSUBSCRIBE ${patterns.join(' ')}`);
  reader.send('SUBSCRIBE __keyevent@0__:del');
  await reader.next(':1');
  let isGone = false;
  deaf.raw.socket.once('close', () => {
    isGone = true;
  });
  const key = `large${'x'.repeat(4000)}`;
  for (let i = 0; !isGone && i < 400; i++) {
    writer.send(`SET ${key} ${i}`, 'DEL other', 'SET other 1');
    await writer.next('+OK');
    // A socket that is not read learns of its end when it is written to.
    deaf.send('PING');
  }
  assert.ok(isGone);
  assert.match(await reader.next('other'), /message \$18 __keyevent@0__:del \$5 other/);
  for (const each of [reader, writer]) each.raw.socket.destroy();
});

test('keys of all tablets are told; a subscriber may be silent for as long as it has subscriptions', async () => {
  const placement = { by: 'hash', tablets: 4 } as const;
  const resp = { listen: '127.0.0.1:0', idleTimeoutMs: 300 };
  const several = await startHttpNode({}, { resp, placement });
  try {
    const to = several.node.addresses.resp?.port ?? 0;
    const subscriber = new Subscriber(true, to);
    subscriber.send('PSUBSCRIBE __keyspace@0__:*');
    await subscriber.next(':1');
    // Each of these says nothing for longer than it may; the subscriber has for longer than all of them.
    for (let i = 0; i < 2; i++) await new RawConnection(to).closed;
    const writer = new Subscriber(true, to);
    const keys = Array.from({ length: 8 }, (_none, i) => `key${i}`);
    for (const key of keys) writer.send(`SET ${key} 1`, `DEL ${key}`);
    await until(async () => (await subscriber.raw.until(/^/)).split('pmessage').length > 16, 'all are told');
    const told = (await subscriber.raw.until(/^/)).replaceAll('\r\n', ' ');
    for (const key of keys) {
      const happenings = [...told.matchAll(new RegExp(`__keyspace@0__:${key} \\$3 (set|del)`, 'g'))];
      assert.equal(
        happenings.map(([, what]) => what),
        ['set', 'del'],
      );
    }
    subscriber.send('PUNSUBSCRIBE');
    await subscriber.raw.closed;
  } finally {
    await several.close();
  }
});

test('a subscription watches no more keys than it needs', () => {
  const keysOf = (name: string, isPattern: boolean) => {
    const { keys } = interestOf({ name: Buffer.from(name), isPattern });
    return keys && Object.entries(keys).map(([what, bytes]) => `${what} ${bytes}`)[0];
  };
  assert.is(keysOf('__keyspace@0__:a', false), 'key a');
  assert.is(keysOf('__keyspace@0__:a*', false), 'key a*');
  assert.is(keysOf('__keyspace@0__:a*b', true), 'prefix a');
  assert.is(keysOf('__keyevent@0__:set', false), 'prefix ');
  assert.is(keysOf('__keyevent@0__:lpush', false), undefined);
  assert.is(keysOf('__key*', true), 'prefix ');
  assert.is(keysOf('news.*', true), undefined);
  assert.is(keysOf('__keyspace@0__:', false), undefined);
});

async function watches(): Promise<number> {
  const text = await (await fetch(`${node.url}/metrics`)).text();
  return Number(/^raftree_resp_watches (\d+)$/m.exec(text)?.[1]);
}

test.run();
