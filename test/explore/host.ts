/**
 * One node of a world: a core, its log as memory and disk have it, what its disk and its state machine are busy with.
 * It is plain data, so that it can be copied, and functions that carry out what the core asks for.
 */
import type { Raft } from '../../src/raft/raft.js';
import {
  type AppendBatch,
  EMPTY_HARD_STATE,
  type Entry,
  FIRST_BASE,
  type HardState,
  type Input,
  type Message,
  type Output,
  type RaftOptions,
} from '../../src/raft/types.js';
import { filled, recovered, written } from '../raft/entries.js';
import type { CoreModules } from './cores.js';
import type { Scenario } from './scenario.js';

export const HEARTBEAT_MS = 10;
const BASE = FIRST_BASE.index;

export interface Host {
  readonly id: number;
  nowMs: number;
  boots: number;
  nextRead: number;
  core: Raft;
  /** As written, durable or not: entry i is at i - BASE - 1. */
  log: Entry[];
  hardState: HardState;
  durableLog: Entry[];
  /** What the disk has not finished, in order. */
  writing: AppendBatch[];
  applying: { first: number; last: number } | undefined;
  durablyApplied: number;
  longestPromiseMs: number;
}

/** What the exploration looks at inside a core. */
interface Opened {
  readonly _election: { readonly _silentUntilMs: number; readonly _lastLeaderContactMs: number };
  readonly _local: { readonly stability: { readonly persistedBatch: number } };
}

const opened = (core: Raft) => core as unknown as Opened;

export function persistedBatchOf(host: Host): number {
  return opened(host.core)._local.stability.persistedBatch;
}

export function entryAt(host: Host, index: number): Entry {
  return host.log[index - BASE - 1] as Entry;
}

export const FIRST_INDEX = BASE + 1;

/** What one turn of a host has brought about for the others to see. */
export interface Turn {
  readonly sent: { readonly to: number; readonly message: Message }[];
  readonly reads: { readonly id: number; readonly index: number }[];
  readonly failedReads: number[];
}

export class Machine {
  readonly #modules: CoreModules;
  readonly #scenario: Scenario;
  readonly #lateDisks: ReadonlySet<number>;
  readonly #lateApplies: ReadonlySet<number>;
  /** While a world is brought to where its exploration begins, nobody is late. */
  isPrompt = true;

  constructor(modules: CoreModules, scenario: Scenario) {
    this.#modules = modules;
    this.#scenario = scenario;
    this.#lateDisks = new Set(scenario.lateDisks);
    this.#lateApplies = new Set(scenario.lateApplies);
  }

  fresh(id: number): Host {
    const host = {
      id,
      nowMs: 0,
      boots: 0,
      nextRead: 1,
      log: [],
      hardState: EMPTY_HARD_STATE,
      durableLog: [],
      writing: [],
      applying: undefined,
      durablyApplied: BASE,
      longestPromiseMs: 0,
    } as Omit<Host, 'core'> as Host;
    this.#boot(host);
    return host;
  }

  electionMs({ id, boots }: Pick<Host, 'id' | 'boots'>): number {
    const { electionBeats, electionBeatsLater } = this.#scenario;
    const later = boots > 0 ? electionBeatsLater?.[id] : undefined;
    return (later ?? electionBeats?.[id] ?? 3) * HEARTBEAT_MS;
  }

  /** kill -9 and start again: only what was durable is left. */
  restart(host: Host): Turn {
    host.boots++;
    host.nextRead = 1;
    host.log = [...host.durableLog];
    host.writing = [];
    host.applying = undefined;
    this.#boot(host);
    return this.#turn(host);
  }

  step(host: Host, input: Input): { turn: Turn; isAccepted: boolean } {
    const { accepted: isAccepted } = host.core.step(host.nowMs, input);
    return { turn: this.#turn(host), isAccepted };
  }

  /** Time passes until nothing keeps this node from voting or from taking over. */
  wait(host: Host): void {
    const { _silentUntilMs, _lastLeaderContactMs } = opened(host.core)._election;
    host.nowMs = Math.max(host.nowMs, _silentUntilMs, _lastLeaderContactMs + this.electionMs(host));
  }

  /**
   * Nothing is heard for long. The first tick after that judges nobody, because this node may have been away itself.
   */
  timeOut(host: Host): Turn {
    host.nowMs += 100 * HEARTBEAT_MS;
    host.core.step(host.nowMs, { type: 'tick' });
    const first = this.#turn(host);
    if (host.core.role !== 'follower' && host.core.role !== 'leader') return first;
    host.core.step(host.nowMs, { type: 'tick' });
    return joined(first, this.#turn(host));
  }

  beat(host: Host): Turn {
    host.nowMs += HEARTBEAT_MS;
    return this.step(host, { type: 'tick' }).turn;
  }

  /** The oldest write is durable. */
  finishWrite(host: Host): Turn {
    this.#persist(host);
    return this.#turn(host);
  }

  finishApply(host: Host): Turn {
    this.#apply(host);
    return this.#turn(host);
  }

  #boot(host: Host): void {
    const { Raft, configurationOf, decodeChange } = this.#modules;
    const { voters, nodes, shortAppends, keepsApplied } = this.#scenario;
    const electionMs = this.electionMs(host);
    // Enough to tell apart what two processes of a node draw; no timeout depends on it: the least is also the greatest.
    const chance = host.boots / 2 ** 20;
    const options: RaftOptions = {
      id: host.id,
      heartbeatMs: HEARTBEAT_MS,
      electionTimeoutMinMs: electionMs,
      electionTimeoutMaxMs: electionMs,
      maxClockDrift: 0.1,
      maxEntryBytes: 1000,
      maxAppendBytes: shortAppends ? 1 : 1 << 20,
      maxApplyBytes: 1 << 20,
      maxInflightMessages: 16,
      maxInflightBytes: 1 << 20,
      maxUncommittedBytes: 1 << 20,
      maxPendingReads: 100,
      random: () => chance,
    };
    const members = voters ?? Array.from({ length: nodes }, (_, at) => at + 1);
    const state = {
      hardState: host.hardState,
      base: { ...FIRST_BASE, configuration: configurationOf(members) },
      entries: recovered(host.durableLog, decodeChange),
      applied: keepsApplied ? host.durablyApplied : BASE,
      restarted: host.boots > 0,
      promisedMs: host.longestPromiseMs,
    };
    host.core = new Raft(options, state, host.nowMs);
    host.longestPromiseMs = Math.max(host.longestPromiseMs, electionMs);
  }

  /** Carries out what the core asks for until it asks for nothing. */
  #turn(host: Host): Turn {
    const turn: Turn = { sent: [], reads: [], failedReads: [] };
    for (let output = host.core.take(host.nowMs); output; output = host.core.take(host.nowMs)) {
      this.#carryOut(host, output, turn);
    }
    return turn;
  }

  #carryOut(host: Host, { append, send, apply, reads, failedReads }: Output, turn: Turn): void {
    if (append) {
      if (append.entries.length > 0) host.log = written(host.log, BASE, append);
      host.writing.push(append);
    }
    for (const { to, message } of send) turn.sent.push({ to, message: filled(host.log, BASE, message) });
    turn.reads.push(...reads);
    turn.failedReads.push(...failedReads);
    if (append && (this.isPrompt || !this.#lateDisks.has(host.id))) this.#persist(host);
    if (!apply) return;
    host.applying = apply;
    if (this.isPrompt || !this.#lateApplies.has(host.id)) this.#apply(host);
  }

  #persist(host: Host): void {
    const batch = host.writing.shift();
    if (!batch) return;
    if (batch.entries.length > 0) host.durableLog = written(host.durableLog, BASE, batch);
    host.hardState = batch.hardState;
    host.core.step(host.nowMs, { type: 'persisted', batch: batch.batch });
  }

  #apply(host: Host): void {
    const { applying } = host;
    if (!applying) return;
    host.applying = undefined;
    host.durablyApplied = Math.max(host.durablyApplied, applying.last);
    host.core.step(host.nowMs, { type: 'applied', index: applying.last });
  }
}

function joined(one: Turn, other: Turn): Turn {
  return {
    sent: [...one.sent, ...other.sent],
    reads: [...one.reads, ...other.reads],
    failedReads: [...one.failedReads, ...other.failedReads],
  };
}
