/**
 * Leadership transfer to a chosen voter (dissertation, section 3.10): the leader accepts no more proposals, brings the
 * target's log up to date, sends it TimeoutNow, and gives up after an election timeout.
 *
 * The target's vote requests are accepted although the others still hear from this leader. So a lease proves nothing
 * any more: after any attempt, successful or not, the leader serves no lease reads in this term (TimeoutNow may arrive
 * late). This object belongs to one leader's term and ends with it.
 */
import type { NodeId } from './types.js';

export class LeaderTransfer {
  #target: NodeId | undefined;
  #deadlineMs = 0;
  #attempted = false;

  get target(): NodeId | undefined {
    return this.#target;
  }

  /** Whether a transfer was started in this term. */
  get attempted(): boolean {
    return this.#attempted;
  }

  begin(target: NodeId, deadlineMs: number): void {
    this.#target = target;
    this.#deadlineMs = deadlineMs;
    this.#attempted = true;
  }

  isOverdue(nowMs: number): boolean {
    return this.#target !== undefined && nowMs >= this.#deadlineMs;
  }

  giveUp(): void {
    this.#target = undefined;
  }
}
