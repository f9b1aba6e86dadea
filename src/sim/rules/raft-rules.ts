/**
 * What must hold between the nodes of a group (Raft, figure 3): election safety, log matching, leader completeness. And
 * no node may acknowledge or vote before that is durable on its disk. `Reference` checks state machine safety; the core
 * checks each node's own state after every step.
 */
import type { Raft } from '../../raft/raft.js';
import type { AppendBatch, Input, Output, Role } from '../../raft/types.js';
import { crc32 } from '../../record/checksum.js';
import type { Coverage } from './coverage.js';
import type { Fail } from './fail.js';
import type { Reference } from './reference.js';

interface KnownEntry {
  readonly checksum: number;
  /** Term of the entry before it; undefined if not known. */
  readonly previousTerm: number | undefined;
}

/** What one process holds, as far as it was seen. */
interface Log {
  /** In the order of indexes, without a gap. */
  readonly terms: Map<number, number>;
  newest: number;
  role: Role;
  /** What its disk has made durable. */
  readonly disk: Disk;
  /** Lease reads that the core was just asked for. */
  leaseReads: number[];
}

interface Disk {
  term: number;
  vote: number;
  lastIndex: number;
  /** Batches that are not durable yet, in order. */
  readonly batches: AppendBatch[];
}

export class RaftRules {
  readonly #fail: Fail;
  readonly #coverage: Coverage;
  readonly #reference: Reference;
  readonly #onElected: (who: string) => void;
  readonly #leaders = new Map<number, string>();
  /** By `index:term`. */
  readonly #entries = new Map<string, KnownEntry>();
  readonly #logs = new WeakMap<Raft, Log>();
  #lastLeader = '';

  constructor(fail: Fail, coverage: Coverage, reference: Reference, onElected: (who: string) => void) {
    this.#fail = fail;
    this.#coverage = coverage;
    this.#reference = reference;
    this.#onElected = onElected;
  }

  input(raft: Raft, input: Input): void {
    // Before its first input a core has nothing but what its disk holds.
    const log = this.#logOf(raft);
    if (input.type === 'compacted') this.#coverage.count('log cuts');
    if (input.type === 'persisted') persisted(log.disk, input.batch);
    if (input.type === 'read' && raft.role === 'leader' && input.method === 'lease')
      log.leaseReads.push(input.id);
  }

  output(who: string, raft: Raft, output: Output): void {
    const log = this.#logOf(raft);
    for (const id of log.leaseReads.splice(0)) {
      const atOnce = output.reads.some((read) => read.id === id);
      this.#coverage.count(atOnce ? 'lease reads' : 'lease reads without a lease');
    }
    const { snapshot } = output.append ?? {};
    if (snapshot) {
      this.#coverage.count('snapshots installed');
      log.terms.clear();
      log.newest = snapshot.index;
    }
    if (output.configuration && output.configuration.outgoing.length > 0)
      this.#coverage.count('joint configurations');
    if (output.configuration && output.configuration.learners.length > 0) this.#coverage.count('learners');
    if (output.append) log.disk.batches.push(output.append);
    this.#speaksForDisk(who, log.disk, output);
    if (output.append && output.append.entries.length > 0) this.#appended(who, log, output.append);
    if (output.status) this.#statusChanged(who, raft, log, output.status.role);
  }

  #logOf(raft: Raft): Log {
    let log = this.#logs.get(raft);
    if (!log) {
      const { term, vote, lastIndex } = raft;
      const disk = { term, vote, lastIndex, batches: [] };
      log = { terms: new Map(), newest: 0, role: 'follower', leaseReads: [], disk };
      this.#logs.set(raft, log);
    }
    return log;
  }

  /** No message may leave, and no entry may be applied, before what it relies on is durable here. */
  #speaksForDisk(who: string, disk: Disk, { send, apply }: Output): void {
    const early = (what: string) => this.#fail('durable first', `${who} ${what}`);
    for (const { to, message } of send) {
      const { type, term } = message;
      const isPreVote = (type === 'voteReply' || type === 'requestVote') && message.preVote;
      if (!isPreVote && term > disk.term) early(`sends ${type} of term ${term}, which is not durable`);
      if (type === 'voteReply' && message.granted && !isPreVote && disk.vote !== to)
        early(`gives node ${to} a vote in term ${term} that is not durable`);
      if (type === 'appendReply' && message.accepted && message.matchIndex > disk.lastIndex)
        early(`acknowledges ${message.matchIndex}, but ${disk.lastIndex} entries are durable`);
    }
    if (apply && apply.last > disk.lastIndex)
      early(`applies ${apply.last}, but ${disk.lastIndex} entries are durable`);
  }

  #appended(who: string, log: Log, { first, entries }: NonNullable<Output['append']>): void {
    if (first <= log.newest) this.#coverage.count('conflicts truncated');
    for (let index = first; index <= log.newest; index++) log.terms.delete(index);
    if (first > log.newest + 1) log.terms.clear();
    entries.forEach((entry, i) => {
      const index = first + i;
      const checksum = crc32(entry.body);
      const previousTerm = log.terms.get(index - 1);
      log.terms.set(index, entry.term);
      log.newest = index;
      const [oldest] = log.terms.keys();
      if (oldest !== undefined && log.terms.size > KEPT_TERMS) log.terms.delete(oldest);
      const id = `${index}:${entry.term}`;
      const known = this.#entries.get(id);
      if (!known) {
        this.#entries.set(id, { checksum, previousTerm });
        return;
      }
      if (known.checksum !== checksum)
        this.#fail('log matching', `two entries of term ${entry.term} at index ${index}, one at ${who}`);
      if (known.previousTerm === undefined) this.#entries.set(id, { checksum, previousTerm });
      else if (previousTerm !== undefined && previousTerm !== known.previousTerm)
        this.#fail(
          'log matching',
          `before entry ${index} of term ${entry.term}, ${who} holds one of term ${previousTerm}, others one of ${known.previousTerm}`,
        );
    });
  }

  #statusChanged(who: string, raft: Raft, log: Log, role: Role): void {
    if (role === 'candidate' && log.role !== 'candidate') this.#coverage.count('elections');
    if (log.role === 'candidate' && role !== 'leader' && role !== 'candidate')
      this.#coverage.count('elections that failed');
    if (role === 'leader' && log.role !== 'leader') this.#elected(who, raft, log);
    log.role = role;
  }

  #elected(who: string, raft: Raft, log: Log): void {
    const other = this.#leaders.get(raft.term);
    if (other !== undefined && other !== who)
      this.#fail('election safety', `${other} and ${who} both lead term ${raft.term}`);
    this.#leaders.set(raft.term, who);
    if (this.#lastLeader !== who) this.#coverage.count('leader changes');
    this.#lastLeader = who;
    this.#onElected(who);
    // A paused candidate may find its votes after others have led later terms. It need not hold their entries.
    if (Math.max(...this.#leaders.keys()) > raft.term) {
      this.#coverage.count('elections of an old term');
      return;
    }
    const { lastIndex } = this.#reference;
    if (raft.lastIndex < lastIndex)
      this.#fail(
        'leader completeness',
        `${who} leads term ${raft.term} with ${raft.lastIndex} entries, but ${lastIndex} are committed`,
      );
    for (const [index, term] of log.terms) {
      const committed = this.#reference.termAt(index);
      if (committed !== undefined && committed !== term)
        this.#fail(
          'leader completeness',
          `${who} leads term ${raft.term} with an entry of term ${term} at index ${index}, where one of term ${committed} is committed`,
        );
    }
  }
}

/** Batches become durable in order. A later one replaces all entries from its first on. */
function persisted(disk: Disk, number: number): void {
  for (let batch = disk.batches[0]; batch && batch.batch <= number; batch = disk.batches[0]) {
    disk.batches.shift();
    const { hardState, first, entries, snapshot } = batch;
    Object.assign(disk, { term: hardState.term, vote: hardState.vote });
    if (snapshot) disk.lastIndex = snapshot.index;
    if (entries.length > 0) disk.lastIndex = first + entries.length - 1;
  }
}

/** So many of the newest entries of a log are kept. Older ones were compared before. */
const KEPT_TERMS = 512;
