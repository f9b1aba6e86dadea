/** A store under test: its processes, how to reach it, and what it cannot do. */
import type { Target } from '../clients/connection.js';
import type { Workload } from '../load/workloads.js';
import type { Daemon } from '../processes.js';

export interface ServerProcess {
  readonly daemon: Daemon;
  /** `leader`, `follower 1`, …: figures of one role are compared between runs, whoever has it. */
  readonly role: string;
  /** Names of threads that the operating system does not name, by thread id; of others undefined. */
  threadName(threadId: number): string | undefined;
}

/** How late a timer fires, in milliseconds. */
export interface LoopDelay {
  readonly p99: number;
  readonly max: number;
}

/** What a system says of itself for the time between `beginWindow` and `endWindow`. */
export interface WindowReport {
  /** By role. */
  readonly loopDelayMs: Readonly<Record<string, LoopDelay>>;
  /** Entries written to the log per sync of it, on the leader; undefined where that is not known. */
  readonly entriesPerSync: number | undefined;
}

/** Where a system keeps its files, and the first of its ports; free ones are chosen without. */
export interface Place {
  readonly directory: string;
  readonly basePort: number | undefined;
}

export interface SystemView {
  readonly processes: readonly ServerProcess[];
  readonly target: Target;
}

export interface System {
  readonly name: string;
  readonly daemons: readonly Daemon[];
  /** Resolves when it takes requests. Throws `BenchError`. */
  start(): Promise<void>;
  stop(): Promise<void>;
  supports(workload: Workload): boolean;
  /** Who leads now, and where the clients go. */
  inspect(): Promise<SystemView>;
  beginWindow(view: SystemView): Promise<void>;
  endWindow(view: SystemView): Promise<WindowReport>;
}

/** `leader` and `follower 1`, `follower 2`, … in the order of the processes. */
export function rolesOf(leads: readonly boolean[]): string[] {
  let followers = 0;
  return leads.map((isLeader) => (isLeader ? 'leader' : `follower ${++followers}`));
}

/** The items with that of the leader first. */
export function leaderFirst<T>(items: readonly T[], leads: readonly boolean[]): T[] {
  return [...items.filter((_, i) => leads[i]), ...items.filter((_, i) => !leads[i])];
}
