#!/usr/bin/env node
/** raftree: the command line. `exit-codes.ts` explains the exit codes. */
import { LineOutput } from '../env/real/line-output.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { warnLine } from './output.js';
import { buildProgram } from './program.js';
import { asksForJson, reportError, runCommand } from './run.js';

// Data, backups and node.json are readable only by their owner.
process.umask(0o077);

const STANDARD_ERROR = 2;
/** Commands that change nothing in a cluster. */
const READING = new Set([
  ...['get', 'ttl', 'scan', 'watch', 'export', 'status', 'top', 'list', 'completion'],
  ...['verify', 'stats', 'dump'],
]);

const args = process.argv.slice(2);
const isJson = asksForJson(args);
let exitCode: ExitCode = EXIT.done;
let isReading = false;
const setExitCode = (code: ExitCode) => {
  exitCode = code;
};

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
  process.exit(reportError(error, isJson, (line) => new LineOutput(STANDARD_ERROR).write(`${line}\n`)));
});

const program = buildProgram(isJson, setExitCode).hook('preAction', (_, action) => {
  isReading = READING.has(action.name());
});
await runCommand(program, args, isJson, setExitCode);
process.exitCode = exitCode;
