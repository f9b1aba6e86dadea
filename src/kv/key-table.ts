/**
 * Finds what belongs to a key by the key's bytes: a crit-bit tree (Bernstein; a binary PATRICIA tree, Morrison 1968).
 * A branch names the first bit in which the keys below it differ; a leaf holds a key.
 *
 *     keys 61, 62, 6261           first bit that differs: bit 1 of byte 0
 *          o byte 0, bit 1             0: 61
 *         / \                          1: 62 and 6261; they differ in whether there is a byte 1
 *       61   o byte 1, bit 8
 *           / \
 *         62   6261
 *
 * No text is made of a key, and no hash, so there are no keys that collide: to find a key takes at most as many steps
 * as the key has bits, and for keys of any kind about log2 of their number.
 */
export class KeyTable<Value> {
  #root: Node<Value> | undefined;
  readonly #make: (key: Uint8Array) => Value;

  /** `make`: called once for each key. The table keeps the key's bytes, which must not change. */
  constructor(make: (key: Uint8Array) => Value) {
    this.#make = make;
  }

  /** What belongs to the key. */
  of(key: Uint8Array): Value {
    let nearest = this.#root;
    if (nearest === undefined) {
      const leaf = this.#leaf(key);
      this.#root = leaf;
      return leaf.value;
    }
    while (nearest.isBranch) nearest = isHigh(key, nearest) ? nearest.high : nearest.low;
    const other = nearest.key;
    const shorter = Math.min(key.length, other.length);
    let byte = 0;
    while (byte < shorter && key[byte] === other[byte]) byte++;
    if (byte === key.length && byte === other.length) return nearest.value;
    const bit =
      byte === shorter ? THERE_IS_A_BYTE : 31 - Math.clz32((key[byte] as number) ^ (other[byte] as number));
    const leaf = this.#leaf(key);
    this.#insert(leaf, byte, bit);
    return leaf.value;
  }

  #leaf(key: Uint8Array): Leaf<Value> {
    return { isBranch: false, key, value: this.#make(key) };
  }

  /** Above the first branch on the leaf's way that looks at a later bit. */
  #insert(leaf: Leaf<Value>, byte: number, bit: number): void {
    let parent: Branch<Value> | undefined;
    let below = this.#root as Node<Value>;
    while (below.isBranch && (below.byte < byte || (below.byte === byte && below.bit > bit))) {
      parent = below;
      below = isHigh(leaf.key, below) ? below.high : below.low;
    }
    const branch: Branch<Value> = { isBranch: true, byte, bit, low: below, high: leaf };
    if (!isHigh(leaf.key, branch)) {
      branch.low = leaf;
      branch.high = below;
    }
    if (parent === undefined) this.#root = branch;
    else if (isHigh(leaf.key, parent)) parent.high = branch;
    else parent.low = branch;
  }
}

interface Leaf<Value> {
  readonly isBranch: false;
  readonly key: Uint8Array;
  readonly value: Value;
}

interface Branch<Value> {
  readonly isBranch: true;
  readonly byte: number;
  /** 7 to 0, from the highest; or `THERE_IS_A_BYTE`, which comes before them. */
  readonly bit: number;
  low: Node<Value>;
  high: Node<Value>;
}

type Node<Value> = Leaf<Value> | Branch<Value>;

/** The ninth bit of a byte: whether the key is long enough to have it. */
const THERE_IS_A_BYTE = 8;

function isHigh(key: Uint8Array, { byte, bit }: { readonly byte: number; readonly bit: number }): boolean {
  if (byte >= key.length) return false;
  return bit === THERE_IS_A_BYTE || (((key[byte] as number) >> bit) & 1) === 1;
}
