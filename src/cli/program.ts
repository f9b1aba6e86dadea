/** All commands of `raftree`, as one tree of commander's. */
import type { Command } from 'commander';
import { VERSION } from '../server/version.js';
import { addClientCommands } from './client-commands.js';
import { addClusterCommand } from './cluster-command.js';
import { addCompletionCommand } from './completion/completion-command.js';
import { addDemoCommand } from './demo-command.js';
import { examples } from './examples.js';
import { EXIT_CODES_HELP } from './exit-codes.js';
import { addLsmCommands } from './lsm-commands.js';
import { addReplayCommand } from './replay-command.js';
import { commandRoot, type SetExitCode } from './run.js';
import { addShellCommand } from './shell/shell-command.js';
import { addStartCommand } from './start-command.js';
import { addTopCommand } from './top/top-command.js';

export function buildProgram(isJson: boolean, setExitCode: SetExitCode): Command {
  const program = commandRoot('raftree', isJson)
    .description('A replicated, durable, ordered key-value store')
    .version(VERSION)
    .addHelpText(
      'after',
      examples(
        ['raftree demo', 'raftree put users/ada admin', 'raftree get users/ada', 'raftree help cas'],
        `${EXIT_CODES_HELP}\nWith --json, results and errors are printed as JSON, errors on standard error.`,
      ),
    );
  addStartCommand(program, setExitCode);
  addClusterCommand(program);
  addDemoCommand(program);
  addReplayCommand(program);
  addClientCommands(program, setExitCode);
  addTopCommand(program);
  addShellCommand(program, setExitCode);
  addLsmCommands(program, setExitCode);
  addCompletionCommand(program);
  return program;
}
