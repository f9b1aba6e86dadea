/** How a node that joins a cluster with a map registers itself. */
import type { NodeConfig } from './config.js';
import type { NodeCalls } from './node-calls.js';

export interface JoiningParts {
  readonly config: Pick<NodeConfig, 'nodeId' | 'nodes'>;
  readonly calls: Pick<NodeCalls, 'call'>;
  readonly isConnected: (node: number) => boolean;
}

/** Asks all nodes of node.json that are connected. Resolves with whether one says that this node is a member. */
export async function askToJoin({ config, calls, isConnected }: JoiningParts): Promise<boolean> {
  const own = config.nodes.find(({ id }) => id === config.nodeId);
  if (!own) return false;
  const request = { type: 'join', node: own.id, client: own.client, peer: own.peer } as const;
  const asked = config.nodes
    .filter(({ id }) => isConnected(id))
    .map(({ id }) =>
      calls.call(id, request).then(
        () => true,
        () => false,
      ),
    );
  return (await Promise.all(asked)).includes(true);
}
