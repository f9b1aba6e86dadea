/** status: the cluster as every node sees it. */
import type { Command } from 'commander';
import { type CommonOptions, withClient, withClientOptions } from './client-options.js';
import { ago, leaderOf, type SeenNode, type Standing, standingOf, viewCluster } from './cluster-view.js';
import { examples } from './examples.js';
import { printLine, printTable } from './output.js';

export function addStatusCommand(program: Command): void {
  withClientOptions(program.command('status').description('show every node of the cluster'), 5000)
    .addHelpText(
      'after',
      examples(['raftree status', 'raftree status --json --endpoints host:7001,host:7002']),
    )
    .action(async (options: CommonOptions) => {
      await withClient(options, async (client) => {
        const nodes = await viewCluster(client);
        const leader = leaderOf(nodes);
        if (options.json) {
          const shown = nodes.map((node) => {
            const { nodeId, status, membership } = node;
            const { heardMsAgo, problem, state } = standingOf(node, leader);
            const seen = { membership, heardMsAgo, problem, state };
            return status ? { ...status, ...seen } : { nodeId, reachable: false, ...seen };
          });
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
            'heard',
          ];
          printTable(
            head,
            nodes.map((node) => rowOf(node, standingOf(node, leader))),
          );
          for (const { nodeId, status } of nodes)
            for (const { group, code, message } of status?.failedGroups ?? [])
              printLine(
                `group ${group} has failed on node ${nodeId}, until that starts again: ${code} ${message}`,
              );
        }
      });
    });
}

/** A node that does not answer gets a row too. */
function rowOf({ nodeId, clientAddress, membership, status }: SeenNode, standing: Standing): string[] {
  const heard = heardBy(standing);
  if (!status) return [String(nodeId), `no answer from ${clientAddress} (${membership}; heard: ${heard})`];
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
    status.removedBy > 0 ? `removed (${status.removedBy})` : membership,
    membership === '-' ? '-' : heard,
  ].map(String);
}

/** When the leader last heard from the node. */
function heardBy({ state, heardMsAgo, problem }: Standing): string {
  if (state === 'no leader') return problem || '?';
  return problem === '' ? ago(heardMsAgo) : `${ago(heardMsAgo)}: ${problem}`;
}
