/** shell: the commands of a client, one after the other, over connections that stay open. */
import type { Command } from 'commander';
import { type CommonOptions, withClientOptions } from '../client-options.js';
import { examples } from '../examples.js';
import { openInput } from '../input.js';
import type { SetExitCode } from '../run.js';
import { META_HELP } from './meta-commands.js';
import { runScript } from './scripted.js';
import { Shell } from './shell.js';
import { runTyped } from './typed.js';

interface ShellOptions extends CommonOptions {
  readonly keepGoing?: true;
}

export function addShellCommand(program: Command, setExitCode: SetExitCode): void {
  withClientOptions(
    program.command('shell').description('run commands one after the other, typed or from standard input'),
  )
    .option('--keep-going', 'standard input: go on after a command that failed')
    .addHelpText(
      'after',
      examples(
        ['raftree shell', 'raftree shell --endpoints host:7001 < commands.txt'],
        `The commands are those of the command line, without "raftree". The options given here hold for all of them.
Words with spaces are quoted: '…' as it is, or "…" with \\n, \\t, \\xHH. A quote goes on in the next line.
Tab completes commands, options, files and keys. A command that begins with a space is not kept in the history.

${META_HELP}

Without a terminal, commands are read from standard input, one a line; lines that begin with # are skipped. The first
that fails ends it, with its exit code. "Not found" and conditions that are not met do not end it: exit code 1.`,
      ),
    )
    .action(async ({ keepGoing }: ShellOptions, command: Command) => {
      const shell = new Shell(command);
      try {
        if (process.stdin.isTTY && process.stdout.isTTY) await runTyped(shell);
        else setExitCode(await runScript(shell, openInput(undefined, {}), keepGoing === true));
      } finally {
        await shell.close();
      }
    });
}
