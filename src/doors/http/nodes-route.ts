/**
 * `/v1/nodes`: each member as it tells of itself, and what this node knows of one that does not answer.
 * `/v1/nodes/ID/drain`: a node gives its tablets away (POST), or takes part again (DELETE).
 */
import type { NodeLoad, NodeStatus, RaftreeClient } from '../../client/client.js';
import type { Backend } from '../backend.js';
import { json } from './answer.js';
import { idOf, type StatusView, standingsIn } from './cluster-routes.js';
import type { HttpRequest } from './request.js';
import { type Operation, operation, type Route } from './route.js';
import { drainedAnswer, nodesAnswer, noQuery } from './schemas.js';

export interface NodesRouteParts {
  readonly cluster: Pick<RaftreeClient, 'status' | 'load'>;
  readonly status: () => StatusView;
  readonly isDraining: (node: number) => boolean;
  readonly backend: Pick<Backend, 'drainNode'>;
  /** Throws a Refusal if the caller may not administrate. */
  readonly admit: (request: HttpRequest) => void;
}

/** A node that needs longer is shown as silent. */
const ASK_TIMEOUT_MS = 900;

export function nodesRoutes(parts: NodesRouteParts): readonly Route[] {
  const { cluster, status, isDraining } = parts;
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
  return [
    {
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
              const drains = isDraining(known.id);
              return { ...known, isDraining: drains, state: told ? 'answers' : 'silent', ...told };
            });
            return json({ nodes: await Promise.all(nodes) });
          },
        }),
      },
    },
    {
      path: '/v1/nodes/{id}/drain',
      operations: {
        POST: drainOperation(parts, true),
        DELETE: drainOperation(parts, false),
      },
    },
  ];
}

function drainOperation({ backend, admit }: NodesRouteParts, drains: boolean): Operation {
  return operation({
    id: drains ? 'drainNode' : 'undrainNode',
    summary: drains ? 'A node gives all its tablets to others, and gets none' : 'A node takes part again',
    query: noQuery,
    answers: {
      200: { description: 'It is recorded; tablets move one after the other', content: drainedAnswer },
    },
    handle: async (request) => {
      admit(request);
      return json({ changed: await backend.drainNode(idOf(request), drains) });
    },
  });
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
