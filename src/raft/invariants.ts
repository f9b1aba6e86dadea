/**
 * Invariants of a replica's state, and of the step from one state to the next (after LogCabin's
 * RaftConsensusInvariants). They are cheap enough to be checked after every step in production. A replica that violates
 * one is stopped, because its further actions cannot be trusted.
 */
import { RaftreeError } from '../env/errors.js';
import type { NodeId, Role } from './types.js';

export interface RaftView {
  readonly id: NodeId;
  readonly role: Role;
  readonly term: number;
  readonly vote: NodeId;
  readonly leader: NodeId;
  readonly baseIndex: number;
  readonly lastIndex: number;
  readonly stableIndex: number;
  readonly commit: number;
  readonly applied: number;
  readonly applying: number;
  readonly isQuiet: boolean;
  readonly termStart: number;
  readonly uncommittedBytes: number;
}

export const EMPTY_VIEW: RaftView = {
  ...{ id: 0, role: 'follower', term: 0, vote: 0, leader: 0, baseIndex: 0, lastIndex: 0, stableIndex: 0 },
  ...{ commit: 0, applied: 0, applying: 0, isQuiet: false, termStart: 0, uncommittedBytes: 0 },
};

/** Throws `RAFT_INVARIANT` with both states if an invariant is violated. */
export function checkInvariants(before: RaftView, after: RaftView): void {
  const broken = brokenInState(after) ?? brokenBetween(before, after);
  if (broken === undefined) return;
  throw new RaftreeError('RAFT_INVARIANT', `node ${after.id}: ${broken}`, {
    info: { before: { ...before }, after: { ...after } },
  });
}

function brokenInState(state: RaftView): string | undefined {
  if (state.baseIndex > state.applying) return 'the log was compacted beyond the applied index';
  if (state.applied > state.applying) return 'more is applied than was handed to the state machine';
  if (state.applying > state.commit) return 'an uncommitted entry was handed to the state machine';
  if (state.commit > state.lastIndex) return 'the commit index lies beyond the log';
  if (state.stableIndex > state.lastIndex) return 'the stable index lies beyond the log';
  if (state.role === 'leader' && state.leader !== state.id) return 'a leader follows another node';
  if (state.role === 'leader' && state.vote !== state.id) return 'a leader did not vote for itself';
  if (state.role === 'leader' && state.lastIndex < state.termStart)
    return 'a leader lost the first entry of its term';
  if (state.role !== 'leader' && state.leader === state.id) return 'a node follows itself';
  if (state.isQuiet && (state.applied !== state.lastIndex || state.stableIndex !== state.lastIndex))
    return 'a quiet replica has work to do';
  if (state.uncommittedBytes < 0) return 'the number of uncommitted bytes is negative';
  return undefined;
}

function brokenBetween(before: RaftView, after: RaftView): string | undefined {
  if (after.term < before.term) return 'the term went back';
  if (after.commit < before.commit) return 'the commit index went back';
  if (after.applied < before.applied) return 'the applied index went back';
  if (after.baseIndex < before.baseIndex) return 'the start of the log went back';
  if (after.term > before.term) return undefined;
  if (before.vote !== 0 && after.vote !== before.vote) return 'the vote changed within a term';
  if (before.leader !== 0 && after.leader !== 0 && after.leader !== before.leader) {
    return 'two leaders in one term';
  }
  if (before.role === 'leader' && after.role === 'leader' && after.lastIndex < before.lastIndex) {
    return 'a leader truncated its log';
  }
  return undefined;
}
