/**
 * Receives what the probes report of the nodes of a run, and shows it to trace, coverage and rules. Loses, repeats and
 * reorders messages.
 */
import { NOBODY, type StepResult } from '../../raft/types.js';
import type { ReplicaMessage } from '../../replica/snapshot-messages.js';
import { RaftRules } from '../rules/raft-rules.js';
import { SeededRandom } from '../world/seeded-random.js';
import type { Owner, Probe } from './probes.js';
import type { RunCluster } from './run-cluster.js';
import type { RunMachine } from './run-machine.js';

/** Of the orders of nodes, where replicas move. */
const LATE_ORDERS = 0.1;
const LATEST_ORDER_MS = 10_000;

export class RunProbe implements Probe {
  readonly #cluster: RunCluster;
  /** By tablet. */
  readonly #rules = new Map<number, RaftRules>();
  readonly #messageRandom: SeededRandom;
  readonly #applyRandom: SeededRandom;
  readonly #orderRandom: SeededRandom;

  constructor(cluster: RunCluster, messageSeed: number, applySeed: number) {
    this.#cluster = cluster;
    this.#messageRandom = new SeededRandom(messageSeed);
    this.#applyRandom = new SeededRandom(applySeed);
    this.#orderRandom = new SeededRandom(~applySeed >>> 0);
  }

  #rulesOf(tablet: number): RaftRules {
    let rules = this.#rules.get(tablet);
    if (!rules) {
      const cluster = this.#cluster;
      rules = new RaftRules(
        (rule, detail) => cluster.fail(rule, detail),
        cluster.coverage,
        cluster.references.of(tablet),
        (who) => cluster.onElected(who),
      );
      this.#rules.set(tablet, rules);
    }
    return rules;
  }

  storeOpened(...[who, store]: Parameters<Probe['storeOpened']>): void {
    const machine = this.#cluster.machines.find(({ host }) => host === who);
    if (machine) machine.store = store;
  }

  groupFailed(...[{ who, tablet }, store, error]: Parameters<Probe['groupFailed']>): void {
    const machine = this.#cluster.machines.find(({ host }) => host === who);
    // A process that was killed does not count.
    if (machine?.store === store) this.#cluster.groupFailed(machine, tablet, error);
  }

  /** In a cluster of several tablets it is said which one. */
  #record(who: string, tablet: number, what: string, fields: Record<string, unknown>): void {
    const isOnly = this.#cluster.references.groups.length === 1;
    this.#cluster.trace.record(who, what, isOnly ? fields : { tablet, ...fields });
  }

  raftInput(...[{ who, tablet }, raft, input]: Parameters<Probe['raftInput']>): void {
    if (input.type === 'tick') return;
    this.#rulesOf(tablet).input(raft, input);
    if (input.type === 'message')
      this.#record(who, tablet, 'raft.receive', { from: input.from, message: input.message });
    else this.#record(who, tablet, `raft.${input.type}`, input.type === 'propose' ? {} : { input });
  }

  raftOutput(...[{ who, tablet }, raft, output]: Parameters<Probe['raftOutput']>): void {
    const { append, apply, reads, failedReads, status, configuration } = output;
    if (this.#cluster.founders.length === 1 && configuration && configuration.voters.length > 2)
      this.#cluster.coverage.count('groups grown from one node');
    const foreigner = this.#foreigner(who);
    // Once it follows a leader of this cluster, all rules apply to it.
    if (foreigner && status && status.leader !== NOBODY && status.leader !== foreigner.id) {
      foreigner.isForeign = false;
      this.#cluster.compareStates(foreigner);
    }
    if (output.send.some(({ message }) => message.type === 'quietReply' && message.isQuiet))
      this.#cluster.coverage.count('replicas fallen quiet');
    if (!this.#foreigner(who)) this.#rulesOf(tablet).output(who, raft, output);
    if (status) this.#record(who, tablet, 'raft.status', { ...status });
    if (append) {
      const { batch, hardState, first, entries } = append;
      if (!this.#foreigner(who)) this.#cluster.survival.appended(tablet, first, entries);
      this.#record(who, tablet, 'raft.append', { batch, ...hardState, first, entries: entries.length });
    }
    if (apply) this.#record(who, tablet, 'raft.apply', { ...apply });
    if (reads.length + failedReads.length > 0)
      this.#record(who, tablet, 'raft.reads', { reads, failedReads });
  }

  #foreigner(who: string): RunMachine | undefined {
    return this.#cluster.machines.find(({ host, isForeign }) => host === who && isForeign);
  }

  beforeApply(who: string): Promise<void> | undefined {
    const machine = this.#cluster.machines.find(({ host }) => host === who);
    const { chance, maxMs } = this.#cluster.setting.lateApply;
    const timers = machine?.process?.env.timers;
    if (!machine || !timers) return undefined;
    const isHeld = machine.heldApplies !== undefined;
    if (!isHeld && !this.#applyRandom.chance(chance)) return undefined;
    this.#cluster.coverage.count('late applies');
    const delayMs = isHeld ? 0 : this.#applyRandom.float() * maxMs;
    return new Promise((resolve) => {
      const goOn = () => void timers.after(delayMs, resolve);
      if (machine.heldApplies) machine.heldApplies.push(goOn);
      else goOn();
    });
  }

  applying({ who, tablet }: Owner, first: number, entries: Parameters<Probe['applying']>[2]): void {
    if (!this.#foreigner(who)) this.#cluster.references.of(tablet).applying(who, first, entries);
  }

  applied({ who, tablet }: Owner, first: number, results: Parameters<Probe['applied']>[2]): void {
    if (!this.#foreigner(who)) this.#cluster.references.of(tablet).applied(who, first, results);
  }

  sendingAlive(who: string, to: number, send: () => void): void {
    this.#cluster.trace.record(who, 'alive', { to });
    if (!this.#messageRandom.chance(this.#cluster.messageFaults.loss)) send();
  }

  /** It may be lost, and come again long after it was given. */
  ordering(who: string, to: number, send: () => void): void {
    const random = this.#orderRandom;
    const { loss } = this.#cluster.messageFaults;
    this.#cluster.trace.record(who, 'order', { to });
    if (loss > 0 && random.chance(loss)) return;
    send();
    const timers = this.#cluster.machines.find(({ host }) => host === who)?.process?.env.timers;
    const { moveEveryMs, mergeEveryMs } = this.#cluster.setting;
    if (moveEveryMs + mergeEveryMs === 0 || !random.chance(LATE_ORDERS)) return;
    timers?.after(random.float() * LATEST_ORDER_MS, () => {
      this.#cluster.coverage.count('late orders');
      send();
    });
  }

  sending({ who, tablet }: Owner, to: number, message: ReplicaMessage, send: () => void): void {
    const random = this.#messageRandom;
    const { loss, repetition, reordering } = this.#cluster.messageFaults;
    const machine = this.#cluster.machines.find(({ host }) => host === who);
    this.#record(who, tablet, 'raft.send', { to, message });
    if (this.#cluster.loses(who, to, message, send)) return;
    if (!machine?.process || loss + repetition + reordering === 0) {
      send();
      return;
    }
    const { timers } = machine.process.env;
    if (random.chance(loss)) {
      this.#cluster.coverage.count('messages lost');
      return;
    }
    if (random.chance(repetition)) {
      this.#cluster.coverage.count('messages repeated');
      timers.after(random.float() * 300, send);
    }
    if (random.chance(reordering)) {
      this.#cluster.coverage.count('messages reordered');
      timers.after(random.float() * 100, send);
    } else send();
  }

  get maxAppendBytes(): number {
    return this.#cluster.setting.maxAppendBytes;
  }

  get maxSessions(): number {
    return this.#cluster.setting.maxSessions;
  }

  raftAnswer(answer: StepResult): void {
    if (!answer.accepted && answer.refusal === 'overloaded') this.#cluster.coverage.count('limits reached');
  }

  treeOptions(): ReturnType<Probe['treeOptions']> {
    return {
      ...this.#cluster.setting.tree,
      listener: {
        flushed: () => this.#cluster.coverage.count('flushes'),
        compacted: () => this.#cluster.coverage.count('compactions'),
      },
    };
  }
}
