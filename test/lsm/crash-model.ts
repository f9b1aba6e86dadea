/**
 * The oracle of the crash tester: what the tree may hold. It is the state after some whole-batch prefix of what was
 * written since the last recovery, not shorter than what had been promised to survive.
 */
import type { Change, Range } from './crash-history.js';

export type State = ReadonlyMap<string, string>;
export type Entries = readonly (readonly [string, string])[];

/** What must leave a batch in place: nothing yet, the death of the process, or a power cut too. */
export type Survives = 'nothing' | 'kill' | 'power';

export interface Batch {
  readonly changes: readonly Change[];
  outcome: 'pending' | 'committed' | 'unknown';
  survives: Survives;
  /** Of its last operation, once it is known. */
  sequence: number | undefined;
}

export class Model {
  #base: State = new Map();
  #baseSequence = 0;
  #batches: Batch[] = [];
  /** A removal of tables under way, or of which it is not known: each of the keys may be gone after so many batches. */
  #removal: { readonly keys: ReadonlySet<string>; readonly prefix: number } | undefined;

  beginRemoval(keys: readonly string[]): void {
    this.#removal = { keys: new Set(keys), prefix: this.#batches.length };
  }

  /** It is durable, and what was written before it. */
  endRemoval(gone: readonly string[]): void {
    this.#removal = undefined;
    if (gone.length === 0) return;
    const batch = this.begin(gone.map((key) => ({ key })));
    batch.outcome = 'committed';
    batch.survives = 'power';
  }

  begin(changes: readonly Change[]): Batch {
    const batch: Batch = { changes, outcome: 'pending', survives: 'nothing', sequence: undefined };
    this.#batches.push(batch);
    return batch;
  }

  /** The caller was told that it is not committed. */
  refuse(batch: Batch): void {
    this.#batches = this.#batches.filter((other) => other !== batch);
  }

  get committed(): readonly Batch[] {
    return this.#batches.filter((batch) => batch.outcome === 'committed');
  }

  /** How many batches stand up to and with one; 0 for none. */
  prefixThrough(batch: Batch | undefined): number {
    return batch ? 1 + this.#batches.indexOf(batch) : 0;
  }

  /** Whether the sequences that callers were told rise in the order of their calls. */
  get sequencesRise(): boolean {
    const told = this.#batches.flatMap((batch) => batch.sequence ?? []);
    return told.every((sequence, i) => sequence > (told[i - 1] ?? this.#baseSequence));
  }

  /** How many batches a reader of the running tree must see. */
  get committedPrefix(): number {
    return 1 + this.#batches.findLastIndex((batch) => batch.outcome === 'committed');
  }

  /** What a reader may see: at least so many batches, at most what is under way too. */
  visibleStates(least: number = this.committedPrefix): Entries[] {
    const most = 1 + this.#batches.findLastIndex((batch) => batch.outcome !== 'unknown');
    return this.#states().slice(least, Math.max(least, most) + 1);
  }

  /**
   * Takes over what a new process has found: undefined if it is allowed, or what is wrong with it.
   * `claimedSequence` is what the old one had called durable.
   */
  recover(found: Entries, lastSequence: number, lost: Survives, claimedSequence: number): string | undefined {
    const states = this.#states();
    const least = 1 + this.#batches.findLastIndex((batch) => mustSurvive(batch, lost));
    const text = renderEntries(found);
    const matches = states.flatMap((state, prefix) =>
      renderEntries(state) === text || this.#isAfterRemoval(found, state, prefix) ? [prefix] : [],
    );
    const allowed = matches.filter((prefix) => prefix >= least);
    const batches = `of ${this.#batches.length} batches ${least} had to survive`;
    if (matches.length === 0) return `what was recovered is no prefix of the history; ${batches}\n${text}`;
    if (allowed.length === 0) return `${matches.join(' or ')} batches were recovered; ${batches}`;
    if (lost === 'power' && lastSequence < claimedSequence) {
      return `sequence ${claimedSequence} was said to be durable, ${lastSequence} was recovered`;
    }
    const sequences = allowed.map((prefix) => this.#sequenceAfter(prefix));
    if (!sequences.includes(undefined) && !sequences.includes(lastSequence)) {
      return `sequence ${lastSequence} was recovered; ${sequences.join(' or ')} belongs to that state`;
    }
    this.#base = new Map(found);
    this.#baseSequence = lastSequence;
    this.#batches = [];
    this.#removal = undefined;
    return undefined;
  }

  /** Whether it is a state of which the removal under way has taken some keys. */
  #isAfterRemoval(found: Entries, state: Entries, prefix: number): boolean {
    const removal = this.#removal;
    if (!removal || prefix < removal.prefix) return false;
    const written = new Set(
      this.#batches.slice(removal.prefix, prefix).flatMap(({ changes }) => changes.map(({ key }) => key)),
    );
    const left = new Set(found.map(([key]) => key));
    const expected = state.filter(([key]) => left.has(key) || !removal.keys.has(key) || written.has(key));
    return renderEntries(expected) === renderEntries(found);
  }

  #sequenceAfter(prefix: number): number | undefined {
    return prefix === 0 ? this.#baseSequence : this.#batches[prefix - 1]?.sequence;
  }

  /** The state after each prefix of the batches, the base first. */
  #states(): Entries[] {
    const state = new Map(this.#base);
    const states = [sortEntries(state)];
    for (const batch of this.#batches) {
      for (const { key, value } of batch.changes) {
        if (value === undefined) state.delete(key);
        else state.set(key, value);
      }
      states.push(sortEntries(state));
    }
    return states;
  }
}

function mustSurvive(batch: Batch, lost: Survives): boolean {
  return batch.survives === 'power' || (batch.survives === 'kill' && lost === 'kill');
}

/** In the order of unsigned bytes, which for latin1 text is that of its code units. */
function sortEntries(state: State): Entries {
  return [...state].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

export function renderEntries(entries: Entries): string {
  return entries.map(([key, value]) => `${JSON.stringify(key)}=${value}`).join('\n');
}

/** The entries that an iterator over a range gives, in its order, without regard to its limit. */
export function inRange(entries: Entries, range: Range): Entries {
  const { gt, gte, lt, lte, reverse } = range;
  const found = entries.filter(
    ([key]) =>
      (gt === undefined || key > gt) &&
      (gte === undefined || key >= gte) &&
      (lt === undefined || key < lt) &&
      (lte === undefined || key <= lte),
  );
  return reverse ? found.reverse() : found;
}
