/**
 * The results of `getProperty`, with the names and in the form of LevelDB (`DBImpl::GetProperty`), so that programs
 * that read them need no change.
 */
import type { LsmTree } from '../lsm/lsm-tree.js';

const MIB = 1024 * 1024;

/** An empty string for a name that is not known. */
export function property(tree: LsmTree, name: string): string {
  const stats = tree.stats();
  const level = /^leveldb\.num-files-at-level(\d+)$/.exec(name)?.[1];
  if (level !== undefined) return String(stats.levels[Number(level)]?.files ?? '');
  switch (name) {
    case 'leveldb.approximate-memory-usage':
      return String(stats.blockCache.bytes + stats.memtableBytes);
    case 'leveldb.stats':
      return [
        `flushes ${stats.flushes}, compactions ${stats.compactions}, written ${toMib(stats.flushedBytes)} + ${toMib(stats.compactedBytes)} MB`,
        'Level  Files Size(MB)',
        '---------------------',
        ...stats.levels.flatMap(({ files, bytes }, i) =>
          files > 0
            ? [`${String(i).padStart(3)} ${String(files).padStart(8)} ${toMib(bytes).padStart(8)}`]
            : [],
        ),
        '',
      ].join('\n');
    case 'leveldb.sstables':
      return tree
        .tables()
        .map((tables, i) => {
          const lines = tables.map(
            ({ number, sizeBytes, smallest, largest }) =>
              ` ${number}:${sizeBytes}['${smallest}' .. '${largest}']\n`,
          );
          return `--- level ${i} ---\n${lines.join('')}`;
        })
        .join('');
    default:
      return '';
  }
}

function toMib(bytes: number): string {
  return (bytes / MIB).toFixed(0);
}
