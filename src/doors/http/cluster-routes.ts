/** `/v1/cluster`: the members as this node sees them, and their changes. */
import type { MemberChange } from '../../client/member-changes.js';
import type { LocatedTablets } from '../../client/tablet-cache.js';
import type { Backend } from '../backend.js';
import { json } from './answer.js';
import { type HttpRequest, Refusal } from './request.js';
import { checked, operation, type Route } from './route.js';
import {
  addBody,
  bytesIn,
  changedAnswer,
  clusterAnswer,
  forceQuery,
  isSet,
  noQuery,
  statusAnswer,
  tabletsAnswer,
  transferBody,
  transferredAnswer,
  updateBody,
} from './schemas.js';

/** The node's view of its cluster: the fields of the binary protocol's status that HTTP shows. */
export interface StatusView {
  readonly nodeId: number;
  readonly role: string;
  readonly term: number;
  readonly leaderId: number;
  readonly leaderAddress: string;
  readonly clientAddress: string;
  readonly peerAddress: string;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly lastIndex: number;
  readonly durableIndex: number;
  readonly keysApproximate: number;
  readonly keysWithDeadline: number;
  readonly timeMs: number;
  readonly version: string;
  readonly voters: readonly number[];
  readonly outgoing: readonly number[];
  readonly learners: readonly number[];
  readonly configurationIndex: number;
  readonly peers: readonly {
    readonly nodeId: number;
    readonly clientAddress: string;
    readonly peerAddress: string;
    readonly matchIndex: number;
    readonly reachable: boolean;
    readonly heardMsAgo?: number | undefined;
    readonly problem: string;
  }[];
}

const MAX_BODY_BYTES = 16 * 1024;

export interface ClusterRouteParts {
  readonly backend: Backend;
  readonly status: () => StatusView;
  /** Throws a Refusal if the caller may not administrate. */
  readonly admit: (request: HttpRequest) => void;
}

export function clusterRoutes({ backend, status, admit }: ClusterRouteParts): readonly Route[] {
  const change = async (
    request: HttpRequest,
    query: { force?: string | undefined },
    change: MemberChange,
  ) => {
    admit(request);
    const { index, changed, warnings } = await backend.changeMembers(change, isSet(query.force));
    return json({ index, changed, warnings });
  };
  const done = { 200: { description: 'The members are as requested', content: changedAnswer } } as const;

  return [
    {
      path: '/v1/status',
      operations: {
        GET: operation({
          id: 'getStatus',
          summary: 'What this node tells of itself',
          query: noQuery,
          answers: { 200: { description: 'The status', content: statusAnswer } },
          handle: () => json(statusAnswer.parse(status())),
        }),
      },
    },
    {
      path: '/v1/cluster',
      operations: {
        GET: operation({
          id: 'getCluster',
          summary: 'The members and the leader, as this node sees them',
          query: noQuery,
          answers: { 200: { description: 'The cluster', content: clusterAnswer } },
          handle: ({ caller }) => json(clusterOf(status(), caller.rights.administrate)),
        }),
      },
    },
    {
      path: '/v1/tablets',
      operations: {
        GET: operation({
          id: 'getTablets',
          summary: 'The tablets in the order of their ranges, and where they are',
          query: noQuery,
          answers: { 200: { description: 'The tablets', content: tabletsAnswer } },
          handle: async () => json(tabletsOf(await backend.tablets())),
        }),
      },
    },
    {
      path: '/v1/cluster/members',
      operations: {
        POST: operation({
          id: 'addMember',
          summary: 'Adds a voter, or a learner',
          query: forceQuery,
          body: addBody,
          answers: done,
          handle: async (request, query) => {
            admit(request);
            const { id, learner, client, peer } = checked(
              addBody,
              await request.json(MAX_BODY_BYTES),
              'INVALID_REQUEST',
            );
            return change(request, query, {
              type: learner ? 'addLearner' : 'addVoter',
              node: id,
              client,
              peer,
            });
          },
        }),
      },
    },
    {
      path: '/v1/cluster/members/{id}',
      operations: {
        PATCH: operation({
          id: 'updateMember',
          summary: 'Changes where a member is reached',
          query: forceQuery,
          body: updateBody,
          answers: done,
          handle: async (request, query) => {
            admit(request);
            const { client, peer } = checked(
              updateBody,
              await request.json(MAX_BODY_BYTES),
              'INVALID_REQUEST',
            );
            const addresses = {
              ...(client === undefined ? {} : { client }),
              ...(peer === undefined ? {} : { peer }),
            };
            return change(request, query, { type: 'update', node: idOf(request), ...addresses });
          },
        }),
        DELETE: operation({
          id: 'removeMember',
          summary: 'Removes a member',
          query: forceQuery,
          answers: done,
          handle: (request, query) => change(request, query, { type: 'remove', node: idOf(request) }),
        }),
      },
    },
    ...(['promote', 'demote'] as const).map(
      (type): Route => ({
        path: `/v1/cluster/members/{id}/${type}`,
        operations: {
          POST: operation({
            id: `${type}Member`,
            summary: type === 'promote' ? 'Makes a learner a voter' : 'Makes a voter a learner',
            query: forceQuery,
            answers: done,
            handle: (request, query) => change(request, query, { type, node: idOf(request) }),
          }),
        },
      }),
    ),
    {
      path: '/v1/cluster/transfer',
      operations: {
        POST: operation({
          id: 'transferLeadership',
          summary: 'Transfers leadership to a voter',
          query: noQuery,
          body: transferBody,
          answers: { 200: { description: 'It leads', content: transferredAnswer } },
          handle: async (request) => {
            admit(request);
            const { to } = checked(transferBody, await request.json(MAX_BODY_BYTES), 'INVALID_REQUEST');
            await backend.transferLeadership(to);
            return json({ leader: to });
          },
        }),
      },
    },
  ];
}

/** The node that the path names. Throws a Refusal. */
export function idOf({ parameters }: HttpRequest): number {
  const text = parameters[0]?.toString('latin1') ?? '';
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new Refusal('INVALID_REQUEST', `a node has a number, not "${text.slice(0, 100)}"`);
}

function tabletsOf({ by, tablets }: LocatedTablets) {
  return {
    by,
    tablets: tablets.map(({ id, start, end, generation, leader, replicas }) => ({
      id,
      ...bytesIn('start', start),
      ...(end ? bytesIn('end', end) : {}),
      generation,
      leader: leader === 0 ? null : leader,
      replicas,
    })),
  };
}

/** The members in the order of their ids. Only an operator is told where the nodes reach each other. */
export function standingsIn(view: StatusView, isOperator: boolean) {
  const { nodeId, voters, outgoing, learners } = view;
  const { clientAddress, peerAddress } = view;
  const own = { nodeId, clientAddress, peerAddress, heardMsAgo: 0, problem: '' };
  const ids = [...new Set([...voters, ...outgoing, ...learners])].sort((a, b) => a - b);
  return ids.map((id) => {
    const found = [own, ...view.peers].find((each) => each.nodeId === id);
    return {
      id,
      role: voters.includes(id) ? 'voter' : learners.includes(id) ? 'learner' : 'leaving',
      client: found?.clientAddress ?? '',
      ...(isOperator ? { peer: found?.peerAddress ?? '' } : {}),
      heardMsAgo: found?.heardMsAgo ?? null,
      problem: found?.problem ?? '',
    };
  });
}

function clusterOf(view: StatusView, isOperator: boolean) {
  const { nodeId, leaderId, leaderAddress, lastIndex } = view;
  const isLeader = view.role === 'leader';
  const own = { nodeId, matchIndex: lastIndex, reachable: true };
  return {
    leader: leaderId === 0 ? null : { id: leaderId, client: leaderAddress },
    term: view.term,
    configurationIndex: view.configurationIndex,
    members: standingsIn(view, isOperator).map(({ heardMsAgo: _heard, problem: _problem, ...member }) => {
      const found = [own, ...view.peers].find((each) => each.nodeId === member.id);
      return {
        ...member,
        reachable: found?.reachable ?? false,
        lagEntries: isLeader ? Math.max(0, lastIndex - (found?.matchIndex ?? 0)) : null,
      };
    }),
  };
}
