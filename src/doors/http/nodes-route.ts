/** `/v1/nodes`: each member as it tells of itself, and what this node knows of one that does not answer. */
import type { NodeLoad, NodeStatus, RaftreeClient } from '../../client/client.js';
import { json } from './answer.js';
import { type StatusView, standingsIn } from './cluster-routes.js';
import { operation, type Route } from './route.js';
import { nodesAnswer, noQuery } from './schemas.js';

export interface NodesRouteParts {
  readonly cluster: Pick<RaftreeClient, 'status' | 'load'>;
  readonly status: () => StatusView;
}

/** A node that needs longer is shown as silent. */
const ASK_TIMEOUT_MS = 900;

export function nodesRoute({ cluster, status }: NodesRouteParts): Route {
  const asked = async (id: number, address: string) => {
    const options = { timeoutMs: ASK_TIMEOUT_MS };
    try {
      const [told, load] = await Promise.all([
        cluster.status(address, options),
        cluster.load(address, options),
      ]);
      return told.nodeId === id ? toldBy(told, load) : undefined;
    } catch {
      // Its silence is the answer.
      return undefined;
    }
  };
  return {
    path: '/v1/nodes',
    operations: {
      GET: operation({
        id: 'getNodes',
        summary: 'The nodes: what each tells of itself, asked for at this moment',
        query: noQuery,
        answers: { 200: { description: 'The nodes', content: nodesAnswer } },
        handle: async ({ caller }) => {
          const nodes = standingsIn(status(), caller.rights.administrate).map(async (known) => {
            const told = known.client === '' ? undefined : await asked(known.id, known.client);
            return { ...known, state: told ? 'answers' : 'silent', ...told };
          });
          return json({ nodes: await Promise.all(nodes) });
        },
      }),
    },
  };
}

function toldBy(status: NodeStatus, load: NodeLoad) {
  const { commit, apply, sync, loopDelayUs, writtenBytes, freeBytes } = load;
  return {
    version: status.version,
    tablets: { holds: status.tablets, leads: status.leads, failed: status.failedGroups.length },
    keysApproximate: status.keysApproximate,
    pendingRequests: load.pendingRequests,
    residentBytes: load.residentBytes,
    ...{ commit, apply, loopDelayUs },
    disk: { sync, writtenBytes, freeBytes },
  };
}
