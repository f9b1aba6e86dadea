/**
 * What a replica needs of its group's state: a deterministic machine that gets the same entries in the same order on
 * every node. `KvStateMachine` implements it. What a program gives to an embedded node is `embed/state-machine.ts`.
 */
import type { Configuration } from '../raft/configuration.js';
import type { Entry, SnapshotBase } from '../raft/types.js';

/** A group has ended: all after the entry `index`, the last one that counted, is done by these groups. */
export interface Succession extends SnapshotBase {
  readonly groups: readonly {
    readonly id: number;
    /** With which it begins. */
    readonly configuration: Configuration;
  }[];
  /** This group ends with it, too, and what follows has its state. It has done nothing since that entry. */
  readonly absorbed?: { readonly group: number; readonly index: number };
}

/** What a state machine has for the state with which another group begins. */
export interface BeginParts<Machine> {
  /** Of the group that is absorbed. */
  readonly absorbed: Machine | undefined;
  /** Does not exist, and goes afterwards: for what is not durable yet. */
  readonly workDirectory: string;
  /** Resolves when other events have run. */
  readonly turn: () => Promise<void>;
}

/** A group that begins beside this one, empty, behind the entry `index`. This one goes on. */
export interface Companion extends SnapshotBase {
  readonly group: number;
}

export interface GroupStateMachine<Result> {
  /** The last entry that the state contains. After a restart: what has survived. */
  readonly appliedIndex: number;
  /** The last entry that would survive a power cut. Never above `appliedIndex`. */
  readonly durableIndex: number;
  /** The disk is full, and further entries would have to wait for space: a leader takes none then. */
  readonly isOutOfSpace?: boolean;
  /**
   * Applies entries in order, starting with index `first` = `appliedIndex` + 1; gives one result per entry. It may
   * answer later; no other call comes before. It may stop after some of them, at least one, if their results are large:
   * then another call brings the others. An error stops the replica: a machine that cannot apply has diverged.
   */
  apply(first: number, entries: readonly Entry[]): readonly Result[] | Promise<readonly Result[]>;
  /**
   * Applies an entry of the kind `tablet`. `apply` is never given one as its first entry by who has this member, and
   * stops before one. `configuration` is that of the entry. `turn` resolves when other events have run.
   */
  applyTablet?(
    index: number,
    entry: Entry,
    configuration: Configuration,
    turn: () => Promise<void>,
  ): Promise<Result>;
  /** Which groups follow from this one; undefined while it goes on. It stays so, also over snapshots and restarts. */
  readonly succession?: Succession | undefined;
  /** The members of the group must not change now. */
  readonly isHeld?: boolean;
  /** Which group begins beside this one; undefined: none. It stays so, also over snapshots and restarts. */
  readonly companion?: Companion | undefined;
  /** Makes a new directory hold, durably, the state with which one of these groups, or the companion, begins. */
  begin?(group: number, directory: string, parts: BeginParts<this>): Promise<void>;
  /** Makes all applied entries durable, so that the log need not keep them. */
  flush(): Promise<void>;
  /** Makes a new directory hold, durably, the state at exactly `appliedIndex`. Nothing is applied meanwhile. */
  checkpoint(directory: string): Promise<void>;
  /**
   * Throws `CORRUPTION` if a directory that `checkpoint` made, here or on another node, is damaged. Changes nothing.
   */
  check(directory: string): Promise<void>;
  /** Replaces the state by the one in a directory, which it uses from then on. Nothing is applied meanwhile. */
  restore(directory: string): Promise<void>;
  close(): Promise<void>;
}
