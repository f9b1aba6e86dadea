/** What the engines of several tablets say together. */
import type { EngineStats } from '../engines/storage-engine.js';

/** Undefined if there is none. The block cache is one of all engines of a node. */
export function addedStats(all: readonly EngineStats[]): EngineStats | undefined {
  const [first] = all;
  if (!first) return undefined;
  const sum = (of: (stats: EngineStats) => number) => all.reduce((total, stats) => total + of(stats), 0);
  const depth = Math.max(...all.map(({ levels }) => levels.length));
  return {
    levels: Array.from({ length: depth }, (_, level) => ({
      files: sum(({ levels }) => levels[level]?.files ?? 0),
      bytes: sum(({ levels }) => levels[level]?.bytes ?? 0),
    })),
    memtableBytes: sum(({ memtableBytes }) => memtableBytes),
    pendingBytes: sum(({ pendingBytes }) => pendingBytes),
    flushes: sum(({ flushes }) => flushes),
    flushedBytes: sum(({ flushedBytes }) => flushedBytes),
    compactions: sum(({ compactions }) => compactions),
    compactedBytes: sum(({ compactedBytes }) => compactedBytes),
    stalled: all.find(({ stalled }) => stalled !== undefined)?.stalled,
    slowed: all.find(({ slowed }) => slowed !== undefined)?.slowed,
    waitingWrites: sum(({ waitingWrites }) => waitingWrites),
    openTables: sum(({ openTables }) => openTables),
    blockCache: first.blockCache,
  };
}
