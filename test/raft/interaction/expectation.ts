/**
 * What a script expects of a command, as far as it can be compared: the entries that each node was given as committed,
 * and its term, vote and commit index where they changed. Text stands under a heading for each node
 * (`> 1 handling Ready`), or under none if the command names a single node.
 */
import type { HardState, NodeId } from '../../../src/raft/types.js';
import type { ScriptCommand } from '../etcd-script.js';

const HEADING = /^> (\d+) /;
const HARD_STATE = /^HardState Term:(\d+)(?: Vote:(\d+))? Commit:(\d+)$/;
const ENTRY = /^\d+\/\d+ Entry/;

export interface Expectation {
  readonly commits: ReadonlyMap<NodeId, readonly string[]>;
  /** At last. */
  readonly hardStates: ReadonlyMap<NodeId, HardState>;
}

export function readExpectation({ words, expected }: ScriptCommand): Expectation {
  const commits = new Map<NodeId, string[]>();
  const hardStates = new Map<NodeId, HardState>();
  let node = Number(words[0] ?? 0);
  let isCommitted = false;
  for (const line of expected.split('\n')) {
    const text = line.trim();
    const [, heading] = HEADING.exec(text) ?? [];
    if (heading !== undefined) node = Number(heading);
    const [hardState, term, vote, commit] = HARD_STATE.exec(text) ?? [];
    if (hardState)
      hardStates.set(node, { term: Number(term), vote: Number(vote ?? 0), commit: Number(commit) });
    if (!isCommitted || !ENTRY.test(text)) {
      isCommitted = text === 'CommittedEntries:';
      continue;
    }
    commits.set(node, [...(commits.get(node) ?? []), nameChangesAlike(text)]);
  }
  return { commits, hardStates };
}

/** etcd has two entries for changes of membership, of which the older one can hold only a single change. */
export function nameChangesAlike(text: string): string {
  return text.replaceAll('EntryConfChangeV2', 'EntryConfChange');
}
