/**
 * Requests of nodes to each other, over the connections between nodes: no client reaches them. There is one answer, or
 * none in time; then it is not known whether the other node has done it. So each kind of request may be repeated.
 */
import { z } from 'zod';
import type { Env, Timer } from '../env/env.js';
import { type Outcome, RaftreeError, refused } from '../env/errors.js';
import type { OutboundMessage } from '../protocol/messages.js';

const change = z.object({
  key: z.string(),
  expectedVersion: z.int().min(0),
  action: z.enum(['put', 'delete', 'check']),
  text: z.string(),
});

const id = z.int().min(1);
const placed = z.object({ replicaId: id, node: id });

const request = z.discriminatedUnion('type', [
  /** To the leader of meta. */
  z.object({ type: z.literal('metaUpdate'), changes: z.array(change).readonly() }),
  /** To the node of a replica that an intent names. */
  z.object({ type: z.literal('createReplica'), tablet: id, replicaId: id }),
  /** To the leader of a tablet: the next step to these members. */
  z.object({
    type: z.literal('changeReplicas'),
    tablet: id,
    add: placed.optional(),
    remove: placed.optional(),
    givesUp: z.boolean().optional(),
  }),
  /** To the leader of a tablet: to go on with the split that is recorded. */
  z.object({ type: z.literal('resumeSplit'), tablet: id }),
  /** To the leader of a tablet: the next step of a merge that is recorded (tablet-merges.ts). */
  z.object({
    type: z.literal('mergeStep'),
    tablet: id,
    attempt: id,
    step: z.enum(['freeze', 'merge', 'thaw']),
  }),
  /** To the node of a replica: by which entry it is frozen. */
  z.object({ type: z.literal('frozen'), tablet: id, replicaId: id, attempt: id }),
  /** To the node of a replica: how many bytes its keys take. */
  z.object({ type: z.literal('tabletBytes'), tablet: id }),
  /** To the leader of a tablet: up to which entry all members have it (`TabletSet.allMatchedOf`). */
  z.object({ type: z.literal('allMatched'), tablet: id }),
  /** To any node, of the leader of meta: what it holds (balance-report.ts). */
  z.object({ type: z.literal('report') }),
  /** To the leader of a tablet in this term. */
  z.object({ type: z.literal('transferLeader'), tablet: id, term: id, to: id }),
  /** To the leader of meta: what the balancer sees. */
  z.object({ type: z.literal('balance') }),
  /** To the leader of meta: a node that joins is to become a member. */
  z.object({ type: z.literal('join'), node: id, client: z.string(), peer: z.string() }),
  /** To a member of a cluster without a map: it is to take part in one (map-birth.ts). */
  z.object({ type: z.literal('promiseMap') }),
]);

export type NodeRequest = z.output<typeof request>;
/** What is asked of a node that has the map. */
export type MapRequest = Exclude<NodeRequest, { type: 'allMatched' }>;

const reply = z.object({
  /** What the request says it is answered with. */
  result: z.json().optional(),
  error: z
    .object({ code: z.string(), message: z.string(), outcome: z.enum(['notCommitted', 'unknown']) })
    .optional(),
});

export interface NodeCallsParts {
  readonly env: Pick<Env, 'timers'>;
  /** Sends the message, or drops it. */
  readonly send: (to: number, message: OutboundMessage) => void;
  /** Carries out a request of another node. Rejects with what that node is told. */
  readonly handle: (from: number, request: NodeRequest) => Promise<unknown>;
  /** A fault of this node, for its log. */
  readonly onFault: (error: unknown) => void;
  readonly timeoutMs: number;
}

interface PendingCall {
  readonly to: number;
  readonly timer: Timer;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: RaftreeError) => void;
}

export class NodeCalls {
  readonly #parts: NodeCallsParts;
  readonly #pending = new Map<number, PendingCall>();
  #nextId = 1;
  #isClosed = false;

  constructor(parts: NodeCallsParts) {
    this.#parts = parts;
  }

  /** Resolves with the result. Rejects with `MEMBER_UNREACHABLE` (unknown), or with the error of the other node. */
  call(to: number, body: NodeRequest): Promise<unknown> {
    if (this.#isClosed) return Promise.reject(unreachable(to, 'this node is closing'));
    const id = this.#nextId++;
    const { env, send, timeoutMs } = this.#parts;
    return new Promise((resolve, reject) => {
      const timer = env.timers.after(timeoutMs, () => {
        this.#pending.delete(id);
        reject(unreachable(to, `it did not answer within ${timeoutMs} ms`));
      });
      this.#pending.set(id, { to, timer, resolve, reject });
      send(to, { type: 'nodeRequest', id, body: JSON.stringify(body) });
    });
  }

  /** A request of another node. Never rejects. */
  async requested(from: number, id: number, body: string): Promise<void> {
    const { send, handle } = this.#parts;
    let said: z.input<typeof reply>;
    try {
      const read = request.safeParse(parsed(body));
      if (!read.success)
        throw refused('UNSUPPORTED', 'this node does not know the request: is it of another version?');
      const result = await handle(from, read.data);
      said = { result: result as z.core.util.JSONType };
    } catch (error) {
      if (!(error instanceof RaftreeError)) this.#parts.onFault(error);
      said = { error: shownError(error) };
    }
    if (!this.#isClosed) send(from, { type: 'nodeReply', id, body: JSON.stringify(said) });
  }

  /** An answer of another node. One that nobody waits for is passed over. */
  replied(from: number, id: number, body: string): void {
    const pending = this.#pending.get(id);
    if (pending?.to !== from) return;
    this.#pending.delete(id);
    pending.timer.cancel();
    const read = reply.safeParse(parsed(body));
    if (!read.success) pending.reject(unreachable(from, 'its answer cannot be read'));
    else if (read.data.error) {
      const { code, message, outcome } = read.data.error;
      pending.reject(new RaftreeError(code, message, { info: { outcome } }));
    } else pending.resolve(read.data.result);
  }

  close(): void {
    this.#isClosed = true;
    for (const { to, timer, reject } of this.#pending.values()) {
      timer.cancel();
      reject(unreachable(to, 'this node is closing'));
    }
    this.#pending.clear();
  }
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

/** A fault that is none of the errors with a code is not shown to others. */
function shownError(error: unknown): { code: string; message: string; outcome: Outcome } {
  if (!(error instanceof RaftreeError))
    return { code: 'INTERNAL', message: 'a fault in this node; its log says more', outcome: 'unknown' };
  const { code, message, info } = error;
  return { code, message, outcome: info.outcome === 'notCommitted' ? 'notCommitted' : 'unknown' };
}

/** What became of the request is unknown. */
export function unreachable(node: number, why: string): RaftreeError {
  return new RaftreeError('MEMBER_UNREACHABLE', `node ${node} cannot be asked: ${why}`, {
    info: { outcome: 'unknown' },
  });
}
