/**
 * The state of a replica, independent of its role: term and vote, the log and how much of it is durable, committed and
 * applied, the membership, and what is still to be written. A message that relies on something not yet durable waits
 * here for the batch that makes it durable.
 *
 * This class makes no decisions. Election, leadership and replication decide and change it.
 */
import { RaftreeError } from '../env/errors.js';
import type { Configuration } from './configuration.js';
import { decodeChange } from './configuration-codec.js';
import { LogView } from './log-view.js';
import { Membership } from './membership.js';
import { Outbox } from './outbox.js';
import { Stability } from './stability.js';
import {
  type AppendBatch,
  type Entry,
  entrySizeBytes,
  type NodeId,
  type OutgoingMessage,
  type RaftState,
  type SnapshotBase,
} from './types.js';

export class LocalState {
  readonly id: NodeId;
  readonly log: LogView;
  readonly stability: Stability;
  readonly membership: Membership;
  readonly outbox = new Outbox();
  /** Every member is known to store the log up to here. */
  allMatchedIndex: number;
  #term: number;
  #vote: NodeId;
  #commit: number;
  #applied: number;
  #applying: number;
  #hardStateChanged = false;
  /** Entries for the next batch, from `#unsavedFirst` on. */
  #unsaved: Entry[] = [];
  #unsavedFirst = 0;
  /** A snapshot for the next batch; it replaces the log. */
  #snapshot: SnapshotBase | undefined;

  /** Throws `CORRUPTION` if the log does not reach from the applied index to the known commit index. */
  constructor(id: NodeId, state: RaftState) {
    this.id = id;
    this.membership = new Membership(state.base.configuration);
    this.log = new LogView(state.base);
    for (const entry of state.entries) {
      this.log.append(entry.term, entry.sizeBytes);
      if (entry.change) this.membership.appended(this.log.lastIndex, entry.change);
    }
    this.membership.applied(state.applied);
    this.stability = new Stability(this.log.lastIndex);
    this.allMatchedIndex = state.base.index;
    this.#term = state.hardState.term;
    this.#vote = state.hardState.vote;
    this.#applied = state.applied;
    this.#applying = state.applied;
    this.#commit = Math.max(state.hardState.commit, state.applied);
    if (this.#commit > this.log.lastIndex || this.#applied < this.log.baseIndex) {
      throw new RaftreeError(
        'CORRUPTION',
        `the log holds entries ${this.log.baseIndex + 1} to ${this.log.lastIndex}, but the commit index is ${this.#commit} and the applied index ${this.#applied}`,
      );
    }
  }

  get term(): number {
    return this.#term;
  }

  get vote(): NodeId {
    return this.#vote;
  }

  get commit(): number {
    return this.#commit;
  }

  get applied(): number {
    return this.#applied;
  }

  /** The last entry that was handed to the state machine. */
  get applying(): number {
    return this.#applying;
  }

  /** The configuration in force: that of all applied entries. */
  get configuration(): Configuration {
    return this.membership.configuration;
  }

  /** Drops the messages that wait here: they belong to the previous term. */
  enterTerm(term: number, vote: NodeId): void {
    this.#term = term;
    this.#vote = vote;
    this.#hardStateChanged = true;
    this.stability.termChanged();
    this.outbox.dropHeld();
  }

  voteFor(candidate: NodeId): void {
    if (this.#vote === candidate) return;
    this.#vote = candidate;
    this.#hardStateChanged = true;
    this.stability.termChanged();
  }

  append(entry: Entry): void {
    this.log.append(entry.term, entrySizeBytes(entry));
    if (this.#unsaved.length === 0) this.#unsavedFirst = this.log.lastIndex;
    this.#unsaved.push(entry);
    if (entry.kind === 'configuration') {
      this.membership.appended(this.log.lastIndex, decodeChange(entry.body));
    }
  }

  /** Throws `RAFT_INVARIANT` if the entry is committed. */
  truncateFrom(index: number): void {
    if (index <= this.#commit) {
      throw new RaftreeError(
        'RAFT_INVARIANT',
        `node ${this.id} was told to replace entry ${index}, but ${this.#commit} entries are committed`,
        { info: { term: this.#term, lastIndex: this.log.lastIndex, applied: this.#applied } },
      );
    }
    this.log.truncateFrom(index);
    this.stability.truncated(index);
    this.membership.truncatedFrom(index);
    this.#unsaved.length = Math.max(0, Math.min(this.#unsaved.length, index - this.#unsavedFirst));
  }

  /** Throws `RAFT_INVARIANT` if the entry is committed here and the leader has a different one at this index. */
  checkCommitted(index: number, term: number): void {
    const own = this.log.termAt(index);
    if (index > this.#commit || own === undefined || own === term) return;
    throw new RaftreeError(
      'RAFT_INVARIANT',
      `node ${this.id} holds entry ${index} of term ${own} as committed, but its leader has one of term ${term} there: ` +
        'the two logs have different histories; compare the data folders of all members before you delete anything',
      { info: { term: this.#term, commit: this.#commit, lastIndex: this.log.lastIndex } },
    );
  }

  commitTo(index: number): void {
    this.#commit = Math.max(this.#commit, index);
  }

  /** The commit index and its term, to tell other nodes. */
  known(): { commitIndex: number; commitTerm: number } {
    return { commitIndex: this.#commit, commitTerm: this.log.termAt(this.#commit) ?? 0 };
  }

  /** Returns whether the configuration in force has changed. */
  appliedThrough(index: number): boolean {
    this.#applied = Math.max(this.#applied, index);
    return this.membership.applied(this.#applied);
  }

  /** A snapshot replaces the log and the state machine. */
  restore(snapshot: SnapshotBase): void {
    const { index, term, configuration } = snapshot;
    this.log.reset({ index, term });
    this.stability.restored(index);
    this.membership.restored(configuration);
    this.#unsaved = [];
    this.#snapshot = snapshot;
    this.#commit = index;
    this.#applying = index;
  }

  get isTermDurable(): boolean {
    return this.stability.termBatch <= this.stability.persistedBatch;
  }

  /** Sends once the current term and vote are durable. */
  sendForTerm(to: NodeId, message: OutgoingMessage): void {
    this.outbox.sendAfter(this.stability.termBatch, to, message);
  }

  /** Sends once the log is durable up to `index`. */
  sendForEntries(index: number, to: NodeId, message: OutgoingMessage): void {
    if (index <= this.stability.stableIndex) this.sendForTerm(to, message);
    else this.outbox.sendAfter(this.stability.batchFor(this.#hasUnsaved()), to, message);
  }

  /** Returns the messages to this node itself that waited for this batch. */
  persisted(batch: number): OutgoingMessage[] {
    this.stability.persisted(batch);
    return this.outbox.persisted(this.stability.persistedBatch, this.id);
  }

  takeBatch(nowMs: number): AppendBatch | undefined {
    if (!this.#hasUnsaved()) return undefined;
    const entries = this.#unsaved;
    const snapshot = this.#snapshot;
    const first = entries.length > 0 ? this.#unsavedFirst : (snapshot?.index ?? 0);
    this.#unsaved = [];
    this.#snapshot = undefined;
    this.#hardStateChanged = false;
    // The snapshot counts as its last entry.
    const carriedFirst = snapshot ? snapshot.index : first;
    const carried = entries.length + (snapshot ? 1 : 0);
    const batch = this.stability.issue(carriedFirst, carried, nowMs);
    return {
      batch,
      // Never above the entries of this batch and those before it. So a durable log always covers its own commit index.
      hardState: { term: this.#term, vote: this.#vote, commit: this.#commit },
      first,
      entries,
      snapshot,
    };
  }

  /** Entries that are committed and durable here. One range at a time. */
  takeApply(maxBytes: number): { first: number; last: number } | undefined {
    if (this.#applying > this.#applied) return undefined;
    const available = Math.min(this.#commit, this.stability.stableIndex);
    if (available <= this.#applied) return undefined;
    const first = this.#applied + 1;
    const { last } = this.log.lastWithin(first, available, maxBytes);
    this.#applying = last;
    return { first, last };
  }

  #hasUnsaved(): boolean {
    return this.#hardStateChanged || this.#unsaved.length > 0 || this.#snapshot !== undefined;
  }
}
