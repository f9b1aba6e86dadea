/**
 * What a replica needs of its group's state: a deterministic machine that gets the same entries in the same order on
 * every node. `KvStateMachine` implements it. What a program gives to an embedded node is `embed/state-machine.ts`.
 */
import type { Entry } from '../raft/types.js';

export interface GroupStateMachine<Result> {
  /** The last entry that the state contains. After a restart: what has survived. */
  readonly appliedIndex: number;
  /** The last entry that would survive a power cut. Never above `appliedIndex`. */
  readonly durableIndex: number;
  /**
   * Applies entries in order, starting with index `first` = `appliedIndex` + 1; gives one result per entry. It may
   * answer later; no other call comes before. It may stop after some of them, at least one, if their results are large:
   * then another call brings the others. An error stops the replica: a machine that cannot apply has diverged.
   */
  apply(first: number, entries: readonly Entry[]): readonly Result[] | Promise<readonly Result[]>;
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
