/**
 * Callers whose proposals are in the log but not applied yet, by index. When another node takes over, they go on
 * waiting: what is applied then says what became of each.
 *
 *     applied at its index, of its term                     done
 *     applied at its index, of another term                 not committed
 *     an entry of a later term applied before its index     not committed: the terms of a log only rise, so a committed
 *                                                           log that has this entry has no older one behind it
 *
 * That the entry is replaced in this log says nothing: a third leader may have it, and commit it (Raft, figure 8).
 */
import type { Outcome, RaftreeError } from '../env/errors.js';
import type { Entry, RoleStatus } from '../raft/types.js';
import type { Applied } from './ports.js';
import { leadershipLost } from './refusals.js';

interface PendingProposal<Result> {
  readonly term: number;
  /** A command, which may be repeated. Who waits for a change of the group has to know how it ended. */
  readonly isCommand: boolean;
  readonly resolve: (applied: Applied<Result>) => void;
  readonly reject: (error: RaftreeError) => void;
}

export class PendingProposals<Result> {
  /** In the order of their indexes, and so of their terms. */
  readonly #pending = new Map<number, PendingProposal<Result>>();
  /** The term of an entry of the log; undefined outside of it. */
  readonly #termAt: (index: number) => number | undefined;
  /** Those of this term or an earlier one wait for another leader, since then. */
  #lost: { readonly term: number; readonly sinceMs: number; readonly stoodStill: boolean } | undefined;
  /** Of this node's latest leadership. */
  #term = 0;

  constructor(termAt: (index: number) => number | undefined) {
    this.#termAt = termAt;
  }

  /** Whether some wait for what another leader commits. */
  get waitsForOthers(): boolean {
    return this.#lost !== undefined && this.#pending.size > 0;
  }

  add(index: number, proposal: PendingProposal<Result>): void {
    this.#pending.set(index, proposal);
  }

  /**
   * This node leads in this term. Called before anything is proposed or applied in it. What was replaced in its log
   * could be told later that it is not committed, and be repeated: behind what the same caller proposes from now on. So
   * it is told now, while nothing is certain. What is still in the log stands before all that.
   */
  leads(term: number): void {
    if (term === this.#term) return;
    this.#term = term;
    this.#reject((of, index) => of.term < term && this.#termAt(index) !== of.term, leadershipLost('unknown'));
  }

  /** The entries from `first` on were applied, with these results. */
  applied(first: number, entries: readonly Entry[], results: readonly Result[]): void {
    // On followers nobody waits.
    if (this.#pending.size === 0) return;
    for (let i = 0; i < entries.length; i++) {
      const index = first + i;
      const proposal = this.#pending.get(index);
      if (!proposal) continue;
      this.#pending.delete(index);
      if (proposal.term === entries[i]?.term) proposal.resolve({ index, result: results[i] as Result });
      // Another leader's entry was committed in its place.
      else proposal.reject(leadershipLost('notCommitted'));
    }
    const [last, term] = [first + entries.length - 1, entries.at(-1)?.term ?? 0];
    // One before these was in a snapshot, or not.
    if (this.#lost && term > this.#lost.term)
      this.#endLost((index) => (index > last ? 'notCommitted' : 'unknown'));
  }

  /**
   * This node leads no more, or again. Of a leadership of this very term it let go since it reaches too few others: it
   * may hear nothing for long. Of one before, another node campaigns or leads, and is heard.
   */
  statusChanged({ role, term }: RoleStatus, nowMs: number): void {
    if (role !== 'leader') this.#reject((proposal) => proposal.term >= term, leadershipLost('unknown'));
    let [lost, since] = [0, { sinceMs: nowMs, stoodStill: false }];
    for (const proposal of this.#pending.values()) {
      if (proposal.term >= term) break;
      lost = proposal.term;
      if (this.#lost && lost <= this.#lost.term) since = this.#lost;
    }
    this.#lost = lost > 0 ? { ...since, term: lost } : undefined;
  }

  /** This process stood still: it has yet to read what came meanwhile. That counts once: nobody waits for ever. */
  stoodStill(nowMs: number): void {
    if (this.#lost && !this.#lost.stoodStill)
      this.#lost = { ...this.#lost, sinceMs: nowMs, stoodStill: true };
  }

  /** Nothing was heard since that time. */
  rejectLostBefore(timeMs: number): void {
    if (this.#lost && this.#lost.sinceMs < timeMs) this.#endLost(() => 'unknown');
  }

  rejectCommands(error: RaftreeError): void {
    this.#reject(({ isCommand }) => isCommand, error);
  }

  rejectAll(error: RaftreeError): void {
    this.#reject(() => true, error);
  }

  #endLost(outcomeOf: (index: number) => Outcome): void {
    const lost = this.#lost?.term ?? 0;
    this.#lost = undefined;
    for (const [index, { term, reject }] of this.#pending) {
      if (term > lost) continue;
      this.#pending.delete(index);
      reject(leadershipLost(outcomeOf(index)));
    }
  }

  #reject(isMeant: (proposal: PendingProposal<Result>, index: number) => boolean, error: RaftreeError): void {
    for (const [index, proposal] of this.#pending) {
      if (!isMeant(proposal, index)) continue;
      this.#pending.delete(index);
      proposal.reject(error);
    }
  }
}
