/// <reference types="node" preserve="true" />
/**
 * `raftree`: a member of a cluster inside a program, and what a program may put in place of the parts of one. The rooms
 * have entries of their own: `raftree/client`, `/lsm`, `/level`, `/raft`, `/engine-test`.
 */
export * from './client/index.js';
export {
  type QueryArguments,
  type QueryOptions,
  RaftreeNode,
  type RaftreeNodeSettings,
} from './embed/raftree-node.js';
export type { Divergence, SmallStateMachine, StateMachine } from './embed/state-machine.js';
export { levelEngine } from './engines/level-engine.js';
export { memoryEngine } from './engines/memory-engine.js';
export { type PlainEngineKind, withSortedCheckpoints } from './engines/sorted-checkpoints.js';
export type {
  EngineContext,
  EngineKind,
  EngineOperation,
  EngineRange,
  PlainEngine,
  StorageEngine,
} from './engines/storage-engine.js';
export type { DiskSpace } from './env/disk-space.js';
export type * from './env/env.js';
export { silentLogger } from './env/env.js';
export { RaftreeError } from './env/errors.js';
export type { NodeConfigInput } from './server/config.js';
