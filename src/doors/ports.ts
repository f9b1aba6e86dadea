/** What every door needs of the node behind it, beside kv/: plain types, without bytes of any protocol. */
import type { Outcome } from '../env/errors.js';
import type { KvError } from '../kv/kv-error.js';

/** Who belongs to the cluster, and who leads it. A door asks only for a caller that may administrate. */
export interface Administration {
  /** Never rejects. */
  handle(
    request: ChangeMembers | TransferLeader,
  ): Promise<AdministrationDone | AdministrationError | KvError>;
}

export interface ChangeMembers {
  readonly type: 'changeMembers';
  /** The index of the configuration that the change starts from; undefined: the newest. */
  readonly expectedIndex: number | undefined;
  /** The checks that protect the cluster only warn. */
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
  /** The voter that is to lead. */
  readonly nodeId: number;
}

export interface AdministrationDone {
  readonly type: 'done';
  /** Of the configuration, or 0. */
  readonly index: number;
  /** False: it was so before. */
  readonly changed: boolean;
  readonly warnings: readonly string[];
}

/** Every code, and the outcome that it means unless the error says otherwise. */
export const ADMINISTRATION_ERROR_OUTCOMES = {
  CHANGE_PENDING: 'notCommitted',
  CHANGE_INVALID: 'notCommitted',
  CHANGE_CONFLICT: 'notCommitted',
  ALREADY_MEMBER: 'notCommitted',
  NOT_A_MEMBER: 'notCommitted',
  QUORUM_AT_RISK: 'notCommitted',
  MEMBER_UNREACHABLE: 'notCommitted',
  MEMBER_BEHIND: 'notCommitted',
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
