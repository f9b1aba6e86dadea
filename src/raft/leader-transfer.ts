/**
 * Handing leadership to a chosen voter (dissertation, section 3.10): no proposals from now on, bring its log up to
 * date, tell it to campaign at once, give up after an election timeout.
 *
 * The chosen one campaigns past everybody's loyalty to the present leader, so a lease proves nothing any more: after
 * any attempt, successful or not, a leader grants no lease reads in its term (a TimeoutNow may arrive late). It belongs
 * to one leader's term and ends with it.
 */
import type { NodeId } from './types.js';

export class LeaderTransfer {
  #target: NodeId | undefined;
  #deadlineMs = 0;
  #attempted = false;

  get target(): NodeId | undefined {
    return this.#target;
  }

  /** Whether leadership was offered to anybody in this term. */
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
