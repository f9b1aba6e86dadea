/** Where tablets are: tablet move; node list, drain, remove. */
import type { Command } from 'commander';
import { type CommonOptions, parseNodeId, withClient, withClientOptions } from './client-options.js';
import { examples } from './examples.js';
import { printLine, printTable } from './output.js';

interface MoveOptions extends CommonOptions {
  readonly from: number;
  readonly to: number;
}

interface DrainOptions extends CommonOptions {
  readonly off?: true;
}

const TIMEOUT_MS = 30_000;

/** `tablet` is the command of that name, which has others already. */
export function addPlacementCommands(program: Command, tablet: Command): void {
  withClientOptions(
    tablet.command('move').description('move the replica of a tablet from one node to another'),
    TIMEOUT_MS,
  )
    .argument('<tablet>', 'its id, as `raftree shards` shows it', parseNodeId)
    .requiredOption('--from <node>', 'the node whose replica leaves', parseNodeId)
    .requiredOption('--to <node>', 'the node that gets one', parseNodeId)
    .addHelpText('after', examples(['raftree tablet move 3 --from 1 --to 4']))
    .action(async (id: number, options: MoveOptions) => {
      const { from, to } = options;
      const changed = await withClient(options, (client) => client.moveReplica({ tablet: id, from, to }));
      if (options.json) printLine(JSON.stringify({ tablet: id, from, to, changed }));
      else if (changed) printLine(`tablet ${id} has moved from node ${from} to node ${to}`);
      else printLine(`tablet ${id} is on node ${to} already; nothing was changed`);
    });

  const node = program
    .command('node')
    .description('the nodes, and the tablets that they hold')
    .addHelpText('after', examples(['raftree node list', 'raftree node drain 2', 'raftree node remove 2']));
  withClientOptions(node.command('list').description('show how many tablets each node holds and leads'), 5000)
    .addHelpText('after', examples(['raftree node list', 'raftree node list --json']))
    .action(list);
  withClientOptions(
    node.command('drain').description('give all tablets of a node to others, as for maintenance'),
    TIMEOUT_MS,
  )
    .argument('<id>', 'the node', parseNodeId)
    .option('--off', 'the node takes part again')
    .addHelpText('after', examples(['raftree node drain 2', 'raftree node drain 2 --off']))
    .action(async (id: number, options: DrainOptions) => {
      const drains = !options.off;
      const changed = await withClient(options, (client) => client.drainNode(id, drains));
      if (options.json) printLine(JSON.stringify({ nodeId: id, isDraining: drains, changed }));
      else if (!drains) printLine(`node ${id} takes part`);
      else printLine(`node ${id} gives its tablets away; see \`raftree node list\``);
    });
  withClientOptions(node.command('remove').description('remove a node that holds no tablets'), TIMEOUT_MS)
    .argument('<id>', 'the node', parseNodeId)
    .addHelpText('after', examples(['raftree node remove 2']))
    .action(async (id: number, options: CommonOptions) => {
      const { changed } = await withClient(options, (client) =>
        client.changeMembers([{ type: 'remove', node: id }]),
      );
      if (options.json) printLine(JSON.stringify({ nodeId: id, changed }));
      else printLine(`node ${id} is not a member any more`);
    });
}

async function list(options: CommonOptions): Promise<void> {
  const { nodes, tablets } = await withClient(options, (client) => client.tablets());
  const shown = nodes.map(({ nodeId, isDraining }) => ({
    ...{ nodeId, isDraining },
    tablets: tablets.filter(({ replicas }) => replicas.includes(nodeId)).length,
    leads: tablets.filter(({ leader }) => leader === nodeId).length,
  }));
  if (options.json) {
    printLine(JSON.stringify(shown));
    return;
  }
  printTable(
    ['node', 'tablets', 'leads', 'state'],
    shown.map((each) => [
      ...[each.nodeId, each.tablets, each.leads].map(String),
      !each.isDraining ? 'takes part' : each.tablets > 0 ? 'drains' : 'drained',
    ]),
  );
}
