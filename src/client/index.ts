/// <reference types="node" preserve="true" />
/** `raftree/client`: the client of a cluster. */
export type { Outcome } from '../env/errors.js';
export {
  type BalanceStatus,
  type NodeLoad,
  type NodeStatus,
  RaftreeClient,
  type ScanOptions,
  type WriteOptions,
} from './client.js';
export { HistoryGoneError, RaftreeClientError } from './client-error.js';
export type { CallOptions, ClientEnv, ClientOptions, ReadLevel, ReadOptions } from './client-options.js';
export type { MemberChange, MembersChanged } from './member-changes.js';
export type { Freshness, Mirror, MirrorChange, MirrorEntry, MirrorOptions, MirrorRange } from './mirror.js';
export type { BatchOperation, Bytes, Condition, ExpireCondition, LifeOptions } from './operations.js';
export type {
  BatchResult,
  ExpireResult,
  GetResult,
  IncrementResult,
  OperationResult,
  PutResult,
  ScanEntry,
  TabletSplitResult,
  TtlResult,
  WriteResult,
} from './results.js';
export type { WatchChange } from './tablet-watch.js';
export type { Watch, WatchOptions, WatchPosition } from './watch.js';
