/** completion: a script for a shell, made of the tree of commands, so that it has all of them. */
import { Argument, type Command } from 'commander';
import { examples } from '../examples.js';
import { print } from '../output.js';
import { fishScript } from './fish.js';
import { type Place, placesOf } from './places.js';
import { bashScript, zshScript } from './posix.js';

type Shell = 'bash' | 'zsh' | 'fish';

const SCRIPTS: Readonly<Record<Shell, (places: readonly Place[]) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

export function addCompletionCommand(program: Command): void {
  program
    .command('completion')
    .description('print the script that completes commands, options and files in a shell')
    .addArgument(new Argument('<shell>').choices(Object.keys(SCRIPTS)))
    .addHelpText(
      'after',
      examples(
        [
          'source <(raftree completion bash)',
          'raftree completion zsh > _raftree',
          'raftree completion fish | source',
        ],
        'Put the line into the start file of the shell; it takes a fifth of a second. Or keep its output in a file, and make\nthat anew with each version.',
      ),
    )
    .action((shell: Shell) => print(SCRIPTS[shell](placesOf(program))));
}
