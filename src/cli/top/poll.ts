/**
 * What the nodes of a cluster tell, again and again. Every node is asked by itself, one question at a time, so that one
 * that is down holds up nothing; the nodes themselves are learned from the answers.
 */
import type { NodeLoad, NodeStatus, RaftreeClient } from '../../client/client.js';
import type { Clock } from '../../env/env.js';
import { nodesSeen, type SeenNode } from '../cluster-view.js';

/** How long a node may take for an answer. */
export const ANSWER_TIMEOUT_MS = 900;
/** Of answers whose times are kept. */
export const MAX_TIMES = 60;

export interface Answer {
  /** When it came. */
  readonly atMs: number;
  readonly status: NodeStatus;
  readonly load: NodeLoad;
}

export interface PolledNode {
  readonly seen: SeenNode;
  /** Undefined: it did not answer. */
  readonly last: Answer | undefined;
  /** The one before, of the same process. */
  readonly before: Answer | undefined;
  /** How long the last answers took, in ms. */
  readonly timesMs: readonly number[];
}

interface Polled {
  address: string;
  last: Answer | undefined;
  before: Answer | undefined;
  impostor: number | undefined;
  readonly timesMs: number[];
}

export class Poll {
  readonly #client: Pick<RaftreeClient, 'status' | 'load'>;
  readonly #endpoints: readonly string[];
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #nodes = new Map<number, Polled>();

  constructor(
    client: Pick<RaftreeClient, 'status' | 'load'>,
    endpoints: readonly string[],
    clock: Pick<Clock, 'nowMs'>,
  ) {
    this.#client = client;
    this.#endpoints = endpoints;
    this.#clock = clock;
  }

  /** Asks all nodes once. Rejects only if none is known yet, and none answers. */
  async round(): Promise<readonly PolledNode[]> {
    if (this.#nodes.size === 0) await this.#begin();
    await Promise.all([...this.#nodes].map(([id, node]) => this.#ask(id, node)));
    const asked = [...this.#nodes].map(([nodeId, { last, impostor }]) => ({
      ...{ nodeId, status: last?.status, impostor },
    }));
    const seen = nodesSeen(asked);
    for (const { status } of seen) if (status) this.#learn(status);
    const isLed = seen.some(({ status }) => status?.role === 'leader');
    return seen.flatMap((node) => {
      const { address, last, before, timesMs } = this.#nodes.get(node.nodeId) as Polled;
      if (isLed && !last && node.membership === '-') {
        this.#nodes.delete(node.nodeId);
        return [];
      }
      const clientAddress = node.clientAddress || address;
      return { seen: { ...node, clientAddress }, last, before, timesMs };
    });
  }

  async #begin(): Promise<void> {
    this.#learn(await this.#client.status());
    // A node does not know at which address it is reached.
    await Promise.allSettled(
      this.#endpoints.map(async (endpoint) => {
        const { nodeId } = await this.#client.status(endpoint, { timeoutMs: ANSWER_TIMEOUT_MS });
        if (!this.#nodes.has(nodeId)) this.#add(nodeId, endpoint);
      }),
    );
  }

  async #ask(id: number, node: Polled): Promise<void> {
    const startMs = this.#clock.nowMs();
    const options = { timeoutMs: ANSWER_TIMEOUT_MS };
    try {
      const status = await this.#client.status(node.address, options);
      const atMs = this.#clock.nowMs();
      const load = await this.#client.load(node.address, options);
      node.impostor = status.nodeId === id ? undefined : status.nodeId;
      if (node.impostor !== undefined) throw new Error('another node');
      // Counts of a new process begin anew.
      const isSame = node.last !== undefined && load.processorMs >= node.last.load.processorMs;
      node.before = isSame ? node.last : undefined;
      node.last = { atMs, status, load };
      node.timesMs.push(atMs - startMs);
      if (node.timesMs.length > MAX_TIMES) node.timesMs.shift();
    } catch {
      // Its silence is what is shown.
      node.last = undefined;
      node.before = undefined;
    }
  }

  /** Nodes that this one names, and itself. */
  #learn(status: NodeStatus): void {
    const own = status.leaderId === status.nodeId ? status.leaderAddress : '';
    const named = status.peers.map(({ nodeId, clientAddress }) => [nodeId, clientAddress] as const);
    for (const [id, address] of [...named, [status.nodeId, own] as const]) {
      if (address === '') continue;
      const known = this.#nodes.get(id);
      if (known) known.address = address;
      else this.#add(id, address);
    }
  }

  #add(id: number, address: string): void {
    const nothing = { last: undefined, before: undefined, impostor: undefined };
    this.#nodes.set(id, { address, ...nothing, timesMs: [] });
  }
}
