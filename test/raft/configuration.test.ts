/** etcd's data-driven cases of configuration changes, read from where RAFTREE_TEST_DATA points. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type Configuration,
  changeSimply,
  configurationOf,
  enterJoint,
  isLearner,
  leaveJoint,
  membersOf,
  type NodeChange,
} from '../../src/raft/configuration.js';
import { parseScript } from './etcd-script.js';

/** What the cases print of a configuration and of the progress of its members. */
class ConfigurationScript {
  #configuration: Configuration = configurationOf([]);
  /** Where replication to a member starts: the number of the command that brought it in. */
  readonly #next = new Map<number, number>();
  #command = 0;

  run(command: string, args: ReadonlyMap<string, readonly string[]>, input: string): string {
    // As the cases have it, replication to a new member starts at the last index, which is 0 at first but never less
    // than 1.
    const lastIndex = this.#command++;
    const changes = input.split(/\s+/).filter(Boolean).flatMap(parseChange);
    try {
      if (command === 'simple') this.#configuration = changeSimply(this.#configuration, changes);
      else if (command === 'enter-joint') {
        this.#configuration = enterJoint(this.#configuration, args.get('autoleave')?.[0] === 'true', changes);
      } else if (command === 'leave-joint') this.#configuration = leaveJoint(this.#configuration);
      else throw new Error(`unknown command ${command}`);
    } catch (error) {
      return `${(error as Error).message}\n`;
    }
    const members = membersOf(this.#configuration);
    for (const id of [...this.#next.keys()]) if (!members.includes(id)) this.#next.delete(id);
    for (const id of members) if (!this.#next.has(id)) this.#next.set(id, Math.max(1, lastIndex));
    return this.#print(members);
  }

  #print(members: readonly number[]): string {
    const { voters, outgoing, learners, learnersNext, autoLeave } = this.#configuration;
    const list = (ids: readonly number[]) => `(${ids.join(' ')})`;
    const parts = [`voters=${list(voters)}${outgoing.length > 0 ? `&&${list(outgoing)}` : ''}`];
    if (learners.length > 0) parts.push(`learners=${list(learners)}`);
    if (learnersNext.length > 0) parts.push(`learners_next=${list(learnersNext)}`);
    if (autoLeave) parts.push('autoleave');
    const progress = members.map(
      (id) =>
        `${id}: StateProbe match=0 next=${this.#next.get(id)}${isLearner(this.#configuration, id) ? ' learner' : ''}\n`,
    );
    return `${parts.join(' ')}\n${progress.join('')}`;
  }
}

function parseChange(text: string): NodeChange[] {
  const node = Number(text.slice(1));
  switch (text[0]) {
    case 'v':
      return [{ type: 'addVoter', node }];
    case 'l':
      return [{ type: 'addLearner', node }];
    case 'r':
      return [{ type: 'remove', node }];
    case 'u':
      // An update of what raft does not look at.
      return [];
  }
  throw new Error(`unknown change ${text}`);
}

const data = process.env.RAFTREE_TEST_DATA;
if (data) {
  const folder = path.join(data, 'raft/confchange');
  let commands = 0;
  for (const file of fs.readdirSync(folder).sort()) {
    test(file, () => {
      const script = new ConfigurationScript();
      for (const { line, command, args, input, expected } of parseScript(path.join(folder, file))) {
        assert.is(script.run(command, args, input), expected, `${file}:${line}`);
        commands++;
      }
    });
  }
  test('all of them were run', () => {
    assert.is(commands, 58);
  });
} else {
  process.stdout.write('configuration changes of etcd: skipped, RAFTREE_TEST_DATA is not set\n');
  test('a single voter more or less needs no joint configuration', () => {
    assert.equal(
      changeSimply(configurationOf([1]), [{ type: 'addVoter', node: 2 }]),
      configurationOf([1, 2]),
    );
  });
}

test('a voter that becomes a learner votes on until the joint configuration is left, and then learns', () => {
  const changes = [{ type: 'addLearner', node: 3 } as const];
  const joint = enterJoint(configurationOf([1, 2, 3]), true, changes);
  assert.equal([joint.voters, joint.outgoing, joint.learners], [[1, 2], [1, 2, 3], []]);
  assert.equal(membersOf(joint), [1, 2, 3]);
  const left = leaveJoint(joint);
  assert.equal([left.voters, left.outgoing, left.learners], [[1, 2], [], [3]]);
});

test.run();
