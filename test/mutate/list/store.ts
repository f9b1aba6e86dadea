/** Mutations of src/store: what the groups of a node share, and what they must not. */
import { inFile, type Mutation } from '../mutation.js';

const store = inFile('store/store.js');
const ticks = inFile('store/tick-scheduler.js');
const budget = inFile('store/log-budget.js');

export const STORE_MUTATIONS: readonly Mutation[] = [
  {
    name: 'a group that fails ends the store',
    reason: 'a node has one group',
    patches: [store("if (isLast || errorCode(error.cause) === 'LOG_FAILED')", 'if (error)')],
    killedBy: ['store/store'],
  },
  {
    name: 'a Raft log that failed ends the group that met it',
    reason: 'the others will see for themselves',
    patches: [store("if (isLast || errorCode(error.cause) === 'LOG_FAILED')", 'if (isLast)')],
    killedBy: ['store/store'],
  },
  {
    name: 'a node without any group goes on',
    reason: 'each group has failed by itself',
    patches: [
      store(
        "if (isLast || errorCode(error.cause) === 'LOG_FAILED')",
        "if (errorCode(error.cause) === 'LOG_FAILED')",
      ),
    ],
    killedBy: ['store/store'],
  },
  {
    name: 'a group is begun again over its log',
    reason: 'who begins it knows that it is new',
    patches: [store('if (this.#raftLog.group(id))', 'if (false)')],
    killedBy: ['store/store'],
  },
  {
    name: 'a pause of the process is not reported',
    reason: 'each replica knows when its last tick was',
    patches: [ticks('nowMs - this.#lastRunMs > heartbeatMs', 'false')],
    killedBy: ['store/tick-scheduler'],
  },
  {
    name: 'the timer of idle groups sleeps until one is due',
    reason: 'nothing happens before',
    patches: [ticks('Math.max(tickMs, heartbeatMs / 2)', 'Number.POSITIVE_INFINITY')],
    killedBy: ['store/tick-scheduler'],
  },
  {
    name: 'what falls due sooner waits for the timer that runs',
    reason: 'it runs soon',
    patches: [ticks('entry.dueMs = timeMs; this.#arm(timeMs);', '')],
    killedBy: ['store/tick-scheduler'],
  },
  {
    name: 'each group may fill the log',
    reason: 'each has its limit',
    patches: [budget('if (this.#logs.size <= 1)', 'if (true)')],
    killedBy: ['store/log-budget'],
  },
];
