/// <reference types="node" preserve="true" />
/** `raftree/client`: the client of a cluster. */
export type { Outcome } from '../env/errors.js';
export {
  type BatchResult,
  type ExpireResult,
  type GetResult,
  type IncrementResult,
  type NodeStatus,
  type OperationResult,
  type PutResult,
  RaftreeClient,
  type ScanEntry,
  type ScanOptions,
  type TtlResult,
  type WriteOptions,
  type WriteResult,
} from './client.js';
export { RaftreeClientError } from './client-error.js';
export type { CallOptions, ClientEnv, ClientOptions, ReadLevel, ReadOptions } from './client-options.js';
export type { MemberChange, MembersChanged } from './member-changes.js';
export type { BatchOperation, Bytes, Condition, ExpireCondition, LifeOptions } from './operations.js';
