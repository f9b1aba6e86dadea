/** The nodes of a script and the messages between them, which wait until a command delivers or drops them. */
import type { Configuration } from '../../../src/raft/configuration.js';
import type { NodeId } from '../../../src/raft/types.js';
import { type MakeCore, ScriptNode, type ScriptNodeOptions } from './script-node.js';
import { type InTransit, nameOf } from './transit.js';

export class ScriptGroup {
  readonly #makeCore: MakeCore | undefined;
  readonly #nodes = new Map<NodeId, ScriptNode>();
  #transit: InTransit[] = [];
  /** `from>to` of messages that were dropped, until the one who lacks them is told. */
  readonly #lost = new Set<string>();

  constructor(makeCore?: MakeCore) {
    this.#makeCore = makeCore;
  }

  get nodes(): ScriptNode[] {
    return [...this.#nodes.values()];
  }

  node(id: NodeId): ScriptNode {
    const node = this.#nodes.get(id);
    if (!node) throw new Error(`there is no node ${id}`);
    return node;
  }

  /** The next free id. Without a base: a node that belongs to no group yet. */
  add(options: ScriptNodeOptions, base: { index: number; configuration: Configuration } | undefined): void {
    const id = this.#nodes.size + 1;
    this.#nodes.set(id, new ScriptNode(id, base && { ...base, term: 1 }, options, this.#makeCore));
  }

  send(messages: readonly InTransit[]): void {
    this.#transit.push(...messages);
  }

  /** Of a type that etcd names, or of any. */
  deliver(to: NodeId, type?: string): void {
    for (const { from, message } of this.#takeFor(to, type)) {
      const node = this.node(to);
      node.receive(from, message);
      // The host knows what it has lost on the way, and says so as soon as the other one is seen to be there.
      if (message.type === 'heartbeatReply' && node.raft.role === 'leader' && this.#forgive(to, from)) {
        node.step({ type: 'unreachable', node: from });
        this.node(from).isRecovering = true;
      }
    }
  }

  drop(to: NodeId, type?: string): void {
    for (const { from } of this.#takeFor(to, type)) this.#lost.add(`${from}>${to}`);
  }

  /** Lets the nodes work and talk until none of them has anything left to do. */
  stabilize(nodes: readonly ScriptNode[]): void {
    let isDone = false;
    while (!isDone) {
      isDone = true;
      for (const node of nodes) {
        if (!node.hasReady) continue;
        this.send(node.processReady());
        isDone = false;
      }
      for (const node of nodes) {
        if (!this.#transit.some(({ to }) => to === node.id)) continue;
        this.deliver(node.id);
        isDone = false;
      }
      for (const node of nodes) {
        while (node.appendWork.length > 0) {
          this.send(node.processAppend());
          isDone = false;
        }
      }
      for (const node of nodes) {
        while (node.applyWork.length > 0) {
          node.processApply();
          isDone = false;
        }
      }
    }
  }

  #takeFor(id: NodeId, type: string | undefined): InTransit[] {
    const taken = this.#transit.filter(
      (item) => item.to === id && (type === undefined || nameOf(item) === type),
    );
    this.#transit = this.#transit.filter((item) => !taken.includes(item));
    return taken;
  }

  /** Whether anything was lost between the two. */
  #forgive(a: NodeId, b: NodeId): boolean {
    const there = this.#lost.delete(`${a}>${b}`);
    const back = this.#lost.delete(`${b}>${a}`);
    return there || back;
  }
}
