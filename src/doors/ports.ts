/** What a door needs of its node, beside kv/. These are plain types: they are of no protocol. */
import type { Outcome } from '../env/errors.js';
import type { KvError } from '../kv/kv-error.js';

/** Changes members and leaders. A door calls it only for a caller with the right to administrate. */
export interface Administration {
  /** Never rejects. */
  handle(request: AdministrationRequest): Promise<AdministrationDone | AdministrationError | KvError>;
  /** Never rejects. */
  split(request: SplitTablet): Promise<TabletSplit | AdministrationError | KvError>;
  /** Never rejects. */
  balance(request: Balance): Promise<BalanceShown | AdministrationError | KvError>;
}

export interface ChangeMembers {
  readonly type: 'changeMembers';
  /** The index of the configuration that the change starts from. Undefined: the newest one. */
  readonly expectedIndex?: number | undefined;
  /** A check that fails only gives a warning. */
  readonly force: boolean;
  readonly changes: readonly RequestedChange[];
}

export interface RequestedChange {
  readonly type: 'addVoter' | 'addLearner' | 'remove' | 'promote' | 'demote' | 'update';
  readonly nodeId: number;
  readonly clientAddress: string;
  readonly peerAddress: string;
}

export interface TransferLeader {
  readonly type: 'transferLeader';
  /** 0 or undefined: the only one. */
  readonly tablet?: number | undefined;
  /** The voter that becomes the leader. */
  readonly nodeId: number;
}

export interface SplitTablet {
  readonly type: 'splitTablet';
  /** 0: the only one. */
  readonly tablet: number;
  /** It begins the second part. */
  readonly key: Uint8Array;
}

/** The tablet has ended; these have its keys. */
export interface TabletSplit {
  readonly type: 'tabletSplit';
  readonly tablet: number;
  readonly left: number;
  readonly right: number;
}

/** Two neighbours become one tablet. */
export interface MergeTablets {
  readonly type: 'mergeTablets';
  readonly left: number;
  readonly right: number;
}

/** A replica of a tablet goes to another node. */
export interface MoveReplica {
  readonly type: 'moveReplica';
  readonly tablet: number;
  readonly from: number;
  readonly to: number;
}

/** A node is to be emptied, or not any more. */
export interface DrainNode {
  readonly type: 'drainNode';
  readonly nodeId: number;
  readonly isDraining: boolean;
}

/** Whether replicas and leaders are moved without being asked; and what is moved, and why. */
export interface Balance {
  readonly type: 'balance';
  readonly action: 'show' | 'on' | 'off';
}

export interface BalanceShown {
  readonly type: 'balance';
  readonly isOn: boolean;
  /** It was not so before. */
  readonly changed: boolean;
  readonly plannerId: number;
  readonly maxMoves: number;
  readonly deadAfterMs: number;
  readonly nodes: readonly {
    readonly nodeId: number;
    readonly condition: 'takesPart' | 'drains' | 'full' | 'silent' | 'dead';
    readonly silentMs: number;
    readonly tablets: number;
  }[];
  readonly steps: readonly {
    /** `vote`: who votes on the map; `tablet` is 0 then. */
    readonly kind: 'move' | 'lead' | 'vote';
    readonly tablet: number;
    readonly from: number;
    readonly to: number;
    readonly reason: string;
    readonly state: 'underWay' | 'next';
  }[];
  readonly furtherSteps: number;
}

export type AdministrationRequest = ChangeMembers | TransferLeader | MoveReplica | MergeTablets | DrainNode;

export interface AdministrationDone {
  readonly type: 'done';
  /** Of the configuration that the change has made. 0 after a transfer of leadership. */
  readonly index: number;
  /** False: the members were so already. */
  readonly changed: boolean;
  readonly warnings: readonly string[];
}

/** Every code with its usual outcome. An error may have another one. */
export const ADMINISTRATION_ERROR_OUTCOMES = {
  CHANGE_PENDING: 'notCommitted',
  CHANGE_INVALID: 'notCommitted',
  CHANGE_CONFLICT: 'notCommitted',
  ALREADY_MEMBER: 'notCommitted',
  NOT_A_MEMBER: 'notCommitted',
  QUORUM_AT_RISK: 'notCommitted',
  MEMBER_UNREACHABLE: 'notCommitted',
  MEMBER_BEHIND: 'notCommitted',
  MAP_UNAVAILABLE: 'notCommitted',
  TRANSFER_FAILED: 'unknown',
} as const satisfies Readonly<Record<string, Outcome>>;

export type AdministrationErrorCode = keyof typeof ADMINISTRATION_ERROR_OUTCOMES;

export interface AdministrationError {
  readonly type: 'error';
  readonly code: AdministrationErrorCode;
  readonly message: string;
  readonly outcome: Outcome;
}

export function isAdministrationErrorCode(code: string): code is AdministrationErrorCode {
  return Object.hasOwn(ADMINISTRATION_ERROR_OUTCOMES, code);
}

/** In microseconds: they go over the wire as whole numbers. */
export interface Quantiles {
  readonly p50Us: number;
  readonly p99Us: number;
}

/** What a node measured in its last seconds. Undefined: there was none of it. */
export interface NodeFigures {
  /** From the proposal of a command here to its commit. */
  readonly commit: Quantiles | undefined;
  /** How long the state machine took for a range of entries. */
  readonly apply: Quantiles | undefined;
  /** Of durable writes of the log. */
  readonly sync: Quantiles | undefined;
  /** How late a timer ran at most. */
  readonly loopDelayUs: number | undefined;
  /** By the log, and by the storage engines, since the start of the process. */
  readonly writtenBytes: number;
  /** What may still be written where the data are. */
  readonly freeBytes: number | undefined;
}
