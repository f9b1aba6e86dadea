/** The node.json of a machine, right and wrong. */

import type { Placement } from '../../placement/placement.js';
import { type NodeConfig, type NodeConfigInput, parseNodeConfig } from '../../server/config.js';
import { OTHER_SECRET, SECRET } from '../cluster/secrets.js';
import type { Setting } from '../setting/setting.js';
import type { SeededRandom } from '../world/seeded-random.js';
import type { RunMachine } from './run-machine.js';

export type ListedNode = NodeConfigInput['nodes'][number];

/** What differs from a right node.json. */
export interface NodeJsonEdit {
  /** What the operator has done, for the trace. */
  readonly what: string;
  readonly changes: Partial<NodeConfigInput>;
  /** May be smaller than node.json allows. */
  readonly limits?: Partial<NodeConfig['limits']>;
}

export const DATA_DIRECTORY = '/data';
/** The folder that a wrong node.json names. */
export const OTHER_DIRECTORY = '/other';

export function listed({ id, host }: Pick<RunMachine, 'id' | 'host'>): ListedNode {
  return { id, client: `${host}:7001`, peer: `${host}:7101` };
}

/** `nodes`: those that the right node.json lists. */
export function nodeConfigOf(
  machine: RunMachine,
  setting: Setting,
  nodes: readonly ListedNode[],
  joins: boolean,
): NodeConfig {
  const { raft, quietAfterMs, storage, limits } = { ...setting, ...machine.settings };
  const { client, peer } = listed(machine);
  const config = parseNodeConfig(
    {
      clusterId: 'simulated',
      nodeId: machine.id,
      dataDirectory: DATA_DIRECTORY,
      nodes: [...nodes],
      join: joins,
      raft: { ...raft, quietAfterMs },
      balance: setting.balance,
      security: securityOf(machine, setting),
      // Its own addresses do not change, whatever nodes it lists.
      ...(machine.edit ? { listen: { client, peer } } : {}),
      ...placementInput(setting.placement),
      ...(setting.hasRedisClients ? { resp: { listen: `127.0.0.1:${redisPort(machine.id)}` } } : {}),
      ...machine.edit?.changes,
    },
    'simulation',
    '/',
  );
  // Smaller than node.json allows, so that little data is enough for many files.
  return {
    ...config,
    storage: { ...config.storage, ...storage },
    limits: { ...config.limits, ...limits, ...machine.edit?.limits },
  };
}

/** A cluster of one tablet has none in its node.json. */
function placementInput({ by, tablets, splits, replicas }: Placement): Pick<NodeConfigInput, 'placement'> {
  if (tablets === 1) return {};
  const held = replicas === 0 ? {} : { replicas };
  return { placement: { ...(by === 'hash' ? { by, tablets } : { by, splits: [...splits] }), ...held } };
}

/** A mistyped address: of no machine, or of another one. */
export function wrongAddress(others: readonly RunMachine[], random: SeededRandom): Omit<ListedNode, 'id'> {
  const host = random.chance(0.5) ? 'nowhere' : random.pick([...others]).host;
  return { client: `${host}:7001`, peer: `${host}:7101` };
}

interface Situation {
  readonly machine: RunMachine;
  readonly machines: readonly RunMachine[];
  /** Whether all others know the data folder of this node. */
  readonly hasBegun: (machine: RunMachine) => boolean;
  /** What the right node.json lists. */
  readonly nodes: readonly ListedNode[];
  readonly joins: boolean;
  readonly raft: Setting['raft'];
}

/** Of the door for clients of Redis: without a token it listens on loopback only, and the network is one for all. */
export function redisPort(machine: number): number {
  return 7200 + machine;
}

/**
 * A mistake in node.json that does no lasting harm if nodes keep their rules. One mistake is left out, because no node
 * can notice it (README, Limits): an empty data folder with a node.json that lists no node that knows the cluster.
 */
export function wrongNodeJson(situation: Situation, random: SeededRandom): NodeJsonEdit {
  const { machine, machines, hasBegun, nodes, joins, raft } = situation;
  const own = listed(machine);
  const outside = machines.filter((other) => other !== machine);
  const others = nodes.filter(({ id }) => id !== own.id);
  const mistakes: (() => NodeJsonEdit)[] = [
    () => ({ what: 'another cluster', changes: { clusterId: 'simulatde' } }),
    () => ({ what: joins ? 'join is forgotten' : 'join is added', changes: { join: !joins } }),
    () => {
      // A node with an id that was never used would not be an impostor.
      const { id } = random.pick([...outside.filter(hasBegun), { id: 99 }]);
      const withoutIt = others.filter((node) => node.id !== id);
      return { what: `it is node ${id}`, changes: { nodeId: id, nodes: [...withoutIt, { ...own, id }] } };
    },
    () => {
      const missing = others.length > 1 ? random.pick(others) : undefined;
      return {
        what: `node ${missing?.id} is not listed`,
        changes: { nodes: nodes.filter((node) => node !== missing), join: joins && random.chance(0.5) },
      };
    },
    () => {
      const more = listed(random.pick(outside));
      const withIt = [...nodes.filter(({ id }) => id !== more.id), more];
      return {
        what: `node ${more.id} is listed`,
        changes: { nodes: withIt, join: joins && random.chance(0.5) },
      };
    },
    () => {
      const one = others.length > 0 ? random.pick(others) : own;
      const other = others.length > 1 && random.chance(0.5) ? random.pick(others) : NOWHERE;
      const swapped = nodes.map((node) => {
        if (node.id === own.id) return node;
        if (node.id === one.id) return { ...other, id: node.id };
        return node.id === other.id ? { ...one, id: node.id } : node;
      });
      return { what: `addresses of ${one.id} and ${other.id}`, changes: { nodes: swapped } };
    },
    () => {
      const factor = random.pick([0.5, 3, 10]);
      return { what: `timeouts times ${factor}`, changes: { raft: scaled(raft, factor) } };
    },
    () => ({
      what: 'limits',
      changes: {},
      limits: {
        maxConnections: random.between(1, 4),
        maxValueBytes: random.pick([1, 100, 1024 * 1024]),
        maxRequestBytes: random.pick([100, 64 * 1024 * 1024]),
      },
    }),
  ];
  return random.pick(mistakes)();
}

/** After a restart a node may prove the other of the two secrets. */
function securityOf({ id, starts }: RunMachine, { hasSecret }: Setting): NodeConfigInput['security'] {
  if (!hasSecret) return { insecure: true };
  const secrets = [SECRET, OTHER_SECRET];
  return { clusterSecret: (id + starts) % 2 === 0 ? secrets : secrets.reverse() };
}

const NOWHERE: ListedNode = { id: 0, client: 'nowhere:7001', peer: 'nowhere:7101' };

function scaled(raft: Setting['raft'], factor: number): Setting['raft'] {
  const heartbeatMs = Math.ceil(raft.heartbeatMs * factor);
  const electionTimeoutMinMs = Math.max(Math.ceil(raft.electionTimeoutMinMs * factor), 3 * heartbeatMs);
  const electionTimeoutMaxMs = Math.ceil(raft.electionTimeoutMaxMs * factor);
  return {
    heartbeatMs,
    electionTimeoutMinMs,
    electionTimeoutMaxMs: Math.max(electionTimeoutMaxMs, electionTimeoutMinMs + heartbeatMs),
  };
}
