#!/usr/bin/env node
/** raftree: the command line. `exit-codes.ts` explains the exit codes. */
import { Command, CommanderError } from 'commander';
import { LineOutput } from '../env/real/line-output.js';
import { VERSION } from '../server/version.js';
import { checkArguments } from './byte-arguments.js';
import { addClusterCommand } from './cluster-command.js';
import { addDemoCommand } from './demo-command.js';
import {
  describeError,
  EXIT,
  EXIT_CODES_HELP,
  type ExitCode,
  errorAsJson,
  exitCodeOf,
  UsageError,
} from './exit-codes.js';
import { addExportCommand } from './export-command.js';
import { addImportCommand } from './import-command.js';
import { addKeyCommands } from './key-commands.js';
import { addLifeCommands } from './life-commands.js';
import { addLsmCommands } from './lsm-commands.js';
import { addMemberCommands } from './member-commands.js';
import { warnLine } from './output.js';
import { addReplayCommand } from './replay-command.js';
import { addScanCommand } from './scan-command.js';
import { addStartCommand } from './start-command.js';
import { addStatusCommand } from './status-command.js';

// Data, backups and node.json are readable only by their owner.
process.umask(0o077);

const given = process.argv.slice(2);
const end = given.indexOf('--');
const isJson = given.slice(0, end < 0 ? given.length : end).includes('--json');

const STANDARD_ERROR = 2;

let exitCode: ExitCode = EXIT.done;
const setExitCode = (code: ExitCode) => {
  exitCode = code;
};

/** Commands that change nothing in a cluster. */
const READING = new Set(['get', 'scan', 'export', 'status', 'list', 'verify', 'stats', 'dump']);
let isReading = false;

const program = new Command('raftree')
  .description('A replicated, durable, ordered key-value store')
  .version(VERSION)
  .showHelpAfterError('(use --help to see what is accepted)')
  .addHelpText(
    'after',
    `\n${EXIT_CODES_HELP}\nWith --json, results and errors are printed as JSON, errors on standard error.`,
  )
  .exitOverride()
  .hook('preAction', (_, action) => {
    isReading = READING.has(action.name());
  });
// commander's errors are printed as JSON like all others.
if (isJson) program.configureOutput({ writeErr: () => {} });
addStartCommand(program, setExitCode);
addClusterCommand(program);
addDemoCommand(program);
addReplayCommand(program);
addKeyCommands(program, setExitCode);
addLifeCommands(program, setExitCode);
addScanCommand(program);
addImportCommand(program, setExitCode);
addExportCommand(program);
addStatusCommand(program);
addMemberCommands(program);
addLsmCommands(program, setExitCode);

function fail(error: unknown, write: (line: string) => void = warnLine): void {
  exitCode = exitCodeOf(error);
  write(isJson ? errorAsJson(error) : describeError(error));
}

// The reader of standard output may close it early (`raftree scan | head`).
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') {
    warnLine(`raftree: cannot write to standard output: ${error.message}`);
    exitCode = isReading ? EXIT.notCommitted : EXIT.unknown;
  }
  process.exit(exitCode);
});
process.stderr.on('error', () => {});
// An internal error also ends with one line and an exit code, even if standard error is closed or full.
process.on('uncaughtException', (error) => {
  fail(error, (line) => new LineOutput(STANDARD_ERROR).write(`${line}\n`));
  process.exit(exitCode);
});

try {
  checkArguments(given);
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) fail(error);
  else if (error.exitCode === 0) exitCode = EXIT.done;
  else if (isJson) fail(new UsageError(error.message.replace(/^error: /, '')));
  else exitCode = EXIT.usage;
}
process.exitCode = exitCode;
