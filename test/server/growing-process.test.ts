/**
 * Real processes, by hash and by range: while WordNet is imported into three nodes, tablets split by themselves and by
 * hand, two are merged, a fourth node joins and is given its share, and the leader of the map is killed. A client whose
 * answers are lost repeats writes over the merge that must not take effect twice. By hash it goes on: a node dies, is
 * replaced and comes back, a replica moves by hand, a node is drained and removed. Each time the export equals the
 * source.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { PassThrough } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { wordNetLines } from '../../bench/wordnet.js';
import type { RaftreeClient } from '../../src/client/client.js';
import { realEnv } from '../../src/env/real/real-env.js';
import { hashOfKey } from '../../src/placement/partition-key.js';
import { ringPoint } from '../../src/placement/placement.js';
import { TabletRange } from '../../src/placement/tablet-map.js';
import type { NodeConfigInput } from '../../src/server/config.js';
import { DeafNetwork } from '../support/deaf-network.js';
import { finish, MAIN, ProcessCluster, raftree, until } from '../support/process-cluster.js';

const RAFT = { heartbeatMs: 100, electionTimeoutMinMs: 1000, electionTimeoutMaxMs: 2000 };
const BALANCE = { everyMs: 300, deadAfterMs: 4000 };
/** The cluster begins with so many. */
const TABLETS = 2;
/** A part of WordNet, from all of its ranges: in tables it takes 390 KB. */
const EVERY = 40;
const MAX_TABLET_BYTES = 128 * 1024;
/** Of ten records, so many come before and after the splits by hand. */
const FIRST_OF_TEN = 8;
const SECOND_OF_TEN = 1;
/** Concurrent requests of the import. Tablets that keep many results of writes are too large to be merged. */
const WINDOW = 32;
/** Of each of two tablets that are merged, so many of the last records are not imported, but appended. */
const APPENDED = 3;

/** A look asks all nodes, and a command is a process. */
const LOOK_MS = 200;

interface SourceRecord {
  readonly key: string;
  readonly value: string;
}

type Three = [string, string, string];

const recordOf = (line: string | undefined) => JSON.parse(line ?? '') as SourceRecord;

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
    const given = (from: number, to: number) => source.filter((_, i) => i % 10 >= from && i % 10 < to);
    const command = ['import', '--json', '--window', `${WINDOW}`, ...this.#endpoints];
    this.#import = spawn(process.execPath, [MAIN, ...command], { stdio: 'pipe' });
    const importing = finish(this.#import, input);
    input.write(given(0, FIRST_OF_TEN).join(''));
    const count = async () => (await client.tablets()).tablets.length;
    await happens(async () => (await count()) > TABLETS, 'a tablet is split by itself');
    const last = given(FIRST_OF_TEN + SECOND_OF_TEN, 10);
    const appended = await this.splitAndMerge(last, () =>
      input.write(given(FIRST_OF_TEN, FIRST_OF_TEN + SECOND_OF_TEN).join('')),
    );
    processes.spawn(4);
    await happens(async () => {
      const { steps, plannerId } = await client.balance();
      this.planner = plannerId;
      return steps.some(({ kind, to }) => kind === 'move' && to === 4);
    }, 'a replica is to move to node 4');
    input.end(last.filter((line) => !appended.has(line)).join(''));
    await processes.signal(this.planner, 'SIGKILL');
    processes.spawn(this.planner);
    const { code, stdout, stderr } = await importing;
    assert.is(code, 0, stderr);
    const { records } = JSON.parse(stdout.toString()) as { records: number };
    assert.is(records, source.length - appended.size);
  }

  /**
   * Two small tablets are split off, and merged. A client writes some of the lines to both, each value in two halves.
   * The answers to the second halves are lost until the merge is done: the client repeats them in the tablet that the
   * two have become. Resolves with these lines.
   */
  async splitAndMerge(lines: readonly string[], giveMore: () => void): Promise<ReadonlySet<string>> {
    const { client } = this;
    const ordered = await this.#linesOfLargest(lines);
    const [first, middle, end] = [0, APPENDED, 2 * APPENDED].map((i) => recordOf(ordered[i]).key) as Three;
    // Another split of the same tablet may be under way.
    for (const key of [end, middle])
      await happens(
        async () => (await this.does('tablet', 'split', key)) || (await this.#startsAt(key)),
        'a tablet is split by hand',
      );
    const appended = ordered.slice(0, 2 * APPENDED);
    const halves = appended.map((line) => {
      const { key, value } = recordOf(line);
      const bytes = Buffer.from(value);
      return {
        key,
        bytes,
        begin: bytes.subarray(0, bytes.length >> 1),
        rest: bytes.subarray(bytes.length >> 1),
      };
    });
    const net = new DeafNetwork();
    const writer = this.processes.client({ env: { ...realEnv(), net }, attemptTimeoutMs: 1000 });
    try {
      await Promise.all(halves.map(({ key, begin }) => writer.append(key, begin)));
      net.loseAnswers();
      const answers = Promise.all(halves.map(({ key, rest }) => writer.append(key, rest)));
      // They are lost for good if something else fails.
      answers.catch(() => {});
      const stored = () => Promise.all(halves.map(({ key }) => client.get(key)));
      await happens(
        async () => (await stored()).every((entry, i) => entry && halves[i]?.bytes.equals(entry.value)),
        'the second halves are written',
      );
      const versions = (await stored()).map((entry) => entry?.version);
      giveMore();
      await happens(async () => {
        const [left, right] = await Promise.all([this.#ownerOf(first), this.#ownerOf(middle)]);
        return left === right || (await this.does('tablet', 'merge', `${left}`, `${right}`));
      }, 'two tablets are merged');
      assert.is(await this.#ownerOf(first), await this.#ownerOf(middle), 'one tablet has the keys of both');
      net.hearAgain();
      assert.equal(
        (await answers).map(({ version }) => version),
        versions,
        'the answers are those of the writes before the merge',
      );
    } finally {
      await writer.close();
    }
    return new Set(appended);
  }

  /** Those of the lines whose keys are in the tablet that has the most, in the order of its range. */
  async #linesOfLargest(lines: readonly string[]): Promise<readonly string[]> {
    const { by, tablets } = await this.client.tablets();
    const owned = tablets.map((tablet) => {
      const range = new TabletRange(by, tablet);
      return lines.filter((line) => range.owns(Buffer.from(recordOf(line).key)));
    });
    const [largest = []] = owned.sort((a, b) => b.length - a.length);
    const hash = (line: string) => hashOfKey(Buffer.from(recordOf(line).key));
    return by === 'range' ? largest : largest.sort((a, b) => hash(a) - hash(b));
  }

  async #ownerOf(key: string): Promise<number> {
    const { by, tablets } = await this.client.tablets();
    return tablets.find((tablet) => new TabletRange(by, tablet).owns(Buffer.from(key)))?.id ?? 0;
  }

  /** By hash, whether one starts at its place on the ring. */
  async #startsAt(key: string): Promise<boolean> {
    const { by, tablets } = await this.client.tablets();
    const place = by === 'hash' ? ringPoint(hashOfKey(Buffer.from(key))) : Buffer.from(key);
    return tablets.some(({ start }) => place.equals(start));
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
