/**
 * How much of something each node has, above or below its share. A node within the band gives and takes nothing for its
 * own sake: so the small changes of every day move nothing.
 */
import type { NodeView } from './cluster-view.js';

export class Shares {
  readonly #amountOf: (node: NodeView) => number;
  readonly #band: number;
  readonly #leastSlack: number;
  readonly #perWeight: number;

  /** A node may always differ by `leastSlack`. */
  constructor(
    nodes: readonly NodeView[],
    amountOf: (node: NodeView) => number,
    band: number,
    leastSlack: number,
  ) {
    this.#amountOf = amountOf;
    this.#band = band;
    this.#leastSlack = leastSlack;
    let total = 0;
    let weights = 0;
    for (const view of nodes) {
      total += amountOf(view);
      if (view.hasShare) weights += view.node.weight;
    }
    this.#perWeight = weights > 0 ? total / weights : 0;
  }

  /** Above its share; negative below. */
  excess(view: NodeView): number {
    return this.#amountOf(view) - this.#share(view);
  }

  isAbove(view: NodeView): boolean {
    return this.excess(view) > this.#slack(view);
  }

  isBelow(view: NodeView): boolean {
    return this.excess(view) < -this.#slack(view);
  }

  /** It stays out of what counts as above when it gets so much more. */
  mayGain(view: NodeView, amount: number): boolean {
    return this.excess(view) + amount <= this.#slack(view);
  }

  mayLose(view: NodeView, amount: number): boolean {
    return this.excess(view) - amount >= -this.#slack(view);
  }

  /**
   * Whether it brings both nearer to their shares: the sum of the squares of all differences becomes smaller. That can
   * happen only so often, so nothing goes to and fro.
   */
  isBetter(from: NodeView, to: NodeView, amount: number): boolean {
    return amount > 0 && this.excess(from) - this.excess(to) > amount * (1 + 1e-9);
  }

  #share({ node, hasShare }: NodeView): number {
    return hasShare ? this.#perWeight * node.weight : 0;
  }

  #slack(view: NodeView): number {
    return Math.max(this.#leastSlack, this.#band * this.#share(view));
  }
}
