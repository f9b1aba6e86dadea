/** import against a scripted cluster: the order of the file for each key, whatever is lost; and what stops it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../src/cli/exit-codes.js';
import { importLines } from '../../src/cli/import-command.js';
import { RaftreeClient, RaftreeClientError } from '../../src/client/index.js';
import { RaftreeError } from '../../src/env/errors.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { FakeCluster, LIMITS } from '../client/fake-cluster.js';

async function* streamOf(text: string) {
  yield Buffer.from(text);
}

interface Imported {
  readonly records: number;
  readonly bad: string[];
  readonly error: unknown;
}

async function run(
  cluster: FakeCluster,
  text: string,
  options: { window?: number; strict?: true; timeoutMs?: number } = {},
): Promise<Imported> {
  const { window = 256, strict, timeoutMs = 60_000 } = options;
  const client = new RaftreeClient({
    endpoints: cluster.endpoints,
    env: cluster.client.env,
    timeoutMs,
    attemptTimeoutMs: 500,
  });
  const bad: string[] = [];
  const listener = {
    badLine: (line: number, why: string) => void bad.push(`${line}: ${why}`),
    written: () => {},
  };
  const settings = { format: 'auto', window, ...(strict ? { strict } : {}) } as const;
  const ended = await cluster.world.scheduler.run(
    importLines(client, streamOf(text), settings, listener).then(
      ({ records }) => ({ records, error: undefined }),
      (error: unknown) => ({ records: 0, error }),
    ),
  );
  await cluster.world.scheduler.run(client.close());
  return { ...ended, bad };
}

test('records with the same key end in the order of the file, over failovers, lost and repeated requests', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new SeededRandom(seed);
    const cluster = await FakeCluster.start(seed);
    let requests = 0;
    cluster.script = (request) => {
      if (request.type !== 'write') return undefined;
      requests++;
      // The leader is frozen, then gone.
      if (requests === 20) cluster.leader = 1 + (cluster.leader % 3);
      return random.chance(0.2)
        ? random.pick(['silent before', 'break before', 'silent after', 'NO_LEADER'] as const)
        : undefined;
    };
    const keys = Array.from({ length: 30 }, (_, i) => `key${i}`);
    const text = [1, 2, 3, 4]
      .flatMap((round) => keys.map((key) => `{"key":"${key}","value":"${round}"}\n`))
      .join('');
    const { records, error } = await run(cluster, text);
    assert.is(error, undefined);
    assert.is(records, 120);
    const values = keys.map((key) => cluster.data.get(key)?.value.toString());
    assert.equal(
      values,
      keys.map(() => '4'),
      `seed ${seed}`,
    );
  }
});

test('no more than the window is under way, nor than so many bytes', async () => {
  const cluster = await FakeCluster.start(1);
  let most = 0;
  let open = 0;
  cluster.script = (request) => {
    if (request.type === 'write') {
      most = Math.max(most, ++open);
      cluster.world.scheduler.after(10, () => {
        open--;
        cluster.held.shift()?.();
      });
      return 'hold';
    }
    return undefined;
  };
  const text = Array.from({ length: 40 }, (_, i) => `k${i}\tv\n`).join('');
  assert.is((await run(cluster, text, { window: 5 })).records, 40);
  assert.is(most, 5);
});

test('a record that is too large is a bad line, and the import goes on; with --strict it stops', async () => {
  const text = `a\t1\nb\t${'x'.repeat(101)}\n${'k'.repeat(4097)}\t1\nc\t3\n\uFEFFd\t4\nnot a record\n`;
  const cluster = await FakeCluster.start(2);
  cluster.limitsOf = () => ({ ...LIMITS, maxValueBytes: 100 });
  const { records, bad, error } = await run(cluster, text);
  assert.is(error, undefined);
  assert.is(records, 3);
  assert.equal(bad.map((line) => line.replace(/:.*limit.*/, ': limit')).sort(), [
    '2: limit',
    '3: limit',
    '6: there is no tab between key and value',
  ]);
  const strict = await run(await FakeCluster.start(3), 'a\t1\nbad\nb\t2\n', { strict: true });
  assert.instance(strict.error, UsageError);
  assert.match((strict.error as UsageError).message, /stopped at line 2: there is no tab/);
});

test('a byte order mark makes the first line bad, and no other', async () => {
  const cluster = await FakeCluster.start(4);
  const { records, bad } = await run(
    cluster,
    '\uFEFF{"key":"a","value":"1"}\r\n\r\n{"key":"b","value":"2"}\r\n',
  );
  assert.is(records, 1);
  assert.match(bad.join(), /^1: it begins with a byte order mark/);
  assert.equal([...cluster.data.keys()], ['b']);
});

test('a record that could not be written stops it, with its line and what is known', async () => {
  const cluster = await FakeCluster.start(5);
  cluster.script = (request) =>
    request.type === 'write' && request.operations[0]?.key.toString() === 'b' ? 'silent before' : undefined;
  const { error } = await run(cluster, 'a\t1\nb\t2\n', { timeoutMs: 2000 });
  assert.instance(error, RaftreeError);
  assert.not.instance(error, RaftreeClientError);
  const { code, message, info } = error as RaftreeError;
  assert.equal([code, info.outcome], ['TIMEOUT', 'unknown']);
  assert.match(message, /^stopped at line 2: no answer/);
});

test.run();
