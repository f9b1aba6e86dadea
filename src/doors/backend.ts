/**
 * What requests over HTTP and RESP are carried out by: this node, where it can answer, else the client library inside
 * it, which speaks the binary protocol with the node that leads. That protocol passes nothing on, so no request can go
 * in circles.
 *
 *     read at level stale or follower      this node
 *     any other read, a write              this node if it leads, else passed on
 *
 * A write here is proposed once, without a session: nobody repeats it. One that is passed on goes through the session
 * of the client library, which may repeat it: it is applied once.
 */
import type { RaftreeClient } from '../client/client.js';
import { RaftreeClientError } from '../client/client-error.js';
import { Lane } from '../client/key-order.js';
import { type MemberChange, type MembersChanged, toMemberChange } from '../client/member-changes.js';
import { type BatchOperation, toOperation } from '../client/operations.js';
import { type BatchResult, batchResult, withinLimits } from '../client/results.js';
import { isEmptyRange, rangeAfter, type ScanRange } from '../client/scan-range.js';
import type { Outcome } from '../env/errors.js';
import type { Caller, Consistency, LivingKey, PageEntry, WriteOperation } from '../kv/requests.js';
import type { KvService } from '../kv/service.js';
import type { WriteResult } from '../kv/sessions.js';
import type { Administration } from './ports.js';

export interface BackendParts {
  /** Undefined before the birth of the cluster. */
  readonly service: () => { readonly kv: KvService; readonly admin: Administration } | undefined;
  readonly leads: () => boolean;
  /** If this node was removed from its cluster: the message that says so. */
  readonly removed: () => string | undefined;
  /** Connects to the members of the cluster, this node among them. */
  readonly cluster: RaftreeClient;
}

export interface EntriesWanted {
  readonly range: ScanRange;
  readonly limit: number;
  readonly reverse: boolean;
  readonly keysOnly: boolean;
  readonly level: Consistency;
}

/** The writes of one connection, which take effect in the order in which they came. */
export class WriteLine {
  readonly lane = new Lane();
  /** Writes that were passed on and are not answered. */
  passing = 0;
}

type Kind = 'read' | 'write' | 'administration';

/** The methods throw a RaftreeClientError: with the code and outcome of whoever refused. */
export class Backend {
  /** Requests passed on to the node that leads. */
  readonly passedOn: Record<Kind, number> = { read: 0, write: 0, administration: 0 };
  readonly #parts: BackendParts;
  /** Scans that are being answered: the more there are, the smaller their pages. */
  #scans = 0;

  constructor(parts: BackendParts) {
    this.#parts = parts;
  }

  async write(caller: Caller, operations: readonly BatchOperation[]): Promise<BatchResult> {
    const result = await this.operate(caller, operations.map(toOperation));
    return batchResult(withinLimits(result), operations);
  }

  /**
   * A write in the form of kv/, after all writes of the line before it. While one of them is passed on, later ones are
   * passed on too, so that none overtakes it.
   */
  async operate(
    caller: Caller,
    operations: readonly WriteOperation[],
    line: WriteLine = new WriteLine(),
  ): Promise<WriteResult> {
    const { kv } = this.#service();
    if (this.#parts.leads() && line.passing === 0) {
      const result = await kv.write(caller, { type: 'write', session: undefined, operations });
      if (result.type === 'written') return result.write;
      if (!leadsNoMore(result.code)) throw failure(result);
    }
    this.passedOn.write++;
    line.passing++;
    try {
      const outbound = operations.map((each) => ({ ...each, life: each.life }));
      return await this.#parts.cluster.write(outbound, {}, line.lane);
    } finally {
      line.passing--;
    }
  }

  async get(caller: Caller, key: Uint8Array, level: Consistency): Promise<LivingKey | undefined> {
    const { kv } = this.#service(level);
    if (this.#answersHere(level)) {
      const result = await kv.get(caller, { type: 'get', consistency: level, key });
      if (result.type === 'found') return result;
      if (result.type === 'absent') return undefined;
      if (!leadsNoMore(result.code) || isOfAnyNode(level)) throw failure(result);
    }
    this.passedOn.read++;
    return this.#parts.cluster.get(key, { level });
  }

  /** The entries of a range, in order, as they are asked for. */
  async *entries(caller: Caller, wanted: EntriesWanted): AsyncGenerator<PageEntry> {
    const { reverse, keysOnly, level } = wanted;
    let { range, limit } = wanted;
    this.#scans++;
    try {
      while (limit > 0 && !isEmptyRange(range)) {
        const { kv } = this.#service(level);
        if (!this.#answersHere(level)) break;
        const scan = { type: 'scan', consistency: level, ...range, limit, reverse, keysOnly } as const;
        const page = (await kv.prepareRead(caller, { ...scan, to: range.to ?? undefined }))(1 / this.#scans);
        if (page.type === 'error' && leadsNoMore(page.code) && !isOfAnyNode(level)) break;
        if (page.type !== 'page') throw failure(page as Parameters<typeof failure>[0]);
        yield* page.entries;
        limit -= page.entries.length;
        const last = page.coveredTo ?? page.entries.at(-1)?.key;
        if (!page.more || !last) return;
        range = rangeAfter(range, last, reverse);
      }
      if (limit <= 0 || isEmptyRange(range)) return;
      this.passedOn.read++;
      const { from, to } = range;
      yield* this.#parts.cluster.scan({ from, ...(to ? { to } : {}), limit, reverse, keysOnly, level });
    } finally {
      this.#scans--;
    }
  }

  /** The caller has the right to do this. */
  async changeMembers(change: MemberChange, force: boolean): Promise<MembersChanged> {
    const { admin } = this.#service();
    if (this.#parts.leads()) {
      const changes = [toMemberChange(change)];
      const result = await admin.handle({ type: 'changeMembers', force, changes });
      if (result.type === 'done') return result;
      if (!leadsNoMore(result.code)) throw failure(result);
    }
    this.passedOn.administration++;
    return this.#parts.cluster.changeMembers([change], { force });
  }

  /** The caller has the right to do this. */
  async transferLeadership(nodeId: number): Promise<void> {
    const { admin } = this.#service();
    if (this.#parts.leads()) {
      const result = await admin.handle({ type: 'transferLeader', tablet: 0, nodeId });
      if (result.type === 'done') return;
      if (!leadsNoMore(result.code)) throw failure(result);
    }
    this.passedOn.administration++;
    await this.#parts.cluster.transferLeadership(nodeId);
  }

  #answersHere(level: Consistency): boolean {
    return isOfAnyNode(level) || this.#parts.leads();
  }

  #service(level?: Consistency) {
    const removed = level === 'stale' ? undefined : this.#parts.removed();
    if (removed !== undefined) throw new RaftreeClientError('NODE_REMOVED', removed, 'notCommitted');
    const service = this.#parts.service();
    if (service) return service;
    const reason = 'this cluster has not begun: not all of its first members have met yet';
    throw new RaftreeClientError('NO_LEADER', reason, 'notCommitted');
  }
}

function isOfAnyNode(level: Consistency): boolean {
  return level === 'stale' || level === 'follower';
}

/** Nothing was done: another node is to be asked. */
function leadsNoMore(code: string): boolean {
  return code === 'NOT_LEADER' || code === 'NO_LEADER';
}

function failure({ code, message, outcome }: { code: string; message: string; outcome: Outcome }) {
  return new RaftreeClientError(code, message, outcome);
}
