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
          const hasSeveral = nodes.some(({ status }) => (status?.tablets ?? 1) > 1);
          printTable(
            ['node', ...(hasSeveral ? OF_TABLETS : OF_ONE_TABLET), 'keys', 'member', 'heard'],
            nodes.map((node) => rowOf(node, standingOf(node, leader), hasSeveral)),
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

const OF_ONE_TABLET = ['role', 'term', 'leader', 'commit', 'applied', 'durable', 'last'];
/** Each tablet has a log of its own: `raftree shards` shows them. */
const OF_TABLETS = ['tablets', 'leads'];

/** A node that does not answer gets a row too. */
function rowOf(
  { nodeId, clientAddress, membership, status }: SeenNode,
  standing: Standing,
  hasSeveral: boolean,
): string[] {
  const heard = heardBy(standing);
  if (!status) return [String(nodeId), `no answer from ${clientAddress} (${membership}; heard: ${heard})`];
  const { role, term, leaderId, commitIndex, appliedIndex, durableIndex, lastIndex } = status;
  const ofOne = [role, term, leaderId || '-', commitIndex, appliedIndex, durableIndex, lastIndex];
  return [
    nodeId,
    ...(hasSeveral ? [status.tablets, status.leads] : ofOne),
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
