/**
 * Detects databases of other kinds in a directory, and protects a tree from their programs. LevelDB and RocksDB look
 * for a file CURRENT. Without it they create a database and remove files that they take for old ones, among them a
 * tree's MANIFEST and tables. If CURRENT does not end with a new line, they refuse to open and change nothing. So a
 * tree has such a file.
 */
import type { Env, FileSystem } from '../../env/env.js';
import { errorCode, isDiskFull, RaftreeError } from '../../env/errors.js';

const CURRENT = 'CURRENT';
const MARK = 'This is a Raftree tree, not a LevelDB or RocksDB database';

/** File names of other databases, and the name of each database. */
const FOREIGN: readonly (readonly [RegExp, string])[] = [
  [/^MANIFEST-\d{6,7}$/, 'LevelDB or RocksDB'],
  [/^\d{6,7}\.(ldb|sst)$/, 'LevelDB or RocksDB'],
  [/^data\.mdb$/, 'LMDB'],
];

/** Whether this is the name of the file that protects a tree from other programs. */
export function isMarkName(name: string): boolean {
  return name === CURRENT;
}

/** Throws `LSM_FOREIGN` if a directory holds a database of another kind. Touches nothing. */
export function checkForeign({ fs }: Env, directory: string): void {
  if (!fs.exists(directory)) return;
  for (const name of fs.list(directory)) {
    const known = FOREIGN.find(([pattern]) => pattern.test(name));
    if (known) throw foreignError(directory, name, known[1]);
    if (name === CURRENT && !isOurs(fs, `${directory}/${name}`)) {
      throw foreignError(directory, name, 'LevelDB or RocksDB');
    }
  }
}

/**
 * Makes the file, if it is missing or was torn by a power cut. On a full disk it is not made: the next opening makes
 * it.
 */
export function markDirectory({ fs }: Env, directory: string): void {
  const path = `${directory}/${CURRENT}`;
  if (fs.exists(path) && fs.readFile(path).toString('latin1') === MARK) return;
  try {
    if (fs.exists(path)) fs.unlink(path);
    const file = fs.open(path, 'create');
    try {
      file.writeSync([Buffer.from(MARK)], 0);
    } finally {
      file.close();
    }
  } catch (error) {
    if (!isDiskFull(error)) throw error;
  }
}

/**
 * Also true for the beginning of our file, or zeros in its place: a power cut leaves these. LevelDB's never begins so.
 */
function isOurs(fs: FileSystem, path: string): boolean {
  try {
    const content = fs.readFile(path);
    return MARK.startsWith(content.toString('latin1')) || content.every((byte) => byte === 0);
  } catch (error) {
    if (errorCode(error) === 'EISDIR') return false;
    throw error;
  }
}

function foreignError(directory: string, name: string, whose: string): RaftreeError {
  return new RaftreeError(
    'LSM_FOREIGN',
    `${directory} holds a database of another kind (${whose}, by its file ${name}); nothing was touched, choose another directory`,
    { info: { directory, name } },
  );
}
