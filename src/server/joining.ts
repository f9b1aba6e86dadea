/** How a node that joins a cluster with a map registers itself. */
import { errorMessage, RaftreeError } from '../env/errors.js';
import type { NodeConfig } from './config.js';
import type { NodeCalls } from './node-calls.js';

export interface JoiningParts {
  readonly config: Pick<NodeConfig, 'nodeId' | 'nodes'>;
  readonly calls: Pick<NodeCalls, 'call'>;
  readonly isConnected: (node: number) => boolean;
  /** All that were asked have refused: why one of them did. */
  readonly refused?: (error: RaftreeError) => void;
}

/** Asks all nodes of node.json that are connected. Resolves with whether one says that this node is a member. */
export async function askToJoin({ config, calls, isConnected, refused }: JoiningParts): Promise<boolean> {
  const own = config.nodes.find(({ id }) => id === config.nodeId);
  if (!own) return false;
  const request = { type: 'join', node: own.id, client: own.client, peer: own.peer } as const;
  let refusal: RaftreeError | undefined;
  const asked = config.nodes
    .filter(({ id }) => isConnected(id))
    .map(({ id }) =>
      calls.call(id, request).then(
        () => true,
        (error: unknown) => {
          const because = `node ${id} does not take this node into the cluster yet: ${errorMessage(error)}`;
          refusal = new RaftreeError('JOIN_REFUSED', because, { cause: error });
          return false;
        },
      ),
    );
  const isMember = (await Promise.all(asked)).includes(true);
  if (!isMember && refusal) refused?.(refusal);
  return isMember;
}
