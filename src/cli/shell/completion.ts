/** Completion in the shell: of commands, options, their values, files and keys. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { Command } from 'commander';
import { expectedAt } from '../expected.js';
import { META_COMMANDS } from './meta-commands.js';
import { quoted, Words } from './words.js';

const MAX_FILES = 100;

/** What may stand in place of the end of the line, and that end. */
export type Completion = [candidates: string[], end: string];

/**
 * `line`: up to the cursor. `before`: the lines of the same command before it. `keys`: those that begin with a text;
 * may reject, then there are none.
 */
export async function complete(
  root: Command,
  before: readonly string[],
  line: string,
  keys: (text: string) => Promise<readonly string[]>,
): Promise<Completion> {
  if (before.length === 0 && /^\s*\\\S*$/.test(line)) {
    const end = line.trimStart();
    return [META_COMMANDS.filter((name) => name.startsWith(end)).map((name) => `${name} `), end];
  }
  const read = new Words();
  for (const each of [...before, line]) read.add(each);
  const { words, text, start = line.length } = read.partial;
  const end = line.slice(start);
  const { words: allowed, value } = expectedAt(root, words, text);
  const whole = allowed.filter((word) => word.startsWith(text)).map((word) => `${quoted(word)} `);
  if (value === 'key') {
    const found = await keys(text).catch(() => []);
    // A key that ends in a slash may be the beginning of others.
    return [
      [...whole, ...found.map((key) => (key.endsWith('/') ? unfinished(key) : `${quoted(key)} `))],
      end,
    ];
  }
  if (value === 'file' || value === 'folder') return [[...whole, ...filesBeginningWith(text)], end];
  return [whole, end];
}

/** Without the closing quote: it goes on. */
function unfinished(text: string): string {
  const shown = quoted(text);
  return shown === text ? shown : shown.slice(0, -1);
}

function filesBeginningWith(text: string): string[] {
  const folder = text.slice(0, text.lastIndexOf('/') + 1);
  try {
    return fs
      .readdirSync(folder === '' ? '.' : folder, { withFileTypes: true })
      .filter(({ name }) => (folder + name).startsWith(text))
      .slice(0, MAX_FILES)
      .map((entry) => {
        const name = folder + entry.name;
        const isFolder = entry.isDirectory() || (entry.isSymbolicLink() && isDirectory(path.resolve(name)));
        return isFolder ? unfinished(`${name}/`) : `${quoted(name)} `;
      });
  } catch {
    return [];
  }
}

function isDirectory(name: string): boolean {
  return fs.statSync(name, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
