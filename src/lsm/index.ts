/// <reference types="node" preserve="true" />
/** `raftree/lsm`: the storage engine on its own. */
export type { Env, Logger } from '../env/env.js';
export { RaftreeError } from '../env/errors.js';
export { realEnv } from '../env/real/real-env.js';
export type { Codec } from './base/block-codec.js';
export type { RangeBounds } from './compaction/droppable-tables.js';
export { LsmTree, type ReadOptions } from './lsm-tree.js';
export type {
  CompactionEvent,
  Durability,
  FlushEvent,
  LsmListener,
  LsmOptions,
  ResolvedOptions,
  StallReason,
} from './options.js';
export type { Entry, IteratorOptions, LsmIterator } from './read/iterator.js';
export type { Snapshot } from './read/snapshot-list.js';
export { LsmResources, type LsmResourcesOptions } from './resources.js';
export type { LsmStats } from './stats.js';
export type { TableMetadata } from './table/table-file.js';
export type { Problem, VerifyReport } from './tools/verify.js';
export type { KeyRange } from './version/version.js';
export type { DeleteOperation, Operation, PutOperation } from './wal/write-batch.js';
export type { WriteOptions } from './write/write-path.js';
