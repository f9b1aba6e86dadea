/**
 * How the simulator observes a node. `src` has no hooks for that: methods of its classes are wrapped here, once per
 * process, and report to the current run.
 *
 * A store reads its node's clock when it is opened. So every node has a clock of its own that records the last reader.
 * A replica is made, and steps its core for the first time, as soon as its state machine is open: the group that its
 * node has opened last tells which replica a core belongs to. (Nodes open groups at the same time.)
 */
import type { Clock } from '../../env/env.js';
import type { RaftreeError } from '../../env/errors.js';
import type { CommandResult } from '../../kv/kv-state-machine.js';
import { KvStateMachine } from '../../kv/kv-state-machine.js';
import { MAX_SESSIONS, Sessions } from '../../kv/sessions.js';
import { LsmTree } from '../../lsm/lsm-tree.js';
import type { LsmOptions } from '../../lsm/options.js';
import { LogView } from '../../raft/log-view.js';
import { Raft } from '../../raft/raft.js';
import type { Entry, Input, Output, StepResult } from '../../raft/types.js';
import type { GroupStateMachine } from '../../replica/group-state-machine.js';
import type { ReplicaMessage } from '../../replica/snapshot-messages.js';
import type { KvStore } from '../../server/kv-group.js';
import { Peers } from '../../server/peers.js';
import { Store, type StoreOptions, type StoreParts } from '../../store/store.js';

/** A replica: whose, and of which tablet. */
export interface Owner {
  readonly who: string;
  readonly tablet: number;
}

export interface Probe {
  /** A process of this node has opened its store. */
  storeOpened(who: string, store: KvStore): void;
  /** A group takes no part any more until its node is restarted. */
  groupFailed(owner: Owner, store: KvStore, error: RaftreeError): void;
  raftInput(owner: Owner, raft: Raft, input: Input): void;
  raftAnswer(answer: StepResult): void;
  raftOutput(owner: Owner, raft: Raft, output: Output): void;
  /** Undefined: the state machine applies at once; otherwise when this resolves. */
  beforeApply(who: string): Promise<void> | undefined;
  applying(owner: Owner, first: number, entries: readonly Entry[]): void;
  applied(owner: Owner, first: number, results: readonly CommandResult[]): void;
  /** A node sends a message of a tablet to another; `send` does it. */
  sending(owner: Owner, to: number, message: ReplicaMessage, send: () => void): void;
  /** A node tells another that it is alive. */
  sendingAlive(who: string, to: number, send: () => void): void;
  /** A node asks another to do something. */
  ordering(who: string, to: number, send: () => void): void;
  treeOptions(who: string): Partial<LsmOptions>;
  /** Smaller than the built-in limit, so that few entries already need several messages. */
  readonly maxAppendBytes: number;
  readonly maxSessions: number;
}

let probe: Probe | undefined;
let lastAsker = '';

export function useProbe(next: Probe | undefined): void {
  probe = next;
}

/** The clock of one node, which tells the probes whose code is running. */
export function attributed(who: string, clock: Clock): Clock {
  return {
    nowMs: () => {
      lastAsker = who;
      return clock.nowMs();
    },
    wallMs: () => clock.wallMs(),
  };
}

/** By node. */
const lastOpened = new Map<string, Owner>();
const owners = new WeakMap<Raft, Owner>();

function lastOpenedBy(who: string): Owner {
  return lastOpened.get(who) ?? { who, tablet: 0 };
}

function ownerOf(raft: Raft): Owner {
  let owner = owners.get(raft);
  if (owner === undefined) {
    // It is told the time, so its node has just read its clock.
    owner = lastOpenedBy(lastAsker);
    owners.set(raft, owner);
  }
  return owner;
}

const { step, take } = Raft.prototype;
Raft.prototype.step = function (this: Raft, nowMs, input) {
  probe?.raftInput(ownerOf(this), this, input);
  const answer = step.call(this, nowMs, input);
  probe?.raftAnswer(answer);
  return answer;
};
Raft.prototype.take = function (this: Raft, nowMs) {
  const output = take.call(this, nowMs);
  if (output) probe?.raftOutput(ownerOf(this), this, output);
  return output;
};

const { lastWithin } = LogView.prototype;
LogView.prototype.lastWithin = function (this: LogView, first, last, maxBytes) {
  return lastWithin.call(this, first, last, Math.min(maxBytes, probe?.maxAppendBytes ?? maxBytes));
};

Object.defineProperty(Sessions.prototype, 'maxSize', { get: () => probe?.maxSessions ?? MAX_SESSIONS });

// A state machine is used without reading the clock. Its store, which opens it, has the clock of the node.
const machines = new WeakMap<object, Owner>();
const openStore = Store.open.bind(Store);
Store.open = <Machine extends GroupStateMachine<Result>, Result>(
  options: StoreOptions,
  parts: StoreParts<Machine>,
) => {
  parts.env.clock.nowMs();
  const who = lastAsker;
  const { host } = parts;
  const store: Store<Machine, Result> = openStore<Machine, Result>(options, {
    ...parts,
    host: {
      ...host,
      groupFailed: (group, error) => {
        probe?.groupFailed({ who, tablet: group }, store as unknown as KvStore, error);
        host.groupFailed(group, error);
      },
    },
    openStateMachine: async (context) => {
      const machine = await parts.openStateMachine(context);
      const owner = { who, tablet: context.group };
      lastOpened.set(who, owner);
      machines.set(machine as object, owner);
      return machine;
    },
  });
  probe?.storeOpened(who, store as unknown as KvStore);
  return store;
};

const { apply } = KvStateMachine.prototype;
KvStateMachine.prototype.apply = function (this: KvStateMachine, first, entries) {
  const owner = machines.get(this) ?? lastOpenedBy(lastAsker);
  const watcher = probe;
  const report = (done: readonly CommandResult[]) => {
    watcher?.applied(owner, first, done);
    return done;
  };
  const perform = () => {
    // It stops before an entry of the kind `tablet`.
    const end = entries.findIndex(({ kind }) => kind === 'tablet');
    watcher?.applying(owner, first, end < 0 ? entries : entries.slice(0, end));
    return apply.call(this, first, entries);
  };
  const late = watcher?.beforeApply(owner.who);
  if (late) return late.then(perform).then(report);
  const results = perform();
  return results instanceof Promise ? results.then(report) : report(results);
};

const { applyTablet } = KvStateMachine.prototype;
KvStateMachine.prototype.applyTablet = async function (this: KvStateMachine, index, entry, ...rest) {
  const owner = machines.get(this) ?? lastOpenedBy(lastAsker);
  const watcher = probe;
  await watcher?.beforeApply(owner.who);
  watcher?.applying(owner, index, [entry]);
  const result = await applyTablet.call(this, index, entry, ...rest);
  watcher?.applied(owner, index, [result]);
  return result;
};

// Messages of a snapshot are sent without reading the clock: the listening address tells whose they are.
const hosts = new WeakMap<Peers, string>();
const { listen, send, sendAlive, sendCall } = Peers.prototype;
Peers.prototype.listen = function (this: Peers, address) {
  hosts.set(this, address.host);
  return listen.call(this, address);
};
Peers.prototype.send = function (this: Peers, to, group, message) {
  const deliver = () => send.call(this, to, group, message);
  if (probe) probe.sending({ who: hosts.get(this) ?? lastAsker, tablet: group }, to, message, deliver);
  else deliver();
};

Peers.prototype.sendAlive = function (this: Peers, to, epoch) {
  const deliver = () => sendAlive.call(this, to, epoch);
  if (probe) probe.sendingAlive(hosts.get(this) ?? lastAsker, to, deliver);
  else deliver();
};

Peers.prototype.sendCall = function (this: Peers, to, message) {
  const deliver = () => sendCall.call(this, to, message);
  if (probe && message.type === 'nodeRequest') probe.ordering(hosts.get(this) ?? lastAsker, to, deliver);
  else deliver();
};

const open = LsmTree.open.bind(LsmTree);
LsmTree.open = (directory, options = {}) => {
  if (!probe) return open(directory, options);
  // The node's clock may not have been read before its tree is opened.
  options.env?.clock.nowMs();
  return open(directory, { ...options, ...probe.treeOptions(lastAsker) });
};
