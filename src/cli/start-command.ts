/** start: runs one node in this process until it is stopped. */
import { type Command, Option } from 'commander';
import { LineOutput } from '../env/real/line-output.js';
import { examples } from './examples.js';
import { describeError, type ExitCode, exitCodeOf } from './exit-codes.js';
import type { StartOptions } from './run-node.js';

const STANDARD_ERROR = 2;

export function addStartCommand(program: Command, setExitCode: (code: ExitCode) => void): void {
  program
    .command('start [config]')
    .description('start a node; config is its node.json (default: ./node.json)')
    .addOption(
      new Option('--log-format <format>', 'overrides log.format of node.json').choices([
        'auto',
        'pretty',
        'json',
      ]),
    )
    .addHelpText('after', examples(['raftree start', 'raftree start n1.json --log-format json']))
    .action(async (file: string | undefined, options: StartOptions) => {
      try {
        const { runNode } = await import('./run-node.js');
        await runNode(file, options);
      } catch (error) {
        // LineOutput, because the process must not block on the reader of standard error.
        new LineOutput(STANDARD_ERROR).write(`${describeError(error)}\n`);
        setExitCode(exitCodeOf(error));
      }
    });
}
