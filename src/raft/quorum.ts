/**
 * Majorities as pure functions. An empty set of voters agrees to everything: outside a joint configuration the outgoing
 * half is empty and decides nothing.
 */
import type { Configuration } from './configuration.js';
import type { NodeId } from './types.js';

export function majorityOf(count: number): number {
  return Math.floor(count / 2) + 1;
}

/** The highest value that a majority of the voters has reached. */
export function reachedByMajority(voters: readonly NodeId[], reached: (voter: NodeId) => number): number {
  if (voters.length === 0) return Number.POSITIVE_INFINITY;
  const needed = majorityOf(voters.length);
  let highest = Number.NEGATIVE_INFINITY;
  // Voters are few: nothing is sorted.
  for (const voter of voters) {
    const value = reached(voter);
    if (value <= highest) continue;
    let count = 0;
    for (const other of voters) if (reached(other) >= value) count++;
    if (count >= needed) highest = value;
  }
  return highest;
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

/** The highest value that a quorum has reached. In a joint configuration: a majority of each half. */
export function reachedByQuorum(configuration: Configuration, reached: (voter: NodeId) => number): number {
  return Math.min(
    reachedByMajority(configuration.voters, reached),
    reachedByMajority(configuration.outgoing, reached),
  );
}

/** Won if both halves of a joint configuration agree; lost if one of them no longer can. */
export function quorumVoteResult(
  configuration: Configuration,
  votes: ReadonlyMap<NodeId, boolean>,
): VoteResult {
  const incoming = voteResult(configuration.voters, votes);
  const outgoing = voteResult(configuration.outgoing, votes);
  if (incoming === outgoing) return incoming;
  return incoming === 'lost' || outgoing === 'lost' ? 'lost' : 'pending';
}
