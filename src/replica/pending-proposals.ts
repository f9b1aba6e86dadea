/** Callers whose proposals are in the log but not applied yet, by index. */
import type { RaftreeError } from '../env/errors.js';
import type { Entry } from '../raft/types.js';
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
  readonly #pending = new Map<number, PendingProposal<Result>>();

  add(index: number, proposal: PendingProposal<Result>): void {
    this.#pending.set(index, proposal);
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
  }

  rejectCommands(error: RaftreeError): void {
    for (const [index, proposal] of this.#pending) {
      if (!proposal.isCommand) continue;
      this.#pending.delete(index);
      proposal.reject(error);
    }
  }

  rejectAll(error: RaftreeError): void {
    for (const proposal of this.#pending.values()) proposal.reject(error);
    this.#pending.clear();
  }
}
