/**
 * All states of single hosts, all messages and all ghosts that an exploration has met, each under a number. What a host
 * does with an input depends on nothing but its own state, so it is worked out once: a world is then a short list of
 * numbers, and its next ones are looked up.
 */
import { createHash } from 'node:crypto';
import type { Entry, Message } from '../../src/raft/types.js';
import { canonicalText, type Renaming, type View } from './canonical.js';
import type { CoreModules } from './cores.js';
import { type Facts, type Ghost, isSameEntry, learnt, NOTHING_YET, saysNothing } from './ghost.js';
import { entryAt, FIRST_INDEX, type Host, type Machine, persistedBatchOf, type Turn } from './host.js';
import { copyOf } from './object-graph.js';
import type { Scenario } from './scenario.js';

/** What comes of one input to one host. */
export interface Outcome {
  readonly next: number;
  /** Envelopes. */
  readonly sent: readonly number[];
  /** The host said no, and is as it was. */
  readonly isRefused: boolean;
  readonly facts: Facts | undefined;
  /** What the core itself has found to be wrong. */
  readonly broken: string | undefined;
  /** What became of each ghost. */
  readonly ghosts: Map<number, number | string>;
}

export interface HostRecord {
  /** Undefined for a state that is only known as what another is called after renaming. */
  host: Host | undefined;
  /** Equal for equal logs. */
  logId: number;
  readonly outcomes: Map<string, Outcome>;
  readonly renamed: number[];
}

export interface Envelope {
  readonly from: number;
  readonly to: number;
  readonly message: Message;
}

/** The value is undefined if it is only known as what another is called after renaming. */
interface Renamed<T> {
  value: T | undefined;
  readonly renamed: number[];
}

export interface Step {
  readonly turn: Turn;
  readonly isAccepted?: boolean;
  readonly asked?: number;
  readonly hasRestarted?: boolean;
}

/** Nothing depends on these while every clock stands still until an event moves it. */
const IGNORED_WITH_FREE_CLOCKS = ['deadlineMs', 'lastLeaderContactMs'];
const IGNORED_WITHOUT_FOLLOWER_READS = ['nextWireId'];
const HORIZON_MS = 200;

export class Space {
  readonly hosts: HostRecord[] = [];
  readonly envelopes: (Renamed<Envelope> & { link: number })[] = [];
  readonly ghosts: Renamed<Ghost>[] = [];
  readonly renamings: readonly Renaming[];
  readonly #modules: CoreModules;
  readonly #ids = new Map<string, number>();
  readonly #logs = new Map<string, number>();
  readonly #matching = new Map<string, string | undefined>();
  readonly #ignored: ReadonlySet<string>;
  readonly #ignoredInHosts: ReadonlySet<string>;

  constructor(modules: CoreModules, scenario: Scenario) {
    this.#modules = modules;
    this.renamings = renamingsOf(scenario);
    const asksLeader = scenario.readers?.some(({ method }) => method === 'follower') ?? false;
    this.#ignored = new Set([
      ...(scenario.clock === 'free' ? IGNORED_WITH_FREE_CLOCKS : []),
      ...(asksLeader ? [] : IGNORED_WITHOUT_FOLLOWER_READS),
    ]);
    this.#ignoredInHosts = new Set([
      'id',
      'nowMs',
      ...(scenario.keepsApplied ? [] : ['durablyApplied']),
      ...(scenario.electionBeatsLater ? [] : ['boots']),
    ]);
    this.ghostId(NOTHING_YET);
  }

  // Numbers

  hostId(host: Host): number {
    const id = this.#id('host', this.#hostText(host, 0), () => {
      this.hosts.push({ host, logId: 0, outcomes: new Map(), renamed: [] });
      return this.hosts.length - 1;
    });
    const record = this.hosts[id] as HostRecord;
    record.host ??= host;
    record.logId = this.#logId(host.log);
    record.renamed[0] = id;
    return id;
  }

  envelopeId({ from, to, message }: Envelope, by = 0): number {
    const renaming = this.renamings[by] as Renaming;
    const [first, second] = [renaming[from] as number, renaming[to] as number];
    const link = first * 16 + second;
    const text = `${link} ${canonicalText(message, this.#view(renaming, 0, 0))}`;
    const id = this.#id('envelope', text, () => {
      this.envelopes.push({ value: undefined, renamed: [], link });
      return this.envelopes.length - 1;
    });
    const record = this.envelopes[id] as Renamed<Envelope>;
    if (by === 0) record.value ??= { from, to, message };
    return id;
  }

  ghostId(ghost: Ghost, by = 0): number {
    const view = this.#view(this.renamings[by] as Renaming, 0, 0);
    const text = [
      canonicalText(ghost.committed, view),
      ghost.leaders
        .map((leader) => canonicalText(leader, view))
        .sort()
        .join(),
      canonicalText(ghost.reads, view),
    ].join(' ');
    const id = this.#id('ghost', text, () => {
      this.ghosts.push({ value: undefined, renamed: [] });
      return this.ghosts.length - 1;
    });
    const record = this.ghosts[id] as Renamed<Ghost>;
    if (by === 0) record.value ??= ghost;
    return id;
  }

  host(id: number): Host {
    return this.hosts[id]?.host as Host;
  }

  envelope(id: number): Envelope {
    return this.envelopes[id]?.value as Envelope;
  }

  ghost(id: number): Ghost {
    return this.ghosts[id]?.value as Ghost;
  }

  linkOf(envelope: number): number {
    return this.envelopes[envelope]?.link as number;
  }

  // Renaming

  renamedHost(id: number, by: number): number {
    const record = this.hosts[id] as HostRecord;
    record.renamed[by] ??= this.#id('host', this.#hostText(record.host as Host, by), () => {
      this.hosts.push({ host: undefined, logId: 0, outcomes: new Map(), renamed: [] });
      return this.hosts.length - 1;
    });
    return record.renamed[by] as number;
  }

  renamedEnvelope(id: number, by: number): number {
    const record = this.envelopes[id] as Renamed<Envelope>;
    record.renamed[by] ??= by === 0 ? id : this.envelopeId(record.value as Envelope, by);
    return record.renamed[by] as number;
  }

  renamedGhost(id: number, by: number): number {
    const record = this.ghosts[id] as Renamed<Ghost>;
    record.renamed[by] ??= by === 0 ? id : this.ghostId(record.value as Ghost, by);
    return record.renamed[by] as number;
  }

  // What comes of an input

  outcome(hostId: number, input: string, run: (host: Host) => Step): Outcome {
    const { outcomes, host } = this.hosts[hostId] as HostRecord;
    let outcome = outcomes.get(input);
    if (!outcome) {
      outcome = this.#workOut(hostId, host as Host, run);
      outcomes.set(input, outcome);
    }
    return outcome;
  }

  /** The ghost after an outcome, or the rule that was broken. */
  learnt(ghostId: number, outcome: Outcome): number | string {
    if (!outcome.facts) return ghostId;
    const known = outcome.ghosts.get(ghostId);
    if (known !== undefined) return known;
    const after = learnt(this.ghost(ghostId), outcome.facts);
    const result = typeof after === 'string' ? after : this.ghostId(after);
    outcome.ghosts.set(ghostId, result);
    return result;
  }

  /** Log matching (Raft, section 5.3): where two logs have an entry of one term, they are equal up to there. */
  mismatch(one: number, other: number): string | undefined {
    const [first, second] = [this.hosts[one] as HostRecord, this.hosts[other] as HostRecord];
    if (first.logId === second.logId) return undefined;
    const pair = `${first.logId} ${second.logId}`;
    if (!this.#matching.has(pair)) {
      this.#matching.set(pair, mismatchOf(first.host as Host, second.host as Host));
    }
    return this.#matching.get(pair);
  }

  #workOut(hostId: number, before: Host, run: (host: Host) => Step): Outcome {
    const host = copyOf(before);
    const ghosts = new Map<number, number | string>();
    const { role, term, commitIndex } = before.core;
    let step: Step;
    try {
      step = run(host);
    } catch (error) {
      const broken = `invariant of the core: ${error instanceof Error ? error.message : error}`;
      return { next: hostId, sent: [], isRefused: false, facts: undefined, broken, ghosts };
    }
    const { turn, isAccepted = true, asked, hasRestarted = false } = step;
    if (!isAccepted) {
      return { next: hostId, sent: [], isRefused: true, facts: undefined, broken: undefined, ghosts };
    }
    const { core } = host;
    const isElected = core.role === 'leader' && (hasRestarted || role !== 'leader' || term !== core.term);
    const first = hasRestarted ? FIRST_INDEX : commitIndex + 1;
    const entries: Entry[] = [];
    for (let index = first; index <= core.commitIndex; index++) entries.push(entryAt(host, index));
    const facts: Facts = {
      node: host.id,
      term: core.term,
      hasRestarted,
      asked,
      committed: entries.length > 0 ? { first, entries } : undefined,
      elected: isElected ? { term: core.term, log: host.log } : undefined,
      reads: turn.reads,
      failedReads: turn.failedReads,
    };
    return {
      next: this.hostId(host),
      sent: turn.sent.map(({ to, message }) => this.envelopeId({ from: host.id, to, message })),
      isRefused: false,
      facts: saysNothing(facts) ? undefined : facts,
      broken: undefined,
      ghosts,
    };
  }

  #hostText(host: Host, by: number): string {
    const view = this.#view(this.renamings[by] as Renaming, host.nowMs, persistedBatchOf(host));
    let text = '';
    for (const [name, value] of Object.entries(host)) {
      if (this.#ignoredInHosts.has(name)) continue;
      text += `${name}:${canonicalText(value, view)};`;
    }
    return text;
  }

  #view(renaming: Renaming, nowMs: number, persistedBatch: number): View {
    return {
      renaming,
      nowMs,
      persistedBatch,
      horizonMs: HORIZON_MS,
      ignored: this.#ignored,
      decodeChange: this.#modules.decodeChange,
    };
  }

  #id(kind: string, text: string, add: () => number): number {
    const key = kind + createHash('md5').update(text).digest('binary');
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    const id = add();
    this.#ids.set(key, id);
    return id;
  }

  #logId(log: readonly Entry[]): number {
    const text = log
      .map(({ term, kind, body }) => `${term}${kind}${Buffer.from(body).toString('latin1')}`)
      .join();
    const id = this.#logs.get(text) ?? this.#logs.size;
    this.#logs.set(text, id);
    return id;
  }
}

/** The state before anything has happened. */
export function freshHosts(space: Space, machine: Machine, nodes: number): number[] {
  return Array.from({ length: nodes }, (_, at) => space.hostId(machine.fresh(at + 1)));
}

function mismatchOf(one: Host, other: Host): string | undefined {
  let differsAt: number | undefined;
  for (let index = FIRST_INDEX; index < FIRST_INDEX + Math.min(one.log.length, other.log.length); index++) {
    const [first, second] = [entryAt(one, index), entryAt(other, index)];
    if (!isSameEntry(first, second)) differsAt ??= index;
    if (differsAt !== undefined && first.term === second.term) {
      return `log matching: nodes ${one.id} and ${other.id} have an entry ${index} of term ${first.term}, but differ at ${differsAt}`;
    }
  }
  return undefined;
}

/** All ways to exchange the names of nodes that are alike; the first changes nothing. */
function renamingsOf({ nodes, alike = [] }: Scenario): Renaming[] {
  return permutations(alike).map((names) => {
    const renaming = Array.from({ length: nodes + 1 }, (_, node) => node);
    for (const [at, node] of alike.entries()) renaming[node] = names[at] as number;
    return renaming;
  });
}

function permutations(items: readonly number[]): number[][] {
  if (items.length === 0) return [[]];
  return items.flatMap((item) =>
    permutations(items.filter((other) => other !== item)).map((rest) => [item, ...rest]),
  );
}
