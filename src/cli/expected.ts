/** What may stand at a place of a command line, by commander's tree: for the completion in shells, ours and others. */
import type { Argument, Command, Option } from 'commander';

/** What is expected: one of these words, or a file, or a key of the cluster. */
export interface Expected {
  readonly words: readonly string[];
  readonly value: 'file' | 'folder' | 'key' | undefined;
}

/** What a placeholder in a usage line (`<path>`) stands for. */
const VALUES: Readonly<Record<string, Expected['value']>> = {
  ...{ file: 'file', path: 'file', config: 'file', run: 'file' },
  directory: 'folder',
  ...{ key: 'key', prefix: 'key' },
};
const NOTHING: Expected = { words: [], value: undefined };

/** `words`: those before the place. `partial`: what stands there so far. */
export function expectedAt(root: Command, words: readonly string[], partial: string): Expected {
  let command = root;
  let values = 0;
  let pending: Option | undefined;
  let onlyValues = false;
  for (const word of words) {
    if (pending) pending = undefined;
    else if (word === '--') onlyValues = true;
    else if (word.startsWith('-') && !onlyValues) {
      const option = optionsOf(command).find(({ short, long }) => word === long || word === short);
      pending = option && takesValue(option) ? option : undefined;
    } else {
      const below =
        values === 0 ? subcommandsOf(command).find((each) => namesOf(each).includes(word)) : undefined;
      if (below) command = below;
      else values++;
    }
  }
  if (pending) return valuesOf(pending);
  if (partial.startsWith('-') && !onlyValues)
    return { words: optionsOf(command).flatMap(({ long }) => long ?? []), value: undefined };
  if (subcommandsOf(command).length > 0)
    return values === 0
      ? { words: subcommandsOf(command).map((each) => each.name()), value: undefined }
      : NOTHING;
  const argument = command.registeredArguments[values];
  return argument ? valuesOf(argument) : NOTHING;
}

/** With those that commander adds itself, without hidden ones. */
export function optionsOf(command: Command): readonly Option[] {
  return command.createHelp().visibleOptions(command);
}

export function subcommandsOf(command: Command): readonly Command[] {
  return command.createHelp().visibleCommands(command);
}

export function namesOf(command: Command): readonly string[] {
  return [command.name(), ...command.aliases()];
}

export function takesValue(option: Option): boolean {
  return option.required || option.optional;
}

export function valuesOf(of: Option | Argument): Expected {
  const placeholder = 'flags' in of ? (/[<[]([^>\].:,…]+)/.exec(of.flags)?.[1] ?? '') : of.name();
  return { words: of.argChoices ?? [], value: of.argChoices ? undefined : VALUES[placeholder] };
}
