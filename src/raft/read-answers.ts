/** Results of the host's reads until the next output. */
export class ReadAnswers {
  #confirmed: { id: number; index: number }[] = [];
  #failed: number[] = [];

  get isEmpty(): boolean {
    return this.#confirmed.length === 0 && this.#failed.length === 0;
  }

  confirm(id: number, index: number): void {
    this.#confirmed.push({ id, index });
  }

  fail(ids: readonly number[]): void {
    this.#failed.push(...ids);
  }

  take(): { reads: { id: number; index: number }[]; failedReads: number[] } {
    const taken = { reads: this.#confirmed, failedReads: this.#failed };
    this.#confirmed = [];
    this.#failed = [];
    return taken;
  }
}
