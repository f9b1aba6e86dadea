/**
 * The main job on real processes: WordNet is imported into three nodes while another client appends unique tokens; the
 * leader is killed part-way, then all three at once. Nothing acknowledged is lost, and nothing is applied twice.
 */
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { wordNetLines } from '../../bench/wordnet.js';
import type { RaftreeClient } from '../../src/client/client.js';
import { finish, MAIN, ProcessCluster, raftree, until } from '../support/process-cluster.js';

const TOKEN_KEYS = 10;

/** Appends a new token to one of ten keys after the other, until told to stop. */
class Appender {
  readonly acknowledged: { key: string; token: string }[] = [];
  readonly unacknowledged: { key: string; token: string }[] = [];
  readonly #client: RaftreeClient;
  #stopped = false;
  #count = 0;

  constructor(client: RaftreeClient) {
    this.#client = client;
  }

  async run(): Promise<void> {
    while (!this.#stopped) {
      const number = this.#count++;
      const write = { key: `tokens/${number % TOKEN_KEYS}`, token: `<${number}>` };
      try {
        await this.#client.append(write.key, write.token, { timeoutMs: 20_000 });
        this.acknowledged.push(write);
      } catch {
        this.unacknowledged.push(write);
      }
    }
  }

  stop(): void {
    this.#stopped = true;
  }
}

async function checkTokens(client: RaftreeClient, appender: Appender): Promise<void> {
  const values = new Map<string, string>();
  for await (const { key, value } of client.scan({ prefix: 'tokens/' }))
    values.set(key.toString(), value.toString());
  const times = ({ key, token }: { key: string; token: string }) =>
    (values.get(key) ?? '').split(token).length - 1;
  assert.equal(
    appender.acknowledged.filter((write) => times(write) !== 1),
    [],
    'each acknowledged token stands exactly once',
  );
  assert.equal(
    appender.unacknowledged.filter((write) => times(write) > 1),
    [],
    'each unacknowledged token stands at most once',
  );
}

async function checkExports(cluster: ProcessCluster, source: Buffer): Promise<void> {
  const endpoints = cluster.endpoints.join(',');
  const whole = await raftree(['export', '--prefix', 'wn/', '--endpoints', endpoints]);
  assert.is(whole.code, 0, whole.stderr);
  assert.ok(
    whole.stdout.equals(source),
    `the export (${whole.stdout.length} bytes) equals the source (${source.length})`,
  );
  const client = cluster.client();
  try {
    const leader = await cluster.leader();
    const { commitIndex } = await client.status(cluster.endpoint(leader));
    for (let id = 1; id <= cluster.size; id++) {
      const endpoint = cluster.endpoint(id);
      await until(
        async () => (await client.status(endpoint)).appliedIndex >= commitIndex,
        `node ${id} has caught up`,
      );
      const own = await raftree(['export', '--prefix', 'wn/', '--stale', '--endpoints', endpoint]);
      assert.is(own.code, 0, own.stderr);
      assert.ok(own.stdout.equals(source), `what node ${id} holds equals the source`);
    }
  } finally {
    await client.close();
  }
}

test('an import survives the death of the leader, and everything survives the death of all', async () => {
  const cluster = await ProcessCluster.create(3);
  const client = cluster.client();
  try {
    await cluster.startAll();
    const source = Buffer.from(wordNetLines().join(''));
    const file = path.join(cluster.directory, 'wordnet.jsonl');
    fs.writeFileSync(file, source);

    const appender = new Appender(client);
    const appending = appender.run();
    const importing = finish(
      spawn(process.execPath, [MAIN, 'import', file, '--json', '--endpoints', cluster.endpoints.join(',')], {
        stdio: 'pipe',
      }),
    );
    const first = await cluster.leader();
    const imported = async () => (await client.status(cluster.endpoint(first))).commitIndex;
    await until(async () => (await imported()) > 20_000, 'a part of the import is done');
    await cluster.signal(first, 'SIGKILL');
    const before = appender.acknowledged.length;
    await until(() => appender.acknowledged.length > before + 50, 'the appends go on without the leader');
    await cluster.start(first);

    const result = await importing;
    assert.is(result.code, 0, result.stderr);
    const summary = JSON.parse(result.stdout.toString()) as { records: number; badLines: number };
    assert.equal([summary.records, summary.badLines], [117_791, 0]);
    appender.stop();
    await appending;
    assert.ok(appender.acknowledged.length > 200, `${appender.acknowledged.length} tokens`);
    await checkExports(cluster, source);
    await checkTokens(client, appender);

    await cluster.killAll();
    await cluster.startAll();
    await checkExports(cluster, source);
    await checkTokens(client, appender);
  } finally {
    await client.close();
    await cluster.destroy();
  }
});

test.run();
