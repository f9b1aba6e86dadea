/** A shell whose commands come from standard input. */
import { isUtf8 } from 'node:buffer';
import { EXIT, type ExitCode, UsageError } from '../exit-codes.js';
import type { Input } from '../input.js';
import { lines } from '../records.js';
import { metaCommand } from './meta-commands.js';
import type { Shell } from './shell.js';
import { MAX_COMMAND_CHARACTERS, Words } from './words.js';

/**
 * Runs the commands in order, until one fails or, if `keepsGoing`, to the end. The exit code is that of the first that
 * failed; otherwise 1 if something was not found or a condition not met.
 */
export async function runScript(shell: Shell, input: Input, keepsGoing: boolean): Promise<ExitCode> {
  let worst: ExitCode = EXIT.done;
  const hasFailed = () => worst > EXIT.notMet;
  const ended = (code: ExitCode) => {
    if (!hasFailed() && code > worst) worst = code;
  };
  let words = new Words();
  for await (const line of lines(input.stream)) {
    try {
      if (line === undefined)
        throw new UsageError(
          `a line has at most ${MAX_COMMAND_CHARACTERS} bytes; give such a value with --value-file`,
        );
      if (!isUtf8(line))
        throw new UsageError(
          'a line is not UTF-8: use --key-base64, --value-base64 or --value-file for such bytes',
        );
      const text = line.toString();
      if (!words.isOpen) {
        if (text.startsWith('#')) continue;
        const meta = metaCommand(text);
        if (meta?.name === 'quit') return worst;
        if (meta) {
          ended(await shell.runMeta(meta));
          if (hasFailed() && !keepsGoing) return worst;
          continue;
        }
      }
      words.add(text);
      if (words.isOpen) continue;
      const complete = words.end();
      if (complete.length > 0) ended(await shell.run(complete));
      words = new Words();
    } catch (error) {
      ended(shell.fail(error));
      words = new Words();
    }
    if (hasFailed() && !keepsGoing) return worst;
  }
  if (words.isOpen)
    ended(shell.fail(new UsageError('the last command is not complete: a quote, or a "\\" at its end')));
  return worst;
}
