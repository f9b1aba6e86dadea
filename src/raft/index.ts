/// <reference types="node" preserve="true" />
/** `raftree/raft`: the consensus core alone. The host gives it inputs and carries out its outputs. */
export {
  type Configuration,
  type ConfigurationChange,
  configurationOf,
  type NodeChange,
  type Transition,
} from './configuration.js';
export { Raft } from './raft.js';
export type { TransferType } from './senders.js';
export type * from './types.js';
export { EMPTY_HARD_STATE, entrySizeBytes, FIRST_BASE, NOBODY } from './types.js';
