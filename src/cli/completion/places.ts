/** The tree of commands as tables, of which the completion scripts of all shells are made. */
import type { Command } from 'commander';
import { type Expected, namesOf, optionsOf, subcommandsOf, takesValue, valuesOf } from '../expected.js';

/** A command as one is told of it. */
interface Told {
  readonly name: string;
  readonly about: string;
}

/** One command: where it is, and what may follow. */
export interface Place {
  /** `/member/add`; empty for the program. */
  readonly path: string;
  /** What leads to another place. */
  readonly below: readonly { readonly names: readonly string[]; readonly path: string }[];
  readonly subcommands: readonly Told[];
  readonly options: readonly Told[];
  /** Names of options that take a value, and which. */
  readonly valued: readonly { readonly names: readonly string[]; readonly expected: Expected }[];
  /** In order. */
  readonly arguments: readonly Expected[];
}

export function placesOf(command: Command, path = ''): Place[] {
  const below = subcommandsOf(command);
  const options = optionsOf(command);
  const place: Place = {
    path,
    below: below.map((each) => ({ names: namesOf(each), path: `${path}/${each.name()}` })),
    subcommands: below.map((each) => ({ name: each.name(), about: each.description() })),
    options: options.flatMap(({ long, description }) => (long ? { name: long, about: description } : [])),
    valued: options.filter(takesValue).map((option) => ({
      names: [option.short, option.long].flatMap((name) => name ?? []),
      expected: valuesOf(option),
    })),
    arguments: below.length > 0 ? [] : command.registeredArguments.map(valuesOf),
  };
  return [place, ...below.flatMap((each) => placesOf(each, `${path}/${each.name()}`))];
}

/** As a word of the scripts: `file`, `folder`, `none`, or the words themselves. A key is nothing that they know. */
export function kindOf({ words, value }: Expected): string {
  if (words.length > 0) return words.join(' ');
  return value === 'file' || value === 'folder' ? value : 'none';
}

/** A text that a shell takes as it is. */
export function singleQuoted(text: string, quote = "'\\''"): string {
  return `'${text.replaceAll("'", quote)}'`;
}

export const HEADER =
  'Completion of raftree. Made by "raftree completion"; it fits the version that made it.';
