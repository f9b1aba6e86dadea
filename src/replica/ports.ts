/** The interfaces between a replica, its parts, and the rooms that use it. */
import type { RaftreeError } from '../env/errors.js';
import type { Configuration } from '../raft/configuration.js';
import type { Input, NodeId, Quietness, ReadMethod, Role, RoleStatus, StepResult } from '../raft/types.js';
import type { ReplicaMessage } from './snapshot-messages.js';

export interface Transport {
  /** Sends or drops: the sender repeats what matters. Bytes must be taken over before it returns. */
  send(to: NodeId, message: ReplicaMessage): void;
}

/** What a replica tells its owner. */
export interface ReplicaHost {
  /** Role, term or leader has changed. */
  statusChanged(status: RoleStatus): void;
  /** Called with the first configuration, and then in each step that puts another one in force. */
  configurationChanged(configuration: Configuration): void;
  /** The replica has fallen quiet, relies on other nodes, or is not quiet any more (undefined). */
  quietnessChanged(quietness: Quietness | undefined): void;
  /** The replica cannot go on: its disk failed or an invariant broke. Called at most once. */
  failed(error: RaftreeError): void;
}

/** The core of a replica, as the other parts of that replica use it. */
export interface CorePort {
  readonly role: Role;
  readonly term: number;
  readonly commitIndex: number;
  /** Takes one input. Returns undefined if the replica has stopped. */
  step(input: Input): StepResult | undefined;
  /** Stops the replica: it cannot go on. */
  fail(cause: unknown): void;
}

/** The result of a command, and the index of its entry. */
export interface Applied<Result> {
  readonly index: number;
  readonly result: Result;
}

/** A group, as its writers and readers use it. */
export interface CommandLog<Result> {
  /**
   * Replicates a command; resolves with the state machine's result once it is applied here.
   * Rejects with `NOT_LEADER` (info: leader), `NO_LEADER` (it is being transferred), `OVERLOADED`, `DISK_FULL`:
   * certainly not committed; `LEADERSHIP_LOST`, `REPLICA_STOPPED`: unknown, unless info.outcome says `notCommitted`.
   */
  propose(body: Uint8Array): Promise<Applied<Result>>;
  /**
   * Resolves, with an index, when the state machine holds everything that was committed when this was called. Rejects
   * with `NOT_LEADER`, `OVERLOADED`, `LEADERSHIP_LOST` or `REPLICA_STOPPED`. A read changes nothing, whatever happens.
   */
  readIndex(method: ReadMethod): Promise<number>;
  /** The state cannot be read here, for example because a file of it is damaged: if this node leads, another should. */
  yieldLeadership(): void;
}

/** Calls replicas when their ticks are due: one timer for all of them. */
export interface TickSource {
  /**
   * Calls `tick` at the end of a turn, first at `dueMs`. It never throws, and returns the time of the next tick.
   * `isLate`: this process was paused.
   */
  add(tick: (isLate: boolean) => number, dueMs: number): TickHandle;
}

export interface TickHandle {
  /** The next tick comes by this time, or sooner if it was due sooner. */
  dueBy(timeMs: number): void;
  remove(): void;
}
