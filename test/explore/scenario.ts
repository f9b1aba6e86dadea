/** As the target of a transfer: the best voter. */
export const WHOEVER_IS_BEST = 0;

/** A small world to explore: who is in it, how it begins, and how much of everything may happen. */
import type { ConfigurationChange } from '../../src/raft/configuration.js';
import type { ReadMethod } from '../../src/raft/types.js';

/** What is counted, so that a world is finite: so many of each may happen. */
export const BUDGETS = [
  'timeouts',
  'beats',
  'passes',
  'restarts',
  'proposals',
  'changes',
  'transfers',
  'reads',
] as const;
export type Budget = (typeof BUDGETS)[number];

export interface Scenario {
  readonly name: string;
  /** What it is after. */
  readonly about: string;
  readonly nodes: number;
  /** The first configuration; everybody, if it is not given. */
  readonly voters?: readonly number[];
  /** Nodes that are alike at the start: worlds that differ by their names only are one. */
  readonly alike?: readonly number[];
  /**
   * `free`: every node has a clock of its own, which moves only when an event says so; whoever is asked for a vote has
   * waited long enough to give it. `shared`: time passes for all alike, one heartbeat interval at a time.
   */
  readonly clock: 'free' | 'shared';
  /** What happens before the exploration begins: the beginnings of events' names, or `settle`. */
  readonly begin: readonly string[];
  readonly budgets: Readonly<Partial<Record<Budget, number>>>;
  readonly depth: number;
  /** The others' disks and state machines answer at once. */
  readonly lateDisks?: readonly number[];
  readonly lateApplies?: readonly number[];
  /** Who may crash; everybody, if it is not given. */
  readonly restartable?: readonly number[];
  /** Who may find that it hears nothing from a leader; everybody, if it is not given. */
  readonly impatient?: readonly number[];
  readonly changes?: readonly ConfigurationChange[];
  readonly transfersTo?: readonly number[];
  readonly readers?: readonly { readonly node: number; readonly method: ReadMethod }[];
  /** A proposal may arrive in the same turn as an acknowledgement. */
  readonly sharedTurns?: boolean;
  /** Nothing passes there: `from>to`. */
  readonly cut?: readonly string[];
  /**
   * Messages on one link stay in order, though any of them may be lost; with `true` they may also overtake each other.
   */
  readonly reorders?: boolean;
  /** Messages on their way from one node to another; what is too much is lost. */
  readonly maxOnLink?: number;
  /** Entries in one append message; any number, if it is not given. */
  readonly shortAppends?: boolean;
  /** State machines survive a crash with all that they applied. */
  readonly keepsApplied?: boolean;
  /** In heartbeat intervals; 3 if not given. `later`: after a restart. */
  readonly electionBeats?: Readonly<Record<number, number>>;
  readonly electionBeatsLater?: Readonly<Record<number, number>>;
}
