/**
 * Where our design differs from etcd's so that a command of a script cannot apply, and what is done about it.
 * Everything else is translated. The list is short, and is printed with every run that has made use of it.
 */
export interface Difference {
  /** What is left out: this command alone, or all of the script from here on. */
  readonly leavesOut: 'command' | 'rest';
  readonly reason: string;
}

export const DIFFERENCES = {
  forgetLeader: {
    leavesOut: 'command',
    reason:
      'nobody forgets a leader on demand: silence of an election timeout stands for it, so votes are free as in etcd, but whom that node follows is not compared until it has heard from a leader',
  },
  recoversSooner: {
    leavesOut: 'command',
    reason:
      'what was lost on the way to a follower is sent again at once when the host learns of it; in etcd an empty append is refused first, so the follower commits one command later there',
  },
  leaderTransfers: {
    leavesOut: 'rest',
    reason:
      'a leader that was removed leads on until the others know, and transfers leadership; in etcd it leads on for ever, or leaves at once without an heir',
  },
  unvalidatedChanges: {
    leavesOut: 'rest',
    reason: 'changes of membership are always validated before they are proposed',
  },
  detailOnly: {
    leavesOut: 'command',
    reason: 'an update of what Raft does not look at is no change of membership here',
  },
  unknown: {
    leavesOut: 'rest',
    reason: 'the adapter knows no such command or option',
  },
} as const satisfies Record<string, Difference>;

export type DifferenceName = keyof typeof DIFFERENCES;

/** Thrown by a command that cannot apply. */
export class Inapplicable extends Error {
  readonly difference: DifferenceName;

  constructor(difference: DifferenceName) {
    super(DIFFERENCES[difference].reason);
    this.difference = difference;
  }
}
