/**
 * Doors go on while leaders hand over and tablets are split and merged: who asks over Redis' protocol sees one store.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ScanOptions } from '../../src/client/client.js';
import { RaftreeClientError } from '../../src/client/client-error.js';
import { Backend } from '../../src/doors/backend.js';
import { deleteAll } from '../../src/doors/resp/keyspace.js';
import '../../src/doors/resp/listener.js';
import type { Socket } from '../../src/env/env.js';
import { kvError } from '../../src/kv/kv-error.js';
import type { Caller, Scan, WriteOperation } from '../../src/kv/requests.js';
import { TabletMap } from '../../src/placement/tablet-map.js';
import type { NodeConfigInput } from '../../src/server/config.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { RAFT } from '../support/tablet-cluster.js';

const PLACEMENT: NodeConfigInput['placement'] = { by: 'range', splits: ['g', 'n'] };
const TABLETS = [
  { id: 1, start: Buffer.alloc(0), end: Buffer.from('m'), generation: 1 },
  { id: 2, start: Buffer.from('m'), end: undefined, generation: 1 },
];
const WORDS = ['apple', 'fig', 'grape', 'kiwi', 'nut', 'plum'];

class Redis {
  #text = '';
  #told: () => void = () => {};
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.handle({
      data: (chunk) => {
        this.#text += chunk.toString('latin1');
        this.#told();
      },
      drained: () => {},
      closed: () => {},
    });
  }

  async ask(line: string): Promise<string> {
    this.#text = '';
    this.#socket.write([Buffer.from(`${line}\r\n`)]);
    while (!isWhole(this.#text))
      await new Promise<void>((resolve) => {
        this.#told = resolve;
      });
    return this.#text;
  }
}

/** An error, a number, or an array of bulk strings. */
function isWhole(text: string): boolean {
  if (!text.endsWith('\r\n')) return false;
  const [, count] = /^\*(\d+)/.exec(text) ?? [];
  return count === undefined || text.split('\r\n').length === 2 * Number(count) + 2;
}

/** Three nodes, all started, with doors for clients of Redis. */
async function withDoors(settings: Partial<NodeConfigInput>) {
  const cluster = new SimulatedCluster(3, {
    config: (id) => ({ raft: RAFT, resp: { listen: `127.0.0.1:${6000 + id}` }, ...settings }),
  });
  await cluster.run(cluster.startAll());
  const { env } = cluster.world.start('redis', new SimDisk());
  const redisOf = async (node: number) =>
    new Redis(await env.net.connect({ host: '127.0.0.1', port: 6000 + node }, 1000));
  return { cluster, client: cluster.client(60_000), redisOf };
}

test('KEYS and DBSIZE answer while tablets are merged and split', async () => {
  const { cluster, client, redisOf } = await withDoors({ placement: PLACEMENT });
  const answers: string[] = [];
  let isOver = false;
  await cluster.run(
    (async () => {
      for (const word of WORDS) await client.put(word, 'v');
      const ask = async (node: number) => {
        const redis = await redisOf(node);
        while (!isOver) {
          answers.push(await redis.ask('KEYS *'), await redis.ask('DBSIZE'));
          await cluster.sleep(3);
        }
      };
      const asking = [1, 2, 3].map(ask);
      for (let round = 0; round < 2; round++) {
        const [left, right] = (await client.tablets()).tablets;
        await client.mergeTablets(left?.id ?? 0, right?.id ?? 0);
        await cluster.sleep(50);
        await client.splitTablet('g');
      }
      isOver = true;
      await Promise.all(asking);
      await client.close();
    })(),
    200_000,
  );
  const all = `*6\r\n${WORDS.map((word) => `$${word.length}\r\n${word}\r\n`).join('')}`;
  const others = [...new Set(answers)].filter((answer) => answer !== all && answer !== ':6\r\n');
  assert.ok(answers.length > 20);
  assert.equal(others, []);
  await cluster.run(cluster.closeAll());
});

test('who counts at any node counts on while the leadership is handed over', async () => {
  const { cluster, client, redisOf } = await withDoors({});
  const wrong: string[] = [];
  let isOver = false;
  await cluster.run(
    (async () => {
      await client.put('first', '');
      await cluster.sleep(500);
      const count = async (name: string, node: number) => {
        const redis = await redisOf(node);
        for (let i = 1; !isOver; i++) {
          const answer = await redis.ask(`INCR ${name}`);
          if (answer !== `:${i}\r\n`) wrong.push(`${name}, ${i}, node ${node}: ${answer}`);
        }
      };
      const counting = Array.from({ length: 12 }, (_, i) => count(`c${i}`, 1 + (i % 3)));
      for (let round = 0; round < 12; round++) {
        const leader = (await client.tablets()).tablets[0]?.leader ?? 1;
        await client.transferLeadership((leader % 3) + 1);
        await cluster.sleep(20);
      }
      isOver = true;
      await Promise.all(counting);
      await client.close();
    })(),
    200_000,
  );
  assert.equal(wrong, []);
  await cluster.run(cluster.closeAll());
});

for (const reverse of [false, true]) {
  test(`what is left of a scan is asked for when a tablet has ended; in reverse: ${reverse}`, async () => {
    const wrong = kvError('WRONG_TABLET', 'it has ended');
    const keys = reverse ? ['z', 'p'] : ['a', 'c'];
    const first = reverse ? 2 : 1;
    const page = { type: 'page', entries: keys.map((key) => ({ key: Buffer.from(key) })), more: false };
    const asked: ScanOptions[] = [];
    const backend = new Backend({
      service: () => ({
        kv: {
          prepareRead:
            async (_: unknown, { tablet }: Scan) =>
            () =>
              tablet === first ? page : wrong,
        },
        admin: {},
      }),
      tablets: {
        ...{ map: new TabletMap('range', TABLETS), leads: () => true, has: () => true },
        ...{ leadsCluster: true, ownerOf: () => 1 },
      },
      removed: () => undefined,
      cluster: {
        tabletPage: () => Promise.reject(new RaftreeClientError('WRONG_TABLET', '', 'notCommitted')),
        async *scan(options: ScanOptions) {
          asked.push(options);
          yield { key: Buffer.from('m') };
        },
      },
    } as never);
    const range = { from: Buffer.from('a'), to: undefined };
    const wanted = { range, limit: 10, reverse, keysOnly: true, level: 'lease' as const };
    const found: string[] = [];
    for await (const { key } of backend.entries({} as Caller, wanted)) found.push(key.toString());
    assert.equal(found, [...keys, 'm']);
    const rest = reverse ? { from: range.from, to: Buffer.from('p') } : { from: Buffer.from('c\0') };
    assert.equal(asked, [{ ...rest, limit: 8, reverse, keysOnly: true, level: 'lease' }]);
  });
}

test('FLUSHALL deletes what is in a tablet that is split before its keys are deleted', async () => {
  const left = new Set(['a', 'b', 'y', 'z']);
  const isRight = (key: Uint8Array) => key[0] !== undefined && key[0] > 'm'.charCodeAt(0);
  const writes: string[] = [];
  const backend = {
    async *entries() {
      for (const key of [...left]) yield { key: Buffer.from(key) };
    },
    byTablet: (keys: Buffer[]) => [keys],
    async operate(_: Caller, operations: WriteOperation[]) {
      const keys = operations.map(({ key }) => key);
      if (new Set(keys.map(isRight)).size > 1)
        throw new RaftreeClientError('SPANS_TABLETS', '', 'notCommitted');
      writes.push(keys.join());
      for (const key of keys) left.delete(String(key));
    },
  };
  await deleteAll({ backend } as never);
  assert.equal([left.size, writes], [0, ['a', 'b', 'y', 'z']]);
  backend.operate = async () => {
    throw new RaftreeClientError('DISK_FULL', '', 'notCommitted');
  };
  left.add('a');
  const failed = await deleteAll({ backend } as never).catch((error: RaftreeClientError) => error.code);
  assert.is(failed, 'DISK_FULL');
});

test.run();
