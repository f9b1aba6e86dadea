/** status: how every node sees the cluster. */
import type { Command } from 'commander';
import type { NodeStatus, RaftreeClient } from '../client/client.js';
import { type CommonOptions, withClient, withClientOptions } from './client-options.js';
import { printLine } from './output.js';

export function addStatusCommand(program: Command): void {
  withClientOptions(program.command('status').description('show every node of the cluster'), 5000).action(
    async (options: CommonOptions) => {
      await withClient(options, async (client) => {
        const first = await client.status();
        const addresses = new Map(first.peers.map((peer) => [peer.nodeId, peer.clientAddress]));
        const others = await Promise.all(
          [...addresses].map(([nodeId, address]) => statusOf(client, nodeId, address)),
        );
        const own = { nodeId: first.nodeId, address: '', status: first };
        const nodes = [own, ...others].sort((a, b) => a.nodeId - b.nodeId);
        if (options.json)
          printLine(
            JSON.stringify(nodes.map(({ nodeId, status }) => status ?? { nodeId, reachable: false })),
          );
        else printTable(nodes);
      });
    },
  );
}

interface NodeRow {
  readonly nodeId: number;
  readonly address: string;
  readonly status: NodeStatus | undefined;
}

/** A node that does not answer is a row too; it must not use up the whole time. */
async function statusOf(client: RaftreeClient, nodeId: number, address: string): Promise<NodeRow> {
  try {
    return { nodeId, address, status: await client.status(address, { timeoutMs: 1500 }) };
  } catch {
    return { nodeId, address, status: undefined };
  }
}

function printTable(nodes: readonly NodeRow[]): void {
  const head = ['node', 'role', 'term', 'leader', 'commit', 'applied', 'durable', 'last', 'keys'];
  const rows = nodes.map(({ nodeId, address, status }) =>
    status
      ? [
          nodeId,
          status.role,
          status.term,
          status.leaderId || '-',
          status.commitIndex,
          status.appliedIndex,
          status.durableIndex,
          status.lastIndex,
          `~${status.keysApproximate}`,
        ].map(String)
      : [String(nodeId), `no answer from ${address}`],
  );
  const widths = head.map((title, i) =>
    Math.max(title.length, ...rows.filter((row) => row.length > 2).map((row) => row[i]?.length ?? 0)),
  );
  for (const row of [head, ...rows]) {
    printLine(
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    );
  }
}
