#!/usr/bin/env node
/** raftree: the command line. Every command sets the exit code that `exit-codes.ts` explains. */
import { Command, CommanderError } from 'commander';
import { VERSION } from '../server/version.js';
import { addClusterCommand } from './cluster-command.js';
import { describeError, EXIT, type ExitCode, exitCodeOf } from './exit-codes.js';
import { addKeyCommands } from './key-commands.js';
import { addLsmCommands } from './lsm-commands.js';
import { addMemberCommands } from './member-commands.js';
import { addStartCommand } from './start-command.js';
import { addStatusCommand } from './status-command.js';
import { addTransferCommands } from './transfer-commands.js';

let exitCode: ExitCode = EXIT.done;
const setExitCode = (code: ExitCode) => {
  exitCode = code;
};

const program = new Command('raftree')
  .description('A replicated, durable, ordered key-value store')
  .version(VERSION)
  .showHelpAfterError('(add --help for what is accepted)')
  .addHelpText(
    'after',
    '\nExit codes: 0 done, 1 not found, condition not met or damage found, 2 usage, 3 not committed, 4 outcome unknown.',
  )
  .exitOverride();
addStartCommand(program, setExitCode);
addClusterCommand(program);
addKeyCommands(program, setExitCode);
addTransferCommands(program, setExitCode);
addStatusCommand(program);
addMemberCommands(program);
addLsmCommands(program, setExitCode);

// Whoever reads our output may stop reading (`raftree scan | head`).
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? exitCode : EXIT.unknown);
});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) exitCode = error.exitCode === 0 ? EXIT.done : EXIT.usage;
  else {
    process.stderr.write(`${describeError(error)}\n`);
    exitCode = exitCodeOf(error);
  }
}
process.exitCode = exitCode;
