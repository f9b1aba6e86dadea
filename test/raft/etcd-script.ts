/**
 * Scripts of etcd-io/raft's data-driven tests: commands with arguments, indented or following input, `----`, and what
 * they print, up to an empty line (or between two double `----` if the output itself has empty lines).
 */
import * as fs from 'node:fs';

export interface ScriptCommand {
  readonly line: number;
  readonly command: string;
  /** In order, as `name=(a,b)`, `name=value` or `name`; a repeated name keeps all its values. */
  readonly args: ReadonlyMap<string, readonly string[]>;
  /** Arguments as they stand. */
  readonly words: readonly string[];
  readonly input: string;
  readonly expected: string;
}

export function parseScript(file: string): ScriptCommand[] {
  const lines = fs.readFileSync(file, 'utf8').split('\n');
  const commands: ScriptCommand[] = [];
  let at = 0;
  while (at < lines.length) {
    const head = lines[at] ?? '';
    if (head.trim() === '' || head.startsWith('#')) {
      at++;
      continue;
    }
    const line = at + 1;
    at++;
    const input: string[] = [];
    while (at < lines.length && lines[at] !== '----') input.push(lines[at++] ?? '');
    at++;
    const output: string[] = [];
    if (lines[at] === '----') {
      at++;
      while (at < lines.length && !(lines[at] === '----' && lines[at + 1] === '----'))
        output.push(lines[at++] ?? '');
      at += 2;
    } else {
      while (at < lines.length && lines[at] !== '') output.push(lines[at++] ?? '');
    }
    commands.push({
      line,
      ...parseHead(head),
      input: input.join('\n'),
      expected: output.length > 0 ? `${output.join('\n')}\n` : '',
    });
  }
  return commands;
}

/** A command and its arguments, which stand in one line. */
export function parseHead(text: string): Pick<ScriptCommand, 'command' | 'words' | 'args'> {
  const [command = '', ...words] = splitWords(text);
  return { command, words, args: parseArguments(words) };
}

/** By spaces, except those within parentheses. */
function splitWords(text: string): string[] {
  const words: string[] = [];
  let word = '';
  let depth = 0;
  for (const letter of text) {
    if (letter === '(') depth++;
    if (letter === ')') depth--;
    if (letter === ' ' && depth === 0) {
      if (word) words.push(word);
      word = '';
    } else word += letter;
  }
  if (word) words.push(word);
  return words;
}

function parseArguments(words: readonly string[]): Map<string, string[]> {
  const args = new Map<string, string[]>();
  for (const word of words) {
    const equals = word.indexOf('=');
    const name = equals < 0 ? word : word.slice(0, equals);
    const value = equals < 0 ? '' : word.slice(equals + 1);
    const values = value.startsWith('(') ? value.slice(1, -1).split(/[ ,]+/).filter(Boolean) : [value];
    args.set(name, [...(args.get(name) ?? []), ...values]);
  }
  return args;
}
