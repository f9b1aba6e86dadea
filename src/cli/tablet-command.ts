/** tablet split: an operator divides a tablet. */
import type { Command } from 'commander';
import { type CommonOptions, parseNodeId, withClient, withClientOptions } from './client-options.js';
import { examples } from './examples.js';
import { printLine } from './output.js';

export function addTabletCommand(program: Command): Command {
  const tablet = program
    .command('tablet')
    .description('change the tablets of the cluster')
    .addHelpText('after', examples(['raftree tablet split user/7']));
  withClientOptions(
    tablet
      .command('split')
      .argument('<key>', 'the key that begins the second part (by hash: its place among the hashes does)')
      .description('split the tablet that owns a key, while clients go on'),
    20_000,
  )
    .addHelpText('after', examples(['raftree tablet split user/7', 'raftree shards']))
    .action(async (key: string, options: CommonOptions) => {
      const { tablet: id, children } = await withClient(options, (client) => client.splitTablet(key));
      const [left, right] = children;
      if (options.json) printLine(JSON.stringify({ tablet: id, children }));
      else printLine(`tablet ${id} is split: ${left} and ${right} have its keys`);
    });
  withClientOptions(
    tablet
      .command('merge')
      .argument('<left>', 'the id of a tablet', parseNodeId)
      .argument('<right>', 'the id of the one that begins where it ends', parseNodeId)
      .description('merge two small tablets that lie side by side, on the same nodes'),
    30_000,
  )
    .addHelpText('after', examples(['raftree shards', 'raftree tablet merge 5 6']))
    .action(async (left: number, right: number, options: CommonOptions) => {
      await withClient(options, (client) => client.mergeTablets(left, right));
      if (options.json) printLine(JSON.stringify({ merged: [left, right] }));
      else printLine(`the tablets ${left} and ${right} are merged; see \`raftree shards\``);
    });
  return tablet;
}
