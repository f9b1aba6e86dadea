/** What tells watchers of keys: how much is kept for them, and when this node can tell them no more. */
import type { Clock, Random, Timers } from '../env/env.js';
import type { KvStateMachine } from '../kv/kv-state-machine.js';
import { HistoryBudget } from '../kv/watch/history-budget.js';
import type { WatchEnded } from '../kv/watch/watcher.js';
import { Watches } from '../kv/watch/watches.js';
import type { NodeConfig } from './config.js';

/** A node without a leader applies nothing. When it was so for so many ticks, its watchers are to go to another. */
const MAX_TICKS_WITHOUT_LEADER = 5;

export function historyBudget(clock: Pick<Clock, 'nowMs'>, { watch, limits }: NodeConfig): HistoryBudget {
  const { maxHistoryBytes, historyMs } = watch;
  // What one write changes is told, however large it is.
  const maxBytes = Math.max(maxHistoryBytes, 2 * limits.maxRequestBytes);
  return new HistoryBudget(clock, { maxBytes, keepMs: historyMs });
}

/** Undefined if the state machine keeps no history. */
export function watchesOf(parts: {
  readonly env: {
    readonly timers: Pick<Timers, 'after' | 'endOfTurn'>;
    readonly random: Pick<Random, 'uint32'>;
  };
  readonly stateMachine: Pick<KvStateMachine, 'history'>;
  readonly replica: {
    readonly hasLeader: boolean;
    readonly configuration: { readonly voters: readonly number[] };
  };
  /** If this node was removed from its cluster: the message that says so. */
  readonly removed: () => string | undefined;
}): Watches | undefined {
  const { env, replica, removed } = parts;
  const { history } = parts.stateMachine;
  if (!history) return undefined;
  let ticksWithoutLeader = 0;
  const ended = (): WatchEnded | undefined => {
    const removal = removed();
    if (removal !== undefined) return { type: 'ended', code: 'NODE_REMOVED', message: removal };
    ticksWithoutLeader = replica.hasLeader ? 0 : ticksWithoutLeader + 1;
    // Before it was added to the cluster it knows no members, and waits for no leader.
    const isNoMember = replica.configuration.voters.length === 0;
    if (ticksWithoutLeader < (isNoMember ? 1 : MAX_TICKS_WITHOUT_LEADER)) return undefined;
    return { type: 'ended', code: 'NO_LEADER', message: 'this node knows no leader: what it has may be old' };
  };
  return new Watches({ timers: env.timers, random: env.random, history, ended });
}
