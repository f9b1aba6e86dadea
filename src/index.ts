/// <reference types="node" preserve="true" />
/**
 * `raftree`: run a node inside a Node.js process. The rooms have entries of their own: `raftree/lsm`, `/raft`,
 * `/client`.
 */

export { levelEngine } from './engines/level-engine.js';
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
export { realEnv } from './env/real/real-env.js';
export type { StateMachine } from './replica/state-machine.js';
export { type NodeConfig, type NodeConfigInput, parseNodeConfig, readNodeConfig } from './server/config.js';
export { Node, type NodeParts, type NodeReady } from './server/node.js';
