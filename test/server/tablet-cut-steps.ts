/** What is done with tablets while a node dies (tablet-cuts.ts): a replica moves, tablets are split or merged. */
import type { RaftreeClient } from '../../src/client/client.js';
import type { MetaState } from '../../src/meta/meta-state.js';
import type { PlacementKind } from '../../src/placement/placement.js';
import type { NodeConfigInput } from '../../src/server/config.js';
import type { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';

/** Who leads what, and who leads nothing of it, is arranged before the step is ordered. */
export interface Plan {
  /** The node that dies. */
  readonly victim: number;
  readonly order: (client: RaftreeClient) => Promise<unknown>;
  /** The map says that it is done, and where. What is under way does not count. */
  readonly isDone: (state: MetaState) => boolean;
  /** Nothing of what the step has ended has files any more. */
  readonly isGone: () => boolean;
}

export interface Step {
  readonly name: string;
  readonly nodes: number;
  readonly placement: NonNullable<NodeConfigInput['placement']>;
  /** As which a node dies. */
  readonly victims: readonly string[];
  /** `tablets`: of the map, in their order, before the step. */
  plan(
    cluster: SimulatedCluster,
    tablets: readonly number[],
    victim: string,
    leaders: Leaders,
  ): Promise<Plan>;
}

export interface Leaders {
  of(tablet: number): number;
  /** Has a node lead a tablet. */
  make(node: number, tablet: number): Promise<void>;
}

/** Where the tablet of the birth is split before, so that what is moved, split or merged came from a split. */
export const FIRST_SPLIT = 'm';

export function heldOnDisk(cluster: SimulatedCluster, id: number): number[] {
  const groups = cluster.machine(id).disk.files('/data/groups');
  return sorted([...new Set(groups.map((path) => Number(path.split('/')[3])))].filter((group) => group > 0));
}

export function mapLeader(cluster: SimulatedCluster): number {
  return cluster.machines.find(({ node }) => node?.meta?.leads)?.id ?? 0;
}

function areGone(cluster: SimulatedCluster, tablets: readonly number[]): boolean {
  return cluster.machines.every(({ id }) => !heldOnDisk(cluster, id).some((each) => tablets.includes(each)));
}

export function nodesOf(state: MetaState | undefined, tablet: number): number[] {
  return sorted((state?.tablets.get(tablet)?.replicas ?? []).map(({ node }) => node));
}

export function sorted(numbers: readonly number[]): number[] {
  return [...numbers].sort((a, b) => a - b);
}

const PLACEMENTS = {
  range: { by: 'range' as const, splits: ['g'] },
  hash: { by: 'hash' as const, tablets: 2 },
};

/** The node that the replica leaves, or leaves as leader; where it comes; who leads tablet or map. */
const MOVE: Step = {
  name: 'move',
  nodes: 4,
  placement: { by: 'range', splits: ['g'], replicas: 3 },
  victims: ['from', 'leadingFrom', 'to', 'leader', 'map'],
  async plan(cluster, tablets, name, leaders) {
    const tablet = tablets[1] ?? 0;
    const leader = leaders.of(tablet);
    const map = mapLeader(cluster);
    const nodes = nodesOf(cluster.machine(map).node?.meta?.state, tablet);
    const from = name === 'leadingFrom' ? leader : (nodes.find((id) => id !== leader) ?? 0);
    const to = cluster.machines.find(({ id }) => !nodes.includes(id))?.id ?? 0;
    const victims: Readonly<Record<string, number>> = { leader, map, to };
    return {
      victim: victims[name] ?? from,
      order: (client) => client.moveReplica({ tablet, from, to }),
      isDone: (state) => nodesOf(state, tablet).includes(to) && !nodesOf(state, tablet).includes(from),
      isGone: () => !heldOnDisk(cluster, from).includes(tablet),
    };
  },
};

/** Who leads the tablet, the map, both, or neither. */
function splitBy(by: PlacementKind): Step {
  return {
    name: `split by ${by}`,
    nodes: 3,
    placement: PLACEMENTS[by],
    victims: ['leader', 'map', 'both', 'follower'],
    async plan(cluster, _tablets, name, leaders) {
      const map = mapLeader(cluster);
      const [one = 0, other = 0] = cluster.machines.map(({ id }) => id).filter((id) => id !== map);
      const victims: Readonly<Record<string, number>> = { leader: one, map, both: map };
      const key = 'kiwi';
      const tablet = cluster.machine(map).node?.meta?.state.map?.ownerOf(Buffer.from(key))?.id ?? 0;
      await leaders.make(name === 'both' ? map : one, tablet);
      return {
        victim: victims[name] ?? other,
        order: (client) => client.splitTablet(key),
        isDone: ({ tablets: now }) => !now.has(tablet),
        isGone: () => areGone(cluster, [tablet]),
      };
    },
  };
}

/** Who leads the left one, the right one, the map, all three, or nothing. */
function mergeBy(by: PlacementKind): Step {
  return {
    name: `merge by ${by}`,
    nodes: 3,
    placement: PLACEMENTS[by],
    victims: ['left', 'right', 'map', 'all', 'follower'],
    async plan(cluster, [left = 0, right = 0], name, leaders) {
      const map = mapLeader(cluster);
      const [one = 0, other = 0] = cluster.machines.map(({ id }) => id).filter((id) => id !== map);
      const victims: Readonly<Record<string, number>> = { left: one, right: other, map, all: map };
      await leaders.make(name === 'all' ? map : one, left);
      await leaders.make(name === 'all' ? map : name === 'follower' ? one : other, right);
      return {
        victim: victims[name] ?? other,
        order: (client) => client.mergeTablets(left, right),
        isDone: ({ tablets: now }) => !now.has(left) && !now.has(right),
        isGone: () => areGone(cluster, [left, right]),
      };
    },
  };
}

export const STEPS: readonly Step[] = [
  MOVE,
  splitBy('range'),
  splitBy('hash'),
  mergeBy('range'),
  mergeBy('hash'),
];
