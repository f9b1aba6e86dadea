/// <reference types="node" preserve="true" />
/** `raftree/level`: the storage engine as a database of the abstract-level ecosystem. */
export { RaftreeError } from '../env/errors.js';
export type { LsmOptions } from '../lsm/options.js';
export type { LsmStats } from '../lsm/stats.js';
export type { Loss, RepairReport } from '../lsm/tools/repair.js';
export type { DirectoryReport } from '../lsm/tools/verify-directory.js';
export { RaftreeLevel } from './level.js';
export type {
  BatchOptions,
  ChainedBatch,
  ChainedBatchWriteOptions,
  DatabaseOptions,
  DelOptions,
  OpenOptions,
  PutOptions,
  StartEndOptions,
  WriteOptions,
} from './level-options.js';
