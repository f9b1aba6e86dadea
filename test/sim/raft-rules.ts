/**
 * What must hold between the nodes of a group, whatever each of them thinks (Raft, figure 3): election safety, log
 * matching, leader completeness. State machine safety is the reference's business; what one node can see of itself is
 * checked by the core after every step.
 */
import type { Raft } from '../../src/raft/raft.js';
import type { Input, Output, Role } from '../../src/raft/types.js';
import { crc32 } from '../../src/record/checksum.js';
import type { Coverage } from './coverage.js';
import type { Reference } from './reference.js';
import type { Fail } from './rules.js';

interface KnownEntry {
  readonly checksum: number;
  /** Term of the entry before it; undefined if nobody could tell. */
  readonly previousTerm: number | undefined;
}

/** What one process is known to hold. */
interface Log {
  /** In the order of indexes, without a gap. */
  readonly terms: Map<number, number>;
  newest: number;
  role: Role;
  /** Lease reads that the core was just asked for. */
  leaseReads: number[];
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
    if (input.type === 'compacted') this.#coverage.count('log cuts');
    if (input.type !== 'read' || raft.role !== 'leader') return;
    if (input.level === 'lease') this.#logOf(raft).leaseReads.push(input.id);
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
    if (output.append && output.append.entries.length > 0) this.#appended(who, log, output.append);
    if (output.status) this.#statusChanged(who, raft, log, output.status.role);
  }

  #logOf(raft: Raft): Log {
    let log = this.#logs.get(raft);
    if (!log) {
      log = { terms: new Map(), newest: 0, role: 'follower', leaseReads: [] };
      this.#logs.set(raft, log);
    }
    return log;
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
    // A candidate that was stopped may find its votes long after others have led later terms, of which it owes nothing.
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

/** Of a log, the newest entries are remembered: what is far behind was compared long ago. */
const KEPT_TERMS = 512;
