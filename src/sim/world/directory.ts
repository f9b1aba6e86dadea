/** One directory of a simulated disk: the names that are written, and those that are synced. */
import type { Inode } from './inode.js';
import type { SeededRandom } from './seeded-random.js';

export type NameChange =
  | { readonly kind: 'set'; readonly name: string; readonly node: Inode | Directory }
  | { readonly kind: 'remove'; readonly name: string }
  | {
      readonly kind: 'rename';
      readonly from: string;
      readonly name: string;
      readonly node: Inode | Directory;
    };

export class Directory {
  readonly names = new Map<string, Inode | Directory>();
  readonly durableNames = new Map<string, Inode | Directory>();
  readonly changes: NameChange[] = [];

  change(change: NameChange): void {
    apply(this.names, change);
    this.changes.push(change);
  }

  /** Makes changes durable: all, or those given. Another sync may have made some of them durable already. */
  sync(only: readonly NameChange[] = [...this.changes]): void {
    for (const change of only) {
      const at = this.changes.indexOf(change);
      if (at < 0) continue;
      this.changes.splice(at, 1);
      apply(this.durableNames, change);
    }
  }

  powerCut(random: SeededRandom): void {
    for (const change of this.changes) if (random.chance(0.5)) apply(this.durableNames, change);
    this.changes.length = 0;
    this.names.clear();
    for (const [name, node] of this.durableNames) {
      this.names.set(name, node);
      node.powerCut(random);
    }
  }
}

function apply(names: Map<string, Inode | Directory>, change: NameChange): void {
  if (change.kind === 'remove') names.delete(change.name);
  else {
    if (change.kind === 'rename') names.delete(change.from);
    names.set(change.name, change.node);
  }
}

/** A copy in every detail of all that is below `from`. A file of several names stays one file. */
export function copyDirectory(
  from: Directory,
  to: Directory,
  copies = new Map<Inode | Directory, Inode | Directory>([[from, to]]),
): void {
  const copyOf = (node: Inode | Directory): Inode | Directory => {
    const known = copies.get(node);
    if (known) return known;
    if (node instanceof Directory) {
      const copy = new Directory();
      copies.set(node, copy);
      copyDirectory(node, copy, copies);
      return copy;
    }
    const copy = node.copy();
    copies.set(node, copy);
    return copy;
  };
  for (const [name, node] of from.names) to.names.set(name, copyOf(node));
  for (const [name, node] of from.durableNames) to.durableNames.set(name, copyOf(node));
  for (const change of from.changes) {
    to.changes.push(change.kind === 'remove' ? change : { ...change, node: copyOf(change.node) });
  }
}

export function segments(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

export function find(root: Directory, path: string): Inode | Directory | undefined {
  let node: Inode | Directory | undefined = root;
  for (const part of segments(path)) {
    if (!(node instanceof Directory)) return undefined;
    node = node.names.get(part);
  }
  return node;
}

export function baseName(path: string): string {
  return segments(path).at(-1) ?? '';
}
