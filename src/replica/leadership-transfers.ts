/**
 * Callers that wait for a transfer of leadership. The core does the transfer; this tells the callers how it ended.
 *
 * There are two kinds. An operator names the voter that is to lead, and gets an error if it does not. A replica that is
 * about to stop accepts any voter, and stops without a successor after an election timeout.
 */
import type { Env, Timer } from '../env/env.js';
import type { RaftreeError } from '../env/errors.js';
import { NOBODY, type NodeId } from '../raft/types.js';
import { transferFailed } from './refusals.js';

interface Requested {
  readonly to: NodeId;
  readonly resolve: () => void;
  readonly reject: (error: RaftreeError) => void;
  readonly timer: Timer;
}

export interface Leadership {
  readonly isLeader: boolean;
  readonly term: number;
  readonly leader: NodeId;
  /** The voter to which this leader transfers leadership now. */
  readonly transferTarget: NodeId | undefined;
}

export class LeadershipTransfers {
  readonly #timers: Env['timers'];
  readonly #electionTimeoutMaxMs: number;
  #requested: Requested | undefined;
  #beforeStop: { readonly term: number; readonly resolve: () => void; readonly timer: Timer } | undefined;

  constructor(timers: Env['timers'], electionTimeoutMaxMs: number) {
    this.#timers = timers;
    this.#electionTimeoutMaxMs = electionTimeoutMaxMs;
  }

  /** Resolves when that node leads. Rejects with `TRANSFER_FAILED` after two election timeouts. */
  request(to: NodeId): Promise<void> {
    this.#endRequested();
    return new Promise((resolve, reject) => {
      const timer = this.#timers.after(2 * this.#electionTimeoutMaxMs, () => this.#endRequested());
      this.#requested = { to, resolve, reject, timer };
    });
  }

  /** Resolves when another node leads, when there is no target left, or after an election timeout. */
  beforeStop(leadership: Leadership): Promise<void> {
    this.#endBeforeStop();
    return new Promise((resolve) => {
      const timer = this.#timers.after(this.#electionTimeoutMaxMs, () => this.#endBeforeStop());
      this.#beforeStop = { term: leadership.term, resolve, timer };
      this.review(leadership);
    });
  }

  /** The core has reported a new status: perhaps another leader. */
  statusChanged(leader: NodeId): void {
    if (this.#requested && leader !== NOBODY) this.#endRequested(leader);
  }

  /** Called after each output of the core. */
  review({ isLeader, leader, term, transferTarget }: Leadership): void {
    const hasSuccessor = !isLeader && leader !== NOBODY;
    // No voter can take over, or this leader stepped down by itself, in its own term.
    const hasNoTarget = transferTarget === undefined && term === this.#beforeStop?.term;
    if (hasSuccessor || hasNoTarget) this.#endBeforeStop();
  }

  /** The replica has stopped. */
  close(): void {
    this.#endRequested();
    this.#endBeforeStop();
  }

  #endRequested(leader = NOBODY): void {
    const requested = this.#requested;
    if (!requested) return;
    this.#requested = undefined;
    requested.timer.cancel();
    if (leader === requested.to) requested.resolve();
    else requested.reject(transferFailed(requested.to));
  }

  #endBeforeStop(): void {
    this.#beforeStop?.timer.cancel();
    this.#beforeStop?.resolve();
    this.#beforeStop = undefined;
  }
}
