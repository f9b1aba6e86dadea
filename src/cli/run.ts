/** One command line: parsed, run, and ended with an exit code. An error is one line on standard error. */
import { Command, CommanderError } from 'commander';
import { checkArguments } from './byte-arguments.js';
import { describeError, EXIT, type ExitCode, errorAsJson, exitCodeOf, UsageError } from './exit-codes.js';
import { warnLine } from './output.js';

export type SetExitCode = (code: ExitCode) => void;

/** Whether the answer, or the error, of this command line is to be JSON. */
export function asksForJson(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  return args.slice(0, end < 0 ? args.length : end).includes('--json');
}

/** The root of a tree of commands, for one run. Commands take over its settings when they are added. */
export function commandRoot(name: string, isJson: boolean): Command {
  const root = new Command(name).showHelpAfterError('(use --help to see what is accepted)').exitOverride();
  // commander's errors are printed as JSON like all others.
  return isJson ? root.configureOutput({ writeErr: () => {} }) : root;
}

/** Never rejects. */
export async function runCommand(
  root: Command,
  args: readonly string[],
  isJson: boolean,
  setExitCode: SetExitCode,
): Promise<void> {
  try {
    checkArguments(args);
    await root.parseAsync(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) setExitCode(reportError(error, isJson));
    else if (error.exitCode === 0) setExitCode(EXIT.done);
    else if (isJson) setExitCode(reportError(new UsageError(error.message.replace(/^error: /, '')), isJson));
    else setExitCode(EXIT.usage);
  }
}

/** Says what happened, and returns the exit code that it means. */
export function reportError(
  error: unknown,
  isJson: boolean,
  write: (line: string) => void = warnLine,
): ExitCode {
  write(isJson ? errorAsJson(error) : describeError(error));
  return exitCodeOf(error);
}
