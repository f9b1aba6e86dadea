/** The entries of one log in memory, for hosts of a bare core. Entry i is at i - baseIndex - 1. */
import type { decodeChange } from '../../src/raft/configuration-codec.js';
import {
  type Entry,
  entrySizeBytes,
  type Message,
  type OutgoingMessage,
  type RaftState,
} from '../../src/raft/types.js';

/** What the log held from `first` on is replaced. */
export function written(
  log: readonly Entry[],
  baseIndex: number,
  { first, entries }: { readonly first: number; readonly entries: readonly Entry[] },
): Entry[] {
  return [...log.slice(0, first - baseIndex - 1), ...entries];
}

/** From `first` through `last`; none if `last` lies before. */
export function between(log: readonly Entry[], baseIndex: number, first: number, last: number): Entry[] {
  return last < first ? [] : log.slice(first - baseIndex - 1, last - baseIndex);
}

/** The message with the entries that it names. */
export function filled(log: readonly Entry[], baseIndex: number, message: OutgoingMessage): Message {
  if (message.type !== 'append') return message;
  const { first, last, ...header } = message;
  return { ...header, entries: between(log, baseIndex, first, last) };
}

/** What a core is told of a log when it starts. */
export function recovered(log: readonly Entry[], decode: typeof decodeChange): RaftState['entries'] {
  return log.map((entry) => ({
    term: entry.term,
    sizeBytes: entrySizeBytes(entry),
    change: entry.kind === 'configuration' ? decode(entry.body) : undefined,
  }));
}
