/**
 * What a script expects of a command, as far as it can be compared: the entries that each node was given as committed.
 * Text stands under a heading for each node (`> 1 handling Ready`), or under none if the command names a single node.
 */
import type { NodeId } from '../../../src/raft/types.js';
import type { ScriptCommand } from '../etcd-script.js';

const HEADING = /^> (\d+) /;
const ENTRY = /^\d+\/\d+ Entry/;

export function expectedCommits({ words, expected }: ScriptCommand): Map<NodeId, string[]> {
  const commits = new Map<NodeId, string[]>();
  let node = Number(words[0] ?? 0);
  let isCommitted = false;
  for (const line of expected.split('\n')) {
    const text = line.trim();
    const [, heading] = HEADING.exec(text) ?? [];
    if (heading !== undefined) node = Number(heading);
    if (!isCommitted || !ENTRY.test(text)) {
      isCommitted = text === 'CommittedEntries:';
      continue;
    }
    const entries = commits.get(node) ?? [];
    entries.push(nameChangesAlike(text));
    commits.set(node, entries);
  }
  return commits;
}

/** etcd has two entries for changes of membership, of which the older one can hold only a single change. */
export function nameChangesAlike(text: string): string {
  return text.replaceAll('EntryConfChangeV2', 'EntryConfChange');
}
