/** Commands to the shell itself: they begin with a backslash, as in psql. */
export const META_COMMANDS: readonly string[] = ['\\help', '\\quit', '\\timing'];

export const META_HELP = String.raw`\help [COMMAND]   what there is, or how a command is used
\timing [on|off]  shows, or does not show any more, how long each command takes
\quit, or Ctrl-D  leaves the shell; Ctrl-C ends the running command`;

export type MetaCommand =
  | { readonly name: 'help'; readonly of: readonly string[] }
  | { readonly name: 'timing'; readonly on: boolean | undefined }
  | { readonly name: 'quit' }
  | { readonly name: 'unknown'; readonly problem: string };

/** Undefined if the line is a command of the cluster. */
export function metaCommand(line: string): MetaCommand | undefined {
  const [word = '', ...rest] = line.trim().split(/\s+/);
  const bare = word === 'quit' || word === 'exit' ? '\\quit' : word;
  if (!bare.startsWith('\\')) return undefined;
  const names = META_COMMANDS.filter((name) => bare.length > 1 && name.startsWith(bare));
  const [argument, ...others] = rest;
  switch (names[0]) {
    case '\\help':
      return { name: 'help', of: rest };
    case '\\quit':
      return rest.length === 0 ? { name: 'quit' } : wrong(`${bare} takes no argument`);
    case '\\timing':
      if (argument === undefined) return { name: 'timing', on: undefined };
      if (others.length > 0 || (argument !== 'on' && argument !== 'off'))
        return wrong('\\timing takes on or off');
      return { name: 'timing', on: argument === 'on' };
    default:
      return wrong(`there is no ${bare}; there are ${META_COMMANDS.join(', ')}`);
  }
}

function wrong(problem: string): MetaCommand {
  return { name: 'unknown', problem };
}
