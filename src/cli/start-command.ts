/** start: one node in this process, until it is told to stop. */
import { type Command, Option } from 'commander';
import { realEnv } from '../env/real/real-env.js';
import { readNodeConfig } from '../server/config.js';
import { createLogger } from '../server/logger.js';
import { Node, type NodeReady } from '../server/node.js';
import { printLine } from './output.js';
import { onStopSignal } from './signals.js';

export function addStartCommand(program: Command): void {
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
    .action(async (file: string | undefined, options: { logFormat?: 'auto' | 'pretty' | 'json' }) => {
      const env = realEnv();
      const config = readNodeConfig(env, file ?? 'node.json');
      const stop = new Promise<undefined>((resolve) => {
        onStopSignal(() => resolve(undefined));
        // A node that was started by `raftree cluster` does not outlive it.
        process.once('disconnect', () => resolve(undefined));
      });
      let onFailure: (error: unknown) => void = () => {};
      const failure = new Promise<unknown>((resolve) => {
        onFailure = resolve;
      });
      const logger = createLogger({
        level: config.log.level,
        format: options.logFormat ?? config.log.format,
        nodeId: config.nodeId,
      });
      const node = await Node.start({ env, config, logger, onReady: sayReady, onFailure });
      const cause = await Promise.race([stop, failure]);
      await node.close();
      if (process.connected) process.disconnect();
      if (cause !== undefined) throw cause;
    });
}

function sayReady({ nodeId, role, leader, client, peer }: NodeReady): void {
  const follows = role === 'leader' ? '' : ` of node ${leader}`;
  printLine(`node ${nodeId} is ready: ${role}${follows}, clients at ${client}, peers at ${peer}`);
}
