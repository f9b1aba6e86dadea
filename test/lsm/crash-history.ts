/**
 * A history: everything that the random crash tester does, as data. All chance is drawn when a history is made, so
 * that a step may be left out without changing what the others do: that is how a failing one is shortened.
 */
import type { LsmOptions } from '../../src/lsm/index.js';

export interface History {
  readonly seed: number;
  /** Those that the tree is opened with first; `reopen` may change to another. */
  readonly optionSets: readonly LsmOptions[];
  /** Asynchronous file operations take up to so many milliseconds of virtual time. */
  readonly latencyMs: number;
  /** Files cannot have a second name, so that checkpoints copy. */
  readonly linksFail: boolean;
  /** The tree shares caches and a write budget of so many bytes with a second tree in the same process. */
  readonly budgetBytes?: number;
  readonly steps: readonly Step[];
}

/** Keys are latin1; no value means a deletion. */
export interface Change {
  readonly key: string;
  readonly value?: string;
}

export interface Range {
  readonly gt?: string;
  readonly gte?: string;
  readonly lt?: string;
  readonly lte?: string;
  readonly limit?: number;
  readonly reverse: boolean;
}

export type FaultName = 'EIO' | 'ENOSPC' | 'short' | 'lose';

/** `slot` names one of a few snapshots or iterators; a step whose slot is empty does nothing. */
export type Step =
  | {
      readonly kind: 'write';
      readonly changes: readonly Change[];
      readonly durability: 'sync' | 'buffered';
      /** By `writeSync`, where the tree has no WAL and nothing waits. */
      readonly atOnce: boolean;
    }
  /** Waits for the writes under way. */
  | { readonly kind: 'settle' }
  /** Lets what goes on behind the writes go on. */
  | { readonly kind: 'wait'; readonly ms: number }
  /** `behind`: other steps go on meanwhile; the next `settle` waits for it. */
  | { readonly kind: 'flush'; readonly behind: boolean }
  | {
      readonly kind: 'compact';
      readonly smallest?: string;
      readonly largest?: string;
      readonly behind: boolean;
    }
  /** Removes whole tables of a range, then deletes by key what the range held: what was removed is deleted again. */
  | { readonly kind: 'clear'; readonly range: Range }
  | { readonly kind: 'read'; readonly keys: readonly string[]; readonly slot?: number }
  | { readonly kind: 'scan'; readonly range: Range; readonly slot?: number }
  | { readonly kind: 'snapshot'; readonly slot: number }
  | { readonly kind: 'release'; readonly slot: number }
  | { readonly kind: 'iterator'; readonly slot: number; readonly range: Range }
  | { readonly kind: 'advance'; readonly slot: number; readonly count: number }
  | { readonly kind: 'seek'; readonly slot: number; readonly key: string }
  | { readonly kind: 'checkpoint'; readonly name: string; readonly behind: boolean }
  /** The second tree, if there is one, is written to. */
  | { readonly kind: 'neighbour'; readonly writes: number; readonly valueBytes: number }
  | { readonly kind: 'verify' }
  /** Closes and opens again; `power`: the power fails in between; `hurry`: closes with work under way. */
  | {
      readonly kind: 'reopen';
      readonly optionSet: number;
      readonly power: boolean;
      readonly hurry: boolean;
      readonly seed: number;
    }
  /** After so many more file operations the process is killed, or with `power` the disk loses what is unsynced. */
  | {
      readonly kind: 'crash';
      readonly after: number;
      readonly power: boolean;
      /** If the operation is a write, half of it is done. */
      readonly torn: boolean;
      readonly seed: number;
      /** The recovery, and the next ones, are cut off after so many operations each. */
      readonly again: readonly number[];
    }
  /** So many operations fail, beginning so many operations from now. */
  | { readonly kind: 'fault'; readonly fault: FaultName; readonly after: number; readonly times: number };

export function formatHistory(history: History): string {
  const options = history.optionSets.map((set, i) => `options ${i}  ${JSON.stringify(set)}`);
  const shared = history.budgetBytes === undefined ? '' : `, shared budget ${history.budgetBytes} bytes`;
  return [
    `seed ${history.seed}, latency ${history.latencyMs} ms${history.linksFail ? ', no links' : ''}${shared}`,
    ...options,
    ...history.steps.map((step, i) => `${String(i + 1).padStart(4)}  ${formatStep(step)}`),
  ].join('\n');
}

function formatStep({ kind, ...rest }: Step): string {
  const fields = Object.entries(rest).map(([name, value]) => `${name} ${shorten(JSON.stringify(value))}`);
  return [kind.padEnd(10), ...fields].join('  ').trimEnd();
}

/** Runs of one character, and long values, are told by their length. */
function shorten(text: string): string {
  return text
    .replace(/(.)\1{7,}/g, (run, char: string) => `${char}{${run.length}}`)
    .replace(
      /"(\d+\.\d+):((?:[^"\\]|\\.){30,})"/g,
      (_, name: string, rest: string) => `"${name}:…${rest.length}"`,
    );
}
