/**
 * Finds the ranges that a key lies in, without looking at the others: an interval tree, as a treap (Seidel and Aragon
 * 1996) in the order of the lower bounds, in which each node knows the highest upper bound below it. With n ranges a
 * key costs about log n comparisons, and some for each range that it lies in. Equal ranges share a node.
 *
 * The priorities are random. With ones that can be foretold, a client could choose the order of its ranges so that the
 * tree becomes a list: each change would then be compared with all ranges, and the recursion would exhaust the stack.
 */
import type { Random } from '../../env/env.js';

export interface KeyRange {
  readonly from: Uint8Array;
  /** Exclusive. Undefined: to the last key. */
  readonly to: Uint8Array | undefined;
}

/** What watches a range. It remembers its place there. */
export interface Placed {
  place: Place | undefined;
}

/** A place in the list of those that watch the same range. */
export interface Place {
  readonly node: object;
  at: number;
}

class RangeNode<Member extends Placed> implements KeyRange {
  readonly from: Uint8Array;
  readonly to: Uint8Array | undefined;
  readonly members: Member[] = [];
  readonly priority: number;
  /** The highest upper bound of this range and of those below; undefined: one of them has none. */
  highest: Uint8Array | undefined;
  left: RangeNode<Member> | undefined;
  right: RangeNode<Member> | undefined;

  constructor({ from, to }: KeyRange, priority: number) {
    this.from = from;
    this.to = to;
    this.highest = to;
    this.priority = priority;
  }

  update(): void {
    let { to: highest } = this;
    for (const child of [this.left, this.right])
      if (child && compareUpper(child.highest, highest) > 0) highest = child.highest;
    this.highest = highest;
  }
}

export class RangeIndex<Member extends Placed> {
  readonly #random: Pick<Random, 'uint32'>;
  #root: RangeNode<Member> | undefined;

  constructor(random: Pick<Random, 'uint32'>) {
    this.#random = random;
  }

  get isEmpty(): boolean {
    return this.#root === undefined;
  }

  add(range: KeyRange, member: Member): void {
    const node = this.#find(range) ?? this.#insert(range);
    member.place = { node, at: node.members.length };
    node.members.push(member);
  }

  remove(member: Member): void {
    if (!member.place) return;
    const { at } = member.place;
    const node = member.place.node as RangeNode<Member>;
    member.place = undefined;
    const last = node.members.pop() as Member;
    if (last !== member) {
      node.members[at] = last;
      (last.place as Place).at = at;
    }
    if (node.members.length === 0) this.#root = removed(this.#root, node);
  }

  /** Calls `found` with those that watch each range in which the key of `keyBytes` bytes at `keyAt` lies. */
  search(
    bytes: Uint8Array,
    keyAt: number,
    keyBytes: number,
    found: (members: readonly Member[]) => void,
  ): void {
    search(this.#root, bytes, keyAt, keyBytes, found);
  }

  #find(range: KeyRange): RangeNode<Member> | undefined {
    let node = this.#root;
    while (node) {
      const order = compareRanges(range, node);
      if (order === 0) return node;
      node = order < 0 ? node.left : node.right;
    }
    return undefined;
  }

  #insert(range: KeyRange): RangeNode<Member> {
    const node = new RangeNode<Member>(range, this.#random.uint32());
    this.#root = inserted(this.#root, node);
    return node;
  }
}

function search<Member extends Placed>(
  node: RangeNode<Member> | undefined,
  bytes: Uint8Array,
  keyAt: number,
  keyBytes: number,
  found: (members: readonly Member[]) => void,
): void {
  for (let next = node; next; ) {
    // Undefined: no upper bound.
    if (next.highest && !isBelow(bytes, keyAt, keyBytes, next.highest)) return;
    if (next.left) search(next.left, bytes, keyAt, keyBytes, found);
    if (isBelow(bytes, keyAt, keyBytes, next.from)) return;
    if (!next.to || isBelow(bytes, keyAt, keyBytes, next.to)) found(next.members);
    next = next.right;
  }
}

/** Whether the key at `keyAt` lies before `bound`. */
export function isBelow(bytes: Uint8Array, keyAt: number, keyBytes: number, bound: Uint8Array): boolean {
  const shorter = Math.min(keyBytes, bound.length);
  for (let i = 0; i < shorter; i++) {
    const difference = (bytes[keyAt + i] as number) - (bound[i] as number);
    if (difference !== 0) return difference < 0;
  }
  return keyBytes < bound.length;
}

function compareRanges(a: KeyRange, b: KeyRange): number {
  return Buffer.compare(a.from, b.from) || compareUpper(a.to, b.to);
}

function compareUpper(a: Uint8Array | undefined, b: Uint8Array | undefined): number {
  if (a === undefined || b === undefined) return a === b ? 0 : a === undefined ? 1 : -1;
  return Buffer.compare(a, b);
}

function inserted<Member extends Placed>(
  tree: RangeNode<Member> | undefined,
  node: RangeNode<Member>,
): RangeNode<Member> {
  if (!tree) return node;
  if (node.priority > tree.priority) {
    const [left, right] = split(tree, node);
    node.left = left;
    node.right = right;
    node.update();
    return node;
  }
  if (compareRanges(node, tree) < 0) tree.left = inserted(tree.left, node);
  else tree.right = inserted(tree.right, node);
  tree.update();
  return tree;
}

/** The parts before and after a range. */
function split<Member extends Placed>(
  tree: RangeNode<Member> | undefined,
  by: KeyRange,
): [RangeNode<Member> | undefined, RangeNode<Member> | undefined] {
  if (!tree) return [undefined, undefined];
  if (compareRanges(tree, by) < 0) {
    const [before, after] = split(tree.right, by);
    tree.right = before;
    tree.update();
    return [tree, after];
  }
  const [before, after] = split(tree.left, by);
  tree.left = after;
  tree.update();
  return [before, tree];
}

function removed<Member extends Placed>(
  tree: RangeNode<Member> | undefined,
  node: RangeNode<Member>,
): RangeNode<Member> | undefined {
  if (!tree) return undefined;
  if (tree === node) return joined(node.left, node.right);
  if (compareRanges(node, tree) < 0) tree.left = removed(tree.left, node);
  else tree.right = removed(tree.right, node);
  tree.update();
  return tree;
}

/** Two trees, of which the first lies before the second. */
function joined<Member extends Placed>(
  before: RangeNode<Member> | undefined,
  after: RangeNode<Member> | undefined,
): RangeNode<Member> | undefined {
  if (!before || !after) return before ?? after;
  if (before.priority > after.priority) {
    before.right = joined(before.right, after);
    before.update();
    return before;
  }
  after.left = joined(before, after.left);
  after.update();
  return after;
}
