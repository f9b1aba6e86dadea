/** The errors that a replica's callers get. */
import { type Outcome, RaftreeError } from '../env/errors.js';
import type { NodeId, Refusal } from '../raft/types.js';

const REFUSALS: Record<Refusal, readonly [code: string, message: string]> = {
  notLeader: ['NOT_LEADER', 'this node does not lead'],
  overloaded: ['OVERLOADED', 'too much is in flight; try again in a moment'],
  transferring: ['NO_LEADER', 'leadership is being transferred; try again shortly'],
  tooLarge: ['REQUEST_TOO_LARGE', 'the command exceeds the limit of an entry'],
  changePending: ['CHANGE_PENDING', 'another change of membership is under way; try again when it is done'],
  noSuccessor: ['TRANSFER_FAILED', 'no other voter was heard from lately'],
  changeConflict: [
    'CHANGE_CONFLICT',
    'the membership has been changed since it was looked at; look again before another change',
  ],
  changeInvalid: ['CHANGE_INVALID', 'the present membership does not allow that'],
};

export function refused(refusal: Refusal, leader: NodeId): RaftreeError {
  const [code, message] = REFUSALS[refusal];
  return new RaftreeError(code, message, { info: { leader, outcome: 'notCommitted' } });
}

export function diskFull(): RaftreeError {
  return new RaftreeError(
    'DISK_FULL',
    'the disk of this node is full, and nothing was changed: free space, or wait until another node leads',
    { info: { outcome: 'notCommitted' } },
  );
}

/** Of what is in the log, and waits. */
export function waitsForSpace(): RaftreeError {
  return new RaftreeError(
    'DISK_FULL',
    'the disk of this node is full: what is in its log waits for space, and may take effect then; free space',
    { info: { outcome: 'unknown' } },
  );
}

export function leadershipLost(outcome: Outcome): RaftreeError {
  return new RaftreeError('LEADERSHIP_LOST', 'this node stopped leading before the answer was known', {
    info: { outcome },
  });
}

export function stopped(outcome: Outcome, cause: RaftreeError | undefined): RaftreeError {
  return new RaftreeError('REPLICA_STOPPED', cause?.message ?? 'this node is shutting down', {
    info: { outcome },
  });
}

export function transferFailed(to: NodeId): RaftreeError {
  return new RaftreeError('TRANSFER_FAILED', `node ${to} did not take over`, {
    info: { outcome: 'unknown' },
  });
}
