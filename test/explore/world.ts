/**
 * A world as a list of numbers, and what can happen in it next:
 *
 *     state of host 1 … n | ghost | what is left of each budget | envelopes on their way, by link
 */
import { isVoter } from '../../src/raft/configuration.js';
import type { Input, Message } from '../../src/raft/types.js';
import type { CoreModules } from './cores.js';
import { incomplete } from './ghost.js';
import { type Host, Machine } from './host.js';
import { describeMessage, showHost } from './printing.js';
import { BUDGETS, type Budget, type Scenario, WHOEVER_IS_BEST } from './scenario.js';
import { freshHosts, type Outcome, Space, type Step } from './space.js';

export type Numbers = number[];

export type EventKind =
  | 'deliver'
  | 'deliverAndPropose'
  | 'persist'
  | 'apply'
  | 'crash'
  | 'timeout'
  | 'beat'
  | 'pass'
  | 'propose'
  | 'change'
  | 'transfer'
  | 'read';

export interface Event {
  readonly kind: EventKind;
  readonly node: number;
  /** An envelope, a node, or the place in one of the scenario's lists. */
  readonly detail: number;
}

/** Takes what may come next, and the rule that is broken by it. */
export type Visit = (event: Event, next: Numbers, broken: string | undefined) => void;

/** Every one that is asked for a pre-vote hears it. */
const EVERYBODY = 0;
const FINE = 'fine';
/** Of proposals. */
const NAMES = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';

export class RuleBroken extends Error {}

export class World {
  readonly space: Space;
  readonly scenario: Scenario;
  readonly #machine: Machine;
  readonly #messagesAt: number;
  readonly #isRestartable: (node: number) => boolean;
  readonly #isImpatient: (node: number) => boolean;
  /** Before the exploration begins, and to see how it could end well: nobody is late, nothing is cut or used up. */
  #isCalm = true;

  constructor(modules: CoreModules, scenario: Scenario) {
    this.scenario = scenario;
    this.space = new Space(modules, scenario);
    this.#machine = new Machine(modules, scenario);
    this.#messagesAt = scenario.nodes + 1 + BUDGETS.length;
    this.#isRestartable = (node) => scenario.restartable?.includes(node) ?? true;
    this.#isImpatient = (node) => this.#isCalm || (scenario.impatient?.includes(node) ?? true);
  }

  /** Where the exploration begins. Throws if the scenario's beginning does not come about. */
  begin(): Numbers {
    const { nodes, begin, budgets, name } = this.scenario;
    let world = [...freshHosts(this.space, this.#machine, nodes), 0, ...BUDGETS.map(() => 99)];
    for (const wanted of begin) {
      if (wanted === 'settle') world = this.settled(world);
      if (wanted === 'lose') world = world.slice(0, this.#messagesAt);
      if (wanted === 'settle' || wanted === 'lose') continue;
      let found: Numbers | undefined;
      this.successors(world, (event, next, broken) => {
        if (found || !this.describe(event).startsWith(wanted)) return;
        if (broken) throw new Error(`${name}: ${wanted}: ${broken}`);
        found = next;
      });
      if (!found) throw new Error(`${name}: "${wanted}" cannot happen:\n${this.show(world).join('\n')}`);
      world = found;
    }
    this.#beCalm(false);
    for (const [at, budget] of BUDGETS.entries()) world[nodes + 1 + at] = budgets[budget] ?? 0;
    return world;
  }

  /** Everything is delivered, written and applied until nothing is left to be. Throws `RuleBroken`. */
  settled(world: Numbers): Numbers {
    const now = world.slice();
    for (let steps = 0; steps < 1000; steps++) {
      const broken = this.#settleOne(now);
      if (broken === undefined) return now;
      if (broken !== FINE) throw new RuleBroken(broken);
    }
    throw new RuleBroken('liveness: messages go back and forth for ever');
  }

  /** Undefined if there is nothing to do. */
  #settleOne(world: Numbers): string | undefined {
    if (world.length > this.#messagesAt) {
      const id = world[this.#messagesAt] as number;
      this.#takeFromLink(world, this.#messagesAt);
      return this.#deliver(world, id) ?? FINE;
    }
    for (let node = 1; node <= this.scenario.nodes; node++) {
      const { writing, applying } = this.host(world, node);
      if (writing.length > 0) return this.#happened(world, node, this.#finishWrite(world, node)) ?? FINE;
      if (applying) return this.#happened(world, node, this.#finishApply(world, node)) ?? FINE;
    }
    return undefined;
  }

  /**
   * Whether this world can still come to good: with all nodes up and heard, each impatient in its turn, one leads and
   * commits. Returns what keeps it from that.
   */
  stuck(from: Numbers): string | undefined {
    this.#beCalm(true);
    try {
      let world = this.settled(from);
      for (let turn = 0; turn < 4 * this.scenario.nodes; turn++) {
        for (let node = 1; node <= this.scenario.nodes; node++) {
          if (this.host(world, node).core.role !== 'leader') continue;
          world = this.settled(this.#calmly(world, node, 'propose'));
          const { lastIndex } = this.host(world, node).core;
          for (const _ of [1, 2, 3]) world = this.settled(this.#calmly(world, node, 'beat'));
          const { role, commitIndex, configuration } = this.host(world, node).core;
          if (role === 'leader' && commitIndex >= lastIndex && isVoter(configuration, node)) return undefined;
        }
        world = this.settled(this.#calmly(world, (turn % this.scenario.nodes) + 1, 'timeout'));
      }
      return `liveness: nobody can lead any more, even if all goes well from here on:\n${this.show(world).join('\n')}`;
    } catch (error) {
      if (error instanceof RuleBroken) return `if all goes well from here on: ${error.message}`;
      throw error;
    } finally {
      this.#beCalm(false);
    }
  }

  /** The world after that event; as it is, if it cannot happen. Throws `RuleBroken`. */
  #calmly(world: Numbers, node: number, kind: EventKind): Numbers {
    let found = world;
    this.#ofNode(world, node, (event, next, broken) => {
      if (event.kind !== kind) return;
      if (broken) throw new RuleBroken(broken);
      found = next;
    });
    return found;
  }

  #beCalm(isCalm: boolean): void {
    this.#isCalm = isCalm;
    this.#machine.isPrompt = isCalm;
  }

  host(world: Numbers, node: number): Host {
    return this.space.host(world[node - 1] as number);
  }

  successors(world: Numbers, visit: Visit): void {
    this.#deliveries(world, visit);
    for (let node = 1; node <= this.scenario.nodes; node++) this.#ofNode(world, node, visit);
    if (this.scenario.clock === 'shared' || this.#isCalm) this.#pass(world, visit);
  }

  #ofNode(world: Numbers, node: number, visit: Visit): void {
    const host = this.host(world, node);
    const machine = this.#machine;
    const attempt = (
      kind: EventKind,
      detail: number,
      budget: Budget | undefined,
      run: (host: Host) => Step,
    ) => {
      const next = this.#spent(world, budget);
      if (!next) return;
      const outcome = this.#outcome(world, node, `${kind} ${detail}`, run);
      if (outcome.isRefused) return;
      const broken = this.#happened(next, node, outcome);
      visit({ kind, node, detail }, next, broken);
    };
    if (host.writing.length > 0)
      attempt('persist', 0, undefined, (own) => ({ turn: machine.finishWrite(own) }));
    if (host.applying) attempt('apply', 0, undefined, (own) => ({ turn: machine.finishApply(own) }));
    if (this.#isRestartable(node)) {
      attempt('crash', 0, 'restarts', (own) => ({ turn: machine.restart(own), hasRestarted: true }));
    }
    if ((this.scenario.clock === 'free' || this.#isCalm) && this.#isImpatient(node)) {
      this.#timeOut(world, node, visit);
    }
    if (host.core.role === 'leader') this.#ofLeader(world, node, attempt);
    const { readers = [] } = this.scenario;
    for (const [at, reader] of readers.entries()) {
      if (reader.node !== node) continue;
      attempt('read', at, 'reads', (own) => {
        const id = own.nextRead++;
        return { ...machine.step(own, { type: 'read', id, method: reader.method }), asked: id };
      });
    }
  }

  #ofLeader(
    world: Numbers,
    node: number,
    attempt: (kind: EventKind, detail: number, budget: Budget, run: (host: Host) => Step) => void,
  ): void {
    const machine = this.#machine;
    const { clock, changes = [], transfersTo = [] } = this.scenario;
    const proposal = this.#proposal(world);
    if (clock === 'free' || this.#isCalm) attempt('beat', 0, 'beats', (own) => ({ turn: machine.beat(own) }));
    attempt('propose', proposal, 'proposals', (own) => {
      const body = Buffer.from(this.#isCalm ? `begin${own.core.lastIndex}` : `${NAMES[proposal]}`);
      return machine.step(own, { type: 'propose', bodies: [body] });
    });
    for (const [at, change] of changes.entries()) {
      attempt('change', at, 'changes', (own) => machine.step(own, { type: 'changeConfiguration', change }));
    }
    for (const to of transfersTo) {
      if (to === node) continue;
      const order: Input = to === WHOEVER_IS_BEST ? { type: 'transfer' } : { type: 'transfer', to };
      attempt('transfer', to, 'transfers', (own) => machine.step(own, order));
    }
  }

  #deliveries(world: Numbers, visit: Visit): void {
    for (let at = this.#messagesAt; at < world.length; at++) {
      const id = world[at] as number;
      const next = world.slice();
      if (this.scenario.reorders) next.splice(at, 1);
      else this.#takeFromLink(next, at);
      const shared = next.slice();
      const broken = this.#deliver(next, id);
      visit({ kind: 'deliver', node: this.space.envelope(id).to, detail: id }, next, broken);
      if (this.scenario.sharedTurns) this.#deliverWithProposal(shared, id, visit);
    }
  }

  #deliverWithProposal(world: Numbers, id: number, visit: Visit): void {
    const { from, to, message } = this.space.envelope(id);
    const next = this.#spent(world, 'proposals');
    if (message.type !== 'appendReply' || !next) return;
    const proposal = this.#proposal(world);
    const outcome = this.#outcome(next, to, `deliver ${id} and propose ${proposal}`, (host) => {
      host.core.step(host.nowMs, { type: 'message', from, message });
      return this.#machine.step(host, { type: 'propose', bodies: [Buffer.from(NAMES[proposal] as string)] });
    });
    if (outcome.isRefused) return;
    const broken = this.#happened(next, to, outcome);
    visit({ kind: 'deliverAndPropose', node: to, detail: id }, next, broken);
  }

  /** Every proposal of a path is another one. */
  #proposal(world: Numbers): number {
    return (this.scenario.budgets.proposals ?? 0) - this.#left(world, 'proposals');
  }

  /** Whatever was sent before it on the same link is lost. */
  #takeFromLink(world: Numbers, at: number): void {
    const link = this.space.linkOf(world[at] as number);
    let first = at;
    while (first > this.#messagesAt && this.space.linkOf(world[first - 1] as number) === link) first--;
    world.splice(first, at - first + 1);
  }

  /** A pre-vote changes nothing at who is asked, so question and answer are one event. */
  #deliver(world: Numbers, envelope: number): string | undefined {
    const { from, to, message } = this.space.envelope(envelope);
    const outcome = this.#received(world, to, from, envelope, message);
    if (!isPreVote(message)) return this.#happened(world, to, outcome);
    const answers = outcome.sent.filter((id) => isPreVoteReply(this.space.envelope(id).message));
    let broken = this.#happened(world, to, {
      ...outcome,
      sent: outcome.sent.filter((id) => !answers.includes(id)),
    });
    for (const answer of answers) {
      if (!this.#isCut(this.space.linkOf(answer))) broken ??= this.#deliver(world, answer);
    }
    return broken;
  }

  #received(world: Numbers, to: number, from: number, envelope: number, message: Message): Outcome {
    return this.#outcome(world, to, `deliver ${envelope}`, (host) => {
      const mustWait = message.type === 'requestVote' || message.type === 'timeoutNow';
      const isFree = this.scenario.clock === 'free' || this.#isCalm;
      if (isFree && mustWait && host.core.role !== 'leader') this.#machine.wait(host);
      return this.#machine.step(host, { type: 'message', from, message });
    });
  }

  #finishWrite(world: Numbers, node: number): Outcome {
    return this.#outcome(world, node, 'persist', (host) => ({ turn: this.#machine.finishWrite(host) }));
  }

  #finishApply(world: Numbers, node: number): Outcome {
    return this.#outcome(world, node, 'apply', (host) => ({ turn: this.#machine.finishApply(host) }));
  }

  /** It asks for pre-votes; one other node hears it and is heard, or all do. */
  #timeOut(world: Numbers, node: number, visit: Visit): void {
    const spent = this.#spent(world, 'timeouts');
    if (!spent) return;
    const outcome = this.#outcome(world, node, 'timeout', (own) => ({ turn: this.#machine.timeOut(own) }));
    const asked = outcome.sent.filter((id) => isPreVote(this.space.envelope(id).message));
    const rest = { ...outcome, sent: outcome.sent.filter((id) => !asked.includes(id)) };
    const variants = asked.length === 0 ? [EVERYBODY] : asked.map((id) => this.space.envelope(id).to);
    if (asked.length > 1) variants.push(EVERYBODY);
    for (const heardBy of variants) {
      const next = spent.slice();
      let broken = this.#happened(next, node, rest);
      for (const id of asked) {
        if (this.#isCut(this.space.linkOf(id))) continue;
        if (heardBy === EVERYBODY || this.space.envelope(id).to === heardBy)
          broken ??= this.#deliver(next, id);
      }
      visit({ kind: 'timeout', node, detail: heardBy }, next, broken);
    }
  }

  #pass(world: Numbers, visit: Visit): void {
    const next = this.#spent(world, 'passes');
    if (!next) return;
    let broken: string | undefined;
    for (let node = 1; node <= this.scenario.nodes; node++) {
      const outcome = this.#outcome(next, node, 'pass', (own) => ({ turn: this.#machine.beat(own) }));
      broken ??= this.#happened(next, node, outcome);
    }
    visit({ kind: 'pass', node: 0, detail: 0 }, next, broken);
  }

  #outcome(world: Numbers, node: number, input: string, run: (host: Host) => Step): Outcome {
    return this.space.outcome(world[node - 1] as number, this.#isCalm ? `calmly ${input}` : input, run);
  }

  #left(world: Numbers, budget: Budget): number {
    return world[this.scenario.nodes + 1 + BUDGETS.indexOf(budget)] as number;
  }

  #spent(world: Numbers, budget: Budget | undefined): Numbers | undefined {
    if (budget === undefined || this.#isCalm) return world.slice();
    const at = this.scenario.nodes + 1 + BUDGETS.indexOf(budget);
    if (world[at] === 0) return undefined;
    const next = world.slice();
    next[at] = (world[at] as number) - 1;
    return next;
  }

  /** Changes the world; returns the rule that is broken. */
  #happened(world: Numbers, node: number, outcome: Outcome): string | undefined {
    if (outcome.broken !== undefined) return outcome.broken;
    const { nodes } = this.scenario;
    world[node - 1] = outcome.next;
    for (const id of outcome.sent) this.#send(world, id);
    const ghost = this.space.learnt(world[nodes] as number, outcome);
    if (typeof ghost === 'string') return ghost;
    world[nodes] = ghost;
    for (let other = 1; other <= nodes; other++) {
      if (other === node) continue;
      const broken =
        this.space.mismatch(outcome.next, world[other - 1] as number) ??
        (outcome.facts?.committed && incomplete(outcome.facts, this.host(world, other)));
      if (broken) return broken;
    }
    return undefined;
  }

  #send(world: Numbers, id: number): void {
    const link = this.space.linkOf(id);
    if (this.#isCut(link)) return;
    let first = this.#messagesAt;
    while (first < world.length && this.space.linkOf(world[first] as number) < link) first++;
    let end = first;
    while (end < world.length && this.space.linkOf(world[end] as number) === link) end++;
    if (this.scenario.reorders ? world.slice(first, end).includes(id) : world[end - 1] === id) return;
    world.splice(end, 0, id);
    if (end - first >= (this.scenario.maxOnLink ?? 3)) world.splice(first, 1);
  }

  #isCut(link: number): boolean {
    const [from, to] = [link >> 4, link & 15];
    if (to > this.scenario.nodes) return true;
    return !this.#isCalm && (this.scenario.cut?.includes(`${from}>${to}`) ?? false);
  }

  /** Whether that host can never again do anything with it. */
  #isDead(world: Numbers, id: number): boolean {
    const { to, from, message } = this.space.envelope(id);
    if (message.term >= this.host(world, to).hardState.term) return false;
    const outcome = this.#received(world, to, from, id, message);
    return outcome.next === world[to - 1] && outcome.sent.length === 0 && !outcome.facts && !outcome.broken;
  }

  /** Takes away the messages that nothing depends on. */
  tidied(world: Numbers): Numbers {
    if (!this.messages(world).some((id) => this.#isDead(world, id))) return world;
    return world.filter((id, at) => at < this.#messagesAt || !this.#isDead(world, id));
  }

  /** The same world with its nodes renamed; by 0 it is as it was. */
  renamed(world: Numbers, by: number): Numbers {
    const { nodes } = this.scenario;
    if (by === 0) return world;
    const renaming = this.space.renamings[by] as readonly number[];
    const other = world.slice(0, this.#messagesAt);
    for (let node = 1; node <= nodes; node++) {
      other[(renaming[node] as number) - 1] = this.space.renamedHost(world[node - 1] as number, by);
    }
    other[nodes] = this.space.renamedGhost(world[nodes] as number, by);
    const messages = world.slice(this.#messagesAt).map((id) => this.space.renamedEnvelope(id, by));
    messages.sort((a, b) => this.space.linkOf(a) - this.space.linkOf(b));
    return other.concat(messages);
  }

  // For people

  describe({ kind, node, detail }: Event): string {
    const { changes = [], readers = [] } = this.scenario;
    switch (kind) {
      case 'deliver': {
        const { from, to, message } = this.space.envelope(detail);
        return `deliver ${from}>${to} ${describeMessage(message)}`;
      }
      case 'deliverAndPropose':
        return `${this.describe({ kind: 'deliver', node, detail })}, and in the same turn propose ${node}`;
      case 'timeout':
        return `timeout ${node}, heard by ${detail === EVERYBODY ? 'everybody' : detail}`;
      case 'change':
        return `change ${detail} at ${node}: ${JSON.stringify(changes[detail])}`;
      case 'transfer':
        return `transfer ${node} to ${detail === WHOEVER_IS_BEST ? 'whoever is best' : detail}`;
      case 'read':
        return `read ${node} ${readers[detail]?.method}`;
      case 'pass':
        return 'pass';
      default:
        return `${kind} ${node}`;
    }
  }

  show(world: Numbers): string[] {
    return Array.from({ length: this.scenario.nodes }, (_, at) => showHost(this.host(world, at + 1)));
  }

  messages(world: Numbers): readonly number[] {
    return world.slice(this.#messagesAt);
  }
}

function isPreVote(message: Message): boolean {
  return message.type === 'requestVote' && message.preVote;
}

function isPreVoteReply(message: Message): boolean {
  return message.type === 'voteReply' && message.preVote;
}
