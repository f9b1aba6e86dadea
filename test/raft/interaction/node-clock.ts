/**
 * The clock of one node of a script. It stands still but for the ticks that the script gives it, and for a deadline
 * that it lets pass: the core's own timeouts are far longer than any ticks, so none comes by itself before the script
 * has it so.
 */
export const TICK_MS = 10;
/** In etcd's scripts an election timeout is three ticks, and drawn from three to five. */
export const ELECTION_TICKS = 3;
const LONGEST_ELECTION_TICKS = 5;
const FAR_MS = 1e6;
/** Without check-quorum no leader misses anybody, and no loyalty to it ends. */
const FOR_EVER_MS = 1e9;

export class NodeClock {
  readonly electionTimeoutMinMs: number;
  readonly electionTimeoutMaxMs: number;
  #nowMs = 0;
  #timerStartedMs = 0;
  /** Since the timer started. */
  #ticks = 0;
  #timeout: { readonly ticks: number; readonly term: number } | undefined;

  constructor(checkQuorum: boolean) {
    this.electionTimeoutMinMs = checkQuorum ? ELECTION_TICKS * TICK_MS : FOR_EVER_MS;
    this.electionTimeoutMaxMs = this.electionTimeoutMinMs + FAR_MS;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /** The core draws an election timeout: the longest. */
  drawTimeout(): number {
    this.#timerStartedMs = this.#nowMs;
    this.#ticks = 0;
    return 1;
  }

  /** In ticks, until that term ends. */
  setElectionTimeout(ticks: number, term: number): void {
    this.#timeout = { ticks, term };
  }

  /** Returns true if an election timeout has passed, for a node in that term. */
  tick(term: number): boolean {
    this.#nowMs += TICK_MS;
    this.#ticks++;
    if (this.#timeout?.term !== term) this.#timeout = undefined;
    return this.#ticks >= (this.#timeout?.ticks ?? LONGEST_ELECTION_TICKS);
  }

  letDeadlinePass(): void {
    this.#nowMs = Math.max(this.#nowMs, this.#timerStartedMs + this.electionTimeoutMaxMs);
  }

  /** Nobody is heard from for as long as a follower is loyal. */
  letLoyaltyPass(): void {
    this.#nowMs += this.electionTimeoutMinMs;
  }
}
