/** The checkpoints that a history has made, or was making when it was cut off, and what each may hold. */
import { type Batch, type Model, renderEntries } from './crash-model.js';

export interface MadeCheckpoint {
  /** It is one of these. */
  readonly states: readonly string[];
  /** One that was cut off need not exist. */
  readonly mustExist: boolean;
}

export class Checkpoints {
  readonly #model: Model;
  readonly made = new Map<string, MadeCheckpoint>();
  #underWay: { readonly path: string; readonly after: Batch | undefined } | undefined;

  constructor(model: Model) {
    this.#model = model;
  }

  get isUnderWay(): boolean {
    return this.#underWay !== undefined;
  }

  begin(path: string): void {
    this.#underWay = { path, after: this.#model.committed.at(-1) };
  }

  /** Completed, or cut off by the death of the process; false if none was under way. */
  end(mustExist: boolean): boolean {
    if (!this.#underWay) return false;
    const { path, after } = this.#underWay;
    this.#underWay = undefined;
    const states = this.#model.visibleStates(this.#model.prefixThrough(after)).map(renderEntries);
    this.made.set(path, { states, mustExist });
    return true;
  }

  /** It failed: nothing is there. */
  abandon(): void {
    this.#underWay = undefined;
  }
}
