/**
 * What the balancer knows: the map, which is true by the log of the group that keeps it, and the reports of the nodes,
 * which may be old or missing.
 */
import type { Tablet } from '../placement/placement.js';

export interface Replica {
  /** Fresh for every stay of a tablet on a node. */
  readonly replicaId: number;
  readonly node: number;
  readonly role: 'voter' | 'learner';
}

export interface Descriptor extends Tablet {
  readonly parents: readonly number[];
  readonly replicas: readonly Replica[];
  /** The index of the entry that made these the members: it orders them. */
  readonly confIndex: number;
}

export interface ClusterNode {
  readonly id: number;
  readonly host: string;
  readonly zone: string;
  /** A node that drains gets nothing, and gives everything away. */
  readonly isDraining: boolean;
  /** Its share of the cluster is in proportion to this. */
  readonly weight: number;
}

/** An intent to change the replicas of a tablet, recorded before any order of it. One tablet has at most one. */
export interface Move {
  readonly tablet: number;
  readonly generation: number;
  readonly add: { readonly replicaId: number; readonly node: number } | undefined;
  /** The replica that leaves, in the change that promotes the new one. */
  readonly remove: number | undefined;
  readonly sinceMs: number;
}

/** A transfer of leadership that was ordered. */
export interface Transfer {
  readonly tablet: number;
  readonly to: number;
  readonly sinceMs: number;
}

export interface ClusterMap {
  readonly nodes: readonly ClusterNode[];
  readonly tablets: readonly Descriptor[];
  readonly moves: readonly Move[];
  readonly transfers: readonly Transfer[];
}

export interface ReplicaReport {
  readonly tablet: number;
  readonly replicaId: number;
  /** Of the members that this replica knows. */
  readonly confIndex: number;
  readonly sizeBytes: number;
  /** Of one that does not lead: what it is asked in spite of that, as follower reads. */
  readonly operationsPerSecond?: number | undefined;
  /** Of a leader: its term, operations per second, how long it has led, and which learners hold its log. */
  readonly leads?: {
    readonly term: number;
    readonly operationsPerSecond: number;
    readonly forMs: number;
    readonly caughtUp: readonly number[];
  };
}

/** Settings of a node: they may differ from those of another. */
export interface SplitLimits {
  readonly bytes: number;
  /** 0: they are not split by their load. */
  readonly operationsPerSecond: number;
}

export interface NodeReport {
  readonly node: number;
  /** When it arrived. */
  readonly heardMs: number;
  /** Its disk takes no more: it is given nothing. */
  readonly isFull?: boolean;
  /** Tablets that it leads are split above that. */
  readonly splitsAbove?: SplitLimits | undefined;
  readonly replicas: readonly ReplicaReport[];
}

export interface Reports {
  /** Since when this observer has listened: before, silence says nothing. */
  readonly sinceMs: number;
  readonly nodes: readonly NodeReport[];
}

export interface BalanceSettings {
  /** Nothing but nodes that drain: an operator has asked for that. */
  readonly drainsOnly: boolean;
  /** How many a tablet is to have. */
  readonly replicas: number;
  /** A node that is silent for so long gets nothing. */
  readonly silentAfterMs: number;
  /** A node that is silent for so long is replaced. */
  readonly deadAfterMs: number;
  /** A move whose new replica is no member by then is given up. */
  readonly moveTimeoutMs: number;
  readonly transferTimeoutMs: number;
  /** The load of a leader counts when it has led for so long. */
  readonly loadWindowMs: number;
  /** A node may differ from its share by this part of it, and by one, before anything is moved. */
  readonly band: number;
  /** Of bytes a node may always differ by so many: small tablets are not worth a move. */
  readonly leastBytes: number;
  /** And so much of the load. */
  readonly leastOperationsPerSecond: number;
  /** Moves to a node, and from a node, at the same time. */
  readonly maxMovesPerNode: number;
  /** Transfers to a node, and from a node, at the same time. */
  readonly maxTransfersPerNode: number;
  /** With so many other nodes a node shares tablets, unless a tablet would lack a replica otherwise. */
  readonly maxPartners: number;
}

export const DEFAULT_BALANCE_SETTINGS: BalanceSettings = {
  drainsOnly: false,
  replicas: 3,
  silentAfterMs: 10_000,
  deadAfterMs: 300_000,
  moveTimeoutMs: 3_600_000,
  transferTimeoutMs: 10_000,
  loadWindowMs: 60_000,
  band: 0.05,
  leastBytes: 64 * 1024 * 1024,
  leastOperationsPerSecond: 100,
  maxMovesPerNode: 4,
  maxTransfersPerNode: 16,
  maxPartners: 16,
};
