/** The table of `top`: what it says of answers, within 80 columns. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Poll } from '../../src/cli/top/poll.js';
import { compact, linesOf, quantile, rowsOf, WIDE_COLUMNS } from '../../src/cli/top/rows.js';
import type { NodeLoad, NodeStatus } from '../../src/client/client.js';
import type { OutboundOf } from '../../src/protocol/messages.js';
import { SAMPLES } from '../protocol/samples.js';

/** Three nodes of which node 1 leads; nothing of it is real but the shapes. */
class Cluster {
  nowMs = 0;
  readonly down = new Set<number>();
  readonly loads = new Map<number, NodeLoad>();
  readonly statuses = new Map<number, NodeStatus>();

  constructor() {
    const { type: _type, requestId: _id, ...sample } = SAMPLES.statusReply as OutboundOf<'statusReply'>;
    for (const nodeId of [1, 2, 3]) {
      const others = [1, 2, 3].filter((id) => id !== nodeId);
      this.statuses.set(nodeId, {
        ...(sample as NodeStatus),
        ...{ nodeId, role: nodeId === 1 ? 'leader' : 'follower', term: 4, leaderId: 1, leaderAddress: 'h:1' },
        ...{
          commitIndex: 20,
          appliedIndex: 18,
          lastIndex: 21,
          voters: [1, 2, 3],
          outgoing: [],
          learners: [],
        },
        ...{ logSyncs: 100, failedGroups: [] },
        peers: others.map((id) => ({
          ...{ nodeId: id, clientAddress: `h:${id}`, peerAddress: '', matchIndex: 20 - id, reachable: true },
          ...{ heardMsAgo: 4000, problem: id === 3 ? 'cut\x1b[2J off' : '' },
        })),
      });
      this.load(nodeId, 1000, 500, 7000);
    }
  }

  load(nodeId: number, reads: number, writes: number, processorMs: number): void {
    this.loads.set(nodeId, {
      ...{ reads, writes, pendingRequests: 2, residentBytes: 112_400_000, processorMs },
      ...{ commit: { p50Us: 1840, p99Us: 22_400 }, apply: undefined, sync: { p50Us: 950, p99Us: 8000 } },
      ...{ loopDelayUs: 41_200, writtenBytes: writes * 1000, freeBytes: 7_100_000_000 },
    });
  }

  async status(endpoint = 'h:1'): Promise<NodeStatus> {
    return this.#answer(this.statuses, endpoint);
  }

  async load_(endpoint = 'h:1'): Promise<NodeLoad> {
    return this.#answer(this.loads, endpoint);
  }

  #answer<T>(answers: Map<number, T>, endpoint: string): T {
    const id = Number(endpoint.split(':')[1]);
    this.nowMs += 1;
    const answer = answers.get(id);
    if (this.down.has(id) || !answer) throw new Error('no answer');
    return answer;
  }

  poll(): Poll {
    const client = {
      status: (endpoint?: string) => this.status(endpoint),
      load: (endpoint?: string) => this.load_(endpoint),
    };
    return new Poll(client, ['h:1'], { nowMs: () => this.nowMs });
  }
}

test('rates are of two answers, lags are the leader’s view; one answer alone has no rates', async () => {
  const cluster = new Cluster();
  const poll = cluster.poll();
  const [first] = rowsOf(await poll.round());
  assert.equal([first?.role, first?.readsPerSecond, first?.processorShare], ['leader', undefined, undefined]);
  cluster.nowMs += 10_000 - 6;
  cluster.load(1, 1500, 800, 9500);
  const rows = rowsOf(await poll.round());
  assert.equal(
    rows.map(({ nodeId, behindEntries, unappliedEntries }) => [nodeId, behindEntries, unappliedEntries]),
    [
      [1, 0, 2],
      [2, 3, 2],
      [3, 4, 2],
    ],
  );
  const near = (rate: number | undefined, expected: number) =>
    assert.ok(Math.abs((rate ?? 0) - expected) < expected / 100, `${rate}`);
  near(rows[0]?.readsPerSecond, 50);
  near(rows[0]?.writesPerSecond, 30);
  near(rows[0]?.processorShare, 0.25);
  near(rows[0]?.writtenBytesPerSecond, 30_000);
  assert.equal([rows[1]?.readsPerSecond, rows[0]?.residentBytes], [0, 112_400_000]);
});

test('a node that is down is shown so, and comes back; a process that began anew has no rate', async () => {
  const cluster = new Cluster();
  const poll = cluster.poll();
  await poll.round();
  cluster.down.add(3);
  const rows = rowsOf(await poll.round());
  assert.equal([rows[2]?.answers, rows[2]?.clientAddress, rows[2]?.membership], [false, 'h:3', 'voter']);
  const lines = linesOf(rows, 80);
  assert.is(lines[0], '2 of 3 nodes answer · node 1 leads, term 4 · ~3 keys');
  assert.is(lines[5], '3    no answer from h:3; heard 4 s ago: cut?[2J off');
  cluster.down.delete(3);
  cluster.load(3, 7, 7, 10);
  const back = rowsOf(await poll.round());
  assert.equal([back[2]?.answers, back[2]?.readsPerSecond], [true, undefined]);
  cluster.load(2, 7, 7, 10);
  assert.is(rowsOf(await poll.round())[1]?.readsPerSecond, undefined);
});

test('without a leader, and with all nodes down, there is still a table', async () => {
  const cluster = new Cluster();
  const poll = cluster.poll();
  await poll.round();
  cluster.down.add(1);
  assert.is(linesOf(rowsOf(await poll.round()), 80)[0], '2 of 3 nodes answer · no leader');
  cluster.down.add(2).add(3);
  const rows = rowsOf(await poll.round());
  assert.is(linesOf(rows, 80)[0], '0 of 3 nodes answer · no leader');
  assert.is(rows.length, 3);
});

test('a node that was removed is forgotten; one of another id at its address is no answer', async () => {
  const cluster = new Cluster();
  const poll = cluster.poll();
  await poll.round();
  cluster.statuses.set(2, { ...(cluster.statuses.get(3) as NodeStatus) });
  assert.is(rowsOf(await poll.round())[1]?.answers, false);
  for (const id of [1, 3]) {
    const status = cluster.statuses.get(id) as NodeStatus;
    cluster.statuses.set(id, {
      ...{ ...status, voters: [1, 3] },
      peers: status.peers.filter(({ nodeId }) => nodeId !== 2),
    });
  }
  assert.equal(
    rowsOf(await poll.round()).map(({ nodeId }) => nodeId),
    [1, 3],
  );
});

test('no line is longer than the terminal is wide, whatever the numbers', async () => {
  const cluster = new Cluster();
  const rows = rowsOf(await cluster.poll().round()).map((row) => ({
    ...{ ...row, role: 'preCandidate', term: 99_999, behindEntries: 123_456_789, unappliedEntries: 999_999 },
    ...{ readsPerSecond: 123_456, writesPerSecond: 99_949.4, syncsPerSecond: 9.94, answerP50Ms: 899.96 },
    ...{ answerP99Ms: 12.34, residentBytes: 8.9e12, processorShare: 1.994, failedGroups: 2 },
  }));
  const lines = linesOf(rows, 80);
  assert.ok(
    lines.every((line) => [...line].length <= 80),
    lines.join('\n'),
  );
  assert.match(
    lines[3] ?? '',
    /^1 {4}candidate 99999 123k {3}100k {4}123M {3}1.0M {5}900 {4}12.3 {3}8.9T {2}199%$/,
  );
  assert.is(lines[7], 'node commit ms   apply ms    sync ms     sync/s disk/s free  loop ms');
  assert.is(lines[8], '1    1.8/22.4    -           0.9/8.0     9.9    -      7.1G  41.2');
  const wide = linesOf(rows, WIDE_COLUMNS);
  assert.is(wide.length, 2 + 1 + 3 + 3, 'one table, and a line for each failure');
  assert.match(wide[3] ?? '', /^1 {4}candidate .* 199% 1.8\/22.4 .* 41.2$/);
  assert.ok(wide.every((line) => line.length <= WIDE_COLUMNS));
  assert.ok(linesOf(rows, 40).every((line) => [...line].length <= 40));
});

test('numbers take five characters at most', () => {
  const shown = [0, 0.04, 3, 9.96, 999.4, 999.6, 12_345, 99_960, 999_600, 1.2e9, 9e14].map(compact);
  assert.equal(shown, ['0', '0.0', '3', '10', '999', '1.0k', '12.3k', '100k', '1.0M', '1.2G', '900T']);
  assert.is(compact(undefined), '-');
  assert.equal([quantile([3, 1, 2], 0.5), quantile([3, 1, 2], 0.99), quantile([], 0.5)], [2, 3, 0]);
});

test.run();
