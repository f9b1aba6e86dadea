/** The replicated time, told a second time: the sum of what the clocks of leaders have counted between their stamps. */
export class ReferenceTime {
  #passedMs = 0;
  #newest = { term: 0, stampMs: 0 };

  /** As it goes on from there, with another leader. */
  static begin(nowMs: number): ReferenceTime {
    const time = new ReferenceTime();
    time.#passedMs = nowMs;
    return time;
  }

  copy(): ReferenceTime {
    const copy = new ReferenceTime();
    copy.#passedMs = this.#passedMs;
    copy.#newest = { ...this.#newest };
    return copy;
  }

  get nowMs(): number {
    return this.#passedMs;
  }

  get text(): string {
    return `${this.#passedMs} by ${this.#newest.stampMs} of term ${this.#newest.term}`;
  }

  /** Returns the time after an entry of this term with this stamp. */
  advance(term: number, stampMs: number): number {
    const isOfAnother = term !== this.#newest.term;
    if (isOfAnother || stampMs > this.#newest.stampMs) {
      if (!isOfAnother) this.#passedMs += stampMs - this.#newest.stampMs;
      this.#newest = { term, stampMs };
    }
    return this.#passedMs;
  }
}
