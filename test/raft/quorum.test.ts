/** Majorities, by example and by the cases of etcd-io/raft's data-driven tests. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Configuration, configurationOf } from '../../src/raft/configuration.js';
import {
  majorityOf,
  quorumVoteResult,
  reachedByMajority,
  reachedByQuorum,
  voteResult,
} from '../../src/raft/quorum.js';
import { parseScript, type ScriptCommand } from './etcd-script.js';

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

test('in a joint configuration both halves must agree', () => {
  const joint: Configuration = { ...configurationOf([1, 4, 5]), outgoing: [1, 2, 3] };
  const reached = (...ids: number[]) => reachedByQuorum(joint, (id) => (ids.includes(id) ? 1 : 0));
  const votes = (...ids: number[]) => quorumVoteResult(joint, new Map(ids.map((id) => [id, true])));
  for (const half of [
    [4, 5],
    [2, 3],
  ]) {
    assert.is(reached(...half), 0);
    assert.is(votes(...half), 'pending');
    assert.is(reached(1, ...half), 0);
    assert.is(votes(1, ...half), 'pending');
  }
  assert.is(reached(1, 2, 4), 1);
  assert.is(votes(1, 2, 4), 'won');
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

/** What the cases give: who votes in either half, and what each voter has reached or said. */
interface Voters {
  /** In the order in which the cases give their values: those of the first half, then the others. */
  readonly ids: readonly number[];
  readonly configuration: Configuration;
  readonly isJoint: boolean;
}

function votersOf(args: ScriptCommand['args']): Voters {
  const first = (args.get('cfg') ?? []).map(Number);
  const second = (args.get('cfgj') ?? []).filter((id) => id !== 'zero').map(Number);
  return {
    ids: [...new Set([...first, ...second])],
    configuration: { ...configurationOf(first), outgoing: second },
    isJoint: args.has('cfgj'),
  };
}

/** What the cases print: for indexes a chart of them and what is committed, for votes their result. */
function answer({ command, args }: ScriptCommand): string {
  const { ids, configuration, isJoint } = votersOf(args);
  if (command === 'committed') {
    const given = args.get('idx') ?? [];
    const known = new Map(
      ids.flatMap((id, i) => (given[i] === '_' ? [] : [[id, Number(given[i])] as const])),
    );
    const reached = (id: number) => known.get(id) ?? 0;
    const committed = isJoint
      ? reachedByQuorum(configuration, reached)
      : reachedByMajority(configuration.voters, reached);
    const text = committed === Number.POSITIVE_INFINITY ? '∞' : committed;
    return `${chart(ids, known)}${text}\n`;
  }
  const given = args.get('votes') ?? [];
  const votes = new Map(ids.flatMap((id, i) => (given[i] === '_' ? [] : [[id, given[i] === 'y'] as const])));
  const result = isJoint ? quorumVoteResult(configuration, votes) : voteResult(configuration.voters, votes);
  return `${{ won: 'VoteWon', lost: 'VoteLost', pending: 'VotePending' }[result]}\n`;
}

/** A row for each voter, with a bar as long as there are voters that have reached less. */
function chart(ids: readonly number[], known: ReadonlyMap<number, number>): string {
  if (ids.length === 0) return '<empty majority quorum>';
  const rows = [...ids]
    .sort((a, b) => a - b)
    .map((id) => {
      const index = known.get(id);
      const behind = ids.filter((other) => (known.get(other) ?? 0) < (index ?? 0)).length;
      const bar = index === undefined ? '?' : `${'x'.repeat(behind)}>`;
      return `${bar.padEnd(ids.length + 1)} ${String(index ?? 0).padStart(5)}    (id=${id})\n`;
    });
  return `${' '.repeat(ids.length)}    idx\n${rows.join('')}`;
}

const data = process.env.RAFTREE_TEST_DATA;
if (data) {
  const folder = path.join(data, 'raft/quorum');
  let cases = 0;
  for (const file of fs.readdirSync(folder).sort()) {
    test(`etcd-io/raft: ${file}`, () => {
      for (const item of parseScript(path.join(folder, file))) {
        assert.is(answer(item), item.expected, `${file}:${item.line}`);
        cases++;
      }
    });
  }
  test('all of them were run', () => {
    assert.is(cases, 127);
  });
} else {
  process.stdout.write('quorums of etcd: skipped, RAFTREE_TEST_DATA is not set\n');
}

test.run();
