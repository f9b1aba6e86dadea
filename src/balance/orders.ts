/**
 * What the balancer orders. Each order names what it expects, and does nothing if that is not so (any more): it may
 * come late, and more than once. A plan repeats an order until the map or a report shows that it was carried out.
 *
 *     move       recorded in the map first, with a fresh replica id
 *     create     at the node of the new replica: the only way in which a replica comes to be
 *     learner    at the leader: the new replica becomes a learner
 *     change     at the leader: one joint change, which promotes the new replica and removes the old one
 *     remove     at a node: a replica that is no member any more goes, behind a durable record of that
 *     forget     in the map: the move or the transfer is over
 *     transfer   recorded in the map, then at the leader
 */
export type Reason =
  | 'repair'
  | 'surplus'
  | 'drain'
  | 'zones and hosts'
  | 'replicas'
  | 'bytes'
  | 'leaders'
  | 'load'
  | 'hand over';

export interface MoveOrder {
  readonly type: 'move';
  readonly tablet: number;
  readonly generation: number;
  readonly confIndex: number;
  /** The node of the new replica; undefined: one only leaves. */
  readonly to: number | undefined;
  /** The replica that leaves; undefined: one only comes. */
  readonly remove: number | undefined;
  readonly reason: Reason;
}

export interface CreateOrder {
  readonly type: 'create';
  readonly tablet: number;
  readonly generation: number;
  readonly replicaId: number;
  readonly node: number;
}

export interface LearnerOrder {
  readonly type: 'learner';
  readonly tablet: number;
  readonly confIndex: number;
  readonly replicaId: number;
  readonly node: number;
}

export interface ChangeOrder {
  readonly type: 'change';
  readonly tablet: number;
  readonly confIndex: number;
  readonly promote: number | undefined;
  readonly remove: number | undefined;
  /** So many of the voters that it leads to must be heard by the leader: one may have died since the last report. */
  readonly heardVoters: number;
}

export interface RemoveOrder {
  readonly type: 'remove';
  readonly tablet: number;
  readonly replicaId: number;
  readonly node: number;
}

export interface ForgetOrder {
  readonly type: 'forget';
  readonly what: 'move' | 'transfer';
  readonly tablet: number;
  readonly why: string;
}

export interface TransferOrder {
  readonly type: 'transfer';
  readonly tablet: number;
  readonly confIndex: number;
  /** Of the leader that is to hand over: a late order finds another. */
  readonly term: number;
  readonly from: number;
  readonly to: number;
  readonly reason: Reason;
}

export type Order =
  | MoveOrder
  | CreateOrder
  | LearnerOrder
  | ChangeOrder
  | RemoveOrder
  | ForgetOrder
  | TransferOrder;
