/**
 * A rule between tables that reads depend on. A newer version of a key is in a higher place than an older one: in a
 * newer table of level 0, or in a level nearer to level 0.
 */
import type { Env } from '../../env/env.js';
import { compareBytes, copyRange } from '../base/bytes.js';
import type { Cursor } from '../base/cursor.js';
import { MergeCursor } from '../read/merge-cursor.js';
import { RunCursor } from '../read/run-cursor.js';
import { BlockCache } from '../table/block-cache.js';
import { TableCache } from '../table/table-cache.js';
import { TableFile } from '../table/table-file.js';
import { BLOCK_TRAILER_BYTES } from '../table/table-format.js';
import type { Version } from '../version/version.js';

const READ_AHEAD_BYTES = 256 * 1024;
const STEP_ENTRIES = 4096;
const OPEN_TABLES = 64;

/** The sorted runs of a version, from new to old, with names for people. */
export function runsOf(version: Version): { readonly name: string; readonly files: readonly TableFile[] }[] {
  return version.levels.flatMap((files, level) => {
    if (files.length === 0) return [];
    if (level > 0) return [{ name: `level ${level}`, files }];
    return files.map((file) => ({ name: `table ${file.number} of level 0`, files: [file] }));
  });
}

/**
 * Describes the first version of a key that hides a newer one; undefined if there is none. The tables must be intact.
 */
export async function findMisplaced(
  env: Env,
  directory: string,
  version: Version,
): Promise<string | undefined> {
  // Opens files of its own: the files of an open tree belong to its cache.
  const runs = runsOf(version).map(({ name, files }) => ({
    name,
    files: files.map((file) => new TableFile(file.metadata)),
  }));
  const tables = new TableCache(env, directory, OPEN_TABLES, new BlockCache(0, BLOCK_TRAILER_BYTES));
  const places = new Map<Cursor, number>();
  const cursors = runs.map(({ files }, place) => {
    const cursor = new RunCursor(tables, files, { readAheadBytes: READ_AHEAD_BYTES, scan: true });
    places.set(cursor, place);
    return cursor;
  });
  const merge = new MergeCursor(cursors);
  try {
    merge.seekToStart();
    let previous: { readonly key: Buffer; readonly sequence: number; readonly place: number } | undefined;
    for (let entries = 1; merge.top; entries++) {
      const { top } = merge;
      const place = places.get(top) ?? 0;
      const key = copyRange(top.keyBytes, top.keyStart, top.keyEnd);
      if (previous && compareBytes(previous.key, key) === 0) {
        const [newer, older] = [runs[previous.place]?.name, runs[place]?.name];
        if (previous.sequence === top.sequence) {
          return `key ${key.toString('hex')} at sequence ${top.sequence} is in ${newer} and in ${older}`;
        }
        if (previous.place > place) {
          return `key ${key.toString('hex')}: sequence ${previous.sequence} in ${newer} lies below ${top.sequence} in ${older}`;
        }
      }
      previous = { key, sequence: top.sequence, place };
      merge.advance();
      if (entries % STEP_ENTRIES === 0) await new Promise<void>((resolve) => env.timers.endOfTurn(resolve));
    }
    return undefined;
  } finally {
    merge.close();
    tables.closeAll();
  }
}
