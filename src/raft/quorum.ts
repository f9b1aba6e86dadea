/** Majorities as pure functions. No voters agree to everything: the empty half of a joint configuration decides nothing. */
import type { NodeId } from './types.js';

export function majorityOf(count: number): number {
  return Math.floor(count / 2) + 1;
}

/** The highest value that a majority of the voters has reached. */
export function reachedByMajority(voters: readonly NodeId[], reached: (voter: NodeId) => number): number {
  const values = voters.map(reached).sort((a, b) => b - a);
  return values[majorityOf(voters.length) - 1] ?? Number.POSITIVE_INFINITY;
}

export type VoteResult = 'won' | 'lost' | 'pending';

export function voteResult(voters: readonly NodeId[], votes: ReadonlyMap<NodeId, boolean>): VoteResult {
  let granted = 0;
  let refused = 0;
  for (const voter of voters) {
    const vote = votes.get(voter);
    if (vote === true) granted++;
    else if (vote === false) refused++;
  }
  const needed = voters.length === 0 ? 0 : majorityOf(voters.length);
  if (granted >= needed) return 'won';
  return voters.length - refused < needed ? 'lost' : 'pending';
}
