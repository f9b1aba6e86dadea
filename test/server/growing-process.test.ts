/**
 * Real processes, by hash and by range: while WordNet is imported into three nodes, tablets split by themselves and by
 * hand, a fourth node joins and is given its share, and the leader of the map is killed. By hash it goes on: a node
 * dies, is replaced and comes back, a replica moves by hand, a node is drained and removed. Each time the export equals
 * the source.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { PassThrough } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { wordNetLines } from '../../bench/wordnet.js';
import type { RaftreeClient } from '../../src/client/client.js';
import type { NodeConfigInput } from '../../src/server/config.js';
import { finish, MAIN, ProcessCluster, raftree, until } from '../support/process-cluster.js';

const RAFT = { heartbeatMs: 100, electionTimeoutMinMs: 1000, electionTimeoutMaxMs: 2000 };
const BALANCE = { everyMs: 300, deadAfterMs: 4000 };
/** The cluster begins with so many. */
const TABLETS = 2;
/** A part of WordNet, from all of its ranges: in tables it takes 390 KB. */
const EVERY = 40;
const MAX_TABLET_BYTES = 128 * 1024;
/** Of ten records, so many come before and after the split by hand. */
const FIRST_OF_TEN = 8;
const SECOND_OF_TEN = 1;

/** A look asks all nodes, and a command is a process. */
const LOOK_MS = 200;

interface Shards {
  readonly tablets: readonly { readonly replicas: readonly number[] }[];
}

/** A node that is asked may be the one that was killed, or find no leader yet. */
const happens = (condition: () => Promise<boolean>, what: string) =>
  until(() => condition().catch(() => false), what, 100_000, LOOK_MS);

class GrowingCluster {
  readonly processes: ProcessCluster;
  readonly client: RaftreeClient;
  readonly source: readonly string[];
  readonly #endpoints: readonly string[];
  /** The node that led meta when it was looked at last. */
  planner = 0;
  #import: ChildProcess | undefined;

  constructor(processes: ProcessCluster) {
    this.processes = processes;
    this.client = processes.client();
    this.#endpoints = ['--endpoints', processes.endpoints.join(',')];
    this.source = wordNetLines().filter((_, i) => i % EVERY === 0);
  }

  async close(): Promise<void> {
    this.#import?.kill('SIGKILL');
    await this.client.close();
    await this.processes.destroy();
  }

  /** Whether a command succeeds. */
  async does(...words: string[]): Promise<boolean> {
    return (await raftree([...words, ...this.#endpoints])).code === 0;
  }

  async run(...words: string[]): Promise<string> {
    const result = await raftree([...words, ...this.#endpoints]);
    assert.is(result.code, 0, `${words.join(' ')}: ${result.stderr}`);
    return result.stdout.toString();
  }

  /** The tablets of which a node has a replica. */
  async held(node: number): Promise<number[]> {
    const { tablets } = await this.client.tablets();
    return tablets.filter(({ replicas }) => replicas.includes(node)).map(({ id }) => id);
  }

  /** One import, while all of this happens. */
  async importAndGrow(): Promise<void> {
    const { processes, client, source } = this;
    const input = new PassThrough();
    const give = (from: number, to: number) =>
      input.write(source.filter((_, i) => i % 10 >= from && i % 10 < to).join(''));
    this.#import = spawn(process.execPath, [MAIN, 'import', '--json', ...this.#endpoints], { stdio: 'pipe' });
    const importing = finish(this.#import, input);
    give(0, FIRST_OF_TEN);
    const count = async () => (await client.tablets()).tablets.length;
    await happens(async () => (await count()) > TABLETS, 'a tablet is split by itself');
    give(FIRST_OF_TEN, FIRST_OF_TEN + SECOND_OF_TEN);
    // Another split or a move of the same tablet may be under way.
    await happens(() => this.does('tablet', 'split', 'wn/noun/07000000'), 'a tablet is split by hand');
    processes.spawn(4);
    await happens(async () => {
      const { steps, plannerId } = await client.balance();
      this.planner = plannerId;
      return steps.some(({ kind, to }) => kind === 'move' && to === 4);
    }, 'a replica is to move to node 4');
    give(FIRST_OF_TEN + SECOND_OF_TEN, 10);
    input.end();
    await processes.signal(this.planner, 'SIGKILL');
    processes.spawn(this.planner);
    const { code, stdout, stderr } = await importing;
    assert.is(code, 0, stderr);
    assert.is((JSON.parse(stdout.toString()) as { records: number }).records, source.length);
  }

  /** It comes to rest; node 4 has its share, and no node has a folder of what is not there any more. */
  async checkRest(): Promise<void> {
    await happens(async () => {
      const { steps, plannerId } = await this.client.balance();
      this.planner = plannerId;
      return steps.length === 0 && (await this.held(4)).length >= 2;
    }, 'node 4 has its share');
    const { tablets } = JSON.parse(await this.run('shards', '--json')) as Shards;
    assert.ok(tablets.length > TABLETS + 1, `${tablets.length} tablets`);
    for (const { replicas } of tablets) assert.is(replicas.length, 3);
    assert.ok(tablets.filter(({ replicas }) => replicas.includes(4)).length >= 2);
    for (const node of [1, 2, 3, 4])
      await happens(() => this.hasOnlyHeld(node), `node ${node} has only folders that have a name`);
  }

  /** Of groups a node has only the folders of meta and of what it holds, and in each the state alone. */
  async hasOnlyHeld(node: number): Promise<boolean> {
    const groups = path.join(this.processes.dataDirectory(node), 'groups');
    const held = ['0', ...(await this.held(node)).map(String)];
    return fs
      .readdirSync(groups)
      .every((name) => held.includes(name) && fs.readdirSync(path.join(groups, name)).length === 1);
  }

  async checkExport(): Promise<void> {
    const exported = await this.run('export');
    assert.ok(
      exported === this.source.join(''),
      `the export, ${exported.length} characters, equals the source`,
    );
  }
}

/** A node dies, is replaced and comes back; another is drained and removed. */
async function loseAndRemove(cluster: GrowingCluster): Promise<void> {
  const { processes, client } = cluster;
  const dead = cluster.planner === 2 ? 3 : 2;
  await processes.signal(dead, 'SIGKILL');
  await happens(async () => (await cluster.held(dead)).length === 0, 'the dead node is replaced');
  await cluster.run('balance', 'off');
  processes.spawn(dead);
  await happens(() => cluster.hasOnlyHeld(dead), 'what it had is gone');
  assert.match(await cluster.run('balance', 'status'), /^balancing is off; node \d plans/);
  await happens(async () => {
    const [tablet] = await cluster.held(4);
    return cluster.does('tablet', 'move', `${tablet}`, '--from', '4', '--to', `${dead}`);
  }, 'a replica is moved by hand');
  await cluster.run('node', 'drain', '4');
  await happens(async () => (await cluster.held(4)).length === 0, 'node 4 is empty');
  assert.match(await cluster.run('node', 'list'), /\n4 +0 +0 +drained\n/);
  await cluster.run('node', 'remove', '4');
  await processes.signal(4, 'SIGTERM');
  const { nodes, tablets } = await client.tablets();
  assert.equal(
    nodes.map(({ nodeId }) => nodeId),
    [1, 2, 3],
  );
  for (const { replicas } of tablets) assert.equal(replicas, [1, 2, 3]);
}

for (const placement of [
  { by: 'hash', tablets: TABLETS },
  { by: 'range', splits: ['wn/noun'] },
] satisfies NodeConfigInput['placement'][]) {
  test(`by ${placement.by}, a cluster grows while WordNet is imported, and all keys are there`, async () => {
    const settings: Partial<NodeConfigInput> = {
      ...{ raft: RAFT, balance: BALANCE },
      placement: { ...placement, replicas: 3, maxTabletBytes: MAX_TABLET_BYTES },
    };
    const processes = await ProcessCluster.create(4, settings, [4]);
    const cluster = new GrowingCluster(processes);
    try {
      await Promise.all([1, 2, 3].map((id) => processes.start(id)));
      await cluster.importAndGrow();
      await cluster.checkRest();
      await cluster.checkExport();
      if (placement.by !== 'hash') return;
      await loseAndRemove(cluster);
      await cluster.checkExport();
    } finally {
      await cluster.close();
    }
  });
}

test.run();
