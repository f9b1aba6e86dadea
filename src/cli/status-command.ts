/** status: how every node sees the cluster. */
import type { Command } from 'commander';
import { type CommonOptions, withClient, withClientOptions } from './client-options.js';
import { type SeenNode, viewCluster } from './cluster-view.js';
import { printLine, printTable } from './output.js';

export function addStatusCommand(program: Command): void {
  withClientOptions(program.command('status').description('show every node of the cluster'), 5000).action(
    async (options: CommonOptions) => {
      await withClient(options, async (client) => {
        const nodes = await viewCluster(client);
        if (options.json) {
          const shown = nodes.map(({ nodeId, status, membership }) =>
            status ? { ...status, membership } : { nodeId, reachable: false, membership },
          );
          printLine(JSON.stringify(shown));
        } else {
          const head = [
            'node',
            'role',
            'term',
            'leader',
            'commit',
            'applied',
            'durable',
            'last',
            'keys',
            'member',
          ];
          printTable(head, nodes.map(rowOf));
        }
      });
    },
  );
}

/** A node that does not answer is a row too. */
function rowOf({ nodeId, clientAddress, membership, status }: SeenNode): string[] {
  if (!status) return [String(nodeId), `no answer from ${clientAddress} (${membership})`];
  return [
    nodeId,
    status.role,
    status.term,
    status.leaderId || '-',
    status.commitIndex,
    status.appliedIndex,
    status.durableIndex,
    status.lastIndex,
    `~${status.keysApproximate}`,
    membership,
  ].map(String);
}
