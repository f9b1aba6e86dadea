/** etcd's scripts of whole groups, read from where RAFTREE_TEST_DATA points and run on our cores. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Raft } from '../../src/raft/raft.js';
import type { Input, StepResult } from '../../src/raft/types.js';
import { runScript, type ScriptReport } from './interaction/script-run.js';

/** A planted bug: it takes everything that its leader sends for committed. */
class HastyFollower extends Raft {
  override step(nowMs: number, input: Input): StepResult {
    if (input.type !== 'message' || input.message.type !== 'append') return super.step(nowMs, input);
    const { message } = input;
    const commitIndex = message.previousIndex + message.entries.length;
    return super.step(nowMs, { ...input, message: { ...message, commitIndex } });
  }
}

/** A planted bug: it grants its vote whatever the candidate's log holds. */
class CarelessVoter extends Raft {
  override step(nowMs: number, input: Input): StepResult {
    if (input.type !== 'message' || input.message.type !== 'requestVote') return super.step(nowMs, input);
    const { message: asked } = input;
    const message = { ...asked, lastTerm: asked.term, lastIndex: Number.MAX_SAFE_INTEGER };
    return super.step(nowMs, { ...input, message });
  }
}

/** A planted bug: it helps to depose a leader that it hears from. */
class DisloyalVoter extends Raft {
  override step(nowMs: number, input: Input): StepResult {
    if (input.type !== 'message' || input.message.type !== 'requestVote') return super.step(nowMs, input);
    return super.step(nowMs, { ...input, message: { ...input.message, force: true } });
  }
}

/** A small script of our own, in the same words. */
function runText(text: string): ScriptReport {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'interaction-'));
  try {
    const file = path.join(folder, 'script.txt');
    fs.writeFileSync(file, text);
    return runScript(file);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

const ELECTION = `log-level none
----
ok

add-nodes 3 voters=(1,2,3) index=10
----
ok

campaign 1
----
ok

stabilize
----
ok

log-level info
----
ok
`;

test('what a script expects of the state, the log, the progress and of commits is compared', () => {
  const script = (leader: number, entry: string, match: number, committed: string) => `${ELECTION}
propose 1 a
----
ok

stabilize
----
> 1 handling Ready
  CommittedEntries:
  ${committed}
> 2 handling Ready
  CommittedEntries:
  1/12 EntryNormal "a"
> 3 handling Ready
  CommittedEntries:
  1/12 EntryNormal "a"

raft-state
----
1: StateLeader (Voter) Term:1 Lead:1
2: StateFollower (Voter) Term:1 Lead:${leader}
3: StateFollower (Voter) Term:1 Lead:1

raft-log 2
----
1/11 EntryNormal ""
${entry}

status 1
----
1: StateReplicate match=12 next=13
2: StateReplicate match=${match} next=13
3: StateReplicate match=12 next=13
`;
  const entry = '1/12 EntryNormal "a"';
  const mismatches = (text: string) => runText(text).mismatches.map(({ command }) => command);
  assert.equal(mismatches(script(1, entry, 12, entry)), []);
  assert.equal(mismatches(script(2, entry, 12, entry)), ['raft-state']);
  assert.equal(mismatches(script(1, '1/12 EntryNormal "b"', 12, entry)), ['raft-log 2']);
  assert.equal(mismatches(script(1, entry, 11, entry)), ['status 1']);
  // What one was not given, it still lacks at every later command that shows its output.
  assert.equal(mismatches(script(1, entry, 12, '1/12 EntryNormal "b"'))[0], 'stabilize');
});

test('whether a proposal is taken is compared', () => {
  const script = (answer: string) => `add-nodes 3 voters=(1,2,3) index=10
----
ok

propose 1 a
----
${answer}
`;
  assert.equal(runText(script('raft proposal dropped')).mismatches, []);
  assert.is(runText(script('ok')).mismatches.length, 1);
});

test('commands may follow one another under one expectation', () => {
  const script = (term: number) => `log-level none
add-nodes 3 voters=(1,2,3) index=10
campaign 2
stabilize
log-level info
raft-state
----
1: StateFollower (Voter) Term:${term} Lead:2
2: StateLeader (Voter) Term:${term} Lead:2
3: StateFollower (Voter) Term:${term} Lead:2
`;
  assert.equal(runText(script(1)).mismatches, []);
  assert.is(runText(script(2)).mismatches.length, 1);
});

const data = process.env.RAFTREE_TEST_DATA;
if (data) {
  const folder = path.join(data, 'raft/interaction');
  const files = fs.readdirSync(folder).sort();
  const totals = { commands: 0, compared: 0, inapplicable: 0, leftOut: 0 };
  for (const file of files) {
    test(`etcd-io/raft: ${file}`, () => {
      const report = runScript(path.join(folder, file));
      assert.equal(report.mismatches, []);
      totals.commands += report.commands;
      totals.compared += report.compared;
      totals.inapplicable += report.inapplicable.length;
      totals.leftOut += report.leftOut;
    });
  }
  test('all of them were run, and next to everything in them was compared', () => {
    assert.is(files.length, 16);
    // What is not compared hid its output.
    assert.equal(totals, { commands: 355, compared: 255, inapplicable: 4, leftOut: 5 });
  });
  test('a planted bug in the core is seen', () => {
    const seen = (make: typeof Raft) =>
      files.filter((file) => {
        const { mismatches } = runScript(path.join(folder, file), (...from) => new make(...from));
        return mismatches.length > 0;
      });
    assert.ok(seen(HastyFollower).length > 0, 'a hasty follower');
    assert.equal(seen(CarelessVoter), [
      'async_storage_writes_append_aba_race.txt',
      'probe_and_replicate.txt',
    ]);
    assert.equal(seen(DisloyalVoter), ['checkquorum.txt', 'prevote_checkquorum.txt']);
  });
} else {
  process.stdout.write('interaction scripts of etcd: skipped, RAFTREE_TEST_DATA is not set\n');
}

test.run();
