/** Majorities, by example and by the cases of etcd-io/raft's data-driven tests. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { majorityOf, reachedByMajority, voteResult } from '../../src/raft/quorum.js';

test('more than half of the voters', () => {
  assert.equal([1, 2, 3, 4, 5, 6, 7].map(majorityOf), [1, 2, 2, 3, 3, 4, 4]);
});

test('a majority has reached what the voter in the middle has, whatever their order', () => {
  const reached = (...values: number[]) =>
    reachedByMajority(
      values.map((_, i) => i + 1),
      (id) => values[id - 1] ?? 0,
    );
  assert.is(reached(5), 5);
  assert.is(reached(5, 3), 3);
  assert.is(reached(9, 100, 10), 10);
  assert.is(reached(4, 3, 2, 1), 2);
  assert.is(reached(1, 5, 1, 5, 5), 5);
});

test('an empty half of a joint configuration stands in nobody’s way', () => {
  assert.is(
    reachedByMajority([], () => 0),
    Number.POSITIVE_INFINITY,
  );
  assert.is(voteResult([], new Map()), 'won');
});

test('voters that nobody knows do not count', () => {
  assert.is(
    voteResult(
      [1, 2, 3],
      new Map([
        [1, true],
        [4, true],
        [5, true],
      ]),
    ),
    'pending',
  );
  assert.is(
    voteResult(
      [1, 2, 3],
      new Map([
        [1, true],
        [4, false],
        [5, false],
      ]),
    ),
    'pending',
  );
});

/** One command with its arguments in lists, and the lines expected. */
interface Case {
  readonly place: string;
  readonly command: string;
  readonly lists: ReadonlyMap<string, readonly string[]>;
  readonly expected: string;
}

function readCases(file: string): Case[] {
  const lines = fs.readFileSync(file, 'utf8').split('\n');
  const cases: Case[] = [];
  for (let at = 0; at < lines.length; at++) {
    const [, command, rest = ''] = /^([a-z]+)\b(.*)/.exec(lines[at] ?? '') ?? [];
    if (!command || lines[at + 1] !== '----') continue;
    const lists = new Map<string, string[]>();
    for (const [, name = '', items = ''] of rest.matchAll(/(\w+)=\(([^)]*)\)/g)) {
      lists.set(
        name,
        items.split(',').flatMap((item) => item.trim() || []),
      );
    }
    const start = at + 2;
    while ((lines[at] ?? '') !== '') at++;
    cases.push({
      place: `${path.basename(file)}:${start - 1}`,
      command,
      lists,
      expected: lines[at - 1] ?? '',
    });
  }
  return cases;
}

/** The number or result that the expected text ends with. */
function answerOf({ command, lists }: Case): string {
  const voters = [...new Set((lists.get('cfg') ?? []).map(Number))];
  if (command === 'committed') {
    const index = lists.get('idx') ?? [];
    const known = new Map(voters.map((id, i) => [id, index[i] === '_' ? 0 : Number(index[i])]));
    const reached = reachedByMajority(voters, (id) => known.get(id) ?? 0);
    return reached === Number.POSITIVE_INFINITY ? '∞' : String(reached);
  }
  const votes = lists.get('votes') ?? [];
  const cast = voters.flatMap((id, i): [number, boolean][] =>
    votes[i] === '_' ? [] : [[id, votes[i] === 'y']],
  );
  return { won: 'VoteWon', lost: 'VoteLost', pending: 'VotePending' }[voteResult(voters, new Map(cast))];
}

const data = process.env.RAFTREE_TEST_DATA;
if (data === undefined) {
  console.log('RAFTREE_TEST_DATA is not set: the cases of etcd-io/raft are skipped');
} else {
  for (const [name, least] of [
    ['majority_commit.txt', 16],
    ['majority_vote.txt', 22],
  ] as const) {
    test(`etcd-io/raft: ${name}`, () => {
      const cases = readCases(path.join(data, 'raft/quorum', name));
      assert.ok(cases.length >= least, `${cases.length} cases`);
      for (const item of cases) {
        assert.is(answerOf(item), item.expected.replace('<empty majority quorum>', ''), item.place);
      }
    });
  }
}

test.run();
