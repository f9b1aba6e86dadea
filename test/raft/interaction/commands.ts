/** The commands of etcd's interaction scripts, carried out on a group of our cores. */
import { configurationOf, type NodeChange, type Transition } from '../../../src/raft/configuration.js';
import { NOBODY } from '../../../src/raft/types.js';
import type { ScriptCommand } from '../etcd-script.js';
import { Inapplicable } from './differences.js';
import { ELECTION_TICKS } from './node-clock.js';
import { printLog, printState, printStatus } from './printing.js';
import type { ScriptGroup } from './script-group.js';
import type { ScriptNode, ScriptNodeOptions } from './script-node.js';

/** What an inadmissible proposal is told. */
export const DROPPED = 'raft proposal dropped\n';

const TRANSITIONS: Record<string, Transition> = {
  auto: 'auto',
  implicit: 'joint',
  explicit: 'jointExplicit',
};

const CHANGES: Record<string, NodeChange['type']> = { v: 'addVoter', l: 'addLearner', r: 'remove' };

/** Of `add-nodes`. Reads are in no script, nor is the content of a snapshot looked at. */
const OPTIONS = new Set([
  'voters',
  'learners',
  'index',
  'content',
  'inflight',
  'async-storage-writes',
  'prevote',
  'checkquorum',
  'read-only',
  'max-committed-size-per-ready',
  'disable-conf-change-validation',
  'step-down-on-removal',
]);

export class Commands {
  readonly group: ScriptGroup;

  constructor(group: ScriptGroup) {
    this.group = group;
  }

  /** The text that the command prints, if it is one whose text can be compared. Throws `Inapplicable`. */
  run(script: ScriptCommand): string | undefined {
    const { command, words, args } = script;
    const ids = words.filter((word) => /^\d+$/.test(word)).map(Number);
    const nodes = () => ids.map((id) => this.group.node(id));
    const first = () => this.group.node(ids[0] ?? 0);
    switch (command) {
      case 'log-level':
        return undefined;
      case 'add-nodes':
        this.#addNodes(ids[0] ?? 0, args);
        return undefined;
      case 'campaign':
        first().letElectionDeadlinePass();
        return undefined;
      case 'propose':
        return first().propose(Buffer.from(words[1] ?? '')) ? '' : DROPPED;
      case 'propose-conf-change':
        return this.#proposeChange(first(), script);
      case 'stabilize':
        this.#stabilize(ids.length > 0 ? nodes() : this.group.nodes);
        return undefined;
      case 'process-ready':
        for (const node of nodes()) this.#processReady(node);
        return undefined;
      case 'process-append-thread':
        for (const node of nodes()) this.group.send(node.processAppend());
        return undefined;
      case 'process-apply-thread':
        for (const node of nodes()) if (node.applyWork.length > 0) node.processApply();
        return undefined;
      case 'deliver-msgs': {
        const type = args.get('type')?.[0];
        for (const id of ids) this.group.deliver(id, type);
        for (const id of args.get('drop') ?? []) this.group.drop(Number(id), type);
        return undefined;
      }
      case 'tick-heartbeat':
        first().tick();
        return undefined;
      case 'tick-election':
        for (let i = 0; i < ELECTION_TICKS; i++) first().tick();
        return undefined;
      case 'set-randomized-election-timeout':
        first().setElectionTimeout(Number(args.get('timeout')?.[0]));
        return undefined;
      case 'transfer-leadership': {
        const from = this.group.node(Number(args.get('from')?.[0]));
        from.step({ type: 'transfer', to: Number(args.get('to')?.[0]) });
        return undefined;
      }
      case 'report-unreachable':
        first().step({ type: 'unreachable', node: ids[1] ?? 0 });
        return undefined;
      case 'send-snapshot': {
        const message = first().makeSnapshot(ids[1] ?? 0);
        this.group.send([message]);
        return undefined;
      }
      case 'compact':
        first().compact(ids[1] ?? 0);
        return printLog(first());
      case 'forget-leader':
        this.#forgetLeader(first());
        return undefined;
      case 'raft-state':
        return this.group.nodes.map(printState).join('');
      case 'raft-log':
        return printLog(first());
      case 'status':
        return printStatus(first());
    }
    throw new Inapplicable('unknown');
  }

  #addNodes(count: number, args: ScriptCommand['args']): void {
    for (const name of args.keys()) {
      if (!OPTIONS.has(name) && !/^\d+$/.test(name)) throw new Inapplicable('unknown');
    }
    const text = (name: string) => args.get(name)?.[0];
    const list = (name: string) => (args.get(name) ?? []).map(Number);
    if (text('disable-conf-change-validation') === 'true') throw new Inapplicable('unvalidatedChanges');
    const limit = (name: string) => (args.has(name) ? Number(text(name)) : undefined);
    const options: ScriptNodeOptions = {
      preVote: text('prevote') === 'true',
      checkQuorum: text('checkquorum') === 'true',
      asynchronousStorage: text('async-storage-writes') === 'true',
      maxInflightMessages: limit('inflight') ?? Number.POSITIVE_INFINITY,
      readsByLease: text('read-only') === 'lease-based',
      stepsDownOnRemoval: text('step-down-on-removal') === 'true',
      maxApplyBytes: limit('max-committed-size-per-ready'),
    };
    const configuration = { ...configurationOf(list('voters')), learners: list('learners') };
    const base = args.has('index') ? { index: Number(text('index')), configuration } : undefined;
    for (let i = 0; i < count; i++) this.group.add(options, base);
  }

  #proposeChange(node: ScriptNode, { args, input }: ScriptCommand): string {
    const items = input.split(/\s+/).filter(Boolean);
    const changes = items.flatMap((item): NodeChange[] => {
      const type = CHANGES[item[0] ?? ''];
      return type ? [{ type, node: Number(item.slice(1)) }] : [];
    });
    if (changes.length === 0 && items.length > 0) throw new Inapplicable('detailOnly');
    const transition = TRANSITIONS[args.get('transition')?.[0] ?? 'auto'] ?? 'auto';
    return node.propose({ changes, transition }) ? '' : DROPPED;
  }

  #stabilize(nodes: readonly ScriptNode[]): void {
    this.group.stabilize(nodes);
    while (nodes.some((node) => node.retryChange())) this.group.stabilize(nodes);
  }

  #processReady(node: ScriptNode): void {
    this.group.send(node.processReady());
    // The turn that lets a waiting change in goes on with it: in etcd it was in the log already.
    if (!node.retryChange()) return;
    for (let i = 0; i < 2; i++) this.group.send(node.processReady());
  }

  #forgetLeader(node: ScriptNode): void {
    // With reads by lease it is refused there too.
    if (node.raft.role !== 'follower' || node.options.readsByLease) return;
    if (node.raft.leader === NOBODY || node.shouldHaveNoLeader) return;
    node.forgetLeader();
    throw new Inapplicable('forgetLeader');
  }
}
